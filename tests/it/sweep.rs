//! The sweep: many small worlds, each drawn from a seed, with faults in everything, and checkers that
//! say of each what must be true of any.
//!
//! The suite runs a fixed set of seeds; `cargo xtask sim` runs as many as it is asked for, by
//! [`seeds_violate_nothing`] with `SHOAL_SWEEP` set. Reading order: `scenario` (what happens), `run`
//! (it happens), `checks` (what must be true), `report` (figures over all). Invariant: a world of one controller at
//! a time is a function of its seed and its number of jobs; of several, what is drawn is, and what two of them do at
//! the same moment may happen in either order.

mod checks;
mod controllers;
mod draw;
mod installer;
mod killer;
mod leaks;
mod linux;
mod machines;
mod record;
mod report;
mod run;
mod scenario;
mod server;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use shoal::flow::policy::Detection;

use report::Report;
use run::{Ran, run};
use scenario::{Scenario, Stores};

/// Which worlds to run.
#[derive(Clone, Copy, Debug)]
struct Order {
    first: u64,
    seeds: u64,
    jobs: usize,
    rule: Detection,
    stores: Stores,
}

impl Order {
    /// What the suite runs.
    const FIXED: Order =
        Order { first: 1, seeds: 6, jobs: 20, rule: Detection::Evidence, stores: Stores::Sqlite };

    /// `first=1 seeds=100 jobs=50 rule=evidence store=sqlite`, each word optional.
    fn parse(text: &str) -> Order {
        let mut order = Order::FIXED;
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some(("first", value)) => order.first = value.parse().unwrap(),
                Some(("seeds", value)) => order.seeds = value.parse().unwrap(),
                Some(("jobs", value)) => order.jobs = value.parse().unwrap(),
                Some(("rule", value)) => order.rule = value.parse().unwrap(),
                Some(("store", "sqlite")) => order.stores = Stores::Sqlite,
                Some(("store", "shared")) => order.stores = Stores::Shared,
                Some(("store", "postgres")) => order.stores = Stores::Postgres,
                _ => panic!("SHOAL_SWEEP: what is {word}?"),
            }
        }
        order
    }
}

#[test]
fn seeds_violate_nothing() {
    #[expect(clippy::disallowed_methods, reason = "how `cargo xtask sim` says what to run")]
    let order = std::env::var("SHOAL_SWEEP").map_or(Order::FIXED, |text| Order::parse(&text));
    #[expect(clippy::disallowed_methods, reason = "how `cargo xtask sim` says where to write")]
    let record = std::env::var_os("SHOAL_SWEEP_RECORD");
    let (report, histories) = sweep(order);
    if let Some(path) = record {
        std::fs::write(path, histories.into_values().collect::<String>()).unwrap();
    }
    check(&report);
}

fn check(report: &Report) {
    println!("{report}");
    assert!(report.violations.is_empty(), "{} violations, see above", report.violations.len());
}

#[test]
fn several_controllers_on_a_shared_store_violate_nothing() {
    check(&sweep(Order { seeds: 4, jobs: 10, stores: Stores::Shared, ..Order::FIXED }).0);
}

#[test]
fn several_controllers_on_postgresql_violate_nothing() {
    if server::is_there() {
        check(&sweep(Order { seeds: 2, jobs: 6, stores: Stores::Postgres, ..Order::FIXED }).0);
    }
}

/// All worlds of an order, on as many threads as there are processors, and the history of each seed's jobs.
fn sweep(order: Order) -> (Report, BTreeMap<u64, String>) {
    let next = AtomicU64::new(0);
    let seen = Mutex::new((Report::new(order), BTreeMap::new()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= order.seeds {
                        return;
                    }
                    let seed = order.first + number;
                    let ran = world(order, seed);
                    let history = record::history(seed, &ran);
                    let mut seen = seen.lock().unwrap();
                    seen.0.add(&ran);
                    seen.1.insert(seed, history);
                }
            });
        }
    });
    let (mut report, histories) = seen.into_inner().unwrap();
    report.close();
    (report, histories)
}

/// One world, in a runtime of its own whose time is simulated.
fn world(order: Order, seed: u64) -> Ran {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let mut scenario = Scenario::draw(seed, order.jobs, order.stores);
    scenario.policy.detection = order.rule;
    runtime.block_on(run(scenario, order.stores))
}

#[test]
fn the_same_seed_gives_the_same_story() {
    let order = Order { seeds: 1, jobs: 10, ..Order::FIXED };
    let (first, second) = (story(&world(order, 3)), story(&world(order, 3)));
    assert!(first.len() > 100);
    let differs = first.iter().zip(&second).find(|(first, second)| first != second);
    assert_eq!(differs, None);
    assert_eq!(first.len(), second.len());
}

/// Every event and every happening of a world, a line each.
fn story(ran: &Ran) -> Vec<String> {
    let events = ran.jobs.iter().flat_map(|job| &job.events).map(|event| format!("{event:?}"));
    let lived = ran.machines.iter().flat_map(|machine| &machine.journal).map(|entry| format!("{entry:?}"));
    events.chain(lived).collect()
}
