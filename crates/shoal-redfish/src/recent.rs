//! What was just read, so that it is not read twice in a row.
//!
//! A caller says how old a reading may be ([`ReadAge`]); who says nothing gets a new one. A reading is *just read*
//! while nothing was written to the BMC since, there was no pause ([`Turns::pause`]), and it is at most [`JUST_READ`]
//! old. Before an act a reading of the last minute is enough, if nothing was written to that resource: the act is
//! followed by a new one anyway. Invariants: a reading from before a write is never taken for its effect, and one
//! from before a pause never ends a wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How old a reading may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAge {
    /// The BMC is asked.
    New,
    /// Nothing has happened since: the same decision would be made of a new one.
    JustRead,
    /// Of the last minute, where nothing was written to the resource since. For looks that only choose an act
    /// whose effect is read back.
    BeforeAct,
}

/// A slow BMC takes as long for one answer.
const JUST_READ: Duration = Duration::from_secs(2);
const BEFORE_ACT: Duration = Duration::from_secs(60);
/// Readings of one kind that are kept, and writes that are remembered.
const KEPT_MAX: usize = 32;

/// What ends the time of readings, shared by all parts of one client.
#[derive(Default)]
pub(super) struct Turns(Mutex<TurnState>);

#[derive(Default)]
struct TurnState {
    /// Counts writes and pauses.
    turn: u64,
    /// The turn of the last write to each resource.
    written: BTreeMap<String, u64>,
    /// Writes up to this turn are not remembered any more.
    forgotten: u64,
}

impl Turns {
    fn state(&self) -> MutexGuard<'_, TurnState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing counts as just read any more.
    pub(super) fn pause(&self) {
        self.state().turn += 1;
    }

    /// A write to `link` is on its way, or has been answered.
    pub(super) fn note_write(&self, link: &str) {
        let mut state = self.state();
        state.turn += 1;
        let turn = state.turn;
        if state.written.len() >= KEPT_MAX {
            state.written.clear();
            state.forgotten = turn;
        }
        state.written.insert(link.to_owned(), turn);
    }

    /// The resource is written to until this is dropped, by whatever links.
    pub(super) fn write_to<'t>(&'t self, link: &'t str) -> WriteTo<'t> {
        self.note_write(link);
        WriteTo { turns: self, link }
    }

    fn current(&self) -> u64 {
        self.state().turn
    }

    /// Whether `link` was written, or one of its actions or parts, at or after this turn.
    fn is_written_since(&self, link: &str, turn: u64) -> bool {
        // A slot without a resource of its own ends in a fragment.
        let link = link.split('#').next().unwrap_or(link);
        let state = self.state();
        state.forgotten > turn
            || state.written.iter().any(|(written, at)| *at > turn && concerns(written, link))
    }
}

/// A write that goes on: an action's target need not be below its resource.
pub(super) struct WriteTo<'t> {
    turns: &'t Turns,
    link: &'t str,
}

impl Drop for WriteTo<'_> {
    fn drop(&mut self) {
        self.turns.note_write(self.link);
    }
}

/// Whether a write to `written` may change what `read` shows. The drives of a System are resources of their own.
fn concerns(written: &str, read: &str) -> bool {
    let rest = written.strip_prefix(read.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || (rest.starts_with('/') && !rest.starts_with("/VirtualMedia/")))
}

/// The last reading of each resource of one kind.
pub(super) struct RecentReads<T> {
    turns: Arc<Turns>,
    /// Boxed: a map has room for eleven values from the first on, and a thousand BMCs have a map each.
    kept: Mutex<BTreeMap<String, Box<KeptRead<T>>>>,
}

struct KeptRead<T> {
    value: T,
    at: Instant,
    turn: u64,
}

