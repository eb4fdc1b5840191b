//! Promises about what is reported of a job from outside its driver.

use super::{Bench, at, id};
use crate::domain::{HookReport, MediaMode, MediumTrace, ReadBin, ReadMap, ReadRanges};
use crate::store::StoreError;

promises! {
    a_trace_reads_back_as_written,
    a_milestone_that_was_saved_once_stays,
    a_nonce_that_was_copied_is_no_milestone,
    the_first_hook_report_stays,
}

/// Two jobs.
async fn two_jobs(bench: Bench) -> Bench {
    let bench = bench.with(&["A", "B"]).await;
    bench.add_job("A", 1).await;
    bench.add_job("B", 2).await;
    bench
}

async fn a_trace_reads_back_as_written(bench: Bench) {
    let bench = two_jobs(bench).await;
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
        failure_read_at: Some(at(12)),
        failure_copied: false,
        started_read_at: Some(at(11)),
        started_copied: false,
        ks_read_at: Some(at(4)),
        ks_read_loaded: true,
        reenumerated_at: Some(at(5)),
        ks_read_again_at: Some(at(6)),
        map: ReadMap {
            from: Some(at(1)),
            kickstart: Some(10..20),
            bins: vec![ReadBin { bin: 3, first: 0, last: 1, times: 1 }],
        },
        ranges: ReadRanges {
            before: vec![(0, 10)].into(),
            reset_at: Some(at(1)),
            since: vec![(20, 30), (40, 1 << 40)].into(),
            loaded_bytes: Some(4 << 20),
        },
        fault: Some("the BMC broke off".into()),
        fault_at: Some(at(6)),
    };
    bench.store.save_trace(id(1), "task", &written).await.unwrap();
    let bench = bench.restarted().await;
    assert_eq!(bench.store.load_trace(id(1), "task").await.unwrap(), Some(written.clone()));
    assert_eq!(bench.store.load_trace(id(1), "installer").await.unwrap(), None);
    assert_eq!(bench.store.load_trace(id(2), "task").await.unwrap(), None);
    let other = MediumTrace { total: 7, ..MediumTrace::default() };
    bench.store.save_trace(id(1), "installer", &other).await.unwrap();
    let both = [("installer".to_owned(), other), ("task".to_owned(), written)];
    assert_eq!(bench.store.load_traces(id(1)).await.unwrap(), both.into());
    assert!(bench.store.load_traces(id(2)).await.unwrap().is_empty());
    let error = bench.store.save_trace(id(9), "task", &MediumTrace::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownJob { .. }), "{error}");
}

async fn a_milestone_that_was_saved_once_stays(bench: Bench) {
    let bench = two_jobs(bench).await;
    let newer = MediumTrace {
        mode: MediaMode::Streamed,
        read: 900,
        first_read_at: Some(at(1)),
        last_read_at: Some(at(9)),
        ks_read_at: Some(at(8)),
        ks_read_loaded: true,
        ..MediumTrace::default()
    };
    // Written by a request that a later one has overtaken.
    let older = MediumTrace { read: 100, last_read_at: Some(at(2)), ks_read_at: None, ..newer.clone() };
    // Of whatever read the kickstart before there was an installer.
    let foreign = MediumTrace { ks_read_at: Some(at(3)), ks_read_loaded: false, ..newer.clone() };
    for saved in [&foreign, &newer, &older] {
        bench.store.save_trace(id(1), "task", saved).await.unwrap();
    }
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

async fn a_nonce_that_was_copied_is_no_milestone(bench: Bench) {
    let bench = two_jobs(bench).await;
    let read = MediumTrace { nonce_read_at: Some(at(3)), ..MediumTrace::default() };
    let read = MediumTrace { failure_read_at: Some(at(4)), started_read_at: Some(at(4)), ..read };
    let copied = MediumTrace { nonce_copied: true, failure_copied: true, ..read.clone() };
    let copied = MediumTrace { started_copied: true, ..copied };
    let expected = MediumTrace { nonce_read_at: None, failure_read_at: None, ..copied.clone() };
    let expected = MediumTrace { started_read_at: None, ..expected };
    for saved in [&read, &copied, &read] {
        bench.store.save_trace(id(1), "task", saved).await.unwrap();
    }
    assert_eq!(bench.store.load_trace(id(1), "task").await.unwrap(), Some(expected));
}

async fn the_first_hook_report_stays(bench: Bench) {
    let bench = two_jobs(bench).await;
    assert_eq!(bench.store.load_hook_report(id(1)).await.unwrap(), None);
    let first = HookReport { at: at(3), succeeded: false };
    assert!(bench.store.save_hook_report(id(1), first).await.unwrap());
    let bench = bench.restarted().await;
    let second = HookReport { at: at(4), succeeded: true };
    assert!(!bench.store.save_hook_report(id(1), second).await.unwrap());
    assert_eq!(bench.store.load_hook_report(id(1)).await.unwrap(), Some(first));
    assert_eq!(bench.store.load_hook_report(id(2)).await.unwrap(), None);
    let error = bench.store.save_hook_report(id(9), second).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownJob { .. }), "{error}");
}
