//! Several controllers on one database.

use std::collections::BTreeSet;

use super::*;
use crate::seal::MasterKey;
use crate::store::{EventFilter, EventStore as _, Inserted, LeaseStore as _};

/// Three that start on an empty database at the same time.
#[tokio::test]
async fn controllers_that_start_together_migrate_once() {
    let Some(on_server) = OnServer::new().await else { return };
    let start = || on_server.started(sealer(), LeaseClock::Database);
    let (first, second, third) = tokio::join!(start(), start(), start());
    first.unwrap().insert_server(&server("A")).await.unwrap();
    for other in [second.unwrap(), third.unwrap()] {
        assert!(other.server(&serial("A")).await.unwrap().is_some());
    }
}

/// The first one leaves the check value, and the other is refused.
#[tokio::test]
async fn controllers_with_different_keys_do_not_share_a_database() {
    let Some(on_server) = OnServer::new().await else { return };
    let other = Sealer::with_old(MasterKey::new([9; 32]), Vec::new(), "MASTER_KEY");
    let (first, second) = tokio::join!(
        on_server.started(sealer(), LeaseClock::Database),
        on_server.started(other, LeaseClock::Database)
    );
    let refused: Vec<StoreError> = [first, second].into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(matches!(refused[0], StoreError::Key { .. }), "{}", refused[0]);
}

#[tokio::test]
async fn a_newer_schema_is_refused_at_the_start_and_not_while_running() {
    let Some(on_server) = OnServer::new().await else { return };
    let running = on_server.started(sealer(), LeaseClock::Database).await.unwrap();
    let newer = "UPDATE schema_version SET version = 4711; ALTER TABLE jobs ADD COLUMN new_one text";
    on_server.client(&on_server.role).await.batch_execute(newer).await.unwrap();
    let (lease, job) = with_claimed_job(&running).await;
    running.save(&lease, &ended(&job), vec![event("on")]).await.unwrap();
    let error = on_server.started(sealer(), LeaseClock::Database).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 4711, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("4711") && text.contains("DB_URL"), "{text}");
}

