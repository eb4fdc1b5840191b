//! Every step, at each of its moments, struck by a crash, by a BMC that is away for five minutes, and
//! by the loss of its lease to another controller.
//!
//! An undisturbed run is recorded first; its requests and saves are sorted into the moments of
//! its steps, and then each of those is struck in a run of its own. Invariant: what is covered is a
//! table, and a step or a moment that is missing from it fails.

mod probe;

use std::time::Duration;

use http::Method;
use serde_json::json;
use shoal::domain::{EventStatus, JobId, NewEvent, Phase, Status, Step};
use shoal::flow::policy::FinalReset;
use shoal::store::{EventFilter, Side};
use shoal_sim::{Fault, SimConfig, Timings};

use crate::site::{Site, machine};
use probe::{Blow, Kind, Passed, Point, Probe};

/// The host at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Off,
    /// It runs a system, and is reset once more at the end.
    On,
    /// Off, and a maintenance system installs it.
    Maintained,
}

impl Host {
    async fn submit(self, site: &mut Site) -> JobId {
        match self {
            Host::Off | Host::On => site.submit(0, json!({})).await,
            Host::Maintained => site.submit_linux(0, json!({})).await,
        }
    }

    /// The step that decides.
    fn watch(self) -> Step {
        match self {
            Host::Off | Host::On => Step::EsxiPollPower,
            Host::Maintained => Step::AwaitWebhook,
        }
    }
}

/// A step's moments around one act of it. Of a step that only looks, its start is the intent and its
/// last look the act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    BeforeIntent,
    AfterIntent,
    AfterAct,
    BeforeSave,
}

use Moment::{AfterAct, AfterIntent, BeforeIntent, BeforeSave};

/// One place to strike.
#[derive(Clone, Debug)]
struct Case {
    step: Step,
    act: String,
    moment: Moment,
    point: Point,
}

/// A site whose host takes minutes, as real ones do, and leaves its media to us.
async fn site(host: Host) -> Site {
    let timings =
        Timings { post: Duration::from_secs(60), install: Duration::from_secs(300), ..Timings::default() };
    // A power that is seen to change, so that the step after the start has to look again.
    let faults = vec![Fault::NoEject, Fault::PowerTransitions(Duration::from_secs(10))];
    let machine = SimConfig { power_on: host == Host::On, timings, ..machine(faults) };
    let mut site = Site::new(3, vec![machine]).await;
    site.policy.poll_interval = Duration::from_secs(30);
    if host == Host::Maintained {
        site.write_standin_maintenance();
    }
    if host == Host::On {
        site.policy.final_reset = FinalReset::Always;
        tokio::time::sleep(Duration::from_secs(120)).await;
    }
    site
}

/// All points of an undisturbed run.
async fn cases(host: Host) -> Vec<Case> {
    let mut site = site(host).await;
    let probe = Probe::new(&site.network, &site.store, None);
    let controller = site.controller("first", probe.store(), probe.transport());
    site.serve_media_of(&controller);
    let id = host.submit(&mut site).await;
    site.settle(id).await;
    sorted(&probe.passed())
}

fn sorted(passed: &[Passed]) -> Vec<Case> {
    let steps = steps_of(passed);
    let mut cases = Vec::new();
    for step in Step::ALL {
        let places: Vec<usize> = (0..passed.len()).filter(|place| steps[*place] == step).collect();
        let acts = places.iter().filter_map(|place| Some((*place, act_of(&passed[*place])?)));
        let acts: Vec<(usize, String)> = acts.collect();
        for (act, name) in &acts {
            cases.extend(moments(passed, step, name, around(passed, *act)));
        }
        if acts.is_empty() {
            cases.extend(moments_of_looks(passed, step, &places));
        }
    }
    cases
}

/// Of a step without an act: its start, its last look, its end; and a look in the middle of a watch.
fn moments_of_looks(passed: &[Passed], step: Step, places: &[usize]) -> Vec<Case> {
    let (Some(start), Some(end)) = (places.first(), places.last()) else { return vec![] };
    let looks: Vec<usize> = places.iter().copied().filter(|place| !is_save(&passed[*place])).collect();
    // The save that ends a step opens the next one, where there is one.
    let save = (end + 1..passed.len()).find(|place| is_save(&passed[*place])).unwrap_or(*end);
    let whole = Around { intent: Some(*start), act: looks.last().copied(), save: Some(save) };
    let mut cases = moments(passed, step, "look", whole);
    if [Step::EsxiPollPower, Step::AwaitWebhook].contains(&step) {
        let middle = looks[looks.len() / 2];
        cases.extend(moments(passed, step, "look in the middle", around(passed, middle)));
    }
    cases
}

