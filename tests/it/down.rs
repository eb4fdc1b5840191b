//! A controller that was down for two hours while its hosts finished.
//!
//! No media were served, and nothing was observed. Its verdict afterwards rests on what the BMC remembers:
//! a source with memory shows the second boot, one without has lost its word,
//! and the time in which nothing could be observed is not held against the job.

use std::time::Duration;

use serde_json::{Value, json};
use shoal::domain::{Confidence, EvidenceKind, Job, Status, Step};
use shoal::flow::policy::FinalReset;
use shoal_base::world::elapsed;
use shoal_sim::{Fault, SimConfig, Timings};

use crate::site::{Site, machine};

const TWO_HOURS: Duration = Duration::from_secs(2 * 3600);

/// What is believed of a job, and why.
struct Expected {
    confidence: Confidence,
    kinds: &'static [EvidenceKind],
    /// How long after its return the controller has to watch.
    within: [Duration; 2],
}

fn kinds(job: &Job) -> Vec<EvidenceKind> {
    job.verdict.iter().flat_map(|verdict| &verdict.evidence).map(|evidence| evidence.kind).collect()
}

async fn site(faults: Vec<Fault>) -> Site {
    let install = Duration::from_secs(420);
    let timings = Timings { install, ..Timings::default() };
    let mut site = Site::new(4, vec![SimConfig { timings, ..machine(faults) }]).await;
    site.policy.final_reset = FinalReset::Never;
    site
}

/// The controller dies once the host has read its kickstart, and is back after `down`.
async fn back_after(down: Duration, faults: Vec<Fault>, recipe: Value, expected: Expected) {
    let context = format!("{faults:?} {recipe}");
    let mut site = site(faults).await;
    site.start();
    let id = site.submit(0, recipe).await;
    site.until(id, |job| job.cursor.step == Step::EsxiPollPower).await;
    // Long enough to have seen what the BMC shows of our own start.
    tokio::time::sleep(Duration::from_secs(60)).await;
    site.crash().await;
    tokio::time::sleep(down).await;
    let back_at = site.world.clock.now();
    site.start();
    let job = site.settle(id).await;
    let story = format!("{context}\n{}", site.story(id).await);

    assert_eq!((job.status, job.reason.as_deref()), (Status::Succeeded, None), "{story}");
    let verdict = job.verdict.as_ref().unwrap();
    assert_eq!(
        (verdict.confidence, kinds(&job).as_slice()),
        (Some(expected.confidence), expected.kinds),
        "{story}"
    );
    let judged_at = decided_at(&site, &job).await;
    let took = elapsed(back_at, judged_at);
    assert!(expected.within[0] <= took && took <= expected.within[1], "{took:?}\n{story}");
    let state = site.machines[0].state();
    assert_eq!((state.installs, state.interrupted_installs, state.power), (1, 0, "On"), "{story}");
    assert!(state.media.values().all(|medium| !medium.inserted), "{state:?}");
}

