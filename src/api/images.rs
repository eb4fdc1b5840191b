//! `/api/v1/images`: the images for Linux and Windows that this controller hosts.
//!
//! Invariants: an upload is written as it comes, so memory holds a piece of it; additions and removals are recorded in
//! the audit log before they take effect; an image that an active job installs is not removed.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use http::{StatusCode, header};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shoal_recipe::{ImageName, Sha256};
use tokio::sync::OwnedSemaphorePermit;
use url::Url;
use utoipa::{IntoParams, ToSchema};

use super::ApiState;
use super::access::Who;
use super::body::{JsonObject, Name, Params, at_location};
use super::error::{ApiError, Problem};
use crate::domain::{Fields, JobId};
use crate::media::{AddedImage, HostedImage, ImageError, ImageKey, IncomingImage, NewImage, Record};
use crate::store::StoredJob;

/// Additions at a time.
pub const ADDITIONS_MAX: usize = 8;
/// When a client that found all of them under way may ask again.
const ADDITIONS_RETRY: Duration = Duration::from_secs(60);
/// The next bytes of an upload must come within this.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Bytes that are written at a time.
const PIECE_BYTES: usize = 1 << 20;

/// An image as shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct HostedImageBody {
    /// Of the file as it was added, lower-case hex.
    sha256: String,
    name: Option<String>,
    /// In bytes.
    size: u64,
    added_at: String,
    /// Where it was downloaded from, without user name, password and query.
    source: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ImageList {
    /// Those first that were added first.
    images: Vec<HostedImageBody>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UploadParams {
    /// 1 to 128 letters, digits, dots, hyphens and underscores, a letter or digit first; no other image may have it.
    #[param(max_length = 128, pattern = "^[0-9A-Za-z][0-9A-Za-z._-]*$")]
    name: Option<String>,
    /// SHA-256 that the body must have, 64 hex digits.
    #[param(pattern = "^(sha256:)?[0-9A-Fa-f]{64}$")]
    sha256: Option<String>,
}

/// An image to be downloaded.
#[derive(Debug, ToSchema)]
pub struct ImageFetchInput {
    /// http(s), under the prefixes of `IMAGES_ALLOW`.
    #[schema(value_type = String, pattern = "^https?://")]
    url: Url,
    /// As for an upload.
    #[schema(value_type = Option<String>, max_length = 128, pattern = "^[0-9A-Za-z][0-9A-Za-z._-]*$")]
    name: Option<ImageName>,
    /// SHA-256 that the file must have, 64 hex digits.
    #[schema(value_type = Option<String>, pattern = "^(sha256:)?[0-9A-Fa-f]{64}$")]
    sha256: Option<Sha256>,
}

impl From<HostedImage> for HostedImageBody {
    fn from(image: HostedImage) -> HostedImageBody {
        let HostedImage { sha256, name, size, added_at, source } = image;
        HostedImageBody { sha256, name, size, added_at: added_at.to_string(), source }
    }
}

/// All images.
#[utoipa::path(get, path = "/api/v1/images", tag = "images", responses((status = 200, body = ImageList)))]
pub async fn list(State(state): State<ApiState>) -> Result<Json<ImageList>, ApiError> {
    let images = state.images.list().await?;
    Ok(Json(ImageList { images: images.into_iter().map(HostedImageBody::from).collect() }))
}

/// Upload an image: the body is the file.
#[utoipa::path(post, path = "/api/v1/images", tag = "images", params(UploadParams),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = HostedImageBody),
        (status = 200, description = "The controller has these bytes already", body = HostedImageBody),
        (status = 409, description = "Another image has that name", body = Problem),
        (status = 422, description = "The body is empty or has another SHA-256", body = Problem),
        (status = 507, description = "The disk is full, or IMAGES_BYTES would be exceeded", body = Problem)))]
pub async fn upload(
    State(state): State<ApiState>,
    who: Who,
    Params(params): Params<UploadParams>,
    request: Request,
) -> Result<Response, ApiError> {
    let _seat = seat(&state)?;
    let wrong = |what| ApiError::BadRequest(format!("invalid query: {what}"));
    let name = params.name.map(|name| ImageName::parse(&name).ok_or_else(|| wrong(NAME_RULE))).transpose()?;
    let sha256 = params.sha256.map(|digest| Sha256::parse(&digest).ok_or_else(|| wrong(SHA256_RULE)));
    let new = NewImage { name, sha256: sha256.transpose()?, record: Some(record(&state, &who)) };
    if let Some(known) = state.images.known(new.sha256).await? {
        return Ok(added(known));
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let mut incoming = state.images.begin(length).await?;
    take_in(request.into_body(), &mut incoming).await?;
    Ok(added(incoming.finish(new).await?))
}

const NAME_RULE: &str =
    "`name` has 1 to 128 letters, digits, dots, hyphens and underscores, a letter or digit first";
const SHA256_RULE: &str = "`sha256` has 64 hex digits";

async fn take_in(mut body: Body, incoming: &mut IncomingImage) -> Result<(), ApiError> {
    let mut piece = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(SILENCE_MAX, body.frame()).await;
        let Some(frame) = frame.map_err(|_| ApiError::TooSlow { within: SILENCE_MAX })? else { break };
        let frame = frame.map_err(|_| ApiError::BadRequest("the body broke off".to_owned()))?;
        piece.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if piece.len() >= PIECE_BYTES {
            incoming.append(piece.split().freeze()).await?;
        }
    }
    Ok(incoming.append(piece.freeze()).await?)
}

