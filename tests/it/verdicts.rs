//! What a verdict says, for every set of signs that a BMC may give: of hosts that were installed, and of
//! hosts whose installer stands at an error dialog.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use shoal::domain::{Confidence, EvidenceKind, Job, Phase, Status};
use shoal_base::world::elapsed;
use shoal_sim::{Fault, Happening, SimConfig, Timings};

use crate::site::{Site, machine};

/// Every source alone, as `--sources` names it, and none.
const SOURCES: [&str; 6] = [
    "boot-progress",
    "boot-progress-time",
    "last-boot-time",
    "last-reset-time",
    "post-state",
    "number-of-reboots",
];

/// A host that takes its time, as hardware does.
fn host(sources: &str, faults: Vec<Fault>) -> SimConfig {
    let mut config = machine(faults);
    config.persona.sources = sources.parse().unwrap();
    config.timings = Timings {
        post: Duration::from_secs(120),
        boot_load: Duration::from_secs(60),
        install: Duration::from_secs(240),
        first_boot: Duration::from_secs(60),
        ..Timings::default()
    };
    config
}

async fn install(config: SimConfig, min_confidence: Confidence, noeject: bool) -> (Site, Job) {
    let mut site = Site::new(1, vec![config]).await;
    site.policy.min_confidence = min_confidence;
    site.policy.install_timeout = Duration::from_secs(30 * 60);
    site.start();
    let reboot = if noeject { "reboot --noeject" } else { "reboot" };
    let ks_cfg = format!("vmaccepteula\ninstall --firstdisk --overwritevmfs\n{reboot}\n");
    let id = site.submit(0, json!({ "ks_cfg": ks_cfg })).await;
    let job = site.settle(id).await;
    (site, job)
}

fn confidence(job: &Job) -> Option<Confidence> {
    job.verdict.as_ref().and_then(|verdict| verdict.confidence)
}

/// When the host began the boot after its installation: the first moment at which a BMC has a sign.
fn second_boot_at(site: &Site) -> Timestamp {
    let journal = site.machines[0].journal();
    let installed = journal.iter().position(|(_, what)| matches!(what, Happening::Installed { .. })).unwrap();
    let boot = journal[installed..].iter().find(|(_, what)| *what == Happening::Boot);
    boot.expect("the host booted again").0
}

async fn verdict_at(site: &Site, job: &Job) -> Timestamp {
    let filter = shoal::store::EventFilter { job: Some(job.id), after: 0, limit: 1000, ..Default::default() };
    let events = site.store.events(&filter).await.unwrap();
    let decided = events.iter().find(|event| event.event.message.starts_with("the installation succeeded"));
    decided.expect("the job succeeded").event.time
}

/// The window, one look, and the seconds in which requests and timers are rounded.
async fn check_latency(site: &Site, job: &Job) {
    let latency = elapsed(second_boot_at(site), verdict_at(site, job).await);
    let bound = site.policy.stable_window + site.policy.poll_interval + Duration::from_secs(1);
    assert!(latency <= bound, "{latency:?}\n{}", site.story(job.id).await);
}

