//! The next deadline of a wait.

use super::*;
use crate::domain::DeadlineKind::{InstallationEnd, InstallerRead, KickstartRead};

#[track_caller]
fn check(story: &Story, kind: DeadlineKind, secs: i64) {
    let expected = Deadline { kind, at: at(secs) };
    assert_eq!(next_deadline(&story.watch, &story.context()), expected);
}

#[test]
fn the_next_deadline_is_that_of_what_has_not_been_seen_yet() {
    let minutes = |minutes: i64| 60 * minutes;
    let story = Story::new(&[]);
    check(&story, InstallerRead, minutes(30));
    let story = story.installer_read(100);
    check(&story, KickstartRead, 100 + minutes(20));
    check(&story.clone().ks_read(200), InstallationEnd, minutes(90));
    check(&Story::prefetched(&[]), InstallationEnd, minutes(90));
    check(&Story::new(&[]).direct(), KickstartRead, minutes(50));
    // No early deadline is shown that the whole one precedes.
    check(&story.installer_read(minutes(80)), InstallationEnd, minutes(90));
}

/// Clocks are set between two controllers: nothing says how much of that time has passed.
#[test]
fn the_time_without_a_controller_moves_the_deadline_however_often() {
    let hours = |hours: i64| 3600 * hours;
    let mut story = Story::new(&[]).installer_read(10).ks_read(20).sees_on(5, 100, &[]);
    for away in 1..=4 {
        let back = 100 + hours(2 * away);
        story = story.taken_up(back).sees_on(back, back, &[]);
        check(&story, InstallationEnd, 60 * 90 + hours(2 * away));
    }
    // The silence of a BMC counts to a limit only.
    let back = 100 + hours(8);
    for silent in 1..=4 {
        story = story.silence().sees(back + hours(silent), Power::On, &[]);
    }
    check(&story, InstallationEnd, 60 * 90 + hours(8) + 60 * 90);
}
