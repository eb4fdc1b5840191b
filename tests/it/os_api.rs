//! The installed system's own answer as proof: what counts, and what must not.

use std::time::Duration;

use serde_json::{Value, json};
use shoal::domain::{Confidence, EvidenceKind, Job, Status, Step};
use shoal_sim::{Fault, InstalledSystem, STANDIN_BUILD, SimBmc, SimConfig, Timings};

use crate::site::{Site, machine};

const ADDRESS: &str = "esx1.test";

fn silent(mut config: SimConfig) -> SimConfig {
    config.persona.sources = "none".parse().unwrap();
    config
}

/// A host that runs an ESXi of that build.
fn running(build: &str, faults: Vec<Fault>) -> SimConfig {
    let previous = InstalledSystem { version: "8.0.3".to_owned(), build: build.to_owned() };
    SimConfig { power_on: true, previous: Some(previous), ..machine(faults) }
}

/// A job on the first machine, whose management address leads to the last one.
async fn install(machines: Vec<SimConfig>, with: Value) -> (Site, Job) {
    install_beside(machines, with, |_| {}).await
}

/// The same, where something is done to the machines just before.
async fn install_beside(
    mut machines: Vec<SimConfig>,
    with: Value,
    first: impl FnOnce(&[SimBmc]),
) -> (Site, Job) {
    for (n, config) in machines.iter_mut().enumerate() {
        config.serial = format!("SIM000{}", n + 1);
    }
    let mut site = Site::new(1, machines).await;
    site.network.add_host(ADDRESS, site.machines.last().unwrap());
    tokio::time::sleep(Duration::from_secs(60)).await;
    site.policy.install_timeout = Duration::from_secs(45 * 60);
    first(&site.machines);
    site.start();
    let mut recipe = json!({ "management_address": ADDRESS });
    recipe.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    let id = site.submit(0, recipe).await;
    let job = site.settle(id).await;
    (site, job)
}

#[track_caller]
fn check(site: &Site, job: &Job, confidence: Confidence, first: EvidenceKind) {
    let verdict = job.verdict.as_ref().unwrap();
    assert_eq!((job.status, verdict.confidence), (Status::Succeeded, Some(confidence)), "{job:#?}");
    assert_eq!(verdict.evidence[0].kind, first, "{verdict:?}");
    assert_eq!(site.machines[0].state().installs, 1);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_answers_after_its_kickstart_was_read_is_installed() {
    // Without an answer before the reset or a sign of a second boot, the answer may be another host's.
    for (config, confidence) in [
        (machine(vec![]), Confidence::Proven),
        (silent(machine(vec![])), Confidence::Probable),
        (running("1234", vec![]), Confidence::Proven),
        (silent(running("1234", vec![])), Confidence::Proven),
        (running(STANDIN_BUILD, vec![]), Confidence::Proven),
    ] {
        let (site, job) = install(vec![config], json!({})).await;
        check(&site, &job, confidence, EvidenceKind::OsApi);
        let state = site.machines[0].state();
        assert_eq!(state.starts, 1, "what is seen to run is not reset: {state:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_certificate_before_replaces_an_unseen_read_of_the_kickstart() {
    let config = silent(running("1234", vec![Fault::Prefetch]));
    let (site, job) = install(vec![config], json!({})).await;
    check(&site, &job, Confidence::Proven, EvidenceKind::OsApi);
    // No answer before the reset: the answer may be any host's.
    let config = silent(machine(vec![Fault::Prefetch]));
    let (site, job) = install(vec![config], json!({})).await;
    check(&site, &job, Confidence::Assumed, EvidenceKind::PowerStable);
}

#[tokio::test(start_paused = true)]
async fn another_hosts_answer_is_no_proof() {
    let other = running(STANDIN_BUILD, vec![]);
    let (site, job) = install(vec![machine(vec![]), other.clone()], json!({})).await;
    check(&site, &job, Confidence::Probable, EvidenceKind::SecondBoot);
    let story = site.story(job.id).await;
    assert!(story.contains("certificate that it had before the reset: is the address right?"), "{story}");
    // Nor does it make a success of an installer that hangs.
    let (site, job) = install(vec![machine(vec![Fault::GuestHangs]), other], json!({})).await;
    assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::EsxiPollPower)));
    assert_eq!(site.machines[0].state().installs, 0);
}

/// Another host that was down before the reset and comes up while this one still loads its installer:
/// what it answers is known before it could pass for ours.
#[tokio::test(start_paused = true)]
async fn a_host_that_answers_before_the_kickstart_was_read_is_not_ours() {
    let timings = Timings { boot_load: Duration::from_secs(120), ..Timings::default() };
    let stuck = SimConfig { timings, ..silent(machine(vec![Fault::GuestHangs])) };
    let late = running(STANDIN_BUILD, vec![Fault::ApiLate(Duration::from_secs(90))]);
    let (site, job) = install_beside(vec![stuck, late], json!({}), |all| all[1].press_reset()).await;
    let story = site.story(job.id).await;
    assert!(story.contains("before this one can have installed anything"), "{story}");
    assert_ne!(job.verdict.unwrap().confidence, Some(Confidence::Proven), "{story}");
}

/// One that comes up later still, beside a BMC that would have shown our host's second boot.
#[tokio::test(start_paused = true)]
async fn an_answer_that_a_live_source_contradicts_is_no_proof() {
    let late = running(STANDIN_BUILD, vec![Fault::ApiLate(Duration::from_secs(400))]);
    let stuck = machine(vec![Fault::GuestHangs]);
    let (site, job) = install_beside(vec![stuck, late], json!({}), |all| all[1].press_reset()).await;
    assert_eq!(job.status, Status::Failed, "{}", site.story(job.id).await);
    let answered = job.facts.esxi().watch.api.as_ref().and_then(|sample| sample.host.as_ref());
    assert_eq!(answered.unwrap().build, STANDIN_BUILD, "the other host did answer");
    assert_eq!(job.facts.esxi().api_before.as_ref().unwrap().host, None);
}

