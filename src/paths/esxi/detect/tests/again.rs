//! Hosts that install again, and answers from another host.

use super::*;

const L: BootSource = BootSource::LastResetTime;
const T: [&str; 4] =
    ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z"];

fn in_first_run() -> Story {
    let story = Story::new(&[(L, T[0])]).sees(5, Power::On, &[(L, T[1])]).ks_read(60);
    story.sees_on(65, 300, &[(L, T[1])])
}

fn first_run() -> Story {
    in_first_run().sees(310, Power::On, &[(L, T[2])])
}

fn second_run() -> Story {
    let mut story = first_run();
    story.installer.reenumerated_at = Some(at(340));
    story.task.ks_read_again_at = Some(at(360));
    story.sees_on(370, 600, &[(L, T[2])])
}

fn is_between_runs(story: &Story) -> bool {
    reinstalls_and_is_between_runs(&story.watch, &story.context())
}

#[test]
fn a_host_is_between_two_runs_when_it_boots_again_after_it_read_its_kickstart_again() {
    assert!(!is_between_runs(&first_run()), "one boot is what an installation ends with");
    assert!(!is_between_runs(&second_run().waits()), "the second run goes on");
    let ended = second_run().sees(610, Power::On, &[(L, T[3])]).waits();
    assert!(is_between_runs(&ended));
    ended.sees(710, Power::On, &[(L, T[3])]).succeeds(Confidence::Probable);
    let mut by_reads = second_run();
    by_reads.installer.reenumerated_at = Some(at(640));
    assert!(is_between_runs(&by_reads));
    by_reads.task.ks_read_again_at = Some(at(650));
    assert!(!is_between_runs(&by_reads), "the third run goes on");
}

#[test]
fn a_boot_between_two_looks_that_also_hold_the_kickstarts_read_led_to_that_read() {
    for before in [first_run(), in_first_run()] {
        let mut story = before.silence();
        story.installer.reenumerated_at = Some(at(340));
        story.task.ks_read_again_at = Some(at(360));
        let second = story.sees(900, Power::On, &[(L, T[3])]).waits();
        assert!(!is_between_runs(&second), "the second run goes on, and was not seen to begin");
        let after = "2026-01-05T00:00:00Z";
        let ended = second.sees_on(910, 1200, &[(L, T[3])]).sees(1210, Power::On, &[(L, after)]);
        assert!(is_between_runs(&ended));
    }
}

#[test]
fn a_bmc_that_is_silent_after_each_boot_does_not_put_the_end_off_without_end() {
    let mut story = first_run();
    let mut now = 310;
    let minutes = i64::try_from(story.policy.install_timeout.as_secs() / 60).unwrap();
    story.installer.reenumerated_at = Some(at(340));
    while now < minutes * 60 * 2 + 600 {
        story.task.ks_read_again_at = Some(at(now + 50));
        now += 180;
        story = story.silence().sees(now, Power::On, &[(L, T[2])]);
    }
    assert!(matches!(story.judged(), Judgement::Failed { .. }), "{:?}", story.judged());
}

#[test]
fn an_answer_is_no_proof_while_a_live_source_shows_no_second_boot() {
    let new = Some((BUILD, "bb"));
    let live = Story::new(&[(L, T[0])]).sees(5, Power::On, &[(L, T[1])]).ks_read(60);
    live.sees_on(65, 600, &[(L, T[1])]).api(None, 605, new).sees_on(610, 800, &[(L, T[1])]).waits();
    let stuck = Story::new(&[(L, T[0])]).sees(5, Power::On, &[(L, T[0])]).ks_read(60);
    stuck
        .api(Some(("1", "aa")), 62, None)
        .api_silent(63, 73)
        .sees_on(65, 600, &[(L, T[0])])
        .api(None, 605, new)
        .sees_on(610, 800, &[(L, T[0])])
        .succeeds(Confidence::Proven);
}

#[test]
fn an_answer_before_the_kickstart_was_read_is_too_early() {
    let early = |story: Story| is_too_early_to_answer(&story.watch, &story.context());
    let started = || Story::new(&[]).sees(5, Power::On, &[]);
    assert!(early(started().api(None, 10, None)));
    assert!(!early(started()), "there is no address");
    assert!(!early(started().api(Some(("1", "aa")), 10, None)), "who answers there is known");
    assert!(!early(started().ks_read(60).api(None, 70, None)));
    assert!(!early(Story::prefetched(&[]).api(None, 10, None)), "the host's progress is unknown");
}

#[test]
fn a_first_look_after_the_kickstarts_read_makes_a_source_live_while_no_second_boot_can_have_been() {
    let first_seen_at = |ks, secs| Story::new(&[(L, T[0])]).ks_read(ks).sees_on(secs, 1200, &[(L, T[1])]);
    first_seen_at(34, 50).waits();
    first_seen_at(34, 119).waits();
    first_seen_at(34, 130).succeeds(Confidence::Assumed);
    // Sooner than ESXI_PROOF_FLOOR after that read.
    first_seen_at(100, 150).waits();
    first_seen_at(100, 160).succeeds(Confidence::Assumed);
}

