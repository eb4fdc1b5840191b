//! Writing with `If-Match`, in the form that a BMC takes.
//!
//! Invariant: a write is repeated only after an answer that says that it was not done for the tag's
//! sake, and each form is tried once.

use http::StatusCode;

use super::connection::{Call, Connection, Reply};
use super::learned::TagForm;
use super::{Op, RedfishError};

impl Connection {
    /// Sends a PATCH with `etag`. Where the BMC finds the tag wrong (412) or wants one that it never
    /// gave (428), it is sent again with a fresh tag, in each form; the form that works is
    /// remembered.
    pub(super) async fn write_tagged(
        &self,
        call: Call<'_>,
        etag: Option<String>,
    ) -> Result<Reply, RedfishError> {
        let tag = self.learned.tag_form().of(etag.as_deref());
        let mut reply = self.write_with(&call, tag.as_deref()).await?;
        if !wants_another_tag(&reply) {
            return Ok(reply);
        }
        let fresh = self.fresh_etag(&call).await?;
        let mut tried = vec![tag];
        for form in TagForm::ALL {
            let tag = form.of(fresh.as_deref());
            if tried.contains(&tag) {
                continue;
            }
            reply = self.write_with(&call, tag.as_deref()).await?;
            tried.push(tag);
            if !wants_another_tag(&reply) {
                self.learned.keep_tag_form(form);
                break;
            }
        }
        Ok(reply)
    }

    async fn write_with(&self, call: &Call<'_>, tag: Option<&str>) -> Result<Reply, RedfishError> {
        self.write(&Call { if_match: tag, ..call.clone() }).await
    }

    async fn fresh_etag(&self, call: &Call<'_>) -> Result<Option<String>, RedfishError> {
        let op = if matches!(call.op, Op::Insert | Op::Eject) { Op::Slot } else { Op::System };
        Ok(self.read(&self.get(op, call.link, call.system)).await?.etag())
    }
}

fn wants_another_tag(reply: &Reply) -> bool {
    matches!(reply.status, StatusCode::PRECONDITION_FAILED | StatusCode::PRECONDITION_REQUIRED)
}
