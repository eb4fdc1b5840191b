//! What a Linux or Windows job would boot on this server: the maintenance ISO, read from where jobs take it.
//!
//! Look only. One at a URL is fetched by the BMC and not by this controller, so what is found here of it is a hint.
//! Invariant: no more than the volume's first descriptors is fetched, and within a bound.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::RANGE;
use http_body_util::BodyExt;
use shoal_image::iso::{BootPlatform, ReadAt, TreeKind, Volume};
use tower::ServiceExt;
use url::Url;

use super::MaintenanceIso;
use super::facts::MaintenanceIsoFacts;
use super::plan;
use crate::media::InstallerSource;
use shoal_base::world::{TlsPolicy, World};
use shoal_base::{hide_url_secrets, root_cause, with_causes};
use shoal_redfish::{Bmc, System};

const FETCH_TIMEOUT: Duration = Duration::from_secs(20);
/// Where an ISO 9660 image says that it is one.
const MAGIC_AT: usize = 32_769;
const MAGIC: &[u8] = b"CD001";
const START_BYTES: usize = MAGIC_AT + MAGIC.len();

pub async fn look(
    world: &World,
    bmc: &Bmc,
    system: &System,
    iso: &MaintenanceIso<'_>,
) -> MaintenanceIsoFacts {
    let mut facts = MaintenanceIsoFacts {
        source: hide_url_secrets(&iso.source.to_string()),
        ..MaintenanceIsoFacts::default()
    };
    match iso.source {
        InstallerSource::Url(url) => {
            facts.is_direct = true;
            facts.problem = fetch_start(world, url).await.err();
            let plan = plan::plan(bmc, system, url.as_str()).await;
            facts.refused = plan.ok().and_then(|plan| plan.insert.problem);
        }
        InstallerSource::File(path) => match iso.files.open(path).await {
            Ok(opened) => note_kind(opened.bytes(), &mut facts),
            Err(error) => facts.problem = Some(with_causes(&error)),
        },
    }
    facts
}

fn note_kind(bytes: &Bytes, facts: &mut MaintenanceIsoFacts) {
    facts.size = Some(bytes.size());
    let volume = match Volume::open(bytes) {
        Ok(volume) => volume,
        Err(error) => {
            facts.problem = Some(format!("is not a readable ISO image: {}", with_causes(&error)));
            return;
        }
    };
    let long_names = [TreeKind::RockRidge, TreeKind::Joliet];
    facts.takes_files = long_names.into_iter().any(|kind| volume.tree(kind).is_some());
    for entry in volume.boot.iter().flat_map(|catalog| &catalog.entries) {
        let name = match entry.platform {
            BootPlatform::Bios => "BIOS",
            BootPlatform::Uefi => "UEFI",
            BootPlatform::Other(_) => continue,
        };
        if !facts.boots.iter().any(|known| known == name) {
            facts.boots.push(name.to_owned());
        }
    }
}

/// Whether this controller gets the beginning of an ISO there.
async fn fetch_start(world: &World, url: &Url) -> Result<(), String> {
    let request = http::Request::get(url.as_str())
        .header(RANGE, format!("bytes=0-{}", START_BYTES - 1))
        .extension(TlsPolicy::Verify)
        .body(Bytes::new())
        .map_err(|error| error.to_string())?;
    let fetch = async {
        let response = world.transport.clone().oneshot(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        if !matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Err(format!("its server answers with status {}", status.as_u16()));
        }
        let (mut body, mut start) = (response.into_body(), Vec::new());
        while start.len() < START_BYTES {
            let Some(frame) = body.frame().await else { break };
            let frame = frame.map_err(|error| root_cause(&error))?;
            start.extend_from_slice(frame.data_ref().map_or(&[][..], |bytes| bytes));
        }
        match start.get(MAGIC_AT..START_BYTES) == Some(MAGIC) {
            true => Ok(()),
            false => Err("what is there is not an ISO image".to_owned()),
        }
    };
    let fetched = tokio::time::timeout(FETCH_TIMEOUT, fetch).await;
    let fetched = fetched.unwrap_or_else(|_| Err(format!("no answer in {} s", FETCH_TIMEOUT.as_secs())));
    fetched.map_err(|problem| hide_url_secrets(&problem))
}
