//! Putting an image into a slot and taking it out.
//!
//! An insert is a POST of the slot's action, or a PATCH of the slot ([`InsertMethod`] says which), whose body begins
//! as small as the BMC allows and changes as refusals ask ([`InsertBody`]). A BMC may answer when the image is in, or
//! with 202 and a Task, or before it has done anything: the Task is followed here, and whether the medium is really
//! there is for the caller to look at. An eject goes the same way back, and a refusal of it counts for nothing where
//! the slot is empty all the same.
//!
//! Invariant: an insert sends at most eight requests by each method, and never another one after an answer that leaves
//! open whether the last one did something.

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use super::action_info::Parameter;
use super::call::Call;
use super::discovery::Discovery;
use super::insert_form::{InsertBody, OPTIONAL};
use super::learned::{How, Learned};
use super::remote_map;
use super::session::Session;
use super::slot::{InsertMethod, Slot};
use super::tags::TaggedWriter;
use super::task::TaskFollower;
use super::{Bmc, ErrorClass, Op, RedfishError, RedfishErrorKind};

/// Forms of one insert that are tried, the first included.
const INSERT_TRIES_MAX: usize = 4;

impl Bmc {
    /// Inserts the image into the slot and waits until the BMC says that it has, or has not. Look at
    /// the slot afterwards: some say so too early, and some take seconds to show it.
    pub async fn request_insert(&self, slot: &Slot, image_url: &str) -> Result<How, RedfishError> {
        let (session, discovery, learned) = (&*self.0.session, &*self.0.discovery, &*self.0.learned);
        let deadline = Instant::now() + self.insert_timeout();
        let insert = ImageInsert { session, discovery, learned, slot, image_url, deadline };
        let _written = session.turns.write_to(&slot.link);
        let (how, form) = match slot.way {
            Some(InsertMethod::Action) => insert.by_action().await?,
            Some(InsertMethod::Patch) => insert.by_form(InsertMethod::Patch).await?,
            Some(way @ (InsertMethod::IloAction | InsertMethod::VmmControl)) => {
                (insert.by_oem(way).await?, None)
            }
            Some(InsertMethod::IsoConfig) => (insert.mount_iso().await?, None),
            Some(InsertMethod::RemoteMap) => (insert.mount_map().await?, None),
            None => {
                let what = "offers no way to insert an image here";
                return Err(RedfishError::unsupported(Op::Insert, &slot.link, what));
            }
        };
        learned.keep_insert(&slot.link, form, &how);
        Ok(how)
    }

    /// The protocols that the slot takes images by, where that of `image_url` is none of them.
    pub async fn observe_refused_protocols(&self, slot: &Slot, image_url: &str) -> Option<String> {
        let parameters = insert_parameters(&self.0.discovery, slot).await;
        InsertBody::new(image_url, parameters, slot.way == Some(InsertMethod::Patch), None)
            .refused_protocols()
    }

    /// Ejects the slot's image. Look at the slot afterwards: some show it for a while. A refusal counts
    /// for nothing where the slot is empty all the same.
    pub async fn request_eject(&self, slot: &Slot) -> Result<How, RedfishError> {
        let deadline = Instant::now() + self.insert_timeout();
        let (session, learned) = (&*self.0.session, &*self.0.learned);
        let _written = session.turns.write_to(&slot.link);
        let error = match (ImageEject { session, learned, slot, deadline }).eject().await {
            Err(error) if error.class() != ErrorClass::NeedsOperator => error,
            result => return result,
        };
        match self.0.slots.slot(&slot.link, slot.system.as_deref()).await {
            Ok(slot) if slot.is_empty() => Ok(How::new("empty already")),
            _ => Err(error),
        }
    }
}

/// One insert.
struct ImageInsert<'b> {
    session: &'b Session,
    discovery: &'b Discovery,
    learned: &'b Learned,
    slot: &'b Slot,
    image_url: &'b str,
    deadline: Instant,
}

