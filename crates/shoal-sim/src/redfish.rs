//! The Redfish service of a simulated BMC: one request in, one answer out.
//!
//! HTTP rules that hold for every resource are here (authentication, methods, ETags, headers);
//! each resource has its own file. It knows no client of this project. Invariant: nothing is
//! changed before the request is authenticated, allowed and well-formed.

mod accounts;
mod boot;
mod chassis;
mod locations;
mod managers;
mod manners;
mod mishap;
mod oem;
mod passing;
mod resource;
mod root;
mod sessions;
mod sources;
mod storage;
mod systems;
mod tasks;
mod virtual_media;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use base64::Engine as _;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use self::mishap::ConnectionReset;
use self::resource::{Oem, Resource};
use self::virtual_media::Insert;
use super::bmc::Bmc;
use super::body;
use super::faults::Fault;
use super::guest::hex;
use super::message::{Message, Refusal};
use super::shared::Shared;
use shoal_base::world::{after, elapsed};

/// Real BMCs take little more than this.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A request that has arrived whole.
pub struct Call {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Bytes,
}

/// Who asks.
pub struct Caller {
    account: String,
    /// May change things that are not the caller's own.
    may_configure: bool,
    /// May create accounts and see others.
    is_administrator: bool,
    /// The session that carried the request, where one did.
    session: Option<String>,
}

/// The answer, before it is HTTP.
pub struct Reply {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    body: ReplyBody,
}

enum ReplyBody {
    Empty,
    Json(Value),
    Xml(&'static str),
}

/// What a request came to.
pub enum Outcome {
    Reply(Reply),
    /// The image has to be looked at first.
    Insert(Insert),
}

impl Reply {
    fn json(status: StatusCode, body: Value) -> Reply {
        Reply { status, headers: vec![], body: ReplyBody::Json(body) }
    }

    fn no_content() -> Reply {
        Reply { status: StatusCode::NO_CONTENT, headers: vec![], body: ReplyBody::Empty }
    }

    fn refused(message: &Message) -> Reply {
        let reply = Reply::json(message.status, message.body());
        match &message.header {
            Some((name, value)) => reply.with(name.clone(), value.clone()),
            None => reply,
        }
    }

