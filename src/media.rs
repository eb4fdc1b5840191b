//! The images that BMCs read, and what their reads show.
//!
//! A job's media are published under paths that hold a token, served by range to every client that knows it,
//! and gone with the job. This is no file server: what is not published does not exist. Invariant:
//! a byte that shows a milestone of the host (its first read, the installer read through, the
//! kickstart) leaves only once that milestone is in the store, so that no crash forgets it.
//!
//! - [`Image`]: base and changes, any range of which is a sequence of slices that are not copied.
//! - [`InstallerCache`]: vendor ISOs fetched once, checked, and mapped.
//! - [`HostedImages`]: disk images that operators have added, mapped too.
//! - `followed`: media of jobs that another controller drives.
//! - `server`: HTTP over images; `conditions` says which part of one a request means.
//! - [`HostImage`]: what a host writes to its disk, from a source that is not kept here.
//! - [`Probes`]: small images without a job, to see how a BMC fetches.
//! - [`trace`]: what the reads of a job's media show of its host.

mod bandwidth;
mod cache;
mod conditions;
mod first;
mod followed;
mod host_image;
mod image;
mod images;
mod iso_file;
mod job_media;
mod map;
mod probes;
mod server;
mod token;
pub mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::middleware::from_fn_with_state;
use jiff::Timestamp;

use crate::domain::{Drive, JobId, Medium, MediumTrace};
use crate::store::{Store, StoreError};
use shoal_base::world::Clock;

pub use cache::{
    CacheError, CachedInstaller, FetchProgress, InstallerCache, InstallerSource, InstallerSourceError,
};
#[cfg(any(test, fuzzing))]
pub(crate) use conditions::{RangeAnswer, answer};
pub use first::MediaFirst;
pub use followed::{DrivenMedia, Follow};
pub use host_image::{HostImage, HostImageError, HostImageSource, ImageBytes};
pub use image::{Image, SLICE_BYTES_MAX};
pub use images::{
    AddedImage, HostedImage, HostedImages, ImageError, ImageKey, ImagesChange, ImagesHold, IncomingImage,
    MappedImage, NewImage, Record,
};
pub use iso_file::{IsoFileError, IsoFiles, OpenedIso};
#[cfg(test)]
pub(crate) use map::Mapping;
pub use map::file_behind;
pub use probes::{PROBE_BYTES, Probe, Probes};
pub use server::OperatorPass;
pub use token::job_of_url;
pub use trace::{KickstartPlace, MediumLandmarks};

use bandwidth::Bandwidth;
use followed::Following;
use host_image::ServedImage;
use job_media::JobMedia;

/// The ending of an image's name, by the drive that it is for.
fn ending(drive: Drive) -> &'static str {
    match drive {
        Drive::Cd => "iso",
        Drive::Usb => "img",
    }
}

fn content_type(drive: Drive) -> &'static str {
    match drive {
        Drive::Cd => "application/x-iso9660-image",
        Drive::Usb => "application/octet-stream",
    }
}

/// An image, and what to look for in its reads.
#[derive(Clone, Debug)]
pub struct Watched {
    pub image: Arc<Image>,
    pub drive: Drive,
    pub landmarks: MediumLandmarks,
}

/// What the reads of a job's media show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobTrace {
    pub installer: MediumTrace,
    /// Of the medium that carries the kickstart; the installer's own, where that does.
    pub kickstart: MediumTrace,
}

/// Everything asked of one medium, also before the reset, to explain a failure with. It is not
/// durable: a restart counts from nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetches {
    /// GET and HEAD with a valid path; requests without bytes were refused or HEAD only.
    pub requests: u64,
    /// Bytes handed to the connection.
    pub bytes: u64,
    /// The last request that was refused or broken off, in words.
    pub last_fault: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    #[error("cannot read back what job {job} had read of its {} medium", medium.name())]
    Load { job: JobId, medium: Medium, source: StoreError },
}

/// Whom media are served to, and how fast.
#[derive(Clone, Copy, Debug, Default)]
pub struct MediaSettings {
    /// A job's media are served to its BMC's address alone, once [`Media::expect_peer`] has said which that is.
    pub binds_peers: bool,
    /// Of all media together.
    pub bytes_per_second: Option<u64>,
}