impl ImageInsert<'_> {
    fn writer(&self) -> TaggedWriter<'_> {
        TaggedWriter { session: self.session, learned: self.learned }
    }

    /// By the standard action, and where that turns out not to be there, by PATCH.
    async fn by_action(&self) -> Result<Inserted, RedfishError> {
        match self.by_form(InsertMethod::Action).await {
            Err(error) if error.is_not_there() && self.slot.may_patch => {
                let patched = self.by_form(InsertMethod::Patch).await;
                // What the action said is what the operator should read.
                patched.map_err(|second| if second.is_not_there() { error } else { second })
            }
            result => result,
        }
    }

    /// By a body in one form after the other, beginning with the one that worked the last time.
    async fn by_form(&self, way: InsertMethod) -> Result<Inserted, RedfishError> {
        let by_patch = way == InsertMethod::Patch;
        let parameters = insert_parameters(self.discovery, self.slot).await;
        let from = |learned| InsertBody::new(self.image_url, parameters.clone(), by_patch, learned);
        let cold = from(None);
        if let Some(offered) = cold.refused_protocols() {
            let kind = RedfishErrorKind::ImageProtocol { offered };
            return Err(RedfishError::new(Op::Insert, &self.slot.link, kind));
        }
        // What worked before is tried first; where it is refused now, the search begins anew.
        if let Some(learned) = self.learned.insert_form() {
            let first = from(Some(learned));
            if first.body != cold.body {
                match self.try_variants(way, first).await {
                    Err(error) if is_of_form(&error) => {}
                    result => return result,
                }
            }
        }
        self.try_variants(way, cold).await
    }

    /// One form after the other, as refusals ask, beginning with this one.
    async fn try_variants(
        &self,
        way: InsertMethod,
        mut form: InsertBody<'_>,
    ) -> Result<Inserted, RedfishError> {
        let slot = self.slot;
        let by_patch = way == InsertMethod::Patch;
        for _ in 0..INSERT_TRIES_MAX {
            let body = Value::Object(form.body.clone());
            let call = self.call(way, &body);
            let reply = match by_patch {
                true => self.writer().write(&call, slot.etag.clone()).await?,
                false => self.session.write(&call).await?,
            };
            if reply.status.is_success() {
                TaskFollower(self.session).outcome(&call, &reply, self.deadline).await?;
                return Ok((described(way, &form), Some(form.names())));
            }
            if !form.react(&reply) {
                return Err(self.session.http.refusal(&call, &reply));
            }
            tracing::debug!(path = %slot.link, status = reply.status.as_u16(), "insert repeated in another form");
        }
        let what = format!("refused {INSERT_TRIES_MAX} forms of the request");
        Err(RedfishError::unsupported(Op::Insert, &slot.link, &what))
    }

    /// The request of this method. Some fetch the whole image before they answer (sushy emulator), so it may take as
    /// long as the insert may.
    fn call<'a>(&'a self, way: InsertMethod, body: &'a Value) -> Call<'a> {
        let (http, system) = (&self.session.http, self.slot.system.as_deref());
        let call = match (way, &self.slot.insert.target) {
            (InsertMethod::Patch, _) | (_, None) => http.patch(Op::Insert, &self.slot.link, body, system),
            (_, Some(target)) => http.post(Op::Insert, target, body, system),
        };
        let left = self.deadline.saturating_duration_since(Instant::now());
        Call { timeout: left.max(http.limits.timeout), ..call }
    }

    /// By an OEM's own action, whose body has one form.
    async fn by_oem(&self, way: InsertMethod) -> Result<How, RedfishError> {
        let body = match way {
            InsertMethod::VmmControl => json!({"VmmControlType": "Connect", "Image": self.image_url}),
            _ => json!({ "Image": self.image_url }),
        };
        let call = self.call(way, &body);
        TaskFollower(self.session).act(&call, self.deadline).await?;
        Ok(How::new(way.name()))
    }

    /// Writes the image's address into the configuration and mounts that. Success is not believed:
    /// the slot shows whether anything is mounted (badfish).
    async fn mount_iso(&self) -> Result<How, RedfishError> {
        let slot = self.slot;
        let url = Url::parse(self.image_url).map_err(|_| {
            RedfishError::unsupported(Op::Insert, &slot.link, "cannot be given an image that has no URL")
        })?;
        let host = url.origin().ascii_serialization();
        let body = json!({"Host": host, "Path": url.path(), "Username": "", "Password": ""});
        let config = slot.config.as_deref().unwrap_or(&slot.link);
        let call = self.session.http.patch(Op::Insert, config, &body, slot.system.as_deref());
        let reply = self.writer().write(&call, slot.etag.clone()).await?;
        TaskFollower(self.session).outcome(&call, &reply, self.deadline).await?;
        self.mount().await?;
        Ok(How::new(InsertMethod::IsoConfig.name()))
    }

    /// Puts the image into the map's list and mounts that.
    async fn mount_map(&self) -> Result<How, RedfishError> {
        remote_map::list_image(self.session, self.slot, self.image_url, self.deadline).await?;
        self.mount().await?;
        Ok(How::new(InsertMethod::RemoteMap.name()))
    }

    /// Mounts what was written down before.
    async fn mount(&self) -> Result<(), RedfishError> {
        let empty = json!({});
        let call = self.call(InsertMethod::IsoConfig, &empty);
        TaskFollower(self.session).act(&call, self.deadline).await
    }
}

