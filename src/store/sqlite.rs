//! The SQLite engine: all SQL, and the files that it lies in.
//!
//! One connection behind a standard mutex (SQLite has one writer anyway; nothing awaits while it is
//! locked). On a file, calls run on one of Tokio's blocking threads, and writes that wait together share a commit (`calls`). In memory
//! they run inline, so that a simulation's paused time never waits for a thread, and the database
//! outlives the controller that it simulates: [`Sqlite::reopen`] is what a restart finds, and
//! `StoreEngine::second_handle` what another controller of the same database has at the same time.
//!
//! A file is written in WAL mode with `synchronous=FULL`: what a call has answered survives a loss
//! of power. It has one controller at a time, which an exclusive lock guarantees (`lock`), so the leases of the run
//! before are void when it is opened. Secrets are sealed (`seal`) before they reach SQLite.
//!
//! A call is one closure over a [`Reader`] or a [`Writer`]; a writer's closure is done as a whole or not at all. The methods of the
//! store's traits make the closures, and each file below holds those of its tables.

mod audit;
mod backup;
mod batches;
mod bmc_memory;
mod calls;
mod events;
mod fault;
mod files;
mod hardware;
mod hosts;
mod idempotency;
mod job_rows;
mod jobs;
mod keys;
mod leases;
mod lock;
mod notifications;
mod probes;
mod recipes;
mod reports;
mod retention;
mod row;
mod schema;
mod servers;
mod tokens;
mod transfer;
mod unreadable;

use std::cell::Cell;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _};
use tokio::sync::{Notify, watch};

use crate::access::{Act, ChainKey, TokenKey};
use crate::seal::Sealer;
use crate::store::answer::CallAnswer;
use crate::store::tap::{self, Side, Tap};
use crate::store::{OwnSecret, Store, StoreEngine, StoreError, StoreFuture};
use calls::{Call, Calls, ReadCall, Reading, WriteCall, Writing};
use fault::Fault;
use files::{FileFault, OpenFiles};

pub use audit::verify_audit_file;
pub use backup::{Restored, Taken, take_backup};
pub use keys::keys_of_database;
pub use lock::LockedDatabase;
pub use schema::SCHEMA_VERSION;

/// How long SQLite waits for a lock, which only a tool beside the controller can hold.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

const PROBE_BYTES: usize = 32 * 1024;

/// One handle on a database. Clones share it and notify each other.
#[derive(Clone)]
pub struct Sqlite {
    database: Arc<Database>,
    sealer: Sealer,
    token_key: TokenKey,
    chain_key: ChainKey,
    latest_event: Arc<watch::Sender<u64>>,
    jobs_changed: Arc<Notify>,
    tap: Option<Tap>,
    /// What the next write is recorded as in the audit log.
    act: Option<Act>,
    /// Beside another controller's handle.
    is_second: bool,
}

struct Database {
    connection: Mutex<Connection>,
    /// For error messages.
    name: String,
    storage: Storage,
}

enum Storage {
    Memory,
    File {
        /// One thread makes them, so that a slow disk cannot use up the blocking threads.
        calls: Arc<Calls>,
        path: PathBuf,
        /// Known once SQLite has made them all.
        files: OnceLock<OpenFiles>,
        /// Held for as long as the database is open.
        _lock: lock::Lock,
    },
}

impl Store {
    /// Opens the database at `path`, created if it is missing, and takes its exclusive lock: a second
    /// controller is refused, and the leases of the run before this one are void.
    pub fn open(path: &Path, sealer: Sealer) -> Result<Store, StoreError> {
        Sqlite::open(path, sealer)?.check_not_moved().map(Store::from)
    }

    /// The same where the lock was taken before, to see which keys are needed.
    pub fn open_locked(locked: LockedDatabase, sealer: Sealer) -> Result<Store, StoreError> {
        Sqlite::open_locked(locked, sealer)?.check_not_moved().map(Store::from)
    }

    /// An empty database that lives as long as its last handle. For tests, simulations, and a check
    /// without a controller.
    pub fn in_memory(sealer: Sealer) -> Result<Store, StoreError> {
        Sqlite::in_memory(sealer).map(Store::from)
    }
}

impl From<Sqlite> for Store {
    fn from(sqlite: Sqlite) -> Store {
        Store::new(sqlite)
    }
}

impl Sqlite {
    /// See [`Store::open`].
    pub fn open(path: &Path, sealer: Sealer) -> Result<Sqlite, StoreError> {
        Sqlite::open_locked(LockedDatabase::lock(path)?, sealer)
    }

    /// See [`Store::open_locked`].
    pub fn open_locked(locked: LockedDatabase, sealer: Sealer) -> Result<Sqlite, StoreError> {
        let LockedDatabase { path, name, lock } = locked;
        let connection = connect(&path).map_err(|fault| fault.at("opening", &name))?;
        let (calls, files) = (Arc::default(), OnceLock::new());
        let storage = Storage::File { calls, path, files, _lock: lock };
        Sqlite::start(Arc::new(Database { connection: Mutex::new(connection), name, storage }), sealer)
    }

