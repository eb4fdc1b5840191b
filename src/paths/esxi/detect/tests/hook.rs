//! Installers that report completion: by powering off, or by their webhook.

use super::*;

#[test]
fn our_own_hook_is_proven_by_the_nonce_and_probable_without_it() {
    let off = |nonce: Option<i64>| {
        let mut story = Story::new(&[]).sees(5, Power::On, &[]).ks_read(60).sees_on(65, 300, &[]);
        story.hook = CompletionHook::Poweroff;
        story.task.nonce_read_at = nonce.map(at);
        story.sees(310, Power::Off, &[]).waits().sees(401, Power::Off, &[])
    };
    let kinds = off(Some(305)).succeeds(Confidence::Proven);
    assert_eq!(kinds, [EvidenceKind::InstallerHook, EvidenceKind::KickstartRead]);
    off(None).succeeds(Confidence::Probable);
    off(Some(50)).succeeds(Confidence::Probable);
    let mut blind = Story::prefetched(&[]).sees(5, Power::On, &[]).sees_on(10, 300, &[]);
    blind.hook = CompletionHook::Poweroff;
    blind.sees(310, Power::Off, &[]).sees(401, Power::Off, &[]).succeeds(Confidence::Probable);
}

/// A kickstart's own `%pre` may copy the medium, and an operator may press the power button.
#[test]
fn a_nonce_that_was_read_too_early_or_long_before_the_host_went_off_is_probable() {
    let hooked = || {
        let mut story = Story::new(&[]).sees(5, Power::On, &[]).ks_read(60);
        story.hook = CompletionHook::Poweroff;
        story
    };
    let off = |nonce: i64, off: i64| {
        let mut story = hooked();
        story.task.nonce_read_at = Some(at(nonce));
        story.sees_on(65, off - 10, &[]).sees(off, Power::Off, &[]).sees(off + 91, Power::Off, &[])
    };
    off(120, 170).succeeds(Confidence::Proven);
    off(119, 170).succeeds(Confidence::Probable);
    off(240, 300).succeeds(Confidence::Proven);
    off(239, 300).succeeds(Confidence::Probable);
    let mut quick = off(65, 75);
    quick.policy.proof_floor = Duration::from_secs(5);
    quick.succeeds(Confidence::Proven);
}

/// The unobserved time is not held against the hook: the host may have gone off at the beginning of it.
#[test]
fn a_silence_between_the_nonce_and_the_power_off_does_not_count() {
    let story = |last_on: i64| {
        let mut story = Story::new(&[]).sees(5, Power::On, &[]).ks_read(60);
        story.hook = CompletionHook::Poweroff;
        story.task.nonce_read_at = Some(at(305));
        story.sees_on(65, last_on, &[]).silence().sees(4000, Power::Off, &[]).sees(4091, Power::Off, &[])
    };
    story(300).succeeds(Confidence::Proven);
    story(360).succeeds(Confidence::Proven);
    story(370).succeeds(Confidence::Probable);
}

#[test]
fn a_poweroff_that_failed_leaves_the_second_boot() {
    let mut story = Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]).ks_read(60);
    story.hook = CompletionHook::Poweroff;
    story.task.nonce_read_at = Some(at(305));
    story.sees_on(65, 310, &[(L, T1)]).sees_on(320, 420, &[(L, T2)]).succeeds(Confidence::Probable);
}

fn reported(secs: i64, succeeded: bool) -> Story {
    let mut story = Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]).ks_read(60);
    story.hook = CompletionHook::Webhook;
    story.watch.hook = Some(HookReport { at: at(secs), succeeded });
    story
}

#[test]
fn the_installers_own_call_proves_it_once_power_is_stable() {
    let story = reported(300, true).sees_on(65, 385, &[(L, T1)]).waits();
    let kinds = story.sees(391, Power::On, &[(L, T2)]).succeeds(Confidence::Proven);
    assert_eq!(&kinds[..2], [EvidenceKind::InstallerHook, EvidenceKind::SecondBoot]);
    reported(300, false).sees_on(65, 310, &[(L, T1)]).fails("reported by its webhook that it failed");
}

/// Where the reads show nothing, the next run may have begun, unless there is nothing to begin it from.
#[test]
fn behind_a_bmc_that_copies_its_media_a_report_is_proof_if_they_were_out_in_time() {
    let story = |out: Option<i64>, by_us: bool| {
        let mut story = Story::prefetched(&[]).sees(5, Power::On, &[]).sees_on(10, 300, &[]);
        story.hook = CompletionHook::Webhook;
        story.watch.hook = Some(HookReport { at: at(300), succeeded: true });
        story.watch.loop_ended_at = out.map(at);
        story.watch.loop_ejects = u32::from(by_us);
        story.sees_on(305, 391, &[])
    };
    story(Some(315), true).succeeds(Confidence::Proven);
    story(Some(380), false).succeeds(Confidence::Proven);
    story(Some(340), true).succeeds(Confidence::Probable);
    story(None, true).succeeds(Confidence::Probable);
}

/// The installed system's answer is worth more than such a report, and waited for.
#[test]
fn a_report_that_proves_nothing_leaves_the_word_to_the_installed_system() {
    let mut story = Story::prefetched(&[]).sees(5, Power::On, &[]).sees_on(10, 300, &[]);
    story.hook = CompletionHook::Webhook;
    story.watch.hook = Some(HookReport { at: at(300), succeeded: true });
    let unanswered =
        story.api(Some(("1", "aa")), 290, None).api_silent(291, 301).sees_on(305, 500, &[]).waits();
    let kinds = unanswered.api(Some(("1", "aa")), 505, Some((BUILD, "bb"))).sees_on(510, 600, &[]);
    assert_eq!(kinds.succeeds(Confidence::Proven)[0], EvidenceKind::OsApi);
}

#[test]
fn a_host_that_goes_off_after_its_proof_is_installed_all_the_same() {
    let story = reported(300, true).sees_on(65, 310, &[(L, T1)]);
    story.sees(320, Power::Off, &[]).waits().sees(411, Power::Off, &[]).succeeds(Confidence::Proven);
}

#[test]
fn a_report_from_before_the_kickstart_was_read_again_is_of_another_run() {
    let mut story = reported(300, true).sees_on(65, 310, &[(L, T1)]);
    story.task.ks_read_again_at = Some(at(315));
    story.sees_on(320, 700, &[(L, T1)]).waits();
}
