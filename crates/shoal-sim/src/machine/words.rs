//! The words of Redfish's ComputerSystem that the hardware understands.
//!
//! No behaviour. Invariant: `name` is the word as DMTF's schema spells it.

use strum::{EnumString, IntoStaticStr, VariantArray};

/// Redfish's `ResetType`, those that this machine offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr, VariantArray)]
pub enum ResetType {
    On,
    ForceOn,
    ForceOff,
    ForceRestart,
    PowerCycle,
    GracefulShutdown,
    GracefulRestart,
    PushPowerButton,
}

impl ResetType {
    pub fn name(self) -> &'static str {
        self.into()
    }

    pub fn parse(name: &str) -> Option<ResetType> {
        name.parse().ok()
    }
}

/// Redfish's `BootSourceOverride…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootOverride {
    pub enabled: OverrideEnabled,
    pub target: BootTarget,
    pub mode: BootMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
pub enum OverrideEnabled {
    Disabled,
    Once,
    Continuous,
}

impl OverrideEnabled {
    pub const ALL: [OverrideEnabled; 3] =
        [OverrideEnabled::Disabled, OverrideEnabled::Once, OverrideEnabled::Continuous];

    pub fn name(self) -> &'static str {
        self.into()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
pub enum BootTarget {
    None,
    /// The virtual drives.
    Cd,
    /// A drive in the chassis, with nothing in it.
    EmptyDrive,
    Hdd,
    Pxe,
    BiosSetup,
}

impl BootTarget {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootMode {
    Legacy,
    Uefi,
}

impl BootMode {
    pub const ALL: [BootMode; 2] = [BootMode::Legacy, BootMode::Uefi];

    pub fn name(self) -> &'static str {
        match self {
            BootMode::Legacy => "Legacy",
            BootMode::Uefi => "UEFI",
        }
    }
}

/// Redfish's `BootProgress.LastState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootProgress {
    None,
    PrimaryProcessor,
    Memory,
    PciResources,
    HardwareComplete,
    SetupEntered,
    OsBootStarted,
    OsRunning,
}

impl BootProgress {
    /// The self test in four equal parts.
    pub const POST: [BootProgress; 4] = [
        BootProgress::PrimaryProcessor,
        BootProgress::Memory,
        BootProgress::PciResources,
        BootProgress::HardwareComplete,
    ];

    pub fn name(self) -> &'static str {
        match self {
            BootProgress::None => "None",
            BootProgress::PrimaryProcessor => "PrimaryProcessorInitializationStarted",
            BootProgress::Memory => "MemoryInitializationStarted",
            BootProgress::PciResources => "PCIResourceConfigStarted",
            BootProgress::HardwareComplete => "SystemHardwareInitializationComplete",
            BootProgress::SetupEntered => "SetupEntered",
            BootProgress::OsBootStarted => "OSBootStarted",
            BootProgress::OsRunning => "OSRunning",
        }
    }
}
