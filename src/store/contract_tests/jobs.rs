//! Promises about jobs as they are submitted: added, repeated, refused, listed and cancelled.

use std::time::Duration;

use crate::domain::{
    Cancel, Cursor, EventStatus, FailureCode, FieldError, Job, JobId, Outcome, Phase, Status, Step,
};
use crate::store::{
    CancelOutcome, EventFilter, IdempotencyKey, Inserted, JobFilter, NewJob, PAGE_MAX, RefusedJob,
    StoreError, StoredJob,
};

use super::{Bench, KICKSTART, at, ended, event, id, new_job, recipe, serial, verdict};

promises! {
    a_job_reads_back_as_written,
    a_server_has_one_active_job,
    of_many_concurrent_requests_one_gets_the_server,
    a_repeated_key_answers_with_the_first_job,
    a_key_with_another_body_is_a_conflict,
    a_key_is_forgotten_after_a_day,
    a_refused_recipe_is_a_job_that_failed,
    a_refusal_is_repeated_with_its_errors,
    lists_go_back_in_time_page_by_page,
    lists_are_filtered,
    labels_are_those_of_the_server_when_the_job_was_made,
    every_status_is_counted,
    a_job_is_active_until_its_cleanup_is_over,
    a_cancel_is_recorded_until_the_job_is_decided,
    a_cleanup_can_be_forced_and_stays_forced,
    a_task_that_waits_for_jobs_is_notified,
}

fn key(name: &str, body: u8) -> Option<IdempotencyKey> {
    Some(IdempotencyKey { key: name.into(), body_sha256: [body; 32] })
}

fn refused(server: &str, number: u64) -> RefusedJob {
    RefusedJob {
        id: id(number),
        server: serial(server),
        task_target: "install-solaris.target".into(),
        recipe: recipe(server),
        code: FailureCode::RecipeInvalid,
        reason: "the recipe has a fault".into(),
        errors: vec![FieldError::new("/task_target", "unknown target")],
        retry_of: None,
        created_at: at(number),
    }
}

async fn a_job_reads_back_as_written(bench: Bench) {
    let bench = bench.with(&["A"]).await;
    let new = NewJob { retry_of: Some(id(8)), ..new_job("A", 1) };
    let Inserted::New(made) = bench.store.insert_job(new, None).await.unwrap() else { panic!("no key") };
    let bench = bench.restarted().await;
    let read = bench.job(1).await;
    assert_eq!(format!("{read:?}"), format!("{made:?}"));
    assert_eq!(read.spec.unwrap().esxi().unwrap().kickstart.expose(), KICKSTART);
    assert_eq!(
        (read.status, read.cursor, read.retry_of),
        (Status::Queued, Cursor::start(at(1)), Some(id(8)))
    );
    assert_eq!(bench.store.job_recipe(id(1)).await.unwrap(), Some(recipe("A")));
    assert_eq!(bench.store.job_recipe(id(9)).await.unwrap(), None);
    assert!(bench.store.job(id(9)).await.unwrap().is_none());
}

async fn a_server_has_one_active_job(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    for phase in [Phase::Forward, Phase::Cleanup] {
        let mut update = Job { last_update: at(2), ..job.clone() };
        update.cursor.phase = phase;
        bench.store.save(&lease, &update, Vec::new()).await.unwrap();
        let error = bench.store.insert_job(new_job("A", 2), None).await.unwrap_err();
        assert!(matches!(&error, StoreError::Busy { job, .. } if *job == lease.job), "{error}");
        assert!(bench.store.job(id(2)).await.unwrap().is_none());
    }
    bench.finish(&lease).await;
    bench.add_job("A", 2).await;
}

