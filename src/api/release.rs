//! `POST /api/v1/servers/{serial}/release`: eject every virtual drive, clear the boot override, delete our session.
//!
//! It does nothing of that itself: that is handed in. Invariants: nothing is changed while a job holds the server, and
//! every release is in the audit before its first act.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::{Map, Value, json};
use shoal_base::with_causes;
use tokio::sync::OnceCell;
use utoipa::ToSchema;

use super::ApiState;
use super::access::Who;
use super::body::{Name, OptionalJsonObject};
use super::error::{ApiError, Problem};
use super::find;
use crate::access::Act;
use crate::domain::{Fields, HostId, Serial};
use crate::media::job_of_url;
use crate::release::{Ask, Item, Refused, ReleaseGuard, ReleaseReport};
use crate::store::{JobFilter, Store, StoreError, StoredJob};

/// How far a release may go.
#[derive(Debug, Default, ToSchema)]
pub struct ReleaseInput {
    /// Also where the host is not Off, or a drive holds an image that is not this controller's. `false` where it is
    /// missing.
    #[schema(value_type = Option<bool>)]
    force: bool,
}

/// What was done, and what is left.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReleaseBody {
    serial: String,
    /// Every drive is empty and no boot override is armed.
    released: bool,
    items: Vec<ReleaseItem>,
}

/// One thing that was to be freed.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReleaseItem {
    /// The id of a slot, or `identity`, `slots`, `boot_override`, `session`.
    name: String,
    /// `done`, `clean` or `left`.
    status: &'static str,
    detail: String,
}

impl From<ReleaseReport> for ReleaseBody {
    fn from(report: ReleaseReport) -> ReleaseBody {
        let items = report.items.into_iter().map(ReleaseItem::from).collect();
        ReleaseBody { serial: report.serial, released: report.released, items }
    }
}

impl From<Item> for ReleaseItem {
    fn from(item: Item) -> ReleaseItem {
        ReleaseItem { name: item.name, status: item.status.name(), detail: item.detail }
    }
}

/// Eject every virtual drive of a server, clear its boot override and delete the controller's session, without a job.
/// 200 also where something is left: `released` is `false` then, and `items` say what.
#[utoipa::path(post, path = "/api/v1/servers/{serial}/release", tag = "servers",
    params(("serial" = String, Path)), request_body = Option<ReleaseInput>,
    responses((status = 200, body = ReleaseBody),
        (status = 409, description = "A job is active on the server, or by another record on its host; or `force` is needed: the host is not Off, or an image is not this controller's", body = Problem)))]
pub async fn release(
    State(state): State<ApiState>,
    who: Who,
    Name(serial): Name<Serial>,
    OptionalJsonObject(body): OptionalJsonObject,
) -> Result<Json<ReleaseBody>, ApiError> {
    let input = read(&body)?;
    let server = find::server(&state, &serial).await?;
    if let Some(job) = state.store.active_job(&serial).await? {
        return Err(StoreError::Busy { server: serial, job }.into());
    }
    let act = who.act(state.world.clock.now(), "server.release").on_server(&serial);
    let act = act.with(json!({ "force": input.force }));
    let ask = ask(&state.store, &serial, input.force, act).await?;
    let releaser = Arc::clone(&state.release);
    // In a task of its own: a release whose caller hangs up still ends.
    let releasing = tokio::spawn(async move { releaser(server, ask).await });
    let released = releasing.await.map_err(|error| {
        tracing::error!(server = %serial, %error, "a release failed unexpectedly");
        ApiError::NotReady("the release failed unexpectedly; see the log".to_owned())
    })?;
    let report =
        released.map_err(|refused| ApiError::Conflict { detail: detail(&serial, &refused), job: None })?;
    Ok(Json(report.into()))
}

fn detail(serial: &Serial, refused: &Refused) -> String {
    let remedy = match refused {
        Refused::NeedsForce { .. } => "; send {\"force\": true} to release it all the same",
        Refused::HostInUse { .. } => "",
    };
    format!("nothing was changed on server {serial}: {refused}{remedy}")
}

fn read(body: &Map<String, Value>) -> Result<ReleaseInput, ApiError> {
    let mut fields = Fields::new(body, &["force"]);
    let force = fields.flag("force");
    if !fields.errors.is_empty() {
        return Err(ApiError::invalid("invalid release request", fields.errors));
    }
    Ok(ReleaseInput { force })
}

/// With what the server's last job has left.
async fn ask(store: &Store, serial: &Serial, force: bool, act: Act) -> Result<Ask, ApiError> {
    let filter = JobFilter { server: Some(serial.clone()), limit: 1, ..JobFilter::default() };
    let (mut known_slots, mut session) = (Vec::new(), None);
    if let Some(StoredJob::Readable(job)) = store.jobs(&filter).await?.into_iter().next() {
        let left = job.leftover();
        known_slots = left.boot.into_iter().chain(left.task).collect();
        session = job.facts.session;
    }
    let (recorded, host) = (OnceCell::new(), OnceCell::new());
    let guard = JobGuard { store: store.clone(), serial: serial.clone(), act, recorded, host };
    Ok(Ask { force, known_slots, session, guard: Arc::new(guard) })
}

/// Keeps a release away from jobs, and writes it into the audit before its first act.
struct JobGuard {
    store: Store,
    serial: Serial,
    act: Act,
    recorded: OnceCell<()>,
    /// Once the BMC has shown it.
    host: OnceCell<HostId>,
}

impl JobGuard {
    async fn check(&self) -> Result<(), String> {
        let text = |error: StoreError| with_causes(&error);
        if let Some(job) = self.store.active_job(&self.serial).await.map_err(text)? {
            return Err(text(StoreError::Busy { server: self.serial.clone(), job }));
        }
        self.check_host().await?;
        self.recorded.get_or_try_init(|| self.store.record(self.act.clone())).await.map(|_| ()).map_err(text)
    }

    async fn check_host(&self) -> Result<(), String> {
        let Some(host) = self.host.get() else { return Ok(()) };
        match self.store.host_holder(host, &self.serial).await {
            Ok(None) => Ok(()),
            Ok(Some(holder)) => Err(holder.to_string()),
            Err(error) => Err(with_causes(&error)),
        }
    }

    async fn has_job_of(&self, image: &str) -> bool {
        let Some(id) = job_of_url(image) else { return false };
        self.store.stored_job(id).await.is_ok_and(|job| job.is_some())
    }
}

impl ReleaseGuard for JobGuard {
    fn may_act(&self) -> BoxFuture<'_, Result<(), String>> {
        self.check().boxed()
    }

    fn may_touch(&self, host: HostId) -> BoxFuture<'_, Result<(), String>> {
        async {
            self.host.get_or_init(async || host).await;
            self.check_host().await
        }
        .boxed()
    }

    fn is_ours<'a>(&'a self, image: &'a str) -> BoxFuture<'a, bool> {
        self.has_job_of(image).boxed()
    }
}
