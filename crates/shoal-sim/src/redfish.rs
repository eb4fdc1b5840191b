//! The Redfish service of a simulated BMC: one request in, one answer out.
//!
//! A request passes, in this order:
//!
//! 1. [`serve`]: the faults of the connection. They delay the request, reset its connection, answer in the place of
//!    the BMC, or spoil the answer after the BMC has done what was asked (`mishap`, `manners`).
//! 2. [`answer`]: a read looks at the BMC behind its lock; a write changes it by [`Shared::change`], which also
//!    wakes the task of the machine.
//! 3. [`Bmc::dispatch`]: is the BMC there at all (503), is the path redirected (`locations`), which resource is it
//!    (`resource`), is that refused for a while after a reset (`passing`), who asks (401), does the resource exist
//!    (404), has it the method (405), may the account do that (403).
//! 4. A read renders the resource; its ETag is the hash of what is shown, so it changes with any change. A PATCH has
//!    to match it (412), or to have one at all where the persona wants that (428).
//! 5. An insert leaves the lock with [`RequestOutcome::Insert`]: its image may have to be fetched first.
//! 6. Back in [`answer`], the last faults change the answer's form, and it becomes HTTP.
//!
//! Rules that hold for every resource are here; each resource has its own file, those of one maker in `oem`. It
//! knows no client of this project. Invariant: nothing is changed before the request is authenticated, allowed and
//! well-formed.

mod accounts;
mod boot;
mod chassis;
mod insert_check;
mod locations;
mod managers;
mod manners;
mod mishap;
mod oem;
mod parts;
mod passing;
mod reply;
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
use http::header;
use http::{HeaderMap, Method, Response, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

pub use self::mishap::ConnectionReset;
use self::reply::{Reply, ReplyBody, etag, render, represent};
use self::resource::{Oem, Resource};
use self::virtual_media::Insert;
use super::bmc::Bmc;
use super::body;
use super::faults::Fault;
use super::message::{Message, Refusal};
use super::shared::Shared;
use shoal_base::world::{after, elapsed};

/// Real BMCs take little more than this.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A request that has arrived whole.
pub struct Call {
    method: Method,
    /// As it was sent, with or without a slash at its end.
    path: String,
    /// Without its question mark; OData's parameters are refused.
    query: String,
    headers: HeaderMap,
    body: Bytes,
}

/// Who asks.
pub struct Caller {
    /// The id of the account.
    account: String,
    /// May change things that are not the caller's own.
    may_configure: bool,
    /// May create accounts and see others.
    is_administrator: bool,
    /// The session that carried the request, where one did.
    session: Option<String>,
}

/// What a request came to.
pub enum RequestOutcome {
    Reply(Reply),
    /// The image has to be looked at first.
    Insert(Insert),
}

/// Answers one request to anything below `/redfish`.
pub async fn serve(shared: Arc<Shared>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return render(Reply::json(StatusCode::PAYLOAD_TOO_LARGE, Message::general().body()));
    };
    let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
    let call = Call { method: parts.method, path, query, headers: parts.headers, body };
    let _in_flight = InFlight::arrive(&shared);
    // Before the mishaps: a slow BMC is slow to fail too.
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
        // What the mishap leaves of the answer; `instead` is one for which the BMC has done nothing.
        None if compresses => manners::compress(answer(shared, call).await).await,
        None => answer(shared, call).await,
        Some(mishap) => match mishap.instead().await {
            Some(instead) => instead,
            None => mishap.spoil(answer(shared, call).await).await,
        },
    }
}

/// A request that has not been answered yet.
struct InFlight(Arc<Shared>);

impl InFlight {
    fn arrive(shared: &Arc<Shared>) -> InFlight {
        shared.bmc().traffic.arrive();
        InFlight(shared.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.bmc().traffic.leave();
    }
}

/// The BMC's own answer, without the faults of the connection.
async fn answer(shared: Arc<Shared>, call: Call) -> Response<Body> {
    // A read changes nothing that the machine's task would have to look at.
    let outcome = if call.method == Method::GET || call.method == Method::HEAD {
        shared.bmc().answer(&call, shared.world.clock.now())
    } else {
        shared.change(|bmc, now| bmc.answer(&call, now))
    };
    let faults = shared.bmc().faults.clone();
    let reply = match outcome {
        RequestOutcome::Reply(reply) => reply,
        RequestOutcome::Insert(insert) => insert.run(shared).await,
    };
    let is_error = reply.status.is_client_error() || reply.status.is_server_error();
    let reply = reply.located(&faults);
    let response =
        render(if faults.has(&Fault::ExtendedInfoObject) { reply.with_info_as_object() } else { reply });
    if is_error && faults.has(&Fault::ErrorBodiesCut) { mishap::cut(response).await } else { response }
}

/// How long every request takes before anything is done.
fn slowness(bmc: &Bmc) -> Option<Duration> {
    bmc.faults.find(|fault| match fault {
        Fault::Slow(delay) => Some(*delay),
        _ => None,
    })
}

impl Bmc {
    /// Notes the request, lets pass what has expired meanwhile, and answers.
    fn answer(&mut self, call: &Call, now: Timestamp) -> RequestOutcome {
        self.redfish_requests += 1;
        self.traffic.note(&call.method, &call.path, now);
        self.asked_at = now;
        self.refresh_slots(now);
        self.lose_override(now);
        self.dispatch(call, now).unwrap_or_else(|refusal| RequestOutcome::Reply(refusal.into()))
    }

