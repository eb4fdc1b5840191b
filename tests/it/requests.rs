//! How many Redfish requests an installation takes on each persona, and how many at a time.
//!
//! A BMC is a slow computer that its host's health depends on, and some lock up under load. What a poll is, `count`
//! says; `cargo xtask bench requests` prints the table. Invariant: the bounds hold of every persona, the emulator
//! included; what a BMC needs beyond them is in the table of exceptions, with the reason.

mod beside;
mod count;

use std::time::Duration;

use shoal_base::Password;
use shoal_base::world::TlsPolicy;
use shoal_redfish::{Account, BmcPool, Limits, ReadAge};
use shoal_sim::Fault;

use crate::site::{self, Site, machine};
use count::{Before, Requests, exception, on_every_persona};

async fn hold(before: Before) {
    let most = before.most();
    let all = on_every_persona(before).await;
    assert!(all.len() > 25, "only {} personas were installed", all.len());
    let allowed = |one: &Requests| exception(one.persona).map_or(0, |row| row.more(before)) + most;
    let over: Vec<String> = all.iter().filter(|one| one.besides_polls > allowed(one)).map(describe).collect();
    assert!(over.is_empty(), "more than {most} requests besides polls:\n{}", over.join("\n"));
    let crowded = all.iter().filter(|one| one.in_parallel > 1).map(|one| one.persona);
    assert_eq!(crowded.collect::<Vec<_>>(), [""; 0], "two requests in flight");
}

fn describe(one: &Requests) -> String {
    let line = |seen: &shoal_sim::RequestSeen| format!("  {} {} {}", seen.at, seen.method, seen.path);
    let list: Vec<String> = one.seen.iter().map(line).collect();
    let why = exception(one.persona).map_or(String::new(), |row| format!(" (it may take more: {})", row.why));
    format!("{}: {} and {} polls{why}\n{}", one.persona, one.besides_polls, one.polls, list.join("\n"))
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_is_not_known_gets_25_requests_besides_polls() {
    hold(Before::Cold).await;
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_is_remembered_gets_20_requests_besides_polls() {
    hold(Before::Remembered).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_of_an_unknown_bmc_that_is_shut_down_first_takes_six_more() {
    hold(Before::ColdOn).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_of_a_remembered_bmc_that_is_shut_down_first_takes_six_more() {
    hold(Before::RememberedOn).await;
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

/// What one account writes, whatever became of it, ends the time of what another has read.
#[tokio::test(start_paused = true)]
async fn a_reading_from_before_the_write_of_another_account_is_not_used() {
    let site = Site::new(1, vec![machine(vec![])]).await;
    let pool = BmcPool::new(site.world.clone(), Limits::default());
    let config = site.machines[0].config();
    let account = |password: &str| Account {
        address: "https://bmc0.test".parse().unwrap(),
        username: config.username.clone(),
        password: Password::new(password.to_owned()),
        secrets: Default::default(),
        tls: TlsPolicy::Insecure,
    };
    let (reader, writer) = (pool.bmc(&account(&config.password)), pool.bmc(&account("another password")));
    let system = reader.observe_systems().await.unwrap().remove(0);
    let slot = reader.observe_slots(&system).await.unwrap().remove(0);
    let requests_of_a_look = async || {
        let before = site.machines[0].state().redfish_requests;
        reader.observe_slot_of(&slot.link, ReadAge::BeforeAct).await.unwrap();
        site.machines[0].state().redfish_requests - before
    };
    assert_eq!(requests_of_a_look().await, 0);
    assert!(writer.request_eject(&slot).await.is_err());
    assert_eq!(requests_of_a_look().await, 1);
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