/// Another host at that address, and ours never comes to its end: what happens there must not pass for an
/// installation here.
async fn beside_a_hung_installer(other: SimConfig, happens: impl AsyncFn(&Site)) -> (Site, Job) {
    let hung = SimConfig { serial: "SIM0001".into(), ..silent(machine(vec![Fault::GuestHangs])) };
    let mut site = Site::new(1, vec![hung, SimConfig { serial: "SIM0002".into(), ..other }]).await;
    site.network.add_host(ADDRESS, &site.machines[1]);
    site.policy.proof_floor = Duration::from_secs(60);
    tokio::time::sleep(Duration::from_secs(600)).await;
    site.start();
    let id = site.submit(0, json!({ "management_address": ADDRESS })).await;
    happens(&site).await;
    let job = site.settle(id).await;
    assert_eq!(site.machines[0].state().installs, 0);
    (site, job)
}

#[tokio::test(start_paused = true)]
async fn another_hosts_renewed_certificate_is_no_proof() {
    for renewed_after in [30, 120, 300, 900] {
        let (site, job) = beside_a_hung_installer(running(STANDIN_BUILD, vec![]), async |site: &Site| {
            tokio::time::sleep(Duration::from_secs(renewed_after)).await;
            site.machines[1].renew_certificate();
        })
        .await;
        let confidence = job.verdict.as_ref().unwrap().confidence;
        assert_ne!(confidence, Some(Confidence::Proven), "{}", site.story(job.id).await);
    }
}

/// It was down when the job looked, and comes up while ours installs.
#[tokio::test(start_paused = true)]
async fn another_host_that_restarts_is_no_proof() {
    for up_after in [30, 90, 170, 400] {
        let other = running(STANDIN_BUILD, vec![Fault::ApiLate(Duration::from_secs(up_after))]);
        let (site, job) = beside_a_hung_installer(other, async |site: &Site| {
            site.machines[1].press_reset();
        })
        .await;
        let confidence = job.verdict.as_ref().unwrap().confidence;
        assert_ne!(confidence, Some(Confidence::Proven), "{}", site.story(job.id).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_alternates_between_two_hosts_is_no_proof() {
    for third_build in [STANDIN_BUILD, "1234"] {
        let hung = silent(machine(vec![Fault::GuestHangs]));
        let others = [running(STANDIN_BUILD, vec![]), running(third_build, vec![])];
        let numbered = (1..).zip([vec![hung], others.to_vec()].concat());
        let machines = numbered.map(|(n, host)| SimConfig { serial: format!("SIM000{n}"), ..host }).collect();
        let mut site = Site::new(1, machines).await;
        site.network.add_hosts(ADDRESS, &[&site.machines[1], &site.machines[2]]);
        tokio::time::sleep(Duration::from_secs(60)).await;
        site.start();
        let id = site.submit(0, json!({ "management_address": ADDRESS })).await;
        let job = site.settle(id).await;
        let story = site.story(id).await;
        assert_eq!(site.machines[0].state().installs, 0);
        assert_ne!(job.verdict.unwrap().confidence, Some(Confidence::Proven), "{story}");
    }
}

/// The host ignores the override and boots the old system again: the same build, and up.
#[tokio::test(start_paused = true)]
async fn the_old_system_is_not_taken_for_a_new_one() {
    for faults in [vec![Fault::OverrideIgnored], vec![Fault::OverrideIgnored, Fault::Prefetch]] {
        let config = silent(running(STANDIN_BUILD, faults));
        let (site, job) = install(vec![config], json!({})).await;
        assert_eq!(site.machines[0].state().installs, 0);
        let confidence = job.verdict.as_ref().unwrap().confidence;
        assert_ne!(confidence, Some(Confidence::Proven), "{}", site.story(job.id).await);
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_never_answers_costs_a_quarter_of_an_hour_and_no_success() {
    let (site, job) = install(vec![machine(vec![Fault::NoGuestNetwork])], json!({})).await;
    check(&site, &job, Confidence::Probable, EvidenceKind::SecondBoot);
    let took = job.finished_at.unwrap().duration_since(job.created_at).as_secs();
    assert!((900..1200).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn the_hook_is_proof_enough_and_needs_no_answer() {
    let config = machine(vec![Fault::NoGuestNetwork]);
    let (site, job) = install(vec![config], json!({ "completion_hook": "poweroff" })).await;
    check(&site, &job, Confidence::Proven, EvidenceKind::InstallerHook);
    let took = job.finished_at.unwrap().duration_since(job.created_at).as_secs();
    assert!(took < 600, "{took}");
}

#[tokio::test(start_paused = true)]
async fn two_servers_with_one_address_are_not_distinguished() {
    let mut site =
        Site::new(1, vec![machine(vec![]), SimConfig { serial: "SIM0002".into(), ..machine(vec![]) }]).await;
    let mut other = site.store.server(&site.serial(1)).await.unwrap().unwrap();
    other.management_address = Some(ADDRESS.to_uppercase());
    site.store.update_server(&other, None).await.unwrap();
    site.start();
    let id = site.submit(0, json!({ "management_address": ADDRESS })).await;
    let job = site.settle(id).await;
    assert_eq!(job.failed_step, Some(Step::ResolveServer));
    let reason = job.reason.unwrap();
    assert!(reason.contains("is also that of server SIM0002"), "{reason}");
}
