//! Failures of a Linux or Windows installation, from the start of the host on.

use super::FailureCode as Code;
use super::{FailureEntry, entry};
use crate::domain::Step;

const AWAIT: &[Step] = &[Step::AwaitWebhook];

pub(super) const TABLE: &[FailureEntry] = &[
    entry(
        Code::MaintenanceNotBooted,
        AWAIT,
        "The maintenance ISO was never read within `MAINTENANCE_BOOT_TIMEOUT`.",
        "The firmware did not boot from the virtual CD: boot mode, Secure Boot, or a setup prompt.",
        "Look at the host's console; check the boot mode.",
    ),
    entry(
        Code::TaskRecipeNotRead,
        AWAIT,
        "The maintenance system never read its recipe within `MAINTENANCE_BOOT_TIMEOUT`.",
        "It did not start, or did not find the task medium.",
        "Look at the host's console; try `media_layout: single-cd`.",
    ),
    entry(
        Code::MaintenanceTimedOut,
        AWAIT,
        "No result arrived within `MAINTENANCE_TIMEOUT`.",
        "The host has no network path to the controller, or the maintenance system hangs.",
        "Look at the host's console; check that its network reaches `MEDIA_BASE_URL`.",
    ),
    entry(
        Code::HostOffBeforeRecipe,
        AWAIT,
        "The host went off before it read its recipe.",
        "A power fault, an operator, or a maintenance system that failed to start.",
        "Look at the host's console.",
    ),
    entry(
        Code::HostOffWithoutResult,
        AWAIT,
        "The agent was running, and the host went off without a result.",
        "A power failure, or a kernel panic.",
        "Look at the host; its disk may be incomplete. Retry the job.",
    ),
    entry(
        Code::MaintenanceRanAgain,
        AWAIT,
        "The maintenance system reported its result and then began again.",
        "The host booted from the virtual CD once more.",
        "Put the disk first in the boot order, and retry.",
    ),
    entry(
        Code::AgentDispatcherFailed,
        AWAIT,
        "The agent reported a failure at `dispatcher`: the task medium, its recipe or the machine's identity.",
        "The host is not the one for which the job was made, or the task medium is unreadable.",
        "Compare the serial number and UUID in the report with the server's record.",
    ),
    entry(
        Code::AgentNetworkFailed,
        AWAIT,
        "The agent reported a failure at `network`.",
        "No DHCP answer, a wrong static configuration, or no link.",
        "Check the recipe's `network`, the switch port and DHCP.",
    ),
    entry(
        Code::AgentDiskFailed,
        AWAIT,
        "The agent reported a failure at `disk`.",
        "`target_disk` matches no disk or several, or the disk holds foreign data.",
        "Correct `target_disk`, or set `overwrite: true`.",
    ),
    entry(
        Code::AgentImageFailed,
        AWAIT,
        "The agent reported a failure at `image`.",
        "The image could not be downloaded or decompressed, or is of an unsupported format.",
        "Check the image's URL from the host's network, and its format.",
    ),
    entry(
        Code::AgentWriteFailed,
        AWAIT,
        "The agent reported a failure at `write`.",
        "A failing disk, or an image larger than the disk.",
        "Check the disk, or use a larger one.",
    ),
    entry(
        Code::AgentVerifyFailed,
        AWAIT,
        "The agent reported a failure at `verify`.",
        "The image's SHA-256 does not match, or the disk returned other data than was written.",
        "Check `image.sha256`; replace the disk if it recurs.",
    ),
    entry(
        Code::AgentBootEntryFailed,
        AWAIT,
        "The agent reported a failure at `boot-entry`.",
        "The firmware refused a UEFI boot entry.",
        "Remove stale boot entries in the firmware's setup.",
    ),
    entry(
        Code::AgentSeedFailed,
        AWAIT,
        "The agent reported a failure at `seed`.",
        "The first-boot data could not be written to the installed system.",
        "Check the image's partitions, and the recipe's `user_data` or `unattend_xml`.",
    ),
    entry(
        Code::MaintenanceReportedFailure,
        AWAIT,
        "A failure was reported at a step that is not one of the agent's, or by the failure signal of the task medium.",
        "An operator's own maintenance system failed, or the agent's report did not arrive.",
        "Read the reported detail, or look at the host's console.",
    ),
];