async fn of_many_concurrent_requests_one_gets_the_server(bench: Bench) {
    let bench = bench.with(&["A"]).await;
    let tries = (1..=20).map(|number| {
        let store = bench.store.clone();
        tokio::spawn(async move { store.insert_job(new_job("A", number), None).await })
    });
    let mut winners = Vec::new();
    for running in tries.collect::<Vec<_>>() {
        match running.await.unwrap() {
            Ok(inserted) => winners.push(inserted),
            Err(error) => assert!(matches!(error, StoreError::Busy { .. }), "{error}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(bench.store.status_counts().await.unwrap(), [1, 0, 0, 0, 0]);
}

async fn a_repeated_key_answers_with_the_first_job(bench: Bench) {
    let bench = bench.with(&["A"]).await;
    bench.store.insert_job(new_job("A", 1), key("k", 1)).await.unwrap();
    let bench = bench.restarted().await;
    // The server is busy, and still the answer is that job and not a conflict.
    let again = bench.store.insert_job(new_job("A", 2), key("k", 1)).await.unwrap();
    assert!(matches!(&again, Inserted::Repeated { job, refusal: None } if job.id == id(1)), "{again:?}");
    let found = bench.store.repeated(&key("k", 1).unwrap(), at(3)).await.unwrap();
    assert!(matches!(&found, Some(Inserted::Repeated { job, .. }) if job.id == id(1)), "{found:?}");
    assert!(bench.store.repeated(&key("other", 1).unwrap(), at(3)).await.unwrap().is_none());
    assert!(bench.store.job(id(2)).await.unwrap().is_none());
}

async fn a_key_with_another_body_is_a_conflict(bench: Bench) {
    let bench = bench.with(&["A", "B"]).await;
    bench.store.insert_job(new_job("A", 1), key("k", 1)).await.unwrap();
    let error = bench.store.insert_job(new_job("B", 2), key("k", 2)).await.unwrap_err();
    assert!(matches!(error, StoreError::IdempotencyConflict), "{error}");
    let error = bench.store.repeated(&key("k", 2).unwrap(), at(2)).await.unwrap_err();
    assert!(matches!(error, StoreError::IdempotencyConflict), "{error}");
    // A request that was refused leaves its key unused.
    assert!(bench.store.insert_job(new_job("A", 3), key("busy", 1)).await.is_err());
    bench.store.insert_job(new_job("B", 4), key("busy", 2)).await.unwrap();
}

async fn a_key_is_forgotten_after_a_day(bench: Bench) {
    let bench = bench.with(&["A", "B", "C"]).await;
    let day = Duration::from_secs(24 * 60 * 60).as_secs();
    bench.store.insert_job(new_job("A", 1), key("k", 1)).await.unwrap();
    let late = bench.store.insert_job(new_job("B", day), key("k", 1)).await.unwrap();
    assert!(matches!(late, Inserted::Repeated { .. }), "a second before the day is over");
    let later = bench.store.insert_job(new_job("C", day + 1), key("k", 2)).await.unwrap();
    assert!(matches!(&later, Inserted::New(job) if job.server == serial("C")), "{later:?}");
}

async fn a_refused_recipe_is_a_job_that_failed(bench: Bench) {
    let (bench, lease, _) = bench.with_claimed_job().await;
    let events = vec![event(EventStatus::Started, "one"), event(EventStatus::Failed, "two")];
    let inserted = bench.store.insert_refused_job(refused("A", 2), events, None).await.unwrap();
    assert!(matches!(&inserted, Inserted::New(job) if job.id == id(2)), "a busy server does not matter");
    bench.finish(&lease).await;

    let job = bench.job(2).await;
    assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::ValidateRecipe)));
    assert_eq!(job.failure_code, Some(FailureCode::RecipeInvalid));
    assert_eq!(job.reason.as_deref(), Some("the recipe has a fault"));
    assert_eq!((job.verdict, job.finished_at), (Some(verdict(Outcome::Failed)), Some(at(2))));
    assert_eq!(job.task_target, "install-solaris.target");
    assert!(job.spec.is_none() && job.cursor.phase == Phase::Done);
    assert_eq!(bench.store.job_recipe(id(2)).await.unwrap(), Some(recipe("A")));
    let filter = EventFilter { job: Some(id(2)), after: 0, limit: 10, ..EventFilter::default() };
    assert_eq!(bench.store.events(&filter).await.unwrap().len(), 2);
    assert!(bench.claim(99).await.is_empty(), "a refused job is never claimed");
    bench.add_job("A", 3).await;
}