    fn with(mut self, name: HeaderName, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    /// The first message of an error, without the list around it.
    fn with_info_as_object(mut self) -> Reply {
        if let ReplyBody::Json(body) = &mut self.body
            && let Some(info) = body.pointer_mut("/error/@Message.ExtendedInfo")
        {
            *info = info.get(0).cloned().unwrap_or_default();
        }
        self
    }
}

impl From<Refusal> for Reply {
    fn from(message: Refusal) -> Reply {
        Reply::refused(&message)
    }
}

/// Answers one request to anything below `/redfish`.
pub async fn serve(shared: Arc<Shared>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return render(Reply::json(StatusCode::PAYLOAD_TOO_LARGE, Message::general().body()));
    };
    let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
    let call = Call { method: parts.method, path, query, headers: parts.headers, body };
    let slowness = slowness(&shared.bmc());
    if let Some(delay) = slowness {
        tokio::time::sleep(delay).await;
    }
    let (reused, compresses) = {
        let mut bmc = shared.bmc();
        (bmc.is_reused(&call), bmc.compresses(&call))
    };
    if reused {
        shared.bmc().note("connection-reused");
        return mishap::reset();
    }
    let mishap = shared.bmc().draw_mishap();
    match mishap {
        None if compresses => manners::compress(answer(shared, call).await).await,
        None => answer(shared, call).await,
        Some(mishap) => match mishap.instead().await {
            Some(instead) => instead,
            None => mishap.spoil(answer(shared, call).await).await,
        },
    }
}

async fn answer(shared: Arc<Shared>, call: Call) -> Response<Body> {
    let outcome = if call.method == Method::GET || call.method == Method::HEAD {
        shared.bmc().answer(&call, shared.world.clock.now())
    } else {
        shared.change(|bmc, now| bmc.answer(&call, now))
    };
    let faults = shared.bmc().faults.clone();
    let reply = match outcome {
        Outcome::Reply(reply) => reply,
        Outcome::Insert(insert) => insert.run(shared).await,
    };
    let is_error = reply.status.is_client_error() || reply.status.is_server_error();
    let reply = reply.located(&faults);
    let response =
        render(if faults.has(&Fault::ExtendedInfoObject) { reply.with_info_as_object() } else { reply });
    if is_error && faults.has(&Fault::ErrorBodiesCut) { mishap::cut(response).await } else { response }
}

fn slowness(bmc: &Bmc) -> Option<Duration> {
    bmc.faults.find(|fault| match fault {
        Fault::Slow(delay) => Some(*delay),
        _ => None,
    })
}

fn render(reply: Reply) -> Response<Body> {
    let (body, content_type) = match reply.body {
        ReplyBody::Empty => (Body::empty(), None),
        ReplyBody::Json(value) => (Body::from(value.to_string()), Some("application/json;charset=utf-8")),
        ReplyBody::Xml(text) => (Body::from(text), Some("application/xml;charset=utf-8")),
    };
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("odata-version"), HeaderValue::from_static("4.0"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    for (name, value) in reply.headers {
        headers.extend(HeaderValue::from_str(&value).ok().map(|value| (name, value)));
    }
    response
}

impl Bmc {
    fn answer(&mut self, call: &Call, now: Timestamp) -> Outcome {
        self.redfish_requests += 1;
        self.asked_at = now;
        self.refresh_slots(now);
        self.lose_override(now);
        self.dispatch(call, now).unwrap_or_else(|refusal| Outcome::Reply(refusal.into()))
    }

    fn dispatch(&mut self, call: &Call, now: Timestamp) -> Result<Outcome, Refusal> {
        if self.is_down(now) {
            return Err(Message::unavailable(self.config.timings.bmc_restart));
        }
        if let Some(left) = self.busy_after_start(now) {
            return Err(Message::unavailable(left));
        }
        if let Some(moved) = locations::redirect(call, &self.faults) {
            return Ok(Outcome::Reply(moved));
        }
        if call.headers.get("odata-version").is_some_and(|version| version != "4.0") {
            return Err(Message::precondition_failed());
        }
        let resource = self.resource(&call.path);
        self.refuse_for_a_while(call, resource.as_ref(), now)?;
        let is_open = resource.as_ref().is_some_and(|resource| resource.is_open(&call.method));
        let caller = if is_open { None } else { Some(self.authenticate(&call.headers, now)?) };
        let resource = resource.ok_or_else(|| Message::missing(&call.path))?;
        if !resource.methods().contains(&call.method) {
            return Err(Message::method_not_allowed(resource.allow()));
        }
        if let Some(caller) = &caller {
            self.authorise(call, &resource, caller)?;
        }
        if call.query.split('&').any(|parameter| parameter.starts_with('$') || parameter.starts_with("%24")) {
            return Err(Message::query_not_supported());
        }
        match call.method {
            Method::GET | Method::HEAD => self.read(call, &resource, caller.as_ref()).map(Outcome::Reply),
            Method::PATCH => self.patch(call, &resource, now),
            Method::DELETE => self.delete(call, &resource).map(Outcome::Reply),
            _ => self.post(call, resource, now),
        }
    }

    /// How long it goes on answering nothing else after a start of its host.
    fn busy_after_start(&mut self, now: Timestamp) -> Option<Duration> {
        let busy = self.faults.find(|fault| match fault {
            Fault::Busy503AfterStart(wait) => Some((fault.name(), *wait)),
            _ => None,
        });
        let (name, wait) = busy?;
        let until = after(self.computer.machine.last_reset()?, wait);
        let left = elapsed(now, until);
        if left.is_zero() {
            return None;
        }
        self.note(name);
        Some(left)
    }

    /// Who asks, by session token or Basic credentials.
    fn authenticate(&mut self, headers: &HeaderMap, now: Timestamp) -> Result<Caller, Refusal> {
        let token = headers.get("x-auth-token").and_then(|token| token.to_str().ok());
        let (user, session) = match token {
            Some(_) if self.refuses_tokens(now) => return Err(Message::no_valid_session()),
            Some(token) => self.sessions.find(token, now).ok_or_else(Message::no_valid_session)?,
            None => {
                let (user, password) = basic(headers).ok_or_else(Message::no_valid_session)?;
                self.log_in(&user, &password, now).ok_or_else(Message::no_valid_session)?;
                (user, None)
            }
        };
        let account = self.accounts.of(&user).ok_or_else(Message::no_valid_session)?;
        let caller = Caller {
            account: account.id.clone(),
            may_configure: account.role != "ReadOnly",
            is_administrator: account.role == "Administrator",
            session,
        };
        if self.happens_once(&Fault::Unauthorised401Once) {
            return Err(Message::no_valid_session());
        }
        let busy = self.faults.find(|fault| match fault {
            Fault::Busy503(times) => Some(*times),
            _ => None,
        });
        match busy {
            Some(times) if self.happens_below(&Fault::Busy503(times), times) => {
                Err(Message::unavailable(Duration::from_secs(1)))
            }
            _ => Ok(caller),
        }
    }

    fn authorise(&self, call: &Call, resource: &Resource, caller: &Caller) -> Result<(), Refusal> {
        let reads = matches!(call.method, Method::GET | Method::HEAD);
        let own = match resource {
            Resource::Account(id) => *id == caller.account,
            Resource::Session(id) => caller.session.as_ref() == Some(id),
            _ => false,
        };
        if self.accounts.must_change_password(&caller.account) && !own {
            return Err(Message::password_change_required(&caller.account));
        }
        let allowed = match resource {
            Resource::Account(_) => own || caller.is_administrator,
            Resource::Accounts => reads || caller.is_administrator,
            Resource::Session(_) => own || reads || caller.is_administrator,
            _ => reads || caller.may_configure,
        };
        if allowed { Ok(()) } else { Err(Message::insufficient_privilege()) }
    }

    fn read(&self, call: &Call, resource: &Resource, caller: Option<&Caller>) -> Result<Reply, Refusal> {
        if matches!(resource, Resource::Metadata) {
            let reply =
                Reply { status: StatusCode::OK, headers: vec![], body: ReplyBody::Xml(root::METADATA) };
            return Ok(reply.with(header::ALLOW, resource.allow()));
        }
        if *resource == Resource::Baseboard && !self.computer.machine.is_on() {
            return Err(Message::internal());
        }
        if let Resource::TaskMonitor(id) = resource {
            return self.render_monitor(*id).ok_or_else(|| Message::missing(&call.path));
        }
        let body = self.render(resource, caller).ok_or_else(|| Message::missing(&call.path))?;
        let etag = etag(&body);
        let known = call.headers.get(header::IF_NONE_MATCH).and_then(|etag| etag.to_str().ok());
        if known.is_some_and(|known| matches(known, &etag)) {
            let reply = Reply { status: StatusCode::NOT_MODIFIED, headers: vec![], body: ReplyBody::Empty };
            return Ok(reply.with(header::ETAG, etag));
        }
        Ok(represent(StatusCode::OK, resource, body))
    }

    /// The resource as JSON; `None` where there is no such member.
    fn render(&self, resource: &Resource, caller: Option<&Caller>) -> Option<Value> {
        Some(match resource {
            Resource::Versions => root::render_versions(),
            Resource::Root => self.render_root(),
            Resource::Odata => self.render_odata(),
            Resource::SessionService => self.render_session_service(),
            Resource::Sessions => self.render_sessions(),
            Resource::Session(id) => self.render_session(id)?,
            Resource::AccountService => self.render_account_service(),
            Resource::Accounts => self.render_accounts(caller),
            Resource::Account(id) => self.render_account(id)?,
            Resource::Roles => accounts::render_roles(),
            Resource::Role(id) => accounts::render_role(id)?,
            Resource::Systems => self.render_systems(),
            Resource::System => self.render_system(),
            Resource::Settings => self.render_settings()?,
            Resource::Baseboard => self.render_baseboard(),
            Resource::BootOptions => self.render_boot_options(),
            Resource::BootOption(number) => self.render_boot_option(*number)?,
            Resource::ResetInfo => self.render_reset_info(),
            Resource::Managers => self.render_managers(),
            Resource::Manager => self.render_manager(),
            Resource::ChassisCollection => self.render_chassis_collection(),
            Resource::Chassis => self.render_chassis(),
            Resource::Stored(stored) => self.render_storage(*stored),
            Resource::Slots => self.render_slots(),
            Resource::Slot(drive) | Resource::OpenSlot(drive) => self.render_slot(*drive)?,
            Resource::InsertInfo(drive) => self.render_insert_info(*drive),
            Resource::Oem(oem) => self.render_oem(*oem)?,
            Resource::TaskService => self.render_task_service(),
            Resource::Tasks => self.render_tasks(),
            Resource::Task(id) => self.render_task(*id)?,
            Resource::Metadata
            | Resource::TaskMonitor(_)
            | Resource::SystemReset
            | Resource::ManagerReset
            | Resource::Insert(_)
            | Resource::Eject(_) => return None,
        })
    }

    /// Whether the request's `If-Match` lets it change the resource.
    fn check_tag(&mut self, call: &Call, resource: &Resource) -> Result<(), Refusal> {
        let before = self.render(resource, None).ok_or_else(|| Message::missing(&call.path))?;
        match call.headers.get(header::IF_MATCH).and_then(|etag| etag.to_str().ok()) {
            Some(wanted)
                if !matches_strongly(wanted, &etag(&before))
                    || self.faults.has(&Fault::Etag412Always)
                    || self.happens_once(&Fault::Etag412Once) =>
            {
                Err(Message::precondition_failed())
            }
            None if self.config.persona.manners.wants_tag => Err(Message::precondition_required()),
            _ => Ok(()),
        }
    }

    fn patch(&mut self, call: &Call, resource: &Resource, now: Timestamp) -> Result<Outcome, Refusal> {
        self.check_tag(call, resource)?;
        let mut body = body::object(&call.body)?;
        body::drop_annotations(&mut body)?;
        let unknown = match resource {
            Resource::System | Resource::Settings => self.patch_system(resource, body, now)?,
            Resource::OpenSlot(drive) => return self.patch_slot(*drive, &body, now),
            Resource::Oem(Oem::IsoConfig) => self.patch_iso_config(body)?,
            Resource::Account(id) => self.accounts.patch(id, body)?,
            Resource::SessionService => self.sessions.patch(body)?,
            _ => return Err(Message::method_not_allowed(resource.allow())),
        };
        self.sessions.expire(now);
        let mut after = self.render(resource, None).ok_or_else(|| Message::missing(&call.path))?;
        if !unknown.is_empty() {
            after["@Message.ExtendedInfo"] = unknown.iter().map(|message| message.entry()).collect();
        }
        Ok(Outcome::Reply(represent(StatusCode::OK, resource, after)))
    }

    fn delete(&mut self, call: &Call, resource: &Resource) -> Result<Reply, Refusal> {
        let gone = match resource {
            Resource::Session(id) => self.sessions.remove(id),
            Resource::Account(id) => self.accounts.remove(id)?,
            Resource::Oem(Oem::MapImage(number)) => self.remove_map_image(*number)?,
            _ => return Err(Message::method_not_allowed(resource.allow())),
        };
        if gone { Ok(Reply::no_content()) } else { Err(Message::missing(&call.path)) }
    }

    fn post(&mut self, call: &Call, resource: Resource, now: Timestamp) -> Result<Outcome, Refusal> {
        // sushy ejects with no body and no Content-Type (kubevirtbmc#315).
        let body = if call.body.is_empty() { serde_json::Map::new() } else { body::object(&call.body)? };
        match resource {
            Resource::Insert(drive) => self.insert_media(drive, &body).map(Outcome::Insert),
            Resource::Eject(drive) => self.eject_media(drive, now).map(Outcome::Reply),
            Resource::SystemReset => self.reset_system(&body, now).map(Outcome::Reply),
            Resource::ManagerReset => self.reset_manager(&body, now).map(Outcome::Reply),
            Resource::Sessions => self.create_session(&body, now).map(Outcome::Reply),
            Resource::Accounts => self.create_account(&body).map(Outcome::Reply),
            Resource::Oem(oem) => self.post_oem(oem, &body, now),
            other => Err(Message::method_not_allowed(other.allow())),
        }
    }
}

/// A resource with the headers that tell of it.
fn represent(status: StatusCode, resource: &Resource, mut body: Value) -> Reply {
    let etag = etag(&body);
    let schema = body["@odata.type"].as_str().map(|name| {
        let name = name.trim_start_matches('#').rsplit_once('.').map_or("", |(schema, _)| schema);
        format!("<http://redfish.dmtf.org/schemas/v1/{name}.json>; rel=describedby")
    });
    if schema.is_some() {
        body["@odata.etag"] = Value::from(etag.clone());
    }
    let reply = Reply::json(status, body).with(header::ETAG, etag).with(header::ALLOW, resource.allow());
    match schema {
        Some(schema) => reply.with(header::LINK, schema),
        None => reply,
    }
}

/// A strong ETag: another one for every other representation.
fn etag(body: &Value) -> String {
    let hash = Sha256::digest(body.to_string());
    format!("\"{}\"", hex(&hash[..8]))
}

/// Whether a list of ETags names this one, weakly compared (If-None-Match).
fn matches(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == etag)
}

/// As [`matches()`], strongly compared (If-Match).
fn matches_strongly(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|one| one == "*" || one == etag)
}

/// User name and password of a Basic `Authorization`.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (user.to_owned(), password.to_owned()))
}
