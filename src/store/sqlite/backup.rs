//! A whole database in one file, and the way back.
//!
//! A backup is taken in one read transaction while a controller writes. Secrets in it stay sealed: none can be read
//! without the master key, which is not in it. What is restored is the state of a moment that may be long ago: each job
//! that was active then is marked (`Facts::restored_at`), and starts no host any more. Invariant: killed anywhere, there
//! is the old database or the new one, whole, and a file that is called a backup is one.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _};

use super::fault::Fault;
use super::lock::{folder_of, hand_over};
use super::row::{Stored, Word};
use super::{LockedDatabase, Sqlite, Writer, connect, schema};
use crate::access::{Act, Actor};
use crate::domain::{Facts, JobId};
use crate::seal::Sealer;
use crate::store::{StoreError, versions};

/// When it was taken, in the table `meta` of a backup.
const TAKEN_AT: &str = "backup_taken_at";
/// When a backup was put back last, in the table `meta` of a database.
const RESTORED_AT: &str = "restored_at";

/// What a backup came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub bytes: u64,
    /// Not over in that moment.
    pub active_jobs: u64,
}

/// What a restore came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    pub taken_at: Option<Timestamp>,
    /// Those that were active then.
    pub jobs: Vec<JobId>,
    /// Where the database that was there before is now.
    pub before: Option<PathBuf>,
}

/// Writes the database at `database`, which a controller may be using, into the new file `to`.
pub fn take_backup(database: &Path, to: &Path, now: Timestamp) -> Result<Taken, StoreError> {
    let name = database.display().to_string();
    let fault = |fault: Fault| fault.at("backing up", &name);
    let at_path = |source| StoreError::File { doing: "writing a backup", path: to.to_owned(), source };
    if to.exists() {
        return Err(at_path(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "it already exists: name another file",
        )));
    }
    let partial = beside(to, ".partial");
    empty_file(&partial).map_err(at_path)?;
    let source = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE);
    let source = source.map_err(Fault::from).map_err(fault)?;
    let active_jobs = copy(&source, &partial, now).map_err(fault)?;
    publish(&partial, to).map_err(at_path)?;
    let bytes = to.metadata().map_err(at_path)?.len();
    Ok(Taken { bytes, active_jobs })
}

impl Sqlite {
    /// The same from the inside. Simulations, whose database is in no file.
    pub async fn back_up(&self, to: &Path, now: Timestamp) -> Result<(), StoreError> {
        let to = to.to_owned();
        self.read("backing up", move |reader| copy(reader, &to, now).map(drop)).await
    }
}

/// One consistent copy in an empty file that says of itself when it was taken; the number of jobs that were active.
fn copy(source: &Connection, to: &Path, now: Timestamp) -> Result<u64, Fault> {
    source.busy_timeout(super::BUSY_TIMEOUT)?;
    schema::check(source)?;
    source.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
    let copy = Connection::open(to)?;
    sound(&copy)?;
    note(&copy, TAKEN_AT, now)?;
    let active =
        copy.query_row("SELECT count(*) FROM jobs WHERE phase <> 'done'", [], |row| row.get::<_, i64>(0))?;
    copy.close().map_err(|(_, error)| error)?;
    Ok(active.unsigned_abs())
}

fn sound(connection: &Connection) -> Result<(), Fault> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(Fault::row("the copy", found)) }
}

impl LockedDatabase {
    /// Puts the backup `from` in the place of this database. With `resume`, the controller was stopped when it was
    /// taken and has not run since: its jobs go on as after any stop.
    pub async fn restore(
        self,
        from: &Path,
        sealer: Sealer,
        resume: bool,
        now: Timestamp,
    ) -> Result<Restored, StoreError> {
        let name = from.display().to_string();
        let at_path =
            |source| StoreError::File { doing: "restoring a backup", path: from.to_owned(), source };
        let place = self.path.clone();
        let new = beside(&place, ".restoring");
        copy_for_owner(from, &new, &place).map_err(at_path)?;
        let restored = settle(&new, &name, sealer, resume, now).await?;
        let before = match self.is_new() {
            true => None,
            false => Some(put_aside(&place, now).inspect_err(|_| remove(&new))?),
        };
        publish(&new, &place).map_err(at_path)?;
        Ok(Restored { before, ..restored })
    }
}

/// Opens the copy, which checks its schema and its key, and marks its jobs; everything is in one file again then.
async fn settle(
    copy: &Path,
    name: &str,
    sealer: Sealer,
    resume: bool,
    now: Timestamp,
) -> Result<Restored, StoreError> {
    let taken_at = looked_at(copy).map_err(|fault| fault.at("reading the backup", name))?;
    let store = Sqlite { act: Some(restored(taken_at, resume, now)), ..Sqlite::open(copy, sealer)? };
    let mark = move |writer: &Writer<'_>| mark(writer, resume, now);
    let jobs = store.write("marking the jobs of a backup", mark).await?;
    store.fold_log().await?;
    drop(store);
    remove(&beside(copy, ".lock"));
    Ok(Restored { taken_at, jobs, before: None })
}

