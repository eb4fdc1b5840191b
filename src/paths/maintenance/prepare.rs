//! `build-task-iso`: make both media ready before anything on a BMC is changed.
//!
//! The task ISO holds the recipe as the agent reads it, the data for the first boot, and the signal files, whose
//! reads show where no network does that the agent started, and its result. A maintenance ISO that is a file is served by this controller; one at
//! an http(s) URL is given to the BMC as it is. Invariant: the same job gives the same bytes, so whatever was lost can
//! be made again at any time ([`publish`] does, after a restart).

use std::sync::Arc;

use serde_json::json;
use shoal_image::iso::SparseImage;
use shoal_image::task_medium::{
    TaskFile, TaskMedium, TaskPlaces, build_task_medium, overlay_task_files, system_landmarks,
};
use shoal_recipe as recipe;
use shoal_recipe::{Completion, TaskImage, TaskImageLocation, TaskRecipe};
use url::Url;

use super::asked;
use super::own_image::OwnImage;
use crate::domain::FailureCode as Code;
use crate::domain::{
    Drive, HostId, Job, JobSpec, MachineIdentity, MaintenanceSpec, Medium, RegistryImage, Serial, Server,
};
use crate::flow::publish::{check_own_media, check_peer, expect_peer, media_base, publish_one};
use crate::flow::task_iso as file;
use crate::flow::{Context, Services, StepError, StepOutcome};
use crate::media::{
    Image, InstallerSource, IsoFileError, KickstartPlace, MediumLandmarks, OpenedIso, Watched,
};
use crate::token;
use shoal_base::hex;
use shoal_base::world::TlsPolicy;

/// Of the task ISO; operators see it in their hosts' logs.
const VOLUME_ID: &str = "SHOAL_TASK";

pub(super) async fn ensure(cx: &mut Context<'_>) -> Result<StepOutcome, StepError> {
    cx.job.facts.media_base = Some(media_base(cx).await?);
    let is_direct = is_direct(cx.services, cx.job)?;
    cx.job.facts.mounts.boot.direct = is_direct;
    let host = cx.job.facts.system.as_ref().and_then(|system| system.host.as_ref());
    let identity = identity(&cx.server.serial, host);
    cx.job.facts.maintenance_mut().own_pin = (cx.services.setup.own_pin)().map(|pin| hex(&pin));
    cx.job.facts.maintenance_mut().identity = Some(identity);
    if !is_direct {
        let iso = open(cx.services).await?;
        cx.job.facts.maintenance_mut().iso_sha256 = Some(iso.sha256().to_owned());
    }
    let own = OwnImage::open(cx.services, cx.spec()?).await?;
    let task = task_iso(cx.services, cx.job, cx.spec()?, own.as_ref())?;
    let task_iso = file::save(cx.services, cx.job, &without_image(&task, own.as_ref()))?;
    cx.job.facts.task_iso = Some(task_iso);
    check_peer(cx.services, cx.server)?;
    publish(cx.services, cx.server, cx.job).await?;
    check_own_media(cx).await?;
    let detail = json!({
        "task_iso": cx.job.facts.task_iso,
        "maintenance_iso": source(cx.services)?.to_string(),
        "direct": is_direct,
    });
    Ok(StepOutcome::Done {
        message: "the task ISO is built and the maintenance ISO is ready".to_owned(),
        detail,
    })
}

/// What the SMBIOS of the resolved host may show. The BMC is not asked again: this step has to outlast its absence when
/// a job comes back to it. What is no serial number and no UUID is left out, because the agent refuses such a recipe.
fn identity(own: &Serial, host: Option<&HostId>) -> MachineIdentity {
    let reported = host.and_then(|host| host.serial.as_deref()).map(str::trim);
    let reported = reported.filter(|serial| !serial.is_empty() && *serial != own.as_str());
    let is_uuid = |uuid: &str| {
        let digits = || uuid.chars().filter(|c| *c != '-');
        digits().count() == 32 && digits().all(|c| c.is_ascii_hexdigit())
    };
    MachineIdentity {
        serials: reported.into_iter().chain([own.as_str()]).map(str::to_owned).collect(),
        uuid: host.and_then(|host| host.uuid.clone()).filter(|uuid| is_uuid(uuid)),
    }
}

