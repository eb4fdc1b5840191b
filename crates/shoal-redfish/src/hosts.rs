//! What this client did to hosts that their BMCs do not show.
//!
//! Two quirks need it: a host that must stay off for a while after it was forced off
//! ([`Quirk::PauseBeforeOn`](super::Quirk)), and a one-time boot that was imported and that no attribute shows
//! ([`Quirk::BootByImport`](super::Quirk)). Invariant: it never expires while this process runs, and nothing depends
//! on it being right after a restart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::recent::{RecentReads, Turns};

/// By the links of systems.
pub(super) struct HostNotes {
    notes: Mutex<BTreeMap<String, HostNote>>,
    /// Whether an import is armed, as the BMC's attributes show it.
    pub(super) armed: RecentReads<bool>,
}

#[derive(Clone, Copy, Default)]
struct HostNote {
    forced_off_at: Option<Instant>,
    /// A one-time boot was imported since its last start.
    imported: bool,
}

impl HostNotes {
    pub(super) fn new(turns: &Arc<Turns>) -> HostNotes {
        HostNotes { notes: Mutex::default(), armed: RecentReads::new(turns) }
    }

    fn notes(&self) -> MutexGuard<'_, BTreeMap<String, HostNote>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, system: &str) -> HostNote {
        self.notes().get(system).copied().unwrap_or_default()
    }

    pub(super) fn forced_off_at(&self, system: &str) -> Option<Instant> {
        self.of(system).forced_off_at
    }

    pub(super) fn has_import(&self, system: &str) -> bool {
        self.of(system).imported
    }

    pub(super) fn note_off(&self, system: &str) {
        self.notes().entry(system.to_owned()).or_default().forced_off_at = Some(Instant::now());
    }

    pub(super) fn note_import(&self, system: &str, imported: bool) {
        self.notes().entry(system.to_owned()).or_default().imported = imported;
    }

    /// A start uses up what was armed for it.
    pub(super) fn note_start(&self, system: &str) {
        self.note_import(system, false);
    }
}
