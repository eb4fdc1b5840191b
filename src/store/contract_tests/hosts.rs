//! Promises about hosts: an active job has one, and no other active job has it.

use super::{Bench, at, id, is_lost, serial};
use crate::domain::{HostId, Job, SystemFacts};
use crate::store::HostHolder;

promises! {
    a_host_belongs_to_one_active_job,
    of_many_concurrent_jobs_one_gets_the_host,
    other_records_of_a_host_find_its_job,
    a_host_is_found_by_each_of_its_names,
}

fn host(uuid: &str, link: &str) -> HostId {
    let bmc = "https://10.0.0.5".to_owned();
    HostId { bmc, link: link.to_owned(), uuid: Some(uuid.to_owned()), manufacturer: None, serial: None }
}

fn found(job: &Job, host: HostId) -> Job {
    let mut job = Job { last_update: at(3), ..job.clone() };
    let (link, vendor) = (host.link.clone(), "Simulated".to_owned());
    job.facts.system = Some(SystemFacts { link, vendor, model: None, host: Some(host) });
    job
}

async fn a_host_belongs_to_one_active_job(bench: Bench) {
    let bench = bench.with(&["A", "B"]).await;
    bench.add_job("A", 1).await;
    bench.add_job("B", 2).await;
    let claimed = bench.claim(2).await;
    let [(lease_a, a), (lease_b, b)] = claimed.as_slice() else { panic!("{claimed:?}") };
    let (one, same) = (host("u1", "/Systems/1"), host("U1", "/Systems/other"));
    assert_eq!(bench.store.take_host(lease_a, &found(a, one.clone())).await.unwrap(), None);
    assert_eq!(bench.job(1).await.facts.system.unwrap().host, Some(one.clone()));
    assert_eq!(bench.store.take_host(lease_a, &found(a, one.clone())).await.unwrap(), None, "it has it");

    let holder = HostHolder { job: id(1), server: serial("A") };
    let answer = bench.store.take_host(lease_b, &found(b, same.clone())).await.unwrap();
    assert_eq!(answer, Some(holder), "the same host by its UUID");
    assert!(bench.job(2).await.facts.system.is_none(), "nothing was written");
    let another = host("u2", "/Systems/2");
    assert_eq!(bench.store.take_host(lease_b, &found(b, another)).await.unwrap(), None);

    bench.finish(lease_a).await;
    assert_eq!(bench.store.take_host(lease_b, &found(b, same.clone())).await.unwrap(), None, "it is free");
    bench.store.release(lease_b).await.unwrap();
    assert!(is_lost(&bench.store.take_host(lease_b, &found(b, same)).await.unwrap_err()));
}

async fn of_many_concurrent_jobs_one_gets_the_host(bench: Bench) {
    let mut bench = bench;
    for number in 1..=10 {
        let serial = format!("S{number}");
        bench = bench.with(&[&serial]).await;
        bench.add_job(&serial, number).await;
    }
    let tries = bench.claim(20).await.into_iter().map(|(lease, job)| {
        let store = bench.store.second_handle();
        tokio::spawn(async move { store.take_host(&lease, &found(&job, host("u1", "/Systems/1"))).await })
    });
    let (mut winners, mut holders) = (0, Vec::new());
    for running in tries.collect::<Vec<_>>() {
        match running.await.unwrap().unwrap() {
            None => winners += 1,
            Some(holder) => holders.push(holder),
        }
    }
    assert_eq!((winners, holders.len()), (1, 9));
    assert!(holders.iter().all(|holder| *holder == holders[0]), "{holders:?}");
}

async fn a_host_is_found_by_each_of_its_names(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    let made = |maker: &str, serial: &str| (Some(maker.to_owned()), Some(serial.to_owned()));
    let named = |bmc: &str, uuid: &str, link: &str, (manufacturer, serial)| HostId {
        bmc: bmc.to_owned(),
        manufacturer,
        serial,
        ..host(uuid, link)
    };
    let taken = named("https://10.0.0.5", "4c4C-\u{e9}", "/Systems/1", made("The \"Maker\"", "ABC1"));
    assert_eq!(bench.store.take_host(&lease, &found(&job, taken)).await.unwrap(), None);
    let bench = bench.restarted().await;
    for (other, is_same) in [
        (named("https://10.0.0.5", "u2", "/Systems/1/", (None, None)), true),
        (named("https://b", "4C4c-\u{e9}", "/Systems/2", (None, None)), true),
        (named("https://b", "u2", "/Systems/2", made("The \"Maker\"", "ABC1")), true),
        (named("https://b", "u2", "/Systems/2", made("The Maker", "ABC1")), false),
        (named("https://b", "u2", "/Systems/1", (None, Some("ABC1".to_owned()))), false),
        (named("https://10.0.0.5", "u2", "/Systems/2", (None, None)), false),
    ] {
        let holder = bench.store.host_holder(&other, &serial("B")).await.unwrap();
        assert_eq!(holder.is_some(), is_same, "{other:?}");
    }
}

async fn other_records_of_a_host_find_its_job(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    let one = host("u1", "/Systems/1");
    let holder = async |than: &str| bench.store.host_holder(&one, &serial(than)).await.unwrap();
    assert_eq!(holder("B").await, None);
    bench.store.take_host(&lease, &found(&job, one.clone())).await.unwrap();
    assert_eq!(holder("B").await, Some(HostHolder { job: id(1), server: serial("A") }));
    assert_eq!(holder("A").await, None, "its own");
    bench.finish(&lease).await;
    assert_eq!(holder("B").await, None);
}
