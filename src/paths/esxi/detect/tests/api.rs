//! The installed system at its management address: when its answer is proof, and when it may be another host's.

use super::*;

#[test]
fn the_installed_system_itself_is_proof() {
    let started = || Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]);
    let read = || started().ks_read(60).sees_on(65, 600, &[(L, T1)]);
    let (old, new, other) = (Some(("1", "aa")), Some((BUILD, "bb")), Some(("1", "bb")));
    let proven = read().api(None, 605, new).sees_on(610, 700, &[(L, T2)]);
    assert_eq!(proven.succeeds(Confidence::Proven)[0], EvidenceKind::OsApi);
    assert_eq!(proven.installed(), Some("bb"));
    let renewed = || read().api(old, 1, None).api_silent(20, 30);
    renewed().api(old, 605, new).sees_on(610, 700, &[(L, T2)]).succeeds(Confidence::Proven);
    renewed().api(old, 605, other).sees_on(610, 700, &[(L, T1)]).waits();
    read().api(Some((BUILD, "bb")), 605, new).sees_on(610, 800, &[(L, T1)]).waits();
    let mut unread = started().sees_on(65, 600, &[(L, T1)]).installer_read(60);
    unread.policy.ks_timeout = Duration::from_secs(5000);
    unread.api(None, 605, new).sees_on(610, 700, &[(L, T1)]).waits();
}

#[test]
fn another_certificate_before_the_reset_replaces_an_unseen_read_of_the_kickstart() {
    let blind = || Story::prefetched(&[]).sees(5, Power::On, &[]).sees_on(10, 300, &[]);
    let new = Some((BUILD, "bb"));
    let before = blind().api(Some(("1", "aa")), 1, None).api_silent(20, 30);
    before.api(None, 305, new).sees_on(310, 400, &[]).succeeds(Confidence::Proven);
    blind().api(None, 305, new).sees_on(310, 500, &[]).waits();
}

/// Another host, of the same build, that is up all the time and whose certificate is renewed.
#[test]
fn an_address_that_never_fell_silent_is_worth_probable_once_an_installation_can_be_over() {
    let same = Some((BUILD, "aa"));
    let story = |silent: Option<(i64, i64)>| {
        let story =
            Story::new(&[]).sees(5, Power::On, &[]).ks_read(60).sees_on(65, 300, &[]).api(same, 1, None);
        let story = match silent {
            Some((from, until)) => story.api_silent(from, until),
            None => story,
        };
        story.api(None, 305, Some((BUILD, "bb")))
    };
    story(Some((20, 30))).sees_on(310, 400, &[]).succeeds(Confidence::Proven);
    for brief in [None, Some((20, 29)), Some((400, 410))] {
        let story = story(brief).sees_on(310, 650, &[]).waits();
        let story = story.sees(661, Power::On, &[]);
        assert_eq!(story.succeeds(Confidence::Probable)[0], EvidenceKind::OsApi, "{brief:?}");
        assert_eq!(story.installed(), None, "it may be another host's certificate: {brief:?}");
    }
}

/// Another host comes up in the middle of the installation.
#[test]
fn an_answer_that_comes_sooner_than_an_installation_takes_is_probable() {
    let story = |secs| {
        let story =
            Story::new(&[]).sees(5, Power::On, &[]).api(Some(("1", "aa")), 1, None).api_silent(20, 30);
        let story = story.ks_read(60).sees_on(65, secs - 5, &[]);
        story.api(None, secs, Some((BUILD, "bb"))).sees_on(secs + 5, 1000, &[])
    };
    story(239).succeeds(Confidence::Probable);
    story(240).succeeds(Confidence::Proven);
    let mut quick = story(70);
    quick.policy.proof_floor = Duration::from_secs(3);
    quick.succeeds(Confidence::Proven);
    // A second boot says that the installation was over by then.
    let booted =
        Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]).ks_read(60).sees_on(65, 140, &[(L, T1)]);
    let booted = booted.sees(150, Power::On, &[(L, T2)]).api(None, 155, Some((BUILD, "bb")));
    booted.sees_on(160, 250, &[(L, T2)]).succeeds(Confidence::Proven);
}

