//! Promises about batches: all or nothing, held until the plan lets go, and changed by operators.

use std::collections::BTreeMap;

use crate::domain::{
    BatchId, BatchLimits, BatchStatus, FieldPatch, Job, Outcome, Phase, RowState, Server, Status, Verdict,
};
use crate::store::{
    Batch, BatchChange, BatchOutcome, IdempotencyKey, InsertedBatch, JobFilter, Lease, NewBatch, NewJob,
    RowCounts, StoreError,
};

use super::{Bench, TTL, at, id, new_job, serial, server};

promises! {
    a_batch_is_added_whole_or_not_at_all,
    rows_are_held_until_the_limits_let_them_go,
    two_controllers_start_no_more_rows_than_allowed,
    a_failure_halts_the_batch_and_a_resume_acknowledges_it,
    a_paused_batch_starts_nothing,
    a_cancelled_batch_ends_its_waiting_rows_and_leaves_the_others,
    failed_rows_are_tried_again_under_the_same_limits,
    a_batch_is_finished_with_its_last_row,
    a_repeated_request_finds_its_batch,
    labels_are_those_of_the_server_when_the_batch_was_made,
    the_next_wake_is_not_that_of_a_held_job,
    a_batch_survives_a_restart,
}

pub(super) fn batch_id(number: u64) -> BatchId {
    BatchId::new(at(number).as_millisecond() as u64, [number as u8; 10])
}

/// A batch of servers `A`, `B`, `C` with jobs 1, 2, 3.
fn new_batch(limits: BatchLimits) -> NewBatch {
    let jobs = [("A", 1), ("B", 2), ("C", 3)];
    NewBatch {
        id: batch_id(1),
        name: Some("tuesday".into()),
        limits,
        created_by: "me".into(),
        created_at: at(1),
        jobs: jobs.into_iter().map(|(serial, number)| new_job(serial, number)).collect(),
    }
}

fn one_by_one() -> BatchLimits {
    BatchLimits { max_parallel: Some(1), ..BatchLimits::default() }
}

impl Bench {
    pub(super) async fn with_batch(self, limits: BatchLimits) -> Bench {
        let bench = self.with(&["A", "B", "C"]).await;
        assert!(matches!(
            bench.store.insert_batch(new_batch(limits), None).await.unwrap(),
            InsertedBatch::New(_)
        ));
        bench
    }

    /// The servers of the jobs that can be claimed, with their leases.
    async fn started(&self, second: u64) -> Vec<(String, Lease, Job)> {
        let claimed = self.claim(second).await.into_iter();
        claimed.map(|(lease, job)| (job.server.to_string(), lease, job)).collect()
    }

    async fn batch(&self) -> Batch {
        self.store.batch(batch_id(1)).await.unwrap().unwrap()
    }

    async fn change(&self, change: BatchChange, second: u64) -> Option<Batch> {
        match self.store.change_batch(batch_id(1), change, at(second)).await.unwrap() {
            BatchOutcome::Changed(batch) => Some(batch),
            BatchOutcome::Refused(_) => None,
        }
    }

    async fn decide(&self, lease: &Lease, job: &Job, status: Status) {
        let outcome = if status == Status::Succeeded { Outcome::Succeeded } else { Outcome::Failed };
        let verdict = Some(Verdict { outcome, confidence: None, evidence: Vec::new() });
        let mut update = Job { status, verdict, last_update: at(9), ..job.clone() };
        update.cursor.phase = Phase::Done;
        self.store.save(lease, &update, Vec::new()).await.unwrap();
    }
}

fn names(started: &[(String, Lease, Job)]) -> Vec<&str> {
    started.iter().map(|(server, ..)| server.as_str()).collect()
}

const RESUME: BatchChange =
    BatchChange::Resume { not_before: FieldPatch::Absent, not_after: FieldPatch::Absent };

async fn a_batch_is_added_whole_or_not_at_all(bench: Bench) {
    let bench = bench.with(&["A", "B", "C"]).await;
    bench.add_job("C", 9).await;
    let error = bench.store.insert_batch(new_batch(BatchLimits::default()), None).await.unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error}");
    assert!(bench.store.batch(batch_id(1)).await.unwrap().is_none());
    assert!(bench.store.job(id(1)).await.unwrap().is_none());
}

async fn rows_are_held_until_the_limits_let_them_go(bench: Bench) {
    let bench = bench.with_batch(one_by_one()).await;
    let first = bench.started(5).await;
    assert_eq!(names(&first), ["A"]);
    assert!(bench.started(6).await.is_empty());
    let (_, lease, job) = &first[0];
    bench.decide(lease, job, Status::Failed).await;
    assert_eq!(names(&bench.started(7).await), ["B"], "a row that is decided gives its place up");
    let rows = bench.store.batch_rows(batch_id(1)).await.unwrap();
    let states: Vec<RowState> = rows.iter().map(|row| row.state()).collect();
    assert_eq!(states, [RowState::Failed, RowState::Running { since: at(7) }, RowState::Waiting]);
}

