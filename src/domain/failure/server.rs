//! Failures of the request, the inventory and the settings, and those of the controller itself.

use super::FailureCode as Code;
use super::{EVERY_STEP, FailureEntry, entry};
use crate::domain::Step;

const VALIDATE: &[Step] = &[Step::ValidateRecipe];
const RESOLVE: &[Step] = &[Step::ResolveServer];
const CHECKED: &[Step] = &[Step::ResolveServer, Step::BuildTaskIso];
const CHECKED_AND_MOUNTED: &[Step] =
    &[Step::ResolveServer, Step::BuildTaskIso, Step::MountMaintenance, Step::MountTask];

pub(super) const TABLE: &[FailureEntry] = &[
    entry(
        Code::RecipeInvalid,
        VALIDATE,
        "A field of the recipe is missing, unknown or has an invalid value; `errors` of the 422 response names each.",
        "A typing error, or a recipe written for another version.",
        "Correct the fields that the reason names, and submit again.",
    ),
    entry(
        Code::KickstartRefused,
        VALIDATE,
        "`KICKSTART_LINT` is `deny`, and the linter found a rule of class `breaks` violated.",
        "The kickstart would stop the installer or leave the host unusable.",
        "Correct the lines that the reason names, or allow the rule with a `# shoal: allow` comment.",
    ),
    entry(
        Code::TemplateNotRendered,
        VALIDATE,
        "The kickstart template could not be rendered.",
        "An undefined variable, a syntax error, or a `disk(…)` that matches no disk or several.",
        "Correct the template or its variables; try them with `shoal kickstart render`.",
    ),
    entry(
        Code::SourceNotAllowed,
        &[Step::ValidateRecipe, Step::ResolveServer, Step::BuildTaskIso],
        "A URL of the recipe, or a redirect of it, is under none of the prefixes that the settings allow.",
        "`ESXI_INSTALLER_ALLOW` or `IMAGES_ALLOW` does not list the server of that URL.",
        "Use an allowed URL, or have an administrator extend the setting.",
    ),
    entry(
        Code::ImageNotResolved,
        VALIDATE,
        "The image of the recipe was not found: the registry did not resolve the reference, or the controller hosts no such image.",
        "A wrong name, tag or digest; a missing login in `REGISTRY_AUTH_FILE`; an image that was removed.",
        "Check the reference, or add the image with `shoal image add`.",
    ),
    entry(
        Code::ServerUnknown,
        RESOLVE,
        "The inventory has no server with this serial number.",
        "The record was removed after the request was accepted.",
        "Register the server with `shoal server add`.",
    ),
    entry(
        Code::ServerProtected,
        RESOLVE,
        "The server's record is marked as protected.",
        "The record was protected after the job was submitted.",
        "Lift the protection of the record if the host may be erased.",
    ),
    entry(
        Code::HostBusy,
        RESOLVE,
        "The system was identified, and another active job already holds it.",
        "The same host is registered twice, under two serial numbers or BMC addresses.",
        "Wait for the other job, which the reason names, and remove one of the two records.",
    ),
    entry(
        Code::HostPoweredOn,
        RESOLVE,
        "The BMC reports the host as powered on, and `ALLOW_POWERED_ON` is false.",
        "The host is in use, or was left running.",
        "Power the host off, or set `allow_powered_on` in the recipe.",
    ),
    entry(
        Code::ManagementAddressShared,
        CHECKED,
        "Another server of the inventory has the same management address.",
        "A copied record.",
        "Correct the address of one of the two.",
    ),
    entry(
        Code::InstallerNotConfigured,
        CHECKED_AND_MOUNTED,
        "Neither the settings nor the recipe name an ESXi installer.",
        "`ESXI_INSTALLER_URL` is not set.",
        "Set `ESXI_INSTALLER_URL`, or give the recipe an `esxi_installer_url`.",
    ),
    entry(
        Code::MaintenanceIsoNotConfigured,
        CHECKED_AND_MOUNTED,
        "The settings name no maintenance ISO.",
        "`MAINTENANCE_ISO_URL` is not set.",
        "Build one with `shoal maintenance-iso build`, and set `MAINTENANCE_ISO_URL`.",
    ),
    entry(
        Code::SerialMismatch,
        RESOLVE,
        "The BMC reports serial numbers, and none is that of the server's record.",
        "The record has the BMC address of another host, or the serial number is spelled differently.",
        "Correct `bmc_address` or the serial number of the record; the reason lists what the BMC reports.",
    ),
    entry(
        Code::SerialNotReported,
        RESOLVE,
        "The BMC reports no serial number, and the record has neither `system_uuid` nor `system_id`.",
        "A BMC whose serial number was never programmed.",
        "Add `system_uuid` or `system_id` to the record.",
    ),
    entry(
        Code::SystemNotFound,
        RESOLVE,
        "The BMC has no system with the `system_id` or `system_uuid` of the record.",
        "A wrong or outdated id in the record.",
        "Correct the record; the reason lists the systems of the BMC.",
    ),
    entry(
        Code::SystemAmbiguous,
        RESOLVE,
        "Several systems of the BMC match the record.",
        "A chassis whose systems report the same serial number.",
        "Add `system_id` to the record.",
    ),
    entry(
        Code::SystemUnreadable,
        RESOLVE,
        "No system matches, and one that might could not be read.",
        "The BMC is starting, or one of its resources is broken.",
        "Retry later; if it lasts, reset the BMC or update its firmware.",
    ),
    entry(
        Code::VirtualMediaMissing,
        RESOLVE,
        "The BMC offers no virtual CD drive.",
        "A missing license, virtual media disabled in the BMC's settings, or firmware without them.",
        "Run `shoal bmc check`, and enable or license virtual media on the BMC.",
    ),
    entry(
        Code::VirtualMediaNotEnabled,
        RESOLVE,
        "The BMC was asked twice to enable its virtual media service and still shows no virtual CD drive.",
        "The service needs a restart of the BMC, or the account may not enable it.",
        "Enable virtual media in the BMC's web interface, and retry.",
    ),
    entry(
        Code::MediaLayoutUnavailable,
        RESOLVE,
        "The BMC has virtual drives, but not those that the requested `media_layout` needs.",
        "`dual-cd` or `cd-usb` was requested from a BMC with one virtual CD drive.",
        "Use `auto` or `single-cd`.",
    ),
    entry(
        Code::BootFromCdUnsupported,
        RESOLVE,
        "The BMC offers no method to boot the host once from a virtual CD.",
        "Old firmware.",
        "Update the BMC's firmware, or install this host by other means.",
    ),
];

pub(super) const CONTROLLER: &[FailureEntry] = &[
    entry(
        Code::JobStuck,
        EVERY_STEP,
        "The step made no progress for `JOB_STUCK_TIMEOUT` while a controller was driving it.",
        "A BMC that keeps answering and never reaches the state that the step waits for.",
        "Read the last event of the job for what it waited for; look at the BMC and the host's console.",
    ),
    entry(
        Code::RestoredFromBackup,
        EVERY_STEP,
        "The controller was restored from a backup while the job had not started its host yet.",
        "Whether the host was started after the backup is unknown, so nothing more was done to it.",
        "Look at the host and its virtual drives, and submit the job again if it was not installed.",
    ),
    entry(
        Code::UnreadableState,
        EVERY_STEP,
        "This release cannot read what is stored of the job.",
        "A newer release stored it, or the database is damaged.",
        "Start the release that stored the job, or end it with `shoal job cancel --force` and run `shoal server release`.",
    ),
    entry(
        Code::InternalError,
        EVERY_STEP,
        "An invariant of the controller does not hold; no known failure leads here.",
        "A defect of Shoal.",
        "Report it with the job's events and the log of the controller.",
    ),
];
