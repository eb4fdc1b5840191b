//! What a job puts into the virtual drives of its BMC.
//!
//! Two media, each for a drive of its own, or both on one CD. Invariant: what was inserted under a mount stays noted
//! there, also when its image goes onto the other medium since: the cleanup looks at every drive that was used.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::MediaLayout;

/// One of the two media of a job: what its image is to the host that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Medium {
    /// CD1, which the host boots from: the vendor's installer.
    #[strum(serialize = "installer")]
    Boot,
    /// What the task needs beside that: the task ISO on CD2, or the same on a USB stick.
    Task,
}

impl Medium {
    /// Its name in the store and in metrics.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The sort of virtual drive that an image is made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Drive {
    #[default]
    Cd,
    Usb,
}

impl Drive {
    /// As sentences name it.
    pub fn label(self) -> &'static str {
        match self {
            Drive::Cd => "virtual CD",
            Drive::Usb => "virtual USB stick",
        }
    }
}

/// The media of one job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Mounts {
    pub boot: Mount,
    pub task: Mount,
    /// The boot medium carries what the task medium would, so that the host reads one drive only.
    pub on_one_cd: bool,
}

impl Mounts {
    pub fn of(&self, role: Medium) -> &Mount {
        match role {
            Medium::Boot => &self.boot,
            Medium::Task => &self.task,
        }
    }

    pub fn of_mut(&mut self, role: Medium) -> &mut Mount {
        match role {
            Medium::Boot => &mut self.boot,
            Medium::Task => &mut self.task,
        }
    }

    /// Those that the host reads from.
    pub fn read(&self) -> impl Iterator<Item = &Mount> {
        std::iter::once(&self.boot).chain((!self.on_one_cd).then_some(&self.task))
    }

    /// In the words of recipes.
    pub fn layout(&self) -> MediaLayout {
        match (self.on_one_cd, self.task.drive) {
            (true, _) => MediaLayout::SingleCd,
            (false, Drive::Cd) => MediaLayout::DualCd,
            (false, Drive::Usb) => MediaLayout::CdUsb,
        }
    }

    pub fn set_layout(&mut self, layout: MediaLayout) {
        self.on_one_cd = layout == MediaLayout::SingleCd;
        self.task.drive = if layout == MediaLayout::CdUsb { Drive::Usb } else { Drive::Cd };
    }
}

/// One medium in one slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Mount {
    pub drive: Drive,
    /// The BMC is given the URL of the image's own source instead of ours.
    pub direct: bool,
    /// `@odata.id` of the slot, once this job has chosen it.
    pub slot: Option<String>,
    /// Insertions requested so far; each has a media URL of its own.
    pub insertions: u32,
    /// When this job last ejected what the slot held, unless it has inserted since.
    pub ejected_at: Option<Timestamp>,
    /// When the last insertion was requested whose end is unknown, until the slot shows it: the BMC may be at it.
    pub open_since: Option<Timestamp>,
    /// Links of slots that refused the image for their own sake; none of those insertions did anything.
    pub refused: Vec<String>,
    /// Slots that this medium was moved away from while the BMC may have been at an insertion there.
    pub left_open: Vec<OpenSlot>,
    /// Given back by the cleanup.
    pub gone: Option<EjectFacts>,
}

/// A slot into which an image may still come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OpenSlot {
    /// Its `@odata.id`.
    pub slot: String,
    /// When the medium was moved away from it.
    pub since: Timestamp,
}

/// When nothing of the job was in a slot any more: it was ejected, or another image had taken its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EjectFacts {
    pub at: Timestamp,
    /// Done although an installer might still have been running.
    pub forced: bool,
}
