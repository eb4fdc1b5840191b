//! The judge, case by case: each test is a sequence of observations and reads with the judgement that they must lead to.

mod again;
mod api;
mod deadline;
mod hook;

use super::*;
use crate::domain::{ApiHost, BootSource, CompletionHook, Deadline, DeadlineKind, HookReport};
use shoal_base::world::elapsed;

const BUILD: &str = "24022510";
const START: i64 = 1_800_000_000;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(START + secs).unwrap()
}

/// A host under watch. Times are seconds since our start of it.
#[derive(Clone)]
struct Story {
    policy: Policy,
    hook: CompletionHook,
    before: Option<BootSample>,
    serves_installer: bool,
    installer: MediumTrace,
    task: MediumTrace,
    api_before: Option<ApiSample>,
    /// The system that answers at each look.
    answers: Option<ApiHost>,
    watch: WatchFacts,
    last: Option<BootSample>,
    taken_up_at: Option<Timestamp>,
}

impl Story {
    /// Media streamed, `before` as a host that is Off shows it.
    fn new(before: &[(BootSource, &str)]) -> Story {
        let streamed = MediumTrace { mode: MediaMode::Streamed, ..MediumTrace::default() };
        Story {
            policy: Policy::default(),
            hook: CompletionHook::None,
            before: Some(look(-1, Power::Off, before)),
            serves_installer: true,
            installer: streamed.clone(),
            task: streamed,
            api_before: None,
            answers: None,
            watch: WatchFacts::default(),
            last: None,
            taken_up_at: None,
        }
    }

    fn prefetched(before: &[(BootSource, &str)]) -> Story {
        let fetched = MediumTrace { mode: MediaMode::Prefetched, ..MediumTrace::default() };
        Story { installer: fetched.clone(), task: fetched, ..Story::new(before) }
    }

    /// The BMC fetches the installer from another server.
    fn direct(mut self) -> Story {
        self.serves_installer = false;
        self.installer = MediumTrace::default();
        self
    }

    fn installer_read(mut self, secs: i64) -> Story {
        self.installer.first_read_at.get_or_insert(at(secs));
        self.installer.last_new_read_at = Some(at(secs));
        self
    }

    fn ks_read(mut self, secs: i64) -> Story {
        self = self.installer_read(secs - 5);
        self.task.ks_read_at = Some(at(secs));
        self
    }

    /// The BMC is looked at every ten seconds and shows what it showed last, then this.
    fn sees(mut self, secs: i64, power: Power, sources: &[(BootSource, &str)]) -> Story {
        while let Some(last) =
            self.last.take().filter(|last| elapsed(last.at, at(secs)) > Duration::from_secs(10))
        {
            self.fold(BootSample { at: after(last.at, Duration::from_secs(10)), ..last });
        }
        self.fold(look(secs, power, sources));
        self
    }

    fn fold(&mut self, sample: BootSample) {
        let mut watch = std::mem::take(&mut self.watch);
        observe(&mut watch, &self.context(), &sample);
        self.watch = watch;
        if self.answers.is_some() {
            self.ask(sample.at);
        }
        self.last = Some(sample);
    }

    /// The system that answers at the management address, before our start and at `secs`: build and certificate.
    fn api(mut self, before: Option<(&str, &str)>, secs: i64, then: Option<(&str, &str)>) -> Story {
        let host = |(build, certificate): (&str, &str)| ApiHost {
            version: "8.0.3".to_owned(),
            build: build.to_owned(),
            certificate: certificate.to_owned(),
        };
        let silent = before.is_none();
        self.api_before.get_or_insert(ApiSample { at: at(-1), host: before.map(host), silent });
        self.answers = then.map(host);
        self.ask(at(secs));
        self
    }

    /// Before our start something answered there that was not recognised as ESXi.
    fn api_unclear(mut self) -> Story {
        self.api_before = Some(ApiSample { at: at(-1), host: None, silent: false });
        self
    }

    /// No answer there from `from` to `until`.
    fn api_silent(mut self, from: i64, until: i64) -> Story {
        for secs in [from, until] {
            let (mut watch, at) = (std::mem::take(&mut self.watch), at(secs));
            observe_api(&mut watch, &self.context(), ApiSample { at, host: None, silent: true });
            self.watch = watch;
        }
        self
    }

