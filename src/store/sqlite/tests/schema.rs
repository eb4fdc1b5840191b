//! The schema enforces the rules without the code, and opens what version 1 wrote.

use super::*;
use crate::domain::{Cancel, MediaMode, Status};
use crate::store::sqlite::leases;

#[tokio::test]
async fn the_database_itself_refuses_a_second_active_job() {
    let store = Sqlite::in_memory(sealer()).unwrap();
    two_claimed_jobs(&store).await;
    let copy = |phase: &str| {
        let sql = format!(
            "INSERT INTO jobs (id, server, task_target, status, phase, wake_at, created_at, last_update, cursor, facts)
             SELECT 'copy', server, task_target, status, '{phase}', wake_at, created_at, last_update, cursor, facts
             FROM jobs LIMIT 1"
        );
        execute(&store, &sql)
    };
    for phase in ["forward", "cleanup"] {
        let error = copy(phase).unwrap_err().to_string();
        assert!(error.contains("UNIQUE"), "{phase}: {error}");
    }
    copy("done").unwrap();
}

#[tokio::test]
async fn the_database_itself_keeps_what_is_written_once() {
    let store = Sqlite::in_memory(sealer()).unwrap();
    two_claimed_jobs(&store).await;
    execute(&store, "UPDATE jobs SET status = 'failed', verdict = '{}', phase = 'cleanup'").unwrap();
    for forbidden in
        ["verdict = '[]'", "verdict = NULL", "status = 'succeeded'", "status = 'queued'", "phase = 'forward'"]
    {
        assert!(execute(&store, &format!("UPDATE jobs SET {forbidden}")).is_err(), "{forbidden}");
    }
    execute(&store, "UPDATE jobs SET status = 'failed', verdict = '{}', phase = 'done'").unwrap();
    assert!(execute(&store, "UPDATE jobs SET phase = 'cleanup'").is_err());
}

#[tokio::test]
async fn events_of_no_job_are_refused() {
    let store = Sqlite::in_memory(sealer()).unwrap();
    let sql = "INSERT INTO traces (job, medium, trace) VALUES ('no-job', 'task', '{}')";
    assert!(execute(&store, sql).unwrap_err().to_string().contains("FOREIGN KEY"));
}

#[test]
fn a_file_is_written_through_to_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&directory.path().join("shoal.db"), sealer()).unwrap();
    let connection = store.database.lock();
    let text = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0)).unwrap();
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(text("journal_mode"), "wal");
    assert_eq!((number("synchronous"), number("foreign_keys")), (2, 1), "2 is FULL");
    assert_eq!(number("busy_timeout"), 10_000);
}

/// How SQLite would execute it.
fn plan(store: &Sqlite, sql: &str) -> String {
    let connection = store.database.lock();
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let values = (0..statement.parameter_count()).map(|_| 0);
    let rows =
        statement.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
    rows.map(Result::unwrap).collect::<Vec<_>>().join("; ")
}

/// The engine asks at each of its turns.
#[test]
fn the_next_job_is_found_without_those_that_run() {
    let store = Sqlite::in_memory(sealer()).unwrap();
    for sql in [leases::due_sql(), leases::next_sql()] {
        let plan = plan(&store, &sql);
        let wanted = ["USING COVERING INDEX waiting_jobs", "USING INDEX leased_jobs (lease_until<?)"];
        assert!(wanted.iter().all(|part| plan.contains(part)), "{plan}");
    }
}

/// Each list goes by an index: none reads a whole table to answer one page.
#[tokio::test]
async fn no_page_reads_a_whole_table() {
    let store = Sqlite::in_memory(sealer()).unwrap();
    for (sql, index) in [
        (
            "SELECT * FROM jobs WHERE true AND status = 'queued' AND id < 'f' ORDER BY id DESC LIMIT 5",
            "jobs_by_status",
        ),
        (
            "SELECT * FROM jobs WHERE true AND server = 'A' AND id < 'f' ORDER BY id DESC LIMIT 5",
            "jobs_by_server",
        ),
        ("SELECT * FROM events WHERE job = 'x' AND id > 7 ORDER BY seq LIMIT 5", "(job=?)"),
        (
            "SELECT * FROM events WHERE id > 7 AND level <> 'info' AND level = 'error' ORDER BY id LIMIT 5",
            "events_of_note",
        ),
        ("SELECT id FROM jobs WHERE phase <> 'done' ORDER BY id", "active_jobs"),
    ] {
        let plan = plan(&store, sql);
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
    }
}