    /// The checks that every request meets, in the order in which real services refuse: first the service, then the
    /// account, then the resource and its method.
    fn dispatch(&mut self, call: &Call, now: Timestamp) -> Result<RequestOutcome, Refusal> {
        if self.is_down(now) {
            return Err(Message::unavailable(self.config.timings.bmc_restart));
        }
        if let Some(left) = self.busy_after_start(now) {
            return Err(Message::unavailable(left));
        }
        // A redirected request has done nothing, and is redirected before it is authenticated.
        if let Some(moved) = locations::redirect(call, &self.faults) {
            return Ok(RequestOutcome::Reply(moved));
        }
        if call.headers.get("odata-version").is_some_and(|version| version != "4.0") {
            return Err(Message::precondition_failed());
        }
        let resource = self.resource(&call.path);
        self.refuse_for_a_while(call, resource.as_ref(), now)?;
        // The root and a login need no account; a path that does not exist does, so that it reveals nothing.
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
            Method::GET | Method::HEAD => {
                self.read(call, &resource, caller.as_ref()).map(RequestOutcome::Reply)
            }
            Method::PATCH => self.patch(call, &resource, now),
            Method::DELETE => self.delete(call, &resource).map(RequestOutcome::Reply),
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
        // After the account was found right: the client cannot know better than to log in once more.
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

    /// Whether the account's role allows the method on the resource. An account whose password must be changed may
    /// change that and nothing else.
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

    /// GET and HEAD: the resource with its tag, or 304 where the client has that already.
    fn read(&self, call: &Call, resource: &Resource, caller: Option<&Caller>) -> Result<Reply, Refusal> {
        if matches!(resource, Resource::Metadata) {
            let reply =
                Reply { status: StatusCode::OK, headers: vec![], body: ReplyBody::Xml(root::METADATA) };
            return Ok(reply.with(header::ALLOW, resource.allow()));
        }
        // A GPU baseboard has no power of its own while its host is off, and its service fails.
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
            Resource::Part(part) => self.render_part(*part),
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

    /// PATCH. The answer is the resource as it is now; properties that it does not have are named in it, as long as
    /// one other was changed.
    fn patch(&mut self, call: &Call, resource: &Resource, now: Timestamp) -> Result<RequestOutcome, Refusal> {
        self.check_tag(call, resource)?;
        // Clients send back what they have read; the annotations in it are not properties.
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
        Ok(RequestOutcome::Reply(represent(StatusCode::OK, resource, after)))
    }

    /// DELETE, of members that a client has created.
    fn delete(&mut self, call: &Call, resource: &Resource) -> Result<Reply, Refusal> {
        // False where there is no such member (any more).
        let gone = match resource {
            Resource::Session(id) => self.sessions.remove(id),
            Resource::Account(id) => self.accounts.remove(id)?,
            Resource::Oem(Oem::MapImage(number)) => self.remove_map_image(*number)?,
            _ => return Err(Message::method_not_allowed(resource.allow())),
        };
        if gone { Ok(Reply::no_content()) } else { Err(Message::missing(&call.path)) }
    }

    /// POST: an action, or a new member of a collection.
    fn post(&mut self, call: &Call, resource: Resource, now: Timestamp) -> Result<RequestOutcome, Refusal> {
        // sushy ejects with no body and no Content-Type (kubevirtbmc#315).
        let body = if call.body.is_empty() { serde_json::Map::new() } else { body::object(&call.body)? };
        match resource {
            Resource::Insert(drive) => self.insert_media(drive, &body).map(RequestOutcome::Insert),
            Resource::Eject(drive) => self.eject_media(drive, now).map(RequestOutcome::Reply),
            Resource::SystemReset => self.reset_system(&body, now).map(RequestOutcome::Reply),
            Resource::ManagerReset => self.reset_manager(&body, now).map(RequestOutcome::Reply),
            Resource::Sessions => self.create_session(&body, now).map(RequestOutcome::Reply),
            Resource::Accounts => self.create_account(&body).map(RequestOutcome::Reply),
            Resource::Oem(oem) => self.post_oem(oem, &body, now),
            other => Err(Message::method_not_allowed(other.allow())),
        }
    }
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