    fn ask(&mut self, at: Timestamp) {
        let mut watch = std::mem::take(&mut self.watch);
        observe_api(&mut watch, &self.context(), ApiSample { at, host: self.answers.clone(), silent: false });
        self.watch = watch;
    }

    /// No observation until the next `sees`.
    fn silence(mut self) -> Story {
        self.last = None;
        self
    }

    /// Another controller takes the job up then.
    fn taken_up(mut self, secs: i64) -> Story {
        self.taken_up_at = Some(at(secs));
        self.silence()
    }

    /// On all the time, the last look at `until`.
    fn sees_on(self, from: i64, until: i64, sources: &[(BootSource, &str)]) -> Story {
        self.sees(from, Power::On, sources).sees(until, Power::On, sources)
    }

    fn context(&self) -> WatchContext<'_> {
        WatchContext {
            policy: &self.policy,
            hook: self.hook,
            before: self.before.as_ref(),
            started_at: at(0),
            serves_installer: self.serves_installer,
            installer: &self.installer,
            kickstart: &self.task,
            management: self.api_before.as_ref().map(|before| Management { before, build: BUILD }),
            taken_up_at: self.taken_up_at,
        }
    }

    fn judged(&self) -> Judgement {
        judge(&self.watch, &self.context())
    }

    /// The certificate of the system that is recorded as the installed one.
    fn installed(&self) -> Option<&str> {
        installed_host(&self.watch, &self.context()).map(|host| host.certificate.as_str())
    }

    #[track_caller]
    fn waits(self) -> Story {
        assert!(matches!(self.judged(), Judgement::Wait { .. }), "{:?}", self.judged());
        self
    }

    #[track_caller]
    fn succeeds(&self, expected: Confidence) -> Vec<EvidenceKind> {
        match self.judged() {
            Judgement::Succeeded { confidence, evidence } if confidence == expected => {
                evidence.iter().map(|evidence| evidence.kind).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn fails(&self, words: &str) {
        match self.judged() {
            Judgement::Failed { reason, .. } => assert!(reason.contains(words), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

fn look(secs: i64, power: Power, sources: &[(BootSource, &str)]) -> BootSample {
    let sources = sources.iter().map(|(source, value)| (*source, (*value).to_owned())).collect();
    BootSample { at: at(secs), power, sources }
}

use BootSource::{BootProgress as P, LastBootTimeSeconds as S, LastResetTime as L};
use BootSource::{NumberOfReboots as N, PostState as H};
const T0: &str = "2026-01-01T00:00:00Z";
const T1: &str = "2026-02-01T00:00:00Z";
const T2: &str = "2026-02-01T00:20:00Z";

#[test]
fn a_second_last_reset_time_is_a_second_boot_once_power_is_stable() {
    let story = Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]).ks_read(60);
    let story = story.sees_on(65, 600, &[(L, T1)]).waits().sees_on(610, 695, &[(L, T2)]).waits();
    let kinds = story.sees(701, Power::On, &[(L, T2)]).succeeds(Confidence::Probable);
    assert_eq!(kinds, [EvidenceKind::SecondBoot, EvidenceKind::KickstartRead, EvidenceKind::PowerStable]);
}

#[test]
fn on_alone_never_convinces_where_a_source_is_live() {
    let story = Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]).ks_read(60);
    let story = story.sees_on(65, 5390, &[(L, T1)]).waits();
    story.sees(5401, Power::On, &[(L, T1)]).fails("never rebooted");
}

#[test]
fn a_source_that_never_changed_is_not_live_and_on_alone_is_assumed_after_the_floor() {
    let story = Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T0)]).ks_read(60);
    let story = story.sees_on(65, 655, &[(L, T0)]).waits();
    let kinds = story.sees(661, Power::On, &[(L, T0)]).succeeds(Confidence::Assumed);
    assert_eq!(kinds, [EvidenceKind::PowerStable, EvidenceKind::KickstartRead]);
}

#[test]
fn boot_progress_that_falls_back_is_a_boot_and_one_that_rises_is_none() {
    let story = Story::new(&[(P, "None")]).sees(5, Power::On, &[(P, "OSBootStarted")]).ks_read(60);
    let story = story.sees_on(65, 600, &[(P, "OSRunning")]).waits();
    let story = story.sees(610, Power::On, &[(P, "MemoryInitializationStarted")]);
    story.sees_on(615, 700, &[(P, "OSRunning")]).succeeds(Confidence::Probable);
}

