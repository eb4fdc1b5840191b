//! The task ISO of a job, or its task stick, as a file in `TASK_ISO_DIR`.
//!
//! What a BMC reads is served from memory; the file is for operators who want to look, and it is
//! written first so that a full disk fails a job before its BMC is touched. Invariants: readable by
//! its owner only; never found half-written; gone with its job, or after the retention.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{Services, StepError};
use crate::domain::{Drive, FailureCode, Job, JobId, TaskIsoFacts};
use shoal_base::hex;
use shoal_base::world::elapsed;
use shoal_image::iso::SparseImage;

/// Writes the job's task ISO into its place.
pub fn save(services: &Services, job: &Job, image: &SparseImage) -> Result<TaskIsoFacts, StepError> {
    let began = Instant::now();
    write_private(image, &path(services, job)).map_err(|error| {
        let dir = services.setup.task_iso_dir.display();
        let message = format!(
            "writing the task ISO into TASK_ISO_DIR {dir}: free space there, or correct its permissions"
        );
        StepError::permanent_from(FailureCode::TaskIsoNotWritten, message, error)
    })?;
    metrics::histogram!("shoal_provisioner_iso_build_duration_seconds").record(began.elapsed().as_secs_f64());
    Ok(TaskIsoFacts { size: image.size, content_sha256: Some(content_sha256(image)) })
}

/// Writes it again if it is not there, as large as it should be.
pub fn ensure_saved(services: &Services, job: &Job, image: &SparseImage) -> Result<(), StepError> {
    let found = fs::symlink_metadata(path(services, job));
    match found.is_ok_and(|file| file.is_file() && file.len() == image.size) {
        true => Ok(()),
        false => save(services, job, image).map(drop),
    }
}

/// Removes the job's task ISO, unless task ISOs are kept for a while.
pub fn remove(services: &Services, job: &Job) {
    if !services.setup.task_iso_retention.is_zero() {
        return;
    }
    if let Err(error) = fs::remove_file(path(services, job))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(job = %job.id, %error, "the task ISO of an ended job could not be removed");
    }
}

/// Removes the task ISOs of jobs that ended longer ago than the retention: those that were kept, and
/// those that a crash left behind.
pub async fn sweep(services: &Services) {
    let mut entries = match tokio::fs::read_dir(&services.setup.task_iso_dir).await {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(%error, "TASK_ISO_DIR cannot be listed");
            return;
        }
    };
    let now = services.world.clock.now();
    while let Ok(Some(entry)) = entries.next_entry().await {
        let path = entry.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let Some(job) = stem.and_then(|stem| stem.parse::<JobId>().ok()) else { continue };
        if is_over(services, job, now).await
            && let Err(error) = tokio::fs::remove_file(&path).await
        {
            tracing::warn!(%job, %error, "the task ISO of an ended job could not be removed");
        }
    }
}

async fn is_over(services: &Services, job: JobId, now: Timestamp) -> bool {
    match services.store.job(job).await {
        Ok(Some(job)) => {
            job.finished_at.is_some_and(|at| elapsed(at, now) >= services.setup.task_iso_retention)
        }
        Ok(None) => true,
        Err(_) => false,
    }
}

fn path(services: &Services, job: &Job) -> PathBuf {
    let ending = match job.facts.mounts.task.drive {
        Drive::Cd => "iso",
        Drive::Usb => "img",
    };
    services.setup.task_iso_dir.join(format!("{}.{ending}", job.id))
}

/// Written aside and renamed. It can be made again at any time, so it is not flushed to the disk.
fn write_private(image: &SparseImage, path: &std::path::Path) -> io::Result<()> {
    let aside = path.with_extension("part");
    // A leftover, or a link put there by another user: it is removed, and its target stays as it is.
    let _ = fs::remove_file(&aside);
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&aside)
        .and_then(|file| image.write_to(&file))
        .and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        // Nothing of a kickstart stays behind; the first error is the one to report.
        let _ = fs::remove_file(&aside);
    }
    written
}

/// SHA-256 of what the image holds: its size, and each piece with its offset and length. The holes, which are nearly all
/// of it, would take as long as everything else that prepares a job.
fn content_sha256(image: &SparseImage) -> String {
    let mut hash = Sha256::new().chain_update(image.size.to_le_bytes());
    for piece in &image.pieces {
        hash.update(piece.offset.to_le_bytes());
        hash.update((piece.bytes.len() as u64).to_le_bytes());
        hash.update(&piece.bytes);
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_image::iso::build_task_iso;

    #[test]
    fn a_link_in_the_directory_is_replaced_and_not_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (path, victim) = (dir.path().join("job.iso"), dir.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, dir.path().join("job.part")).unwrap();
        symlink(&victim, &path).unwrap();
        let image = build_task_iso(b"vmaccepteula\n", b"{}", None).image;
        write_private(&image, &path).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        let written = fs::symlink_metadata(&path).unwrap();
        assert!(written.is_file() && written.len() == image.size);
        assert_eq!(written.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_sum_is_of_every_byte_and_its_place() {
        let image = build_task_iso(b"vmaccepteula\n", b"{}", None).image;
        let sum = content_sha256(&image);
        assert_eq!(sum, content_sha256(&build_task_iso(b"vmaccepteula\n", b"{}", None).image));
        assert_ne!(sum, content_sha256(&build_task_iso(b"vmaccepteulb\n", b"{}", None).image));
        let (mut longer, mut moved) = (image.clone(), image);
        longer.size += 1;
        moved.pieces.last_mut().unwrap().offset += 1;
        assert!(sum != content_sha256(&longer) && sum != content_sha256(&moved));
    }
}
