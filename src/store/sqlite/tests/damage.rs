//! Full disks, read-only files and rows that cannot be read: an error each, of its own kind.

use super::*;
use crate::domain::Cancel;

#[tokio::test]
async fn a_full_disk_is_said_to_be_full_and_heals() {
    let store = Sqlite::in_memory(sealer()).unwrap();
    let (lease, job) = two_claimed_jobs(&store).await.remove(0);
    let limit = |pages: u64| {
        let set = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let sql = format!("PRAGMA max_page_count = {pages}");
        store.database.lock().query_row(&sql, [], set).unwrap();
    };
    limit(1);
    let update = Job { last_update: at(2), ..job.clone() };
    let error = store.save(&lease, &update, vec![event(&"x".repeat(2_000)); 50]).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Full, "{error}");
    assert_eq!(error.to_string(), "saving a job: the database in memory has no space left");
    limit(1 << 30);
    store.save(&lease, &update, vec![event("once there is room again")]).await.unwrap();
    let events = store.events(&EventFilter { limit: 99, ..EventFilter::default() }).await.unwrap();
    assert_eq!((events.len(), events[0].seq), (1, 1), "nothing of the failed save was kept");
}

#[tokio::test]
async fn a_read_only_database_is_said_to_be_that() {
    let store = Sqlite::in_memory(sealer()).unwrap();
    execute(&store, "PRAGMA query_only = 1").unwrap();
    let error = store.check().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::ReadOnly, "{error}");
    assert!(error.to_string().contains("is read-only"), "{error}");
    assert!(store.servers().await.unwrap().is_empty(), "reading still works");
}

#[tokio::test]
async fn a_save_that_fails_halfway_leaves_nothing() {
    let store = Sqlite::in_memory(sealer()).unwrap();
    let (lease, job) = two_claimed_jobs(&store).await.remove(0);
    let broken = "CREATE TEMP TRIGGER broken BEFORE INSERT ON events WHEN NEW.seq = 2
        BEGIN SELECT RAISE(ABORT, 'the second event fails'); END";
    execute(&store, broken).unwrap();
    let mut update = Job { last_update: at(2), ..job.clone() };
    update.cursor.attempt = 9;
    let latest = store.latest_event();
    assert!(store.save(&lease, &update, vec![event("one"), event("two")]).await.is_err());
    assert_eq!(store.job(job.id).await.unwrap().unwrap().cursor.attempt, job.cursor.attempt);
    assert!(store.events(&EventFilter { limit: 9, ..EventFilter::default() }).await.unwrap().is_empty());
    assert!(!latest.has_changed().unwrap(), "a failed save is not announced");
}

/// Columns of job `A`, each with what this version cannot have written.
const BROKEN_JOBS: [&str; 14] = [
    "jobs SET server = '..'",
    "jobs SET status = 'unheard-of'",
    "jobs SET cursor = '{'",
    "jobs SET cursor = '[]'",
    "jobs SET facts = 'null'",
    "jobs SET verdict = '{\"outcome\":\"unheard-of\"}'",
    "jobs SET failed_step = 'unheard-of'",
    "jobs SET cancel = '7'",
    "jobs SET retry_of = 'short'",
    "jobs SET created_at = 9223372036854775807",
    "jobs SET finished_at = -9223372036854775808",
    "recipes SET spec = x''",
    "recipes SET spec = x'ff'",
    "recipes SET spec = (SELECT spec FROM recipes ORDER BY job DESC LIMIT 1)",
];

