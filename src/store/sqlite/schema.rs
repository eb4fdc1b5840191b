//! The tables, as a list of migrations.
//!
//! A migration that has been released is never edited: what changes is a new entry at the end.
//! `PRAGMA user_version` counts how many were applied. Invariant: each is applied in one
//! transaction with its new version, so that a crash leaves one version or the next.
//!
//! Times are milliseconds since 1970, enums the words of their serde form, JSON is text. What an
//! operator must be able to keep secret (kickstarts, the recipes that hold them, BMC passwords) is
//! a sealed blob. Recipes have a table of their own because SQLite rewrites a row as a whole, and a
//! job's row is rewritten at every step.

use rusqlite::{Connection, TransactionBehavior};

use super::fault::Fault;
use crate::store::StoreError;

/// Of the database, counted in migrations.
pub const SCHEMA_VERSION: usize = MIGRATIONS.len();

const MIGRATIONS: [&str; 16] = [
    VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5, VERSION_6, VERSION_7, VERSION_8, VERSION_9,
    VERSION_10, VERSION_11, VERSION_12, VERSION_13, VERSION_14, VERSION_15, VERSION_16,
];

const VERSION_1: &str = "
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE servers (
    serial TEXT PRIMARY KEY,
    bmc_address TEXT NOT NULL,
    bmc_username TEXT NOT NULL,
    bmc_password BLOB NOT NULL,
    tls TEXT NOT NULL,
    system_id TEXT,
    system_uuid TEXT,
    management_address TEXT,
    protected INTEGER NOT NULL,
    labels TEXT NOT NULL
) STRICT;

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    server TEXT NOT NULL,
    task_target TEXT NOT NULL,
    status TEXT NOT NULL,
    phase TEXT NOT NULL,
    wake_at INTEGER NOT NULL,
    lease_owner TEXT,
    lease_generation INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER,
    -- Somebody must look at the job at once, whatever wake_at says; claiming it clears this.
    nudged INTEGER NOT NULL DEFAULT 0,
    cancel TEXT,
    event_seq INTEGER NOT NULL DEFAULT 0,
    events_dropped INTEGER NOT NULL DEFAULT 0,
    retry_of TEXT,
    created_at INTEGER NOT NULL,
    last_update INTEGER NOT NULL,
    finished_at INTEGER,
    failed_step TEXT,
    reason TEXT,
    verdict TEXT,
    cursor TEXT NOT NULL,
    facts TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX one_active_job_a_server ON jobs (server) WHERE phase <> 'done';
CREATE INDEX active_jobs ON jobs (id) WHERE phase <> 'done';
CREATE INDEX jobs_by_status ON jobs (status, id);
CREATE INDEX jobs_by_server ON jobs (server, id);

CREATE TRIGGER a_verdict_is_final BEFORE UPDATE OF verdict ON jobs
WHEN OLD.verdict IS NOT NULL AND NEW.verdict IS NOT OLD.verdict
BEGIN SELECT RAISE(ABORT, 'a verdict is written once'); END;

CREATE TRIGGER a_decided_status_is_final BEFORE UPDATE OF status ON jobs
WHEN OLD.status IN ('succeeded', 'failed', 'cancelled') AND NEW.status <> OLD.status
BEGIN SELECT RAISE(ABORT, 'a decided status is written once'); END;

CREATE TRIGGER phases_only_advance BEFORE UPDATE OF phase ON jobs
WHEN (OLD.phase = 'done' AND NEW.phase <> 'done') OR (OLD.phase = 'cleanup' AND NEW.phase = 'forward')
BEGIN SELECT RAISE(ABORT, 'a job does not go back'); END;

CREATE TABLE recipes (
    job TEXT PRIMARY KEY REFERENCES jobs (id),
    recipe BLOB NOT NULL,
    spec BLOB,
    errors TEXT NOT NULL
) STRICT;

CREATE TABLE job_labels (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    job TEXT NOT NULL REFERENCES jobs (id),
    PRIMARY KEY (name, value, job)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL REFERENCES jobs (id),
    seq INTEGER NOT NULL,
    time INTEGER NOT NULL,
    level TEXT NOT NULL,
    step TEXT NOT NULL,
    op TEXT NOT NULL,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    duration_ms INTEGER,
    message TEXT NOT NULL,
    detail TEXT NOT NULL,
    UNIQUE (job, seq)
) STRICT;

CREATE TABLE traces (
    job TEXT NOT NULL REFERENCES jobs (id),
    medium TEXT NOT NULL,
    trace TEXT NOT NULL,
    PRIMARY KEY (job, medium)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    key TEXT PRIMARY KEY,
    body_sha256 BLOB NOT NULL,
    job TEXT NOT NULL REFERENCES jobs (id),
    at INTEGER NOT NULL
) STRICT;