#[test]
fn boot_progress_entered_anew_shows_in_its_time() {
    let (first, again) = (format!("OSBootStarted@{T1}"), format!("OSBootStarted@{T2}"));
    let story = Story::new(&[(P, "None")]).sees(5, Power::On, &[(P, &first)]).ks_read(60);
    let story = story.sees_on(65, 300, &[(P, &first)]).waits();
    story.sees_on(310, 400, &[(P, &again)]).succeeds(Confidence::Probable);
}

#[test]
fn a_boot_before_the_kickstart_was_read_is_our_own() {
    let story = Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]).sees_on(10, 100, &[(L, T2)]);
    story.ks_read(105).sees_on(110, 800, &[(L, T2)]).waits();
}

#[test]
fn where_the_trace_is_inconclusive_a_boot_counts_after_the_floor_only() {
    let early = Story::prefetched(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]).sees_on(10, 115, &[(L, T2)]);
    early.sees_on(120, 900, &[(L, T2)]).waits();
    let later = Story::prefetched(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]).sees_on(15, 400, &[(L, T1)]);
    later.waits().sees_on(410, 500, &[(L, T2)]).succeeds(Confidence::Probable);
}

#[test]
fn times_without_an_offset_compare_as_they_stand() {
    let story = Story::new(&[(L, "2026-01-01T00:00:00")]).sees(5, Power::On, &[(L, "2026-02-01T00:00:00")]);
    let story = story.ks_read(60).sees_on(65, 300, &[(L, "2026-02-01T00:00:00")]).waits();
    story.sees_on(310, 400, &[(L, "2026-02-01T00:20:00")]).succeeds(Confidence::Probable);
}

#[test]
fn zero_dates_and_unknown_words_are_no_evidence() {
    let story = Story::new(&[(L, T0), (P, "None")]).sees(5, Power::On, &[(L, T0), (P, "OEM")]).ks_read(60);
    story.sees_on(65, 300, &[(L, "garbage"), (P, "SomethingElse")]).waits();
}

#[test]
fn an_unasked_off_with_the_own_hook_is_the_end() {
    let mut story = Story::new(&[]).sees(5, Power::On, &[]).ks_read(60).sees_on(65, 300, &[]);
    story.hook = CompletionHook::OwnPoweroff;
    let story = story.sees(310, Power::Off, &[]).waits();
    let kinds = story.sees(401, Power::Off, &[]).succeeds(Confidence::Probable);
    assert_eq!(kinds, [EvidenceKind::InstallerHook, EvidenceKind::KickstartRead]);
}

#[test]
fn the_hook_counts_for_nothing_before_the_kickstart_was_read() {
    let mut story = Story::new(&[]).sees(5, Power::On, &[]).installer_read(20);
    story.hook = CompletionHook::OwnPoweroff;
    story.sees(30, Power::Off, &[]).sees(125, Power::Off, &[]).fails("before the kickstart was read");
}

#[test]
fn an_unasked_off_without_a_hook_is_watched_for_a_window_and_fails() {
    let story = Story::new(&[]).sees(5, Power::On, &[]).ks_read(60).sees_on(65, 300, &[]);
    let story = story.sees(310, Power::Off, &[]).waits();
    story.sees(401, Power::Off, &[]).fails("`completion_hook: own-poweroff`");
}

#[test]
fn an_off_before_the_kickstart_was_read_is_not_blamed_on_it() {
    let story = Story::new(&[]).sees(5, Power::On, &[]).installer_read(20);
    story.sees(30, Power::Off, &[]).sees(125, Power::Off, &[]).fails("look at its console and its power");
}

#[test]
fn a_host_that_goes_off_and_on_again_has_booted_again() {
    let story = Story::new(&[]).sees(5, Power::On, &[]).ks_read(60).sees_on(65, 300, &[]);
    let story = story.sees(310, Power::Off, &[]).sees(320, Power::On, &[]).waits();
    story.sees_on(330, 411, &[]).succeeds(Confidence::Probable);
}

