//! What was measured in the field: images that are copied, a host that is off, and a cleanup that the BMC refuses.

use shoal::domain::Job;

use super::*;
use shoal_sim::Timings;

/// A job that is cancelled while its host is on its way off, so that nothing was started.
async fn cancelled(faults: &[shoal_sim::Fault], fault: Option<Fault>) -> (Site, Job) {
    let timings = Timings { post: Duration::from_secs(60), ..Timings::default() };
    let faults = [&[shoal_sim::Fault::Prefetch, shoal_sim::Fault::GracefulIgnored], faults].concat();
    let mut site = Site::new(3, vec![SimConfig { power_on: true, timings, ..machine(faults) }]).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let striker = Striker::new(fault, &site.network, &site.store);
    let controller = site.controller("first", striker.store(), striker.transport());
    site.serve_media_of(&controller);
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.cursor.step == Step::Reset && job.cursor.intent.is_some()).await;
    site.store.request_cancel(id, Cancel { force: false }).await.unwrap();
    let job = site.settle(id).await;
    assert_eq!(fault.is_some(), striker.struck() > 0);
    (site, job)
}

/// The host is switched off and on by hand.
async fn restart_by_hand(site: &Site) -> u64 {
    site.machines[0].press_reset();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    site.machines[0].state().installs_begun
}

fn cleanup_of(target: Target, kind: Kind) -> Option<Fault> {
    Some(Fault { step: Step::CleanupUnmountTask, target, kind, lasts: Lasts::Permanently })
}

#[tokio::test(start_paused = true)]
async fn a_system_that_is_gone_keeps_no_medium_inserted() {
    for kind in [Kind::NotFound, Kind::Unauthorised] {
        let (site, job) = cancelled(&[], cleanup_of(Target::System, kind)).await;
        let state = site.machines[0].state();
        let story = site.story(job.id).await;
        assert!(state.media.values().all(|medium| !medium.inserted), "{kind:?} {state:?}\n{story}");
        assert_eq!(state.boot_override.enabled, "Once", "{story}");
        let reason = job.reason_now().unwrap();
        assert!(
            reason.contains("the cleanup is incomplete: the boot override has not been seen cleared"),
            "{reason}"
        );
        assert!(
            reason.contains("`shoal server release SIM0001`") && !reason.contains("installs"),
            "{reason}"
        );
        assert_eq!(restart_by_hand(&site).await, 0, "{story}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_clear_keeps_no_medium_inserted() {
    let (site, job) = cancelled(&[shoal_sim::Fault::ClearRefused(86_400)], None).await;
    let state = site.machines[0].state();
    let story = site.story(job.id).await;
    assert!(state.media.values().all(|medium| !medium.inserted), "{state:?}\n{story}");
    assert!(job.reason_now().unwrap().contains("the boot override has not been seen cleared"), "{story}");
    assert_eq!(restart_by_hand(&site).await, 0, "{story}");
}

#[tokio::test(start_paused = true)]
async fn a_few_refused_clears_are_tried_again() {
    let (site, job) = cancelled(&[shoal_sim::Fault::ClearRefused(8)], None).await;
    check_clean(&site, &job, &site.story(job.id).await).await;
}

/// Nothing can be done without a login: the reason says what the next start does, and it does.
#[tokio::test(start_paused = true)]
async fn an_account_that_is_refused_for_good_is_reported_as_what_it_leaves() {
    let (site, job) = cancelled(&[], cleanup_of(Target::Session, Kind::Unauthorised)).await;
    let story = site.story(job.id).await;
    let reason = job.reason_now().unwrap();
    assert!(reason.contains("the next start of the host installs"), "{reason}\n{story}");
    for part in
        ["the boot override", "VirtualMedia/CD1", "VirtualMedia/CD2", "`shoal server release SIM0001`"]
    {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert!(story.contains("cleanup.leftover"), "{story}");
    assert_eq!(restart_by_hand(&site).await, 1, "{story}");
}

/// While the cleanup is tried, the server stays busy and the reason says what the next start does; afterwards it
/// does not.
#[tokio::test(start_paused = true)]
async fn the_warning_goes_with_its_cause() {
    let mut site = site(World::Cancelled).await;
    let lasts = Lasts::AfterVerdict(Duration::from_secs(900));
    let fault =
        Fault { step: Step::CleanupUnmountTask, target: Target::Session, kind: Kind::Unauthorised, lasts };
    let striker = Striker::new(Some(fault), &site.network, &site.store);
    let controller = site.controller("first", striker.store(), striker.transport());
    site.serve_media_of(&controller);
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.cursor.step == Step::Reset && job.cursor.intent.is_some()).await;
    site.store.request_cancel(id, Cancel { force: false }).await.unwrap();
    let job = site.until(id, |job| job.facts.cleanup.warning.is_some()).await;
    assert_eq!((job.status, job.cursor.phase), (Status::Cancelled, Phase::Cleanup));
    assert!(job.reason_now().unwrap().contains("the next start of the host installs"), "{job:?}");
    assert!(site.try_submit(0, json!({})).await.is_err(), "the server is busy");
    let job = site.settle(id).await;
    assert_eq!(job.facts.cleanup.warning, None);
    assert!(site.story(id).await.contains("the next start of the host no longer installs"));
    check_clean(&site, &job, "").await;
}

/// Ten seconds after a GracefulShutdown ended jobs in three.
#[tokio::test(start_paused = true)]
async fn what_goes_away_after_a_reset_request_costs_no_job() {
    let wait = Duration::from_secs(60);
    for fault in [
        shoal_sim::Fault::System404AfterReset(wait),
        shoal_sim::Fault::Slots404AfterReset(wait),
        shoal_sim::Fault::Unauthorised401AfterReset(wait),
    ] {
        let secs = Duration::from_secs;
        let timings = Timings { post: secs(60), install: secs(300), ..Timings::default() };
        let config = SimConfig { power_on: true, timings, ..machine(vec![fault.clone()]) };
        let mut site = Site::new(3, vec![config]).await;
        site.policy.final_reset = FinalReset::Always;
        tokio::time::sleep(Duration::from_secs(120)).await;
        site.start();
        let id = site.submit(0, json!({})).await;
        let job = site.settle(id).await;
        let story = format!("{fault}\n{}", site.story(id).await);
        assert!(site.machines[0].struck().contains_key(fault.name()), "{story}");
        assert_eq!(job.status, Status::Succeeded, "{story}");
        check_clean(&site, &job, &story).await;
    }
}