CREATE INDEX idempotency_by_age ON idempotency (at);
";

/// What the hooks of installers reported. It is no column of `jobs`: the driver of a job writes its
/// row under a lease, and a report comes from elsewhere.
const VERSION_2: &str = "
CREATE TABLE hook_reports (
    job TEXT PRIMARY KEY REFERENCES jobs (id),
    report TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// What BMCs agreed to. It is no column of `servers`: operators change that row as a whole, and jobs
/// write this one.
const VERSION_3: &str = "
CREATE TABLE bmc_memories (
    server TEXT PRIMARY KEY,
    bmc_address TEXT NOT NULL,
    memory TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Bearer tokens. A token's text is kept nowhere; `hash` is keyed, and `hash_prefix` finds it.
const VERSION_4: &str = "
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    origin TEXT NOT NULL,
    hash_prefix BLOB NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER,
    last_used_from TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX tokens_by_hash ON tokens (hash_prefix);

CREATE TRIGGER a_revoked_token_stays_so BEFORE UPDATE OF revoked_at ON tokens
WHEN OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS NOT OLD.revoked_at
BEGIN SELECT RAISE(ABORT, 'a token is revoked for ever'); END;
";

/// Who did what. `hash` ties an entry to all before it, with a key; the seal of the last one is in `meta`.
const VERSION_5: &str = "
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    role TEXT NOT NULL,
    source TEXT,
    action TEXT NOT NULL,
    server TEXT,
    job TEXT,
    detail TEXT NOT NULL,
    hash BLOB NOT NULL
) STRICT;

CREATE INDEX audit_by_server ON audit (server, seq);
CREATE INDEX audit_by_job ON audit (job, seq);

CREATE TRIGGER the_audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is not changed'); END;

CREATE TRIGGER the_audit_is_not_shortened BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is not shortened'); END;

CREATE TRIGGER the_audit_has_no_gap BEFORE INSERT ON audit
WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM audit)
BEGIN SELECT RAISE(ABORT, 'the audit goes on at its end'); END;
";

/// Master keys by their ids, with what proves that a key is the one; secrets of the controller itself,
/// sealed; and how far the values of each place are sealed anew in a rotation.
const VERSION_6: &str = "
CREATE TABLE keys (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    proof BLOB NOT NULL,
    retired_at INTEGER
) STRICT;