/// Makes the job's media readable at their URLs; called again whenever a controller takes the job up.
pub(super) async fn publish(services: &Services, server: &Server, job: &Job) -> Result<(), StepError> {
    let Some(spec) = job.spec.as_ref().filter(|_| job.facts.maintenance().identity.is_some()) else {
        return Ok(());
    };
    if let Some(image) = &asked(spec)?.registry_image {
        services.media.publish_image(job.id, services.registries.host_image(image));
    }
    let own = OwnImage::open(services, spec).await?;
    let task = task_iso(services, job, spec, own.as_ref())?;
    file::ensure_saved(services, job, &without_image(&task, own.as_ref()))?;
    let drive = job.facts.mounts.task.drive;
    let landmarks = MediumLandmarks::task(place(&task.places)?);
    let image = filled(Image::sparse(task.image), &task.places, own.as_ref());
    let watched = Watched { image: Arc::new(image), drive, landmarks };
    publish_one(services, job, Medium::Task, watched).await?;
    if let Some(own) = &own {
        own.publish(services, job);
    }
    expect_peer(services, server, job);
    if job.facts.is_direct() {
        return Ok(());
    }
    let iso = open(services).await?;
    // A host may be reading the one that the job began with.
    if job.facts.maintenance().iso_sha256.as_deref().is_some_and(|begun_with| begun_with != iso.sha256()) {
        return Err(StepError::permanent(
            Code::MaintenanceIsoChanged,
            "the file of MAINTENANCE_ISO_URL is another one than the job began with: put that back",
        ));
    }
    let watched = boot_medium(services, job, spec, &iso, own.as_ref())?;
    publish_one(services, job, Medium::Boot, watched).await
}

/// The maintenance ISO, with the task's files on it where one CD has to carry both.
fn boot_medium(
    services: &Services,
    job: &Job,
    spec: &JobSpec,
    iso: &OpenedIso,
    own: Option<&OwnImage>,
) -> Result<Watched, StepError> {
    let system = system_landmarks(iso.bytes().as_ref()).map_err(|error| {
        StepError::permanent_from(Code::MaintenanceIsoUnreadable, "reading the maintenance ISO", error)
    })?;
    let mut landmarks = MediumLandmarks::installer(system);
    let image = match job.facts.mounts.on_one_cd {
        false => iso.image(),
        true => {
            let files = files(services, job, asked(spec)?, own)?;
            let added = overlay_task_files(iso.bytes().as_ref(), &files).map_err(|error| {
                let doing = "adding the task's files to the maintenance ISO";
                StepError::permanent_from(Code::MaintenanceIsoUnreadable, doing, error)
            })?;
            landmarks.kickstart = Some(place(&added.places)?);
            filled(iso.with(added.overlay), &added.places, own)
        }
    };
    Ok(Watched { image: Arc::new(image), drive: Drive::Cd, landmarks })
}

/// CD2, or the same bytes on a USB stick: the agent looks for it by content.
fn task_iso(
    services: &Services,
    job: &Job,
    spec: &JobSpec,
    own: Option<&OwnImage>,
) -> Result<TaskMedium, StepError> {
    let files = files(services, job, asked(spec)?, own)?;
    build_task_medium(VOLUME_ID, &files)
        .map_err(|error| StepError::permanent_from(Code::TaskIsoNotBuilt, "building the task ISO", error))
}

fn filled(medium: Image, places: &TaskPlaces, own: Option<&OwnImage>) -> Image {
    match own {
        Some(own) => own.fill(medium, places),
        None => medium,
    }
}

/// What is kept for operators ends where the image begins.
fn without_image(task: &TaskMedium, own: Option<&OwnImage>) -> SparseImage {
    let begins_at = own.and_then(|own| Some(own.places(&task.places).first()?.start));
    SparseImage { size: begins_at.unwrap_or(task.image.size), pieces: task.image.pieces.clone() }
}

