//! Promises about the images that the doctor shows to BMCs.

use super::{Bench, at};
use crate::domain::{ProbeFetch, ProbeReads};

promises! {
    requests_at_every_controller_are_added_up,
    a_removed_probe_takes_no_requests,
    a_connection_that_ended_is_noted_by_the_probes_of_that_address_alone,
    a_probe_that_was_left_behind_is_removed_with_a_later_one,
}

fn fetch(status: u16) -> ProbeFetch {
    ProbeFetch { is_head: false, range: Some(0..2048), status, agent: Some("bmc/1".to_owned()) }
}

async fn requests_at_every_controller_are_added_up(bench: Bench) {
    assert_eq!(bench.store.probe_reads("p").await.unwrap(), None);
    bench.store.insert_probe("p", None, at(1)).await.unwrap();
    assert_eq!(bench.store.probe_reads("p").await.unwrap(), Some(ProbeReads::default()));
    let other = bench.store.second_handle();
    let (here, there) =
        (bench.store.note_probe_fetch("p", fetch(206)), other.note_probe_fetch("p", fetch(404)));
    assert_eq!(tokio::try_join!(here, there).unwrap(), (true, true));
    let mut reads = bench.store.probe_reads("p").await.unwrap().unwrap();
    reads.fetches.sort_by_key(|fetch| fetch.status);
    assert_eq!((reads.requests, reads.fetches), (2, vec![fetch(206), fetch(404)]));
}

async fn a_removed_probe_takes_no_requests(bench: Bench) {
    bench.store.insert_probe("p", None, at(1)).await.unwrap();
    bench.store.insert_probe("other", None, at(1)).await.unwrap();
    bench.store.remove_probe("p").await.unwrap();
    assert!(!bench.store.note_probe_fetch("p", fetch(200)).await.unwrap());
    assert_eq!(bench.store.probe_reads("p").await.unwrap(), None);
    assert!(bench.store.note_probe_fetch("other", fetch(200)).await.unwrap());
}

async fn a_connection_that_ended_is_noted_by_the_probes_of_that_address_alone(bench: Bench) {
    let shown = [("four", Some("10.0.0.5")), ("six", Some("fd00::5")), ("unknown", None)];
    for (id, peer) in shown {
        let peer = peer.map(|peer| peer.parse().unwrap());
        bench.store.insert_probe(id, peer, at(1)).await.unwrap();
    }
    for peer in ["::ffff:10.0.0.5", "10.0.0.6", "10.0.0.5"] {
        bench.store.note_probe_refused(peer.parse().unwrap(), &format!("at {peer}")).await.unwrap();
    }
    for (id, refused, why) in [("four", 2, Some("at 10.0.0.5")), ("six", 0, None), ("unknown", 0, None)] {
        let reads = bench.store.probe_reads(id).await.unwrap().unwrap();
        assert_eq!((reads.refused, reads.refused_why.as_deref()), (refused, why), "{id}");
    }
}

async fn a_probe_that_was_left_behind_is_removed_with_a_later_one(bench: Bench) {
    bench.store.insert_probe("left", None, at(1)).await.unwrap();
    bench.store.insert_probe("soon", None, at(60)).await.unwrap();
    assert!(bench.store.probe_reads("left").await.unwrap().is_some());
    bench.store.insert_probe("later", None, at(2 * 3600)).await.unwrap();
    for (id, is_there) in [("left", false), ("soon", false), ("later", true)] {
        assert_eq!(bench.store.probe_reads(id).await.unwrap().is_some(), is_there, "{id}");
    }
}
