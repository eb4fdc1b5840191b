//! `build-task-iso`: make both media ready before anything on a BMC is changed.
//!
//! The task ISO is built into `TASK_ISO_DIR`, the vendor's ISO is fetched and opened, and both are
//! published under the URLs that the BMC will be given. Invariant: the same recipe gives the same
//! bytes, so whatever was lost can be made again at any time ([`publish`] does, after a restart).

use std::sync::Arc;

use serde_json::json;
use url::Url;

use super::{address, hook, task_iso};
use crate::domain::{Drive, InstallerFacts, Job, JobSpec, MediaLayout, Medium, Server};
use crate::flow::policy::Delivery;
use crate::flow::publish::{check_own_media, check_peer, media_base, peer, publish_one};
use crate::flow::task_iso as file;
use crate::flow::{Context, Services, StepError, StepOutcome};
use crate::media::{CachedInstaller, Image, InstallerSource, MediumLandmarks, Watched};
use shoal_image::installer::KickstartOn;

pub(super) async fn ensure(cx: &mut Context<'_>) -> Result<StepOutcome, StepError> {
    cx.job.facts.media_base = Some(media_base(cx).await?);
    let installer = open_installer(cx.services, cx.spec()?).await?;
    let is_direct = is_direct(cx.services, cx.spec()?, cx.job.facts.mounts.layout(), &installer)?;
    let facts = installer_facts(&installer);
    for warning in &installer.installer.warnings {
        cx.warn("installer.open", warning.clone(), json!(null)).await?;
    }
    if facts.build.is_none() && address::of(cx).is_some() {
        let message = "the installer names no build: an answer at the management address will prove nothing";
        cx.warn("installer.open", message, json!(null)).await?;
    }
    let (image, _) = task_iso::render(cx.services, cx.job, cx.spec()?);
    let task_iso = file::save(cx.services, cx.job, &image)?;
    cx.job.facts.esxi_mut().progress.installer_bytes_total = facts.size;
    cx.job.facts.esxi_mut().installer = Some(facts);
    cx.job.facts.mounts.boot.direct = is_direct;
    cx.job.facts.task_iso = Some(task_iso);
    check_peer(cx.services, cx.server)?;
    publish(cx.services, cx.server, cx.job).await?;
    check_own_media(cx).await?;
    let (given, embedded) = (&cx.spec()?.esxi().kickstart, hook::kickstart(cx.services, cx.job, cx.spec()?));
    let detail = json!({
        "ks_cfg": { "size": given.size(), "sha256": given.sha256() },
        "embedded": { "size": embedded.size(), "sha256": embedded.sha256() },
        "task_iso": cx.job.facts.task_iso,
        "installer": cx.job.facts.esxi().installer,
        "direct": cx.job.facts.is_direct(),
    });
    let built = match cx.job.facts.mounts.task.drive {
        Drive::Cd => "the task ISO is built",
        Drive::Usb => "the USB stick with the kickstart is built",
    };
    Ok(StepOutcome::Done { message: format!("{built} and the installer is ready"), detail })
}

/// Makes the job's media readable at their URLs; called again whenever a controller takes the job up.
pub(super) async fn publish(services: &Services, server: &Server, job: &Job) -> Result<(), StepError> {
    let Some(spec) = job.spec.as_ref().filter(|_| job.facts.esxi().installer.is_some()) else {
        return Ok(());
    };
    publish_one(services, job, Medium::Task, task_medium(services, job, spec)?).await?;
    if let Some(peer) = peer(&server.bmc_address) {
        services.media.expect_peer(job.id, peer);
    }
    if job.facts.is_direct() {
        return Ok(());
    }
    let installer = open_installer(services, spec).await?;
    let watched = installer_medium(services, job, spec, &installer)?;
    publish_one(services, job, Medium::Boot, watched).await
}

/// CD2 or the USB stick; where one CD holds everything, it is there for operators to look at.
fn task_medium(services: &Services, job: &Job, spec: &JobSpec) -> Result<Watched, StepError> {
    let (image, place) = task_iso::render(services, job, spec);
    if !file::is_saved(services, job, &image) {
        file::save(services, job, &image)?;
    }
    let drive = job.facts.mounts.task.drive;
    Ok(Watched { image: Arc::new(Image::sparse(image)), drive, landmarks: MediumLandmarks::task(place) })
}

