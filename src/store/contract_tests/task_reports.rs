//! Promises about what maintenance systems report: which result counts, and which delivery.

use super::{Bench, at, ended, id};
use crate::domain::{Phase, Reporter, TaskProgress, TaskResult};
use crate::store::DELIVERIES_MAX;

promises! {
    a_result_by_token_replaces_one_by_secret_and_nothing_else_does,
    the_result_of_a_decided_job_is_not_replaced,
    a_delivery_by_secret_counts_once_for_its_server,
    a_refused_delivery_never_counts_and_the_kept_ones_are_bounded,
    progress_by_secret_does_not_hide_progress_by_token,
}

fn result(by: Reporter, second: u64, delivery_id: &str) -> TaskResult {
    TaskResult {
        at: at(second),
        succeeded: true,
        by,
        failed_step: None,
        detail: None,
        warnings: Vec::new(),
        log: None,
        delivery_id: Some(delivery_id.to_owned()),
    }
}

/// Saves the result of a job; whether it counts, and whether it is what is kept.
async fn save(bench: &Bench, job: u64, result: TaskResult) -> bool {
    let counts = bench.store.save_task_result(id(job), result.clone()).await.unwrap();
    let kept = bench.store.load_task_reports(id(job)).await.unwrap().result;
    assert_eq!(kept == Some(result), counts);
    counts
}

async fn a_result_by_token_replaces_one_by_secret_and_nothing_else_does(bench: Bench) {
    let (bench, ..) = bench.with_claimed_job().await;
    assert!(save(&bench, 1, result(Reporter::SharedSecret, 3, "s1")).await);
    assert!(!save(&bench, 1, result(Reporter::SharedSecret, 4, "s2")).await);
    let bench = bench.restarted().await;
    assert!(save(&bench, 1, result(Reporter::Token, 5, "s1")).await, "its delivery id need not be unique");
    assert!(!save(&bench, 1, result(Reporter::SharedSecret, 6, "s3")).await);
    assert!(!save(&bench, 1, result(Reporter::Token, 7, "t2")).await);
}

async fn the_result_of_a_decided_job_is_not_replaced(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    assert!(save(&bench, 1, result(Reporter::SharedSecret, 3, "s1")).await);
    bench.store.save(&lease, &ended(&job, Phase::Cleanup), Vec::new()).await.unwrap();
    assert!(!save(&bench, 1, result(Reporter::Token, 9, "t1")).await);
}

async fn a_delivery_by_secret_counts_once_for_its_server(bench: Bench) {
    let (bench, lease, _) = bench.with(&["B"]).await.with_claimed_job().await;
    assert!(save(&bench, 1, result(Reporter::SharedSecret, 3, "s1")).await);
    bench.finish(&lease).await;
    bench.add_job("A", 2).await;
    bench.add_job("B", 3).await;
    let bench = bench.restarted().await;
    assert!(!save(&bench, 2, result(Reporter::SharedSecret, 10, "s1")).await, "it is the first job's");
    assert!(save(&bench, 3, result(Reporter::SharedSecret, 10, "s1")).await, "another server's");
    assert!(save(&bench, 2, result(Reporter::SharedSecret, 11, "s2")).await);
}

async fn a_refused_delivery_never_counts_and_the_kept_ones_are_bounded(bench: Bench) {
    let (bench, ..) = bench.with_claimed_job().await;
    bench.store.refuse_delivery(id(1), "early").await.unwrap();
    bench.store.refuse_delivery(id(1), "early").await.unwrap();
    assert!(!save(&bench, 1, result(Reporter::SharedSecret, 3, "early")).await);
    for number in 0..DELIVERIES_MAX {
        bench.store.refuse_delivery(id(1), &number.to_string()).await.unwrap();
    }
    assert!(!save(&bench, 1, result(Reporter::SharedSecret, 4, "0")).await);
    let beyond = (DELIVERIES_MAX - 1).to_string();
    assert!(save(&bench, 1, result(Reporter::SharedSecret, 5, &beyond)).await, "it was not kept");
}

async fn progress_by_secret_does_not_hide_progress_by_token(bench: Bench) {
    let (bench, ..) = bench.with_claimed_job().await;
    let progress = |by, second| TaskProgress { at: at(second), by, step: None, bytes: None, total: None };
    for (by, second, kept_second) in [
        (Reporter::SharedSecret, 10, 10),
        (Reporter::SharedSecret, 14, 10),
        (Reporter::SharedSecret, 15, 15),
        (Reporter::Token, 16, 16),
        (Reporter::SharedSecret, 60, 16),
        (Reporter::Token, 20, 16),
        (Reporter::Token, 21, 21),
    ] {
        bench.store.save_task_progress(id(1), progress(by, second)).await.unwrap();
        let kept = bench.store.load_task_reports(id(1)).await.unwrap().progress.unwrap();
        assert_eq!(kept.at, at(kept_second), "{by:?} at {second}");
    }
}