async fn two_controllers_start_no_more_rows_than_allowed(bench: Bench) {
    let bench = bench.with_batch(BatchLimits { max_parallel: Some(2), ..BatchLimits::default() }).await;
    let other = bench.store.second_handle();
    let (one, two) =
        tokio::join!(bench.store.claim("one", at(5), TTL, 100), other.claim("two", at(5), TTL, 100));
    assert_eq!(one.unwrap().len() + two.unwrap().len(), 2);
}

async fn a_failure_halts_the_batch_and_a_resume_acknowledges_it(bench: Bench) {
    let bench = bench.with_batch(BatchLimits { max_failures: Some(0), ..one_by_one() }).await;
    let (_, lease, job) = bench.started(5).await.remove(0);
    bench.decide(&lease, &job, Status::Failed).await;
    assert!(bench.started(6).await.is_empty());
    let batch = bench.batch().await;
    assert_eq!((batch.status, batch.finished_at), (BatchStatus::Halted, None));
    assert_eq!(batch.reason.as_deref(), Some("1 rows failed, and max_failures is 0"));
    let batch = bench.change(RESUME, 7).await.unwrap();
    assert_eq!((batch.status, batch.reason), (BatchStatus::Running, None));
    assert_eq!(names(&bench.started(8).await), ["B"]);
}

async fn a_paused_batch_starts_nothing(bench: Bench) {
    let bench = bench.with_batch(one_by_one()).await;
    bench.change(BatchChange::Pause, 2).await.unwrap();
    assert!(bench.started(5).await.is_empty());
    assert!(bench.change(BatchChange::Pause, 5).await.is_none(), "it is paused already");
    let not_before = FieldPatch::Value(at(20));
    bench.change(BatchChange::Resume { not_before, not_after: FieldPatch::Absent }, 6).await.unwrap();
    assert!(bench.started(19).await.is_empty());
    assert_eq!(names(&bench.started(20).await), ["A"]);
}

async fn a_cancelled_batch_ends_its_waiting_rows_and_leaves_the_others(bench: Bench) {
    let bench = bench.with_batch(one_by_one()).await;
    let (_, lease, job) = bench.started(5).await.remove(0);
    bench.change(BatchChange::Cancel { running: false }, 6).await.unwrap();
    let cancelled = bench.started(7).await;
    assert_eq!(names(&cancelled), ["B", "C"], "their cancel is for the driver to carry out");
    assert!(cancelled.iter().all(|(.., job)| job.cancel.is_some()));
    assert!(bench.job(1).await.cancel.is_none());
    bench.change(BatchChange::Cancel { running: true }, 8).await.unwrap();
    assert!(bench.job(1).await.cancel.is_some());
    bench.decide(&lease, &job, Status::Succeeded).await;
    for (_, lease, job) in &cancelled {
        bench.decide(lease, job, Status::Cancelled).await;
    }
    assert!(bench.started(9).await.is_empty());
    let batch = bench.batch().await;
    assert_eq!((batch.status, batch.finished_at), (BatchStatus::Cancelled, Some(at(9))));
    assert!(bench.change(RESUME, 10).await.is_none());
}

async fn failed_rows_are_tried_again_under_the_same_limits(bench: Bench) {
    let bench = bench.with_batch(BatchLimits { max_failures: Some(0), ..one_by_one() }).await;
    let (_, lease, job) = bench.started(5).await.remove(0);
    bench.decide(&lease, &job, Status::Failed).await;
    bench.claim(6).await;
    let retry = |of| NewJob { retry_of: Some(id(of)), ..new_job("A", 7) };
    let refused = bench.store.retry_rows(batch_id(1), vec![retry(2)], at(7)).await.unwrap();
    assert!(matches!(refused, BatchOutcome::Refused(_)), "the row of B has not failed");
    let changed = bench.store.retry_rows(batch_id(1), vec![retry(1)], at(7)).await.unwrap();
    let BatchOutcome::Changed(batch) = changed else { panic!("refused") };
    assert_eq!(batch.counts, RowCounts { waiting: 3, ..RowCounts::default() });
    assert!(bench.started(8).await.is_empty(), "it is still halted");
    bench.change(RESUME, 9).await.unwrap();
    assert_eq!(names(&bench.started(10).await), ["A"]);
    let row = bench.store.batch_rows(batch_id(1)).await.unwrap().remove(0);
    assert_eq!((row.job, row.attempts), (id(7), 2));
    assert_eq!(bench.job(7).await.batch, Some(batch_id(1)));
}

