//! The database: servers, jobs, events, leases, read traces, tokens, the audit. The only module that knows SQL.
//!
//! It is not a queue and drives nothing; `engine` claims jobs here and saves how they go forward. What callers
//! name lies in this folder; `sqlite` is the engine, with all SQL.
//!
//! Invariants, each kept by the database itself and not by the good behaviour of callers: a server
//! has one active job at most, a verdict and a decided status are written once, and a controller that has lost
//! the lease on a job writes nothing more of it.

mod audit;
mod error;
mod events;
mod jobs;
mod keys;
mod leases;
mod recipes;
mod servers;
mod sqlite;
mod tap;
mod tokens;
mod versions;

pub use audit::{AuditFilter, AuditReport};
pub use error::{StoreError, StoreErrorKind};
pub use events::{EVENTS_A_JOB_MAX, EventFilter};
pub use jobs::{
    CancelOutcome, IDEMPOTENCY_TTL, IdempotencyKey, Inserted, JobFilter, NewJob, RefusedJob, StoredJob,
    UnreadableJob,
};
pub use keys::{KnownKey, OwnSecret, Resealed};
pub use leases::{HostHolder, Lease};
pub use servers::{SERVERS_MAX, ServerRecord};
pub use sqlite::{LockedDatabase, Restored, Store, Taken, keys_of_database, take_backup, verify_audit_file};
pub use tap::{Side, Tap};
pub use tokens::TOKENS_MAX;

/// The most rows that one call returns, whatever limit it was given.
pub const PAGE_MAX: usize = 500;
