//! What a simulated machine does wrong, as data: one name a fault, for `--fault NAME[=VALUE]`.
//!
//! A fault is a variant of [`Fault`], with a duration, a count or no value; its row in `table` has its name, how its
//! value is read and what it stands for. Nothing is done here: the part that does wrong asks [`Faults`], so the name
//! of a fault in the code leads to its effect. A persona has faults of its own, its habits; those of the command line
//! come after them, and the last of a kind counts.
//!
//! Invariant: every fault has a row in `table`, and reads back as it is written.

mod table;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use table::FaultValue::{Count, Millis, Plain, Secs};
use table::{FaultRow, TABLE};

/// One misbehaviour. Durations are written in seconds, those of `slow…` in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    WrongSerial,
    NoSerial,
    BoardSerial,
    OneCd,
    SecondCdRefused,
    SecondCdReplaces,
    NoSlots,
    NoVirtualMedia,
    MediaLeft,
    StaleInserted(Duration),
    InsertTask(Duration),
    InsertTaskFails,
    InsertTaskFailsLate(Duration),
    InsertNotDone(u64),
    InsertNotSeen(u64),
    Insert500Once,
    InsertQuotesUrl,
    InsertChecksUrl,
    InsertNeedsProtocol,
    InsertRejectsInserted,
    FirstSlotRefuses(u64),
    Insert500AfterEject(Duration),
    EjectEmpty400,
    EjectEmpty500,
    LiveMediaIgnored,
    Prefetch,
    VerifiesMediaTls,
    NoEject,
    MediaLostAtStart,
    OverrideIgnored,
    OverrideContinuous,
    OverrideTurnedContinuous,
    OverrideLost(Duration),
    OverrideNotStored,
    NoOverride,
    OverrideElsewhere,
    OverrideValueRefused,
    DisabledAloneRefused,
    DisabledWithTargetRefused,
    LegacyWhileDisabled,
    ClearRefused(u64),
    BootPatch400InPost,
    ImportBusy(u64),
    Etag412Once,
    Etag412Always,
    GracefulIgnored,
    PowerLies,
    PowerTransitions(Duration),
    LegacyBoot,
    CdFirst,
    On409Once,
    ResetActionInfo,
    ResetAnswerLost,
    ResetTaskFails(u64),
    ResetCritical(u64),
    ResetDoneTaskFails(u64),
    ResetDoneCritical(u64),
    BmcDownAfterReset(Duration),
    System404AfterReset(Duration),
    Slots404AfterReset(Duration),
    Slots404UntilListed,
    NotReadyAfterReset(Duration),
    Unauthorised401AfterReset(Duration),
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
    TokensRefusedAfterStart(Duration),
    LocationsAbsolute,
    LocationsRelative,
    LocationsInBody,
    PostsRedirected,
    Lockout(u64),
    Unauthorised401Once,
    Busy503(u64),
    Busy503AfterStart(Duration),
    ExtendedInfoObject,
    Throttled429(u64),
    Flaky5xx(u64),
    LostRequest(u64),
    LostAnswer(u64),
    ResetConnection(u64),
    TruncatedJson(u64),
    GarbledJson(u64),
    CutBody(u64),
    ErrorBodiesCut,
    Slow(Duration),
    SlowMedia(Duration),
    OsRunningEarly,
    OldSystemReadsMedia,
    StrictKickstart,
    CdromBootSkipsKs,
    GuestHangs,
    GuestFails,
    GuestCrashes,
    GuestEjectsEarly,
    PreCopiesMedia,
    PostSkipped,
    PostCannotRead,
    HookFails,
    NoGuestNetwork,
    ApiLate(Duration),
    OperatorSystem,
    SmbiosDiffers,
    GuestStaysOn,
    ReportLost,
    ReportRepeated,
    ReportLate(Duration),
    ReportForged,
}

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
        let same_kind = |row: &&FaultRow| {
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
            | Fault::Insert500AfterEject(wait)
            | Fault::Busy503AfterStart(wait)
            | Fault::BmcDownAfterReset(wait)
            | Fault::System404AfterReset(wait)
            | Fault::Slots404AfterReset(wait)
            | Fault::NotReadyAfterReset(wait)
            | Fault::Unauthorised401AfterReset(wait)
            | Fault::BmcDownInInstall(wait)
            | Fault::BmcRestartsInInstall(wait)
            | Fault::PowerTransitions(wait)
            | Fault::SessionTimeout(wait)
            | Fault::TokensRefusedAfterStart(wait)
            | Fault::ApiLate(wait)
            | Fault::ReportLate(wait) => write!(f, "={}", wait.as_secs()),
            Fault::Slow(wait) | Fault::SlowMedia(wait) => write!(f, "={}", wait.as_millis()),
            Fault::InsertNotDone(count)
            | Fault::InsertNotSeen(count)
            | Fault::FirstSlotRefuses(count)
            | Fault::ImportBusy(count)
            | Fault::ResetTaskFails(count)
            | Fault::ResetCritical(count)
            | Fault::ResetDoneTaskFails(count)
            | Fault::ResetDoneCritical(count)
            | Fault::ClearRefused(count)
            | Fault::Lockout(count)
            | Fault::Busy503(count)
            | Fault::Throttled429(count)
            | Fault::Flaky5xx(count)
            | Fault::LostRequest(count)
            | Fault::LostAnswer(count)
            | Fault::ResetConnection(count)
            | Fault::TruncatedJson(count)
            | Fault::GarbledJson(count)
            | Fault::CutBody(count) => write!(f, "={count}"),
            _ => Ok(()),
        }
    }
}

impl Fault {
    /// The same, late by `max` at the most: tests in real time shorten what a persona does late.
    pub fn at_most(self, max: Duration) -> Fault {
        match self {
            Fault::StaleInserted(wait) => Fault::StaleInserted(wait.min(max)),
            Fault::InsertTask(wait) => Fault::InsertTask(wait.min(max)),
            Fault::InsertTaskFailsLate(wait) => Fault::InsertTaskFailsLate(wait.min(max)),
            Fault::Insert500AfterEject(wait) => Fault::Insert500AfterEject(wait.min(max)),
            Fault::Busy503AfterStart(wait) => Fault::Busy503AfterStart(wait.min(max)),
            other => other,
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

    /// All of them, the persona's first.
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
            let valued = format!("{name}=7");
            if let Ok(fault) = valued.parse::<Fault>() {
                assert_eq!(fault.to_string(), valued);
            }
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
