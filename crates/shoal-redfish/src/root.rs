//! The service root, read before any login.
//!
//! The standard shows the root to everyone, and a login begins with it: the root names the collection of sessions.
//! A BMC that hides it (401, 403) is read with a login instead, by [`Session::root`](super::session::Session::root).
//! Invariant: reading the root needs no credentials and sends none.

use std::sync::Arc;

use super::call::Reply;
use super::expiry::{Expiry, Remembered};
use super::service::{ROOT, Root, parse_root};
use super::transport::Transport;
use super::{Op, RedfishError, RedfishErrorKind};

/// The root of one service, remembered until the links expire.
pub(super) struct RootReader(Remembered<Option<Root>>);

impl RootReader {
    pub(super) fn new(expiry: &Arc<Expiry>) -> RootReader {
        RootReader(Remembered::new(expiry))
    }

    pub(super) fn known(&self) -> Option<Root> {
        self.0.with(|root| root.clone())
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
        let root = parse_root(&reply.body);
        transport.identity.learn_root(root.vendor, &reply.body);
        self.0.with(|known| *known = Some(root.clone()));
        root
    }
}
