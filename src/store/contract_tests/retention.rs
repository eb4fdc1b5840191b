//! Promises about retention: what is old and over goes whole, and nothing else does.

use crate::access::Act;
use crate::domain::{EventStatus, Job, NewEvent, Phase};
use crate::store::{AuditFilter, EventFilter, IdempotencyKey, JobFilter, Lease, RefusedJob, StoreError};

use super::{Bench, act, at, ended, event, id, new_job, recipe, serial};

promises! {
    an_old_job_is_removed_with_all_that_belongs_to_it,
    an_active_job_stays_however_old_it_is,
    refused_submissions_are_removed_earlier,
    a_batch_is_removed_with_its_last_job_and_not_before_it_is_over,
    events_of_ended_jobs_are_removed_and_the_jobs_stay,
    a_call_removes_no_more_than_its_limit,
    a_shortened_audit_is_verified_from_its_new_start,
    the_newest_entry_of_the_audit_is_never_removed,
}

impl Bench {
    /// The `number`-th job of the server, ended at second `ended_at`, with an event.
    async fn ended_job(&self, server: &str, number: u64, ended_at: u64) {
        let key = IdempotencyKey { key: format!("k{number}"), body_sha256: [1; 32] };
        self.store.insert_job(new_job(server, number), Some(key)).await.unwrap();
        let (lease, job) = self.claim(number).await.remove(0);
        self.end(&lease, &job, ended_at).await;
    }

    async fn end(&self, lease: &Lease, job: &Job, second: u64) {
        let update = Job { finished_at: Some(at(second)), ..ended(job, Phase::Done) };
        self.store.save(lease, &update, vec![event(EventStatus::Succeeded, "over")]).await.unwrap();
    }

    async fn expire(&self, ended_before: u64, refused_before: u64) -> u64 {
        self.store.expire_jobs(at(ended_before), at(refused_before), 100).await.unwrap()
    }

    async fn jobs(&self) -> usize {
        let filter = JobFilter { limit: 100, refused: true, ..JobFilter::default() };
        self.store.jobs(&filter).await.unwrap().len()
    }

    async fn events(&self) -> usize {
        self.store.events(&EventFilter { limit: 100, ..EventFilter::default() }).await.unwrap().len()
    }
}

async fn an_old_job_is_removed_with_all_that_belongs_to_it(bench: Bench) {
    let bench = bench.with(&["A", "B"]).await;
    bench.ended_job("A", 1, 10).await;
    bench.ended_job("B", 2, 20).await;
    assert_eq!(bench.expire(20, 0).await, 1);
    assert_eq!((bench.jobs().await, bench.events().await), (1, 1));
    assert!(bench.store.job_recipe(id(1)).await.unwrap().is_none());
    assert_eq!(bench.store.removed_events(None).await.unwrap(), 1);
    let key = IdempotencyKey { key: "k1".into(), body_sha256: [1; 32] };
    assert!(bench.store.repeated(&key, at(30)).await.unwrap().is_none());
    assert_eq!(bench.expire(21, 0).await, 1);
    assert_eq!((bench.jobs().await, bench.events().await), (0, 0));
    assert_eq!(bench.store.removed_events(None).await.unwrap(), 2);
    let bench = bench.restarted().await;
    bench.ended_job("A", 3, 30).await;
    let events = bench.store.events(&EventFilter { limit: 9, ..EventFilter::default() }).await.unwrap();
    assert_eq!(events[0].id, 3, "no id is used twice");
}

async fn an_active_job_stays_however_old_it_is(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    let cleaning = Job { finished_at: None, ..ended(&job, Phase::Cleanup) };
    bench.store.save(&lease, &cleaning, Vec::new()).await.unwrap();
    assert_eq!(bench.expire(1_000_000, 1_000_000).await, 0);
    assert_eq!(bench.store.expire_events(at(1_000_000), 9).await.unwrap(), 0);
}

fn refused(number: u64) -> RefusedJob {
    RefusedJob {
        id: id(number),
        server: serial("A"),
        task_target: "install-esxi.target".into(),
        recipe: recipe("A"),
        code: crate::domain::FailureCode::RecipeInvalid,
        reason: "refused".into(),
        errors: Vec::new(),
        retry_of: None,
        created_at: at(number),
    }
}