#[tokio::test(start_paused = true)]
async fn every_source_alone_makes_an_installation_probable_within_a_window_and_a_look() {
    for sources in SOURCES {
        for medium in [vec![], vec![Fault::Prefetch]] {
            let (site, job) = install(host(sources, medium), Confidence::Assumed, false).await;
            let story = site.story(job.id).await;
            assert_eq!(confidence(&job), Some(Confidence::Probable), "{sources}\n{story}");
            check_latency(&site, &job).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_read_trace_alone_does_so_where_the_guest_leaves_its_media() {
    let (site, job) = install(host("none", vec![]), Confidence::Assumed, true).await;
    assert_eq!(confidence(&job), Some(Confidence::Probable), "{}", site.story(job.id).await);
    let boot = &job.verdict.as_ref().unwrap().evidence[0];
    assert!(boot.kind == EvidenceKind::SecondBoot && boot.detail.starts_with("media_trace"), "{boot:?}");
    // The firmware looks at its drives at the end of its self test, and that is the first sign.
    let seen = elapsed(boot.at, verdict_at(&site, &job).await);
    assert!(seen <= site.policy.stable_window + site.policy.poll_interval, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_sign_it_is_assumed_or_not_confirmed() {
    for medium in [vec![], vec![Fault::Prefetch], vec![Fault::NullSources]] {
        let (site, job) = install(host("none", medium.clone()), Confidence::Assumed, false).await;
        assert_eq!(confidence(&job), Some(Confidence::Assumed), "{}", site.story(job.id).await);
        let (site, job) = install(host("none", medium), Confidence::Probable, false).await;
        check_not_confirmed(&site, &job).await;
    }
}

async fn check_not_confirmed(site: &Site, job: &Job) {
    assert_eq!(job.status, Status::Failed, "{}", site.story(job.id).await);
    let reason = job.reason.as_deref().unwrap();
    assert!(reason.starts_with("not confirmed") && reason.contains("completion_hook"), "{reason}");
}

/// Stand-ins have a self test of a second or two and install in less than a minute. The default settings must do
/// for them, whatever their BMC shows of a boot while it goes on.
#[tokio::test(start_paused = true)]
async fn a_self_test_that_is_shorter_than_the_interval_between_two_looks_is_seen() {
    for persona in ["idrac9", "ilo5", "x12"] {
        let persona: shoal_sim::Persona = persona.parse().unwrap();
        for install in [5, 20, 120] {
            let timings = Timings { install: Duration::from_secs(install), ..Timings::default() };
            let hosts = (1..=6).map(|n| SimConfig {
                serial: format!("SIM{n:04}"),
                persona: persona.clone(),
                timings,
                ..machine(vec![])
            });
            let mut site = Site::new(install, hosts.collect()).await;
            site.policy.min_confidence = Confidence::Probable;
            site.start();
            let mut ids = vec![];
            for n in 0..6 {
                ids.push(site.submit(n, json!({})).await);
            }
            for id in ids {
                let job = site.settle(id).await;
                let is_live = job.facts.esxi().watch.sources.values().any(|seen| seen.live);
                let story = site.story(id).await;
                assert!(!is_live || job.status == Status::Succeeded, "{} {install}\n{story}", persona.name);
            }
        }
    }
}

/// The interval is the operator's as long as something would still show an unseen boot.
#[tokio::test(start_paused = true)]
async fn a_source_that_keeps_a_record_is_looked_at_no_more_often_than_configured() {
    let polls = async |sources: &str| {
        let mut site = Site::new(1, vec![host(sources, vec![Fault::GuestHangs])]).await;
        site.policy.install_timeout = Duration::from_secs(30 * 60);
        site.start();
        let id = site.submit(0, json!({})).await;
        let job = site.until(id, |job| job.cursor.phase != Phase::Forward).await;
        job.facts.esxi().watch.polls
    };
    let (recorded, passing) = (polls("last-reset-time").await, polls("boot-progress").await);
    assert!(recorded < 1800 / 7, "{recorded}");
    // A look a second for five minutes, and one in five seconds for the rest.
    assert!((500..300 + 1500 / 5 + 40).contains(&passing), "{passing}");
}

/// A script that the installer refuses: it stops at a dialog, and power stays on.
fn stopped(sources: &str, mut faults: Vec<Fault>) -> SimConfig {
    faults.push(Fault::StrictKickstart);
    host(sources, faults)
}

#[tokio::test(start_paused = true)]
async fn an_installer_at_a_dialog_is_a_failure_where_a_source_is_live() {
    for sources in SOURCES {
        check_stopped(stopped(sources, vec![]), why_not(sources)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn so_it_is_where_the_media_show_nothing() {
    for sources in ["boot-progress", "last-reset-time", "number-of-reboots"] {
        check_stopped(stopped(sources, vec![Fault::Prefetch]), why_not(sources)).await;
    }
}

/// What was seen by looking alone may have been missed, and the reason says no more than that.
fn why_not(sources: &str) -> &'static str {
    match sources {
        "last-reset-time" | "number-of-reboots" => "the installer never rebooted: look at the console",
        _ => {
            "which keeps no record of one: a boot shorter than the 5 s between two looks would have been missed"
        }
    }
}

async fn check_stopped(config: SimConfig, expected: &str) {
    let (site, job) = install(config, Confidence::Assumed, false).await;
    assert_eq!(job.status, Status::Failed, "{}", site.story(job.id).await);
    let reason = job.reason.as_deref().unwrap();
    assert!(reason.contains(expected), "{reason}");
    assert_eq!(site.machines[0].state().starts, 1, "the console is undisturbed");
}

/// No BMC of these could distinguish it from an installation: the docs say so, and how to do better.
#[tokio::test(start_paused = true)]
async fn an_installer_at_a_dialog_without_a_live_source_is_what_assumed_is_worth() {
    for sources in ["none", "stuck"] {
        let stuck = vec![Fault::StuckBootProgress, Fault::StuckLastResetTime];
        let config = || match sources {
            "stuck" => stopped("boot-progress,last-reset-time", stuck.clone()),
            _ => stopped("none", vec![]),
        };
        let (site, job) = install(config(), Confidence::Assumed, false).await;
        assert_eq!(confidence(&job), Some(Confidence::Assumed), "{}", site.story(job.id).await);
        let (site, job) = install(config(), Confidence::Probable, false).await;
        check_not_confirmed(&site, &job).await;
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_hook_a_dialog_is_a_failure_on_every_bmc_that_streams() {
    let mut site = Site::new(1, vec![stopped("none", vec![])]).await;
    site.policy.min_confidence = Confidence::Probable;
    site.start();
    let id = site.submit(0, json!({ "completion_hook": "poweroff" })).await;
    let job = site.until(id, |job| job.cursor.phase != Phase::Forward).await;
    check_not_confirmed(&site, &job).await;
}