/// What a restore is recorded as.
pub(super) fn restored(taken_at: Option<Timestamp>, resume: bool, now: Timestamp) -> Act {
    Act {
        at: now,
        actor: Actor::controller(),
        source: None,
        action: "controller.restore".to_owned(),
        server: None,
        job: None,
        detail: serde_json::json!({ "taken_at": taken_at, "resumed": resume }),
    }
}

fn looked_at(copy: &Path) -> Result<Option<Timestamp>, Fault> {
    let connection = Connection::open(copy)?;
    schema::check(&connection)?;
    sound(&connection)?;
    let sql = "SELECT value FROM meta WHERE name = ?1";
    let taken: Option<Vec<u8>> = connection.query_row(sql, [TAKEN_AT], |row| row.get(0)).optional()?;
    Ok(taken.and_then(|text| String::from_utf8(text).ok()?.parse().ok()))
}

fn note(connection: &Connection, name: &str, at: Timestamp) -> Result<(), Fault> {
    let sql = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)";
    connection.execute(sql, (name, at.to_string().into_bytes())).map(drop).map_err(Fault::from)
}

/// The active jobs; each says from now on that it was restored, unless nothing can have been done since.
pub(super) fn mark(writer: &Writer<'_>, resume: bool, now: Timestamp) -> Result<Vec<JobId>, Fault> {
    note(writer, RESTORED_AT, now)?;
    let mut statement = writer.prepare("SELECT id, facts FROM jobs WHERE phase <> 'done' ORDER BY id")?;
    let rows =
        statement.query_map([], |row| Ok((row.get::<_, Word<JobId>>(0)?, row.get::<_, String>(1)?)))?;
    let mut jobs = Vec::new();
    for row in rows {
        let (Word(id), text) = row?;
        jobs.push(id);
        if resume {
            continue;
        }
        // One that cannot be read is not driven by this release, and says what it is to the release that can.
        let Ok(mut facts) = versions::decode::<Facts>(text.as_bytes()) else { continue };
        facts.restored_at = Some(now);
        writer.execute("UPDATE jobs SET facts = ?2 WHERE id = ?1", (Word(id), Stored(&facts)))?;
    }
    Ok(jobs)
}

/// The database that is there gets a second name, its log folded into it. One that cannot be opened is kept with
/// its log as both are.
fn put_aside(place: &Path, now: Timestamp) -> Result<PathBuf, StoreError> {
    let at_path = |source| StoreError::File {
        doing: "keeping the database that is replaced",
        path: place.to_owned(),
        source,
    };
    let aside = free_name(place, now);
    // A program that opens a damaged database may remove its log.
    let (log, kept_log) = (beside(place, "-wal"), beside(&aside, "-wal"));
    if log.exists() {
        std::fs::copy(&log, &kept_log).map_err(at_path)?;
    }
    match connect(place).and_then(|connection| fold_whole(&connection)) {
        Ok(()) => remove(&kept_log),
        Err(Fault::Sqlite(error)) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            remove(&kept_log);
            return Err(StoreError::InUse { database: place.display().to_string() });
        }
        Err(fault) => {
            tracing::warn!(error = ?fault, "the database that is replaced cannot be opened; its log is kept beside it");
        }
    }
    std::fs::hard_link(place, &aside).map_err(at_path)?;
    // A log of the old database must not meet the new one, and SQLite may have left one that it cannot read.
    remove(&beside(place, "-wal"));
    remove(&beside(place, "-shm"));
    Ok(aside)
}

/// A name that no database put aside before has.
fn free_name(place: &Path, now: Timestamp) -> PathBuf {
    let named = format!(".before-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let mut aside = beside(place, &named);
    for number in 2.. {
        if !aside.exists() {
            break;
        }
        aside = beside(place, &format!("{named}-{number}"));
    }
    aside
}

/// Everything is in the one file then, and no other program has it open: one that did would remove the log of the
/// database that comes into its place.
fn fold_whole(connection: &Connection) -> Result<(), Fault> {
    let mode: String = connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
    if mode == "delete" { Ok(()) } else { Err(Fault::row("the journal mode", mode)) }
}

/// The bytes alone: the new file is readable by the owner of the database in `place`, not by those who could read the
/// backup.
fn copy_for_owner(from: &Path, to: &Path, place: &Path) -> io::Result<()> {
    let mut to = empty_file(to)?;
    hand_over(&to, place)?;
    io::copy(&mut File::open(from)?, &mut to).map(drop)
}

/// Gives a finished file its name, for good.
fn publish(partial: &Path, to: &Path) -> io::Result<()> {
    File::open(partial)?.sync_all()?;
    std::fs::rename(partial, to)?;
    File::open(folder_of(to))?.sync_all()
}

/// Empty, and its owner's alone; what an interrupted run has left there is gone.
fn empty_file(path: &Path) -> io::Result<File> {
    for rest in ["-journal", "-wal", "-shm"] {
        remove(&beside(path, rest));
    }
    remove(path);
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)
}

fn remove(path: &Path) {
    let _not_there = std::fs::remove_file(path);
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
