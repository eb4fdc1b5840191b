//! The media of one job: images, tokens, trace, and the order in which they become durable.
//!
//! It knows no HTTP. Locks: a std mutex, held for no longer than it takes to note one slice, and
//! a Tokio mutex, held while a trace is written. Invariant: [`JobMedia::note`] of a slice that shows a
//! milestone, or that comes while one is still being written, says that the slice must wait for
//! [`JobMedia::settle`].

use std::net::IpAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use strum::VariantArray as _;

use jiff::Timestamp;

use crate::domain::{Drive, JobId, Medium, MediumTrace};
use crate::store::{Store, StoreError};
use crate::token::Token;
use shoal_base::world::{Clock, elapsed};

use super::token;
use super::trace::{Read, Trace};
use super::{Fetches, Image, JobTrace, Watched};

/// Insertions whose tokens are accepted although this run of the controller did not issue
/// them. A job makes a handful; the others cannot be guessed.
pub const INSERTIONS: u32 = 64;
/// Insertions of one medium at most.
const INSERTIONS_MAX: u32 = 1024;
/// Connections that come to nothing for so long are the BMC's own.
const REFUSALS_COUNT_AFTER: Duration = Duration::from_secs(60);

pub struct JobMedia {
    job: JobId,
    key: [u8; 32],
    clock: Clock,
    store: Store,
    state: Mutex<State>,
    /// Held while the trace is written, so that an older one never overtakes a newer one.
    saving: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Whose reads they are, where its address is known.
    peer: Option<IpAddr>,
    trace: Trace,
    slots: [Option<Slot>; 2],
    /// The first connection from there that came to nothing.
    refused_since: Option<Timestamp>,
}

struct Slot {
    image: Arc<Image>,
    drive: Drive,
    tokens: Vec<Token>,
    fetches: Fetches,
    /// A reset is known of, and what was saved of the reads since then was taken up.
    is_started: bool,
    /// Changes of a milestone so far, and how many of them are durable.
    milestones: u64,
    durable: u64,
    /// Reads so far, and how many of them the store knows of.
    reads: u64,
    saved_reads: u64,
    /// How far the map of the reads was when it was saved last.
    saved_map: u64,
}

impl JobMedia {
    pub fn new(job: JobId, key: [u8; 32], clock: Clock, store: Store) -> JobMedia {
        let trace = Trace::new(store.is_shared());
        let state = Mutex::new(State { trace, ..State::default() });
        JobMedia { job, key, clock, store, state, saving: tokio::sync::Mutex::default() }
    }

    /// Whether this very image is published, and its reads count as those after a reset if one is
    /// known of.
    pub fn holds(&self, medium: Medium, image: &Image, reset_at: Option<Timestamp>) -> bool {
        let state = self.state();
        let is_same = state.slot(medium).is_some_and(|slot| slot.image.etag() == image.etag());
        is_same && (reset_at.is_none() || state.slot(medium).is_some_and(|slot| slot.is_started))
    }

    pub fn put(
        &self,
        medium: Medium,
        watched: Watched,
        saved: MediumTrace,
        reset_at: Option<Timestamp>,
        now: Timestamp,
    ) {
        let tokens = (0..INSERTIONS).map(|n| token::token(&self.key, self.job, medium, n)).collect();
        let Watched { image, drive, landmarks } = watched;
        let mut state = self.state();
        if let Some(reset_at) = reset_at {
            state.trace.start(reset_at);
        }
        state.trace.publish(medium, image.size(), landmarks, saved, now);
        state.slots[medium as usize] = Some(Slot {
            image,
            drive,
            tokens,
            fetches: Fetches::default(),
            is_started: reset_at.is_some(),
            milestones: 0,
            durable: 0,
            reads: 0,
            saved_reads: 0,
            saved_map: 0,
        });
    }

    /// Makes the tokens up to this insertion's known.
    pub fn admit(&self, medium: Medium, insertion: u32) {
        let mut state = self.state();
        let Some(slot) = state.slot_mut(medium) else { return };
        let known = slot.tokens.len() as u32;
        let more = known..insertion.min(INSERTIONS_MAX).saturating_add(1);
        slot.tokens.extend(more.map(|n| token::token(&self.key, self.job, medium, n)));
    }

    /// The image, if `token` is one of this medium's. The time that it takes shows which insertion it
    /// is of, and nothing of any token.
    ///
    /// A request with any other token leaves no trace: any client that reaches the listener can send one.
    pub fn open(&self, medium: Medium, drive: Drive, token: &str) -> Option<Arc<Image>> {
        let mut state = self.state();
        let slot = state.slot_mut(medium).filter(|slot| slot.opens_with(drive, token))?;
        slot.fetches.requests += 1;
        Some(slot.image.clone())
    }

    /// A request from another address than the BMC's was refused. It is worth a word to the operator only where
    /// its token is right: the BMC then fetches through another interface, or through address translation.
    pub fn refused_peer(&self, medium: Medium, drive: Drive, token: &str) {
        if self.state().slot(medium).is_some_and(|slot| slot.opens_with(drive, token)) {
            self.failed(medium, "a request from another address than the BMC's got 404".to_owned());
        }
    }

    /// The image, for an operator: nothing is counted.
    pub fn image(&self, medium: Medium, drive: Drive) -> Option<Arc<Image>> {
        self.state().slot(medium).filter(|slot| slot.drive == drive).map(|slot| slot.image.clone())
    }

