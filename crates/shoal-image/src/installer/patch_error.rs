//! Why an installer cannot be made to boot unattended.

use super::bootcfg::BootConfigError;
use crate::iso::IsoError;

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
    #[error("the image is a UDF bridge too, and would show other content there")]
    Udf,
    /// Both would have to change, and no vendor makes such images.
    #[error("the image has two {tree} trees")]
    Twins { tree: &'static str },
    #[error("{path} does not read back as it should after the change, in the {tree} tree")]
    Unverified { path: String, tree: &'static str },
    #[error("the change would touch {what}")]
    Foreign { what: String },
}
