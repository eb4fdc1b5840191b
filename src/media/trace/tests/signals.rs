//! The medium of a Linux or Windows job: its recipe, the extent that its agent reads when it starts, and the two of which
//! it reads one at its end.

use super::*;
use crate::domain::MediumReport;

/// The recipe lies in the kickstart's place, this one in the nonce's.
const SUCCESS: Range<u64> = NONCE;
const FAILURE: Range<u64> = SUCCESS.end + 4 * MIB..SUCCESS.end + 4 * MIB + 2 * KIB;
const STARTED: Range<u64> = FAILURE.end + 4 * MIB..FAILURE.end + 4 * MIB + 2 * KIB;

fn seen(acts: &[Do]) -> MediumTrace {
    let mut bench = TraceBench::with_signals([Some(SUCCESS), Some(FAILURE), Some(STARTED)]);
    acts.iter().for_each(|act| bench.play(act));
    bench.trace.seen(Task).clone()
}

/// What is reported after `acts`, and when.
fn reported(acts: &[Do]) -> Option<(MediumReport, i64)> {
    seen(acts).reported().map(|(report, at)| (report, at.as_second() - 1_800_000_000))
}

/// When the agent started, in seconds, if `acts` follow the recipe's read.
fn started(acts: &[Do]) -> Option<i64> {
    let started_at = seen(&with(install(), acts)).started_read_at;
    started_at.map(|at| at.as_second() - 1_800_000_000)
}

fn after_recipe(acts: &[Do]) -> Option<(MediumReport, i64)> {
    reported(&with(install(), acts))
}

const SUCCESS_AT_500: Option<(MediumReport, i64)> = Some((MediumReport::Success, 500));
const FAILURE_AT_500: Option<(MediumReport, i64)> = Some((MediumReport::Failure, 500));

#[test]
fn the_one_extent_that_is_read_after_the_recipe_is_the_report() {
    assert_eq!(after_recipe(&[]), None);
    for (extent, report) in [(SUCCESS, SUCCESS_AT_500), (FAILURE, FAILURE_AT_500)] {
        let read = Part(500, Task, extent.clone());
        assert_eq!(after_recipe(&[read.clone(), Part(510, Task, extent.clone())]), report);
        assert_eq!(after_recipe(&[read.clone(), Crash(510)]), report);
        let without_recipe: Vec<Do> =
            install().into_iter().filter(|act| !matches!(act, Part(_, Task, at) if *at == KS)).collect();
        assert_eq!(reported(&with(without_recipe, std::slice::from_ref(&read))), None);
        let ahead = Part(500, Task, extent.start - MIB..extent.end + MIB);
        assert_eq!(after_recipe(&[ahead]), report, "a read-ahead is no copy");
        let before_reset: Vec<Do> = install().into_iter().skip(1).chain([read, Reset(600)]).collect();
        assert_eq!(reported(&before_reset), None);
    }
}

/// The system reads it between its recipe and its report, and again where it was when the controller was away.
#[test]
fn an_image_behind_the_signals_changes_nothing() {
    let image = STARTED.end + 4 * MIB..STARTED.end + 404 * MIB;
    for (extent, report) in [(SUCCESS, SUCCESS_AT_500), (FAILURE, FAILURE_AT_500)] {
        let mut bench = TraceBench::with_signals([Some(SUCCESS), Some(FAILURE), Some(STARTED)]);
        bench.image_bytes = 400 * MIB;
        bench.publish(at(0));
        let half = image.start + 200 * MIB;
        let reads = [
            Part(300, Task, image.start..half),
            Crash(350),
            Part(400, Task, half - MIB..image.end),
            Part(500, Task, extent),
        ];
        with(install(), &reads).iter().for_each(|act| bench.play(act));
        let seen = bench.trace.seen(Task);
        let reported = seen.reported().map(|(report, at)| (report, at.as_second() - 1_800_000_000));
        assert_eq!((reported, seen.mode, seen.ks_read_again_at), (report, MediaMode::Streamed, None));
    }
}

