//! A fault of one resource of the BMC, from the first request to it within a step on: between the real client and
//! the simulated BMC, so that it strikes any request and at any time.
//!
//! It holds no test. Invariant: outside the fault's time every request passes as it is, and every answer that
//! was changed is counted.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use http::{Method, Response, StatusCode, header};
use serde_json::json;
use shoal::domain::{Phase, Step};
use shoal::store::{JobFilter, Side, Store, Tap};
use shoal_base::world::{HttpRequest, HttpResponse, Transport, TransportError};
use shoal_sim::Network;
use tokio::time::Instant;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

/// The authority of the one BMC.
const BMC: &str = "bmc0.test";
const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";

/// What does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    System,
    Slot,
    /// The session is gone, and a login is answered with the fault.
    Session,
    Task,
}

impl Target {
    pub const ALL: [Target; 4] = [Target::System, Target::Slot, Target::Session, Target::Task];

    fn is_meant(self, method: &Method, path: &str) -> bool {
        match self {
            Target::System => path.starts_with("/redfish/v1/Systems/") && !path.contains("/VirtualMedia"),
            Target::Slot => path.contains("/VirtualMedia/"),
            Target::Session => path.starts_with(SESSIONS) && *method == Method::POST,
            Target::Task => path.starts_with("/redfish/v1/TaskService/"),
        }
    }
}

/// What its answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    NotFound,
    Unauthorised,
    Unavailable,
    /// The request is done, and the body of its answer ends early.
    CutBody,
    NotReady,
}

impl Kind {
    pub const ALL: [Kind; 5] =
        [Kind::NotFound, Kind::Unauthorised, Kind::Unavailable, Kind::CutBody, Kind::NotReady];

    fn answer(self) -> Option<HttpResponse> {
        let (status, id, text) = match self {
            Kind::NotFound => (404, "Base.1.8.ResourceMissingAtURI", "The resource was not found."),
            Kind::Unauthorised => (401, "Base.1.8.NoValidSession", "There is no valid session."),
            Kind::Unavailable => (503, "", ""),
            Kind::CutBody => return None,
            Kind::NotReady => (400, "IDRAC.2.8.SYS518", "iDRAC is not ready."),
        };
        let body = json!({ "error": { "@Message.ExtendedInfo": [{ "MessageId": id, "Message": text }] } });
        let body = if id.is_empty() { Body::empty() } else { Body::from(body.to_string()) };
        let mut answer = Response::new(body);
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        Some(answer)
    }
}

/// When it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    Secs(u64),
    /// So long after the verdict.
    AfterVerdict(Duration),
    Permanently,
}

/// From which step on, on what, with which answer, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub step: Step,
    pub target: Target,
    pub kind: Kind,
    pub lasts: Lasts,
}

/// The fault of one site, or none; and which requests each step made.
pub struct Striker {
    fault: Option<Fault>,
    network: Network,
    store: Store,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    step: Option<Step>,
    /// The step of the fault has begun.
    is_armed: bool,
    /// When the fault's target was first asked for anything since then.
    since: Option<Instant>,
    decided_at: Option<Instant>,
    /// Tokens that were given out before.
    old_tokens: Vec<String>,
    struck: usize,
    asked: Vec<(Step, Target)>,
}

impl Striker {
    pub fn new(fault: Option<Fault>, network: &Network, store: &Store) -> Arc<Striker> {
        Arc::new(Striker { fault, network: network.clone(), store: store.clone(), state: Mutex::default() })
    }

    pub fn struck(&self) -> usize {
        self.state.lock().unwrap().struck
    }

    /// Each step with what it asked for, once.
    pub fn asked(&self) -> Vec<(Step, Target)> {
        let mut asked = self.state.lock().unwrap().asked.clone();
        asked.sort();
        asked.dedup();
        asked
    }

