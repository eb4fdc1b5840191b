//! What both recipes say: the system to install, and how thoroughly the disk is verified.

use crate::reader::Reader;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Linux,
    Windows,
}

/// What of the disk is read back after it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// The first and the last GiB of the image.
    #[default]
    Ends,
    Full,
}

const TARGETS: [(&str, Target); 2] =
    [("install-linux.target", Target::Linux), ("install-windows.target", Target::Windows)];
pub(crate) const VERIFY: [(&str, Verify); 2] = [("ends", Verify::Ends), ("full", Verify::Full)];

impl Target {
    pub fn name(self) -> &'static str {
        TARGETS.iter().find(|(_, target)| *target == self).map_or("", |(name, _)| name)
    }

    pub(crate) fn read(reader: &Reader<'_>) -> Option<Target> {
        if !reader.has("task_target") {
            reader.refuse("task_target", "is missing: use install-linux.target or install-windows.target");
        }
        reader.choice("task_target", &TARGETS)
    }
}

impl Verify {
    pub fn name(self) -> &'static str {
        VERIFY.iter().find(|(_, verify)| *verify == self).map_or("", |(name, _)| name)
    }
}
