//! The store: servers, jobs, events, leases, read traces, tokens and the audit log.
//!
//! This folder is the face: the traits that callers use, their types and errors, and what every engine shares
//! (versioned values, sealing, the rules that need no database). `sqlite`, for one controller on a file, and `postgres`,
//! for several, are the engines, and the only modules that know SQL; `contract_tests` is what each must pass. The store is not a queue and drives nothing:
//! `engine` claims jobs here and saves how they advance.
//!
//! How one installation is stored, and what protects each part:
//!
//! 1. [`JobStore::insert_job`]: job, sealed recipe, first events and idempotency key in one transaction, refused
//!    while the server has an active job (`jobs`).
//! 2. [`LeaseStore::claim`]: one controller gets the right to drive the job for a while, with a generation that
//!    rises with every claim (`leases`). It renews the lease while it drives.
//! 3. [`LeaseStore::save`]: each turn of the driver in one transaction with its events, refused if the generation is
//!    no longer the job's. Before an act on the host, the save holds the intent of it.
//!    [`LeaseStore::take_host`] is such a save that also checks that no other active job has the host.
//! 4. Meanwhile others write without a lease, each to a place of its own that no save touches: a cancel (`jobs`), the
//!    read traces of the media and an installer's report (`reports`), what a BMC agreed to (`servers`).
//! 5. The verdict, a decided status and a phase are written once.
//! 6. What a caller of the API changes is recorded in the audit log by the transaction that changes it (`audit`).
//!
//! Structured values are stored with the version that wrote them (`versions`); a job that holds one that this release
//! cannot read is left alone (`unreadable`). Invariants 1, 3 and 5 are kept by the database itself and do not
//! depend on how callers behave.

mod address;
mod answer;
mod audit;
mod batches;
mod bounds;
mod error;
mod events;
mod jobs;
mod keys;
mod leases;
mod notifications;
mod postgres;
mod probes;
mod recipes;
mod reports;
mod retention;
mod row;
mod servers;
mod sqlite;
mod tap;
mod tokens;
mod transfer;
mod unreadable;
mod versions;

use std::ops::Deref;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

pub use address::DatabaseAddress;
pub use audit::{AuditFilter, AuditReport, AuditStore};
pub use batches::{
    BATCH_ROWS_MAX, Batch, BatchChange, BatchOutcome, BatchRow, BatchStore, InsertedBatch, NewBatch,
    RowCounts,
};
pub use error::{StoreError, StoreErrorKind};
pub use events::{EVENTS_A_JOB_MAX, EventFilter, EventStore};
pub use jobs::{
    CancelOutcome, IDEMPOTENCY_TTL, IdempotencyKey, Inserted, JobFilter, JobStore, NewJob, RefusedJob,
};
pub use keys::{KeyStore, KnownKey, OwnSecret, Resealed};
pub use leases::{HostHolder, Lease, LeaseStore};
pub use notifications::{Notification, NotificationStore, NotificationSubject};
pub use postgres::{AddressError, POSTGRES_SCHEMA_VERSION, Postgres, PostgresAddress, keys_of_postgres};
pub use probes::ProbeStore;
pub use reports::{DELIVERIES_MAX, PROGRESS_EVERY, ReportStore, TaskReports};
pub use retention::RetentionStore;
pub use servers::{LastJob, SERVERS_MAX, ServerFilter, ServerPut, ServerRecord, ServerStore};
pub use sqlite::SCHEMA_VERSION;
pub use sqlite::{LockedDatabase, Restored, Sqlite, Taken, keys_of_database, take_backup, verify_audit_file};
pub use tap::{Side, Tap};
pub use tokens::{TOKENS_MAX, TokenStore};
pub use transfer::{TransferSource, TransferredTable};
pub use unreadable::{StoredJob, UnreadableJob};
pub use versions::VERSION as STORED_VERSION;

/// The most rows that one call returns, whatever limit it was given.
pub const PAGE_MAX: usize = 500;

/// What a call of a store returns. It owns its arguments, so that an engine may carry it out on another thread; a
/// call that an engine has begun is carried out even if the caller drops the future.
pub type StoreFuture<T> = BoxFuture<'static, Result<T, StoreError>>;

/// The controller's database, whichever engine it has. Clones share one handle.
#[derive(Clone)]
pub struct Store(Arc<dyn StoreEngine>);

impl Store {
    pub fn new(engine: impl StoreEngine + 'static) -> Store {
        Store(Arc::new(engine))
    }
}

impl Deref for Store {
    type Target = dyn StoreEngine;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// All that an engine is: one handle on one database.
///
/// Each method is one transaction, or one consistent read. What a call has returned is durable.
pub trait StoreEngine:
    JobStore
    + BatchStore
    + NotificationStore
    + RetentionStore
    + LeaseStore
    + EventStore
    + ReportStore
    + ProbeStore
    + ServerStore
    + TokenStore
    + AuditStore
    + KeyStore
    + Send
    + Sync
{
    /// Whether other controllers may use the database at the same time.
    fn is_shared(&self) -> bool;

    /// The clock of the database, where its controllers are to follow that.
    fn clock(&self) -> StoreFuture<Option<Timestamp>>;

    /// Reads, writes and commits about as much as a save does, for readiness.
    fn check(&self) -> StoreFuture<()>;

    /// Reads the whole database and compares it with its indexes. Takes seconds on a large one.
    fn integrity_check(&self) -> StoreFuture<()>;

    /// The controller has stopped: it no longer counts among those that run.
    fn leave(&self) -> StoreFuture<()>;

    /// The same database as another controller has it: leases stand, and neither handle is notified of
    /// what the other one writes. Simulations only.
    fn second_handle(&self) -> Store;

    /// A second handle, with `tap` called around each write. Simulations only.
    fn tapped(&self, tap: Tap) -> Store;
}

#[cfg(test)]
mod contract_tests;
