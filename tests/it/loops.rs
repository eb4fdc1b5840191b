//! Hosts that install again and again: a firmware that prefers CDs, and a BMC that ignores its guest's eject.
//!
//! Where the reads show it, the loop is ended between two runs; no run is cut short. Where nothing shows
//! it, see docs/verdicts.md.

use std::time::Duration;

use serde_json::{Value, json};
use shoal::domain::{Confidence, EvidenceKind, Job, Phase, Status};
use shoal::flow::policy::FinalReset;
use shoal_sim::{Fault, SimConfig, Timings};

use crate::site::{Site, machine};

/// The next run reads its kickstart long before the window of the last one is over.
fn looping(sources: &str, faults: &[Fault]) -> SimConfig {
    let mut config = machine([&[Fault::CdFirst, Fault::NoEject], faults].concat());
    config.persona.sources = sources.parse().unwrap();
    config.timings = Timings {
        post: Duration::from_secs(30),
        boot_load: Duration::from_secs(20),
        install: Duration::from_secs(200),
        ..Timings::default()
    };
    config
}

async fn install(config: SimConfig, final_reset: FinalReset, with: Value) -> (Site, Job) {
    let mut site = Site::new(1, vec![config]).await;
    site.policy.final_reset = final_reset;
    site.start();
    let id = site.submit(0, with).await;
    let job = site.settle(id).await;
    // Until the host has booted what it is left with.
    tokio::time::sleep(Duration::from_secs(600)).await;
    (site, job)
}

