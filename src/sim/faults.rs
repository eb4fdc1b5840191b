//! What a simulated machine does wrong, as data: one name a fault, for `--fault NAME[=VALUE]`.
//!
//! Nothing is done here; whoever does wrong asks [`Faults`]. Invariant: every fault has a row in
//! [`TABLE`], with the behaviour it stands for, and reads back as it is written.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One misbehaviour. Durations are written in seconds, those of `slow…` in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    WrongSerial,
    NoSerial,
    OneCd,
    SecondCdRefused,
    SecondCdReplaces,
    NoSlots,
    MediaLeft,
    StaleInserted(Duration),
    InsertTask(Duration),
    InsertTaskFails,
    InsertTaskFailsLate(Duration),
    InsertNotDone(u64),
    InsertNotSeen(u64),
    Insert500Once,
    InsertChecksUrl,
    InsertNeedsProtocol,
    InsertRejectsInserted,
    EjectEmpty400,
    Prefetch,
    VerifiesMediaTls,
    NoEject,
    MediaLostAtStart,
    OverrideIgnored,
    OverrideContinuous,
    OverrideTurnedContinuous,
    OverrideLost(Duration),
    OverrideNotStored,
    BootPatch400InPost,
    Etag412Once,
    GracefulIgnored,
    PowerLies,
    PowerTransitions(Duration),
    LegacyBoot,
    CdFirst,
    On409Once,
    ResetActionInfo,
    ResetAnswerLost,
    BmcDownAfterReset(Duration),
    BmcDownInInstall(Duration),
    BmcRestartsInInstall(Duration),
    NoBootProgress,
    NoLastResetTime,
    ZeroLastResetTime,
    StuckBootProgress,
    StuckLastResetTime,
    StuckPostState,
    StuckNumberOfReboots,
    NullSources,
    NoSessions,
    SessionTimeout(Duration),
    Lockout(u64),
    Unauthorised401Once,
    Busy503(u64),
    Throttled429(u64),
    Flaky5xx(u64),
    LostRequest(u64),
    LostAnswer(u64),
    ResetConnection(u64),
    TruncatedJson(u64),
    GarbledJson(u64),
    Slow(Duration),
    SlowMedia(Duration),
    OsRunningEarly,
    StrictKickstart,
    GuestHangs,
    GuestFails,
    GuestCrashes,
    GuestEjectsEarly,
    PostSkipped,
    PostCannotRead,
    HookFails,
    NoGuestNetwork,
    ApiLate(Duration),
}

/// How the value after `=` is read.
#[derive(Clone, Copy)]
enum Value {
    /// There is none.
    Plain(fn() -> Fault),
    /// Seconds, and what holds without a value.
    Secs(fn(Duration) -> Fault, u64),
    /// Milliseconds, and what holds without a value.
    Millis(fn(Duration) -> Fault, u64),
    Count(fn(u64) -> Fault, u64),
}

struct Row {
    name: &'static str,
    value: Value,
    help: &'static str,
}

const fn row(name: &'static str, value: Value, help: &'static str) -> Row {
    Row { name, value, help }
}

use Value::{Count, Millis, Plain, Secs};

