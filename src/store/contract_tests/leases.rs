//! Promises about how jobs advance: claims, leases, and saves that are fenced and final.

use crate::domain::{
    Act, BootSource, Cancel, Confidence, EventStatus, Evidence, EvidenceKind, Intent, Job, Outcome, Phase,
    SourceFacts, Status, Step, Verdict,
};
use crate::store::{EventFilter, Lease, StoreError};

use super::{Bench, TTL, at, ended, event, id, is_lost, serials, verdict};

promises! {
    the_oldest_due_jobs_are_claimed_first,
    a_job_is_claimed_when_its_time_comes,
    a_live_lease_keeps_others_away_until_it_expires,
    a_lost_lease_writes_nothing,
    an_expired_lease_that_was_not_taken_over_still_saves,
    renewing_extends_what_is_held_and_names_what_is_lost,
    a_released_job_can_be_claimed_immediately,
    a_cancelled_job_is_due_immediately,
    a_forced_cleanup_is_due_immediately_and_once,
    the_next_wake_is_when_a_job_may_be_claimable,
    all_of_an_update_is_saved,
    a_verdict_is_written_once,
    a_decided_status_is_final,
    a_job_does_not_go_back,
    several_controllers_claim_each_job_once,
    a_takeover_fences_every_write_of_the_driver,
}

/// Saves the job with another time to wake, in seconds, and releases it.
async fn put_off(bench: &Bench, lease: &Lease, job: &Job, phase: Phase, wake_at: u64) {
    let mut update = Job { last_update: at(2), ..job.clone() };
    update.cursor.phase = phase;
    update.cursor.wake_at = at(wake_at);
    bench.store.save(lease, &update, Vec::new()).await.unwrap();
    bench.store.release(lease).await.unwrap();
}

async fn the_oldest_due_jobs_are_claimed_first(bench: Bench) {
    let bench = bench.with(&["A", "B", "C"]).await;
    for (serial, number) in [("B", 2), ("C", 3), ("A", 1)] {
        bench.add_job(serial, number).await;
    }
    let claimed = bench.store.claim("me", at(9), TTL, 2).await.unwrap();
    let jobs: Vec<Job> = claimed.into_iter().map(|(_, job)| job).collect();
    assert_eq!(serials(&jobs), ["A", "B"]);
    let rest = bench.claim(9).await;
    assert_eq!(rest.len(), 1);
    assert!(bench.claim(9).await.is_empty());
}

async fn a_job_is_claimed_when_its_time_comes(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    put_off(&bench, &lease, &job, Phase::Forward, 500).await;
    assert!(bench.claim(499).await.is_empty());
    let (_, job) = bench.claim(500).await.remove(0);
    assert_eq!(job.cursor.wake_at, at(500));
}

async fn a_live_lease_keeps_others_away_until_it_expires(bench: Bench) {
    let (bench, first, _) = bench.with_claimed_job().await;
    assert!(bench.store.claim("other", at(60), TTL, 9).await.unwrap().is_empty());
    let taken = bench.store.claim("other", at(61), TTL, 9).await.unwrap();
    assert!(taken[0].0.generation > first.generation);
}

async fn a_lost_lease_writes_nothing(bench: Bench) {
    let (bench, old, job) = bench.with_claimed_job().await;
    let (new, _) = bench.claim(61).await.remove(0);
    let update = Job { status: Status::Provisioning, last_update: at(62), ..job.clone() };
    let events = vec![event(EventStatus::Started, "without a lease")];
    let error = bench.store.save(&old, &update, events).await.unwrap_err();
    assert!(is_lost(&error), "{error}");
    assert_eq!(bench.job(1).await.status, Status::Queued);
    assert!(
        bench.store.events(&EventFilter { limit: 9, ..EventFilter::default() }).await.unwrap().is_empty()
    );
    bench.store.release(&old).await.unwrap();
    bench.store.save(&new, &update, Vec::new()).await.unwrap();
    assert_eq!(bench.job(1).await.status, Status::Provisioning);
    let unknown = Lease { job: id(9), generation: 1 };
    assert!(is_lost(&bench.store.save(&unknown, &update, Vec::new()).await.unwrap_err()));
}

async fn an_expired_lease_that_was_not_taken_over_still_saves(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    bench.store.save(&lease, &Job { last_update: at(1_000), ..job.clone() }, Vec::new()).await.unwrap();
    assert_eq!(bench.job(1).await.last_update, at(1_000));
}