/// The published media of all jobs. Clones share them.
#[derive(Clone)]
pub struct Media(Arc<MediaState>);

struct MediaState {
    clock: Clock,
    key: [u8; 32],
    store: Store,
    binds_peers: bool,
    pace: Option<Bandwidth>,
    jobs: Mutex<PublishedJobs>,
    probes: Probes,
    following: Following,
}

#[derive(Default)]
struct PublishedJobs {
    of_jobs: BTreeMap<JobId, Arc<JobMedia>>,
    images: BTreeMap<JobId, Arc<ServedImage>>,
    /// The last [`RETIRED_MAX`] jobs whose media were taken away.
    retired: BTreeSet<JobId>,
}

/// Older ones are looked up in the store, to distinguish them from jobs not yet published.
const RETIRED_MAX: usize = 4096;

impl Media {
    /// `key` makes the tokens: with another key, every path handed out before is dead.
    pub fn new(clock: Clock, key: [u8; 32], store: Store) -> Media {
        Media::with(clock, key, store, MediaSettings::default())
    }

    /// The same with settings.
    pub fn with(clock: Clock, key: [u8; 32], store: Store, settings: MediaSettings) -> Media {
        let (jobs, probes) = (Mutex::default(), Probes::new(key, store.clone()));
        let MediaSettings { binds_peers, bytes_per_second } = settings;
        let pace = bytes_per_second.map(Bandwidth::new);
        let following = Following::default();
        Media(Arc::new(MediaState { clock, key, store, binds_peers, pace, jobs, probes, following }))
    }

    pub fn binds_peers(&self) -> bool {
        self.0.binds_peers
    }

    /// Serves a medium of a job from now on, under every path that [`Media::path`] gives.
    ///
    /// Publishing the same image again changes nothing. After a restart, what the store holds of the
    /// medium's reads goes on; `reset_at` is from when on they are the host's: its last start, or, before
    /// any, the arming of the one-time boot.
    pub async fn publish(
        &self,
        job: JobId,
        medium: Medium,
        watched: Watched,
        reset_at: Option<Timestamp>,
    ) -> Result<(), MediaError> {
        let job_media = self.job_media_of(job);
        if job_media.holds(medium, &watched.image, reset_at) {
            // Of a job that another controller drives, a later one than is known here.
            reset_at.into_iter().for_each(|at| job_media.start_trace(at));
            return Ok(());
        }
        let saved = self.0.store.load_trace(job, medium.name()).await;
        let saved = saved.map_err(|source| MediaError::Load { job, medium, source })?;
        job_media.put(medium, watched, saved.unwrap_or_default(), reset_at, self.0.clock.now());
        Ok(())
    }

    /// The path of one insertion of a medium (each needs one of its own). Valid once it is admitted and while the
    /// medium is published for that drive, also after a restart.
    pub fn path(&self, job: JobId, medium: Medium, drive: Drive, insertion: u32) -> String {
        token::path(&token::token(&self.0.key, job, medium, insertion), job, medium, drive)
    }

    /// Serves a medium under the paths of its insertions up to this one.
    pub fn admit(&self, job: JobId, medium: Medium, insertion: u32) {
        if let Some(job_media) = self.find(job) {
            job_media.admit(medium, insertion);
        }
    }

    /// Our reset: reads of this job's media from now on are its host's.
    pub fn start_trace(&self, job: JobId, at: Timestamp) {
        if let Some(job_media) = self.find(job) {
            job_media.start_trace(at);
        }
    }

    /// What the reads show; empty for a job that has no media.
    pub fn trace(&self, job: JobId) -> JobTrace {
        self.find(job).map(|job_media| job_media.trace()).unwrap_or_default()
    }

    /// What this controller has seen of the reads of one medium; `None` where it does not serve it now.
    pub fn seen(&self, job: JobId, medium: Medium) -> Option<MediumTrace> {
        self.find(job).map(|job_media| job_media.seen(medium)).filter(|seen| seen.total > 0)
    }

    /// Whose fetches of this job's media are the BMC's.
    pub fn expect_peer(&self, job: JobId, peer: IpAddr) {
        if let Some(job_media) = self.find(job) {
            job_media.expect_peer(peer);
        }
    }