CREATE TABLE secrets (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE resealing (
    place TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    after TEXT NOT NULL
) STRICT;
";

/// When a server's record was added and changed, unknown of those that are older, and how often.
const VERSION_7: &str = "
ALTER TABLE servers ADD COLUMN created_at INTEGER;
ALTER TABLE servers ADD COLUMN updated_at INTEGER;
ALTER TABLE servers ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
";

/// What maintenance systems reported of their jobs: the result that counts, what they did last, and the ids of what was
/// delivered by the shared secret.
const VERSION_8: &str = "
CREATE TABLE task_reports (
    job TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    result TEXT,
    progress TEXT
) STRICT;

CREATE TABLE deliveries (
    delivery_id TEXT NOT NULL,
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    PRIMARY KEY (delivery_id, job)
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_by_job ON deliveries (job);
";

/// A plain name.
const VERSION_9: &str = "ALTER TABLE jobs RENAME COLUMN nudged TO wake_now";

/// Variables of a server, sealed, absent where it has none; serial numbers found whatever their case and blanks; and
/// what BMCs report of their hardware, which, like `bmc_memories`, is written beside the record.
const VERSION_10: &str = "
ALTER TABLE servers ADD COLUMN variables BLOB;

CREATE INDEX servers_by_likeness ON servers (lower(replace(serial, ' ', '')));

CREATE TABLE hardware (
    server TEXT PRIMARY KEY,
    bmc_address TEXT NOT NULL,
    read_at INTEGER NOT NULL,
    hardware TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Jobs that failed before have no code.
const VERSION_11: &str = "ALTER TABLE jobs ADD COLUMN failure_code TEXT";

/// Batches, with one row for each server. A held job is one that its batch has not let start.
const VERSION_12: &str = "
CREATE TABLE batches (
    id TEXT PRIMARY KEY,
    name TEXT,
    status TEXT NOT NULL,
    reason TEXT,
    limits TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    last_update INTEGER NOT NULL,
    finished_at INTEGER,
    look_at INTEGER,
    idempotency_key TEXT,
    body_sha256 BLOB
) STRICT;

CREATE INDEX open_batches ON batches (id) WHERE finished_at IS NULL;
CREATE INDEX batches_by_key ON batches (idempotency_key) WHERE idempotency_key IS NOT NULL;

ALTER TABLE jobs ADD COLUMN batch TEXT REFERENCES batches (id);
ALTER TABLE jobs ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_by_batch ON jobs (batch, id) WHERE batch IS NOT NULL;

CREATE TABLE batch_rows (
    batch TEXT NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    server TEXT NOT NULL,
    job TEXT NOT NULL UNIQUE REFERENCES jobs (id),
    attempts INTEGER NOT NULL,
    labels TEXT NOT NULL,
    released_at INTEGER,
    acknowledged INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, number)
) STRICT, WITHOUT ROWID;
";

/// Ends of jobs and batches that wait to be reported.
const VERSION_13: &str = "
CREATE TABLE notifications (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    next_try INTEGER NOT NULL
) STRICT;

CREATE INDEX notifications_by_time ON notifications (next_try);
";

/// Where the audit begins, once its oldest entries have been exported and removed; and which jobs have lost their events.
const VERSION_14: &str = "
CREATE TABLE audit_start (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    seal BLOB NOT NULL
) STRICT;

DROP TRIGGER the_audit_is_not_shortened;
CREATE TRIGGER the_audit_is_shortened_from_its_start BEFORE DELETE ON audit
WHEN OLD.seq > coalesce((SELECT seq FROM audit_start), 0)
BEGIN SELECT RAISE(ABORT, 'the audit is shortened from its start only'); END;

ALTER TABLE jobs ADD COLUMN events_expired INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_by_end ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE TABLE ended_sessions (id TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID, STRICT;
CREATE INDEX events_of_note ON events (level, id) WHERE level <> 'info';
";

/// Images that the doctor shows to BMCs now, with what was requested of them.
const VERSION_15: &str = "
CREATE TABLE probes (
    id TEXT PRIMARY KEY,
    peer TEXT,
    left_at INTEGER NOT NULL,
    reads TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// For a controller that looks for work among a thousand jobs at each turn. The first index has all that is asked for, so
/// that no row is read.
const VERSION_16: &str = "
CREATE INDEX waiting_jobs ON jobs (id, wake_at, wake_now, phase, cancel, held, lease_until)
    WHERE lease_until IS NULL AND phase <> 'done' AND (NOT held OR cancel IS NOT NULL);
CREATE INDEX leased_jobs ON jobs (lease_until) WHERE lease_until IS NOT NULL AND phase <> 'done';
CREATE INDEX cancelled_jobs ON jobs (id) WHERE cancel IS NOT NULL AND phase <> 'done';
";

/// Brings the database up to this version's schema; refuses one that is newer.
pub(super) fn migrate(connection: &mut Connection, database: &str) -> Result<(), Fault> {
    apply(connection, database, &MIGRATIONS)
}

/// Refuses what is no database of a controller, or one of a later version.
pub(super) fn check(connection: &Connection) -> Result<(), Fault> {
    let found = version(connection)?;
    let known = MIGRATIONS.len() as i64;
    if !(1..=known).contains(&found) {
        let what = format!("no database of this or an earlier version of Shoal (schema {found} of {known})");
        return Err(Fault::row("the file", what));
    }
    Ok(())
}

fn apply(connection: &mut Connection, database: &str, migrations: &[&str]) -> Result<(), Fault> {
    let known = migrations.len() as i64;
    let found = version(connection)?;
    if found > known {
        return Err(StoreError::Newer { database: database.to_owned(), found, known }.into());
    }
    let applied = usize::try_from(found).map_err(|error| Fault::row("the schema's version", error))?;
    for (index, migration) in migrations.iter().enumerate().skip(applied) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", index as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [&str; 2] = ["CREATE TABLE a (x INTEGER)", "ALTER TABLE a ADD COLUMN y INTEGER"];

    #[test]
    fn each_migration_is_applied_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (x INTEGER)", "INSERT INTO a VALUES (1)"];
        apply(&mut connection, "db", &steps[..1]).unwrap();
        apply(&mut connection, "db", &steps).unwrap();
        apply(&mut connection, "db", &steps).unwrap();
        let rows: i64 = connection.query_row("SELECT count(*) FROM a", [], |row| row.get(0)).unwrap();
        assert_eq!((rows, version(&connection).unwrap()), (1, 2));
    }

    #[test]
    fn a_failed_migration_leaves_the_version_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (x INTEGER)", "CREATE TABLE b (x INTEGER); SELECT broken"];
        assert!(apply(&mut connection, "db", &steps).is_err());
        assert_eq!(version(&connection).unwrap(), 1);
        assert!(connection.prepare("SELECT * FROM b").is_err(), "half a migration was kept");
    }

    #[test]
    fn a_newer_database_is_refused_naming_the_setting() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", STEPS.len() as i64 + 1).unwrap();
        let error = apply(&mut connection, "x.db", &STEPS).unwrap_err().at("opening", "x.db").to_string();
        assert!(error.contains("x.db") && error.contains("DB_URL") && error.contains("schema 3"), "{error}");
    }
}
