//! Writing with `If-Match`, in the form that a BMC takes.
//!
//! Invariant: a write is repeated only after an answer that says that it was not done for the tag's
//! sake, and each form is tried once.

use http::StatusCode;

use super::call::{Call, Reply};
use super::learned::{Learned, TagForm};
use super::session::Session;
use super::{Op, RedfishError};

/// Sends PATCHes with the tag that the resource had when it was read.
pub(super) struct TaggedWriter<'b> {
    pub(super) session: &'b Session,
    /// Which form of the tag this BMC took the last time.
    pub(super) learned: &'b Learned,
}

impl TaggedWriter<'_> {
    /// Sends a PATCH with `etag`. Where the BMC finds the tag wrong (412) or wants one that it never
    /// gave (428), it is sent again with a fresh tag, in each form; the form that works is
    /// remembered.
    pub(super) async fn write(&self, call: &Call<'_>, etag: Option<String>) -> Result<Reply, RedfishError> {
        let tag = self.learned.tag_form().of(etag.as_deref());
        let mut reply = self.write_with(call, tag.as_deref()).await?;
        if !wants_another_tag(&reply) {
            return Ok(reply);
        }
        let fresh = self.fresh_etag(call).await?;
        let mut tried = vec![tag];
        for form in TagForm::ALL {
            let tag = form.of(fresh.as_deref());
            if tried.contains(&tag) {
                continue;
            }
            reply = self.write_with(call, tag.as_deref()).await?;
            tried.push(tag);
            if !wants_another_tag(&reply) {
                self.learned.keep_tag_form(form);
                break;
            }
        }
        Ok(reply)
    }

    async fn write_with(&self, call: &Call<'_>, tag: Option<&str>) -> Result<Reply, RedfishError> {
        self.session.write(&Call { if_match: tag, ..call.clone() }).await
    }

    async fn fresh_etag(&self, call: &Call<'_>) -> Result<Option<String>, RedfishError> {
        let op = if matches!(call.op, Op::Insert | Op::Eject) { Op::Slot } else { Op::System };
        Ok(self.session.read_link(op, call.link, call.system).await?.etag())
    }
}

fn wants_another_tag(reply: &Reply) -> bool {
    matches!(reply.status, StatusCode::PRECONDITION_FAILED | StatusCode::PRECONDITION_REQUIRED)
}
