//! The service root, read before any login.
//!
//! The standard shows the root to everyone, and a login begins with it: the root names the collection of sessions.
//! A BMC that hides it (401, 403) is read with a login instead, by [`Session::root`](super::session::Session::root).
//! Invariant: reading the root needs no credentials and sends none.

use std::sync::Arc;

use serde_json::Value;

use super::call::Reply;
use super::expiry::{Expiry, Remembered};
use super::service::{ROOT, Root, parse_root};
use super::transport::Transport;
use super::{Op, RedfishError, RedfishErrorKind, json};

/// The root of one service, remembered until the links expire.
pub(super) struct RootReader(Remembered<KnownRoot>);

#[derive(Default)]
struct KnownRoot {
    root: Option<Root>,
    /// What of its JSON is used before a login.
    text: Option<String>,
    /// It was not read, but is remembered from an earlier job.
    is_recalled: bool,
}

/// Of the JSON of a root that is remembered; real ones have a few hundred.
const TEXT_BYTES_MAX: usize = 8 << 10;

impl RootReader {
    pub(super) fn new(expiry: &Arc<Expiry>) -> RootReader {
        RootReader(Remembered::new(expiry))
    }

    pub(super) fn known(&self) -> Option<Root> {
        self.0.with(|known| known.root.clone())
    }

    /// The root as it can be recalled, if it was read without a login.
    pub(super) fn text(&self) -> Option<String> {
        self.0.with(|known| known.text.clone())
    }

    /// Begins with what was remembered, where the root has not been read yet.
    pub(super) fn recall(&self, transport: &Transport, text: &str) {
        let Ok(body) = json::parse_body(text.as_bytes()) else { return };
        if self.known().is_none() {
            self.keep(transport, &body);
            self.0.with(|known| known.is_recalled = true);
        }
    }

    /// What was recalled has led nowhere; the root is read for the next use. Whether it was recalled.
    pub(super) fn forget_recalled(&self) -> bool {
        self.0.with(|known| {
            let was_recalled = known.is_recalled;
            if was_recalled {
                *known = KnownRoot::default();
            }
            was_recalled
        })
    }

    /// One try; `None` where the BMC wants a login for it.
    pub(super) async fn read_without_login(
        &self,
        transport: &Transport,
    ) -> Result<Option<Root>, RedfishError> {
        if let Some(root) = self.known() {
            return Ok(Some(root));
        }
        let call = transport.get(Op::Root, ROOT, None);
        let reply = transport.exchange(&call, None).await?;
        match reply.status.as_u16() {
            401 | 403 => Ok(None),
            200..300 if reply.body.is_object() => Ok(Some(self.remember(transport, &reply))),
            200..300 => Err(call.error(RedfishErrorKind::Garbled)),
            _ => Err(transport.refusal(&call, &reply)),
        }
    }

    pub(super) fn remember(&self, transport: &Transport, reply: &Reply) -> Root {
        self.keep(transport, &reply.body)
    }

    fn keep(&self, transport: &Transport, body: &Value) -> Root {
        let root = parse_root(body);
        transport.identity.learn_root(root.vendor, body);
        let text = Some(body.to_string()).filter(|text| text.len() <= TEXT_BYTES_MAX);
        let known = KnownRoot { root: Some(root.clone()), text, is_recalled: false };
        self.0.with(|kept| *kept = known);
        root
    }
}