/// The step that each thing belongs to: a save that enters a step opens it.
fn steps_of(passed: &[Passed]) -> Vec<Step> {
    let mut step = Step::ValidateRecipe;
    let of = |passed: &Passed| {
        if let Passed::Save { cursor } = passed
            && cursor.entered_at.is_some()
        {
            step = cursor.step;
        }
        step
    };
    passed.iter().map(of).collect()
}

fn is_save(passed: &Passed) -> bool {
    matches!(passed, Passed::Save { .. })
}

/// What a request does to the BMC, if it does anything.
fn act_of(passed: &Passed) -> Option<String> {
    let Passed::Request { method, path } = passed else { return None };
    if *method == Method::GET || path.contains("/SessionService/") {
        return None;
    }
    let last = path.rsplit(['/', '.']).next().unwrap_or_default();
    Some(if *method == Method::PATCH { "set".to_owned() } else { last.to_owned() })
}

/// Places around one act: the save before it, itself, and the save after it.
#[derive(Clone, Copy)]
struct Around {
    intent: Option<usize>,
    act: Option<usize>,
    save: Option<usize>,
}

fn around(passed: &[Passed], act: usize) -> Around {
    Around {
        intent: (0..act).rev().find(|place| is_save(&passed[*place])),
        act: Some(act),
        save: (act..passed.len()).find(|place| is_save(&passed[*place])),
    }
}

fn moments(passed: &[Passed], step: Step, act: &str, around: Around) -> Vec<Case> {
    let all = [
        (BeforeIntent, around.intent, Side::Before),
        (AfterIntent, around.intent, Side::After),
        (AfterAct, around.act, Side::After),
        (BeforeSave, around.save, Side::Before),
    ];
    let case = |(moment, place, side): (Moment, Option<usize>, Side)| {
        let place = place?;
        let kind = if is_save(&passed[place]) { Kind::Save } else { Kind::Request };
        let number = passed[..place].iter().filter(|passed| is_save(passed) == (kind == Kind::Save)).count();
        Some(Case { step, act: act.to_owned(), moment, point: Point { kind, number, side } })
    };
    all.into_iter().filter_map(case).collect()
}

/// The table of what is covered, a line an act.
fn table(cases: &[Case]) -> Vec<String> {
    let mut acts: Vec<(String, Vec<Moment>)> = Vec::new();
    for case in cases {
        let name = format!("{} {}", case.step, case.act);
        match acts.last_mut().filter(|(last, moments)| *last == name && !moments.contains(&case.moment)) {
            Some((_, moments)) => moments.push(case.moment),
            None => acts.push((name, vec![case.moment])),
        }
    }
    acts.into_iter().map(|(name, moments)| format!("{name} {moments:?}")).collect()
}

#[tokio::test(start_paused = true)]
async fn every_step_has_its_moments() {
    insta::assert_debug_snapshot!("host_off", table(&cases(Host::Off).await));
    insta::assert_debug_snapshot!("host_on", table(&cases(Host::On).await));
    insta::assert_debug_snapshot!("host_maintained", table(&cases(Host::Maintained).await));
}

/// Strikes at each place, one after the other.
async fn survive_all(host: Host, blow: Blow, share: usize, shares: usize) {
    let cases = cases(host).await;
    assert!(cases.len() > 40, "{}", cases.len());
    for case in cases.iter().skip(share).step_by(shares) {
        survive(host, blow, case).await;
    }
}

async fn survive(host: Host, blow: Blow, case: &Case) {
    let mut site = site(host).await;
    let probe = Probe::new(&site.network, &site.store, Some((case.point, blow)));
    let first = site.controller("first", probe.store(), probe.transport());
    site.serve_media_of(&first);
    let id = host.submit(&mut site).await;
    tokio::select! {
        biased;
        () = probe.reached.notified() => {}
        _ = site.settle(id) => panic!("{case:?} was never reached"),
    }
    let struck = site.job(id).await;
    let was_under_way = struck.status != Status::Queued && struck.cursor.phase != Phase::Done;
    let is_another_at_it = match blow {
        Blow::Crash => {
            first.die().await;
            site.clear_away();
            tokio::time::sleep(Duration::from_secs(5)).await;
            site.start();
            true
        }
        Blow::Unreachable => false,
        Blow::LeaseLost => hand_over(&site, &probe, id).await,
    };
    site.settle(id).await;
    check(&site, id, host, blow, case, was_under_way && is_another_at_it).await;
}

