//! The whole database from SQLite to PostgreSQL and back.

use std::collections::BTreeSet;

use super::*;
use crate::access::{Actor, NewToken, Role, TokenId, TokenOrigin};
use crate::store::transfer::TRANSFER_TABLES;
use crate::store::{EventFilter, LeaseStore as _, Sqlite};

fn act(number: u8) -> Act {
    Act {
        at: now(),
        actor: Actor::controller(),
        source: None,
        action: format!("server.add.{number}"),
        server: None,
        job: None,
        detail: serde_json::json!({ "number": number }),
    }
}

/// A database with something in most tables, and a past: a shortened audit, events that were removed.
async fn filled(store: &Store) {
    let token = NewToken {
        id: TokenId::new([1; 8]),
        name: "ci".into(),
        role: Role::Admin,
        origin: TokenOrigin::Created,
        expires_at: None,
        created_at: now(),
        created_by: "test".into(),
    };
    store.insert_token(token, "secret").await.unwrap();
    store.set_notifying(true).await.unwrap();
    let labelled = Server { labels: [("rack".into(), "2".into())].into(), ..server("A") };
    store.insert_server(&labelled).await.unwrap();
    store.insert_server(&server("B")).await.unwrap();
    let key = crate::store::IdempotencyKey { key: "k".into(), body_sha256: [1; 32] };
    store.insert_job(new_job("A", 1, now()), Some(key)).await.unwrap();
    let (lease, job) = store.claim("me", now(), Duration::from_secs(60), 9).await.unwrap().remove(0);
    let ended = Job { finished_at: Some(now()), ..ended(&job) };
    store.save(&lease, &ended, vec![event("one"), event("two")]).await.unwrap();
    let later = shoal_base::world::after(now(), Duration::from_secs(60));
    store.expire_events(later, 9).await.unwrap();
    store.insert_job(new_job("B", 2, now()), None).await.unwrap();
    let (lease, job) = store.claim("me", now(), Duration::from_secs(60), 9).await.unwrap().remove(0);
    let trace = crate::domain::MediumTrace::default();
    crate::store::ReportStore::save_trace(&**store, job.id, "task", &trace).await.unwrap();
    store.save(&lease, &Job { last_update: now(), ..job }, vec![event("three\0")]).await.unwrap();
    for number in 1..=3 {
        store.record(act(number)).await.unwrap();
    }
    store.shorten_audit(2, act(4)).await.unwrap();
}

async fn as_before(store: &Store) {
    assert!(store.token_shown("secret").await.unwrap().is_some());
    assert_eq!(store.server(&serial("A")).await.unwrap().unwrap().bmc_password.expose(), "calvin");
    let report = store.verify_audit().await.unwrap();
    assert_eq!((report.first, report.good, report.fault), (3, 4, None));
    store.record(act(5)).await.unwrap();
    assert!(store.verify_audit().await.unwrap().fault.is_none());
    let filter = EventFilter { limit: 9, ..EventFilter::default() };
    let events = store.events(&filter).await.unwrap();
    assert_eq!(events.iter().map(|event| event.id).collect::<Vec<_>>(), [3]);
    assert_eq!(store.removed_events(None).await.unwrap(), 2);
    // The lease of the old place is over, its generation is not, and no number is given twice.
    let (lease, job) = store.claim("new", now(), Duration::from_secs(60), 9).await.unwrap().remove(0);
    assert_eq!((job.id, lease.generation), (id(2), 2));
    store.save(&lease, &Job { last_update: now(), ..job }, vec![event("four")]).await.unwrap();
    assert_eq!(store.events(&filter).await.unwrap().last().unwrap().id, 4);
}

#[tokio::test]
async fn a_database_moves_to_postgresql_and_back_unchanged() {
    let Some(on_server) = OnServer::new().await else { return };
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("first.db");
    filled(&Store::open(&path, sealer()).unwrap()).await;
    let first = Sqlite::open(&path, sealer()).unwrap();
    let postgres = on_server.started(sealer(), LeaseClock::Database).await.unwrap();
    first.set_moved(Some("elsewhere".into())).await.unwrap();
    let there = postgres.receive(Arc::new(first.clone())).await.unwrap();
    let rows = |table: &str| there.iter().find(|each| each.table == table).unwrap().rows;
    assert_eq!(
        (rows("servers"), rows("jobs"), rows("events"), rows("notifications")),
        (2, 2, 1, 1),
        "{there:?}"
    );
    drop(first);
    let refused = Store::open(&path, sealer()).map(drop).unwrap_err();
    assert!(matches!(refused, StoreError::Moved { .. }), "{refused}");

    // Before anything is changed, it goes back as it came.
    let second = Sqlite::open(&files.path().join("second.db"), sealer()).unwrap();
    let back = second.receive(Arc::new(postgres.clone())).await.unwrap();
    assert_eq!(back, there);
    as_before(&second.into()).await;
    as_before(&postgres.clone().into()).await;
    let error = postgres.receive(Arc::new(postgres.clone())).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("not empty"), "{error}: {cause}");
}

/// The host of an active job is found after a transfer, and of a marked database no job starts one.
#[tokio::test]
async fn a_database_that_is_marked_as_restored_starts_no_host() {
    let Some(on_server) = OnServer::new().await else { return };
    let store = on_server.started(sealer(), LeaseClock::Database).await.unwrap();
    with_claimed_job(&store).await;
    let later = now();
    assert_eq!(store.mark_restored(false, later).await.unwrap(), [id(1)]);
    let (_, job) = store.claim("me", now(), Duration::from_secs(60), 9).await.unwrap().remove(0);
    assert_eq!(job.facts.restored_at, Some(later), "the leases of the past are void");
}

/// What is not transferred: who runs, drives and looks, and what follows from other columns.
const LEFT: [&str; 16] = [
    "schema_version.version",
    "writes.token",
    "writes.at",
    "controllers.id",
    "controllers.version",
    "controllers.started_at",
    "controllers.seen_at",
    "leases.owner",
    "leases.until",
    "jobs.system",
    "probes.id",
    "probes.peer",
    "probes.left_at",
    "probes.reads",
    "counters.name",
    "counters.value",
];

#[tokio::test]
async fn every_column_is_transferred() {
    let Some(on_server) = OnServer::new().await else { return };
    on_server.started(sealer(), LeaseClock::Database).await.unwrap();
    let sql = "SELECT table_name || '.' || column_name FROM information_schema.columns
        WHERE table_schema = current_schema()";
    let rows = on_server.client(&on_server.role).await.query(sql, &[]).await.unwrap();
    let stored: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let transferred = TRANSFER_TABLES
        .iter()
        .flat_map(|table| table.columns.iter().map(|(column, _)| format!("{}.{column}", table.name)));
    let transferred: BTreeSet<String> = transferred.collect();
    let differ: Vec<&String> = stored.symmetric_difference(&transferred).collect();
    assert!(differ.iter().all(|column| LEFT.contains(&column.as_str())), "see store/transfer.rs: {differ:?}");
}