async fn refused_submissions_are_removed_earlier(bench: Bench) {
    let bench = bench.with(&["A"]).await;
    let events: Vec<NewEvent> = vec![event(EventStatus::Failed, "refused")];
    bench.store.insert_refused_job(refused(1), events, None).await.unwrap();
    bench.ended_job("A", 2, 3).await;
    assert_eq!(bench.expire(0, 1).await, 0);
    assert_eq!(bench.expire(0, 100).await, 1);
    assert!(bench.store.job(id(2)).await.unwrap().is_some());
}

async fn a_batch_is_removed_with_its_last_job_and_not_before_it_is_over(bench: Bench) {
    let bench = bench.with_batch(crate::domain::BatchLimits::default()).await;
    let started = bench.claim(5).await;
    let (first, others) = started.split_first().unwrap();
    bench.end(&first.0, &first.1, 6).await;
    assert_eq!(bench.expire(1_000, 1_000).await, 0, "the batch needs its rows");
    for (lease, job) in others {
        bench.end(lease, job, 7).await;
    }
    bench.claim(8).await;
    assert_eq!(bench.expire(7, 0).await, 1);
    let batch = super::batches::batch_id(1);
    assert_eq!(bench.store.batch_rows(batch).await.unwrap().len(), 2);
    assert_eq!(bench.expire(1_000, 0).await, 2);
    assert!(bench.store.batch(batch).await.unwrap().is_none());
}

async fn events_of_ended_jobs_are_removed_and_the_jobs_stay(bench: Bench) {
    let bench = bench.with(&["A", "B"]).await;
    bench.ended_job("A", 1, 10).await;
    bench.ended_job("B", 2, 20).await;
    assert_eq!(bench.store.expire_events(at(20), 9).await.unwrap(), 1);
    assert_eq!(bench.store.expire_events(at(20), 9).await.unwrap(), 0, "once");
    assert_eq!((bench.jobs().await, bench.events().await), (2, 1));
    let removed = async |job| bench.store.removed_events(job).await.unwrap();
    assert_eq!((removed(Some(id(1))).await, removed(Some(id(2))).await, removed(None).await), (1, 0, 1));
}

async fn a_call_removes_no_more_than_its_limit(bench: Bench) {
    let bench = bench.with(&["A"]).await;
    for number in 1..=3 {
        bench.ended_job("A", number, number).await;
    }
    assert_eq!(bench.store.expire_jobs(at(9), at(0), 2).await.unwrap(), 2);
    assert!(bench.store.job(id(3)).await.unwrap().is_some(), "the oldest go first");
    while bench.store.shrink().await.unwrap() {}
}

fn checkpoint() -> Act {
    Act { action: "audit.export".into(), at: at(50), ..act(9) }
}

async fn a_shortened_audit_is_verified_from_its_new_start(bench: Bench) {
    for number in 1..=5 {
        bench.store.record(act(number)).await.unwrap();
    }
    let old = bench.store.old_audit(at(4), 0).await.unwrap();
    assert_eq!(old.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 3]);
    bench.store.shorten_audit(3, checkpoint()).await.unwrap();
    let entries = bench.store.audit(&AuditFilter { limit: 9, ..AuditFilter::default() }).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [6, 5, 4]);
    assert_eq!(entries[0].action, "audit.export");
    let report = bench.store.verify_audit().await.unwrap();
    assert_eq!((report.first, report.good, report.fault), (4, 6, None));
    let bench = bench.restarted().await;
    bench.store.record(act(7)).await.unwrap();
    assert_eq!(bench.store.old_audit(at(5), 0).await.unwrap().len(), 1);
    bench.store.shorten_audit(3, checkpoint()).await.unwrap();
    let report = bench.store.verify_audit().await.unwrap();
    assert_eq!((report.first, report.good, report.fault), (4, 7, None), "what is gone is not removed again");
}

async fn the_newest_entry_of_the_audit_is_never_removed(bench: Bench) {
    bench.store.record(act(1)).await.unwrap();
    bench.store.shorten_audit(1, checkpoint()).await.unwrap();
    let report = bench.store.verify_audit().await.unwrap();
    assert_eq!((report.first, report.good, report.fault), (1, 1, None));
    let unknown: Result<(), StoreError> = bench.store.shorten_audit(9, checkpoint()).await;
    unknown.unwrap();
}
