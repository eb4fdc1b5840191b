//! What can go wrong in the store, each with what was being done and in which database.
//!
//! Invariant: no error holds a column's content, sealed or not.

use std::path::PathBuf;

use crate::access::TokenId;
use crate::domain::{BatchId, JobId, Serial, Status};
use crate::seal::SealError;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "another controller holds {}: stop it, or give this one a database of its own (DB_URL)",
        lock.display()
    )]
    Locked { lock: PathBuf },
    #[error(
        "{database} was written by a newer version (schema {found}, this one knows up to {known}): \
         start that version, or name another database in DB_URL"
    )]
    Newer { database: String, found: i64, known: i64 },
    /// Its jobs would be driven twice.
    #[error(
        "the content of {database} was transferred to {to}: name that in DB_URL. To use this one again, run \
         `shoal db restored` on it first, so that no host is started twice"
    )]
    Moved { database: String, to: String },
    /// Its jobs may be those of a moment in the past.
    #[error(
        "{database} is on another server than before (DB_URL). If it was restored from a copy, run `shoal db restored`; \
         if it was moved while no controller ran, run `shoal db restored --resume-all`"
    )]
    OtherServer { database: String },
    #[error("the master key does not open the secrets in {database} (DB_URL): restore the one that it needs")]
    Key { database: String, source: SealError },
    #[error(
        "another program has {database} open (a shell of sqlite3, a backup that runs): close it, and try again"
    )]
    InUse { database: String },
    /// Nothing more is written.
    #[error("{fault}")]
    Files { fault: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot open the database {database} (DB_URL)")]
    Path { database: String, source: std::io::Error },
    /// A file beside the database.
    #[error("{doing}: {}", path.display())]
    File { doing: &'static str, path: PathBuf, source: std::io::Error },
    /// The engine failed; what was being done is undone.
    #[error("{doing}: the database {database} {kind}")]
    Database {
        doing: &'static str,
        database: String,
        kind: StoreErrorKind,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A row that this version cannot have written.
    #[error("{doing}: {row} in the database {database} cannot be read")]
    Row {
        doing: &'static str,
        database: String,
        row: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the store is shutting down")]
    Closed,

    #[error("no server has the serial number {serial}")]
    UnknownServer { serial: Serial },
    #[error("a server with the serial number {serial} exists already")]
    ServerExists { serial: Serial },
    #[error(
        "the serial number {serial} differs only in case or blanks from that of server {existing}, which is in the \
         inventory: use {existing}, or remove that server first"
    )]
    SimilarServer { serial: Serial, existing: Serial },
    #[error("server {serial} was changed at the same moment by another request: repeat the change")]
    ServerChanged { serial: Serial },
    #[error("the inventory is full: it holds {max} servers")]
    InventoryFull { max: u64 },
    #[error("server {server} is busy with job {job}")]
    Busy { server: Serial, job: JobId },
    #[error("there is no job {job}")]
    UnknownJob { job: JobId },
    #[error("there is no batch {batch}")]
    UnknownBatch { batch: BatchId },
    #[error("there is no token {id}")]
    UnknownToken { id: TokenId },
    #[error(
        "a live token has the name {name:?} already, or the same text: revoke it, or choose another name"
    )]
    TokenExists { name: String },
    #[error("{max} live tokens are kept, and no more: revoke some")]
    TooManyTokens { max: u64 },
    #[error("this is the last live admin token: create another one before you revoke it")]
    LastAdminToken,
    #[error("this Idempotency-Key was used within a day with another body")]
    IdempotencyConflict,
    /// Another controller drives the job, or its lease was released; nothing was written.
    #[error("the lease on job {job} is lost")]
    LeaseLost { job: JobId },
    /// A controller that can read the job drives it.
    #[error("another controller drives job {job}: cancel the job there")]
    Leased { job: JobId },
    /// The update would have changed what is written once; nothing was written.
    #[error("job {job} is already {}, and that stands", status.name())]
    Decided { job: JobId, status: Status },
}

/// The sort of an error, for readiness and for who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// No space is left for the database.
    Full,
    /// The database, its directory or its file system does not take writes.
    ReadOnly,
    /// The file is damaged, or holds what this version cannot read.
    Corrupt,
    /// Anything else that SQLite or the disk reports.
    Unavailable,
    /// The store works, and what was asked of it is not possible.
    Refused,
}

impl std::fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            StoreErrorKind::Full => "has no space left",
            StoreErrorKind::ReadOnly => "is read-only",
            StoreErrorKind::Corrupt => "is damaged",
            StoreErrorKind::Unavailable => "is unavailable",
            StoreErrorKind::Refused => "refused",
        })
    }
}

impl StoreError {
    pub fn kind(&self) -> StoreErrorKind {
        match self {
            StoreError::Database { kind, .. } => *kind,
            StoreError::Row { .. }
            | StoreError::Key { .. }
            | StoreError::Newer { .. }
            | StoreError::Moved { .. }
            | StoreError::OtherServer { .. } => StoreErrorKind::Corrupt,
            StoreError::Files { .. }
            | StoreError::Locked { .. }
            | StoreError::InUse { .. }
            | StoreError::Closed => StoreErrorKind::Unavailable,
            StoreError::Path { source, .. } | StoreError::File { source, .. } => path_kind(source),
            _ => StoreErrorKind::Refused,
        }
    }
}

fn path_kind(error: &std::io::Error) -> StoreErrorKind {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreErrorKind::Full,
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => StoreErrorKind::ReadOnly,
        _ => StoreErrorKind::Unavailable,
    }
}

/// A panic in the store is the caller's panic; a task that never ran means that the runtime ends.
pub(super) fn resume_panic(error: tokio::task::JoinError) -> StoreError {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => StoreError::Closed,
    }
}