    /// A connection of `peer` ended before there was a request, as when a BMC does not trust
    /// this controller's certificate. Noted for each job and probe that waits for that peer.
    pub fn note_refused(&self, peer: IpAddr, why: &str) {
        let jobs: Vec<Arc<JobMedia>> = self.jobs().of_jobs.values().cloned().collect();
        for job_media in jobs.iter().filter(|job_media| job_media.is_for(peer)) {
            job_media.refused(&format!("its connection ended before a request: {why}"));
        }
        self.0.probes.note_refused(peer, why);
    }

    pub fn fetched(&self, job: JobId, medium: Medium) -> Fetches {
        self.find(job).map(|job_media| job_media.fetched(medium)).unwrap_or_default()
    }

    /// Takes a job's media away: 404 from now on.
    pub fn retire(&self, job: JobId) {
        self.0.following.forget(job);
        let mut jobs = self.jobs();
        jobs.of_jobs.remove(&job);
        jobs.images.remove(&job);
        jobs.retired.insert(job);
        if jobs.retired.len() > RETIRED_MAX {
            jobs.retired.pop_first();
        }
    }

    /// Serves the image that a job's host writes to its disk, under [`Media::image_path`].
    pub fn publish_image(&self, job: JobId, image: HostImage) {
        let mut jobs = self.jobs();
        if jobs.images.get(&job).is_none_or(|served| !served.is(&image)) {
            jobs.images.insert(job, Arc::new(ServedImage::new(image)));
        }
    }

    /// Valid while the image is published, also after a restart.
    pub fn image_path(&self, job: JobId) -> String {
        host_image::path(&host_image::token(self.key(), job), job)
    }

    /// Why a request for the job's image ended early, last.
    pub fn image_fault(&self, job: JobId) -> Option<String> {
        self.served_image(job)?.fault()
    }

    /// All routes under `/media`. The one whose path holds no token needs an [`OperatorPass`].
    pub fn router(&self) -> axum::Router {
        let router = server::router(self.clone()).merge(host_image::router(self.clone()));
        let router = router.merge(self.0.probes.router());
        match &self.0.pace {
            Some(pace) => router.layer(from_fn_with_state(pace.clone(), bandwidth::slow_down)),
            None => router,
        }
    }

    /// Images that belong to no job, served beside the jobs' media.
    pub fn probes(&self) -> &Probes {
        &self.0.probes
    }

    fn find(&self, job: JobId) -> Option<Arc<JobMedia>> {
        self.jobs().of_jobs.get(&job).cloned()
    }

    /// Whether a path that this controller gave out belongs to a job that goes on, and whose media
    /// are just not published again: it has started a moment ago.
    async fn is_expected(&self, job: JobId, medium: Medium, drive: Drive, token: &str) -> bool {
        let published = self.find(job).and_then(|job_media| job_media.drive(medium));
        published.is_none_or(|published| published == drive)
            && self.is_path(job, medium, token)
            && self.is_active(job).await
    }

    /// Whether the token is one of this medium's insertions.
    fn is_path(&self, job: JobId, medium: Medium, token: &str) -> bool {
        let key = self.key();
        (0..job_media::INSERTIONS).any(|n| token::token(key, job, medium, n).matches(token))
    }

    /// Whether the job goes on, and its media were not taken away.
    async fn is_active(&self, job: JobId) -> bool {
        !self.jobs().retired.contains(&job)
            && matches!(self.0.store.job(job).await, Ok(Some(job)) if job.is_active())
    }

    fn served_image(&self, job: JobId) -> Option<Arc<ServedImage>> {
        self.jobs().images.get(&job).cloned()
    }

    fn key(&self) -> &[u8; 32] {
        &self.0.key
    }

    fn job_media_of(&self, job: JobId) -> Arc<JobMedia> {
        let MediaState { clock, key, store, .. } = &*self.0;
        let make = || Arc::new(JobMedia::new(job, *key, clock.clone(), store.clone()));
        self.jobs().of_jobs.entry(job).or_insert_with(make).clone()
    }

    fn jobs(&self) -> MutexGuard<'_, PublishedJobs> {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