/// Every fault. Who behaves so is told in `facts` of the field: the vendors are named where known.
static TABLE: &[Row] = &[
    row("wrong-serial", Plain(|| Fault::WrongSerial), "the System reports another serial number"),
    row("no-serial", Plain(|| Fault::NoSerial), "the System reports no serial number"),
    row("one-cd", Plain(|| Fault::OneCd), "one CD slot, and a USB slot that takes no CD (HPE iLO)"),
    row(
        "second-cd-refused",
        Plain(|| Fault::SecondCdRefused),
        "two CD slots, of which one can be filled: 409",
    ),
    row(
        "second-cd-replaces",
        Plain(|| Fault::SecondCdReplaces),
        "what goes into one CD slot falls out of the other",
    ),
    row("no-slots", Plain(|| Fault::NoSlots), "an empty VirtualMedia collection (AMI before EnableRMedia)"),
    row("media-left", Plain(|| Fault::MediaLeft), "CD1 holds somebody's forgotten image at the start"),
    row(
        "stale-inserted",
        Secs(Fault::StaleInserted, 5),
        "after a good eject the slot still shows Inserted and the image for VALUE seconds (iDRAC)",
    ),
    row("insert-task", Secs(Fault::InsertTask, 2), "an insert is a Task that takes VALUE seconds (AMI)"),
    row("insert-task-fails", Plain(|| Fault::InsertTaskFails), "an insert is a Task that ends in Exception"),
    row(
        "insert-task-fails-late",
        Secs(Fault::InsertTaskFailsLate, 60),
        "the first insert is a Task that shows the image and ends in Exception after VALUE seconds",
    ),
    row(
        "insert-not-done",
        Count(Fault::InsertNotDone, 1),
        "the first VALUE inserts are accepted and nothing is mounted (AMI)",
    ),
    row(
        "insert-not-seen",
        Count(Fault::InsertNotSeen, 1),
        "the first VALUE inserts show as Inserted and the host sees no medium",
    ),
    row("insert-500-once", Plain(|| Fault::Insert500Once), "the first insert is answered 500 and not done"),
    row(
        "insert-checks-url",
        Plain(|| Fault::InsertChecksUrl),
        "an insert fetches the image's first block, and is refused if it cannot (iDRAC RAC0904)",
    ),
    row(
        "insert-needs-protocol",
        Plain(|| Fault::InsertNeedsProtocol),
        "an insert without TransferProtocolType is 400 (AMI, Nokia)",
    ),
    row(
        "insert-rejects-inserted",
        Plain(|| Fault::InsertRejectsInserted),
        "an insert with Inserted or WriteProtected is 400 (Supermicro X11, X12)",
    ),
    row("eject-empty-400", Plain(|| Fault::EjectEmpty400), "ejecting an empty slot is 400"),
    row("prefetch", Plain(|| Fault::Prefetch), "an insert downloads the whole image (sushy-emulator)"),
    row(
        "verifies-media-tls",
        Plain(|| Fault::VerifiesMediaTls),
        "images come by HTTPS only from a server whose certificate the BMC trusts",
    ),
    row("no-eject", Plain(|| Fault::NoEject), "the guest's own eject has no effect on the slot"),
    row("media-lost-at-start", Plain(|| Fault::MediaLostAtStart), "a power-on detaches the media (AMI)"),
    row("override-ignored", Plain(|| Fault::OverrideIgnored), "the override reads back and is not followed"),
    row("override-continuous", Plain(|| Fault::OverrideContinuous), "a one-time override is never spent"),
    row(
        "override-turned-continuous",
        Plain(|| Fault::OverrideTurnedContinuous),
        "a one-time override is kept as Continuous",
    ),
    row(
        "override-lost",
        Secs(Fault::OverrideLost, 10),
        "the override is gone VALUE seconds after it was set",
    ),
    row("override-not-stored", Plain(|| Fault::OverrideNotStored), "a boot PATCH is 204 and changes nothing"),
    row(
        "boot-patch-400-in-post",
        Plain(|| Fault::BootPatch400InPost),
        "a boot PATCH during the self test is 400 (HPE UnableToModifyDuringSystemPOST)",
    ),
    row("etag-412-once", Plain(|| Fault::Etag412Once), "the first PATCH with If-Match is 412"),
    row("graceful-ignored", Plain(|| Fault::GracefulIgnored), "the installed system ignores ACPI"),
    row("power-lies", Plain(|| Fault::PowerLies), "PowerState is On whatever the host does"),
    row(
        "power-transitions",
        Secs(Fault::PowerTransitions, 5),
        "PowerState is PoweringOn or PoweringOff for VALUE seconds",
    ),
    row("legacy-boot", Plain(|| Fault::LegacyBoot), "the machine boots as a BIOS does, not by UEFI"),
    row(
        "cd-first",
        Plain(|| Fault::CdFirst),
        "the firmware boots a CD before the disk, without any override",
    ),
    row("on-409-once", Plain(|| Fault::On409Once), "the first reset `On` is 409 (iDRAC10)"),
    row(
        "reset-action-info",
        Plain(|| Fault::ResetActionInfo),
        "reset types only in ActionInfo (Supermicro X13)",
    ),
    row("reset-answer-lost", Plain(|| Fault::ResetAnswerLost), "the first reset is done and answered 500"),
    row(
        "bmc-down-after-reset",
        Secs(Fault::BmcDownAfterReset, 10),
        "the BMC cannot be reached for VALUE seconds after each reset request",
    ),
    row(
        "bmc-down-in-install",
        Secs(Fault::BmcDownInInstall, 300),
        "the BMC cannot be reached for VALUE seconds from the beginning of an install",
    ),
    row(
        "bmc-restarts-in-install",
        Secs(Fault::BmcRestartsInInstall, 60),
        "the BMC restarts VALUE seconds after the beginning of an install, and reads its media again",
    ),
    row("no-boot-progress", Plain(|| Fault::NoBootProgress), "no BootProgress (iLO5, XCC, Cisco)"),
    row("no-last-reset-time", Plain(|| Fault::NoLastResetTime), "no LastResetTime (iLO, XCC, Supermicro)"),
    row("zero-last-reset-time", Plain(|| Fault::ZeroLastResetTime), "LastResetTime 0000-00-00 (iDRAC 7.10)"),
    row("stuck-boot-progress", Plain(|| Fault::StuckBootProgress), "BootProgress never moves (Supermicro)"),
    row("stuck-last-reset-time", Plain(|| Fault::StuckLastResetTime), "LastResetTime never moves"),
    row("stuck-post-state", Plain(|| Fault::StuckPostState), "PostState is FinishedPost whatever happens"),
    row("stuck-number-of-reboots", Plain(|| Fault::StuckNumberOfReboots), "NumberOfReboots never counts"),
    row("null-sources", Plain(|| Fault::NullSources), "every property that tells of a boot is null"),
    row("no-sessions", Plain(|| Fault::NoSessions), "no SessionService: Basic authentication only"),
    row(
        "session-timeout",
        Secs(Fault::SessionTimeout, 30),
        "an idle session ends after VALUE seconds (HPE, AMI: 30)",
    ),
    row(
        "lockout",
        Count(Fault::Lockout, 3),
        "after VALUE wrong passwords nobody can log in for five minutes (HPE, Lenovo)",
    ),
    row(
        "unauthorised-once",
        Plain(|| Fault::Unauthorised401Once),
        "the first request with good credentials, but for a login, is 401 (iLO)",
    ),
    row("busy-503", Count(Fault::Busy503, 3), "the first VALUE authenticated requests are 503 (AMI)"),
    row(
        "throttled-429",
        Count(Fault::Throttled429, 20),
        "VALUE in a thousand requests are 429 with Retry-After, and not done",
    ),
    row("flaky-5xx", Count(Fault::Flaky5xx, 20), "VALUE in a thousand requests are 500 or 503, and not done"),
    row(
        "lost-request",
        Count(Fault::LostRequest, 10),
        "VALUE in a thousand requests are never answered, and not done",
    ),
    row(
        "lost-answer",
        Count(Fault::LostAnswer, 10),
        "VALUE in a thousand requests are done and never answered",
    ),
    row(
        "reset-connection",
        Count(Fault::ResetConnection, 20),
        "VALUE in a thousand requests end with a reset connection; half of them are done",
    ),
    row(
        "truncated-json",
        Count(Fault::TruncatedJson, 20),
        "VALUE in a thousand answers break off in the middle of their JSON",
    ),
    row(
        "garbled-json",
        Count(Fault::GarbledJson, 20),
        "VALUE in a thousand answers are a web page instead of JSON",
    ),
    row("slow", Millis(Fault::Slow, 1000), "every Redfish answer takes VALUE milliseconds more"),
    row("slow-media", Millis(Fault::SlowMedia, 50), "every read of an image takes VALUE milliseconds more"),
    row("os-running-early", Plain(|| Fault::OsRunningEarly), "the installer too shows as OSRunning"),
    row(
        "strict-kickstart",
        Plain(|| Fault::StrictKickstart),
        "the installer wants rootpw and a disk, as the real one does",
    ),
    row("guest-hangs", Plain(|| Fault::GuestHangs), "the installer never ends"),
    row("guest-fails", Plain(|| Fault::GuestFails), "the installer stops half-way with an error dialog"),
    row(
        "guest-crashes",
        Plain(|| Fault::GuestCrashes),
        "the host reboots half-way through its first install",
    ),
    row(
        "guest-ejects-early",
        Plain(|| Fault::GuestEjectsEarly),
        "the installer ejects its media before it writes the disk",
    ),
    row("post-skipped", Plain(|| Fault::PostSkipped), "the installer does not run `%post`"),
    row("post-cannot-read", Plain(|| Fault::PostCannotRead), "`%post` finds no CD mounted"),
    row("hook-fails", Plain(|| Fault::HookFails), "`%post` cannot power the host off"),
    row("no-guest-network", Plain(|| Fault::NoGuestNetwork), "the guest cannot reach or be reached"),
    row(
        "api-late",
        Secs(Fault::ApiLate, 120),
        "the installed system's API answers 503 for VALUE seconds after its boot",
    ),
];

