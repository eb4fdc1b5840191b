//! How often a job is written: what it learns, and not each look that shows the same.
//!
//! Invariant: what was not written is not missed, neither after a stop nor after a crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use shoal::domain::{JobId, Medium, ReadBin, Status, Step};
use shoal::store::{EventFilter, Side, Tap};
use shoal_base::world::elapsed;
use shoal_sim::{SimConfig, Timings};
use strum::VariantArray as _;

use crate::site::{Site, machine};

/// Its installation takes ten minutes, and is looked at every ten seconds.
async fn site() -> Site {
    let (post, install) = (Duration::from_secs(120), Duration::from_secs(600));
    let timings = Timings { post, install, ..Timings::default() };
    Site::new(1, vec![SimConfig { timings, ..machine(vec![]) }]).await
}

/// Until the job has watched its host for five minutes.
async fn watch(site: &Site, id: JobId) {
    while site.job(id).await.cursor.step != Step::EsxiPollPower {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(300)).await;
}

/// How long ago the last look was that is in the store.
async fn saved_look_was(site: &Site, id: JobId) -> Duration {
    let observed_at = site.job(id).await.facts.esxi().watch.observed_at.unwrap();
    elapsed(observed_at, site.world.clock.now())
}

#[tokio::test(start_paused = true)]
async fn looks_that_show_the_same_are_written_in_part() {
    let mut site = site().await;
    let (jobs, traces) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let counts = [("saving a job", jobs.clone()), ("saving a read trace", traces.clone())];
    let tap: Tap = Arc::new(move |doing, side| {
        let counted = counts.iter().find(|(name, _)| side == Side::After && *name == doing);
        if let Some((_, count)) = counted {
            count.fetch_add(1, Ordering::SeqCst);
        }
        Box::pin(async { Ok(()) })
    });
    site.start_on(site.store.tapped(tap), site.world.transport.clone());
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    let events = EventFilter { job: Some(id), limit: 500, ..EventFilter::default() };
    let events = site.store.events(&events).await.unwrap().len() as u32;
    let (looks, saves) = (job.facts.esxi().watch.polls, jobs.load(Ordering::SeqCst));
    assert!(looks > 60, "{looks}");
    assert!(saves < events + 2 * looks / 3, "{saves} saves for {events} events and {looks} looks");
    let traces = traces.load(Ordering::SeqCst);
    assert!((1..=16).contains(&traces), "{traces} saves of read traces");
}

#[tokio::test(start_paused = true)]
async fn a_stop_writes_the_last_look() {
    let mut site = site().await;
    site.start();
    let id = site.submit(0, json!({})).await;
    watch(&site, id).await;
    // Some of these moments are those of a look that was not written.
    for _ in 0..4 {
        let polls = site.job(id).await.facts.esxi().watch.polls;
        tokio::time::sleep(Duration::from_secs(11)).await;
        site.shut_down().await;
        let ago = saved_look_was(&site, id).await;
        let now = site.job(id).await.facts.esxi().watch.polls;
        assert!(ago <= site.policy.poll_interval && now > polls, "{ago:?}, {now} looks after {polls}");
        site.start();
        tokio::time::sleep(Duration::from_secs(7)).await;
    }
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    assert_eq!(job.facts.esxi().watch.unobserved_ms, 0);
}

#[tokio::test(start_paused = true)]
async fn a_crash_costs_no_more_than_the_looks_of_one_interval() {
    let mut site = site().await;
    site.start();
    let id = site.submit(0, json!({})).await;
    watch(&site, id).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(11)).await;
        site.crash().await;
        let ago = saved_look_was(&site, id).await;
        assert!(ago <= 2 * site.policy.poll_interval, "{ago:?}");
        site.start();
        tokio::time::sleep(Duration::from_secs(7)).await;
    }
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    assert_eq!(job.facts.esxi().watch.unobserved_ms, 0, "each was away for a moment only");
}

#[tokio::test(start_paused = true)]
async fn the_whole_picture_of_the_reads_is_written_in_the_end() {
    let mut site = site().await;
    let controller = site.controller("one", site.store.clone(), site.world.transport.clone());
    site.serve_media_of(&controller);
    let id = site.submit(0, json!({})).await;
    watch(&site, id).await;
    let seen = Medium::VARIANTS.iter().map(|medium| (medium, controller.media.seen(id, *medium).unwrap()));
    let seen: Vec<_> = seen.collect();
    let job = site.settle(id).await;
    controller.shut_down().await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    for (medium, seen) in seen {
        let saved = site.store.load_trace(id, medium.name()).await.unwrap().unwrap();
        assert!(!seen.map.bins.is_empty() && seen.read > 0, "{medium:?}");
        let is_kept = |bin: &ReadBin| saved.map.bins.iter().any(|kept| kept.bin == bin.bin);
        assert!(seen.map.bins.iter().all(is_kept) && saved.read >= seen.read, "{medium:?} {saved:?}");
    }
}