#[tokio::test]
async fn a_damaged_job_is_an_error_that_names_it_and_holds_up_no_other_job() {
    for broken in BROKEN_JOBS {
        let store = Sqlite::in_memory(sealer()).unwrap();
        for (lease, _) in two_claimed_jobs(&store).await {
            store.release(&lease).await.unwrap();
        }
        let key = if broken.starts_with("jobs") { "id" } else { "job" };
        execute(&store, &format!("UPDATE {broken} WHERE {key} = '{}'", id(1))).unwrap();

        let error = store.job(id(1)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{broken}: {error}");
        assert!(error.to_string().contains(&id(1).to_string()), "{broken}: {error}");
        let shown = format!("{error:?}");
        assert!(!shown.contains("planted"), "{broken}: {shown}");

        let before = row_of(&store, id(1));
        let claimed = store.claim("me", at(1), TTL, 1).await.unwrap();
        assert_eq!(claimed[0].0.job, id(2), "{broken}: the oldest is the damaged one");
        assert_eq!(row_of(&store, id(1)), before, "{broken}: a job that cannot be read was written to");
        let jobs = store.jobs(&JobFilter { limit: 9, ..JobFilter::default() }).await.unwrap();
        assert_eq!(jobs.iter().map(StoredJob::id).collect::<Vec<_>>(), [id(2), id(1)], "{broken}");
        assert!(matches!(&jobs[1], StoredJob::Unreadable(job) if job.is_active), "{broken}");
        assert!(store.next_wake(at(2)).await.unwrap() > Some(at(2)), "{broken}: the engine would spin");
    }
}

/// All columns of the job's row.
fn row_of(store: &Sqlite, id: JobId) -> Vec<rusqlite::types::Value> {
    let connection = store.database.lock();
    let mut statement = connection.prepare("SELECT * FROM jobs WHERE id = ?1").unwrap();
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
    statement.query_row([id.to_string()], row).unwrap()
}

#[tokio::test]
async fn a_damaged_id_or_cancel_holds_up_no_other_job() {
    let store = Sqlite::in_memory(sealer()).unwrap();
    two_claimed_jobs(&store).await;
    let sql = "UPDATE jobs SET id = '0', lease_until = NULL WHERE server = 'A'";
    execute(&store, &format!("PRAGMA foreign_keys = 0; {sql}; PRAGMA foreign_keys = 1")).unwrap();
    let claimed = store.claim("me", at(100), TTL, 9).await.unwrap();
    assert_eq!(claimed.iter().map(|(lease, _)| lease.job).collect::<Vec<_>>(), [id(2)]);

    store.request_cancel(id(2), Cancel::default()).await.unwrap();
    execute(&store, "UPDATE jobs SET cancel = '7' WHERE server = 'A'").unwrap();
    assert_eq!(store.pending_cancels().await.unwrap(), [(id(2), Cancel::default())]);
}

#[tokio::test]
async fn damaged_servers_events_and_traces_are_errors_that_name_them() {
    let store = Sqlite::in_memory(sealer()).unwrap();
    let (lease, job) = two_claimed_jobs(&store).await.remove(0);
    store.save(&lease, &Job { last_update: at(2), ..job.clone() }, vec![event("one")]).await.unwrap();
    store.save_trace(id(1), "task", &crate::domain::MediumTrace::default()).await.unwrap();
    let corrupt = |error: StoreError, name: &str| {
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    };
    for column in ["bmc_password = x'0102'", "bmc_address = 'no url'", "tls = 'maybe'", "labels = '['"] {
        let store = Sqlite::in_memory(sealer()).unwrap();
        store.insert_server(&server("A")).await.unwrap();
        execute(&store, &format!("UPDATE servers SET {column}")).unwrap();
        corrupt(store.server(&"A".parse().unwrap()).await.unwrap_err(), "\"A\"");
        corrupt(store.servers().await.unwrap_err(), "\"A\"");
    }
    execute(&store, "UPDATE events SET level = 'loud'; UPDATE traces SET trace = '{'").unwrap();
    execute(&store, "UPDATE recipes SET recipe = x'00'").unwrap();
    let all = EventFilter { limit: 9, ..EventFilter::default() };
    corrupt(store.events(&all).await.unwrap_err(), "event 1");
    corrupt(store.load_trace(id(1), "task").await.unwrap_err(), &id(1).to_string());
    corrupt(store.job_recipe(id(1)).await.unwrap_err(), &id(1).to_string());
}