/// A word that is no fault, or a value that it cannot have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FaultError {
    #[error("there is no fault `{name}`; the faults are {}", names().join(", "))]
    Unknown { name: String },
    #[error("the fault `{name}` takes no value")]
    NoValue { name: &'static str },
    #[error("the fault `{name}` takes a whole number from 0 to 86400, not `{value}`")]
    Number { name: &'static str, value: String },
}

/// The names of all faults, in the order of the table.
pub fn names() -> Vec<&'static str> {
    TABLE.iter().map(|row| row.name).collect()
}

/// The table as text, a line each, for `--help`.
pub fn help() -> String {
    let width = TABLE.iter().map(|row| row.name.len()).max().unwrap_or_default();
    TABLE.iter().map(|row| format!("  {:width$}  {}\n", row.name, row.help)).collect()
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let unknown = || FaultError::Unknown { name: name.to_owned() };
        let row = TABLE.iter().find(|row| row.name == name).ok_or_else(unknown)?;
        let number = |default: u64| match value {
            None => Ok(default),
            Some(value) => value
                .parse()
                .ok()
                .filter(|number| *number <= 86_400)
                .ok_or_else(|| FaultError::Number { name: row.name, value: value.to_owned() }),
        };
        match row.value {
            Plain(_) if value.is_some() => Err(FaultError::NoValue { name: row.name }),
            Plain(make) => Ok(make()),
            Secs(make, default) => Ok(make(Duration::from_secs(number(default)?))),
            Millis(make, default) => Ok(make(Duration::from_millis(number(default)?))),
            Count(make, default) => Ok(make(number(default)?)),
        }
    }
}

