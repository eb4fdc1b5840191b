//! How a job learns that its installation is over, as far as a kickstart has to do with it.

/// How the job learns of the end, which decides whether a `reboot` is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hook {
    #[default]
    None,
    /// A last `%post` is added that powers the host off.
    Poweroff,
    /// A last `%post` is added that reports; `reboot` follows.
    Webhook,
    /// The kickstart itself powers the host off.
    OwnPoweroff,
}

impl Hook {
    pub fn powers_off(self) -> bool {
        matches!(self, Hook::Poweroff | Hook::OwnPoweroff)
    }
}