#[test]
fn the_trace_shows_a_second_boot_unless_the_bmc_was_away() {
    let mut story = Story::new(&[]).sees(5, Power::On, &[]).ks_read(60).sees_on(65, 400, &[]);
    story.installer.reenumerated_at = Some(at(395));
    story.sees_on(410, 486, &[]).succeeds(Confidence::Probable);
    let mut away = Story::new(&[]).sees(5, Power::On, &[]).ks_read(60).sees_on(65, 200, &[]).silence();
    away.installer.reenumerated_at = Some(at(300));
    away.sees_on(310, 500, &[]).waits();
}

#[test]
fn a_kickstart_read_again_takes_the_second_boot_back() {
    let story = Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]).ks_read(60);
    let mut story = story.sees_on(65, 300, &[(L, T1)]).sees_on(310, 380, &[(L, T2)]);
    story.task.ks_read_again_at = Some(at(385));
    let story = story.sees_on(390, 600, &[(L, T2)]).waits();
    story.sees_on(610, 701, &[(L, "2026-02-01T00:40:00Z")]).succeeds(Confidence::Probable);
}

#[test]
fn a_kickstart_read_that_was_a_copy_takes_the_second_boot_back() {
    let story = Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T0)]).ks_read(20);
    let mut story = story.sees(25, Power::On, &[(L, T0)]).sees(30, Power::On, &[(L, T1)]);
    story.task = MediumTrace { mode: MediaMode::Prefetched, ..MediumTrace::default() };
    story.sees_on(40, 110, &[(L, T1)]).waits().sees(500, Power::On, &[(L, T1)]).waits();
}

#[test]
fn media_that_are_never_read_fail_early() {
    let story = Story::new(&[]).sees_on(5, 1795, &[]).waits();
    let mut story = story.sees(1801, Power::On, &[]);
    story.installer.fault = Some("404".to_owned());
    story.fails("never read CD1");
    story.fails("the last fetch: 404");
}

#[test]
fn a_bmc_whose_fetches_fail_is_given_five_minutes() {
    let mut story = Story::new(&[]).sees_on(5, 340, &[]);
    story.installer.fault = Some("received fatal alert: UnknownCA".to_owned());
    story.installer.fault_at = Some(at(45));
    let story = story.waits().sees(346, Power::On, &[]);
    story.fails("fetches of CD1 fail since the reset (the last fetch: received fatal alert");
    let mut read = story;
    read.installer.first_read_at = Some(at(50));
    read.waits();
}

#[test]
fn a_kickstart_that_is_never_read_fails_early_only_where_media_are_streamed() {
    let story = Story::new(&[]).sees(5, Power::On, &[]).installer_read(60);
    story.sees_on(65, 1255, &[]).waits().sees(1261, Power::On, &[]).fails("waits at a prompt");
    Story::prefetched(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]).sees_on(15, 2000, &[(L, T1)]).waits();
}

#[test]
fn a_kickstart_that_is_never_read_fails_where_the_bmc_fetches_the_installer_elsewhere() {
    let story = Story::new(&[]).direct().sees_on(5, 2995, &[]).waits();
    story.sees(3001, Power::On, &[]).fails("waits at a prompt");
    let story = Story::prefetched(&[(L, T0)]).direct().sees(5, Power::On, &[(L, T1)]);
    let mut copied = story.sees_on(15, 3100, &[(L, T1)]);
    copied.task.mode = MediaMode::Prefetched;
    copied.waits();
}

#[test]
fn a_silence_moves_the_deadlines_and_the_window() {
    let story =
        Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]).ks_read(60).sees_on(65, 300, &[(L, T1)]);
    let story =
        story.silence().sees(4000, Power::On, &[(L, T2)]).waits().sees_on(4010, 4080, &[(L, T2)]).waits();
    story.sees(4091, Power::On, &[(L, T2)]).succeeds(Confidence::Probable);
    let story =
        Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]).ks_read(60).sees_on(65, 300, &[(L, T1)]);
    story.silence().sees(4000, Power::On, &[(L, T1)]).sees_on(4010, 5500, &[(L, T1)]).waits();
}

#[test]
fn a_source_without_memory_loses_its_word_in_a_silence() {
    let story = Story::new(&[(P, "None")]).sees(5, Power::On, &[(P, "OSBootStarted")]).ks_read(60);
    let story =
        story.sees_on(65, 100, &[(P, "OSRunning")]).silence().sees_on(2000, 3000, &[(P, "OSRunning")]);
    story.succeeds(Confidence::Assumed);
}

