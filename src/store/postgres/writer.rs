//! One connection, lent for a call: reads, and the transaction of a write.
//!
//! Statements are unnamed and nothing depends on the session, so that a pooler may give each transaction another
//! connection. A write's transaction begins with a token of its own in the table `writes`, which shows afterwards
//! whether it was committed, and ends with what is numbered in the order of commits: the audit's entries and the events,
//! under a lock that is held until the commit (`calls`). Invariant: a connection that is not known to be outside of a transaction
//! is closed, and not lent again.

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::Object;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::fault::PgFault;
use super::row::{PgValue, values};
use crate::access::{Act, ChainKey};
use crate::domain::{JobId, NewEvent};
use crate::seal::Sealer;

/// How long one statement may take, its way to the server and back included.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Limits of the transaction at the server: a controller that is frozen in the middle of one must not hold its locks.
/// They end with the transaction, so a pooler's next client does not meet them.
const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '15s';
    SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// Held to the end of a transaction, by what it keeps apart.
#[derive(Clone, Copy, Debug)]
pub(super) enum DatabaseLock {
    Migration = 1,
    /// Events and the audit are numbered.
    Numbers = 2,
    Hosts = 3,
    Servers = 4,
    Tokens = 5,
    Deliveries = 6,
    Notifications = 7,
    Requests = 8,
}

/// Of the advisory locks of one database, those of this program.
const LOCK_CLASS: i64 = 0x5348_4f41;

/// A lent connection.
pub(super) struct PgReader {
    /// `None` once it was given back or closed.
    client: Option<Object>,
    pub sealer: Sealer,
}

impl PgReader {
    pub fn new(client: Object, sealer: Sealer) -> PgReader {
        PgReader { client: Some(client), sealer }
    }

    fn client(&self) -> &Object {
        self.client.as_ref().expect("it is given back by its owner alone, at the end")
    }

    pub async fn query(&self, sql: &str, values: &[PgValue]) -> Result<Vec<Row>, PgFault> {
        let values: Vec<(&(dyn ToSql + Sync), _)> =
            values.iter().map(|value| (value as &(dyn ToSql + Sync), value.kind())).collect();
        in_time(self.client().query_typed(sql, &values)).await
    }

    /// The first row.
    pub async fn optional(&self, sql: &str, values: &[PgValue]) -> Result<Option<Row>, PgFault> {
        Ok(self.query(sql, values).await?.into_iter().next())
    }

    /// The row of a statement that always has one.
    pub async fn one(&self, sql: &str, values: &[PgValue]) -> Result<Row, PgFault> {
        let row = self.optional(sql, values).await?;
        row.ok_or_else(|| PgFault::row("a row", "it is not there"))
    }

    pub async fn exists(&self, sql: &str, values: &[PgValue]) -> Result<bool, PgFault> {
        Ok(self.optional(sql, values).await?.is_some())
    }

    /// Statements without parameters, in one round trip.
    pub async fn batch(&self, sql: &str) -> Result<(), PgFault> {
        in_time(self.client().batch_execute(sql)).await
    }

    /// Begins a transaction that only reads, all of it from one snapshot.
    pub async fn begin_snapshot(&self) -> Result<(), PgFault> {
        self.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '30s'")
            .await
    }

    /// Gives the connection back. It must be outside of a transaction.
    pub fn give_back(mut self) {
        drop(self.client.take());
    }
}

impl Drop for PgReader {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, PgFault> {
    match tokio::time::timeout(STATEMENT_TIMEOUT, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(PgFault::Connection {
            message: format!("the server did not answer within {} s", STATEMENT_TIMEOUT.as_secs()),
        }),
    }
}

/// An event that has its number within its job.
pub(super) struct NumberedEvent {
    pub job: JobId,
    pub seq: u64,
    pub event: NewEvent,
}

/// What a transaction has gathered, to be written at its end or made known after it.
#[derive(Default)]
pub(super) struct Gathered {
    changed: bool,
    pub jobs_changed: bool,
    pub acts: Vec<Act>,
    pub events: Vec<NumberedEvent>,
}

/// The connection within a transaction.
pub(super) struct PgWriter {
    reader: PgReader,
    pub chain_key: ChainKey,
    gathered: Mutex<Gathered>,
}

impl Deref for PgWriter {
    type Target = PgReader;

