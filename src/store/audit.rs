//! The audit log: which entries there are, and what a check of their chain reports.

use crate::access::ChainFault;

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

/// What became of a check of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// So many entries, from the first, are as they were written.
    pub good: u64,
    /// The hash of the last of them: kept elsewhere, it shows a database that was put back.
    pub last_hash: [u8; 32],
    pub fault: Option<ChainFault>,
}