async fn renewing_extends_what_is_held_and_names_what_is_lost(bench: Bench) {
    let bench = bench.with(&["A", "B"]).await;
    bench.add_job("A", 1).await;
    bench.add_job("B", 2).await;
    let leases: Vec<Lease> = bench.claim(2).await.into_iter().map(|(lease, _)| lease).collect();
    bench.store.release(&leases[1]).await.unwrap();
    let held = bench.store.renew("me", &leases, at(50), TTL).await.unwrap();
    assert_eq!(held, leases[..1]);
    assert!(bench.store.renew("other", &leases, at(50), TTL).await.unwrap().is_empty());
    let claimed = bench.store.claim("other", at(109), TTL, 9).await.unwrap();
    assert_eq!(claimed.len(), 1, "the renewed one is held until second 110");
    assert!(bench.store.renew("me", &leases[1..], at(110), TTL).await.unwrap().is_empty());
}

async fn a_released_job_can_be_claimed_immediately(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    bench.store.release(&lease).await.unwrap();
    let error =
        bench.store.save(&lease, &Job { last_update: at(2), ..job.clone() }, Vec::new()).await.unwrap_err();
    assert!(is_lost(&error), "{error}");
    assert_eq!(bench.claim(2).await.len(), 1);
}

async fn a_cancelled_job_is_due_immediately(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    put_off(&bench, &lease, &job, Phase::Forward, 5_000).await;
    bench.store.request_cancel(id(1), Cancel::default()).await.unwrap();
    assert_eq!(bench.store.next_wake(at(3)).await.unwrap(), Some(at(3)));
    // A controller that claims it and crashes before the job is decided leaves it due.
    let bench = {
        bench.claim(3).await.remove(0);
        bench.restarted().await
    };
    let (lease, job) = bench.claim(63).await.remove(0);
    assert_eq!(job.cancel, Some(Cancel::default()));
    put_off(&bench, &lease, &job, Phase::Cleanup, 5_000).await;
    assert!(bench.claim(64).await.is_empty(), "the cleanup has its own time");
}

async fn a_forced_cleanup_is_due_immediately_and_once(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    put_off(&bench, &lease, &job, Phase::Cleanup, 5_000).await;
    assert!(bench.claim(3).await.is_empty());
    bench.store.request_cancel(id(1), Cancel { force: true }).await.unwrap();
    let (lease, job) = bench.claim(3).await.remove(0);
    put_off(&bench, &lease, &job, Phase::Cleanup, 5_000).await;
    assert!(bench.claim(4).await.is_empty());
}

async fn the_next_wake_is_when_a_job_may_be_claimable(bench: Bench) {
    assert_eq!(bench.store.next_wake(at(0)).await.unwrap(), None);
    let (bench, lease, job) = bench.with_claimed_job().await;
    assert_eq!(bench.store.next_wake(at(2)).await.unwrap(), Some(at(61)), "when the lease runs out");
    put_off(&bench, &lease, &job, Phase::Forward, 500).await;
    let next = bench.store.next_wake(at(2)).await.unwrap();
    assert!(next == Some(at(61)) || next == Some(at(500)), "{next:?}");
    assert_eq!(bench.store.next_wake(at(70)).await.unwrap(), Some(at(500)), "the lease has run out");
    assert_eq!(bench.store.next_wake(at(900)).await.unwrap(), Some(at(900)), "overdue is now");
    let bench = bench.with(&["B"]).await;
    bench.add_job("B", 3).await;
    assert_eq!(bench.store.next_wake(at(2)).await.unwrap(), Some(at(3)));
    let (lease, _) = bench.claim(500).await.remove(0);
    bench.finish(&lease).await;
    assert_eq!(bench.store.next_wake(at(501)).await.unwrap(), Some(at(560)));
}

async fn all_of_an_update_is_saved(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    let mut update = Job { last_update: at(7), ..job.clone() };
    update.status = Status::Succeeded;
    update.cursor.phase = Phase::Done;
    update.cursor.step = Step::CleanupReset;
    update.cursor.attempt = 3;
    update.cursor.entered_at = Some(at(6));
    update.cursor.wake_at = at(8);
    update.cursor.intent = Some(Intent { act: Act::PowerOn, at: at(5), receipt_at: Some(at(6)), tries: 1 });
    update.facts.esxi_mut().watch.sources.insert(BootSource::LastResetTime, SourceFacts::default());
    update.facts.esxi_mut().watch.observed_at = Some(at(3));
    update.facts.cleanup.left = vec!["CD2 is still inserted".into()];
    update.verdict = Some(Verdict {
        outcome: Outcome::Succeeded,
        confidence: Some(Confidence::Probable),
        evidence: vec![Evidence {
            kind: EvidenceKind::SecondBoot,
            at: at(4),
            detail: "LastResetTime".into(),
        }],
    });
    update.failed_step = Some(Step::CleanupUnmountTask);
    update.reason = Some("CD2 could not be ejected".into());
    update.finished_at = Some(at(7));
    bench.store.save(&lease, &update, Vec::new()).await.unwrap();
    let bench = bench.restarted().await;
    let read = bench.job(1).await;
    assert_eq!(format!("{read:?}"), format!("{update:?}"));
    assert_eq!(read.last_update, at(7));
}

