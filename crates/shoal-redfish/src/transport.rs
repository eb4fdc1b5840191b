//! Requests to one BMC by one account, one at a time: how each is written, sent, bounded, counted and reported.
//!
//! The bottom of this client: it knows HTTP, JSON and the headers of Redfish, and neither logins nor resources.
//! One [`exchange`](Transport::exchange) is one request and its answer, but for two repetitions that change nothing
//! on the BMC: a redirect to the same path with or without its last slash, and a 406 to `Accept-Encoding: identity`.
//! Timeouts of reads follow the BMC's own speed ([`Latency`]); those of writes are fixed, because a write takes as
//! long as it takes. `Connection: close` is sent to BMCs that do not bear a connection that is used again, and to
//! each one until its maker is known.
//!
//! Invariants: a request goes to the BMC's own origin with a bound on its time and on the size of its answer; no
//! header and no body is ever logged; what the BMC says is redacted before it becomes an error.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::Value;
use tokio::time::Instant;
use tower::ServiceExt;
use url::Url;

use super::body;
use super::call::{Call, Credentials, Reply};
use super::encoding;
use super::identity::BmcIdentity;
use super::latency::Latency;
use super::link::BmcOrigin;
use super::messages::{self, Complaint};
use super::quirks::Quirk;
use super::{Account, ErrorClass, Limits, Op, RedfishError, RedfishErrorKind, json};
use shoal_base::UrlSecrets;
use shoal_base::world::{HttpRequest, Rng, TransportError, TransportErrorKind, World};

/// Bytes of an answer that are read.
const BODY_BYTES_MAX: usize = 4 << 20;
/// How long a body that is not needed may take after its head: an error's, or that of a write's answer.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The first wait before a read is repeated; it doubles.
const RETRY_DELAY_FIRST: Duration = Duration::from_millis(500);
/// The longest of those waits.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);
/// All waits of one read together, those that the BMC asks for included.
const RETRY_WAIT_TOTAL: Duration = Duration::from_secs(120);

/// What every request to this BMC needs, and nothing that a login or a resource adds.
pub(super) struct Transport {
    pub(super) account: Account,
    pub(super) origin: BmcOrigin,
    pub(super) limits: Limits,
    pub(super) identity: BmcIdentity,
    /// Secrets of URLs that this BMC is given.
    hidden: Mutex<UrlSecrets>,
    latency: Latency,
    rng: Rng,
    world: World,
}

impl Transport {
    pub(super) fn new(account: Account, world: World, limits: Limits) -> Transport {
        let origin = BmcOrigin::new(&account.address);
        Transport {
            identity: BmcIdentity::new(limits.quirks_off.clone()),
            hidden: Mutex::default(),
            latency: Latency::default(),
            rng: world.rng.child(&format!("redfish {}", origin.authority())),
            account,
            origin,
            limits,
            world,
        }
    }

    /// A read. The BMC gets as long as it has taken lately, with room.
    pub(super) fn get<'a>(&self, op: Op, link: &'a str, system: Option<&'a str>) -> Call<'a> {
        let timeout = self.latency.deadline(self.limits.timeout);
        Call { op, method: Method::GET, link, body: None, if_match: None, system, timeout }
    }

