//! Why an installer cannot be made to boot unattended.

use super::bootcfg::BootConfigError;
use crate::iso::{ChangeError, IsoError};

/// Why an installer cannot be made to boot unattended.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    #[error("the image cannot be changed")]
    Iso(#[from] IsoError),
    #[error("{path} cannot be changed")]
    BootFile {
        path: String,
        #[source]
        source: BootConfigError,
    },
    #[error("{path} is no longer where it was recognised")]
    Vanished { path: String },
    #[error(transparent)]
    Change(#[from] ChangeError),
}
