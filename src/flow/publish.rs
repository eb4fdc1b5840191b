//! The job's media at their URLs: published in `media`, and as the BMC is given them.

use std::net::IpAddr;

use serde_json::json;
use url::{Host, Url};

use super::{Context, Services, StepError};
use crate::domain::{FailureCode, Job, Medium, Server};
use crate::media::{InstallerSource, Watched};
use shoal_base::is_loopback;
use shoal_base::world::TlsPolicy;

/// Media that are bound to an address need one.
pub fn check_peer(services: &Services, server: &Server) -> Result<(), StepError> {
    if !services.media.binds_peers() || peer(&server.bmc_address).is_some() {
        return Ok(());
    }
    let why = "MEDIA_BIND_PEER serves media to the BMC's address alone, and this BMC is known by a name: give its \
               bmc_address as an IP address, or do without MEDIA_BIND_PEER";
    Err(StepError::permanent(FailureCode::MediaPeerUnknown, why))
}

/// Of a BMC that is known by one; its media are fetched from there.
fn peer(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// Whose fetches of the job's media are its BMC's, where that is known by an address.
pub fn expect_peer(services: &Services, server: &Server, job: &Job) {
    if let Some(peer) = peer(&server.bmc_address) {
        services.media.expect_peer(job.id, peer);
    }
}

pub async fn publish_one(
    services: &Services,
    job: &Job,
    medium: Medium,
    watched: Watched,
) -> Result<(), StepError> {
    let reset = &job.facts.reset;
    let reset_at = reset.started_at.filter(|_| !reset.adopted).or(reset.armed_at).or(reset.started_at);
    let published = services.media.publish(job.id, medium, watched, reset_at).await;
    published.map_err(|error| {
        StepError::transient_from(FailureCode::MediaNotPublished, "publishing the job's media", error)
    })?;
    services.media.admit(job.id, medium, job.facts.mounts.of(medium).insertions);
    Ok(())
}

/// Of the last insertion.
fn media_path(services: &Services, job: &Job, medium: Medium) -> String {
    let mount = job.facts.mounts.of(medium);
    services.media.path(job.id, medium, mount.drive, mount.insertions)
}

/// The URL of a medium, as the BMC is given it.
pub fn media_url(cx: &Context<'_>, medium: Medium) -> Result<String, StepError> {
    let facts = &cx.job.facts;
    let direct = facts.is_direct();
    if medium == Medium::Boot && direct {
        return cx.path.direct_url(cx.services, cx.spec()?);
    }
    let base = facts.media_base.as_deref().unwrap_or_default();
    Ok(format!("{}{}", base.trim_end_matches('/'), media_path(cx.services, cx.job, medium)))
}

/// For a BMC that is given an image where it is.
pub fn source_url(source: &InstallerSource) -> Result<String, StepError> {
    match source {
        InstallerSource::Url(url) => Ok(url.to_string()),
        InstallerSource::File(_) => {
            let why =
                "a file cannot be given to a BMC directly: set the URL to http(s) again, and retry the job";
            Err(StepError::permanent(FailureCode::DeliveryNotPossible, why))
        }
    }
}

pub async fn media_base(cx: &Context<'_>) -> Result<String, StepError> {
    let bmc = &cx.server.bmc_address;
    let base = (cx.services.setup.media_base)(bmc.clone()).await.map_err(|reason| {
        let why =
            format!("no address for the media that the BMC {bmc} could reach: {reason}; set MEDIA_BASE_URL");
        StepError::permanent(FailureCode::MediaAddressUnknown, why)
    })?;
    if is_loopback(&base) && !is_loopback(bmc) {
        let why = format!(
            "the media would be at {base}, which the BMC {bmc} cannot reach: set MEDIA_BASE_URL to an address of this \
             controller on the BMC's network, and CONTROLLER_HTTP_ADDR or MEDIA_ADDR so that it listens there"
        );
        return Err(StepError::permanent(FailureCode::MediaAddressLoopback, why));
    }
    Ok(base.to_string())
}

/// Requests the task ISO as a BMC would. A refusal is a warning only: a controller behind address
/// translation may not reach itself by the address that its BMCs use.
pub async fn check_own_media(cx: &mut Context<'_>) -> Result<(), StepError> {
    if cx.services.store.is_shared() {
        // The address may lead to another controller, which knows the job by its record.
        cx.save(Vec::new()).await?;
    }
    let url = media_url(cx, Medium::Task)?;
    let Ok(parsed) = Url::parse(&url) else {
        let why = "MEDIA_BASE_URL and the medium's path make no URL";
        return Err(StepError::permanent(FailureCode::MediaAddressUnknown, why));
    };
    let request =
        http::Request::head(parsed.as_str()).extension(TlsPolicy::Insecure).body(bytes::Bytes::new());
    let request = request.map_err(|error| {
        StepError::permanent_from(FailureCode::MediaAddressUnknown, "MEDIA_BASE_URL makes no request", error)
    })?;
    let sent = tower::ServiceExt::oneshot(cx.services.world.transport.clone(), request);
    let answer = tokio::time::timeout(std::time::Duration::from_secs(10), sent).await;
    let fault = match answer {
        Ok(Ok(response)) if response.status().is_success() => return Ok(()),
        Ok(Ok(response)) => format!("the answer was {}", response.status().as_u16()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer within 10 s".to_owned(),
    };
    let base = cx.job.facts.media_base.clone().unwrap_or_default();
    let message = format!(
        "the controller does not reach its own media at {base} ({fault}): check MEDIA_BASE_URL if the BMC cannot either"
    );
    cx.warn("media.check", message, json!(null)).await
}
