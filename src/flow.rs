//! How one job goes forward.
//!
//! The happy path: `validate-recipe` → `resolve-server` → `build-task-iso` → `mount.maintenance`
//! (CD1) → `mount.task` (CD2) → `boot.override` → `reset` → `esxi.await_bmc` → `esxi.poll_power`,
//! where the judge decides; then `cleanup.unmount-task` → `cleanup.unmount-maintenance` →
//! `cleanup.reset`.
//!
//! ```text
//!            step done                  verdict                cleanup over
//!  Forward ────────────▶ next step ───────────────▶ Cleanup ────────────────▶ Done
//!     │  ▲                                             ▲
//!     │  └─ wait, retry, or back to a step whose       │
//!     │     effect is gone                             │
//!     └──────── a step fails for good, or cancel ──────┘
//! ```
//!
//! Before the host is started, failing or cancelling means: clear the boot override, eject, and nothing else. Later
//! it means: clear the boot override immediately, leave the media until the installer cannot be running, never reset.
//! A step that cannot be cleaned up is recorded beside the verdict and never changes it.
//!
//! [`drive()`] moves a job through this; [`plan`] says in which order, a [`Path`] what its media hold and
//! when its watch is over, [`policy`] and [`power`] how long to wait and what to ask of a BMC. Invariants: the cursor
//! is saved before an act; the verdict is set once, on leaving `Forward`.

pub mod act;
mod boot;
pub mod boot_source;
mod context;
mod drive;
mod error;
pub mod failure_code;
mod final_reset;
pub mod identity;
pub mod layout;
pub mod look;
pub mod media_base;
mod mount;
mod path;
pub mod plan;
pub mod policy;
pub mod power;
pub mod publish;
mod reset;
mod resolve;
mod steps;
pub mod task_iso;
mod unmount;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use url::Url;

use crate::domain::{FailureCode, JobSpec, Serial, Server};
use crate::media::{HostedImages, InstallerCache, InstallerSource, IsoFiles, Media};
use crate::registry::Registries;
use crate::store::{Store, StoreError};
use policy::{Delivery, Policy};
use shoal_base::world::{Secrets, World};
use shoal_base::{UrlPrefixes, UrlSecrets};
use shoal_redfish::{Account, Bmc, BmcPool};

pub use context::Context;
pub use drive::{DriveSignals, Ended, drive};
pub use error::{Failure, StepError};
pub use path::{Decision, Path, StepOutcome, Work};
pub use resolve::Resolved;
pub use unmount::{holds_media, is_forced};

/// Everything that jobs share.
pub struct Services {
    pub world: World,
    pub store: Store,
    pub media: Media,
    /// Makes the tokens with which installers' hooks call.
    pub hook_key: [u8; 32],
    pub bmcs: BmcPool,
    pub installers: InstallerCache,
    pub iso_files: IsoFiles,
    pub images: Arc<HostedImages>,
    pub registries: Registries,
    pub policy: Policy,
    pub setup: WorkflowConfig,
}

impl Services {
    /// The client of a server's BMC.
    pub fn bmc(&self, server: &Server) -> Bmc {
        self.bmcs.bmc(&Account {
            address: server.bmc_address.clone(),
            username: server.bmc_username.clone(),
            password: server.bmc_password.clone(),
            secrets: self.setup.secrets.clone(),
            tls: server.tls.clone(),
        })
    }

    /// The same, beginning with what is kept of it.
    pub async fn remembered_bmc(&self, server: &Server) -> Result<Bmc, StoreError> {
        let bmc = self.bmc(server);
        bmc.recall(self.store.load_bmc_memory(server).await?);
        Ok(bmc)
    }

    /// What must not be shown of the URLs that a job gives to its BMC or its host.
    pub fn url_secrets(&self, spec: Option<&JobSpec>) -> UrlSecrets {
        let own = spec.into_iter().flat_map(JobSpec::urls);
        UrlSecrets::of(own).and(&self.setup.url_secrets)
    }

    /// Keeps what has been learned of it since `version`, which is that of
    /// `Bmc::learned()` by then.
    pub async fn keep_memory(&self, server: &Server, bmc: &Bmc, version: &mut u64) -> Result<(), StoreError> {
        if bmc.learned().version() == *version {
            return Ok(());
        }
        let (memory, now) = bmc.learned().memory();
        if !memory.is_empty() {
            self.store.save_bmc_memory(server, memory).await?;
        }
        *version = now;
        Ok(())
    }
}

/// All checks of a job up to `resolve-server`; nothing is changed, neither here nor on a BMC.
pub async fn dry_run(
    services: &Services,
    path: &dyn Path,
    serial: &Serial,
    spec: &JobSpec,
) -> Result<Resolved, StepError> {
    let server = services.store.server(serial).await?;
    let server = server.ok_or_else(|| {
        StepError::permanent(FailureCode::ServerUnknown, format!("there is no server {serial}"))
    })?;
    path.check(services, &server, spec).await?;
    let bmc = services.remembered_bmc(&server).await?;
    bmc.hide(services.url_secrets(Some(spec)));
    let resolved = resolve::resolve(services, &bmc, &server, spec).await?;
    let host = identity::host_id(&server.bmc_address, &resolved.system);
    match services.store.host_holder(&host, serial).await? {
        None => Ok(resolved),
        Some(holder) => {
            let why = format!("server {serial} cannot be installed now: {holder}");
            Err(StepError::permanent(FailureCode::HostBusy, why))
        }
    }
}

/// Where things are, as configured.
pub struct WorkflowConfig {
    /// `ESXI_INSTALLER_URL`.
    pub installer: Option<InstallerSource>,
    /// `ESXI_INSTALLER_SHA256`, lower-case hex.
    pub installer_sha256: Option<String>,
    pub delivery: Delivery,
    /// `ESXI_INSTALLER_ALLOW`: where the installer URL of a recipe may lead.
    pub installer_allow: UrlPrefixes,
    /// `MAINTENANCE_ISO_URL`.
    pub maintenance_iso: Option<InstallerSource>,
    pub own_pin: OwnPin,
    pub task_iso_dir: PathBuf,
    pub task_iso_retention: Duration,
    pub media_base: MediaBase,
    /// Where the passwords of BMCs are that the inventory only names.
    pub secrets: Secrets,
    /// Of the URLs in the settings.
    pub url_secrets: UrlSecrets,
}

/// SHA-256 of the certificate that this controller shows, where it speaks TLS.
pub type OwnPin = Arc<dyn Fn() -> Option<[u8; 32]> + Send + Sync>;

/// The base of the media URLs for the BMC at an address, or why there is none.
pub type MediaBase = Arc<dyn Fn(Url) -> BoxFuture<'static, Result<Url, String>> + Send + Sync>;