impl Fault {
    /// The name without the value.
    pub fn name(&self) -> &'static str {
        let same_kind = |row: &&Row| {
            let made = match row.value {
                Plain(make) => make(),
                Secs(make, _) | Millis(make, _) => make(Duration::ZERO),
                Count(make, _) => make(0),
            };
            std::mem::discriminant(&made) == std::mem::discriminant(self)
        };
        TABLE.iter().find(same_kind).expect("every fault has a row").name
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Fault::StaleInserted(wait)
            | Fault::InsertTask(wait)
            | Fault::InsertTaskFailsLate(wait)
            | Fault::OverrideLost(wait)
            | Fault::BmcDownAfterReset(wait)
            | Fault::BmcDownInInstall(wait)
            | Fault::BmcRestartsInInstall(wait)
            | Fault::PowerTransitions(wait)
            | Fault::SessionTimeout(wait) => write!(f, "={}", wait.as_secs()),
            Fault::Slow(wait) | Fault::SlowMedia(wait) => write!(f, "={}", wait.as_millis()),
            Fault::InsertNotDone(count)
            | Fault::InsertNotSeen(count)
            | Fault::Lockout(count)
            | Fault::Busy503(count)
            | Fault::Throttled429(count)
            | Fault::Flaky5xx(count)
            | Fault::LostRequest(count)
            | Fault::LostAnswer(count)
            | Fault::ResetConnection(count)
            | Fault::TruncatedJson(count)
            | Fault::GarbledJson(count) => write!(f, "={count}"),
            _ => Ok(()),
        }
    }
}

/// The faults of one machine.
#[derive(Clone, Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub fn new(faults: impl IntoIterator<Item = Fault>) -> Faults {
        Faults(faults.into_iter().collect())
    }

    /// Whether a fault without a value is there.
    pub fn has(&self, fault: &Fault) -> bool {
        self.0.contains(fault)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// The value of the last fault that `pick` knows.
    pub fn find<T>(&self, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.0.iter().rev().find_map(pick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_reads_back_as_written() {
        for name in names() {
            let fault: Fault = name.parse().unwrap();
            assert_eq!(fault.to_string().parse(), Ok(fault.clone()), "{name}");
            assert!(fault.to_string().starts_with(name), "{name}");
        }
        assert_eq!("slow=250".parse(), Ok(Fault::Slow(Duration::from_millis(250))));
        assert_eq!("insert-task=9".parse(), Ok(Fault::InsertTask(Duration::from_secs(9))));
    }

    #[test]
    fn a_wrong_word_is_answered_with_the_known_ones() {
        let error = "no-such".parse::<Fault>().unwrap_err().to_string();
        assert!(error.contains("`no-such`") && error.contains("wrong-serial, no-serial"), "{error}");
        assert!("prefetch=1".parse::<Fault>().is_err());
        for value in ["", "-1", "1.5", "86401", "soon"] {
            assert!(format!("slow={value}").parse::<Fault>().is_err(), "{value}");
        }
    }
}