/// Where the files lie whose reads are milestones.
fn place(places: &TaskPlaces) -> Result<KickstartPlace, StepError> {
    let of = |name: &str| {
        let found = places.files.get(name).cloned();
        found.ok_or_else(|| StepError::internal(format!("the task medium has no file {name}")))
    };
    Ok(KickstartPlace {
        kickstart: of(recipe::RECIPE_FILE)?,
        nonce: Some(of(recipe::SUCCESS_FILE)?),
        failure: Some(of(recipe::FAILURE_FILE)?),
        started: Some(of(recipe::STARTED_FILE)?),
        rest_end: places.shared_end,
    })
}

/// What the task medium holds.
fn files(
    services: &Services,
    job: &Job,
    asked: &MaintenanceSpec,
    own: Option<&OwnImage>,
) -> Result<Vec<TaskFile>, StepError> {
    let given = &asked.recipe;
    let task = task_recipe(services, job, asked, own)?.to_json().to_string();
    let meta_data = format!("instance-id: {}\n", job.id);
    let linux = given.target == recipe::Target::Linux;
    let first_boot = [
        ("user-data", given.user_data.as_deref().or(linux.then_some("#cloud-config\n{}\n"))),
        ("meta-data", linux.then_some(meta_data.as_str())),
        ("network-config", given.network_config.as_deref()),
        (recipe::UNATTEND_FILE, given.unattend_xml.as_deref()),
    ];
    let first_boot = first_boot
        .into_iter()
        .filter_map(|(name, text)| Some(TaskFile::shared(name, text?.as_bytes().to_vec())));
    let signals = [recipe::SUCCESS_FILE, recipe::FAILURE_FILE, recipe::STARTED_FILE];
    let signals = signals.map(|name| TaskFile::alone(name, format!("{name}\n").into_bytes()));
    let recipe = TaskFile::alone(recipe::RECIPE_FILE, task.into_bytes());
    let image = own.map(OwnImage::parts).unwrap_or_default();
    Ok(std::iter::once(recipe).chain(signals).chain(first_boot).chain(image).collect())
}

fn task_recipe(
    services: &Services,
    job: &Job,
    asked: &MaintenanceSpec,
    own: Option<&OwnImage>,
) -> Result<TaskRecipe, StepError> {
    let given = &asked.recipe;
    let identity = job.facts.maintenance().identity.clone().unwrap_or_default();
    let reports = given.completion == Completion::Webhook;
    let base = job.facts.media_base.as_deref().unwrap_or_default();
    let at_base = |path: &str| {
        under_base(base, path).map_err(|error| {
            StepError::permanent_from(Code::TaskIsoNotBuilt, "the base of the media's URLs", error)
        })
    };
    let report_url = at_base(&report_path(&job.server, &token::of_hook(&services.hook_key, job.id)))?;
    let image_url = at_base(&services.media.image_path(job.id))?;
    let image = match own {
        Some(own) => own.task_image(image_url),
        None => fetched_image(asked, image_url)?,
    };
    Ok(TaskRecipe {
        job: recipe::Job {
            id: job.id.to_string(),
            controller_url: report_url.join("/").ok(),
            tls: report_tls(&report_url, job.facts.maintenance().own_pin.as_deref()),
            report_url: reports.then_some(report_url),
            ca_pem: None,
            hosts: Default::default(),
            signals: given.completion != Completion::Poweroff,
        },
        identity: recipe::Identity { serials: identity.serials, uuid: identity.uuid },
        target: given.target,
        target_disk: given.target_disk.clone(),
        image,
        partition_layout: given.partition_layout.clone(),
        network: given.network.clone(),
        overwrite: given.overwrite,
        verify: given.verify,
    })
}

/// An image that the host downloads, perhaps from the controller at `served`.
fn fetched_image(asked: &MaintenanceSpec, served: Url) -> Result<TaskImage, StepError> {
    match (&asked.recipe.image.location, &asked.registry_image) {
        (recipe::ImageLocation::Url { url, sha256 }, _) => {
            Ok(TaskImage { location: TaskImageLocation::Url(url.clone()), sha256: *sha256, size: None })
        }
        (recipe::ImageLocation::Hosted { .. }, _) => {
            let why = "the image of the recipe was not settled: submit the job again";
            Err(StepError::permanent(Code::TaskIsoNotBuilt, why))
        }
        (recipe::ImageLocation::Oci(_), Some(RegistryImage { layer_sha256, size, .. })) => Ok(TaskImage {
            location: TaskImageLocation::Url(served),
            sha256: recipe::Sha256::parse(layer_sha256)
                .ok_or_else(|| StepError::internal("the digest of the image's layer is not a SHA-256"))?,
            size: Some(*size),
        }),
        (recipe::ImageLocation::Oci(_), None) => {
            let why = "the reference of the image was not resolved: submit the job again";
            Err(StepError::permanent(Code::TaskIsoNotBuilt, why))
        }
    }
}

