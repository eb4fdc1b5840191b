//! A job as it is meant: a recipe that has been checked.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{IntoStaticStr, VariantNames};
use url::Url;

use super::{EsxiSpec, MaintenanceSpec};
use shoal_recipe::ImageLocation;

/// A job as it is meant.
#[derive(Clone, Debug)]
pub struct JobSpec {
    pub path: PathSpec,
    pub media_layout: Option<MediaLayout>,
    pub allow_powered_on: bool,
    /// Free-form, at most 16 KiB of JSON.
    pub metadata: Value,
}

/// What only one path asks for.
#[derive(Clone, Debug)]
pub enum PathSpec {
    Esxi(EsxiSpec),
    /// Linux or Windows, by a maintenance system.
    Maintenance(Box<MaintenanceSpec>),
}

impl JobSpec {
    pub fn target(&self) -> TaskTarget {
        match &self.path {
            PathSpec::Esxi(_) => TaskTarget::InstallEsxi,
            PathSpec::Maintenance(spec) => spec.target(),
        }
    }

    /// Of an ESXi job.
    pub fn esxi(&self) -> Option<&EsxiSpec> {
        match &self.path {
            PathSpec::Esxi(spec) => Some(spec),
            PathSpec::Maintenance(_) => None,
        }
    }

    pub fn esxi_mut(&mut self) -> Option<&mut EsxiSpec> {
        match &mut self.path {
            PathSpec::Esxi(spec) => Some(spec),
            PathSpec::Maintenance(_) => None,
        }
    }

    /// Of a Linux or Windows job.
    pub fn maintenance(&self) -> Option<&MaintenanceSpec> {
        match &self.path {
            PathSpec::Maintenance(spec) => Some(spec),
            PathSpec::Esxi(_) => None,
        }
    }

    pub fn maintenance_mut(&mut self) -> Option<&mut MaintenanceSpec> {
        match &mut self.path {
            PathSpec::Maintenance(spec) => Some(spec),
            PathSpec::Esxi(_) => None,
        }
    }

    /// Where the recipe says that the boot medium is, if it does.
    pub fn boot_url(&self) -> Option<&Url> {
        match &self.path {
            PathSpec::Esxi(spec) => spec.installer_url.as_ref(),
            PathSpec::Maintenance(_) => None,
        }
    }

    /// The URLs that it gives; their queries may be signatures.
    pub fn urls(&self) -> impl Iterator<Item = &Url> {
        let image = self.maintenance().and_then(|spec| match &spec.recipe.image.location {
            ImageLocation::Url { url, .. } => Some(url),
            ImageLocation::Hosted { .. } | ImageLocation::Oci(_) => None,
        });
        self.boot_url().into_iter().chain(image)
    }
}

/// Which path the job takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum TaskTarget {
    #[serde(rename = "install-esxi.target")]
    InstallEsxi,
    #[serde(rename = "install-linux.target")]
    InstallLinux,
    #[serde(rename = "install-windows.target")]
    InstallWindows,
}

/// How the installer and the kickstart reach the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum MediaLayout {
    /// Two CDs: the installer, and the task ISO.
    #[default]
    DualCd,
    /// One CD: the installer with the kickstart on it.
    SingleCd,
    /// A CD with the installer, and a USB stick with the kickstart.
    CdUsb,
}

impl MediaLayout {
    pub fn name(self) -> &'static str {
        self.into()
    }
}