    /// A handle on the store that reports the job's step.
    pub fn store(self: &Arc<Striker>) -> Store {
        let striker = self.clone();
        let tap: Tap = Arc::new(move |doing, side| {
            let striker = striker.clone();
            Box::pin(async move {
                if doing == "saving a job" && side == Side::After {
                    striker.follow().await;
                }
                Ok(())
            })
        });
        self.store.tapped(tap)
    }

    async fn follow(&self) {
        let all = JobFilter { limit: 2, ..JobFilter::default() };
        let id = self.store.jobs(&all).await.unwrap()[0].id();
        let job = self.store.job(id).await.unwrap().unwrap();
        let mut state = self.state.lock().unwrap();
        if job.cursor.entered_at.is_some() {
            state.step = Some(job.cursor.step);
        }
        if job.cursor.phase != Phase::Forward {
            state.decided_at.get_or_insert_with(Instant::now);
        }
        state.is_armed |= self.fault.is_some_and(|fault| Some(fault.step) == state.step);
    }

    pub fn transport(self: &Arc<Striker>) -> Transport {
        let striker = self.clone();
        BoxCloneSyncService::new(tower::service_fn(move |request| {
            let striker = striker.clone();
            async move { striker.send(request).await }
        }))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let transport = self.network.transport();
        if request.uri().authority().is_none_or(|authority| authority != BMC) {
            return transport.oneshot(request).await;
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        self.note(&method, &path);
        let active = self.active();
        if self.is_of_lost_session(active, &request) {
            self.state.lock().unwrap().struck += 1;
            return Ok(Kind::Unauthorised.answer().unwrap());
        }
        let meant = active.filter(|fault| fault.target.is_meant(&method, &path));
        if let Some(answer) = meant.and_then(|fault| fault.kind.answer()) {
            self.state.lock().unwrap().struck += 1;
            return Ok(answer);
        }
        let answer = transport.oneshot(request).await?;
        if path == SESSIONS && active.is_none() {
            let token = answer.headers().get("x-auth-token").and_then(|token| token.to_str().ok());
            self.state.lock().unwrap().old_tokens.extend(token.map(str::to_owned));
        }
        match meant {
            Some(_) => self.cut(answer).await,
            None => Ok(answer),
        }
    }

    fn note(&self, method: &Method, path: &str) {
        let mut state = self.state.lock().unwrap();
        let Some(step) = state.step else { return };
        let any = Some(Target::Session);
        let of = Target::ALL.into_iter().find(|target| target.is_meant(method, path));
        let strikes = |fault: Fault| fault.target == Target::Session || of == Some(fault.target);
        if state.is_armed && self.fault.is_some_and(strikes) {
            state.since.get_or_insert_with(Instant::now);
        }
        state.asked.extend(of.into_iter().chain(any).map(|target| (step, target)));
    }

    fn active(&self) -> Option<Fault> {
        let (fault, state) = (self.fault?, self.state.lock().unwrap());
        let since = state.since?;
        let is_over = match fault.lasts {
            Lasts::Secs(secs) => since.elapsed() >= Duration::from_secs(secs),
            Lasts::AfterVerdict(wait) => state.decided_at.is_some_and(|at| at.elapsed() >= wait),
            Lasts::Permanently => false,
        };
        (!is_over).then_some(fault)
    }

    /// The BMC has forgotten the sessions of before, and stays without them.
    fn is_of_lost_session(&self, active: Option<Fault>, request: &HttpRequest) -> bool {
        let token = request.headers().get("x-auth-token").and_then(|token| token.to_str().ok());
        let state = self.state.lock().unwrap();
        let is_old = token.is_some_and(|token| state.old_tokens.iter().any(|old| old == token));
        is_old && active.is_some_and(|fault| fault.target == Target::Session)
    }

    /// The answer to a write is cut as well: what it did stays done.
    async fn cut(&self, answer: HttpResponse) -> Result<HttpResponse, TransportError> {
        let (mut head, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        if !body.is_empty() {
            self.state.lock().unwrap().struck += 1;
        }
        head.headers.remove(header::CONTENT_LENGTH);
        Ok(Response::from_parts(head, Body::from(body.slice(..body.len() / 2))))
    }
}
