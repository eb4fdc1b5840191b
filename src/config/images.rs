//! The settings of the images that the controller hosts, and of the registries that it asks for others.

use std::path::PathBuf;

use super::parse;
use super::values::{ConfigError, Values};
use crate::registry::RegistrySettings;

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

/// The file of logins is read once here, so that a fault in it is found at the start.
pub(super) fn registries(values: &Values) -> Result<RegistrySettings, ConfigError> {
    let settings = RegistrySettings {
        auth_file: values.optional("REGISTRY_AUTH_FILE", parse::path)?,
        plain_http: values.optional("REGISTRY_PLAIN_HTTP", parse::hosts)?.unwrap_or_default(),
        token_hosts: values.optional("REGISTRY_TOKEN_HOSTS", parse::hosts)?.unwrap_or_default(),
    };
    settings.check().map_err(|error| values.invalid("REGISTRY_AUTH_FILE", error.to_string()))?;
    Ok(settings)
}
