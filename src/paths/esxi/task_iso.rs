//! What is on CD2, or on the USB stick: the kickstart, the recipe without its secrets, and the hook's nonce.

use serde_json::json;

use super::hook;
use crate::domain::{Drive, EsxiSpec, Job, JobSpec};
use crate::flow::Services;
use crate::media::KickstartPlace;
use shoal_image::fat::{TaskStick, build_task_stick};
use shoal_image::iso::{SparseImage, TaskIso, build_task_iso};

/// The same bytes for the same job, whose layout and media base are known.
pub fn render(
    services: &Services,
    job: &Job,
    spec: &JobSpec,
    asked: &EsxiSpec,
) -> (SparseImage, KickstartPlace) {
    let recipe = json!({
        "task_target": job.task_target,
        "server_serial": job.server,
        "completion_hook": asked.completion_hook,
        "metadata": spec.metadata,
    });
    let kickstart = hook::kickstart(services, job, asked);
    let nonce = hook::nonce(services, job, asked);
    let nonce = nonce.as_deref().map(str::as_bytes);
    let (kickstart, recipe) = (kickstart.expose().as_bytes(), recipe.to_string());
    match job.facts.mounts.task.drive {
        Drive::Cd => {
            let TaskIso { image, kickstart, nonce, metadata_end } =
                build_task_iso(kickstart, recipe.as_bytes(), nonce);
            (image, KickstartPlace { kickstart, nonce, failure: None, started: None, rest_end: metadata_end })
        }
        Drive::Usb => {
            let TaskStick { image, kickstart, nonce, metadata_end } =
                build_task_stick(kickstart, recipe.as_bytes(), nonce);
            (image, KickstartPlace { kickstart, nonce, failure: None, started: None, rest_end: metadata_end })
        }
    }
}
