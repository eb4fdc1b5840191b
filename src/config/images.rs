//! The settings of the images that the controller hosts.

use std::path::PathBuf;

use super::parse;
use super::values::{ConfigError, Values};

#[derive(Clone, Debug)]
pub struct ImageSettings {
    pub dir: PathBuf,
    pub bytes_max: u64,
    /// The largest one that `auto` puts onto a task medium.
    pub auto_media_bytes_max: u64,
}

impl ImageSettings {
    pub(super) fn read(values: &Values) -> Result<ImageSettings, ConfigError> {
        Ok(ImageSettings {
            dir: values.required("IMAGES_DIR", parse::path)?,
            bytes_max: values.required("IMAGES_BYTES", parse::size)?,
            auto_media_bytes_max: values.required("IMAGES_AUTO_MEDIA_BYTES", parse::size)?,
        })
    }
}