impl<T: Clone> RecentReads<T> {
    pub(super) fn new(turns: &Arc<Turns>) -> RecentReads<T> {
        RecentReads { turns: turns.clone(), kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Box<KeptRead<T>>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn in which a reading begins, for [`keep`](Self::keep).
    pub(super) fn begin(&self) -> u64 {
        self.turns.current()
    }

    /// Keeps what was read; `turn` is that of its beginning.
    pub(super) fn keep(&self, link: &str, value: &T, turn: u64) {
        let (mut kept, now) = (self.kept(), Instant::now());
        kept.retain(|_, read| now - read.at <= BEFORE_ACT);
        if kept.len() < KEPT_MAX || kept.contains_key(link) {
            let read = KeptRead { value: value.clone(), at: now, turn };
            kept.insert(link.to_owned(), Box::new(read));
        }
    }

    /// The last reading, if it is no older than this.
    pub(super) fn get(&self, link: &str, age: ReadAge) -> Option<T> {
        let kept = self.kept();
        let read = kept.get(link)?;
        let age_of_it = Instant::now() - read.at;
        let is_good = match age {
            ReadAge::New => false,
            ReadAge::JustRead => age_of_it <= JUST_READ && read.turn == self.turns.current(),
            ReadAge::BeforeAct => age_of_it <= BEFORE_ACT && !self.turns.is_written_since(link, read.turn),
        };
        is_good.then(|| read.value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::ReadAge::{BeforeAct, JustRead, New};
    use super::*;

    const SLOT: &str = "/Managers/1/VirtualMedia/CD1";

    fn read(link: &str) -> (Arc<Turns>, RecentReads<u8>) {
        let turns = Arc::default();
        let reads = RecentReads::new(&turns);
        reads.keep(link, &7, reads.begin());
        (turns, reads)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_just_read_is_used_until_a_pause_a_write_or_two_seconds() {
        let (_, reads) = read("/Systems/1");
        assert_eq!(reads.get("/Systems/1", JustRead), Some(7));
        assert_eq!(reads.get("/Systems/1", New), None);
        assert_eq!(reads.get("/Systems/2", JustRead), None);
        tokio::time::advance(JUST_READ + Duration::from_millis(1)).await;
        assert_eq!(reads.get("/Systems/1", JustRead), None);
        let (turns, reads) = read("/Systems/1");
        turns.pause();
        assert_eq!(reads.get("/Systems/1", JustRead), None);
        let (turns, reads) = read("/Systems/1");
        turns.note_write(SLOT);
        assert_eq!(reads.get("/Systems/1", JustRead), None, "whatever was written");
    }

    #[tokio::test(start_paused = true)]
    async fn before_an_act_a_reading_of_the_last_minute_is_enough_where_nothing_was_written_to_it() {
        let (turns, reads) = read(SLOT);
        turns.note_write("/Managers/1/VirtualMedia/CD2/Actions/VirtualMedia.InsertMedia");
        turns.pause();
        assert_eq!(reads.get(SLOT, BeforeAct), Some(7));
        turns.note_write("/Managers/1/VirtualMedia/CD1/Actions/VirtualMedia.InsertMedia");
        assert_eq!(reads.get(SLOT, BeforeAct), None);
        let (_, reads) = read(SLOT);
        tokio::time::advance(BEFORE_ACT + Duration::from_millis(1)).await;
        assert_eq!(reads.get(SLOT, BeforeAct), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_during_which_something_was_written_counts_from_before() {
        let turns = Arc::default();
        let reads = RecentReads::new(&turns);
        let begun = reads.begin();
        turns.note_write(SLOT);
        reads.keep(SLOT, &7, begun);
        assert_eq!([reads.get(SLOT, JustRead), reads.get(SLOT, BeforeAct)], [None, None]);
    }

    #[test]
    fn more_writes_than_are_remembered_concern_everything() {
        let (turns, reads) = read(SLOT);
        (0..=KEPT_MAX).for_each(|number| turns.note_write(&format!("/x/{number}")));
        assert_eq!(reads.get(SLOT, BeforeAct), None);
    }

    #[test]
    fn a_write_concerns_the_resource_its_actions_and_its_settings() {
        let system = "/Systems/1";
        for (written, expected) in [
            ("/Systems/1", true),
            ("/Systems/1/Actions/ComputerSystem.Reset", true),
            ("/Systems/1/Settings", true),
            ("/Systems/1/VirtualMedia/1/Actions/VirtualMedia.InsertMedia", false),
            ("/Systems/10", false),
            ("/Managers/1", false),
        ] {
            assert_eq!(concerns(written, system), expected, "{written}");
        }
    }
}