fn installer_medium(
    services: &Services,
    job: &Job,
    spec: &JobSpec,
    installer: &CachedInstaller,
) -> Result<Watched, StepError> {
    let patching = |error| StepError::permanent_from("setting the installer's boot options", error);
    let mut landmarks = MediumLandmarks::installer(installer.installer.landmarks.clone());
    let image = match job.facts.mounts.layout() {
        MediaLayout::DualCd => installer.patched(KickstartOn::Cd).map_err(patching)?,
        MediaLayout::CdUsb => installer.patched(KickstartOn::Usb).map_err(patching)?,
        MediaLayout::SingleCd => {
            let kickstart = hook::kickstart(services, job, spec);
            let nonce = hook::nonce(services, job, spec);
            let nonce = nonce.as_deref().map(str::as_bytes);
            let (image, place) =
                installer.with_kickstart(kickstart.expose().as_bytes(), nonce).map_err(patching)?;
            landmarks.kickstart = Some(place);
            image
        }
    };
    Ok(Watched { image, drive: Drive::Cd, landmarks })
}

async fn open_installer(services: &Services, spec: &JobSpec) -> Result<Arc<CachedInstaller>, StepError> {
    let source = source(services, spec)?;
    let own = spec.esxi().installer_url.is_some();
    let configured = services.setup.installer_sha256.as_deref().filter(|_| !own);
    let sha256 = spec.esxi().installer_sha256.as_deref().or(configured);
    let prefixes = services.setup.installer_allow.clone();
    let allowed = move |url: &Url| !own || prefixes.allow(url);
    services
        .installers
        .open(&source, sha256, &allowed)
        .await
        .map_err(|error| StepError::permanent_from("opening the ESXi installer", error))
}

fn source(services: &Services, spec: &JobSpec) -> Result<InstallerSource, StepError> {
    match (&spec.esxi().installer_url, &services.setup.installer) {
        (Some(url), _) if !services.setup.installer_allow.allow(url) => Err(StepError::permanent(
            "the recipe's esxi_installer_url is not under a prefix of ESXI_INSTALLER_ALLOW",
        )),
        (Some(url), _) => Ok(InstallerSource::Url(url.clone())),
        (None, Some(source)) => Ok(source.clone()),
        (None, None) => Err(StepError::permanent(
            "no ESXi installer: set ESXI_INSTALLER_URL, or give the recipe an esxi_installer_url",
        )),
    }
}

/// Whether the BMC is given the vendor's image where it is.
fn is_direct(
    services: &Services,
    spec: &JobSpec,
    layout: MediaLayout,
    cached: &CachedInstaller,
) -> Result<bool, StepError> {
    let remote = matches!(source(services, spec)?, InstallerSource::Url(url) if matches!(url.scheme(), "http" | "https"));
    match services.setup.delivery {
        Delivery::Direct if layout == MediaLayout::SingleCd => Err(StepError::permanent(
            "this BMC has one virtual CD drive, so the kickstart goes onto the installer's CD, which has to be \
                 served for that: set ESXI_INSTALLER_DELIVERY to auto or served",
        )),
        // An installer that boots unattended looks for its kickstart on CDs.
        Delivery::Auto if layout != MediaLayout::DualCd => Ok(false),
        Delivery::Served => Ok(false),
        Delivery::Auto => Ok(remote && cached.installer.boots_unattended()),
        Delivery::Direct if remote => Ok(true),
        Delivery::Direct => {
            Err(StepError::permanent("ESXI_INSTALLER_DELIVERY=direct needs an http:// or https:// installer"))
        }
    }
}

fn installer_facts(cached: &CachedInstaller) -> InstallerFacts {
    let installer = &cached.installer;
    InstallerFacts {
        sha256: cached.sha256.clone(),
        size: cached.size,
        volume_id: installer.volume_id.clone(),
        version: installer.version.clone(),
        build: installer.build.clone(),
    }
}

/// For a BMC that is given the vendor's image where it is.
pub(super) fn direct_url(services: &Services, spec: &JobSpec) -> Result<String, StepError> {
    match source(services, spec)? {
        InstallerSource::Url(url) => Ok(url.to_string()),
        InstallerSource::File(_) => Err(StepError::permanent("a file cannot be given to a BMC directly")),
    }
}
