//! `build-task-iso`: make both media ready before anything on a BMC is changed.
//!
//! | part | fails for good where |
//! |---|---|
//! | the media base: the address at which this BMC reaches the controller | it is a loopback address and the BMC is not |
//! | the installer: taken from the cache or fetched into it, hashed, recognised | it is not allowed, cannot be fetched, has another SHA-256, or is no ESXi image |
//! | the delivery: served here, or by its own URL ([`is_direct`]) | the settings demand a delivery that this layout or source excludes |
//! | the task ISO or stick, written to `TASK_ISO_DIR` | the file cannot be written |
//! | both published, to the BMC's address alone with `MEDIA_BIND_PEER` | the record names the BMC by a host name then |
//! | the task ISO read back over HTTP | never: a controller behind NAT may not reach itself, so that is a warning |
//!
//! No part has an intent, because the BMC sees none of them: after a crash the step simply runs again. The facts
//! that it leaves (installer, delivery, media base) are what the later steps go by. A controller that takes the job up
//! later makes the same media again ([`publish`]) under the same URLs.
//!
//! Invariant: the same recipe gives the same bytes, so a host that reads on across a restart of the controller
//! reads one image.

use std::sync::Arc;

use serde_json::json;
use url::Url;

use super::{address, asked, hook, task_iso};
use crate::domain::FailureCode as Code;
use crate::domain::{Drive, InstallerFacts, Job, JobSpec, MediaLayout, Medium, Server};
use crate::flow::failure_code::code_of_installer;
use crate::flow::policy::Delivery;
use crate::flow::publish::{check_own_media, check_peer, expect_peer, media_base, publish_one, source_url};
use crate::flow::task_iso as file;
use crate::flow::{Context, Services, StepError, StepOutcome};
use crate::media::{CachedInstaller, Image, InstallerSource, MediumLandmarks, Watched};
use shoal_image::installer::KickstartOn;

pub(super) async fn ensure(cx: &mut Context<'_>) -> Result<StepOutcome, StepError> {
    cx.job.facts.media_base = Some(media_base(cx).await?);
    // May take as long as the download of an image. The engine renews the lease meanwhile; a cancel waits.
    let installer = open_installer(cx.services, cx.spec()?, None).await?;
    let is_direct = is_direct(cx.services, cx.spec()?, cx.job.facts.mounts.layout(), &installer)?;
    let facts = installer_facts(&installer);
    for warning in &installer.installer.warnings {
        cx.warn("installer.open", warning.clone(), json!(null)).await?;
    }
    if facts.build.is_none() && address::of(cx).is_some() {
        let message = "the installer names no build: an answer at the management address will prove nothing";
        cx.warn("installer.open", message, json!(null)).await?;
    }
    let (image, _) = task_iso::render(cx.services, cx.job, cx.spec()?, asked(cx.spec()?)?);
    let task_iso = file::save(cx.services, cx.job, &image)?;
    cx.job.facts.esxi_mut().progress.installer_bytes_total = facts.size;
    cx.job.facts.esxi_mut().installer = Some(facts);
    cx.job.facts.mounts.boot.direct = is_direct;
    cx.job.facts.task_iso = Some(task_iso);
    check_peer(cx.services, cx.server)?;
    publish(cx.services, cx.server, cx.job).await?;
    check_own_media(cx).await?;
    let (given, embedded) =
        (&asked(cx.spec()?)?.kickstart, hook::kickstart(cx.services, cx.job, asked(cx.spec()?)?));
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
    // Without these facts the step has not come to its end, and publishes when it runs.
    let Some(spec) = job.spec.as_ref().filter(|_| job.facts.esxi().installer.is_some()) else {
        return Ok(());
    };
    publish_one(services, job, Medium::Task, task_medium(services, job, spec)?).await?;
    expect_peer(services, server, job);
    if job.facts.is_direct() {
        return Ok(());
    }
    // The image that the job began with, whatever the settings and its source have become since: a host may be reading it.
    let begun_with = job.facts.esxi().installer.as_ref().map(|installer| installer.sha256.as_str());
    let installer = open_installer(services, spec, begun_with).await?;
    let watched = installer_medium(services, job, spec, &installer)?;
    publish_one(services, job, Medium::Boot, watched).await
}

/// CD2 or the USB stick; where one CD holds everything, it is there for operators to look at.
fn task_medium(services: &Services, job: &Job, spec: &JobSpec) -> Result<Watched, StepError> {
    let (image, place) = task_iso::render(services, job, spec, asked(spec)?);
    // The file is for operators and for the retention; the BMC is served from memory.
    file::ensure_saved(services, job, &image)?;
    let drive = job.facts.mounts.task.drive;
    Ok(Watched { image: Arc::new(Image::sparse(image)), drive, landmarks: MediumLandmarks::task(place) })
}