/// A pin needs no roots and no clock in the maintenance system.
fn report_tls(url: &Url, own_pin: Option<&str>) -> TlsPolicy {
    match (url.scheme(), own_pin.and_then(|pin| format!("pin:{pin}").parse().ok())) {
        ("https", Some(pin)) => pin,
        ("https", None) => TlsPolicy::Verify,
        _ => TlsPolicy::None,
    }
}

/// Under the base of the media's URLs: the one address of this controller that the host's network reaches too.
fn under_base(base: &str, path: &str) -> Result<Url, url::ParseError> {
    let mut url = Url::parse(base.trim_end_matches('/'))?;
    let base_path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base_path}{path}"));
    Ok(url)
}

fn report_path(serial: &Serial, token: &token::Token) -> String {
    format!("/api/v1/status-webhook/{serial}/{}", token.expose())
}

pub(super) fn source(services: &Services) -> Result<&InstallerSource, StepError> {
    services.setup.maintenance_iso.as_ref().ok_or_else(|| {
        let why = "no maintenance ISO: set MAINTENANCE_ISO_URL to a path or an http(s) URL";
        StepError::permanent(Code::MaintenanceIsoNotConfigured, why)
    })
}

/// Whether the BMC is given the maintenance ISO where it is.
fn is_direct(services: &Services, job: &Job) -> Result<bool, StepError> {
    let is_remote = matches!(source(services)?, InstallerSource::Url(_));
    match is_remote && job.facts.mounts.on_one_cd {
        true => Err(StepError::permanent(
            Code::DeliveryNotPossible,
            "this BMC has one virtual CD drive, so the task goes onto the maintenance ISO, which has to be served for \
             that: set MAINTENANCE_ISO_URL to the path of a file",
        )),
        false => Ok(is_remote),
    }
}

async fn open(services: &Services) -> Result<OpenedIso, StepError> {
    let InstallerSource::File(path) = source(services)? else {
        return Err(StepError::internal("a maintenance ISO at a URL is not served by this controller"));
    };
    services.iso_files.open(path).await.map_err(|error: IsoFileError| {
        StepError::permanent_from(Code::MaintenanceIsoUnreadable, "opening the maintenance ISO", error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Token;

    #[test]
    fn a_host_is_known_by_what_the_agent_accepts() {
        let own: Serial = "A1".parse().unwrap();
        let uuid = "4c4c4544-0042-3510-8053-b4c04f4b3233".to_owned();
        let at = HostId::at(&Url::parse("https://bmc").unwrap(), "/redfish/v1/Systems/1".to_owned());
        let host = |serial: &str, uuid: &str| HostId {
            serial: Some(serial.to_owned()),
            uuid: Some(uuid.to_owned()),
            ..at.clone()
        };
        let of = |host: &HostId| identity(&own, Some(host));
        let whole = of(&host(" TAG1 ", &uuid));
        assert_eq!(
            (whole.serials, whole.uuid.as_deref()),
            (vec!["TAG1".to_owned(), "A1".to_owned()], Some(uuid.as_str()))
        );
        for nothing in
            [of(&host("", "")), of(&host(" ", "unknown")), of(&host("A1", "0-0")), identity(&own, None)]
        {
            assert_eq!((nothing.serials, nothing.uuid), (vec!["A1".to_owned()], None));
        }
    }

    #[test]
    fn the_reports_url_is_under_the_medias_base() {
        let token = Token::new(&[1; 32], "x");
        let path = report_path(&"A 1".parse().unwrap(), &token);
        let url = under_base("https://10.0.0.1:8443/shoal/", &path).unwrap();
        let wanted = format!("https://10.0.0.1:8443/shoal/api/v1/status-webhook/A%201/{}", token.expose());
        assert_eq!(url.as_str(), wanted);
    }
}
