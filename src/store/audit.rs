//! The audit log: one entry for each action of a caller, in the transaction of what the action changed.
//!
//! Which actions are audited is not decided here. An entry is numbered and chained to the one before it by a keyed
//! hash (`access::chain`), so an engine reads the last entry and writes the next one within one transaction, and
//! seals the new end of the chain there too. Invariants: a write that is audited and its entry are both stored or
//! neither is; entries are never changed, and removed from the oldest on only (`retention`).

use super::{PAGE_MAX, Store, StoreFuture};
use crate::access::{Act, ChainCheck, ChainFault, ChainStart, Entry};

/// Which entries, newest first.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Its id or its name.
    pub actor: Option<String>,
    pub action: Option<String>,
    pub server: Option<String>,
    pub job: Option<String>,
    /// Those with a smaller number: that of the last one of the page before.
    pub before: Option<u64>,
    /// At most [`PAGE_MAX`].
    pub limit: usize,
}

/// The result of a check of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// The number of the first entry that is kept; those before it were exported and removed.
    pub first: u64,
    /// The number of the last entry up to which all are as they were written.
    pub good: u64,
    /// The hash of the last of them: kept elsewhere, it shows that an older database was restored.
    pub last_hash: [u8; 32],
    pub fault: Option<ChainFault>,
}

pub trait AuditStore {
    /// The same store for one action: the next write that changes something records it, in the same transaction.
    fn with_audit(&self, act: Act) -> Store;

    /// Records an action that writes nothing else.
    fn record(&self, act: Act) -> StoreFuture<()>;

    /// One page of entries; continue with `before` set to the last one's number.
    fn audit(&self, filter: &AuditFilter) -> StoreFuture<Vec<Entry>>;

    /// Checks the whole chain, a page at a time, while others write.
    fn verify_audit(&self) -> StoreFuture<AuditReport>;
}

/// Begins the check at the start of a chain that was shortened.
pub(super) fn begin(check: &mut ChainCheck, start: Option<ChainStart>) -> Result<(), AuditReport> {
    let Some(start) = start else { return Ok(()) };
    check.begin(&start).map_err(|fault| report(check, Some(fault)))
}

fn report(check: &ChainCheck, fault: Option<ChainFault>) -> AuditReport {
    AuditReport { first: check.first(), good: check.last(), last_hash: check.last_hash(), fault }
}

/// Adds the next page of entries to the check. Returns a report after the last page, or at the first fault.
pub(super) fn check_page(
    check: &mut ChainCheck,
    entries: &[Entry],
    end: Option<[u8; 32]>,
) -> Option<AuditReport> {
    let followed = entries.iter().try_for_each(|entry| check.next(entry));
    let is_all = entries.len() < PAGE_MAX;
    let fault = match followed {
        Ok(()) if !is_all => return None,
        Ok(()) => check.finish(end).err(),
        Err(fault) => Some(fault),
    };
    Some(report(check, fault))
}
