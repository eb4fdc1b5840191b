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
