//! Every step, while a resource that worked before answers 404, 401, 503, half a body or "not ready": the System,
//! the slots, the session or a Task.
//!
//! The requests of a run that nothing disturbs say which cells there are; each is then struck in runs of its own,
//! by a fault that passes, by one that ends during the cleanup, and by one that stays. Invariant: whatever the cell,
//! no host is left that installs at its next start, unless the BMC answers nothing at all, and then the reason
//! of the job says so.

mod fault;
mod measured;

use std::time::Duration;

use serde_json::json;
use shoal::domain::{Cancel, Job, JobId, Phase, Status, Step};
use shoal::flow::policy::FinalReset;
use shoal_sim::{SimConfig, Timings};

use crate::site::{Site, machine};
use fault::{Fault, Kind, Lasts, Striker, Target};

/// How the job ends where nothing disturbs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum World {
    /// It installs a host that runs, and resets it once more at the end.
    Installs,
    /// It is cancelled while the old system does not shut down: the override is armed, both media are inserted.
    Cancelled,
}

impl World {
    fn steps(self) -> &'static [Step] {
        use Step::*;
        match self {
            World::Installs => &[
                ResolveServer,
                MountMaintenance,
                MountTask,
                BootOverride,
                Reset,
                EsxiAwaitBmc,
                EsxiPollPower,
                CleanupUnmountTask,
                CleanupUnmountMaintenance,
                CleanupReset,
            ],
            World::Cancelled => &[CleanupUnmountTask, CleanupUnmountMaintenance],
        }
    }
}

/// Longer than any read is repeated by the client alone.
const PASSES_SECS: u64 = 60;
/// What the first step waits for.
const FIRST_CONTACT_SECS: u64 = 20;

async fn site(world: World) -> Site {
    let secs = Duration::from_secs;
    let timings = Timings { post: secs(60), install: secs(300), ..Timings::default() };
    // The power is seen to change, so that the step after the start has to look again.
    let transitions = shoal_sim::Fault::PowerTransitions(secs(10));
    let mut faults = vec![shoal_sim::Fault::NoEject, shoal_sim::Fault::InsertTask(secs(20)), transitions];
    if world == World::Cancelled {
        faults.push(shoal_sim::Fault::GracefulIgnored);
    }
    let mut site = Site::new(3, vec![SimConfig { power_on: true, timings, ..machine(faults) }]).await;
    site.policy.final_reset = FinalReset::Always;
    // A fault that stays is watched to the end of these, look by look.
    site.policy.poll_interval = secs(30);
    site.policy.install_timeout = secs(30 * 60);
    site.policy.stuck_timeout = secs(60 * 60);
    tokio::time::sleep(secs(120)).await;
    site
}

/// One run to the end of the job's cleanup.
async fn run(world: World, fault: Option<Fault>) -> (Site, JobId, std::sync::Arc<Striker>) {
    let mut site = site(world).await;
    let striker = Striker::new(fault, &site.network, &site.store);
    let controller = site.controller("first", striker.store(), striker.transport());
    site.serve_media_of(&controller);
    let id = site.submit(0, json!({})).await;
    if world == World::Cancelled {
        site.until(id, |job| job.cursor.step == Step::Reset && job.cursor.intent.is_some()).await;
        site.store.request_cancel(id, Cancel { force: false }).await.unwrap();
    }
    site.settle(id).await;
    controller.die().await;
    (site, id, striker)
}

/// What each step asks the BMC for.
async fn cells(world: World) -> Vec<(Step, Target)> {
    let (_, _, striker) = run(world, None).await;
    let mut asked = striker.asked();
    asked.retain(|(step, _)| world.steps().contains(step));
    asked
}

#[tokio::test(start_paused = true)]
async fn the_table_has_every_step_that_asks_the_bmc_for_anything() {
    for world in [World::Installs, World::Cancelled] {
        let mut lines: Vec<String> = vec![];
        for step in world.steps() {
            let targets: Vec<Target> = cells(world)
                .await
                .into_iter()
                .filter(|(of, _)| of == step)
                .map(|(_, target)| target)
                .collect();
            lines.push(format!("{step} {targets:?}"));
        }
        insta::assert_debug_snapshot!(format!("{world:?}").to_lowercase(), lines);
    }
}

/// Without any fault these are the ends.
#[tokio::test(start_paused = true)]
async fn undisturbed_worlds_end_clean() {
    for (world, status) in [(World::Installs, Status::Succeeded), (World::Cancelled, Status::Cancelled)] {
        let (site, id, _) = run(world, None).await;
        let job = site.job(id).await;
        assert_eq!(job.status, status, "{}", site.story(id).await);
        check_clean(&site, &job, "").await;
    }
}

/// Strikes every cell of one step in three ways.
async fn strike(world: World, step: Step) {
    let cells = cells(world).await;
    let targets = cells.into_iter().filter(|(of, _)| *of == step).map(|(_, target)| target);
    let mut tried = 0;
    for target in targets {
        for kind in Kind::ALL {
            let cell = |lasts| Fault { step, target, kind, lasts };
            let secs = if step == Step::ResolveServer { FIRST_CONTACT_SECS } else { PASSES_SECS };
            check_passing(world, cell(Lasts::Secs(secs))).await;
            check_recovering(world, cell(Lasts::AfterVerdict(Duration::from_secs(600)))).await;
            check_permanent(world, cell(Lasts::Permanently)).await;
            tried += 1;
        }
    }
    assert!(tried >= 10, "{step}: {tried} cells");
}

