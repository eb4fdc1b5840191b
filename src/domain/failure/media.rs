//! Failures of the media: made, served, inserted.

use super::FailureCode as Code;
use super::{FailureEntry, entry};
use crate::domain::Step;

const BUILD: &[Step] = &[Step::BuildTaskIso];
const MOUNT: &[Step] = &[Step::MountMaintenance, Step::MountTask];
/// Media that a host may be reading are prepared once, and the URL of a direct one is used while it is mounted.
const BUILD_AND_MOUNT: &[Step] = &[Step::BuildTaskIso, Step::MountMaintenance, Step::MountTask];
const UNMOUNT: &[Step] = &[Step::CleanupUnmountTask, Step::CleanupUnmountMaintenance, Step::CleanupReset];

pub(super) const TABLE: &[FailureEntry] = &[
    entry(
        Code::MediaAddressUnknown,
        BUILD_AND_MOUNT,
        "No address could be derived under which this BMC reaches the controller.",
        "`MEDIA_BASE_URL` is not set, and the BMC's name does not resolve or there is no route to it.",
        "Set `MEDIA_BASE_URL` to an address of this controller on the BMC's network.",
    ),
    entry(
        Code::MediaAddressLoopback,
        BUILD,
        "The media would be served at a loopback address, and the BMC is on another machine.",
        "The controller listens on loopback only, which is the default.",
        "Set `MEDIA_BASE_URL`, and `CONTROLLER_HTTP_ADDR` or `MEDIA_ADDR` to an address on the BMC's network.",
    ),
    entry(
        Code::MediaPeerUnknown,
        BUILD,
        "`MEDIA_BIND_PEER` is set, and the record names the BMC by a host name.",
        "Media can be bound to an IP address only.",
        "Use an IP address as `bmc_address`, or unset `MEDIA_BIND_PEER`.",
    ),
    entry(
        Code::MediaNotPublished,
        BUILD,
        "The media server could not load the job's read trace, so the media were not published.",
        "The database cannot be read.",
        "Check the database and its disk, and retry.",
    ),
    entry(
        Code::InstallerUnreachable,
        BUILD,
        "The server of the installer could not be reached, did not answer in time, or closed the connection each time.",
        "A wrong URL, a server that is down, or a firewall.",
        "Check the installer's URL from the controller's machine.",
    ),
    entry(
        Code::InstallerCertificateUntrusted,
        BUILD,
        "The TLS certificate of the installer's server was rejected.",
        "A private certificate authority.",
        "Add the authority with `CA_FILE`.",
    ),
    entry(
        Code::InstallerFetchRefused,
        BUILD,
        "The server of the installer answered with an error status or an unusable redirect.",
        "The file is not there, or needs a login.",
        "Correct the URL; it must be readable without a login.",
    ),
    entry(
        Code::InstallerChecksumMismatch,
        BUILD,
        "The installer's SHA-256 is not the expected one.",
        "Another version of the file, a damaged download, or a wrong checksum.",
        "Compare with the vendor's checksum, then correct `ESXI_INSTALLER_SHA256` or the file.",
    ),
    entry(
        Code::InstallerNotEsxi,
        BUILD,
        "The image has no ESXi boot configuration, or is damaged.",
        "Another ISO, an incomplete download, or an image rewritten with UDF.",
        "Use the vendor's ISO as downloaded; look at it with `shoal iso inspect`.",
    ),
    entry(
        Code::InstallerNotPatchable,
        BUILD,
        "The boot options or the kickstart could not be added to the installer's image.",
        "An unusually laid out image.",
        "Use the vendor's ISO as downloaded; try it with `shoal iso prepare`.",
    ),
    entry(
        Code::InstallerFileUnreadable,
        BUILD,
        "The installer is a local file that could not be read, or changed while it was copied.",
        "It was moved or replaced, or its permissions exclude the controller.",
        "Put the file back, or correct its permissions.",
    ),
    entry(
        Code::InstallerCacheFull,
        BUILD,
        "The installer does not fit into the installer cache, or the cache's disk is full.",
        "`INSTALLER_CACHE_BYTES` is too small for the images in use, or the disk is.",
        "Raise `INSTALLER_CACHE_BYTES`, or free space in `INSTALLER_CACHE_DIR`.",
    ),
    entry(
        Code::InstallerCacheBroken,
        BUILD,
        "A file operation in `INSTALLER_CACHE_DIR` failed.",
        "Wrong permissions, or a failing disk.",
        "Correct the permissions, or move the cache to another disk.",
    ),
    entry(
        Code::DeliveryNotPossible,
        BUILD_AND_MOUNT,
        "The settings require that the BMC fetches the image itself, which this drive layout or image excludes.",
        "`ESXI_INSTALLER_DELIVERY=direct`, or a maintenance ISO at a URL, with a BMC that has one virtual CD drive.",
        "Set `ESXI_INSTALLER_DELIVERY` to `auto`, or `MAINTENANCE_ISO_URL` to the path of a file.",
    ),
    entry(
        Code::TaskIsoNotBuilt,
        BUILD_AND_MOUNT,
        "The task ISO could not be composed from the recipe.",
        "A recipe of an earlier release whose image was not resolved, or an invalid `MEDIA_BASE_URL`.",
        "Submit the recipe again; check `MEDIA_BASE_URL`.",
    ),
    entry(
        Code::TaskIsoNotWritten,
        BUILD,
        "The task ISO could not be written into `TASK_ISO_DIR`.",
        "A full disk, or wrong permissions.",
        "Free space there, or correct the permissions.",
    ),
    entry(
        Code::MaintenanceIsoUnreadable,
        BUILD,
        "The maintenance ISO could not be opened, read as ISO 9660, or extended with the task's files.",
        "A wrong path in `MAINTENANCE_ISO_URL`, or a damaged image.",
        "Correct the path, or build the image again with `shoal maintenance-iso build`.",
    ),
    entry(
        Code::MaintenanceIsoChanged,
        BUILD,
        "The maintenance ISO is not the one with which the job began.",
        "The file was replaced while the job was active.",
        "Put the earlier file back, or retry the job.",
    ),
    entry(
        Code::ImageUnavailable,
        BUILD,
        "The image that the controller hosts for this job could not be opened.",
        "It was removed or changed in `IMAGES_DIR`.",
        "Add the image again with `shoal image add`, and retry.",
    ),
    entry(
        Code::MediaInsertRefused,
        MOUNT,
        "The BMC requested the image and then refused or failed the insertion; the reason quotes its message.",
        "A format, size or firmware limit of the BMC.",
        "Follow the quoted message; try `shoal bmc check --probe-media`.",
    ),
    entry(
        Code::MediaProtocolRefused,
        &[Step::ResolveServer, Step::MountMaintenance, Step::MountTask],
        "The BMC does not accept image URLs of the scheme under which the media are served.",
        "A BMC that accepts HTTPS only, or HTTP only.",
        "Serve media accordingly: `MEDIA_TLS=true`, or `MEDIA_ADDR` without TLS.",
    ),
    entry(
        Code::MediaFetchRefused,
        &[Step::MountMaintenance, Step::MountTask, Step::EsxiAwaitBmc, Step::EsxiPollPower],
        "The BMC requested the image from the controller, and its last request failed; the reason says how.",
        "The BMC rejects the controller's TLS certificate, or uses a stale URL.",
        "Serve media over plain HTTP with `MEDIA_ADDR`, or install the certificate on the BMC.",
    ),
    entry(
        Code::MediaNotRequested,
        MOUNT,
        "The insertion failed, and the BMC never requested the image from the controller.",
        "The BMC cannot reach the media address: a firewall, a wrong `MEDIA_BASE_URL`, or no route.",
        "Set `MEDIA_BASE_URL` to an address that the BMC's network reaches; try `shoal bmc check --probe-media`.",
    ),
    entry(
        Code::MediaNotShown,
        MOUNT,
        "The BMC accepted every insertion and never showed the image in the drive.",
        "Firmware that fails silently, or a remote console that occupies the drive.",
        "Close remote consoles, reset the BMC, and retry.",
    ),
    entry(
        Code::MediaDrivesConflict,
        MOUNT,
        "Inserting into the second virtual drive emptied the first.",
        "The BMC shows two drives and has one; `dual-cd` was requested.",
        "Use `media_layout` `auto` or `single-cd`.",
    ),
    entry(
        Code::MediaEjectRefused,
        &[
            Step::MountMaintenance,
            Step::MountTask,
            Step::CleanupUnmountTask,
            Step::CleanupUnmountMaintenance,
            Step::CleanupReset,
        ],
        "The BMC refused to eject what the virtual drive holds.",
        "A remote console or another tool holds the drive.",
        "Close it, then run `shoal server release`.",
    ),
    entry(
        Code::MediaNotEjected,
        UNMOUNT,
        "The BMC accepted the eject and still shows the image.",
        "Firmware that shows ejects late or not at all.",
        "Eject in the BMC's web interface, or run `shoal server release`.",
    ),
    entry(
        Code::MediaLost,
        &[Step::Reset],
        "A virtual drive was empty again each time before the host was started.",
        "A BMC that drops media when the host's power changes.",
        "Update the BMC's firmware; leave the host powered off before the job.",
    ),
];
