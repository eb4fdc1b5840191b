//! Why an installer cannot be had, each with what to do about it.
//!
//! Invariant: sources are named as [`InstallerSource`](super::InstallerSource) shows them.

use std::io;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use http::StatusCode;

use shoal_base::world::TransportError;
use shoal_image::installer::NotAnInstaller;

#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error(
        "{name} cannot be reached ({fault}): check the URL's host and port, and that this controller may go there"
    )]
    Unreachable { name: String, fault: TransportError },
    #[error(
        "the certificate of {name} is not trusted ({fault}): add its authority with CA_FILE, or correct the URL"
    )]
    Certificate { name: String, fault: TransportError },
    #[error("{name} did not answer within {seconds} s: look at its server")]
    TimedOut { name: String, seconds: u64 },
    #[error("there is no {name} (404): correct its URL")]
    NotFound { name: String },
    #[error("{name} may not be fetched ({status}): its URL must be readable without a login")]
    Denied { name: String, status: StatusCode },
    #[error("{name} cannot be fetched: its server answered {status}")]
    Refused { name: String, status: StatusCode },
    #[error("{name} is not an allowed source of installers: see ESXI_INSTALLER_ALLOW")]
    NotAllowed { name: String },
    #[error(
        "{name} redirects to {to}, which is not an allowed source of installers: see ESXI_INSTALLER_ALLOW"
    )]
    RedirectNotAllowed { name: String, to: String },
    #[error("{name} redirects to nowhere, or too often: give the URL where the redirects end")]
    Redirects { name: String },
    /// Given up after bounded retries.
    #[error("the download of {name} broke off again and again, last after {bytes} of {} bytes: the next try goes on there", total.map_or("unknown".to_owned(), |total| total.to_string()))]
    Broken { name: String, bytes: u64, total: Option<u64> },
    #[error("{name} has the SHA-256 {found}, not {expected}: correct the checksum, or distrust the source")]
    Sha256 { name: String, expected: String, found: String },
    #[error("{name} is larger than the whole installer cache ({}): raise INSTALLER_CACHE_BYTES", ByteSize(*bytes_max))]
    TooLarge { name: String, bytes_max: u64 },
    #[error("the installer cache has no room for {name} ({}), and running jobs use what it holds: raise INSTALLER_CACHE_BYTES, or wait", ByteSize(*bytes))]
    Full { name: String, bytes: u64 },
    #[error("{name} is not an ESXi installer: give the vendor's installer ISO")]
    NotAnInstaller { name: String, source: NotAnInstaller },
    #[error("the disk of {} is full: make room, or set INSTALLER_CACHE_DIR to another disk", dir.display())]
    DiskFull { dir: PathBuf },
    #[error("{doing} failed in the installer cache at {}", path.display())]
    Disk { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("the installer {} cannot be read ({fault}): check the path and its permissions", path.display())]
    LocalFile { path: PathBuf, fault: io::Error },
    #[error("the installer {} is not a file", path.display())]
    NotAFile { path: PathBuf },
    #[error("the installer {} changed while it was being copied: try again when it is complete", path.display())]
    Changing { path: PathBuf },
}

impl CacheError {
    /// Something that the cache did with one of its own files.
    pub(in crate::media) fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                CacheError::DiskFull { dir: path.parent().unwrap_or(path).to_owned() }
            }
            _ => CacheError::Disk { doing, path: path.to_owned(), source },
        }
    }

    /// Whether another try of the same may go better.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            CacheError::Unreachable { .. } | CacheError::TimedOut { .. } | CacheError::Broken { .. } => true,
            CacheError::Refused { status, .. } => {
                status.is_server_error()
                    || matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
            }
            _ => false,
        }
    }
}