async fn decided_at(site: &Site, job: &Job) -> jiff::Timestamp {
    let filter = shoal::store::EventFilter { job: Some(job.id), after: 0, limit: 500, ..Default::default() };
    let events = site.store.events(&filter).await.unwrap();
    let decided = |event: &&shoal::domain::Event| {
        event.event.op == Step::EsxiPollPower.name() && event.event.duration_ms.is_some()
    };
    events.iter().find(decided).expect("the watch ended").event.time
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The window and a look.
const WINDOW: [Duration; 2] = [secs(90), secs(101)];
/// ESXI_MIN_INSTALL_TIME, of which a minute had passed before the crash.
const FLOOR: [Duration; 2] = [secs(500), secs(620)];

use EvidenceKind::{InstallerHook, KickstartRead, PowerStable, SecondBoot};

#[tokio::test(start_paused = true)]
async fn a_source_with_memory_shows_the_unseen_boot() {
    let expected = Expected {
        confidence: Confidence::Probable,
        kinds: &[SecondBoot, KickstartRead, PowerStable],
        within: WINDOW,
    };
    back_after(TWO_HOURS, vec![Fault::NoBootProgress, Fault::NoEject], json!({}), expected).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_shows_the_present_only_has_lost_its_word() {
    let expected =
        Expected { confidence: Confidence::Assumed, kinds: &[PowerStable, KickstartRead], within: FLOOR };
    let faults = vec![Fault::NoLastResetTime, Fault::NoEject];
    back_after(TWO_HOURS, faults, json!({}), expected).await;
}

#[tokio::test(start_paused = true)]
async fn without_any_source_the_time_that_could_be_observed_counts() {
    let expected =
        Expected { confidence: Confidence::Assumed, kinds: &[PowerStable, KickstartRead], within: FLOOR };
    let faults = vec![Fault::NoBootProgress, Fault::NoLastResetTime, Fault::NoEject];
    back_after(TWO_HOURS, faults, json!({}), expected).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_to_power_itself_off_is_found_off_and_started() {
    let expected =
        Expected { confidence: Confidence::Probable, kinds: &[InstallerHook, KickstartRead], within: WINDOW };
    let ks = "vmaccepteula\ninstall --firstdisk\nreboot\n%post --interpreter=busybox\npoweroff\n";
    let recipe = json!({ "ks_cfg": ks, "completion_hook": "own-poweroff" });
    back_after(TWO_HOURS, vec![Fault::NoEject], recipe, expected).await;
}

/// Longer than JOB_STUCK_TIMEOUT: a job is stuck that gets nowhere, not one that no controller drives.
#[tokio::test(start_paused = true)]
async fn a_night_without_a_controller_makes_no_job_stuck() {
    let expected = Expected {
        confidence: Confidence::Probable,
        kinds: &[SecondBoot, KickstartRead, PowerStable],
        within: WINDOW,
    };
    back_after(Duration::from_secs(9 * 3600), vec![Fault::NoEject], json!({}), expected).await;
}

/// A BMC that was away when the controller died, and still is for a moment when it is back.
#[tokio::test(start_paused = true)]
async fn time_without_a_controller_does_not_count_as_failed_tries() {
    let mut site = site(vec![]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.network.cut_off("bmc0.test", true);
    site.until(id, |job| job.cursor.failing_since.is_some()).await;
    site.crash().await;
    tokio::time::sleep(TWO_HOURS).await;
    site.start();
    tokio::time::sleep(Duration::from_secs(10)).await;
    site.network.cut_off("bmc0.test", false);
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
}

/// Both kinds of jobs name the BMC that is away while they are watched, and what the network says of it.
#[tokio::test(start_paused = true)]
async fn a_bmc_that_goes_away_while_it_is_watched_is_named_with_the_reason() {
    for is_esxi in [true, false] {
        let mut site = site(vec![]).await;
        site.start();
        let (id, watching) = if is_esxi {
            (site.submit(0, json!({})).await, Step::EsxiPollPower)
        } else {
            site.write_standin_maintenance();
            (site.submit_linux(0, json!({})).await, Step::AwaitWebhook)
        };
        site.until(id, |job| job.cursor.step == watching).await;
        site.network.cut_off("bmc0.test", true);
        tokio::time::sleep(Duration::from_secs(90)).await;
        site.network.cut_off("bmc0.test", false);
        let (job, story) = (site.settle(id).await, site.story(id).await);
        assert_eq!(job.status, Status::Succeeded, "{story}");
        let words = "the BMC https://bmc0.test/ cannot be observed: reading the system at /redfish/v1/Systems/1: the BMC cannot \
                     be reached: connection refused";
        assert!(story.contains(words), "{story}");
    }
}

/// A BMC that had copied the image needs no media server: its host installs and powers off although the
/// controller died with the start just asked for, and must not be started into the installer again.
#[tokio::test(start_paused = true)]
async fn an_unseen_start_is_known_by_what_the_bmc_remembers() {
    let ks = "vmaccepteula\ninstall --firstdisk\nreboot\n%post --interpreter=busybox\npoweroff\n";
    let mut site = site(vec![Fault::Prefetch, Fault::NoEject]).await;
    site.start();
    let id = site.submit(0, json!({ "ks_cfg": ks, "completion_hook": "own-poweroff" })).await;
    site.until(id, |job| job.facts.reset.starts == 1).await;
    site.crash().await;
    tokio::time::sleep(TWO_HOURS).await;
    assert_eq!((site.machines[0].state().installs, site.machines[0].state().power), (1, "Off"));
    site.start();
    let job = site.settle(id).await;
    let (state, story) = (site.machines[0].state(), site.story(id).await);
    assert_eq!((state.installs_begun, state.installs, state.power), (1, 1, "On"), "{story}");
    assert_eq!(job.status, Status::Succeeded, "{story}");
    assert_eq!(job.verdict.unwrap().confidence, Some(Confidence::Probable), "{story}");
}