async fn a_batch_is_finished_with_its_last_row(bench: Bench) {
    let bench = bench.with_batch(BatchLimits::default()).await;
    let started = bench.started(5).await;
    assert_eq!(names(&started), ["A", "B", "C"]);
    for (number, (_, lease, job)) in started.iter().enumerate() {
        assert_eq!(bench.batch().await.status, BatchStatus::Running, "{number}");
        bench.decide(lease, job, if number == 0 { Status::Failed } else { Status::Succeeded }).await;
        bench.claim(6).await;
    }
    let batch = bench.batch().await;
    assert_eq!((batch.status, batch.finished_at), (BatchStatus::Finished, Some(at(6))));
    assert_eq!(batch.counts, RowCounts { succeeded: 2, failed: 1, ..RowCounts::default() });
    let retry = NewJob { retry_of: Some(id(1)), ..new_job("A", 7) };
    bench.store.retry_rows(batch_id(1), vec![retry], at(7)).await.unwrap();
    assert_eq!(bench.batch().await.status, BatchStatus::Running);
    assert_eq!(names(&bench.started(8).await), ["A"]);
}

async fn a_repeated_request_finds_its_batch(bench: Bench) {
    let bench = bench.with(&["A", "B", "C"]).await;
    let key = |body| Some(IdempotencyKey { key: "k".into(), body_sha256: [body; 32] });
    bench.store.insert_batch(new_batch(one_by_one()), key(1)).await.unwrap();
    let again = NewBatch { id: batch_id(5), ..new_batch(one_by_one()) };
    let repeated = bench.store.insert_batch(again.clone(), key(1)).await.unwrap();
    assert!(matches!(repeated, InsertedBatch::Repeated(batch) if batch.id == batch_id(1)));
    let error = bench.store.insert_batch(again, key(2)).await.unwrap_err();
    assert!(matches!(error, StoreError::IdempotencyConflict), "{error}");
    let found = bench.store.repeated_batch(&key(1).unwrap(), at(2)).await.unwrap();
    assert_eq!(found.unwrap().id, batch_id(1));
    assert!(bench.store.repeated_batch(&key(1).unwrap(), at(90_000)).await.unwrap().is_none());
}

async fn labels_are_those_of_the_server_when_the_batch_was_made(bench: Bench) {
    let bench = bench.with(&["C"]).await;
    for name in ["A", "B"] {
        let labels =
            BTreeMap::from([("rack".to_owned(), "7".to_owned()), ("site".to_owned(), "x".to_owned())]);
        bench.store.insert_server(&Server { labels, ..server(name) }).await.unwrap();
    }
    let per_label_parallel = BTreeMap::from([("rack".to_owned(), 1)]);
    let limits = BatchLimits { per_label_parallel, ..BatchLimits::default() };
    bench.store.insert_batch(new_batch(limits), None).await.unwrap();
    bench.store.update_server(&server("A"), None).await.unwrap();
    assert_eq!(names(&bench.started(5).await), ["A", "C"], "B shares the rack of A, and C has none");
    let row = bench.store.batch_rows(batch_id(1)).await.unwrap().remove(0);
    assert_eq!(row.labels, BTreeMap::from([("rack".to_owned(), "7".to_owned())]));
}

async fn the_next_wake_is_not_that_of_a_held_job(bench: Bench) {
    let limits = BatchLimits { not_before: Some(at(500)), ..BatchLimits::default() };
    let bench = bench.with_batch(limits).await;
    assert!(bench.started(5).await.is_empty());
    assert_eq!(bench.store.next_wake(at(6)).await.unwrap(), Some(at(500)));
    bench.change(BatchChange::Pause, 7).await.unwrap();
    assert_eq!(bench.store.next_wake(at(8)).await.unwrap(), None);
}

async fn a_batch_survives_a_restart(bench: Bench) {
    let bench = bench.with_batch(one_by_one()).await;
    assert_eq!(names(&bench.started(5).await), ["A"]);
    let bench = bench.restarted().await;
    // The lease of the crashed controller has ended by then, whatever the engine.
    assert_eq!(names(&bench.started(66).await), ["A"], "it is taken up, and nothing else starts");
    let batches = bench.store.batches(None, 9).await.unwrap();
    assert_eq!(batches.iter().map(|batch| batch.id).collect::<Vec<_>>(), [batch_id(1)]);
    assert_eq!(batches[0].limits, one_by_one());
    assert!(bench.store.batches(Some(batch_id(1)), 9).await.unwrap().is_empty());
    let filter = JobFilter { batch: Some(batch_id(1)), limit: 9, ..JobFilter::default() };
    assert_eq!(bench.store.jobs(&filter).await.unwrap().len(), 3);
    assert_eq!(
        bench.store.active_job(&serial("C")).await.unwrap(),
        Some(id(3)),
        "the batch reserves its servers"
    );
}
