//! Every fault: its name, how its value is written, and what it does.
//!
//! Data; the parent reads it. Invariant: one row a fault, the defaults are those of `--help`.

use std::time::Duration;

use super::Fault;

/// How the value after `=` is read.
#[derive(Clone, Copy)]
pub enum FaultValue {
    /// There is none.
    Plain(fn() -> Fault),
    /// Seconds, and what holds without a value.
    Secs(fn(Duration) -> Fault, u64),
    /// Milliseconds, and what holds without a value.
    Millis(fn(Duration) -> Fault, u64),
    Count(fn(u64) -> Fault, u64),
}

/// One fault.
pub struct FaultRow {
    pub name: &'static str,
    pub value: FaultValue,
    /// What it does, and who does so.
    pub help: &'static str,
}

const fn row(name: &'static str, value: FaultValue, help: &'static str) -> FaultRow {
    FaultRow { name, value, help }
}

use FaultValue::{Count, Millis, Plain, Secs};

/// Every fault. The vendors that behave so are named where known.
pub static TABLE: &[FaultRow] = &[
    row("wrong-serial", Plain(|| Fault::WrongSerial), "the System reports another serial number"),
    row("no-serial", Plain(|| Fault::NoSerial), "the System reports no serial number"),
    row(
        "board-serial",
        Plain(|| Fault::BoardSerial),
        "the System's SerialNumber is its board's, and the serial number is its SKU (Dell)",
    ),
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
    row(
        "no-virtual-media",
        Plain(|| Fault::NoVirtualMedia),
        "nothing links to VirtualMedia: the firmware has none (HPE Cray EX)",
    ),
    row("media-left", Plain(|| Fault::MediaLeft), "CD1 holds another user's image at the start"),
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
        "insert-quotes-url",
        Plain(|| Fault::InsertQuotesUrl),
        "the first insert is refused quoting the image's URL: whole, decoded, encoded again and in parts",
    ),
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
    row(
        "first-slot-refuses",
        Count(Fault::FirstSlotRefuses, 400),
        "the first slot takes no image and says so with status VALUE: 400, 405, 409, or 500 (Cisco UCS, Dell)",
    ),
    row(
        "insert-500-after-eject",
        Secs(Fault::Insert500AfterEject, 3),
        "an insert less than VALUE seconds after an eject is 500 (ironic, redfish-vmedia-insert-retry)",
    ),
    row("eject-empty-400", Plain(|| Fault::EjectEmpty400), "ejecting an empty slot is 400"),
    row("eject-empty-500", Plain(|| Fault::EjectEmpty500), "ejecting an empty slot is 500 (iDRAC, badfish)"),
    row(
        "live-media-ignored",
        Plain(|| Fault::LiveMediaIgnored),
        "what is inserted or ejected while the host is on reaches it at its next cold start (sushy-emulator)",
    ),
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
        "no-override",
        Plain(|| Fault::NoOverride),
        "the System has boot options and no boot override (HPE Cray EX)",
    ),
    row(
        "override-elsewhere",
        Plain(|| Fault::OverrideElsewhere),
        "of System and settings object, the one that shows the override refuses its value and the other takes it",
    ),
    row(
        "override-value-refused",
        Plain(|| Fault::OverrideValueRefused),
        "every override is 400 for its value; the slot's own switch works where there is one (iLO 6, libredfish)",
    ),
    row(
        "disabled-alone-refused",
        Plain(|| Fault::DisabledAloneRefused),
        "an override is not disabled without a target: 400",
    ),
    row(
        "disabled-with-target-refused",
        Plain(|| Fault::DisabledWithTargetRefused),
        "an override is not disabled with a target: 400 (iLO, metal-operator)",
    ),
    row(
        "legacy-while-disabled",
        Plain(|| Fault::LegacyWhileDisabled),
        "the boot mode reads Legacy while no override is set, whatever the host boots in (AMI 12.84)",
    ),
    row(
        "clear-refused",
        Count(Fault::ClearRefused, 3),
        "the first VALUE requests that clear the boot override are 400",
    ),
    row(
        "boot-patch-400-in-post",
        Plain(|| Fault::BootPatch400InPost),
        "a boot PATCH during the self test is 400 (HPE UnableToModifyDuringSystemPOST)",
    ),
    row(
        "import-busy",
        Count(Fault::ImportBusy, 3),
        "the first VALUE configuration imports are 400: another job is at work (iDRAC, sushy-oem-idrac)",
    ),
    row("etag-412-once", Plain(|| Fault::Etag412Once), "the first PATCH with If-Match is 412"),
    row(
        "etag-412-always",
        Plain(|| Fault::Etag412Always),
        "every PATCH with If-Match is 412, and good without one (sushy)",
    ),
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
        "reset-task-fails",
        Count(Fault::ResetTaskFails, 2),
        "the first VALUE resets are Tasks that end in Exception, and not done (Redfishtool)",
    ),
    row(
        "reset-critical",
        Count(Fault::ResetCritical, 2),
        "the first VALUE resets are 200 with a Critical message, and not done",
    ),
    row(
        "reset-done-task-fails",
        Count(Fault::ResetDoneTaskFails, 2),
        "the first VALUE resets are done, and Tasks that end in Exception",
    ),
    row(
        "reset-done-critical",
        Count(Fault::ResetDoneCritical, 2),
        "the first VALUE resets are done, and 200 with a Critical message",
    ),
    row(
        "bmc-down-after-reset",
        Secs(Fault::BmcDownAfterReset, 10),
        "the BMC cannot be reached for VALUE seconds after each reset request",
    ),
    row(
        "system-404-after-reset",
        Secs(Fault::System404AfterReset, 60),
        "the System is 404 for VALUE seconds after each reset request",
    ),
    row(
        "slots-404-after-reset",
        Secs(Fault::Slots404AfterReset, 60),
        "the virtual media slots are 404 for VALUE seconds after each reset request",
    ),
    row(
        "slots-404-until-listed",
        Plain(|| Fault::Slots404UntilListed),
        "the virtual media slots are 404 from each reset request until their collection is read again",
    ),
    row(
        "not-ready-after-reset",
        Secs(Fault::NotReadyAfterReset, 60),
        "everything is 400, and a login 401, with SYS518 (not ready) for VALUE seconds after each reset request (iDRAC)",
    ),
    row(
        "unauthorised-after-reset",
        Secs(Fault::Unauthorised401AfterReset, 60),
        "sessions and logins are 401 for VALUE seconds after each reset request",
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
    row("null-sources", Plain(|| Fault::NullSources), "every property that shows a boot is null"),
    row("no-sessions", Plain(|| Fault::NoSessions), "no SessionService: Basic authentication only"),
    row(
        "session-timeout",
        Secs(Fault::SessionTimeout, 30),
        "an idle session ends after VALUE seconds (HPE, AMI: 30)",
    ),
    row(
        "tokens-refused-after-start",
        Secs(Fault::TokensRefusedAfterStart, 25),
        "every session token is 401 for VALUE seconds after each start of the host, and logins are good",
    ),
    row(
        "locations-absolute",
        Plain(|| Fault::LocationsAbsolute),
        "Location of a session or Task is an absolute URL under the BMC's internal host name (gofish)",
    ),
    row(
        "locations-relative",
        Plain(|| Fault::LocationsRelative),
        "Location of a session or Task has no leading slash (python-redfish-library)",
    ),
    row(
        "locations-in-body",
        Plain(|| Fault::LocationsInBody),
        "no Location of a session or Task: only the body names it",
    ),
    row(
        "posts-redirected",
        Plain(|| Fault::PostsRedirected),
        "a POST to a path without a slash at its end is 301 to that with one (old Supermicro, check_redfish)",
    ),
    row(
        "lockout",
        Count(Fault::Lockout, 3),
        "after VALUE wrong passwords every login fails for five minutes (HPE, Lenovo)",
    ),
    row(
        "unauthorised-once",
        Plain(|| Fault::Unauthorised401Once),
        "the first request with good credentials, but for a login, is 401 (iLO)",
    ),
    row("busy-503", Count(Fault::Busy503, 3), "the first VALUE authenticated requests are 503 (AMI)"),
    row(
        "busy-503-after-start",
        Secs(Fault::Busy503AfterStart, 120),
        "everything is 503 for VALUE seconds after each start of the host (AMI)",
    ),
    row(
        "extended-info-object",
        Plain(|| Fault::ExtendedInfoObject),
        "an error's @Message.ExtendedInfo is an object and no list (iDRAC)",
    ),
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
    row(
        "cut-body",
        Count(Fault::CutBody, 20),
        "VALUE in a thousand answers end early: status and headers arrive, half of the body, and no more",
    ),
    row(
        "error-bodies-cut",
        Plain(|| Fault::ErrorBodiesCut),
        "the body of every error ends early (iDRAC 8 with a 401, check_redfish)",
    ),
    row("slow", Millis(Fault::Slow, 1000), "every Redfish answer takes VALUE milliseconds more"),
    row("slow-media", Millis(Fault::SlowMedia, 50), "every read of an image takes VALUE milliseconds more"),
    row("os-running-early", Plain(|| Fault::OsRunningEarly), "the installer too shows as OSRunning"),
    row(
        "old-system-reads-media",
        Plain(|| Fault::OldSystemReadsMedia),
        "the system that was on the disk reads the CDs that it finds, the kickstart included",
    ),
    row(
        "strict-kickstart",
        Plain(|| Fault::StrictKickstart),
        "the installer stops and warns as ESXi 6.7 does: rootpw, disks, network, sections, failing scripts",
    ),
    row(
        "cdrom-boot-skips-ks",
        Plain(|| Fault::CdromBootSkipsKs),
        "an installer booted with cdromBoot ignores ks= and waits at its prompt (ESXi 8, testrange)",
    ),
    row("guest-hangs", Plain(|| Fault::GuestHangs), "the installer never ends"),
    row("guest-fails", Plain(|| Fault::GuestFails), "the installer stops half-way with an error dialog"),
    row(
        "guest-crashes",
        Plain(|| Fault::GuestCrashes),
        "the host reboots half-way through its first install (a maintenance system's loses its power)",
    ),
    row(
        "guest-ejects-early",
        Plain(|| Fault::GuestEjectsEarly),
        "the installer ejects its media before it writes the disk",
    ),
    row(
        "pre-copies-media",
        Plain(|| Fault::PreCopiesMedia),
        "the kickstart's `%pre` reads the file of the nonce, as one does that copies its medium",
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
    row(
        "operator-system",
        Plain(|| Fault::OperatorSystem),
        "the maintenance system is an operator's own: it reports with the shared secret, reads no signal and stays on",
    ),
    row(
        "smbios-differs",
        Plain(|| Fault::SmbiosDiffers),
        "the host's SMBIOS shows another serial number than its BMC",
    ),
    row(
        "guest-stays-on",
        Plain(|| Fault::GuestStaysOn),
        "the maintenance system does not power its host off after its success",
    ),
    row("report-lost", Plain(|| Fault::ReportLost), "the maintenance system's result is lost on its way"),
    row(
        "report-repeated",
        Plain(|| Fault::ReportRepeated),
        "the maintenance system's result arrives three times",
    ),
    row(
        "report-late",
        Secs(Fault::ReportLate, 20),
        "the maintenance system's result arrives VALUE seconds late",
    ),
    row(
        "report-forged",
        Plain(|| Fault::ReportForged),
        "while the disk is written, successes arrive with a wrong token, for another server and with a wrong secret",
    ),
];