/// The host crashes while it installs, and its firmware boots the installer again: the boot that was seen is taken
/// back, and a second one would be seen.
#[test]
fn a_progress_that_went_on_after_a_second_boot_keeps_its_word() {
    let progress = |state, minute| format!("{state}@2026-01-01T00:{minute}:00Z");
    let [started, post, loader] =
        [("OSBootStarted", "00"), ("MemoryInitializationStarted", "10"), ("OSBootStarted", "11")]
            .map(|(state, minute)| progress(state, minute));
    let mut story = Story::new(&[(P, "None")]).sees(5, Power::On, &[(P, &started)]).ks_read(60);
    story = story.sees_on(65, 600, &[(P, &started)]).sees(601, Power::On, &[(P, &post)]);
    assert!(story.watch.second_boot.is_some());
    story.last = None;
    story = story.sees(631, Power::On, &[(P, &loader)]);
    story.task.ks_read_again_at = Some(at(640));
    story.sees_on(641, 3000, &[(P, &loader)]).waits();
}

/// Reads of an installer that the BMC fetches from elsewhere are not seen, and the system on the host's
/// disk may have read CD2.
#[test]
fn an_override_that_we_cleared_unused_leaves_no_more_than_assumed() {
    let story = |used: bool| {
        let mut story = Story::new(&[]).direct().sees(5, Power::On, &[]).ks_read(60);
        story.installer = MediumTrace::default();
        assert!(!shows_a_used_override(&story.watch, &story.context()));
        story.watch.disarmed_unused = !used;
        story.sees_on(65, 300, &[]).sees(310, Power::Off, &[]).sees_on(320, 420, &[])
    };
    story(true).succeeds(Confidence::Probable);
    assert_eq!(story(false).succeeds(Confidence::Assumed)[0], EvidenceKind::SecondBoot);
    let mut hooked = story(false);
    hooked.hook = CompletionHook::Poweroff;
    hooked.task.nonce_read_at = Some(at(425));
    let hooked = hooked.sees(430, Power::Off, &[]).sees(521, Power::Off, &[]);
    hooked.succeeds(Confidence::Proven);
    let live = Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]);
    assert!(shows_a_used_override(&live.watch, &live.context()));
}

/// A boot that came and went between two looks of ten seconds and more leaves a later stage behind.
#[test]
fn a_progress_that_went_on_between_two_distant_looks_loses_its_word() {
    let story = |pause: i64| {
        let story = Story::new(&[(P, "None")]).sees(5, Power::On, &[(P, "OSBootStarted")]).ks_read(60);
        let mut story = story.sees_on(65, 300, &[(P, "OSBootStarted")]);
        story.policy.poll_interval = Duration::from_secs(30);
        story.last = None;
        story.sees_on(300 + pause, 1000, &[(P, "OSRunning")])
    };
    story(9).waits();
    assert_eq!(story(12).succeeds(Confidence::Assumed)[0], EvidenceKind::PowerStable);
}

#[test]
fn what_keeps_no_record_is_said_not_to_have_shown_a_boot_and_is_looked_at_more_often() {
    let pause = |story: &Story, secs| {
        pause_max(&story.watch, &story.context(), at(secs)).map(|pause| pause.as_secs())
    };
    let story = |source, start: &str| {
        Story::new(&[(source, "None")]).sees(5, Power::On, &[(source, start)]).ks_read(60).sees(
            70,
            Power::On,
            &[(source, start)],
        )
    };
    let progress = story(P, "OSBootStarted");
    assert_eq!(
        (pause(&progress, 70), pause(&progress, 359), pause(&progress, 361)),
        (Some(1), Some(1), Some(5))
    );
    let shown = story(P, "OSRunning@2026-02-01T00:00:00Z");
    assert_eq!(pause(&shown, 70), None);
    let mut counter =
        Story::new(&[(N, "16")]).sees(5, Power::On, &[(N, "17"), (P, "OSBootStarted")]).ks_read(60);
    assert_eq!(pause(&counter, 70), None);
    counter.hook = CompletionHook::Poweroff;
    assert_eq!(pause(&counter, 70), Some(20));
    let never = progress.sees_on(75, 5401, &[(P, "OSBootStarted")]);
    never.fails("BootProgress, which keeps no record of one: a boot shorter than the 10 s between two looks");
}

/// Where the reads show nothing, a boot counts from two minutes on.
#[test]
fn a_boot_that_came_too_early_to_count_is_not_denied() {
    let story = Story::prefetched(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]).sees(30, Power::On, &[(L, T2)]);
    story.sees_on(35, 5401, &[(L, T2)]).fails("an earlier one counts as the firmware's own");
}
