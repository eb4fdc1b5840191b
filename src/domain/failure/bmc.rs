//! Failures of a BMC as a service: its network, its accounts, its answers.

use super::FailureCode as Code;
use super::{FailureEntry, entry};
use crate::domain::Step;

/// The steps that send requests to a BMC.
const REQUESTS: &[Step] = &[
    Step::ResolveServer,
    Step::MountMaintenance,
    Step::MountTask,
    Step::BootOverride,
    Step::Reset,
    Step::EsxiAwaitBmc,
    Step::EsxiPollPower,
    Step::AwaitWebhook,
    Step::CleanupUnmountTask,
    Step::CleanupUnmountMaintenance,
    Step::CleanupReset,
];

pub(super) const TABLE: &[FailureEntry] = &[
    entry(
        Code::BmcUnreachable,
        REQUESTS,
        "No connection to the BMC could be made within the step's retry budget.",
        "A wrong `bmc_address`, a BMC that is off or restarting, or a firewall between controller and BMC.",
        "Check the address and the network path with `shoal bmc check`.",
    ),
    entry(
        Code::BmcCertificateUntrusted,
        REQUESTS,
        "The BMC's TLS certificate was rejected.",
        "A self-signed certificate with `tls: verify`, or a certificate that differs from the pinned one.",
        "Pin the certificate with `shoal server pin`, or add its authority with `CA_FILE`.",
    ),
    entry(
        Code::BmcConnectionLost,
        REQUESTS,
        "The connection was closed before the BMC answered, on every try.",
        "A BMC that restarts or runs out of memory, or a proxy in between.",
        "Retry; if it lasts, reset the BMC or update its firmware.",
    ),
    entry(
        Code::BmcTimedOut,
        REQUESTS,
        "The BMC accepted the connection and did not answer in time, on every try.",
        "An overloaded BMC, or one that fetches a whole image before it answers.",
        "Raise `REDFISH_TIMEOUT` or `REDFISH_INSERT_TIMEOUT`, or reset the BMC.",
    ),
    entry(
        Code::BmcLoginRefused,
        REQUESTS,
        "The BMC refused the account's user name or password.",
        "A changed password or a wrong user name.",
        "Correct `bmc_username` or `bmc_password` of the record.",
    ),
    entry(
        Code::BmcPasswordMissing,
        REQUESTS,
        "The record names an external password, which could not be read.",
        "The file below `BMC_SECRETS_DIR` or the variable does not exist, or is not readable.",
        "Create it, or correct the reference in the record.",
    ),
    entry(
        Code::BmcAccountBlocked,
        REQUESTS,
        "The BMC reports that the account is locked or must change its password first.",
        "Too many failed logins, or a factory password.",
        "Unlock the account or change its password on the BMC, and update the record.",
    ),
    entry(
        Code::BmcPrivilegeMissing,
        REQUESTS,
        "The BMC refused a request with status 403 or a message about insufficient privileges.",
        "The account's role lacks virtual media, power or configuration rights.",
        "Give the account those privileges; `shoal bmc check` lists what is missing.",
    ),
    entry(
        Code::BmcLicenseMissing,
        REQUESTS,
        "The BMC reports that its license does not include the function.",
        "iLO without Advanced, iDRAC without Enterprise, XCC without a platinum key, and the like.",
        "Install the license that includes virtual media.",
    ),
    entry(
        Code::BmcSessionsExhausted,
        REQUESTS,
        "The BMC reports that no further session is available.",
        "Other tools leave sessions open.",
        "Close sessions on the BMC, or wait until they expire; then retry.",
    ),
    entry(
        Code::BmcBusy,
        REQUESTS,
        "The BMC reported for the whole retry budget that it is busy or not ready.",
        "The host is in its self test, a firmware update is running, or the BMC is starting.",
        "Wait until the BMC is idle, and retry.",
    ),
    entry(
        Code::BmcAnswerInvalid,
        REQUESTS,
        "The BMC's answer was not JSON, or larger than the controller accepts.",
        "`bmc_address` leads to something other than a Redfish service, or the firmware is broken.",
        "Check the address with `shoal bmc check`; update the firmware.",
    ),
    entry(
        Code::BmcRequestRefused,
        REQUESTS,
        "The BMC refused a request that has no code of its own; the reason quotes status, MessageId and message.",
        "Firmware that deviates from Redfish, or a resource that is not there.",
        "Follow the quoted message; run `shoal bmc check`.",
    ),
    entry(
        Code::BmcTaskFailed,
        REQUESTS,
        "The BMC accepted a request and then reported that it failed.",
        "Depends on the quoted message.",
        "Follow the quoted message; reset the BMC if it gives none.",
    ),
    entry(
        Code::BmcFunctionMissing,
        REQUESTS,
        "The BMC does not offer a function that the step needs.",
        "Old firmware.",
        "Update the BMC's firmware.",
    ),
    entry(
        Code::BmcLinkForeign,
        REQUESTS,
        "A link or redirect of the BMC leads to another host; it was not followed, so that no credentials leave.",
        "A proxy in front of the BMC, or `bmc_address` uses another name than the BMC itself.",
        "Use the address to which the reason says the link leads.",
    ),
];