/// A first contact is refused without another try.
fn is_refused_at_first_contact(fault: Fault) -> bool {
    let is_refusal = match (fault.target, fault.kind) {
        // Without sessions there is Basic authentication.
        (Target::Session, Kind::NotFound) => false,
        (_, kind) => matches!(kind, Kind::NotFound | Kind::Unauthorised),
    };
    fault.step == Step::ResolveServer && is_refusal
}

async fn check_passing(world: World, fault: Fault) {
    let (site, id, striker) = run(world, Some(fault)).await;
    let job = site.job(id).await;
    let story = format!("{world:?} {fault:?}\n{}", site.story(id).await);
    assert!(striker.struck() > 0, "never struck: {story}");
    if is_refused_at_first_contact(fault) {
        assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::ResolveServer)), "{story}");
        assert_eq!(site.machines[0].state().starts, 0, "{story}");
        return;
    }
    let expected = if world == World::Installs { Status::Succeeded } else { Status::Cancelled };
    assert_eq!(job.status, expected, "{story}");
    check_clean(&site, &job, &story).await;
}

/// Nothing is left, and the host was started as often as it should be.
async fn check_clean(site: &Site, job: &Job, story: &str) {
    let state = site.machines[0].state();
    let inserted = state.media.values().filter(|medium| medium.inserted).count();
    assert_eq!(
        (inserted, state.boot_override.enabled, state.interrupted_installs),
        (0, "Disabled", 0),
        "{story}"
    );
    assert_eq!(job.facts.cleanup.left, Vec::<String>::new(), "{story}");
    assert!(job.leftover().is_empty(), "{story}");
    assert_eq!(job.reason_now(), job.reason, "{story}");
    let installs = if job.status == Status::Succeeded { (1, 1, 2) } else { (0, 0, 0) };
    assert_eq!((state.installs_begun, state.installs, state.starts), installs, "{story}");
}

/// The job may have failed; what recovers within the bound of the cleanup is cleaned up.
async fn check_recovering(world: World, fault: Fault) {
    let (site, id, striker) = run(world, Some(fault)).await;
    let job = site.job(id).await;
    let state = site.machines[0].state();
    let story = format!("{world:?} {fault:?}\n{}", site.story(id).await);
    assert!(striker.struck() > 0, "never struck: {story}");
    let inserted = state.media.values().filter(|medium| medium.inserted).count();
    assert_eq!(
        (inserted, state.boot_override.enabled, state.interrupted_installs),
        (0, "Disabled", 0),
        "{story}"
    );
    assert_eq!(job.facts.cleanup.left, Vec::<String>::new(), "{story}");
    assert_eq!(job.reason_now(), job.reason, "{story}");
    assert!(job.status == Status::Succeeded || job.reason.is_some(), "{story}");
    assert!(state.installs_begun <= 1, "{story}");
}

/// The job ends, and either nothing would install or its reason says so.
async fn check_permanent(world: World, fault: Fault) {
    let (site, id, striker) = run(world, Some(fault)).await;
    let job = site.job(id).await;
    let state = site.machines[0].state();
    let story = format!("{world:?} {fault:?}\n{state:#?}\n{}", site.story(id).await);
    assert!(striker.struck() > 0, "never struck: {story}");
    assert_eq!(job.cursor.phase, Phase::Done, "{story}");
    assert_eq!(state.interrupted_installs, 0, "{story}");
    let inserted = state.media.values().filter(|medium| medium.inserted).count();
    let armed = state.boot_override.enabled != "Disabled";
    let reason = job.reason_now().unwrap_or_default();
    let is_reported = reason.contains("the next start of the host installs");
    match fault.target {
        Target::System | Target::Task => assert_eq!(inserted, 0, "{story}"),
        Target::Slot => assert!(!armed, "{story}"),
        Target::Session => assert!(is_reported || !armed || inserted == 0, "{reason}\n{story}"),
    }
    assert!(is_reported || !(armed && state.media["CD1"].inserted), "{reason}\n{story}");
    let is_partial = !job.facts.cleanup.left.is_empty();
    assert!(is_partial || (inserted == 0 && !armed), "{story}");
    assert!(
        !is_partial || reason.contains("the cleanup is incomplete") || job.leftover().is_empty(),
        "{reason}\n{story}"
    );
    assert!(state.installs_begun <= 1, "{story}");
}

/// A test for each row, so that they run side by side.
macro_rules! rows {
    ($($name:ident: $world:ident, $step:ident;)+) => {
        $(#[tokio::test(start_paused = true)]
        async fn $name() {
            strike(World::$world, Step::$step).await;
        })+
    };
}

rows! {
    resolve_server: Installs, ResolveServer;
    mount_maintenance: Installs, MountMaintenance;
    mount_task: Installs, MountTask;
    boot_override: Installs, BootOverride;
    reset: Installs, Reset;
    await_bmc: Installs, EsxiAwaitBmc;
    poll_power: Installs, EsxiPollPower;
    unmount_task: Installs, CleanupUnmountTask;
    unmount_maintenance: Installs, CleanupUnmountMaintenance;
    final_reset: Installs, CleanupReset;
    unmount_task_with_the_override_armed: Cancelled, CleanupUnmountTask;
    unmount_maintenance_after_a_cancel: Cancelled, CleanupUnmountMaintenance;
}
