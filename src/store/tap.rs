//! What a simulation may do around the writes of a database: note them, hold them up, refuse them.
//!
//! Production has no tap. Invariant: a write that the tap refuses beforehand has no effect, and one
//! that it refuses afterwards has had all of it.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::error::StoreError;

/// On which side of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Before,
    After,
}

/// Asked on both sides of each write, with what the write is doing, as errors would name it.
pub type Tap = Arc<dyn Fn(&'static str, Side) -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync>;

pub(super) async fn ask(tap: Option<&Tap>, doing: &'static str, side: Side) -> Result<(), StoreError> {
    match tap {
        Some(tap) => tap(doing, side).await,
        None => Ok(()),
    }
}
