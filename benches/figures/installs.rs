//! A thousand simulated installations in parallel, compared with one alone: wall time, the controller's peak
//! memory, and how many Redfish requests a cold job makes besides polling.
//!
//! A thousand hosts share this machine's cores with the controller, so the wall time is an upper bound.

use std::time::Duration;

use http::Method;
use serde_json::Value;

use crate::measure::time;
use crate::site::{Client, Site, simulate};

const MANY: usize = 1000;

pub fn measure() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let one = install(1, &runtime);
    println!(
        "Redfish requests of a cold job besides polls: {} (aim: 30 or fewer); polls: {}",
        one.requests, one.polls
    );
    let many = install(MANY, &runtime);
    println!(
        "wall time: {:.0} s for one, {:.0} s for {MANY}: {:.1} times as long",
        one.wall.as_secs_f64(),
        many.wall.as_secs_f64(),
        many.wall.as_secs_f64() / one.wall.as_secs_f64()
    );
    println!(
        "peak memory of the controller: {} MiB with one, {} MiB with {MANY} (aim: under 256)",
        one.memory_mib, many.memory_mib
    );
}

struct Outcome {
    wall: Duration,
    memory_mib: u64,
    /// Made by the first job, without those while it watched its host.
    requests: u64,
    polls: u64,
}

/// Installs so many hosts in parallel.
fn install(count: usize, runtime: &tokio::runtime::Runtime) -> Outcome {
    let site = runtime.block_on(Site::start());
    let (_simulator, machines) = simulate(count, &site.client.base);
    let mut counted = (0, 0);
    let wall = time(|| {
        runtime.block_on(async {
            let jobs = site.submit(&machines).await;
            counted = watch(&site.client, &machines[0], &jobs[0]).await;
            site.await_all().await;
        });
    });
    Outcome { wall, memory_mib: site.peak_memory_mib(), requests: counted.0, polls: counted.1 }
}

/// Counts the requests that reach the first machine, before, while and after its job polls.
async fn watch(client: &Client, machine: &Value, job: &str) -> (u64, u64) {
    let base = machine["bmc_address"].as_str().expect("printed");
    let bmc = Client { base: base.to_owned(), transport: client.transport.clone() };
    // Counts when polling began and when it was last seen.
    let (mut before, mut until) = (0, 0);
    loop {
        let requests =
            bmc.call(Method::GET, "/sim/v1/state", &Value::Null).await["redfish_requests"].as_u64();
        let job = client.call(Method::GET, &format!("/api/v1/jobs/{job}"), &Value::Null).await;
        let requests = requests.expect("a simulated BMC counts");
        match job["step"].as_str() {
            Some("esxi.await_bmc" | "esxi.poll_power") => until = requests,
            _ if until == 0 => before = requests,
            _ => {}
        }
        if !job["finished_at"].is_null() {
            let polls = until.saturating_sub(before);
            return (requests - polls, polls);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