    fn deref(&self) -> &PgReader {
        &self.reader
    }
}

impl PgWriter {
    pub fn new(reader: PgReader, chain_key: ChainKey) -> PgWriter {
        PgWriter { reader, chain_key, gathered: Mutex::default() }
    }

    fn gathered(&self) -> std::sync::MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the transaction that this token names. `false` where one of that token was committed.
    pub async fn begin(&self, token: [u8; 16]) -> Result<bool, PgFault> {
        let note = format!(
            "INSERT INTO writes (token, at) VALUES ($1, {}) ON CONFLICT DO NOTHING RETURNING true",
            super::DATABASE_NOW
        );
        // It waits where a transaction of that token has not ended yet.
        let values = values![token];
        let (begun, noted) = tokio::join!(biased; self.batch(BEGIN), self.optional(&note, values));
        begun?;
        Ok(noted?.is_some())
    }

    /// Begins a transaction of a database that may have no tables yet.
    pub async fn begin_bare(&self) -> Result<(), PgFault> {
        self.batch("BEGIN").await
    }

    /// Returns how many rows were changed.
    pub async fn execute(&self, sql: &str, values: &[PgValue]) -> Result<u64, PgFault> {
        let values: Vec<(&(dyn ToSql + Sync), _)> =
            values.iter().map(|value| (value as &(dyn ToSql + Sync), value.kind())).collect();
        let rows = in_time(self.client().execute_typed(sql, &values)).await?;
        if rows > 0 {
            self.gathered().changed = true;
        }
        Ok(rows)
    }

    /// Waits for the lock, and holds it to the end of the transaction.
    pub async fn lock(&self, lock: DatabaseLock) -> Result<(), PgFault> {
        let key = (LOCK_CLASS << 32) | lock as i64;
        self.query("SELECT pg_advisory_xact_lock($1)", values![key]).await.map(drop)
    }

    /// The same for one name of many.
    pub async fn lock_named(&self, lock: DatabaseLock, name: &str) -> Result<(), PgFault> {
        let key = (LOCK_CLASS + lock as i64) << 32;
        let sql = "SELECT pg_advisory_xact_lock($1 | (hashtext($2)::bigint & 4294967295))";
        self.query(sql, values![key, name]).await.map(drop)
    }

    /// Records an action at the end of the transaction.
    pub fn audit(&self, act: Act) {
        self.gathered().acts.push(act);
    }

    /// Writes events at the end of the transaction.
    pub fn report(&self, events: Vec<NumberedEvent>) {
        self.gathered().events.extend(events);
    }

    pub fn jobs_changed(&self) {
        self.gathered().jobs_changed = true;
    }

    /// Sets a value of the table `meta`.
    pub async fn put_meta(&self, name: &str, value: &[u8]) -> Result<(), PgFault> {
        let sql = "INSERT INTO meta (name, value) VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.execute(sql, values![name, value]).await.map(drop)
    }

    pub fn gather(&self) -> Gathered {
        std::mem::take(&mut *self.gathered())
    }

    pub fn has_changed(&self) -> bool {
        let gathered = self.gathered();
        gathered.changed || !gathered.acts.is_empty()
    }

    /// Ends the transaction without effect, and gives the connection back.
    pub async fn roll_back(self) {
        if self.batch("ROLLBACK").await.is_ok() {
            self.reader.give_back();
        }
    }

    /// Gives the connection back after the commit.
    pub fn give_back(self) {
        self.reader.give_back();
    }
}