async fn a_refusal_is_repeated_with_its_errors(bench: Bench) {
    let bench = bench.with(&["A"]).await;
    bench.store.insert_refused_job(refused("A", 1), Vec::new(), key("k", 1)).await.unwrap();
    let bench = bench.restarted().await;
    let again = bench.store.insert_refused_job(refused("A", 2), Vec::new(), key("k", 1)).await.unwrap();
    let Inserted::Repeated { job, refusal } = again else { panic!("the key was used before") };
    assert_eq!((job.id, refusal), (id(1), Some(refused("A", 1).errors)));
}

async fn lists_go_back_in_time_page_by_page(bench: Bench) {
    let bench = bench.with(&["A", "B", "C", "D", "E"]).await;
    for (serial, number) in [("C", 3), ("A", 1), ("E", 5), ("B", 2), ("D", 4)] {
        bench.add_job(serial, number).await;
    }
    let page = async |before: Option<JobId>| {
        let filter = JobFilter { before, limit: 2, ..JobFilter::default() };
        bench.store.jobs(&filter).await.unwrap()
    };
    let first = page(None).await;
    let second = page(Some(first[1].id())).await;
    let third = page(Some(second[1].id())).await;
    assert_eq!(
        (servers(&first), servers(&second), servers(&third)),
        (vec!["E", "D"], vec!["C", "B"], vec!["A"])
    );
    assert!(page(Some(third[0].id())).await.is_empty());
    let all = JobFilter { limit: usize::MAX, ..JobFilter::default() };
    assert!(bench.store.jobs(&all).await.unwrap().len() <= PAGE_MAX);
}

fn servers(jobs: &[StoredJob]) -> Vec<&str> {
    jobs.iter().map(StoredJob::server).collect()
}

async fn lists_are_filtered(bench: Bench) {
    let (bench, lease, _) = bench.with_claimed_job().await;
    bench.finish(&lease).await;
    let bench = bench.with(&["B"]).await;
    bench.add_job("A", 2).await;
    bench.add_job("B", 3).await;
    let list = async |filter: JobFilter| -> Vec<JobId> {
        let jobs = bench.store.jobs(&JobFilter { limit: 10, ..filter }).await.unwrap();
        jobs.iter().map(StoredJob::id).collect()
    };
    let by_status = |status| JobFilter { status: Some(status), ..JobFilter::default() };
    let by_server = |text| JobFilter { server: Some(serial(text)), ..JobFilter::default() };
    assert_eq!(list(JobFilter::default()).await, [id(3), id(2), id(1)]);
    assert_eq!(list(by_status(Status::Queued)).await, [id(3), id(2)]);
    assert_eq!(list(by_server("A")).await, [id(2), id(1)]);
    assert_eq!(list(JobFilter { status: Some(Status::Failed), ..by_server("A") }).await, [id(1)]);
    assert_eq!(list(JobFilter { before: Some(id(2)), ..by_server("A") }).await, [id(1)]);
    assert!(list(by_server("X")).await.is_empty());
}

async fn labels_are_those_of_the_server_when_the_job_was_made(bench: Bench) {
    let bench = bench.with(&["B"]).await;
    let mut server = super::server("A");
    server.labels = [("rack", "7"), ("site", "ber")].map(|(name, value)| (name.into(), value.into())).into();
    bench.store.insert_server(&server).await.unwrap();
    bench.add_job("A", 1).await;
    bench.add_job("B", 2).await;
    server.labels.insert("rack".into(), "8".into());
    bench.store.update_server(&server, None).await.unwrap();
    let found = async |name: &str, value: &str| {
        let label = Some((name.into(), value.into()));
        let filter = JobFilter { label, limit: 10, ..JobFilter::default() };
        bench.store.jobs(&filter).await.unwrap().len()
    };
    assert_eq!((found("rack", "7").await, found("rack", "8").await), (1, 0));
    assert_eq!((found("site", "ber").await, found("7", "rack").await), (1, 0));
}