/// What the action takes, where the BMC says; an ActionInfo that cannot be read says nothing.
pub(super) async fn insert_parameters(discovery: &Discovery, slot: &Slot) -> Vec<Parameter> {
    let mut parameters = match &slot.insert.info {
        Some(info) => discovery.action_info(info, slot.system.as_deref()).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let name = OPTIONAL[0];
    if !slot.protocols.is_empty() && !parameters.iter().any(|parameter| parameter.name == name) {
        let allowed = slot.protocols.clone();
        parameters.push(Parameter { name: name.to_owned(), required: false, allowed });
    }
    parameters
}

/// One eject.
struct ImageEject<'b> {
    session: &'b Session,
    learned: &'b Learned,
    slot: &'b Slot,
    deadline: Instant,
}

impl ImageEject<'_> {
    fn writer(&self) -> TaggedWriter<'_> {
        TaggedWriter { session: self.session, learned: self.learned }
    }

    /// By the action, always with a body: HPE and others refuse a POST without one. Where the action
    /// turns out not to be there, by PATCH.
    async fn eject(&self) -> Result<How, RedfishError> {
        let slot = self.slot;
        let system = slot.system.as_deref();
        let Some(target) = &slot.eject.target else { return self.by_patch().await };
        let body = match slot.way {
            Some(InsertMethod::VmmControl) => json!({"VmmControlType": "Disconnect"}),
            _ => json!({}),
        };
        let call = self.session.http.post(Op::Eject, target, &body, system);
        match TaskFollower(self.session).act(&call, self.deadline).await {
            Err(error) if error.is_not_there() && slot.may_patch => self.by_patch().await,
            result => result.map(|()| How::new("by its action")),
        }
    }

    /// `Image` null and `Inserted` false, or the second alone where a null is refused.
    async fn by_patch(&self) -> Result<How, RedfishError> {
        let slot = self.slot;
        if slot.eject.target.is_none() && slot.way != Some(InsertMethod::Patch) {
            return Err(RedfishError::unsupported(Op::Eject, &slot.link, "offers no way to eject here"));
        }
        let body = json!({"Image": null, "Inserted": false});
        let call = self.session.http.patch(Op::Eject, &slot.link, &body, slot.system.as_deref());
        let mut reply = self.writer().write(&call, slot.etag.clone()).await?;
        if reply.status == StatusCode::BAD_REQUEST {
            // `Inserted` alone (sushy), for those that refuse a null.
            let body = json!({ "Inserted": false });
            reply =
                self.writer().write(&Call { body: Some(&body), ..call.clone() }, slot.etag.clone()).await?;
        }
        TaskFollower(self.session).outcome(&call, &reply, self.deadline).await?;
        Ok(How::new("by PATCH"))
    }
}

/// Another form of the request may not meet this.
fn is_of_form(error: &RedfishError) -> bool {
    use RedfishErrorKind as Kind;
    error.class() == ErrorClass::Permanent
        && matches!(error.kind, Kind::Refused { status: 400 | 422, .. } | Kind::Unsupported { .. })
}

/// How it went, and the properties to begin with the next time.
type Inserted = (How, Option<Vec<String>>);

/// How the insert was accepted, as operators read it.
fn described(way: InsertMethod, form: &InsertBody<'_>) -> How {
    let names = form.names();
    match names.is_empty() {
        true => How::new(way.name()),
        false => How::new(format!("{} with {}", way.name(), names.join(", "))),
    }
}
