//! Transactions that the store makes for one ESXi installation, by what they are for.
//!
//! In this process and under paused time, so the numbers are the same on every machine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use shoal::store::{Side, Tap};
use shoal_sim::{SimConfig, Timings};

use crate::in_process::{Site, machine, paused};

/// An installation of usual length.
const INSTALL: Duration = Duration::from_secs(600);

pub fn measure() {
    let writes = paused().block_on(writes_of_an_installation());
    for (doing, count) in &writes {
        println!("{doing}: {count}");
    }
    println!("all, of an installation of {} s: {}", INSTALL.as_secs(), writes.values().sum::<u64>());
}

async fn writes_of_an_installation() -> BTreeMap<&'static str, u64> {
    let timings = Timings { post: Duration::from_secs(120), install: INSTALL, ..Timings::default() };
    let mut site = Site::new(1, vec![SimConfig { timings, ..machine(vec![]) }]).await;
    let writes: Arc<Mutex<BTreeMap<&'static str, u64>>> = Arc::default();
    let counted = writes.clone();
    let tap: Tap = Arc::new(move |doing, side| {
        if side == Side::After {
            *counted.lock().expect("no holder panics").entry(doing).or_default() += 1;
        }
        Box::pin(async { Ok(()) })
    });
    site.start_on(site.store.tapped(tap), site.world.transport.clone());
    let job = site.submit(0, json!({})).await;
    let job = site.settle(job).await;
    assert!(job.finished_at.is_some(), "{:?}", job.reason);
    site.shut_down().await;
    writes.lock().expect("no holder panics").clone()
}