fn installer_medium(
    services: &Services,
    job: &Job,
    spec: &JobSpec,
    installer: &CachedInstaller,
) -> Result<Watched, StepError> {
    let patching = |error| {
        StepError::permanent_from(Code::InstallerNotPatchable, "setting the installer's boot options", error)
    };
    let mut landmarks = MediumLandmarks::installer(installer.installer.landmarks.clone());
    let image = match job.facts.mounts.layout() {
        MediaLayout::DualCd => installer.patched(KickstartOn::Cd).map_err(patching)?,
        MediaLayout::CdUsb => installer.patched(KickstartOn::Usb).map_err(patching)?,
        MediaLayout::SingleCd => {
            let kickstart = hook::kickstart(services, job, asked(spec)?);
            let nonce = hook::nonce(services, job, asked(spec)?);
            let nonce = nonce.as_deref().map(str::as_bytes);
            let (image, place) =
                installer.with_kickstart(kickstart.expose().as_bytes(), nonce).map_err(patching)?;
            landmarks.kickstart = Some(place);
            image
        }
    };
    Ok(Watched { image, drive: Drive::Cd, landmarks })
}

/// The recipe's installer before the configured one. A recipe's URL, and each redirect of it, must be under an allowed
/// prefix, since anyone who submits jobs could make the controller fetch it; the operator's own setting need not.
async fn open_installer(
    services: &Services,
    spec: &JobSpec,
    begun_with: Option<&str>,
) -> Result<Arc<CachedInstaller>, StepError> {
    let source = source(services, spec)?;
    let asked = asked(spec)?;
    let own = asked.installer_url.is_some();
    // The configured hash is that of the configured image only.
    let configured = services.setup.installer_sha256.as_deref().filter(|_| !own);
    let sha256 = begun_with.or(asked.installer_sha256.as_deref()).or(configured);
    let prefixes = services.setup.installer_allow.clone();
    let allowed = move |url: &Url| !own || prefixes.allow(url);
    services.installers.open(&source, sha256, &allowed).await.map_err(|error| {
        StepError::permanent_from(code_of_installer(&error), "opening the ESXi installer", error)
    })
}

fn source(services: &Services, spec: &JobSpec) -> Result<InstallerSource, StepError> {
    match (&asked(spec)?.installer_url, &services.setup.installer) {
        (Some(url), _) if !services.setup.installer_allow.allow(url) => Err(StepError::permanent(
            Code::SourceNotAllowed,
            "the recipe's esxi_installer_url is not under a prefix of ESXI_INSTALLER_ALLOW",
        )),
        (Some(url), _) => Ok(InstallerSource::Url(url.clone())),
        (None, Some(source)) => Ok(source.clone()),
        (None, None) => Err(StepError::permanent(
            Code::InstallerNotConfigured,
            "no ESXi installer: set ESXI_INSTALLER_URL, or give the recipe an esxi_installer_url",
        )),
    }
}

/// Whether the BMC is given the vendor's image where it is. That saves the controller the traffic, and costs the read
/// trace of CD1. Such an image cannot be changed, so `auto` chooses it only where it starts an unattended installation
/// as it is.
fn is_direct(
    services: &Services,
    spec: &JobSpec,
    layout: MediaLayout,
    cached: &CachedInstaller,
) -> Result<bool, StepError> {
    let remote = matches!(source(services, spec)?, InstallerSource::Url(url) if matches!(url.scheme(), "http" | "https"));
    match services.setup.delivery {
        Delivery::Direct if layout == MediaLayout::SingleCd => Err(StepError::permanent(
            Code::DeliveryNotPossible,
            "this BMC has one virtual CD drive, so the kickstart goes onto the installer's CD, which has to be \
                 served for that: set ESXI_INSTALLER_DELIVERY to auto or served",
        )),
        // An installer that boots unattended looks for its kickstart on CDs.
        Delivery::Auto if layout != MediaLayout::DualCd => Ok(false),
        Delivery::Served => Ok(false),
        Delivery::Auto => Ok(remote && cached.installer.boots_unattended()),
        Delivery::Direct if remote => Ok(true),
        Delivery::Direct => {
            let why = "ESXI_INSTALLER_DELIVERY=direct needs an http:// or https:// installer";
            Err(StepError::permanent(Code::DeliveryNotPossible, why))
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
    source_url(&source(services, spec)?)
}