    pub(super) fn delete<'a>(&self, op: Op, link: &'a str, timeout: Duration) -> Call<'a> {
        Call { op, method: Method::DELETE, link, body: None, if_match: None, system: None, timeout }
    }

    /// A write, which gets all the time that is configured.
    pub(super) fn post<'a>(
        &self,
        op: Op,
        link: &'a str,
        body: &'a Value,
        system: Option<&'a str>,
    ) -> Call<'a> {
        let timeout = self.limits.timeout;
        Call { op, method: Method::POST, link, body: Some(body), if_match: None, system, timeout }
    }

    pub(super) fn patch<'a>(
        &self,
        op: Op,
        link: &'a str,
        body: &'a Value,
        system: Option<&'a str>,
    ) -> Call<'a> {
        Call { method: Method::PATCH, ..self.post(op, link, body, system) }
    }

    /// The pause, a little longer or shorter, so that clients do not keep in step.
    pub(super) fn jitter(&self, pause: Duration) -> Duration {
        self.rng.jitter(pause)
    }

    /// So many tries after the first.
    pub(super) fn retries(&self, op: Op, left: u32) -> Retries<'_> {
        Retries { transport: self, op, left, waited: Duration::ZERO, backoff: RETRY_DELAY_FIRST }
    }

    /// The error that an answer other than success is.
    pub(super) fn refusal(&self, call: &Call<'_>, reply: &Reply) -> RedfishError {
        let complaint = self.complaint(&reply.body);
        let mut error = match reply.header(header::LOCATION).map(|target| self.origin.resolve(target)) {
            Some(Err(Some(origin))) if reply.status.is_redirection() => {
                call.error(RedfishErrorKind::OtherOrigin { origin })
            }
            _ => RedfishError::refused(call.op, call.link, reply.status.as_u16(), complaint),
        };
        error.retry_after = reply.retry_after;
        error
    }

    /// Hides these from what the BMC says from now on, in the place of those before.
    pub(super) fn hide(&self, secrets: UrlSecrets) {
        *self.hidden.lock().unwrap_or_else(PoisonError::into_inner) = secrets;
    }

    /// What the BMC complains of, without anything secret.
    pub(super) fn complaint(&self, body: &Value) -> Complaint {
        let Account { password, secrets, .. } = &self.account;
        let meant = secrets.resolve(password).unwrap_or_else(|_| password.clone());
        let hidden = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        let secrets: Vec<&str> = hidden.words().chain([meant.expose()]).collect();
        messages::complaint(body, &secrets)
    }

    /// One request and its answer, but for two things that change nothing: a redirect to the same
    /// path with or without its last slash, and a BMC that wants no `Accept-Encoding`.
    pub(super) async fn exchange(
        &self,
        call: &Call<'_>,
        auth: Option<&Credentials>,
    ) -> Result<Reply, RedfishError> {
        let url = self.resolve(call)?;
        let reply = self.send(call, &url, auth, true).await?;
        match reply.status.as_u16() {
            // Whatever the method: a request that is redirected had no effect (old Supermicro: 301 to a login).
            301 | 302 | 307 | 308 => self.follow_slash(call, &url, auth, reply).await,
            // HPE Gen10 Plus refuses `identity` for some resources (sushy).
            406 => self.send(call, &url, auth, false).await,
            _ => Ok(reply),
        }
    }

    /// Sends the request once more where the redirect leads to the same path but for its last slash; another target
    /// is not followed, and the redirect is the answer.
    async fn follow_slash(
        &self,
        call: &Call<'_>,
        url: &Url,
        auth: Option<&Credentials>,
        reply: Reply,
    ) -> Result<Reply, RedfishError> {
        let target =
            reply.header(header::LOCATION).and_then(|target| self.origin.differs_by_slash(url, target));
        match target {
            Some(target) => self.send(call, &target, auth, true).await,
            None => Ok(reply),
        }
    }

    /// The URL of the call's link, which must stay on the BMC.
    fn resolve(&self, call: &Call<'_>) -> Result<Url, RedfishError> {
        self.origin.resolve(call.link).map_err(|origin| match origin {
            Some(origin) => call.error(RedfishErrorKind::OtherOrigin { origin }),
            None => RedfishError::unsupported(call.op, call.link, "gave a link that is no URL"),
        })
    }

    /// Sends one HTTP request, within the call's timeout, and counts it whatever becomes of it.
    async fn send(
        &self,
        call: &Call<'_>,
        url: &Url,
        auth: Option<&Credentials>,
        identity: bool,
    ) -> Result<Reply, RedfishError> {
        let request = self.request(call, url, auth, identity);
        let started = Instant::now();
        // A read that is repeated after a silence gets what that has doubled.
        let timeout = match call.method {
            Method::GET if call.op != Op::Logout => {
                call.timeout.max(self.latency.deadline(self.limits.timeout))
            }
            _ => call.timeout,
        };
        let answer = Box::pin(self.receive(&Call { timeout, ..call.clone() }, request)).await;
        self.learn_latency(call, &answer, started.elapsed());
        self.record(call, &answer, started.elapsed());
        answer
    }

    /// Of reads alone: what a write does takes as long as it takes.
    fn learn_latency(&self, call: &Call<'_>, answer: &Result<Reply, RedfishError>, took: Duration) {
        match answer {
            _ if call.method != Method::GET => {}
            Ok(_) => self.latency.answered(took),
            Err(error) if matches!(error.kind, RedfishErrorKind::TimedOut { .. }) => self.latency.timed_out(),
            Err(_) => {}
        }
    }

    /// The headers: OData's version, JSON, no compression, the tag, the credentials.
    fn request(&self, call: &Call<'_>, url: &Url, auth: Option<&Credentials>, identity: bool) -> HttpRequest {
        let mut builder = http::Request::builder()
            .method(call.method.clone())
            .uri(url.as_str())
            .header("OData-Version", "4.0")
            .header(header::ACCEPT, "application/json")
            .extension(self.account.tls.clone());
        if identity {
            builder = builder.header(header::ACCEPT_ENCODING, "identity");
        }
        if self.identity.quirks().has(Quirk::NoKeepAlive) || self.identity.vendor_unknown() {
            builder = builder.header(header::CONNECTION, "close");
        }
        if call.body.is_some() {
            builder = builder.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(tag) = call.if_match.and_then(|tag| HeaderValue::from_str(tag).ok()) {
            builder = builder.header(header::IF_MATCH, tag);
        }
        if let Some(auth) = auth {
            let (name, value) = auth.header();
            builder = builder.header(name, value);
        }
        let body = call.body.map(Value::to_string).unwrap_or_default();
        builder.body(Bytes::from(body)).expect("a URL and checked headers make a request")
    }

    /// The answer: its head within the call's timeout, and of its body what comes within that too. Only the answer
    /// to a read needs its body: an error stands without it, and so does a write that was done.
    async fn receive(&self, call: &Call<'_>, request: HttpRequest) -> Result<Reply, RedfishError> {
        let deadline = Instant::now() + call.timeout;
        let sent = self.world.transport.clone().oneshot(request);
        let sent = tokio::time::timeout_at(deadline, sent).await;
        let sent = sent.map_err(|_| call.error(RedfishErrorKind::TimedOut { after: call.timeout }))?;
        let (head, body) = sent.map_err(|error| transport_error(call, error))?.into_parts();
        let needs_body = head.status.is_success() && call.method == Method::GET;
        let deadline = if needs_body { deadline } else { deadline.min(Instant::now() + BODY_TIMEOUT) };
        let body = body::receive(call, body, BODY_BYTES_MAX, deadline).await;
        if let Some(defect) = body.defect {
            if needs_body {
                return Err(defect);
            }
            tracing::debug!(path = call.link, status = head.status.as_u16(), kind = %defect.kind, "body incomplete");
        }
        let body = encoding::decode(&head.headers, body.bytes, BODY_BYTES_MAX);
        let parsed = if body.is_empty() { Ok(Value::Null) } else { json::parse_body(&body) };
        Ok(Reply {
            status: head.status,
            retry_after: self.retry_after(&head.headers, head.status),
            headers: head.headers,
            is_garbled: parsed.is_err(),
            body: parsed.unwrap_or_default(),
        })
    }

    /// `Retry-After` in seconds or as a date, of the answers that mean "later".
    fn retry_after(&self, headers: &HeaderMap, status: StatusCode) -> Option<Duration> {
        if !matches!(status.as_u16(), 202 | 429 | 503) {
            return None;
        }
        let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse::<u32>() {
            return Some(Duration::from_secs(seconds.into()));
        }
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Some(shoal_base::world::elapsed(self.world.clock.wall(), date))
    }

    /// Metrics and a line of the log; neither has a path or a body among its labels.
    fn record(&self, call: &Call<'_>, answer: &Result<Reply, RedfishError>, took: Duration) {
        let (op, vendor) = (call.op.name(), self.identity.vendor());
        let code = match answer {
            Ok(reply) => code_label(reply.status),
            Err(error) => outcome_label(&error.kind),
        };
        metrics::histogram!(DURATION, "op" => op, "vendor" => vendor).record(took.as_secs_f64());
        metrics::counter!(REQUESTS, "op" => op, "code" => code.clone(), "vendor" => vendor).increment(1);
        tracing::debug!(op, path = call.link, code, duration_ms = took.as_millis() as u64, "redfish request");
    }
}

