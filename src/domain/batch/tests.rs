//! The plan of a batch, limit by limit, and for all of them together.

use super::*;

const TIMEOUT: i64 = 7_200;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(secs).unwrap()
}

fn row(state: RowState) -> PlannedRow {
    PlannedRow { state, labels: BTreeMap::new(), acknowledged: false }
}

fn rows(states: &[RowState]) -> Vec<PlannedRow> {
    states.iter().map(|state| row(*state)).collect()
}

fn in_rack(state: RowState, rack: &str) -> PlannedRow {
    PlannedRow { labels: BTreeMap::from([("rack".to_owned(), rack.to_owned())]), ..row(state) }
}

const WAITING: RowState = RowState::Waiting;
const RUNNING: RowState = RowState::Running { since: Timestamp::UNIX_EPOCH };

fn halted(plan: &BatchPlan) -> &str {
    match &plan.end {
        Some(BatchEnd::Halted(why)) => why,
        end => panic!("not halted: {end:?}"),
    }
}

#[test]
fn without_limits_all_rows_start_immediately() {
    let plan = plan(&BatchLimits::default(), &rows(&[WAITING, RUNNING, WAITING]), at(1));
    assert_eq!((plan.start, plan.end), (vec![0, 2], None));
}

#[test]
fn max_parallel_counts_what_runs_and_what_starts() {
    let limits = BatchLimits { max_parallel: Some(3), ..BatchLimits::default() };
    let plan = plan(&limits, &rows(&[RUNNING, RowState::Failed, WAITING, WAITING, WAITING]), at(1));
    assert_eq!(plan.start, [2, 3]);
    assert_eq!(plan.waits_for.as_deref(), Some("max_parallel: 3 rows are running"));
}

#[test]
fn a_row_that_hangs_gives_its_place_up_after_its_time() {
    let limits = BatchLimits { max_parallel: Some(1), ..BatchLimits::default() };
    let rows = rows(&[RUNNING, WAITING]);
    let before = plan(&limits, &rows, at(TIMEOUT - 1));
    assert_eq!((before.start, before.look_at), (vec![], Some(at(TIMEOUT))));
    assert_eq!(plan(&limits, &rows, at(TIMEOUT)).start, [1]);
}

#[test]
fn the_canary_must_succeed_before_others_start() {
    let limits = BatchLimits { canary: 2, ..BatchLimits::default() };
    let start = |states: &[RowState]| plan(&limits, &rows(states), at(1)).start;
    assert_eq!(start(&[WAITING, WAITING, WAITING, WAITING]), [0, 1]);
    assert_eq!(start(&[RowState::Succeeded, RUNNING, WAITING, WAITING]), [0_usize; 0]);
    assert_eq!(start(&[RowState::Succeeded, RowState::Cancelled, WAITING, WAITING]), [2]);
    assert_eq!(start(&[RowState::Succeeded, RowState::Succeeded, WAITING, WAITING]), [2, 3]);
}

#[test]
fn a_canary_that_fails_or_hangs_halts_the_batch_until_it_is_acknowledged() {
    let limits = BatchLimits { canary: 1, ..BatchLimits::default() };
    let failed = rows(&[RowState::Failed, WAITING, WAITING]);
    assert_eq!(halted(&plan(&limits, &failed, at(1))), "a canary row failed");
    let hangs = rows(&[RUNNING, WAITING, WAITING]);
    assert_eq!(plan(&limits, &hangs, at(TIMEOUT - 1)).end, None);
    assert_eq!(halted(&plan(&limits, &hangs, at(TIMEOUT))), "a canary row has run for longer than 120 min");
    for mut rows in [failed, hangs] {
        rows[0].acknowledged = true;
        let plan = plan(&limits, &rows, at(TIMEOUT));
        assert_eq!((plan.start, plan.end), (vec![1], None), "the next row is the canary");
    }
}

#[test]
fn a_canary_larger_than_the_batch_is_the_whole_batch() {
    let limits = BatchLimits { canary: 9, ..BatchLimits::default() };
    assert_eq!(plan(&limits, &rows(&[WAITING, WAITING]), at(1)).start, [0, 1]);
    let done = plan(&limits, &rows(&[RowState::Succeeded, RowState::Failed]), at(1));
    assert_eq!(done.end, Some(BatchEnd::Finished));
}

#[test]
fn one_failure_more_than_allowed_halts_the_batch() {
    let limits = BatchLimits { max_failures: Some(1), ..BatchLimits::default() };
    let mut failed = rows(&[RowState::Failed, RowState::Failed, WAITING]);
    assert_eq!(plan(&limits, &failed[1..], at(1)).end, None);
    assert_eq!(halted(&plan(&limits, &failed, at(1))), "2 rows failed, and max_failures is 1");
    failed[0].acknowledged = true;
    assert_eq!(plan(&limits, &failed, at(1)).start, [2]);
}

