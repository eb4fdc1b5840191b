//! What was asked of a BMC, for errors and metrics.

use std::fmt;

/// What was being done; also the `op` label of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Root,
    Login,
    Logout,
    About,
    Systems,
    System,
    Manager,
    Slots,
    Slot,
    ActionInfo,
    Settings,
    BootOptions,
    Storage,
    Hardware,
    MediaService,
    Insert,
    Eject,
    Task,
    BootOnce,
    BootImport,
    BootDisarm,
    Reset,
}

impl Op {
    /// The metric label.
    pub fn name(self) -> &'static str {
        self.words().0
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Op::Root => ("root", "reading the service root"),
            Op::Login => ("login", "logging in"),
            Op::Logout => ("logout", "logging out"),
            Op::About => ("about", "reading what the BMC says of itself"),
            Op::Systems => ("systems", "listing the systems"),
            Op::System => ("system", "reading the system"),
            Op::Manager => ("manager", "reading the manager"),
            Op::Slots => ("slots", "listing the virtual media slots"),
            Op::Slot => ("slot", "reading a virtual media slot"),
            Op::ActionInfo => ("action_info", "reading what an action takes"),
            Op::Settings => ("settings", "reading the settings object"),
            Op::BootOptions => ("boot_options", "reading the boot options"),
            Op::Storage => ("storage", "reading the disks"),
            Op::Hardware => ("hardware", "reading the hardware"),
            Op::MediaService => ("media_service", "switching virtual media on"),
            Op::Insert => ("insert", "inserting virtual media"),
            Op::Eject => ("eject", "ejecting virtual media"),
            Op::Task => ("task", "following a Task"),
            Op::BootOnce => ("boot_once", "setting the one-time boot"),
            Op::BootImport => ("boot_import", "importing the one-time boot"),
            Op::BootDisarm => ("boot_disarm", "disarming the one-time boot"),
            Op::Reset => ("reset", "resetting the host"),
        }
    }

    pub(super) fn changes_something(self) -> bool {
        use Op::*;
        matches!(self, MediaService | Insert | Eject | Task | BootOnce | BootImport | BootDisarm | Reset)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words().1)
    }
}
