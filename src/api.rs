//! The HTTP API: routes and public JSON, one resource a file.
//!
//! It translates between requests and the store; it drives no job and opens no listener. Invariants:
//! wire types live here and nowhere else, [`error`] is the only table of status codes, and every
//! refusal is `application/problem+json`.

mod access;
mod audit;
mod batches;
mod body;
mod check;
mod error;
mod events;
mod find;
mod health;
mod images;
mod inspect;
mod jobs;
mod kickstart;
mod media;
mod metrics;
mod notify;
mod openapi;
mod query;
mod release;
mod servers;
mod streams;
mod tokens;
mod webhook;
mod words;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use access::{Access, Limits, Rates, RequestSource, SignedIn, Tokens};
pub use error::ApiError;
pub use health::{SelfTest, SelfTests};
pub use inspect::Inspector;
pub use kickstart::{DiskReader, InstallerVersion, KickstartCheck};
pub use metrics::{MetricsAccess, install_recorder};
pub use notify::{Notifier, NotifySecret, NotifySettings};
pub use tokens::{new_id as new_token_id, new_text as new_token_text};
pub use webhook::Hooks;

use crate::doctor::Checker;
use crate::domain::{BatchId, JobId};
use crate::engine::DryRunner;
use crate::media::{HostedImages, Media, MediaFirst};
use crate::registry::Registries;
use crate::release::Releaser;
use crate::store::Store;
use access::{AccessGuard, MediaReads};
use query::QueryTable;
use shoal_base::UrlPrefixes;
use shoal_base::world::{Secrets, World};

/// What the API is made of.
pub struct ApiParts {
    pub world: World,
    pub store: Store,
    pub media: Media,
    pub dry_run: DryRunner,
    pub check: Checker,
    pub release: Releaser,
    pub inspect: Inspector,
    pub access: Access,
    /// Where a `bmc_password` that is named only must be found.
    pub secrets: Secrets,
    /// The listener speaks TLS.
    pub tls: bool,
    /// Each is accepted by the webhook; without any it is 404.
    pub webhook_secrets: Vec<SecretString>,
    /// Take what installers report.
    pub hooks: Hooks,
    /// What a recipe may name as its installer.
    pub installer_allow: UrlPrefixes,
    pub images_allow: UrlPrefixes,
    pub images: Arc<HostedImages>,
    /// The largest image that `image.source: auto` puts onto a task medium.
    pub auto_media_bytes_max: u64,
    /// Resolve what a recipe names in a registry.
    pub registries: Registries,
    /// How kickstarts are checked on submit.
    pub kickstart_check: KickstartCheck,
    /// Directories that must be writable for the controller to be ready, with their settings.
    pub writable_dirs: Vec<(&'static str, PathBuf)>,
    /// What the controller found when it tested itself.
    pub self_tests: SelfTests,
    pub metrics: MetricsAccess,
    /// The API itself; without it there are health and metrics.
    pub serves_api: bool,
    /// `/media`, and what installers report.
    pub serves_media: bool,
    /// `/healthz` shows it, at every controller of the database.
    pub instance_id: String,
    /// Ends the event streams.
    pub shutdown: CancellationToken,
}

/// What the handlers share.
pub struct ApiShared {
    parts: ApiParts,
    openapi: Arc<str>,
    recipe_schema: Arc<str>,
    streams: streams::StreamSeats,
    checks: Arc<Semaphore>,
    /// Seats of those who add images.
    additions: Arc<Semaphore>,
    /// Held while a server is read, changed and written back.
    inventory: tokio::sync::Mutex<()>,
}

type ApiState = Arc<ApiShared>;

impl std::ops::Deref for ApiShared {
    type Target = ApiParts;

    fn deref(&self) -> &ApiParts {
        &self.parts
    }
}

impl ApiShared {
    fn new_job_id(&self, at: Timestamp) -> JobId {
        JobId::new(u64::try_from(at.as_millisecond()).unwrap_or(0), self.random())
    }

    fn new_batch_id(&self, at: Timestamp) -> BatchId {
        BatchId::new(u64::try_from(at.as_millisecond()).unwrap_or(0), self.random())
    }

