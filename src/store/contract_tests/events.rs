//! Promises about events: their order, their pages and their bounds.

use crate::domain::{Event, EventStatus, Job, JobId, Level, NewEvent, Step};
use crate::store::{EVENTS_A_JOB_MAX, EventFilter, Lease, PAGE_MAX};
use serde_json::json;

use super::{Bench, at, event, id, serial};

promises! {
    events_read_back_as_written,
    ids_rise_over_all_jobs_and_seqs_within_each,
    events_are_read_page_by_page,
    events_are_filtered_by_server_and_level,
    a_task_that_waits_for_events_is_notified,
    a_job_that_never_ends_cannot_fill_the_disk,
    oversized_parts_of_an_event_are_cut,
    a_reader_that_follows_by_id_misses_no_event,
}

async fn write(bench: &Bench, (lease, job): &(Lease, Job), events: Vec<NewEvent>) {
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
    EventFilter { job, after, limit, ..EventFilter::default() }
}

async fn events_are_filtered_by_server_and_level(bench: Bench) {
    let (bench, a, b) = two_jobs(bench).await;
    let of_level = |level| NewEvent { level, ..progress(level.name()) };
    for lease in [&a, &b] {
        write(&bench, lease, vec![of_level(Level::Info), of_level(Level::Warning), of_level(Level::Error)])
            .await;
    }
    let list = async |filter: EventFilter| {
        let events = bench.store.events(&EventFilter { limit: 99, ..filter }).await.unwrap();
        events
            .into_iter()
            .map(|event| format!("{} {}", event.server, event.event.message))
            .collect::<Vec<_>>()
    };
    let server = Some(serial("B"));
    let of_b = list(EventFilter { server: server.clone(), ..EventFilter::default() }).await;
    assert_eq!(of_b, ["B info", "B warning", "B error"]);
    let warnings = EventFilter { level: Some(Level::Warning), ..EventFilter::default() };
    assert_eq!(list(warnings.clone()).await, ["A warning", "A error", "B warning", "B error"]);
    let both = EventFilter { server, level: Some(Level::Error), ..EventFilter::default() };
    assert_eq!(list(both).await, ["B error"]);
    assert_eq!(list(EventFilter { job: Some(id(1)), ..warnings }).await, ["A warning", "A error"]);
}

fn progress(message: &str) -> NewEvent {
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
    write(&bench, &a, vec![written.clone(), progress("2")]).await;
    let bench = bench.restarted().await;
    let read = bench.store.events(&of(None, 0, 9)).await.unwrap();
    assert_eq!((read[0].job, read[0].server.as_str(), &read[0].event), (id(1), "A", &written));
    assert_eq!(*bench.store.latest_event().borrow(), read[1].id, "also after a restart");
}

async fn ids_rise_over_all_jobs_and_seqs_within_each(bench: Bench) {
    let (bench, a, b) = two_jobs(bench).await;
    for (owner, message) in [(&a, "a1"), (&b, "b1"), (&a, "a2"), (&b, "b2")] {
        write(&bench, owner, vec![progress(message), progress("and")]).await;
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

async fn events_are_read_page_by_page(bench: Bench) {
    let (bench, a, b) = two_jobs(bench).await;
    for number in 0..5 {
        write(&bench, &a, vec![progress(&format!("a{number}"))]).await;
        write(&bench, &b, vec![progress(&format!("b{number}"))]).await;
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

async fn a_task_that_waits_for_events_is_notified(bench: Bench) {
    let (bench, a, _) = two_jobs(bench).await;
    let mut latest = bench.store.latest_event();
    let saving = write(&bench, &a, vec![progress("1"), progress("2")]);
    let (waited, ()) = tokio::join!(latest.changed(), saving);
    waited.unwrap();
    let notified = *latest.borrow();
    let read = bench.store.events(&of(None, 0, 9)).await.unwrap();
    assert_eq!(read.last().unwrap().id, notified, "an event can be read once it is announced");
    write(&bench, &a, Vec::new()).await;
    assert!(!latest.has_changed().unwrap(), "a save without events is none");
}

async fn a_job_that_never_ends_cannot_fill_the_disk(bench: Bench) {
    let (bench, a, b) = two_jobs(bench).await;
    write(&bench, &a, vec![progress("again and again"); EVENTS_A_JOB_MAX as usize - 1]).await;
    let retrying = event(EventStatus::Retrying, "dropped");
    write(&bench, &a, vec![progress("the last one"), retrying, progress("dropped")]).await;
    write(&bench, &a, vec![progress("dropped"), event(EventStatus::Failed, "the end"), progress("dropped")])
        .await;
    let after = EVENTS_A_JOB_MAX - 1;
    let read = bench.store.events(&of(Some(id(1)), after, 99)).await.unwrap();
    let messages: Vec<&str> = read.iter().map(|event| event.event.message.as_str()).collect();
    assert_eq!((messages[0], messages[2], messages.len()), ("the last one", "the end", 3));
    assert_eq!(read[1].event.level, Level::Warning);
    assert!(messages[1].contains("10000 events"), "{}", messages[1]);
    assert_eq!(read[2].seq, EVENTS_A_JOB_MAX + 2, "without gaps");
    write(&bench, &b, vec![progress("another job")]).await;
    assert_eq!(bench.store.events(&of(Some(id(2)), 0, 9)).await.unwrap().len(), 1);
    assert_eq!(bench.store.events(&of(None, 0, usize::MAX)).await.unwrap().len(), PAGE_MAX);
}

async fn oversized_parts_of_an_event_are_cut(bench: Bench) {
    let (bench, a, _) = two_jobs(bench).await;
    let big = NewEvent { detail: json!({ "body": "x".repeat(20_000) }), ..progress(&"é".repeat(5_000)) };
    write(&bench, &a, vec![big]).await;
    let read = bench.store.events(&of(None, 0, 9)).await.unwrap().remove(0).event;
    assert_eq!(read.message, "é".repeat(2_000));
    assert_eq!(read.detail, json!({ "left_out_bytes": 20_011 }));
}

async fn a_reader_that_follows_by_id_misses_no_event(bench: Bench) {
    const JOBS: u64 = 6;
    const SAVES: usize = 10;
    let mut bench = bench;
    for number in 1..=JOBS {
        let serial = format!("S{number}");
        bench = bench.with(&[&serial]).await;
        bench.add_job(&serial, number).await;
    }
    let writers = bench.claim(30).await.into_iter().map(|(lease, job)| {
        let store = bench.store.second_handle();
        tokio::spawn(async move {
            for _ in 0..SAVES {
                store.save(&lease, &job, vec![progress("one"), progress("two")]).await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let expected = 2 * SAVES * JOBS as usize;
    let mut read: Vec<u64> = Vec::new();
    while read.len() < expected {
        let is_over = writers.iter().all(|writer| writer.is_finished());
        let page = bench.store.events(&of(None, read.last().copied().unwrap_or(0), 7)).await.unwrap();
        assert!(!(is_over && page.is_empty()), "{} of {expected} events were read", read.len());
        read.extend(page.iter().map(|event| event.id));
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let all = bench.store.events(&of(None, 0, PAGE_MAX)).await.unwrap();
    assert_eq!(read, all.iter().map(|event| event.id).collect::<Vec<_>>());
}