    /// See [`Store::in_memory`].
    pub fn in_memory(sealer: Sealer) -> Result<Sqlite, StoreError> {
        let name = "in memory".to_owned();
        let connection = Connection::open_in_memory().map_err(Fault::from).and_then(configured);
        let connection = connection.map_err(|fault| fault.at("opening", &name))?;
        let connection = Mutex::new(connection);
        Sqlite::start(Arc::new(Database { connection, name, storage: Storage::Memory }), sealer)
    }

    /// The same database as a controller finds it that starts after a crash of this one: leases
    /// are void, and nothing listens yet. Simulations only; production starts anew.
    pub fn reopen(&self) -> Result<Sqlite, StoreError> {
        Sqlite::start(self.database.clone(), self.sealer.clone())
    }

    /// The same database with other keys, among them all that it still needs.
    pub fn with_keys(&self, sealer: Sealer) -> Result<Sqlite, StoreError> {
        Sqlite::start(self.database.clone(), sealer)
    }

    /// Writes all that is in the log into the database itself, and empties the log.
    pub async fn fold_log(&self) -> Result<(), StoreError> {
        self.read("folding the log into the database", |reader| {
            Ok(reader.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
        })
        .await
    }

    fn another_handle(&self) -> Sqlite {
        let found = HandleParts {
            latest_event: *self.latest_event.borrow(),
            token_key: self.token_key.clone(),
            chain_key: self.chain_key.clone(),
        };
        Sqlite::handle(self.database.clone(), self.sealer.clone(), found)
    }

    fn start(database: Arc<Database>, sealer: Sealer) -> Result<Sqlite, StoreError> {
        let found = prepare(&mut database.lock(), &database.name, &sealer);
        let found = found.map_err(|fault| fault.at("opening", &database.name))?;
        database.know_files()?;
        Ok(Sqlite::handle(database, sealer, found))
    }

    fn handle(database: Arc<Database>, sealer: Sealer, opened: HandleParts) -> Sqlite {
        let (latest_event, _) = watch::channel(opened.latest_event);
        let (latest_event, jobs_changed) = (Arc::new(latest_event), Arc::new(Notify::new()));
        let HandleParts { token_key, chain_key, .. } = opened;
        Sqlite {
            database,
            sealer,
            token_key,
            chain_key,
            latest_event,
            jobs_changed,
            tap: None,
            act: None,
            is_second: false,
        }
    }

    /// Runs `work` in one transaction, notifies of what it changed after the commit, and undoes all of it
    /// if it fails. Where this handle has an act to record and `work` changes something, the entry of the audit log is
    /// written in the same transaction.
    fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Writer<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> StoreFuture<T> {
        CallAnswer::of(self.writing(doing, Box::new(move |writer| work(writer).map(CallAnswer::new))))
    }

    fn writing(&self, doing: &'static str, work: Writing) -> StoreFuture<CallAnswer> {
        let store = self.clone();
        Box::pin(async move {
            tap::ask(store.tap.as_ref(), doing, Side::Before).await?;
            let (call, caller) = WriteCall::new(store.clone(), work);
            match &store.database.storage {
                Storage::Memory => calls::commit(vec![call]),
                Storage::File { calls, .. } => calls.add(Call::Write(Box::new(call))),
            }
            let answer = caller.answer().await.map_err(|fault| fault.at(doing, &store.database.name))?;
            tap::ask(store.tap.as_ref(), doing, Side::After).await?;
            Ok(answer)
        })
    }

    fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Reader<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> StoreFuture<T> {
        CallAnswer::of(self.reading(doing, Box::new(move |reader| work(reader).map(CallAnswer::new))))
    }

    fn reading(&self, doing: &'static str, work: Reading) -> StoreFuture<CallAnswer> {
        let (database, sealer) = (self.database.clone(), self.sealer.clone());
        Box::pin(async move {
            let (call, caller) = ReadCall::new(database.clone(), sealer, work);
            match &database.storage {
                Storage::Memory => call.run(),
                Storage::File { calls, .. } => calls.add(Call::Read(call)),
            }
            caller.answer().await.map_err(|fault| fault.at(doing, &database.name))
        })
    }

    fn notify(&self, last_event: Option<u64>, jobs_changed: bool) {
        if let Some(id) = last_event {
            self.latest_event.send_replace(id);
        }
        if jobs_changed {
            self.jobs_changed.notify_waiters();
            self.jobs_changed.notify_one();
        }
    }
}

impl StoreEngine for Sqlite {
    /// Only where a simulation has made another handle.
    fn is_shared(&self) -> bool {
        self.is_second
    }

    fn clock(&self) -> StoreFuture<Option<Timestamp>> {
        Box::pin(async { Ok(None) })
    }

