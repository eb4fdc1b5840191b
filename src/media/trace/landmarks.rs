//! The byte ranges of a medium whose reads show the host's progress.

use std::ops::Range;

use shoal_image::installer::Landmarks;

use super::LOADED_BYTES;
use crate::domain::ReadMap;

/// Byte ranges of a medium whose reads are milestones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediumLandmarks {
    /// Of the vendor's installer, if that is on it.
    pub installer: Option<Landmarks>,
    /// Of the kickstart, if that is on it.
    pub kickstart: Option<KickstartPlace>,
}

/// Where the kickstart lies, away from everything else; on the medium of a Linux or Windows job its recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KickstartPlace {
    pub kickstart: Range<u64>,
    /// Behind the kickstart and as far from it, where the job has one. Of a Linux or Windows job, what its
    /// maintenance system reads to report success.
    pub nonce: Option<Range<u64>>,
    /// What it reads to report a failure: behind the nonce and as far from that.
    pub failure: Option<Range<u64>>,
    /// What `shoal-agent` reads when it starts: the last, so that a client that reads all files in order has read
    /// another signal before.
    pub started: Option<Range<u64>>,
    /// Where everything else ends and the zeros before the kickstart begin.
    pub rest_end: u64,
}

/// A file whose read is a signal from the host, in the order of the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::VariantArray)]
pub(super) enum Signal {
    Nonce,
    Failure,
    Started,
}

impl KickstartPlace {
    pub(super) fn signal(&self, signal: Signal) -> Option<&Range<u64>> {
        match signal {
            Signal::Nonce => self.nonce.as_ref(),
            Signal::Failure => self.failure.as_ref(),
            Signal::Started => self.started.as_ref(),
        }
    }

    /// The zeros before it.
    pub(super) fn gap_before(&self, signal: Signal) -> Range<u64> {
        let (before, own) = match signal {
            Signal::Nonce => (Some(&self.kickstart), &self.nonce),
            Signal::Failure => (self.nonce.as_ref(), &self.failure),
            Signal::Started => (self.failure.as_ref(), &self.started),
        };
        let start = before.unwrap_or(&self.kickstart).end;
        start..own.as_ref().map_or(start, |own| own.start)
    }
}

impl MediumLandmarks {
    pub fn installer(installer: Landmarks) -> MediumLandmarks {
        MediumLandmarks { installer: Some(installer), kickstart: None }
    }

    pub fn task(kickstart: KickstartPlace) -> MediumLandmarks {
        MediumLandmarks { installer: None, kickstart: Some(kickstart) }
    }

    /// The map of a medium of which nothing was read yet.
    pub(super) fn read_map(&self) -> ReadMap {
        let kickstart = self.kickstart.as_ref().map(|place| place.kickstart.clone());
        ReadMap { kickstart, ..ReadMap::default() }
    }

    /// So many bytes read mean that the installer is loaded, where one is on the medium.
    pub(super) fn loaded_bytes(&self) -> Option<u64> {
        self.installer.as_ref().map(|marks| (marks.payload_bytes() / 2).min(LOADED_BYTES))
    }
}