/// There was no answer before the reset, and another host may come up however late.
#[test]
fn an_answer_that_nothing_ties_to_this_host_is_probable() {
    let story = |booted: bool| {
        let story = Story::new(&[]).sees(5, Power::On, &[]).ks_read(60).sees_on(65, 600, &[]);
        let story = if booted { story.sees(610, Power::Off, &[]).sees(620, Power::On, &[]) } else { story };
        story.api(None, 800, Some((BUILD, "bb"))).sees_on(805, 1000, &[])
    };
    assert_eq!(story(false).succeeds(Confidence::Probable)[0], EvidenceKind::OsApi);
    assert_eq!(story(true).succeeds(Confidence::Proven)[0], EvidenceKind::OsApi);
}

/// Another host was starting when the address was asked, and starts again: no certificate of before shows that it is the
/// same (sweep, seed 1850).
#[test]
fn a_silence_after_an_unclear_answer_ties_nothing_to_this_host() {
    let story = Story::new(&[]).sees(5, Power::On, &[]).api_unclear().api_silent(20, 30).ks_read(60);
    let story = story.sees_on(65, 600, &[]).api(None, 800, Some((BUILD, "bb"))).sees_on(805, 1000, &[]);
    assert_eq!(story.succeeds(Confidence::Probable)[0], EvidenceKind::OsApi);
}

/// One of two hosts behind a name is down: every other request fails to connect.
#[test]
fn an_address_that_falls_silent_within_the_window_is_probable() {
    let story = |silences: bool| {
        let story =
            Story::new(&[]).sees(5, Power::On, &[]).api(Some(("1", "aa")), 1, None).api_silent(20, 30);
        let mut story = story.ks_read(60).sees_on(65, 600, &[]).api(None, 610, Some((BUILD, "bb")));
        for secs in (620..1800).step_by(40) {
            story = if silences { story.api_silent(secs, secs) } else { story };
            story = story.sees(secs + 20, Power::On, &[]);
        }
        story
    };
    assert_eq!(story(true).succeeds(Confidence::Probable)[0], EvidenceKind::OsApi);
    story(false).succeeds(Confidence::Proven);
}

/// Its answers are worth no more than a wrong one's, and hold nothing up.
#[test]
fn a_name_that_leads_to_two_hosts_alternately_is_probable() {
    for before in [None, Some(("1", "old"))] {
        let mut story =
            Story::new(&[]).sees(5, Power::On, &[]).ks_read(60).sees_on(65, 300, &[]).api(before, 1, None);
        story = story.api_silent(20, 30);
        for secs in (310..1000).step_by(20) {
            story = story.api(None, secs, Some((BUILD, "bb"))).sees(secs, Power::On, &[]);
            let other = before.unwrap_or((BUILD, "cc"));
            story = story.api(None, secs + 10, Some(other)).sees(secs + 10, Power::On, &[]);
        }
        let kinds = story.succeeds(Confidence::Probable);
        assert_eq!(kinds[0], EvidenceKind::OsApi);
    }
}

/// One certificate has to be seen at both ends of the window.
#[test]
fn an_answer_that_is_not_given_again_is_waited_for() {
    let booted =
        Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]).ks_read(60).sees_on(65, 600, &[(L, T1)]);
    let once = booted.api(None, 605, Some((BUILD, "bb"))).api(None, 606, None).sees_on(610, 720, &[(L, T2)]);
    let again = once.waits().api(None, 725, Some((BUILD, "bb")));
    again.sees(730, Power::On, &[(L, T2)]).succeeds(Confidence::Proven);
}

#[test]
fn a_weaker_word_waits_for_the_installed_system_within_a_limit() {
    let booted = |then| {
        let story = Story::new(&[(L, T0)]).sees(5, Power::On, &[(L, T1)]).ks_read(60);
        story.sees_on(65, 300, &[(L, T1)]).api(Some(("7", "aa")), 305, then).sees_on(310, 500, &[(L, T2)])
    };
    booted(None).waits().sees(1220, Power::On, &[(L, T2)]).succeeds(Confidence::Probable);
    let why = |story: &Story| match story.judged() {
        Judgement::Wait { why, .. } => why,
        other => panic!("{other:?}"),
    };
    assert!(why(&booted(None)).contains("to answer at its management address"));
    assert!(why(&booted(Some(("7", "aa")))).contains("a host of build 7 answers"));
    assert!(why(&booted(Some((BUILD, "aa")))).contains("is the address right?"));
    let mut short = booted(None).waits();
    short.policy.install_timeout = Duration::from_secs(600);
    short.sees(600, Power::On, &[(L, T2)]).succeeds(Confidence::Probable);
}