/// The tries that a read has left.
pub(super) struct Retries<'a> {
    transport: &'a Transport,
    op: Op,
    left: u32,
    waited: Duration,
    backoff: Duration,
}

impl Retries<'_> {
    /// Waits before the next try, or gives the error back where there is none: the tries or the
    /// time are used up, or another try would meet the same.
    pub(super) async fn after(&mut self, error: RedfishError) -> Result<(), RedfishError> {
        let wait = self.transport.rng.jitter(self.backoff).max(error.retry_after.unwrap_or_default());
        if error.class() != ErrorClass::Retry || self.left == 0 || self.waited + wait > RETRY_WAIT_TOTAL {
            return Err(error);
        }
        let op = self.op.name();
        metrics::counter!(RETRIES, "op" => op, "vendor" => self.transport.identity.vendor()).increment(1);
        tracing::debug!(op, path = %error.path, kind = %error.kind, ?wait, "redfish read repeated");
        tokio::time::sleep(wait).await;
        self.left -= 1;
        self.waited += wait;
        self.backoff = (self.backoff * 2).min(RETRY_DELAY_MAX);
        Ok(())
    }
}

const DURATION: &str = "shoal_provisioner_redfish_request_duration_seconds";
const REQUESTS: &str = "shoal_provisioner_redfish_requests_total";
const RETRIES: &str = "shoal_provisioner_redfish_retries_total";

/// The status, of those that HTTP knows.
fn code_label(status: StatusCode) -> String {
    if status.canonical_reason().is_some() { status.as_str().to_owned() } else { "other".to_owned() }
}

/// What became of a request without an answer, as the `code` label.
fn outcome_label(kind: &RedfishErrorKind) -> String {
    let label = match kind {
        RedfishErrorKind::Unreachable => "unreachable",
        RedfishErrorKind::Certificate => "certificate",
        RedfishErrorKind::TimedOut { .. } => "timeout",
        RedfishErrorKind::TooLarge { .. } => "too_large",
        _ => "broken",
    };
    label.to_owned()
}

/// The error of a request that got no answer.
fn transport_error(call: &Call<'_>, error: TransportError) -> RedfishError {
    let kind = match error.kind {
        TransportErrorKind::Connect | TransportErrorKind::NotTls => RedfishErrorKind::Unreachable,
        TransportErrorKind::Certificate => RedfishErrorKind::Certificate,
        TransportErrorKind::Broken => RedfishErrorKind::Broken,
    };
    let reason = match error.kind {
        TransportErrorKind::NotTls => Some(error.kind.to_string()),
        _ => error.reason,
    };
    RedfishError { reason: reason.map(String::into_boxed_str), ..call.error(kind) }
}
