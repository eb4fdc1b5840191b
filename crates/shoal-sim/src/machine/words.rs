//! The words of Redfish's ComputerSystem that the hardware understands.
//!
//! No behaviour. Invariant: `name` is the word as DMTF's schema spells it.

/// Redfish's `ResetType`, those that this machine offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    pub const ALL: [ResetType; 8] = [
        ResetType::On,
        ResetType::ForceOn,
        ResetType::ForceOff,
        ResetType::ForceRestart,
        ResetType::PowerCycle,
        ResetType::GracefulShutdown,
        ResetType::GracefulRestart,
        ResetType::PushPowerButton,
    ];

    pub fn name(self) -> &'static str {
        match self {
            ResetType::On => "On",
            ResetType::ForceOn => "ForceOn",
            ResetType::ForceOff => "ForceOff",
            ResetType::ForceRestart => "ForceRestart",
            ResetType::PowerCycle => "PowerCycle",
            ResetType::GracefulShutdown => "GracefulShutdown",
            ResetType::GracefulRestart => "GracefulRestart",
            ResetType::PushPowerButton => "PushPowerButton",
        }
    }

    pub fn parse(name: &str) -> Option<ResetType> {
        ResetType::ALL.into_iter().find(|reset| reset.name() == name)
    }
}

/// Redfish's `BootSourceOverride…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootOverride {
    pub enabled: OverrideEnabled,
    pub target: BootTarget,
    pub mode: BootMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverrideEnabled {
    Disabled,
    Once,
    Continuous,
}

impl OverrideEnabled {
    pub const ALL: [OverrideEnabled; 3] =
        [OverrideEnabled::Disabled, OverrideEnabled::Once, OverrideEnabled::Continuous];

    pub fn name(self) -> &'static str {
        match self {
            OverrideEnabled::Disabled => "Disabled",
            OverrideEnabled::Once => "Once",
            OverrideEnabled::Continuous => "Continuous",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        match self {
            BootTarget::None => "None",
            BootTarget::Cd => "Cd",
            BootTarget::EmptyDrive => "EmptyDrive",
            BootTarget::Hdd => "Hdd",
            BootTarget::Pxe => "Pxe",
            BootTarget::BiosSetup => "BiosSetup",
        }
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
