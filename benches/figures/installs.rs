//! A thousand simulated installations in parallel, compared with one alone, in an inventory of ten thousand servers: wall
//! time, and what the controller alone takes of processor time, memory and disk. Requests are counted by `requests`, transactions by `store_writes`.
//!
//! The simulated hosts are a process of their own, and share this machine's cores with the controller: so the wall
//! time is an upper bound, and the processor time of both is printed beside it.

use std::time::Duration;

use crate::measure::time;
use crate::site::{Site, Usage, simulate};

const MANY: usize = 1000;
/// In the inventory.
const SERVERS: usize = 10_000;

pub fn measure() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (one, many) = (install(1, &runtime), install(MANY, &runtime));
    let (alone, together) = (one.wall.as_secs_f64(), many.wall.as_secs_f64());
    println!(
        "wall time: {alone:.0} s for one, {together:.0} s for {MANY}; ratio: {:.2} (aim: 1.3)",
        together / alone
    );
    // What one costs is little beside what a start does.
    let per_job = |all: f64, first: f64| (all - first) / (MANY - 1) as f64;
    println!(
        "processor time with {MANY}: {:.1} s of the controller, {:.1} s of the simulated hosts; of the controller for \
         a job: {:.1} ms",
        many.controller.processor.as_secs_f64(),
        many.hosts.processor.as_secs_f64(),
        1000.0 * per_job(many.controller.processor.as_secs_f64(), one.controller.processor.as_secs_f64()),
    );
    println!(
        "peak memory of the controller: {} MiB with one, {} MiB with {MANY} (aim: 128)",
        one.controller.memory_mib, many.controller.memory_mib
    );
    println!(
        "written to disk by the controller: {:.0} KiB a job",
        per_job(many.controller.written as f64, one.controller.written as f64) / 1024.0
    );
}

struct Outcome {
    wall: Duration,
    controller: Usage,
    hosts: Usage,
}

/// Installs so many hosts in parallel.
fn install(count: usize, runtime: &tokio::runtime::Runtime) -> Outcome {
    let site = runtime.block_on(Site::start());
    runtime.block_on(site.add_servers(SERVERS - count));
    let (simulator, machines) = simulate(count, &site.client.base);
    let wall = time(|| {
        runtime.block_on(async {
            site.submit(&machines).await;
            site.await_all().await;
        });
    });
    Outcome { wall, controller: site.usage(), hosts: simulator.usage() }
}