#[test]
fn a_host_that_reads_both_extents_reports_nothing() {
    let [success, failure] = [SUCCESS, FAILURE].map(|extent| Part(500, Task, extent));
    assert_eq!(after_recipe(&[success.clone(), failure.clone()]), None);
    assert_eq!(after_recipe(&[failure.clone(), success.clone()]), None);
    assert_eq!(after_recipe(&[success, Crash(510), failure]), None);
}

#[test]
fn a_copy_of_the_medium_reports_nothing() {
    let end = STARTED.end + 4 * MIB;
    assert_eq!(after_recipe(&[Whole(500, Task, end)]), None);
    assert_eq!(after_recipe(&[Part(500, Task, 0..end)]), None);
    assert_eq!(after_recipe(&[Part(500, Task, KS.start..SUCCESS.end)]), None, "broken off after the first");
    let backwards = [Part(500, Task, FAILURE), Part(510, Task, SUCCESS.end..FAILURE.start)];
    assert_eq!(after_recipe(&backwards), None);
    assert_eq!(after_recipe(&[&backwards[..], &[Crash(520), Part(530, Task, FAILURE)]].concat()), None);
    let early = [Reset(10), Part(20, Task, 0..end), Part(600, Task, KS), Part(700, Task, SUCCESS)];
    assert_eq!(reported(&early), None, "it was fetched whole before the host could have read it");
}

#[test]
fn a_gap_read_spoils_only_the_extent_behind_it() {
    let gap = Part(490, Task, SUCCESS.end..FAILURE.start);
    assert_eq!(after_recipe(&[gap.clone(), Part(500, Task, FAILURE)]), None);
    assert_eq!(after_recipe(&[gap, Part(500, Task, SUCCESS)]), SUCCESS_AT_500);
}

#[test]
fn a_copy_made_a_minute_later_takes_no_report_back() {
    let copy = Part(560, Task, 0..FAILURE.end + 4 * MIB);
    assert_eq!(after_recipe(&[Part(500, Task, SUCCESS), copy.clone()]), SUCCESS_AT_500);
    let sooner = Part(559, Task, 0..FAILURE.end + 4 * MIB);
    assert_eq!(after_recipe(&[Part(500, Task, SUCCESS), sooner]), None);
}

#[test]
fn the_agent_has_started_if_its_extent_is_read_after_the_recipe_and_before_a_result() {
    let read = Part(500, Task, STARTED);
    assert_eq!(started(std::slice::from_ref(&read)), Some(500));
    assert_eq!(started(&[read.clone(), Crash(510), Part(600, Task, SUCCESS)]), Some(500));
    let result = after_recipe(&[read.clone(), Part(600, Task, FAILURE)]);
    assert_eq!(result, Some((MediumReport::Failure, 600)));
    let without_recipe: Vec<Do> =
        install().into_iter().filter(|act| !matches!(act, Part(_, Task, at) if *at == KS)).collect();
    assert_eq!(seen(&with(without_recipe, std::slice::from_ref(&read))).started_read_at, None);
    for signal in [SUCCESS, FAILURE] {
        assert_eq!(started(&[Part(490, Task, signal.clone()), read.clone()]), None, "it reads all files");
        assert_eq!(started(&[Part(490, Task, signal), Crash(495), read.clone()]), None);
    }
}

#[test]
fn a_copy_of_the_medium_starts_no_agent() {
    let end = STARTED.end + 4 * MIB;
    assert_eq!(started(&[Whole(500, Task, end)]), None);
    assert_eq!(started(&[Part(500, Task, KS.start..STARTED.end)]), None);
    let backwards = [Part(500, Task, STARTED), Part(510, Task, FAILURE.end..STARTED.start)];
    assert_eq!(started(&backwards), None);
    assert_eq!(started(&[&backwards[..], &[Crash(520), Part(530, Task, STARTED)]].concat()), None);
    let later = [Part(500, Task, STARTED), Part(600, Task, FAILURE.end..STARTED.start)];
    assert_eq!(started(&later), Some(500), "a minute later it takes nothing back");
}
