//! Promises about the audit log: written with what it records, in one chain.

use super::{Bench, act, at, new_job, serial, server};
use crate::access::Act;
use crate::domain::{Cancel, Server};
use crate::store::{AuditFilter, PAGE_MAX};

promises! {
    an_entry_reads_back_as_written,
    a_change_and_its_entry_are_one,
    entries_go_back_in_time_page_by_page,
    entries_are_filtered,
    a_chain_verifies_after_a_restart,
    concurrent_entries_are_one_chain,
}

fn all() -> AuditFilter {
    AuditFilter { limit: PAGE_MAX, ..AuditFilter::default() }
}

async fn seqs(bench: &Bench, filter: AuditFilter) -> Vec<u64> {
    let entries = bench.store.audit(&filter).await.unwrap();
    entries.iter().map(|entry| entry.seq).collect()
}

async fn an_entry_reads_back_as_written(bench: Bench) {
    let written = act(7).on_job("a-job").with(serde_json::json!({ "number": 7 }));
    bench.store.record(written.clone()).await.unwrap();
    let read = bench.store.audit(&all()).await.unwrap().remove(0);
    assert_eq!(
        (read.seq, read.at, read.actor, read.actor_name),
        (1, at(7), written.actor.id, written.actor.name)
    );
    assert_eq!((read.action.as_str(), read.source), ("server.add", written.source));
    assert_eq!((read.server.as_deref(), read.job.as_deref()), (Some("S7"), Some("a-job")));
    assert_eq!(read.detail, r#"{"number":7}"#);
}

async fn a_change_and_its_entry_are_one(bench: Bench) {
    let store = &bench.store;
    let entries = async || seqs(&bench, all()).await.len();
    store.with_audit(act(1)).insert_server(&server("A")).await.unwrap();
    assert_eq!(entries().await, 1);
    // What was refused, and what changed nothing, leaves no entry.
    store.with_audit(act(2)).insert_server(&server("A")).await.unwrap_err();
    store.with_audit(act(3)).delete_server(&serial("B"), None).await.unwrap_err();
    let unknown = bench.store.with_audit(act(4)).request_cancel(super::id(9), Cancel::default()).await;
    unknown.unwrap_err();
    assert_eq!(entries().await, 1);
    store.with_audit(act(5)).insert_job(new_job("A", 1), None).await.unwrap();
    let ended = store.with_audit(act(6)).end_unreadable_job(super::id(1), at(9)).await;
    assert!(!ended.unwrap(), "the job can be read");
    assert_eq!(entries().await, 2, "a write that succeeds and changes nothing leaves none");
    store.with_audit(act(7)).servers().await.unwrap();
    store.update_server(&Server { protected: true, ..server("A") }, None).await.unwrap();
    assert_eq!(entries().await, 2, "reads, and writes of no caller, leave none");
}

async fn filled(bench: &Bench) {
    for number in 1..=5 {
        bench.store.record(act(number)).await.unwrap();
    }
}

async fn entries_go_back_in_time_page_by_page(bench: Bench) {
    filled(&bench).await;
    let page = async |before| seqs(&bench, AuditFilter { before, limit: 2, ..AuditFilter::default() }).await;
    assert_eq!(page(None).await, [5, 4]);
    assert_eq!(page(Some(4)).await, [3, 2]);
    assert_eq!(page(Some(2)).await, [1]);
    assert!(page(Some(1)).await.is_empty());
}

async fn entries_are_filtered(bench: Bench) {
    filled(&bench).await;
    bench.store.record(Act { action: "job.cancel".to_owned(), ..act(3).on_job("J") }).await.unwrap();
    let of = async |filter: AuditFilter| seqs(&bench, AuditFilter { limit: 9, ..filter }).await;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(of(AuditFilter { server: text("S3"), ..AuditFilter::default() }).await, [6, 3]);
    assert_eq!(of(AuditFilter { job: text("J"), ..AuditFilter::default() }).await, [6]);
    assert_eq!(
        of(AuditFilter { action: text("server.add"), before: Some(3), ..AuditFilter::default() }).await,
        [2, 1]
    );
    let actor = act(1).actor;
    assert_eq!(of(AuditFilter { actor: Some(actor.id), ..AuditFilter::default() }).await.len(), 6);
    assert_eq!(of(AuditFilter { actor: Some(actor.name), ..AuditFilter::default() }).await.len(), 6);
    assert!(of(AuditFilter { actor: text("another"), ..AuditFilter::default() }).await.is_empty());
}

async fn a_chain_verifies_after_a_restart(bench: Bench) {
    let empty = bench.store.verify_audit().await.unwrap();
    assert_eq!((empty.good, empty.fault), (0, None));
    filled(&bench).await;
    let before = bench.store.verify_audit().await.unwrap();
    let bench = bench.restarted().await;
    assert_eq!(bench.store.verify_audit().await.unwrap(), before);
    bench.store.record(act(6)).await.unwrap();
    let after = bench.store.verify_audit().await.unwrap();
    assert_eq!((after.good, &after.fault), (6, &None));
    assert_ne!(after.last_hash, before.last_hash);
}

async fn concurrent_entries_are_one_chain(bench: Bench) {
    let writers = (0..4).map(|writer| {
        let store = bench.store.second_handle();
        tokio::spawn(async move {
            for number in 0..10 {
                store.record(act(10 * writer + number)).await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let report = bench.store.verify_audit().await.unwrap();
    assert_eq!((report.good, report.fault), (40, None));
    assert_eq!(seqs(&bench, all()).await, (1..=40).rev().collect::<Vec<u64>>());
}
