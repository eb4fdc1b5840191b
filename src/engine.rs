//! What the engine offers to those who do not run it: the dry run.
//!
//! Invariant: a dry run changes nothing, neither in the store nor at a BMC.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::job::{JobSpec, NewEvent, Serial, Step};

/// Tries a job up to and including `resolve-server`.
pub type DryRunner = Arc<dyn Fn(Serial, JobSpec) -> BoxFuture<'static, DryRunReport> + Send + Sync>;

/// What a dry run found.
#[derive(Clone, Debug)]
pub struct DryRunReport {
    pub ok: bool,
    pub failed_step: Option<Step>,
    /// A sentence that an operator can act on, where it is not `ok`.
    pub reason: Option<String>,
    pub events: Vec<NewEvent>,
}