/// What a reader that follows by id sees while many write, through handles of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_misses_no_event_of_many_writers() {
    const WRITERS: u8 = 12;
    const SAVES: usize = 25;
    let Some(on_server) = OnServer::new().await else { return };
    let store = on_server.started(sealer(), LeaseClock::Database).await.unwrap();
    for number in 1..=WRITERS {
        let serial = format!("S{number}");
        store.insert_server(&server(&serial)).await.unwrap();
        store.insert_job(new_job(&serial, number, now()), None).await.unwrap();
    }
    let claimed = store.claim("me", now(), Duration::from_secs(600), 99).await.unwrap();
    assert_eq!(claimed.len(), usize::from(WRITERS));
    let writers = claimed.into_iter().map(|(lease, job)| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..SAVES {
                store.save(&lease, &job, vec![event("one"), event("two")]).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let (mut after, mut seen, mut is_over) = (0, BTreeSet::new(), false);
    loop {
        let filter = EventFilter { after, limit: 500, ..EventFilter::default() };
        let page = store.events(&filter).await.unwrap();
        seen.extend(page.iter().map(|event| event.id));
        after = page.last().map_or(after, |event| event.id);
        if is_over && page.is_empty() {
            break;
        }
        is_over = writers.iter().all(|writer| writer.is_finished());
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(seen.len(), 2 * SAVES * usize::from(WRITERS), "a reader missed events");
}

/// One of two requests with one key, sent to two controllers, adds the job.
#[tokio::test]
async fn requests_at_two_controllers_add_one_job() {
    let Some(on_server) = OnServer::new().await else { return };
    let first = on_server.started(sealer(), LeaseClock::Database).await.unwrap();
    let second = on_server.started(sealer(), LeaseClock::Database).await.unwrap();
    first.insert_server(&server("A")).await.unwrap();
    for round in 0..10 {
        let key = || Some(crate::store::IdempotencyKey { key: format!("k{round}"), body_sha256: [1; 32] });
        let (one, two) = (new_job("A", 2 * round, now()), new_job("A", 2 * round + 1, now()));
        let (one, two) = tokio::join!(first.insert_job(one, key()), second.insert_job(two, key()));
        let is_new = [one.unwrap(), two.unwrap()].map(|one| matches!(one, Inserted::New(_)));
        assert_eq!(is_new.iter().filter(|is_new| **is_new).count(), 1, "round {round}");
        // Without a key the other one is refused.
        let other = second.insert_job(new_job("A", 100 + round, now()), None).await.unwrap_err();
        assert!(matches!(other, StoreError::Busy { .. }), "{other}");
        let (lease, job) = first.claim("me", now(), Duration::from_secs(60), 9).await.unwrap().remove(0);
        first.save(&lease, &ended(&job), Vec::new()).await.unwrap();
    }
}

/// Leases and times to wake are the database's: a controller whose clock is ten minutes ahead takes nothing early.
#[tokio::test]
async fn a_clock_that_is_ahead_neither_claims_early_nor_holds_longer() {
    let Some(on_server) = OnServer::new().await else { return };
    let right = on_server.started(sealer(), LeaseClock::Database).await.unwrap();
    let ahead = on_server.started(sealer(), LeaseClock::Database).await.unwrap();
    let ten_minutes = Duration::from_secs(600);
    let later = || shoal_base::world::after(now(), ten_minutes);
    let (lease, job) = with_claimed_job(&right).await;
    let ttl = Duration::from_secs(60);
    assert!(ahead.claim("ahead", later(), ttl, 9).await.unwrap().is_empty(), "the lease lives");
    let mut waiting = Job { last_update: now(), ..job.clone() };
    waiting.cursor.wake_at = shoal_base::world::after(now(), Duration::from_secs(300));
    right.save(&lease, &waiting, Vec::new()).await.unwrap();
    right.release(&lease).await.unwrap();
    assert!(ahead.claim("ahead", later(), ttl, 9).await.unwrap().is_empty(), "it sleeps");
    let wake = ahead.next_wake(later()).await.unwrap().unwrap();
    let wait = shoal_base::world::elapsed(later(), wake);
    assert!(wait > Duration::from_secs(290) && wait < Duration::from_secs(301), "{wait:?}");

    // Saved by the clock that is ahead, it is due when that one meant.
    right.request_cancel(job.id, Default::default()).await.unwrap();
    let (lease, job) = ahead.claim("ahead", later(), Duration::from_millis(200), 9).await.unwrap().remove(0);
    let mut waiting = Job { last_update: later(), ..job.clone() };
    waiting.cursor.phase = Phase::Cleanup;
    waiting.cursor.wake_at = later();
    ahead.save(&lease, &waiting, Vec::new()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(right.claim("right", now(), ttl, 9).await.unwrap().len(), 1, "the short lease has ended");
}

/// A job, a cancel and an event of another controller are noticed without a look of one's own.
#[tokio::test]
async fn what_another_controller_writes_is_noticed() {
    let Some(on_server) = OnServer::new().await else { return };
    let address = on_server.address();
    let watching = Postgres::open(&address, sealer(), Rng::from_system(), &[]).await.unwrap();
    let writing = on_server.started(sealer(), LeaseClock::Database).await.unwrap();
    let (changed, mut latest) = (watching.jobs_changed(), watching.latest_event());
    let in_time = Duration::from_secs(15);
    writing.insert_server(&server("A")).await.unwrap();
    writing.insert_job(new_job("A", 1, now()), None).await.unwrap();
    tokio::time::timeout(in_time, changed.notified()).await.expect("a job that is due is noticed");
    let (lease, job) = writing.claim("me", now(), Duration::from_secs(60), 9).await.unwrap().remove(0);
    writing.save(&lease, &job, vec![event("one")]).await.unwrap();
    tokio::time::timeout(in_time, latest.wait_for(|id| *id > 0)).await.expect("an event is noticed").unwrap();
    writing.request_cancel(job.id, Default::default()).await.unwrap();
    tokio::time::timeout(in_time, changed.notified()).await.expect("a cancel is noticed");
}