    fn check(&self) -> StoreFuture<()> {
        let (store, database) = (self.clone(), self.database.clone());
        Box::pin(async move {
            let look = move |reader: &Reader<'_>| database.check_log(reader);
            store.read("checking the database's files", look).await?;
            store.write("checking the database", probe).await
        })
    }

    fn integrity_check(&self) -> StoreFuture<()> {
        self.read("checking the database's integrity", |reader| {
            let found: String = reader.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
            if found == "ok" { Ok(()) } else { Err(Fault::row("a page", found)) }
        })
    }

    fn leave(&self) -> StoreFuture<()> {
        Box::pin(async { Ok(()) })
    }

    fn second_handle(&self) -> Store {
        Sqlite { is_second: true, ..self.another_handle() }.into()
    }

    fn tapped(&self, tap: Tap) -> Store {
        Sqlite { tap: Some(tap), is_second: self.is_second, ..self.another_handle() }.into()
    }
}

/// Writes as much as a save does.
fn probe(writer: &Writer<'_>) -> Result<(), Fault> {
    let sql = "SELECT value FROM meta WHERE name = 'probe'";
    let found: Option<Vec<u8>> = writer.query_row(sql, [], |row| row.get(0)).optional()?;
    // Another value than before: SQLite does not write a row that stays the same.
    let last = found.and_then(|value| value.first().copied()).unwrap_or_default();
    let value = vec![last.wrapping_add(1); PROBE_BYTES];
    writer.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('probe', ?1)", [value])?;
    Ok(())
}

impl Database {
    /// A panic while it was locked has rolled its transaction back: the connection is sound.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn know_files(&self) -> Result<(), StoreError> {
        let Storage::File { path, files, .. } = &self.storage else { return Ok(()) };
        let found = OpenFiles::of(path);
        let found = found.map_err(|source| StoreError::Path { database: self.name.clone(), source })?;
        let _known_before = files.set(found);
        Ok(())
    }

    fn files(&self) -> Option<&OpenFiles> {
        match &self.storage {
            Storage::File { files, .. } => files.get(),
            Storage::Memory => None,
        }
    }

    /// Whether a write would reach the files that the next start opens.
    fn check_names(&self) -> Result<(), FileFault> {
        self.files().map_or(Ok(()), OpenFiles::check_names)
    }

    /// Whether the write-ahead log holds what was committed to it.
    fn check_log(&self, connection: &Connection) -> Result<(), Fault> {
        let Some(files) = self.files() else { return Ok(()) };
        self.check_names()?;
        let frames = || {
            let sql = "PRAGMA wal_checkpoint(NOOP)";
            let frames: i64 = connection.query_row(sql, [], |row| row.get(1))?;
            Ok::<_, rusqlite::Error>(u64::try_from(frames).unwrap_or(0))
        };
        Ok(files.check_log(frames)??)
    }
}

/// The connection within a transaction, and what is notified once it is committed.
struct Writer<'a> {
    connection: &'a Connection,
    sealer: &'a Sealer,
    chain_key: &'a ChainKey,
    last_event: Cell<Option<u64>>,
    jobs_changed: Cell<bool>,
}

impl Writer<'_> {
    fn reader(&self) -> Reader<'_> {
        Reader { connection: self.connection, sealer: self.sealer }
    }
}

impl Deref for Writer<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

/// The connection, and the key to what is sealed in it.
struct Reader<'a> {
    connection: &'a Connection,
    sealer: &'a Sealer,
}

impl Deref for Reader<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

fn connect(path: &Path) -> Result<Connection, Fault> {
    let connection = configured(Connection::open(path)?)?;
    retention::enable_shrinking(&connection)?;
    // The page cache of SQLite and its WAL are the controller's own; a tool may read beside it.
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::row("the journal mode", format!("{mode}: the file system has no shared memory")));
    }
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    Ok(connection)
}

fn configured(connection: Connection) -> Result<Connection, Fault> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.execute_batch(unreadable::TABLE)?;
    connection.execute_batch(hosts::TABLE)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Else a statement whose plan could depend on a value is planned anew for each value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// What every handle on a database has from its opening.
struct HandleParts {
    latest_event: u64,
    token_key: TokenKey,
    chain_key: ChainKey,
}

/// Migrates, checks the key, voids the leases of the run before, and learns which hosts are taken.
fn prepare(connection: &mut Connection, name: &str, sealer: &Sealer) -> Result<HandleParts, Fault> {
    schema::migrate(connection, name)?;
    keys::check(connection, name, sealer)?;
    leases::release_all_of_previous_run(connection)?;
    hosts::note_all(connection)?;
    Ok(HandleParts {
        latest_event: events::latest(connection)?,
        token_key: TokenKey::new(*keys::own(connection, name, sealer, OwnSecret::Tokens)?),
        chain_key: ChainKey::new(*keys::own(connection, name, sealer, OwnSecret::Audit)?),
    })
}

#[cfg(test)]
pub(super) mod contract;
#[cfg(test)]
mod tests;
