//! A whole database from one engine to the other, row by row.
//!
//! Both engines read and write the same tables in the same order, as rows of plain cells: sealed values stay sealed, and
//! what is stored with its version keeps it. The receiver writes everything in one transaction, reads it again and
//! compares counts and hashes with what came in. Invariant: the receiver has all of it, or is empty as before; and of two
//! databases that hold the same jobs, controllers open one.

use sha2::{Digest as _, Sha256};

use super::StoreFuture;

/// So many rows are passed on at a time.
pub(super) const TRANSFER_ROWS: usize = 500;

/// In `meta`: where the content of this database was transferred to.
pub(super) const MOVED_TO: &str = "moved_to";

/// What must be empty in a database that receives another one.
pub(super) const TABLES_OF_CONTENT: [&str; 5] = ["servers", "jobs", "batches", "tokens", "audit"];
/// What a database has from its first opening, and gets from the other one.
pub(super) const TABLES_OF_OPENING: [&str; 4] = ["keys", "secrets", "resealing", "meta"];

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    Text,
    Int,
    Bytes,
    /// 0 or 1.
    Bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

pub type CellRow = Vec<Cell>;

/// A table as it is transferred.
#[derive(Debug)]
pub struct TransferTable {
    pub name: &'static str,
    /// So many of the first columns are its key.
    pub keys: usize,
    pub columns: &'static [(&'static str, CellKind)],
}

impl TransferTable {
    pub fn column_names(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    pub fn key_names(&self) -> String {
        let names: Vec<&str> = self.columns[..self.keys].iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// The key of the last row of a page.
    pub fn last_key(&self, rows: &[CellRow]) -> Option<CellRow> {
        rows.last().map(|row| row[..self.keys].to_vec())
    }
}

/// What was transferred of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferredTable {
    pub table: &'static str,
    pub rows: u64,
    pub sha256: [u8; 32],
}

/// Counts and hashes rows.
pub(super) struct RowDigest {
    rows: u64,
    hash: Sha256,
}

impl RowDigest {
    pub fn new() -> RowDigest {
        RowDigest { rows: 0, hash: Sha256::new() }
    }

    pub fn add(&mut self, rows: &[CellRow]) {
        for row in rows {
            self.rows += 1;
            row.iter().for_each(|cell| self.add_cell(cell));
        }
    }

    /// A tag, a length and the bytes: no two rows run into each other.
    fn add_cell(&mut self, cell: &Cell) {
        let number;
        let (tag, bytes): (u8, &[u8]) = match cell {
            Cell::Null => (0, &[]),
            Cell::Int(value) => {
                number = value.to_be_bytes();
                (1, &number)
            }
            Cell::Text(text) => (2, text.as_bytes()),
            Cell::Bytes(bytes) => (3, bytes),
        };
        self.hash.update([tag]);
        self.hash.update((bytes.len() as u64).to_be_bytes());
        self.hash.update(bytes);
    }

    pub fn finish(self, table: &'static str) -> TransferredTable {
        TransferredTable { table, rows: self.rows, sha256: self.hash.finalize().into() }
    }
}

/// A database that no controller uses.
pub trait TransferSource: Send + Sync {
    /// The rows after that key, [`TRANSFER_ROWS`] at most, by their key.
    fn page(&self, table: &'static TransferTable, after: Option<CellRow>) -> StoreFuture<Vec<CellRow>>;
}

macro_rules! tables {
    ($($name:literal $keys:literal: $($column:literal $kind:ident),+;)+) => {
        [$(TransferTable { name: $name, keys: $keys, columns: &[$(($column, CellKind::$kind)),+] }),+]
    };
}

/// Those first to which others refer. `leases` is what outlives a controller; `counters` are the numbers that were given
/// last, so that none is given twice.
pub(super) static TRANSFER_TABLES: [TransferTable; 25] = tables! {
    "meta" 1: "name" Text, "value" Bytes;
    "keys" 1: "number" Int, "id" Text, "proof" Bytes, "retired_at" Int;
    "secrets" 1: "name" Text, "value" Bytes;
    "resealing" 1: "place" Text, "key" Text, "after" Text;
    "servers" 1: "serial" Text, "bmc_address" Text, "bmc_username" Text, "bmc_password" Bytes, "tls" Text,
        "system_id" Text, "system_uuid" Text, "management_address" Text, "protected" Bool, "labels" Text,
        "variables" Bytes, "created_at" Int, "updated_at" Int, "revision" Int;
    "bmc_memories" 1: "server" Text, "bmc_address" Text, "memory" Text;
    "hardware" 1: "server" Text, "bmc_address" Text, "read_at" Int, "hardware" Text;
    "batches" 1: "id" Text, "name" Text, "status" Text, "reason" Text, "limits" Text, "created_at" Int,
        "created_by" Text, "last_update" Int, "finished_at" Int, "look_at" Int, "idempotency_key" Text,
        "body_sha256" Bytes;
    "jobs" 1: "id" Text, "server" Text, "task_target" Text, "status" Text, "phase" Text, "wake_at" Int, "cancel" Text,
        "event_seq" Int, "events_dropped" Int, "events_expired" Bool, "retry_of" Text, "created_at" Int,
        "last_update" Int, "finished_at" Int, "failed_step" Text, "failure_code" Text, "reason" Text, "verdict" Text,
        "cursor" Text, "facts" Text, "batch" Text, "held" Bool;
    "leases" 1: "job" Text, "generation" Int, "wake_now" Bool;
    "recipes" 1: "job" Text, "recipe" Bytes, "spec" Bytes, "errors" Text;
    "job_labels" 3: "name" Text, "value" Text, "job" Text;
    "events" 1: "id" Int, "job" Text, "seq" Int, "time" Int, "level" Text, "step" Text, "op" Text, "status" Text,
        "attempt" Int, "duration_ms" Int, "message" Text, "detail" Text;
    "traces" 2: "job" Text, "medium" Text, "trace" Text;
    "idempotency" 1: "key" Text, "body_sha256" Bytes, "job" Text, "at" Int;
    "hook_reports" 1: "job" Text, "report" Text;
    "task_reports" 1: "job" Text, "result" Text, "progress" Text;
    "deliveries" 2: "delivery_id" Text, "job" Text;
    "batch_rows" 2: "batch" Text, "number" Int, "server" Text, "job" Text, "attempts" Int, "labels" Text,
        "released_at" Int, "acknowledged" Bool;
    "tokens" 1: "id" Text, "name" Text, "role" Text, "origin" Text, "hash_prefix" Bytes, "hash" Bytes,
        "created_at" Int, "created_by" Text, "expires_at" Int, "revoked_at" Int, "last_used_at" Int,
        "last_used_from" Text;
    "ended_sessions" 1: "id" Text, "until" Int;
    "audit_start" 1: "id" Int, "seq" Int, "hash" Bytes, "seal" Bytes;
    "audit" 1: "seq" Int, "at" Int, "actor" Text, "actor_name" Text, "role" Text, "source" Text, "action" Text,
        "server" Text, "job" Text, "detail" Text, "hash" Bytes;
    "notifications" 1: "id" Int, "kind" Text, "subject" Text, "at" Int, "attempts" Int, "next_try" Int;
    "counters" 1: "name" Text, "value" Int;
};