/// Another controller beside the first one, which does not know that it lost its lease. False where
/// the first one had come to the job's end before the lease ran out.
async fn hand_over(site: &Site, first: &Probe, id: JobId) -> bool {
    let (store, saved) = probe::watched(&site.store);
    let second = Probe::new(&site.network, &site.store, None);
    let heir = site.controller("second", store, second.transport());
    tokio::select! {
        biased;
        () = saved.notified() => {}
        _ = site.settle(id) => return false,
    }
    let begun_at = tokio::time::Instant::now();
    site.serve_media_of(&heir);
    site.settle(id).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(first.busy_at() < Some(begun_at), "the first one went on");
    true
}

async fn check(site: &Site, id: JobId, host: Host, blow: Blow, case: &Case, is_taken_up: bool) {
    let job = site.job(id).await;
    let state = site.machines[0].state();
    let story = format!("{host:?} {blow:?} {case:?}\n{state:#?}\n{}", site.story(id).await);
    let filter = EventFilter { job: Some(id), after: 0, limit: 500, ..EventFilter::default() };
    let events = site.store.events(&filter).await.unwrap();
    let count =
        |wanted: &dyn Fn(&NewEvent) -> bool| events.iter().filter(|event| wanted(&event.event)).count();

    let left = state.media.values().filter(|medium| medium.inserted).count();
    assert_eq!(
        (left, state.boot_override.enabled, state.interrupted_installs),
        (0, "Disabled", 0),
        "{story}"
    );
    let taken_up = count(&|event| event.op == "job.take_up");
    assert_eq!(taken_up, usize::from(is_taken_up), "{story}");
    let unresolved =
        case.step < Step::ResolveServer || (case.step, case.moment) < (Step::ResolveServer, BeforeSave);
    if blow == Blow::Unreachable && unresolved {
        // Nothing on the BMC was touched: the error is reported immediately.
        assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::ResolveServer)), "{story}");
        assert_eq!((state.starts, state.installs_begun), (0, 0), "{story}");
        return;
    }
    assert_eq!(job.status, Status::Succeeded, "{story}");
    let verdicts = count(&|event| event.op == host.watch().name() && event.status == EventStatus::Succeeded);
    assert_eq!(verdicts, 1, "{story}");
    // The end of an installation by a maintenance system leaves its host off.
    let starts = if host == Host::Off { 1 } else { 2 };
    assert_eq!((state.installs_begun, state.installs, state.starts), (1, 1, starts), "{story}");
    // Each host obeys: who forces it off did not ask it first.
    assert_eq!(state.resets.get("ForceOff"), None, "{story}");
    assert_eq!(job.facts.cleanup.left, Vec::<String>::new(), "{story}");
}

/// The tests of one host and one blow, each with its share of the places, so that they run side by side.
macro_rules! survive {
    ($($name:ident: $host:ident, $blow:ident;)+) => {
        $(mod $name {
            use super::{Blow, Host, survive_all};

            #[tokio::test(start_paused = true)]
            async fn at_every_even_place() {
                survive_all(Host::$host, Blow::$blow, 0, 2).await;
            }

            #[tokio::test(start_paused = true)]
            async fn at_every_odd_place() {
                survive_all(Host::$host, Blow::$blow, 1, 2).await;
            }
        })+
    };
}

survive! {
    a_crash_of_the_controller_of_a_host_that_is_off: Off, Crash;
    a_crash_of_the_controller_of_a_host_that_runs: On, Crash;
    an_unreachable_bmc_of_a_host_that_is_off: Off, Unreachable;
    an_unreachable_bmc_of_a_host_that_runs: On, Unreachable;
    a_lost_lease_on_a_host_that_is_off: Off, LeaseLost;
    a_lost_lease_on_a_host_that_runs: On, LeaseLost;
    a_crash_of_the_controller_of_a_maintenance_system: Maintained, Crash;
    an_unreachable_bmc_of_a_maintenance_system: Maintained, Unreachable;
    a_lost_lease_on_a_maintenance_system: Maintained, LeaseLost;
}