async fn check_ended(site: &Site, job: &Job) {
    let (state, story) = (site.machines[0].state(), site.story(job.id).await);
    assert_eq!(job.status, Status::Succeeded, "{story}");
    assert_eq!(job.verdict.as_ref().unwrap().confidence, Some(Confidence::Probable), "{story}");
    assert!(story.contains("its media were ejected between two runs"), "{story}");
    assert!((2..=3).contains(&state.installs), "{state:?}\n{story}");
    assert_eq!((state.interrupted_installs, state.guest), (0, "installed"), "{state:?}\n{story}");
    assert!(state.media.values().all(|slot| !slot.inserted), "{state:?}");
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_a_source_and_the_reads_show_ends_between_two_runs() {
    for sources in ["boot-progress", "last-reset-time", "number-of-reboots", "post-state"] {
        for layout in ["dual-cd", "single-cd"] {
            let with = json!({ "media_layout": layout });
            let (site, job) = install(looping(sources, &[]), FinalReset::Auto, with).await;
            check_ended(&site, &job).await;
        }
    }
}

/// The firmware's look at its drives is the only sign; the loader may be at CD1 when that goes, so the
/// host is reset once more, as after any verdict that saw no installed system.
#[tokio::test(start_paused = true)]
async fn a_loop_that_the_reads_alone_show_ends_too() {
    for layout in ["dual-cd", "single-cd"] {
        let with = json!({ "media_layout": layout });
        let (site, job) = install(looping("none", &[]), FinalReset::Auto, with).await;
        check_ended(&site, &job).await;
        assert_eq!(site.machines[0].state().starts, 2, "the installing start and the final reset");
        let evidence = &job.verdict.as_ref().unwrap().evidence;
        assert!(evidence.iter().all(|one| one.kind != EvidenceKind::GuestEjected), "{evidence:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_medium_that_cannot_be_ejected_immediately_is_tried_again() {
    let (site, job) =
        install(looping("boot-progress", &[Fault::Flaky5xx(300)]), FinalReset::Auto, json!({})).await;
    let state = site.machines[0].state();
    assert_eq!(
        (job.status, state.interrupted_installs),
        (Status::Succeeded, 0),
        "{}",
        site.story(job.id).await
    );
    assert!(state.installs < 5, "{state:?}");
}

/// Behind a BMC that downloads its media whole the next run is not seen to begin, so the media are ejected when the
/// installer reports its end.
#[tokio::test(start_paused = true)]
async fn an_installer_that_has_reported_does_not_begin_again_unseen() {
    for sources in ["none", "boot-progress"] {
        let with = json!({ "completion_hook": "webhook" });
        let (site, job) = install(looping(sources, &[Fault::Prefetch]), FinalReset::Auto, with).await;
        let (state, story) = (site.machines[0].state(), site.story(job.id).await);
        assert_eq!((job.status, state.installs_begun, state.installs), (Status::Succeeded, 1, 1), "{story}");
        assert_eq!(job.verdict.unwrap().confidence, Some(Confidence::Proven), "{story}");
        assert_eq!((state.starts, state.guest), (1, "installed"), "what was just installed is not reset");
        assert!(story.contains("a second run could not be observed"), "{story}");
    }
}

/// What a slow BMC is asked between the judgement and the ejects takes it seconds, in which the next run
/// may begin: it is seen, and let end.
#[tokio::test(start_paused = true)]
async fn a_run_that_begins_at_the_verdict_is_let_end() {
    let (mut begun_at_the_verdict, mut cut) = (0, 0);
    for post in (84..106).map(Duration::from_secs) {
        let mut config = looping("boot-progress", &[Fault::Slow(Duration::from_secs(4))]);
        config.timings = Timings { post, boot_load: Duration::from_secs(3), ..config.timings };
        let (site, job) = install(config, FinalReset::Auto, json!({})).await;
        let (state, story) = (site.machines[0].state(), site.story(job.id).await);
        assert_eq!(job.status, Status::Succeeded, "POST {post:?}\n{story}");
        if state.interrupted_installs > 0 {
            assert!(story.contains("once more while the BMC was at the eject"), "POST {post:?}\n{story}");
        } else {
            assert_eq!(state.guest, "installed", "POST {post:?}\n{story}");
            begun_at_the_verdict += u32::from(state.installs > 1);
        }
        cut += state.interrupted_installs;
    }
    assert!(begun_at_the_verdict > 2, "{begun_at_the_verdict}");
    assert!(cut <= 4, "only within the eject of one drive, which takes four seconds: {cut}");
}

/// Failed or cancelled: the run that goes on is let end too.
#[tokio::test(start_paused = true)]
async fn a_cancel_in_a_loop_lets_the_run_end() {
    let mut site = Site::new(1, vec![looping("boot-progress", &[])]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |_| site.machines[0].state().installs_begun == 2).await;
    site.store.request_cancel(id, shoal::domain::Cancel { force: false }).await.unwrap();
    let job = site.until(id, |job| job.cursor.phase == Phase::Done).await;
    let state = site.machines[0].state();
    assert_eq!((job.status, state.interrupted_installs), (Status::Cancelled, 0), "{}", site.story(id).await);
    assert!(state.installs >= 2 && state.media.values().all(|slot| !slot.inserted), "{state:?}");
}

/// A BMC that answers nothing after a start of its host is silent for as long as that one installs in a loop: the
/// cleanup ends nevertheless, and says what it leaves.
#[tokio::test(start_paused = true)]
async fn a_loop_behind_a_silent_bmc_does_not_keep_the_cleanup_waiting() {
    let mut site =
        Site::new(1, vec![looping("none", &[Fault::Busy503AfterStart(Duration::from_secs(500))])]).await;
    site.policy.install_timeout = Duration::from_secs(30 * 60);
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    let (state, story) = (site.machines[0].state(), site.story(id).await);
    assert_eq!(job.status, Status::Failed, "{story}");
    assert!(state.installs > 5, "{state:?}\n{story}");
    assert_eq!(job.facts.cleanup.released, Some(shoal::domain::EjectReason::TimedOut), "{story}");
    let reason = job.reason_now().unwrap();
    assert!(reason.contains("the next start of the host installs"), "{reason}\n{story}");
    let took = job.finished_at.unwrap().duration_since(job.created_at).as_secs();
    assert!(took < 3 * 3600, "{took} s\n{story}");
}
