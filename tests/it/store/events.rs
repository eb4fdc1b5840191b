//! Promises about the events of jobs, and about their read traces.

use serde_json::json;
use shoal::domain::{Event, EventStatus, Job, JobId, Level, MediaMode, MediumTrace, NewEvent, Step};
use shoal::store::{EVENTS_A_JOB_MAX, EventFilter, Lease, PAGE_MAX, StoreError};

use super::{Bench, at, event, id};

promises! {
    events_read_back_as_written,
    ids_rise_over_all_jobs_and_seqs_within_each,
    events_are_read_on_from_where_one_was,
    who_waits_for_events_hears_of_them,
    a_job_that_never_ends_cannot_fill_the_disk,
    oversized_parts_of_an_event_are_cut,
    a_trace_reads_back_as_written,
    a_milestone_that_was_saved_once_stays,
}

async fn record(bench: &Bench, (lease, job): &(Lease, Job), events: Vec<NewEvent>) {
    bench.store.save(lease, &Job { last_update: at(5), ..job.clone() }, events).await.unwrap();
}

/// Two jobs, claimed.
async fn two_jobs(bench: Bench) -> (Bench, (Lease, Job), (Lease, Job)) {
    let bench = bench.with(&["A", "B"]).await;
    bench.add_job("A", 1).await;
    bench.add_job("B", 2).await;
    let mut claimed = bench.claim(2).await;
    let (b, a) = (claimed.remove(1), claimed.remove(0));
    (bench, a, b)
}

fn of(job: Option<JobId>, after: u64, limit: usize) -> EventFilter {
    EventFilter { job, after, limit }
}

fn note(message: &str) -> NewEvent {
    event(EventStatus::Progress, message)
}

async fn events_read_back_as_written(bench: Bench) {
    let (bench, a, _) = two_jobs(bench).await;
    let written = NewEvent {
        time: at(77),
        level: Level::Warning,
        step: Step::EsxiPollPower,
        op: "esxi.poll_power".into(),
        status: EventStatus::Retrying,
        attempt: 4,
        duration_ms: Some(1_234),
        message: "The BMC is silent.".into(),
        detail: json!({ "status": 503, "list": [1, null] }),
    };
    record(&bench, &a, vec![written.clone(), note("2")]).await;
    let bench = bench.restarted();
    let read = bench.store.events(&of(None, 0, 9)).await.unwrap();
    assert_eq!((read[0].job, read[0].server.as_str(), &read[0].event), (id(1), "A", &written));
    assert_eq!(*bench.store.latest_event().borrow(), read[1].id, "also after a restart");
}

async fn ids_rise_over_all_jobs_and_seqs_within_each(bench: Bench) {
    let (bench, a, b) = two_jobs(bench).await;
    for (owner, message) in [(&a, "a1"), (&b, "b1"), (&a, "a2"), (&b, "b2")] {
        record(&bench, owner, vec![note(message), note("and")]).await;
    }
    let read = bench.store.events(&of(None, 0, 99)).await.unwrap();
    assert!(read.windows(2).all(|pair| pair[0].id < pair[1].id));
    for job in [id(1), id(2)] {
        let seqs: Vec<u64> = read.iter().filter(|event| event.job == job).map(|event| event.seq).collect();
        assert_eq!(seqs, [1, 2, 3, 4]);
    }
    let first: Vec<&str> = read.iter().map(|event| event.event.message.as_str()).step_by(2).collect();
    assert_eq!(first, ["a1", "b1", "a2", "b2"]);
}

async fn events_are_read_on_from_where_one_was(bench: Bench) {
    let (bench, a, b) = two_jobs(bench).await;
    for number in 0..5 {
        record(&bench, &a, vec![note(&format!("a{number}"))]).await;
        record(&bench, &b, vec![note(&format!("b{number}"))]).await;
    }
    for job in [None, Some(id(2))] {
        let all = bench.store.events(&of(job, 0, 99)).await.unwrap();
        assert_eq!(all.len(), if job.is_some() { 5 } else { 10 });
        let mut read = Vec::new();
        loop {
            let after = read.last().map_or(0, |event: &Event| event.id);
            let page = bench.store.events(&of(job, after, 2)).await.unwrap();
            if page.is_empty() {
                break;
            }
            assert!(page.len() <= 2);
            read.extend(page);
        }
        assert_eq!(read, all);
    }
    assert!(bench.store.events(&of(None, u64::MAX, 9)).await.unwrap().is_empty());
}

async fn who_waits_for_events_hears_of_them(bench: Bench) {
    let (bench, a, _) = two_jobs(bench).await;
    let mut latest = bench.store.latest_event();
    let saving = record(&bench, &a, vec![note("1"), note("2")]);
    let (heard, ()) = tokio::join!(latest.changed(), saving);
    heard.unwrap();
    let heard = *latest.borrow();
    let read = bench.store.events(&of(None, 0, 9)).await.unwrap();
    assert_eq!(read.last().unwrap().id, heard, "a client that is notified of an event can read it");
    record(&bench, &a, Vec::new()).await;
    assert!(!latest.has_changed().unwrap(), "a save without events is none");
}

