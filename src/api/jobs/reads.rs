//! `GET /api/v1/jobs/{job_id}/reads`: what was read of a job's media, and when.
//!
//! It shows the read trace and judges nothing. Invariant: of a medium whose reads are not the host's (`prefetched`,
//! `none`) nothing here is a sign of the host.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use strum::VariantArray as _;
use utoipa::ToSchema;

use crate::api::ApiState;
use crate::api::body::Name;
use crate::api::error::ApiError;
use crate::api::find;
use crate::domain::{JobId, MediaMode, Medium, MediumTrace, READ_BINS, ReadBin, ReadMap};

#[derive(Debug, Serialize, ToSchema)]
pub struct JobReads {
    /// CD1, then CD2; a medium that was never served is missing.
    media: Vec<MediumReads>,
}

/// The reads of one medium. Times are the controller's; all but `mode` count from the reset.
#[derive(Debug, Serialize, ToSchema)]
pub struct MediumReads {
    /// `installer` is CD1, `task` CD2.
    #[schema(pattern = "^(installer|task)$")]
    medium: &'static str,
    /// `streamed`: the host's reads. `prefetched`: the BMC copied the image, so its reads show nothing of the host.
    /// `none`: not fetched from this controller.
    #[schema(pattern = "^(none|prefetched|streamed)$")]
    mode: &'static str,
    /// Size of the image in bytes.
    total: u64,
    /// Distinct bytes read.
    read: u64,
    #[schema(value_type = Option<String>, format = DateTime)]
    first_read_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_read_at: Option<Timestamp>,
    /// When enough was read to load the installer.
    #[schema(value_type = Option<String>, format = DateTime)]
    loaded_at: Option<Timestamp>,
    /// When every file of the installer had been read.
    #[schema(value_type = Option<String>, format = DateTime)]
    read_through_at: Option<Timestamp>,
    /// When the kickstart was read; of a Linux or Windows job, the recipe.
    #[schema(value_type = Option<String>, format = DateTime)]
    ks_read_at: Option<Timestamp>,
    /// When the firmware enumerated its drives again after that: a second boot.
    #[schema(value_type = Option<String>, format = DateTime)]
    reenumerated_at: Option<Timestamp>,
    /// Where the kickstart or recipe lies.
    kickstart: Option<ByteRange>,
    /// Parts of the image that were read, in the order of the image; 128 equal ones are a whole image.
    parts: Vec<ReadPart>,
}

/// From `start` up to, and without, `end`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

/// A part of the image that was read.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadPart {
    start: u64,
    end: u64,
    #[schema(value_type = String, format = DateTime)]
    first_read_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    last_read_at: Timestamp,
    /// Reads that lie at least a minute apart.
    times: u32,
}

/// What was read of the media of one job, and when: the progress of the host as its reads show it.
#[utoipa::path(get, path = "/api/v1/jobs/{job_id}/reads", tag = "jobs",
    params(("job_id" = String, Path)), responses((status = 200, body = JobReads)))]
pub async fn reads(State(state): State<ApiState>, Name(id): Name<JobId>) -> Result<Json<JobReads>, ApiError> {
    find::job(&state, id).await?;
    let mut media = Vec::new();
    for &medium in Medium::VARIANTS {
        // Newer than what is stored, where this controller serves the job.
        let seen = match state.media.seen(id, medium) {
            Some(seen) => Some(seen),
            None => state.store.load_trace(id, medium.name()).await?,
        };
        media.extend(seen.map(|seen| MediumReads::new(medium, seen)));
    }
    Ok(Json(JobReads { media }))
}

impl MediumReads {
    fn new(medium: Medium, seen: MediumTrace) -> MediumReads {
        let parts =
            seen.map.bins.iter().filter_map(|bin| ReadPart::new(&seen.map, bin, seen.total)).collect();
        MediumReads {
            medium: medium.name(),
            mode: match seen.mode {
                MediaMode::None => "none",
                MediaMode::Prefetched => "prefetched",
                MediaMode::Streamed => "streamed",
            },
            total: seen.total,
            read: seen.read,
            first_read_at: seen.first_read_at,
            last_read_at: seen.last_read_at,
            loaded_at: seen.loaded_at,
            read_through_at: seen.read_through_at,
            ks_read_at: seen.ks_read_at,
            reenumerated_at: seen.reenumerated_at,
            kickstart: seen.map.kickstart.map(|range| ByteRange { start: range.start, end: range.end }),
            parts,
        }
    }
}

impl ReadPart {
    fn new(map: &ReadMap, bin: &ReadBin, total: u64) -> Option<ReadPart> {
        let edge = |bin: u64| {
            let byte = (u128::from(total) * u128::from(bin)).div_ceil(u128::from(READ_BINS));
            u64::try_from(byte).unwrap_or(total)
        };
        Some(ReadPart {
            start: edge(bin.bin.into()),
            end: edge(u64::from(bin.bin) + 1),
            first_read_at: map.time(bin.first)?,
            last_read_at: map.time(bin.last)?,
            times: bin.times,
        })
    }
}
