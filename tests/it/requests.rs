//! How many Redfish requests an installation takes on each persona, and how many at a time.
//!
//! A BMC is a slow computer that its host's health depends on, and some lock up under load. What a poll is, `count`
//! says; `cargo xtask bench requests` prints the table. Invariant: the bounds hold of every persona, the emulator
//! included; what a BMC needs beyond them is in the table of exceptions, with the reason.

mod count;

use std::time::Duration;

use shoal_base::Password;
use shoal_base::world::TlsPolicy;
use shoal_redfish::{Account, BmcPool, Limits};
use shoal_sim::Fault;

use crate::site::{self, Site, machine};
use count::{Before, Requests, on_every_persona};

/// Of a BMC that was never seen.
const COLD_MAX: u64 = 25;
/// Of one that was installed through before.
const REMEMBERED_MAX: u64 = 20;

/// Personas that need more, of a BMC that is not known and of a remembered one.
const EXCEPTIONS: [(&str, u64, u64); 9] = [
    // The second drive refuses, so the media go onto one CD; the first reset is refused too.
    ("idrac10", 34, REMEMBERED_MAX),
    // Each look at a drive is three requests.
    ("xcc1", COLD_MAX, 22),
    // Its override is in another resource than its power, and each look is at both.
    ("gh200", 27, 22),
    ("gb200", 27, 22),
    ("gb300", 27, 22),
    // It copies its images and ejects none, so each drive is looked at before and after the eject.
    ("emulator", COLD_MAX, 21),
    // Virtual media are switched on, three forms of the insert are tried, boot options are read.
    ("gigabyte", 38, 24),
    // The same, and the session ends twice within an installation (30 s without a request).
    ("megarac", 44, 30),
    ("dgx", 47, 30),
];

async fn hold(before: Before, most: u64, of: fn(&(&str, u64, u64)) -> u64) {
    let all = on_every_persona(before).await;
    assert!(all.len() > 25, "only {} personas were installed", all.len());
    let allowed = |one: &Requests| EXCEPTIONS.iter().find(|row| row.0 == one.persona).map_or(most, of);
    let over: Vec<String> = all.iter().filter(|one| one.besides_polls > allowed(one)).map(describe).collect();
    assert!(over.is_empty(), "more than {most} requests besides polls:\n{}", over.join("\n"));
    let crowded = all.iter().filter(|one| one.in_parallel > 1).map(|one| one.persona);
    assert_eq!(crowded.collect::<Vec<_>>(), [""; 0], "two requests in flight");
}

fn describe(one: &Requests) -> String {
    let line = |seen: &shoal_sim::RequestSeen| format!("  {} {} {}", seen.at, seen.method, seen.path);
    let list: Vec<String> = one.seen.iter().map(line).collect();
    format!("{}: {} and {} polls\n{}", one.persona, one.besides_polls, one.polls, list.join("\n"))
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_is_not_known_gets_25_requests_besides_polls() {
    hold(Before::Cold, COLD_MAX, |row| row.1).await;
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_is_remembered_gets_20_requests_besides_polls() {
    hold(Before::Remembered, REMEMBERED_MAX, |row| row.2).await;
}

/// The shutdown, looks at the host, and the media once more before the start.
#[tokio::test(start_paused = true)]
async fn a_host_that_is_shut_down_first_takes_six_more() {
    hold(Before::ColdOn, COLD_MAX + 6, |row| row.1 + 6).await;
    hold(Before::RememberedOn, REMEMBERED_MAX + 6, |row| row.2 + 6).await;
}

/// A second record of a BMC, or a password that was changed, is another account on the same slow computer.
#[tokio::test(start_paused = true)]
async fn all_accounts_on_a_bmc_share_its_one_request_in_flight() {
    let site = Site::new(1, vec![machine(vec![Fault::Slow(Duration::from_secs(1))])]).await;
    let pool = BmcPool::new(site.world.clone(), Limits::default());
    let config = site.machines[0].config();
    let account = |password: &str| Account {
        address: "https://bmc0.test".parse().unwrap(),
        username: config.username.clone(),
        password: Password::new(password.to_owned()),
        secrets: Default::default(),
        tls: TlsPolicy::Insecure,
    };
    let (right, wrong) = (pool.bmc(&account(&config.password)), pool.bmc(&account("another password")));
    let (systems, again, refused) =
        tokio::join!(right.observe_systems(), right.observe_systems(), wrong.observe_systems());
    assert!(systems.is_ok() && again.is_ok() && refused.is_err());
    let state = site.machines[0].state();
    assert!(state.redfish_requests > 6, "{state:?}");
    assert_eq!(state.redfish_in_parallel, 1);
}

/// A host that was moved, or whose BMC shows it elsewhere, is looked for again.
#[tokio::test(start_paused = true)]
async fn a_remembered_link_that_leads_to_another_host_is_not_believed() {
    let site = Site::new(1, vec![machine(vec![])]).await;
    let connect = || {
        let config = site.machines[0].config();
        let account = Account {
            address: "https://bmc0.test".parse().unwrap(),
            username: config.username,
            password: Password::new(config.password),
            secrets: Default::default(),
            tls: TlsPolicy::Insecure,
        };
        BmcPool::new(site.world.clone(), Limits::default()).bmc(&account)
    };
    let first = connect();
    let system = first.observe_systems().await.unwrap().remove(0);
    first.observe_slots(&system).await.unwrap();
    first.remember_links(&system);
    let memory = first.learned().memory().0;
    let seen_by = async |memory: shoal_redfish::BmcMemory| {
        let bmc = connect();
        bmc.recall(memory);
        site.machines[0].begin_requests_anew();
        let found = bmc.observe_systems().await.unwrap();
        assert_eq!(found[0].link, system.link);
        site.machines[0].requests_besides_polls().len()
    };
    let right = seen_by(memory.clone()).await;
    for (uuid, link) in
        [("00000000-0000-0000-0000-000000000009", None), ("", Some("/redfish/v1/Systems/none"))]
    {
        let mut other = memory.clone();
        if !uuid.is_empty() {
            other.links.uuid = Some(uuid.to_owned());
        }
        other.links.system = link.map(str::to_owned).or(other.links.system);
        assert!(seen_by(other).await > right, "{uuid} {link:?}");
    }
}