    pub fn drive(&self, medium: Medium) -> Option<Drive> {
        self.state().slot(medium).map(|slot| slot.drive)
    }

    pub fn start_trace(&self, at: Timestamp) {
        let mut state = self.state();
        state.trace.start(at);
        state.slots.iter_mut().flatten().for_each(|slot| slot.is_started = true);
    }

    /// What another controller has seen of the reads of this medium.
    pub fn learn(&self, medium: Medium, saved: MediumTrace) {
        self.state().trace.learn(medium, saved);
    }

    pub fn trace(&self) -> JobTrace {
        let state = self.state();
        let installer = state.trace.seen(Medium::Boot).clone();
        JobTrace { installer, kickstart: state.trace.kickstart().clone() }
    }

    pub fn seen(&self, medium: Medium) -> MediumTrace {
        self.state().trace.seen(medium).clone()
    }

    pub fn fetched(&self, medium: Medium) -> Fetches {
        self.state().slot(medium).map(|slot| slot.fetches.clone()).unwrap_or_default()
    }

    /// A slice is about to leave. Says whether it must wait for [`JobMedia::settle`].
    pub fn note(&self, medium: Medium, range: Range<u64>, whole: bool) -> bool {
        let bytes = range.end - range.start;
        let at = self.clock.now();
        let mut state = self.state();
        let changed = state.trace.read(&Read { medium, range, whole, at });
        let Some(slot) = state.slot_mut(medium) else { return false };
        slot.fetches.bytes += bytes;
        slot.reads += 1;
        slot.milestones += u64::from(changed);
        state.slots.iter().flatten().any(|slot| slot.durable < slot.milestones)
    }

    /// Returns once every milestone noted so far is in the store.
    pub async fn settle(&self) -> Result<(), StoreError> {
        self.save(|slot, _| slot.is_unsettled()).await
    }

    /// Saves what is worth a picture and rests no evidence on it: the map of the reads, where it has grown; and
    /// `all` that was read since the last save, where no further read is expected.
    pub async fn save_picture(&self, all: bool) -> Result<(), StoreError> {
        self.save(|slot, seen| match all {
            true => slot.saved_reads < slot.reads,
            false => slot.is_unsettled() || slot.saved_map < seen.map.saving_step(),
        })
        .await
    }

    async fn save(&self, is_wanted: impl Fn(&Slot, &MediumTrace) -> bool) -> Result<(), StoreError> {
        let _saving = self.saving.lock().await;
        for &medium in Medium::VARIANTS {
            let unsaved = {
                let state = self.state();
                let seen = state.trace.seen(medium);
                let slot = state.slot(medium).filter(|slot| is_wanted(slot, seen));
                slot.map(|slot| (state.trace.kept(medium), slot.milestones, slot.reads))
            };
            let Some((seen, milestones, reads)) = unsaved else { continue };
            self.store.save_trace(self.job, medium.name(), &seen).await?;
            if let Some(slot) = self.state().slot_mut(medium) {
                slot.durable = slot.durable.max(milestones);
                slot.saved_reads = slot.saved_reads.max(reads);
                slot.saved_map = seen.map.saving_step();
            }
        }
        Ok(())
    }

    pub fn expect_peer(&self, peer: IpAddr) {
        self.state().peer = Some(peer);
    }

    pub fn is_for(&self, peer: IpAddr) -> bool {
        self.state().peer.is_some_and(|expected| expected.to_canonical() == peer.to_canonical())
    }

    /// A connection from the BMC's address came to nothing before a token was shown. One alone may be another
    /// program's behind the same address, so it explains a failure and is none; those that keep coming are the BMC's.
    pub fn refused(&self, fault: &str) {
        let now = self.clock.now();
        let first = *self.state().refused_since.get_or_insert(now);
        for &medium in Medium::VARIANTS {
            match elapsed(first, now) >= REFUSALS_COUNT_AFTER {
                true => self.failed(medium, fault.to_owned()),
                false => self.explain(medium, fault),
            }
        }
    }

    /// For an error message only.
    fn explain(&self, medium: Medium, fault: &str) {
        if let Some(slot) = self.state().slot_mut(medium) {
            slot.fetches.last_fault = Some(fault.to_owned());
        }
    }

    /// A fetch was answered in full.
    pub fn completed(&self, medium: Medium) {
        self.state().trace.completed(medium);
    }

    /// A fetch was refused or broken off.
    pub fn failed(&self, medium: Medium, fault: String) {
        tracing::info!(job = %self.job, medium = medium.name(), fault, "a fetch of a medium did not end well");
        let now = self.clock.now();
        let mut state = self.state();
        state.trace.failed(medium, fault.clone(), now);
        if let Some(slot) = state.slot_mut(medium) {
            slot.fetches.last_fault = Some(fault);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn is_unsettled(&self) -> bool {
        self.durable < self.milestones
    }

    fn opens_with(&self, drive: Drive, token: &str) -> bool {
        self.drive == drive && self.tokens.iter().any(|known| known.matches(token))
    }
}

impl State {
    fn slot(&self, medium: Medium) -> Option<&Slot> {
        self.slots[medium as usize].as_ref()
    }

    fn slot_mut(&mut self, medium: Medium) -> Option<&mut Slot> {
        self.slots[medium as usize].as_mut()
    }
}
