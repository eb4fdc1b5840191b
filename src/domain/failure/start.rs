//! Failures of the boot override and of the host's power, up to its start.

use super::FailureCode as Code;
use super::{FailureEntry, entry};
use crate::domain::Step;

const OVERRIDE: &[Step] = &[
    Step::BootOverride,
    Step::Reset,
    Step::CleanupUnmountTask,
    Step::CleanupUnmountMaintenance,
    Step::CleanupReset,
];
const POWER: &[Step] = &[Step::Reset, Step::CleanupReset];
const RESET: &[Step] = &[Step::Reset];

pub(super) const TABLE: &[FailureEntry] = &[
    entry(
        Code::BootOverrideRefused,
        OVERRIDE,
        "The BMC refused the one-time boot override, or refused to clear it.",
        "Firmware that takes the override only while the host is off, or not in this boot mode.",
        "Follow the quoted message; power the host off, and retry.",
    ),
    entry(
        Code::BootOverrideNotKept,
        &[Step::BootOverride],
        "The BMC accepted the one-time boot override and reads back another value.",
        "Firmware that ignores the override.",
        "Update the BMC's firmware, or reset the BMC.",
    ),
    entry(
        Code::BootOverrideLasting,
        &[Step::BootOverride],
        "The BMC turned the one-time override into a lasting one, and nothing it shows would end it in time.",
        "Firmware that knows only lasting overrides.",
        "Use `completion_hook: poweroff`, with which the installation ends with the host off.",
    ),
    entry(
        Code::BootOverrideLost,
        RESET,
        "The boot override was gone each time before the host was started.",
        "A BMC that forgets the override during a shutdown, or an operator who started the host.",
        "Power the host off before the job, and keep others from using it.",
    ),
    entry(
        Code::BootOverrideNotCleared,
        OVERRIDE,
        "The boot override was still armed after the BMC had accepted a request to clear it.",
        "Firmware that shows the change late or not at all.",
        "Clear the boot order in the BMC's web interface before the next start of the host.",
    ),
    entry(
        Code::PowerRequestRefused,
        POWER,
        "The BMC refused a power request.",
        "A request too soon after the last one, a power policy, or another job on the BMC.",
        "Follow the quoted message, and retry.",
    ),
    entry(
        Code::PowerControlMissing,
        POWER,
        "The BMC offers no reset type with which the host could be brought to a fresh start.",
        "Old firmware, or an account without power rights.",
        "Run `shoal bmc check`; power the host off by hand, and retry.",
    ),
    entry(
        Code::PowerOffIgnored,
        POWER,
        "The BMC accepted ten requests to force the host off and still shows it on.",
        "A hung BMC or a power controller that does not respond.",
        "Reset the BMC, or remove power from the host.",
    ),
    entry(
        Code::PowerStateStuck,
        POWER,
        "The host stayed between on and off for longer than `RESET_GRACEFUL_TIMEOUT` and ten minutes.",
        "An operating system that hangs in its shutdown, or a BMC that reports a stale state.",
        "Look at the host's power and console, power it off, and retry.",
    ),
    entry(
        Code::HostNotStarted,
        &[Step::Reset, Step::EsxiAwaitBmc, Step::AwaitWebhook],
        "The BMC accepted every request to start the host, and the host never came on.",
        "A hardware fault, a power cap, or a BMC that accepts requests without acting.",
        "Look at the host's power and the BMC's event log.",
    ),
    entry(
        Code::StartInDoubt,
        RESET,
        "Whether the host was started cannot be determined, and a second start could erase an installation.",
        "The BMC was silent at that moment, and shows neither boots nor reads of its media.",
        "Look at the host's console; if it was not installed, retry the job.",
    ),
];