async fn a_job_that_never_ends_cannot_fill_the_disk(bench: Bench) {
    let (bench, a, b) = two_jobs(bench).await;
    record(&bench, &a, vec![note("round and round"); EVENTS_A_JOB_MAX as usize - 1]).await;
    let retrying = event(EventStatus::Retrying, "dropped");
    record(&bench, &a, vec![note("the last one"), retrying, note("dropped")]).await;
    record(&bench, &a, vec![note("dropped"), event(EventStatus::Failed, "the end"), note("dropped")]).await;
    let after = EVENTS_A_JOB_MAX - 1;
    let read = bench.store.events(&of(Some(id(1)), after, 99)).await.unwrap();
    let messages: Vec<&str> = read.iter().map(|event| event.event.message.as_str()).collect();
    assert_eq!((messages[0], messages[2], messages.len()), ("the last one", "the end", 3));
    assert_eq!(read[1].event.level, Level::Warning);
    assert!(messages[1].contains("10000 events"), "{}", messages[1]);
    assert_eq!(read[2].seq, EVENTS_A_JOB_MAX + 2, "without gaps");
    record(&bench, &b, vec![note("another job")]).await;
    assert_eq!(bench.store.events(&of(Some(id(2)), 0, 9)).await.unwrap().len(), 1);
    assert_eq!(bench.store.events(&of(None, 0, usize::MAX)).await.unwrap().len(), PAGE_MAX);
}

async fn oversized_parts_of_an_event_are_cut(bench: Bench) {
    let (bench, a, _) = two_jobs(bench).await;
    let big = NewEvent { detail: json!({ "body": "x".repeat(20_000) }), ..note(&"é".repeat(5_000)) };
    record(&bench, &a, vec![big]).await;
    let read = bench.store.events(&of(None, 0, 9)).await.unwrap().remove(0).event;
    assert_eq!(read.message, "é".repeat(2_000));
    assert_eq!(read.detail, json!({ "left_out_bytes": 20_011 }));
}

async fn a_trace_reads_back_as_written(bench: Bench) {
    let (bench, ..) = two_jobs(bench).await;
    assert_eq!(bench.store.load_trace(id(1), "task").await.unwrap(), None);
    let written = MediumTrace {
        mode: MediaMode::Streamed,
        total: 600 << 20,
        read: 1 << 20,
        loaded_at: None,
        first_read_at: Some(at(1)),
        last_read_at: Some(at(2)),
        last_new_read_at: Some(at(2)),
        read_through_at: Some(at(3)),
        nonce_read_at: Some(at(5)),
        nonce_copied: false,
        ks_read_at: Some(at(4)),
        reenumerated_at: Some(at(5)),
        ks_read_again_at: Some(at(6)),
        fault: Some("the BMC broke off".into()),
        fault_at: Some(at(6)),
    };
    bench.store.save_trace(id(1), "task", &written).await.unwrap();
    let bench = bench.restarted();
    assert_eq!(bench.store.load_trace(id(1), "task").await.unwrap(), Some(written));
    assert_eq!(bench.store.load_trace(id(1), "installer").await.unwrap(), None);
    assert_eq!(bench.store.load_trace(id(2), "task").await.unwrap(), None);
    let error = bench.store.save_trace(id(9), "task", &MediumTrace::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownJob { .. }), "{error}");
}

async fn a_milestone_that_was_saved_once_stays(bench: Bench) {
    let (bench, ..) = two_jobs(bench).await;
    let newer = MediumTrace {
        mode: MediaMode::Streamed,
        read: 900,
        first_read_at: Some(at(1)),
        last_read_at: Some(at(9)),
        ks_read_at: Some(at(8)),
        ..MediumTrace::default()
    };
    // Written by a request that was overtaken on its way.
    let older = MediumTrace { read: 100, last_read_at: Some(at(2)), ks_read_at: None, ..newer.clone() };
    bench.store.save_trace(id(1), "task", &newer).await.unwrap();
    bench.store.save_trace(id(1), "task", &older).await.unwrap();
    assert_eq!(bench.store.load_trace(id(1), "task").await.unwrap(), Some(newer.clone()));
    let later = MediumTrace { ks_read_at: Some(at(20)), reenumerated_at: Some(at(30)), ..newer.clone() };
    bench.store.save_trace(id(1), "task", &later).await.unwrap();
    let expected = MediumTrace { reenumerated_at: Some(at(30)), ..newer };
    assert_eq!(bench.store.load_trace(id(1), "task").await.unwrap(), Some(expected.clone()));
    // Of later runs of the installer the last one is kept.
    let run = |ks_read, boot| MediumTrace {
        ks_read_again_at: Some(at(ks_read)),
        reenumerated_at: Some(at(boot)),
        ..expected.clone()
    };
    for saved in [run(40, 50), run(60, 70), run(40, 50)] {
        bench.store.save_trace(id(1), "task", &saved).await.unwrap();
    }
    assert_eq!(bench.store.load_trace(id(1), "task").await.unwrap(), Some(run(60, 70)));
}