/// Download an image from a URL. The answer comes when the image is here.
#[utoipa::path(post, path = "/api/v1/images/fetch", tag = "images", request_body = ImageFetchInput,
    responses((status = 201, body = HostedImageBody),
        (status = 200, description = "The controller has these bytes already", body = HostedImageBody),
        (status = 409, description = "Another image has that name", body = Problem),
        (status = 422, description = "The URL is not allowed, or the file is empty or has another SHA-256", body = Problem),
        (status = 502, description = "The URL cannot be downloaded", body = Problem),
        (status = 507, description = "The disk is full, or IMAGES_BYTES would be exceeded", body = Problem)))]
pub async fn fetch(
    State(state): State<ApiState>,
    who: Who,
    JsonObject(body): JsonObject,
) -> Result<Response, ApiError> {
    let mut fields = Fields::new(&body, &["url", "name", "sha256"]);
    let url = fields.parsed("url", http_url);
    let name = fields.parsed("name", |text| ImageName::parse(text).ok_or("is no name: see the description"));
    let sha256 = fields.parsed("sha256", |text| Sha256::parse(text).ok_or("has 64 hex digits"));
    if url.value().is_none() && fields.errors.is_empty() {
        fields.refuse("url", "is missing");
    }
    let (Some(url), true) = (url.over(None), fields.errors.is_empty()) else {
        return Err(ApiError::invalid("invalid image request", fields.errors));
    };
    let input = ImageFetchInput { url, name: name.over(None), sha256: sha256.over(None) };
    let _seat = seat(&state)?;
    let new = NewImage { name: input.name, sha256: input.sha256, record: Some(record(&state, &who)) };
    let prefixes = state.images_allow.clone();
    let allowed = move |url: &Url| prefixes.allow(url);
    Ok(added(state.images.fetch(&input.url, &allowed, new).await?))
}

fn http_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or("is an http:// or https:// URL")
}

/// Remove an image, by its SHA-256 or its name.
#[utoipa::path(delete, path = "/api/v1/images/{image}", tag = "images", params(("image" = String, Path)),
    responses((status = 204), (status = 409, description = "An active job installs it", body = Problem)))]
pub async fn remove(
    State(state): State<ApiState>,
    who: Who,
    Name(ParsedKey(key)): Name<ParsedKey>,
) -> Result<StatusCode, ApiError> {
    // In a task of its own: a removal whose caller hangs up still ends.
    let removing = tokio::spawn(async move {
        let change = state.images.change().await;
        let image = state.images.find(&key).await?.ok_or(ImageError::Unknown)?;
        if let Some(job) = user_of(&state, &image).await? {
            let detail =
                format!("job {job} is active and installs this image, or cannot be read and may install it");
            return Err(ApiError::Conflict { detail, job: Some(job) });
        }
        let act = who.act(state.world.clock.now(), "image.remove").with(detail(&image));
        state.store.record(act).await?;
        state.images.remove(&image, &change).await?;
        tracing::info!(sha256 = image.sha256, actor = who.actor.id, "an image was removed");
        Ok(StatusCode::NO_CONTENT)
    });
    removing.await.map_err(|error| {
        tracing::error!(%error, "the removal of an image failed unexpectedly");
        ApiError::NotReady("the removal failed unexpectedly; see the log".to_owned())
    })?
}

/// An image in a path.
pub struct ParsedKey(ImageKey);

impl std::str::FromStr for ParsedKey {
    type Err = ();

    fn from_str(text: &str) -> Result<ParsedKey, ()> {
        text.parse().map(ParsedKey)
    }
}

/// An active job that installs the image, or of which that cannot be known.
async fn user_of(state: &ApiState, image: &HostedImage) -> Result<Option<JobId>, ApiError> {
    for id in state.store.active_jobs().await? {
        let uses = match state.store.stored_job(id).await? {
            None => false,
            Some(StoredJob::Unreadable(_)) => true,
            Some(StoredJob::Readable(job)) => {
                let digest = job.spec.as_ref().and_then(|spec| spec.maintenance()?.hosted_image());
                digest.is_some_and(|digest| digest.to_string() == image.sha256)
            }
        };
        if uses {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

fn seat(state: &ApiState) -> Result<OwnedSemaphorePermit, ApiError> {
    let seat = Arc::clone(&state.additions).try_acquire_owned();
    seat.map_err(|_| ApiError::TooMany { what: "additions of images under way", wait: ADDITIONS_RETRY })
}

fn record(state: &ApiState, who: &Who) -> Record {
    let (store, clock, who) = (state.store.clone(), state.world.clock.clone(), who.clone());
    Box::new(move |image| {
        let act = who.act(clock.now(), "image.add").with(detail(image));
        tracing::info!(sha256 = image.sha256, actor = who.actor.id, "an image is added");
        Box::pin(async move { store.record(act).await })
    })
}

fn detail(image: &HostedImage) -> serde_json::Value {
    json!({ "sha256": image.sha256, "name": image.name, "size": image.size, "source": image.source })
}

fn added(added: AddedImage) -> Response {
    let status = if added.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let path = format!("/api/v1/images/{}", added.image.sha256);
    let response = (status, Json(HostedImageBody::from(added.image))).into_response();
    if added.is_new { at_location(response, &path) } else { response }
}
