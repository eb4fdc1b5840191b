//! What a System shows of its host's boots, as a list that `shoal sim --sources` takes.
//!
//! Invariant: a word sets one source, and BootProgress's own where it is a part of it.

/// Properties of a System that show its host's boots, beside PowerState.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    /// `BootProgress.LastState`
    pub boot_progress: bool,
    /// `BootProgress.LastStateTime`, where there is BootProgress.
    pub boot_progress_time: bool,
    /// `BootProgress.LastBootTimeSeconds` (HPE iLO6, iLO7), where there is BootProgress.
    pub last_boot_time: bool,
    pub last_reset_time: bool,
    /// `Oem.Hpe.PostState` (HPE iLO5 and later)
    pub post_state: bool,
    /// `Oem.Lenovo.NumberOfReboots` (Lenovo XCC)
    pub number_of_reboots: bool,
}

impl Sources {
    pub const NONE: Sources = Sources {
        boot_progress: false,
        boot_progress_time: false,
        last_boot_time: false,
        last_reset_time: false,
        post_state: false,
        number_of_reboots: false,
    };
    /// As OpenBMC.
    pub const STANDARD: Sources =
        Sources { boot_progress: true, boot_progress_time: true, last_reset_time: true, ..Sources::NONE };
}

/// A word of a list of sources that is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is not a source; the sources are boot-progress, boot-progress-time, last-boot-time, \
     last-reset-time, post-state and number-of-reboots, with commas between them, or none"
)]
pub struct UnknownSource(String);

impl std::str::FromStr for Sources {
    type Err = UnknownSource;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let mut sources = Sources::NONE;
        for word in list.split(',').filter(|_| list != "none") {
            match word {
                "boot-progress" => sources.boot_progress = true,
                "boot-progress-time" => (sources.boot_progress, sources.boot_progress_time) = (true, true),
                "last-boot-time" => (sources.boot_progress, sources.last_boot_time) = (true, true),
                "last-reset-time" => sources.last_reset_time = true,
                "post-state" => sources.post_state = true,
                "number-of-reboots" => sources.number_of_reboots = true,
                other => return Err(UnknownSource(other.to_owned())),
            }
        }
        Ok(sources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_a_list_of_known_words() {
        assert_eq!("none".parse(), Ok(Sources::NONE));
        assert_eq!("boot-progress-time,last-reset-time".parse(), Ok(Sources::STANDARD));
        let ilo6 = Sources { boot_progress: true, last_boot_time: true, post_state: true, ..Sources::NONE };
        assert_eq!("post-state,last-boot-time".parse(), Ok(ilo6));
        for list in ["", "none,", "post-state,", "boots"] {
            assert!(list.parse::<Sources>().is_err(), "{list}");
        }
    }
}