    fn random(&self) -> [u8; 10] {
        let mut random = [0; 10];
        self.world.rng.fill(&mut random);
        random
    }
}

/// The routes of a listener that is for media alone, the hook of installers, which reach what their
/// BMC reaches, and the instance id.
/// It may be on a network even where the API accepts every client of its loopback listener; so
/// without tokens no operator is let in here.
pub fn media_router(media: &Media, hooks: Hooks, access: Access, instance_id: String) -> Router {
    let access = match access {
        Access::Open => Access::Closed,
        access => access,
    };
    let health = Arc::new(move || health::HealthBody::new(instance_id.clone(), "ok"));
    let guard = AccessGuard {
        access,
        open_metrics: false,
        queries: queries(&mut routes().into_openapi()),
        reads: Arc::new(MediaReads::new(hooks.store.clone(), hooks.clock.clone())),
    };
    media
        .router()
        .merge(hooks.router())
        .route("/healthz", axum::routing::get(async move || axum::Json(health())))
        .layer(middleware::from_fn_with_state(guard, access::guard))
        .fallback(async || ApiError::NotFound("this listener serves media only".to_owned()))
        .layer(middleware::from_fn_with_state(false, finish))
}

/// All routes: the API's and the media's.
pub fn router(parts: ApiParts) -> Router {
    let (all, mut document) = routes().split_for_parts();
    let routes = if parts.serves_api { all } else { beside_other_roles(parts.serves_media) };
    document.merge(media::describe());
    let queries = queries(&mut document);
    let guard = AccessGuard {
        access: parts.access.clone(),
        open_metrics: parts.metrics.open,
        queries,
        reads: Arc::new(MediaReads::new(parts.store.clone(), parts.world.clock.clone())),
    };
    let media = if parts.serves_media { parts.media.router() } else { Router::new() };
    let tls = parts.tls;
    let description = openapi::render(document);
    let state = Arc::new(ApiShared {
        parts,
        recipe_schema: openapi::recipe_schema(&description),
        openapi: description,
        streams: streams::StreamSeats::default(),
        checks: Arc::new(Semaphore::new(check::CHECKS_MAX)),
        additions: Arc::new(Semaphore::new(images::ADDITIONS_MAX)),
        inventory: tokio::sync::Mutex::new(()),
    });
    routes
        .with_state(state)
        .merge(media)
        .layer(middleware::from_fn_with_state(guard, access::guard))
        .fallback(async || ApiError::unknown_path())
        .layer(middleware::from_fn_with_state(tls, finish))
}

/// What a listener serves: images to BMCs, and `rest`. The answers have the same headers whichever gives them.
pub fn media_first(media: &Media, tls: bool, rest: Router) -> MediaFirst {
    let mut headers =
        HeaderMap::from_iter(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    headers.extend(tls.then(|| (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS))));
    media.first(headers, rest)
}

/// Routes beside the API's, with the same checks of the Host header and the same defaults of response headers.
pub fn finished(routes: Router, tls: bool) -> Router {
    routes.layer(middleware::from_fn_with_state(tls, finish))
}

fn queries(document: &mut utoipa::openapi::OpenApi) -> Arc<QueryTable> {
    Arc::new(QueryTable::of(document))
}

/// What a controller without the API serves.
fn beside_other_roles(serves_media: bool) -> Router<ApiState> {
    let routes = OpenApiRouter::new()
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::metrics));
    let reports = OpenApiRouter::new().routes(routes!(webhook::by_secret)).routes(routes!(webhook::by_token));
    let routes = if serves_media { routes.merge(reports) } else { routes };
    routes.split_for_parts().0
}

/// Who may use each is the table of `access::roles`.
fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(servers::create, servers::list))
        .routes(routes!(servers::show, servers::replace, servers::update, servers::remove))
        .routes(routes!(servers::import))
        .routes(routes!(check::check))
        .routes(routes!(release::release))
        .routes(routes!(inspect::inspect))
        .routes(routes!(jobs::create, jobs::list))
        .routes(routes!(jobs::show))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::retry))
        .routes(routes!(jobs::reads))
        .routes(routes!(batches::create, batches::list))
        .routes(routes!(batches::show))
        .routes(routes!(batches::pause))
        .routes(routes!(batches::resume))
        .routes(routes!(batches::cancel))
        .routes(routes!(batches::retry))
        .routes(routes!(images::upload, images::list))
        .routes(routes!(images::fetch))
        .routes(routes!(images::remove))
        .routes(routes!(kickstart::lint_one))
        .routes(routes!(kickstart::render_one))
        .routes(routes!(events::of_one_job))
        .routes(routes!(events::all))
        .routes(routes!(tokens::create, tokens::list))
        .routes(routes!(tokens::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(audit::verify))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::metrics))
        .routes(routes!(openapi::openapi))
        .routes(routes!(openapi::recipe_schema_json))
        .routes(routes!(webhook::by_secret))
        .routes(routes!(webhook::by_token))
}

/// Browsers must not render a response, embed it in another site's page, or cache it.
/// No header lets another origin read them.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];
/// A year, of this host alone: others of its domain are not ours.
const HSTS: &str = "max-age=31536000";

/// What every answer has in common.
async fn finish(State(tls): State<bool>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let started = tokio::time::Instant::now();
    // What a BMC sends may be odd, and no answer about an image depends on the host.
    let is_of_media = request.uri().path().starts_with("/media/");
    let host = access::check_host_form(request.headers(), request.uri());
    let mut response = match host.or_else(|error| if is_of_media { Ok(()) } else { Err(error) }) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (status, route) = (response.status().as_u16(), route.unwrap_or_default());
    tracing::debug!(%method, route, status, duration_ms, "answered");
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
    response
}
