//! A system on the disk that shows what is in its CD drives: it reads them when they are filled.
//!
//! It looks for what an installer looks for, so that its reads are the most misleading ones that a system
//! makes. Invariant: each change of the drives is read once.

use jiff::Timestamp;

use super::search::{Search, SearchLook};
use super::{GuestNeed, GuestStep, ReadAnswer};
use crate::machine::Machine;

#[derive(Debug, Default)]
pub struct Curious {
    search: Option<Search>,
    /// Media that have been looked at.
    seen: u64,
}

impl Curious {
    pub fn look(&mut self, machine: &Machine, now: Timestamp) -> GuestStep {
        let is_old = !machine.disk.is_installed();
        if is_old && self.seen != machine.insertions() {
            self.seen = machine.insertions();
            self.search = Search::parse("cdrom:/KS.CFG");
        }
        match self.search.as_mut().map(|search| search.look(machine, now)) {
            Some(SearchLook::Need(need)) => GuestStep::Need(need),
            Some(SearchLook::Done(_)) | None => {
                self.search = None;
                GuestStep::Need(GuestNeed::Event)
            }
        }
    }

    /// What the drive said to the last read.
    pub fn answer(&mut self, answer: ReadAnswer) {
        if let Some(search) = &mut self.search {
            search.answer(answer);
        }
    }
}