#[test]
fn a_label_limits_only_the_rows_that_share_its_value() {
    let per_label_parallel = BTreeMap::from([("rack".to_owned(), 1)]);
    let limits = BatchLimits { per_label_parallel, ..BatchLimits::default() };
    let rows =
        [in_rack(RUNNING, "a"), in_rack(WAITING, "a"), in_rack(WAITING, "b"), row(WAITING), row(WAITING)];
    let plan = plan(&limits, &rows, at(1));
    assert_eq!(plan.start, [2, 3], "rows without the label are one group");
    assert_eq!(plan.waits_for.as_deref(), Some("rack=a: 1 rows are running"));
}

#[test]
fn a_failing_rack_is_held_back_and_the_others_go_on() {
    let per_label_failures = BTreeMap::from([("rack".to_owned(), 0)]);
    let limits = BatchLimits { per_label_failures, ..BatchLimits::default() };
    let mut rows = [in_rack(RowState::Failed, "a"), in_rack(WAITING, "a"), in_rack(WAITING, "b")];
    let first = plan(&limits, &rows, at(1));
    assert_eq!((first.start, first.end), (vec![2], None));
    rows[2].state = RowState::Succeeded;
    assert_eq!(halted(&plan(&limits, &rows, at(1))), "rack=a: 1 rows failed");
}

#[test]
fn rows_start_within_the_window_only() {
    let limits = BatchLimits { not_before: Some(at(10)), not_after: Some(at(20)), ..BatchLimits::default() };
    let waiting = rows(&[WAITING]);
    let early = plan(&limits, &waiting, at(9));
    assert_eq!((early.start, early.end, early.look_at), (vec![], None, Some(at(10))));
    let open = plan(&limits, &waiting, at(10));
    assert_eq!((open.start, open.look_at), (vec![0], Some(at(20))));
    let late = plan(&limits, &waiting, at(20));
    assert!(halted(&late).contains("1 rows not started"), "{late:?}");
    assert_eq!(plan(&limits, &rows(&[RUNNING]), at(20)).end, None, "what runs is not touched");
}

#[test]
fn a_batch_is_finished_when_every_row_is_decided() {
    let decided = [RowState::Succeeded, RowState::Failed, RowState::Cancelled];
    let limits = BatchLimits { max_failures: Some(0), ..BatchLimits::default() };
    assert_eq!(plan(&limits, &rows(&decided), at(1)).end, Some(BatchEnd::Finished));
    assert_eq!(plan(&limits, &rows(&[RowState::Failed, RUNNING]), at(1)).end, None);
}

/// Whatever the rows' states, starting what the plan says exceeds no limit.
#[test]
fn no_plan_exceeds_a_limit() {
    use proptest::prelude::*;
    let state = prop_oneof![
        4 => Just(WAITING),
        2 => (0_i64..TIMEOUT * 2).prop_map(|since| RowState::Running { since: at(since) }),
        1 => Just(RowState::Succeeded),
        1 => Just(RowState::Failed),
        1 => Just(RowState::Cancelled)
    ];
    let row = (state, 0_u8..4, any::<bool>()).prop_map(|(state, rack, acknowledged)| PlannedRow {
        acknowledged,
        ..in_rack(state, &rack.to_string())
    });
    let input = (prop::collection::vec(row, 0..30), 0_u32..3, 1_u32..6, 0_u32..4, 1_u32..3);
    proptest!(|((rows, canary, parallel, failures, rack) in input)| {
        let limits = BatchLimits {
            canary,
            max_parallel: Some(parallel),
            max_failures: Some(failures),
            per_label_parallel: BTreeMap::from([("rack".to_owned(), rack)]),
            ..BatchLimits::default()
        };
        let now = at(TIMEOUT * 2);
        let plan = plan(&limits, &rows, now);
        let holds = |row: &PlannedRow| match row.state {
            RowState::Running { since } => !row.acknowledged && now < at(since.as_second() + TIMEOUT),
            _ => false,
        };
        let running = rows.iter().filter(|row| holds(row)).count();
        let failed = rows.iter().filter(|row| row.state == RowState::Failed && !row.acknowledged).count();
        prop_assert!(plan.start.iter().all(|index| rows[*index].state == WAITING));
        if !plan.start.is_empty() {
            prop_assert!(running + plan.start.len() <= parallel as usize);
            prop_assert!(failed <= failures as usize && plan.end.is_none());
            for value in ["0", "1", "2", "3"] {
                let of = |row: &&PlannedRow| row.labels["rack"] == value;
                let held = rows.iter().filter(of).filter(|row| holds(row)).count();
                let starting = plan.start.iter().filter(|index| of(&&rows[**index])).count();
                prop_assert!(starting == 0 || held + starting <= rack as usize);
            }
        }
        let waiting = rows.iter().filter(|row| row.state == WAITING).count();
        let is_running = rows.iter().any(|row| matches!(row.state, RowState::Running { .. }));
        // A batch with rows to start never stands still without a reason.
        prop_assert!(waiting == 0 || !plan.start.is_empty() || is_running || plan.end.is_some());
    });
}