async fn a_verdict_is_written_once(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    let decided = ended(&job, Phase::Cleanup);
    bench.store.save(&lease, &decided, Vec::new()).await.unwrap();
    let other = Job { verdict: Some(verdict(Outcome::Cancelled)), ..decided.clone() };
    let none = Job { verdict: None, ..decided.clone() };
    for changed in [other, none] {
        let events = vec![event(EventStatus::Succeeded, "a second verdict")];
        let error = bench.store.save(&lease, &changed, events).await.unwrap_err();
        assert!(matches!(error, StoreError::Decided { status: Status::Failed, .. }), "{error}");
    }
    assert_eq!(bench.job(1).await.verdict, Some(verdict(Outcome::Failed)));
    assert_eq!(*bench.store.latest_event().borrow(), 0, "the refused saves wrote no event");
    bench.store.save(&lease, &decided, Vec::new()).await.unwrap();
}

async fn a_decided_status_is_final(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    let decided = ended(&job, Phase::Cleanup);
    bench.store.save(&lease, &decided, Vec::new()).await.unwrap();
    for status in [Status::Queued, Status::Provisioning, Status::Succeeded, Status::Cancelled] {
        let changed = Job { status, ..decided.clone() };
        let error = bench.store.save(&lease, &changed, Vec::new()).await.unwrap_err();
        assert!(matches!(error, StoreError::Decided { .. }), "{status:?}: {error}");
    }
    assert_eq!(bench.job(1).await.status, Status::Failed);
}

async fn a_job_does_not_go_back(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    bench.store.save(&lease, &ended(&job, Phase::Done), Vec::new()).await.unwrap();
    for phase in [Phase::Forward, Phase::Cleanup] {
        let error = bench.store.save(&lease, &ended(&job, phase), Vec::new()).await.unwrap_err();
        assert!(matches!(error, StoreError::Decided { .. }), "{phase:?}: {error}");
    }
    bench.add_job("A", 2).await;
}

async fn several_controllers_claim_each_job_once(bench: Bench) {
    let mut bench = bench;
    for number in 1..=20 {
        let serial = format!("S{number}");
        bench = bench.with(&[&serial]).await;
        bench.add_job(&serial, number).await;
    }
    let controllers = (0..4).map(|number| {
        let store = bench.store.second_handle();
        tokio::spawn(async move {
            let mut claimed = Vec::new();
            loop {
                let some = store.claim(&format!("controller-{number}"), at(30), TTL, 3).await.unwrap();
                if some.is_empty() {
                    return claimed;
                }
                claimed.extend(some.into_iter().map(|(lease, _)| lease));
                tokio::task::yield_now().await;
            }
        })
    });
    let mut leases = Vec::new();
    for controller in controllers.collect::<Vec<_>>() {
        leases.extend(controller.await.unwrap());
    }
    leases.sort();
    let expected: Vec<Lease> = (1..=20).map(|number| Lease { job: id(number), generation: 1 }).collect();
    assert_eq!(leases, expected);
}

async fn a_takeover_fences_every_write_of_the_driver(bench: Bench) {
    let (bench, old, job) = bench.with_claimed_job().await;
    let taken_over = bench.store.claim("other", at(61), TTL, 9).await.unwrap();
    let (new, _) = taken_over.into_iter().next().unwrap();
    assert!(is_lost(&bench.store.save(&old, &job, Vec::new()).await.unwrap_err()));
    assert!(is_lost(&bench.store.take_host(&old, &job).await.unwrap_err()));
    assert!(bench.store.renew("me", &[old], at(62), TTL).await.unwrap().is_empty());
    bench.store.release(&old).await.unwrap();
    assert_eq!(bench.store.renew("other", &[new], at(62), TTL).await.unwrap(), [new], "it still holds");
    bench.store.save(&new, &job, Vec::new()).await.unwrap();
}