async fn every_status_is_counted(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    let bench = bench.with(&["B", "C"]).await;
    bench.add_job("B", 2).await;
    bench.add_job("C", 3).await;
    assert_eq!(bench.store.status_counts().await.unwrap(), [3, 0, 0, 0, 0]);
    let update = Job { status: Status::Provisioning, last_update: at(2), ..job.clone() };
    bench.store.save(&lease, &update, Vec::new()).await.unwrap();
    assert_eq!(bench.store.status_counts().await.unwrap(), [2, 1, 0, 0, 0]);
    let update = Job { status: Status::Cancelled, last_update: at(3), ..job.clone() };
    bench.store.save(&lease, &update, Vec::new()).await.unwrap();
    assert_eq!(bench.store.status_counts().await.unwrap(), [2, 0, 0, 0, 1]);
}

async fn a_job_is_active_until_its_cleanup_is_over(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    let bench = bench.with(&["B"]).await;
    bench.add_job("B", 2).await;
    assert_eq!(bench.store.active_jobs().await.unwrap(), [id(1), id(2)]);
    bench.store.save(&lease, &ended(&job, Phase::Cleanup), Vec::new()).await.unwrap();
    assert_eq!(bench.store.active_jobs().await.unwrap(), [id(1), id(2)]);
    bench.store.save(&lease, &ended(&job, Phase::Done), Vec::new()).await.unwrap();
    assert_eq!(bench.store.active_jobs().await.unwrap(), [id(2)]);
}

async fn a_cancel_is_recorded_until_the_job_is_decided(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    assert_eq!(bench.store.pending_cancels().await.unwrap(), []);
    let outcome = bench.store.request_cancel(id(1), Cancel { force: false }).await.unwrap();
    assert!(matches!(&outcome, CancelOutcome::Recorded(job) if job.cancel == Some(Cancel { force: false })));
    assert_eq!(bench.store.pending_cancels().await.unwrap(), [(id(1), Cancel { force: false })]);
    // A save of what was read before the cancel does not lose it.
    bench.store.save(&lease, &ended(&job, Phase::Cleanup), Vec::new()).await.unwrap();
    assert_eq!(bench.job(1).await.cancel, Some(Cancel { force: false }));
    let outcome = bench.store.request_cancel(id(1), Cancel { force: false }).await.unwrap();
    assert!(matches!(&outcome, CancelOutcome::Refused(job) if job.status == Status::Failed), "{outcome:?}");
    let error = bench.store.request_cancel(id(9), Cancel::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownJob { .. }), "{error}");
}

async fn a_cleanup_can_be_forced_and_stays_forced(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    bench.store.request_cancel(id(1), Cancel { force: true }).await.unwrap();
    bench.store.request_cancel(id(1), Cancel { force: false }).await.unwrap();
    assert_eq!(bench.store.pending_cancels().await.unwrap(), [(id(1), Cancel { force: true })]);
    bench.store.save(&lease, &ended(&job, Phase::Cleanup), Vec::new()).await.unwrap();
    let outcome = bench.store.request_cancel(id(1), Cancel { force: true }).await.unwrap();
    assert!(matches!(outcome, CancelOutcome::Recorded(_)), "the cleanup may still be waiting");
    bench.finish(&lease).await;
    let outcome = bench.store.request_cancel(id(1), Cancel { force: true }).await.unwrap();
    assert!(matches!(outcome, CancelOutcome::Refused(_)), "nothing is left to force");
}

async fn a_task_that_waits_for_jobs_is_notified(bench: Bench) {
    let bench = bench.with(&["A"]).await;
    let changed = bench.store.jobs_changed();
    let notified = async |what: &str| {
        let waited = tokio::time::timeout(Duration::from_secs(5), changed.notified()).await;
        assert!(waited.is_ok(), "no notification of {what}");
    };
    bench.add_job("A", 1).await;
    notified("a new job").await;
    bench.store.request_cancel(id(1), Cancel::default()).await.unwrap();
    notified("a cancel").await;
    let (lease, _) = bench.claim(1).await.remove(0);
    bench.store.release(&lease).await.unwrap();
    notified("a release").await;
}