/// A database as the first version left it, sealed with the key of these tests.
const VERSION_1: &str = include_str!("version-1.sql");

fn opened_version_1(directory: &tempfile::TempDir) -> Sqlite {
    let path = directory.path().join("shoal.db");
    Connection::open(&path).unwrap().execute_batch(VERSION_1).unwrap();
    Sqlite::open(&path, sealer()).unwrap()
}

#[tokio::test]
async fn what_version_1_wrote_is_read_and_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    let store = opened_version_1(&directory);
    let server = store.server(&"A".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((server.bmc_password.expose(), server.labels["rack"].as_str()), (PASSWORD, "7"));

    let (lease, job) = store.claim("me", at(1), TTL, 9).await.unwrap().remove(0);
    assert_eq!((job.id, job.status, job.cursor.attempt), (id(1), Status::Provisioning, 3));
    assert_eq!(job.cancel, Some(Cancel { force: true }));
    assert_eq!(job.spec.as_ref().unwrap().esxi().unwrap().kickstart.expose(), KICKSTART);
    assert_eq!(store.job_recipe(job.id).await.unwrap().unwrap()["metadata"]["note"], "planted-in-the-recipe");
    let trace = store.load_trace(job.id, "task").await.unwrap().unwrap();
    assert_eq!((trace.mode, trace.ks_read_at), (MediaMode::Streamed, Some(at(4))));

    store
        .save(&lease, &Job { last_update: at(5), ..job.clone() }, vec![event("by this version")])
        .await
        .unwrap();
    let events = store.events(&EventFilter { limit: 9, ..EventFilter::default() }).await.unwrap();
    let messages: Vec<&str> = events.iter().map(|event| event.event.message.as_str()).collect();
    assert_eq!((messages, events[1].seq), (vec!["by version 1", "by this version"], 2));
    store.integrity_check().await.unwrap();
}

#[test]
fn an_old_database_ends_up_with_the_schema_of_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (opened_version_1(&directory), Sqlite::in_memory(sealer()).unwrap());
    let schema = |store: &Sqlite| -> Vec<String> {
        let connection = store.database.lock();
        let sql = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(|sql| sql.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(schema(&old), schema(&new));
}

/// What the other engine does not need: leases and probes end with a transfer.
const LEFT: [&str; 8] = [
    "jobs.lease_owner",
    "jobs.lease_generation",
    "jobs.lease_until",
    "jobs.wake_now",
    "probes.id",
    "probes.peer",
    "probes.left_at",
    "probes.reads",
];

#[test]
fn every_column_is_transferred() {
    let sqlite = Sqlite::in_memory(Sealer::new([7; 32])).unwrap();
    let connection = sqlite.database.lock();
    let sql = "SELECT tables.name || '.' || columns.name FROM sqlite_master AS tables,
        pragma_table_info(tables.name) AS columns
        WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite%'";
    let mut statement = connection.prepare(sql).unwrap();
    let stored = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let mut stored: std::collections::BTreeSet<String> = stored.map(Result::unwrap).collect();
    for left in LEFT {
        assert!(stored.remove(left), "{left}");
    }
    let tables = crate::store::transfer::TRANSFER_TABLES
        .iter()
        .filter(|table| !matches!(table.name, "leases" | "counters"));
    let transferred =
        tables.flat_map(|table| table.columns.iter().map(|(column, _)| format!("{}.{column}", table.name)));
    assert_eq!(transferred.collect::<std::collections::BTreeSet<String>>(), stored, "see store/transfer.rs");
}
