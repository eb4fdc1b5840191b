//! The byte ranges of a medium whose reads show the host's progress.

use std::ops::Range;

use shoal_image::installer::Landmarks;

use super::LOADED_BYTES;

/// Byte ranges of a medium whose reads are milestones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediumLandmarks {
    /// Of the vendor's installer, if that is on it.
    pub installer: Option<Landmarks>,
    /// Of the kickstart, if that is on it.
    pub kickstart: Option<KickstartPlace>,
}

/// Where the kickstart lies, away from everything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KickstartPlace {
    pub kickstart: Range<u64>,
    /// Behind the kickstart and as far from it, where the job has one.
    pub nonce: Option<Range<u64>>,
    /// Where everything else ends and the zeros before the kickstart begin.
    pub rest_end: u64,
}

impl MediumLandmarks {
    pub fn installer(installer: Landmarks) -> MediumLandmarks {
        MediumLandmarks { installer: Some(installer), kickstart: None }
    }

    pub fn task(kickstart: KickstartPlace) -> MediumLandmarks {
        MediumLandmarks { installer: None, kickstart: Some(kickstart) }
    }

    /// So many bytes read mean that the installer is loaded, where one is on the medium.
    pub(super) fn loaded_bytes(&self) -> Option<u64> {
        self.installer.as_ref().map(|marks| (marks.payload_bytes() / 2).min(LOADED_BYTES))
    }
}