#[test]
fn the_plain_rule_believes_power() {
    let mut story = Story::new(&[(L, T0)]);
    story.policy.detection = Detection::Power;
    let story = story.sees_on(5, 90, &[(L, T1)]).waits();
    assert_eq!(story.sees(95, Power::On, &[]).succeeds(Confidence::Assumed), [EvidenceKind::PowerStable]);
}

#[test]
fn a_weaker_verdict_than_required_is_not_confirmed() {
    let mut story = Story::new(&[]).sees(5, Power::On, &[]).ks_read(60).sees_on(65, 700, &[]);
    story.policy.min_confidence = Confidence::Probable;
    story.fails("not confirmed");
}

#[test]
fn a_source_that_shows_our_own_start_late_is_not_believed_immediately() {
    let story = Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T0)]).ks_read(60);
    let late = story.sees_on(65, 300, &[(L, T0)]).sees_on(310, 500, &[(L, T1)]).waits();
    late.sees_on(510, 600, &[(L, T2)]).succeeds(Confidence::Probable);
    let story = Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T0)]).ks_read(60);
    let late = story.sees_on(65, 300, &[(L, T0)]).sees_on(310, 760, &[(L, T1)]);
    assert_eq!(late.succeeds(Confidence::Assumed)[0], EvidenceKind::PowerStable, "it is not live either");
}

#[test]
fn vendor_sources_show_a_second_boot() {
    let courses: [(BootSource, [&str; 4]); 3] = [
        (H, ["PowerOff", "InPost", "FinishedPost", "InPost"]),
        (N, ["16", "17", "17", "18"]),
        (S, ["114", "0", "120", "0"]),
    ];
    for (source, [before, start, installing, again]) in courses {
        let story = Story::new(&[(source, before)]).sees(5, Power::On, &[(source, start)]).ks_read(60);
        let story = story.sees_on(65, 300, &[(source, installing)]).waits();
        let kinds = story.sees_on(310, 400, &[(source, again)]).succeeds(Confidence::Probable);
        assert_eq!(kinds[0], EvidenceKind::SecondBoot, "{source:?}");
    }
}

#[test]
fn boots_may_take_the_same_time_so_its_measure_makes_nothing_live() {
    let story = Story::new(&[(S, "114")]).sees(5, Power::On, &[(S, "0")]).ks_read(60);
    story.sees_on(65, 661, &[(S, "120")]).succeeds(Confidence::Assumed);
    let counter = Story::new(&[(N, "16")]).sees(5, Power::On, &[(N, "17")]).ks_read(60);
    counter.sees_on(65, 661, &[(N, "17")]).waits();
}

/// With its times `BootProgress` shows a boot that ended where the last one had been, and of none at
/// all; a later stage than the last one may be of either boot.
#[test]
fn a_progress_that_went_on_in_a_silence_loses_its_word() {
    let booting = [(P, "OSBootStarted@2026-02-01T00:01:00Z")];
    let before = Story::new(&[(P, "None")]).sees(5, Power::On, &booting).ks_read(60);
    let away = |then| before.clone().sees_on(65, 100, &booting).silence().sees_on(9000, 9900, &[(P, then)]);
    away("OSBootStarted@2026-02-01T00:01:00Z").waits();
    away("OSBootStarted@2026-02-01T00:40:00Z").succeeds(Confidence::Probable);
    away("OSRunning@2026-02-01T00:41:00Z").succeeds(Confidence::Assumed);
}

#[test]
fn post_state_loses_its_word_in_a_silence_and_a_counter_does_not() {
    let watched = |source, before, start, later| {
        let story = Story::new(&[(source, before)]).sees(5, Power::On, &[(source, start)]).ks_read(60);
        story.sees_on(65, 100, &[(source, later)]).silence().sees_on(2000, 3000, &[(source, later)])
    };
    watched(H, "PowerOff", "InPost", "FinishedPost").succeeds(Confidence::Assumed);
    watched(N, "16", "17", "17").waits();
}

#[test]
fn evidence_of_the_last_moment_has_its_window() {
    let story = Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]).ks_read(60);
    let story = story.sees_on(65, 5380, &[(L, T1)]).sees_on(5390, 5470, &[(L, T2)]).waits();
    story.sees(5481, Power::On, &[(L, T2)]).succeeds(Confidence::Probable);
}
