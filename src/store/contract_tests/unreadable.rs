//! Promises about stored values of other releases: earlier ones are read, others are left alone.

use super::{Bench, StoredValue, TTL, at, id, is_lost, serial, server};
use crate::domain::{HookReport, Job, JobId, MediumTrace, Status};
use crate::store::{EventFilter, JobFilter, StoreError, StoredJob, UnreadableJob};
use shoal_redfish::BmcMemory;

promises! {
    a_value_of_the_first_release_is_read,
    a_job_of_a_newer_release_is_left_to_it,
    an_unreadable_job_ends_by_force_alone,
    an_unreadable_job_that_is_driven_does_not_end,
    what_a_bmc_agreed_to_is_discarded_where_it_cannot_be_read,
}

const NEWER: &str = r#"{"version":4711,"value":{}}"#;

async fn unreadable(bench: &Bench, number: u64) -> UnreadableJob {
    match bench.store.stored_job(id(number)).await.unwrap() {
        Some(StoredJob::Unreadable(job)) => job,
        other => panic!("it can be read: {other:?}"),
    }
}

async fn a_value_of_the_first_release_is_read(bench: Bench) {
    let bench = bench.with(&["A"]).await;
    bench.add_job("A", 1).await;
    bench.store.save_hook_report(id(1), HookReport { at: at(1), succeeded: true }).await.unwrap();
    let bare = r#"{"at":"2026-01-01T00:00:07Z","succeeded":false}"#;
    bench.database.overwrite(StoredValue::HookReport(id(1)), bare).await;
    let read = bench.store.load_hook_report(id(1)).await.unwrap();
    assert_eq!(read, Some(HookReport { at: at(7), succeeded: false }));
}

async fn a_job_of_a_newer_release_is_left_to_it(bench: Bench) {
    let mut bench = bench;
    for number in 1..=5 {
        let serial = format!("S{number}");
        bench = bench.with(&[&serial]).await;
        bench.add_job(&serial, number).await;
        bench.store.save_trace(id(number), "task", &MediumTrace::default()).await.unwrap();
        bench.store.save_hook_report(id(number), HookReport { at: at(1), succeeded: true }).await.unwrap();
    }
    for value in [
        StoredValue::Facts(id(1)),
        StoredValue::Cursor(id(2)),
        StoredValue::Trace(id(3)),
        StoredValue::HookReport(id(4)),
    ] {
        bench.database.overwrite(value, NEWER).await;
    }
    // One at a time: those that cannot be read are older, and hold up no other job.
    let claimed = bench.store.claim("me", at(9), TTL, 1).await.unwrap();
    assert_eq!(claimed.iter().map(|(lease, _)| lease.job).collect::<Vec<_>>(), [id(5)]);
    assert!(bench.claim(9).await.is_empty());
    assert!(bench.store.next_wake(at(10)).await.unwrap() > Some(at(10)), "the engine would spin");
    let jobs = bench.store.jobs(&JobFilter { limit: 9, ..JobFilter::default() }).await.unwrap();
    let is_readable = |job: &StoredJob| matches!(job, StoredJob::Readable(_));
    assert_eq!(jobs.iter().map(StoredJob::id).collect::<Vec<JobId>>(), [5, 4, 3, 2, 1].map(id));
    assert_eq!(jobs.iter().map(is_readable).collect::<Vec<_>>(), [true, true, true, false, false]);
    let job = unreadable(&bench, 1).await;
    assert!(job.why.contains("newer release (version 4711;"), "{}", job.why);
    assert_eq!((job.server.as_str(), job.status, job.is_active), ("S1", Some(Status::Queued), true));
    let bench = bench.restarted().await;
    let claimed = bench.claim(99).await;
    assert_eq!(claimed.len(), 1, "a restart looks again, and reads no more of them");
}

async fn an_unreadable_job_ends_by_force_alone(bench: Bench) {
    let bench = bench.with(&["A", "B"]).await;
    bench.add_job("A", 1).await;
    bench.add_job("B", 2).await;
    bench.database.overwrite(StoredValue::Facts(id(1)), NEWER).await;
    assert_eq!(bench.store.active_job(&serial("A")).await.unwrap(), Some(id(1)));
    assert!(bench.store.end_unreadable_job(id(1), at(5)).await.unwrap());
    assert!(!bench.store.end_unreadable_job(id(1), at(6)).await.unwrap(), "it is over");
    assert!(!bench.store.end_unreadable_job(id(2), at(6)).await.unwrap(), "it can be read");
    let job = unreadable(&bench, 1).await;
    assert_eq!((job.status, job.is_active), (Some(Status::Cancelled), false));
    assert!(job.reason.unwrap().contains("shoal server release A"));
    assert_eq!(bench.store.active_job(&serial("A")).await.unwrap(), None, "the server is free");
    let filter = EventFilter { job: Some(id(1)), limit: 9, ..EventFilter::default() };
    let events = bench.store.events(&filter).await.unwrap();
    assert_eq!(events.last().unwrap().event.op, "job.end");
}

async fn an_unreadable_job_that_is_driven_does_not_end(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    bench.database.overwrite(StoredValue::Facts(id(1)), NEWER).await;
    let error = bench.store.end_unreadable_job(id(1), at(60)).await.unwrap_err();
    assert!(matches!(error, StoreError::Leased { .. }), "{error}");
    assert!(unreadable(&bench, 1).await.is_active);
    assert!(bench.store.end_unreadable_job(id(1), at(61)).await.unwrap(), "its lease has ended");
    let late = Job { last_update: at(62), ..job };
    assert!(is_lost(&bench.store.save(&lease, &late, Vec::new()).await.unwrap_err()));
}

async fn what_a_bmc_agreed_to_is_discarded_where_it_cannot_be_read(bench: Bench) {
    let bench = bench.with(&["A"]).await;
    let memory = BmcMemory { boot_target: Some("UsbCd".to_owned()), ..BmcMemory::default() };
    bench.store.save_bmc_memory(&server("A"), memory).await.unwrap();
    bench.database.overwrite(StoredValue::BmcMemory(serial("A")), NEWER).await;
    assert!(bench.store.load_bmc_memory(&server("A")).await.unwrap().is_empty());
}
