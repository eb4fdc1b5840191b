//! Putting an image into a slot and taking it out.
//!
//! It does not look whether the slot took it: the caller reads the slot again. Invariant: at most
//! eight requests a way, and never another one after an answer that leaves it open whether the last
//! one did something.

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use super::connection::{Call, Connection};
use super::discovery::Parameter;
use super::insert_form::{InsertBody, OPTIONAL};
use super::learned::How;
use super::slot::{InsertMethod, Slot};
use super::{Op, RedfishError, RedfishErrorKind};

/// Forms of one insert that are tried, the first included.
const INSERT_TRIES_MAX: usize = 4;

impl Connection {
    /// Gives `image_url` to the slot and follows the BMC's Task, if it makes one.
    pub(super) async fn request_insert(&self, slot: &Slot, image_url: &str) -> Result<How, RedfishError> {
        let deadline = Instant::now() + self.limits.insert_timeout;
        let (how, form) = match slot.way {
            Some(InsertMethod::Action) => self.insert_by_action(slot, image_url, deadline).await?,
            Some(InsertMethod::Patch) => {
                self.insert_by_form(slot, InsertMethod::Patch, image_url, deadline).await?
            }
            Some(way @ (InsertMethod::IloAction | InsertMethod::VmmControl)) => {
                (self.insert_by_oem(slot, way, image_url, deadline).await?, None)
            }
            Some(InsertMethod::IsoConfig) => (self.mount_iso(slot, image_url, deadline).await?, None),
            Some(InsertMethod::RemoteMap) => (self.mount_remote(slot, image_url, deadline).await?, None),
            None => {
                let what = "offers no way to insert an image here";
                return Err(RedfishError::unsupported(Op::Insert, &slot.link, what));
            }
        };
        self.learned.keep_insert(&slot.link, form, &how);
        Ok(how)
    }

    /// By the standard action, and where that turns out not to be there, by PATCH.
    async fn insert_by_action(
        &self,
        slot: &Slot,
        image_url: &str,
        deadline: Instant,
    ) -> Result<Inserted, RedfishError> {
        match self.insert_by_form(slot, InsertMethod::Action, image_url, deadline).await {
            Err(error) if error.is_not_there() && slot.may_patch => {
                let patched = self.insert_by_form(slot, InsertMethod::Patch, image_url, deadline).await;
                // What the action said is what the operator should read.
                patched.map_err(|second| if second.is_not_there() { error } else { second })
            }
            result => result,
        }
    }

    async fn insert_by_form(
        &self,
        slot: &Slot,
        way: InsertMethod,
        image_url: &str,
        deadline: Instant,
    ) -> Result<Inserted, RedfishError> {
        let by_patch = way == InsertMethod::Patch;
        let parameters = self.insert_parameters(slot).await;
        let from = |learned| InsertBody::new(image_url, parameters.clone(), by_patch, learned);
        let cold = from(None);
        if let Some(offered) = cold.refused_protocols() {
            let kind = RedfishErrorKind::ImageProtocol { offered };
            return Err(RedfishError::new(Op::Insert, &slot.link, kind));
        }
        // What worked before is a first try: refused now, the ladder is climbed from its foot.
        if let Some(learned) = self.learned.insert_form() {
            let first = from(Some(learned));
            if first.body != cold.body {
                match self.try_variants(slot, way, first, deadline).await {
                    Err(error) if is_of_form(&error) => {}
                    result => return result,
                }
            }
        }
        self.try_variants(slot, way, cold, deadline).await
    }

    /// One form after the other, as refusals ask, beginning with this one.
    async fn try_variants(
        &self,
        slot: &Slot,
        way: InsertMethod,
        mut form: InsertBody<'_>,
        deadline: Instant,
    ) -> Result<Inserted, RedfishError> {
        let by_patch = way == InsertMethod::Patch;
        for _ in 0..INSERT_TRIES_MAX {
            let body = Value::Object(form.body.clone());
            let call = self.insert_call(slot, way, &body, deadline);
            let reply = match by_patch {
                true => self.write_tagged(call.clone(), slot.etag.clone()).await?,
                false => self.write(&call).await?,
            };
            if reply.status.is_success() {
                self.outcome(&call, &reply, deadline).await?;
                return Ok((described(way, &form), Some(form.names())));
            }
            if !form.react(&reply) {
                return Err(self.refusal(&call, &reply));
            }
            tracing::debug!(path = %slot.link, status = reply.status.as_u16(), "insert asked for in another form");
        }
        let what = format!("refused {INSERT_TRIES_MAX} forms of the request");
        Err(RedfishError::unsupported(Op::Insert, &slot.link, &what))
    }

    fn insert_call<'a>(
        &self,
        slot: &'a Slot,
        way: InsertMethod,
        body: &'a Value,
        deadline: Instant,
    ) -> Call<'a> {
        let system = slot.system.as_deref();
        let call = match (way, &slot.insert.target) {
            (InsertMethod::Patch, _) | (_, None) => self.patch(Op::Insert, &slot.link, body, system),
            (_, Some(target)) => self.post(Op::Insert, target, body, system),
        };
        self.patient(call, deadline)
    }

    /// Some fetch the whole image before they answer (sushy emulator).
    fn patient<'a>(&self, call: Call<'a>, deadline: Instant) -> Call<'a> {
        Call { timeout: deadline.saturating_duration_since(Instant::now()).max(self.limits.timeout), ..call }
    }

    /// The protocols that the slot takes images by, where that of `image_url` is none of them.
    pub(super) async fn refused_protocols(&self, slot: &Slot, image_url: &str) -> Option<String> {
        let parameters = self.insert_parameters(slot).await;
        InsertBody::new(image_url, parameters, slot.way == Some(InsertMethod::Patch), None)
            .refused_protocols()
    }

    /// What the action takes, where the BMC says; an ActionInfo that cannot be read says nothing.
    pub(super) async fn insert_parameters(&self, slot: &Slot) -> Vec<Parameter> {
        let mut parameters = match &slot.insert.info {
            Some(info) => self.action_info(info, slot.system.as_deref()).await.unwrap_or_default(),
            None => Vec::new(),
        };
        let name = OPTIONAL[0];
        if !slot.protocols.is_empty() && !parameters.iter().any(|parameter| parameter.name == name) {
            let allowed = slot.protocols.clone();
            parameters.push(Parameter { name: name.to_owned(), required: false, allowed });
        }
        parameters
    }

    /// By an OEM's own action, whose body has one form.
    async fn insert_by_oem(
        &self,
        slot: &Slot,
        way: InsertMethod,
        image_url: &str,
        deadline: Instant,
    ) -> Result<How, RedfishError> {
        let body = match way {
            InsertMethod::VmmControl => json!({"VmmControlType": "Connect", "Image": image_url}),
            _ => json!({ "Image": image_url }),
        };
        let call = self.insert_call(slot, way, &body, deadline);
        self.act(&call, deadline).await?;
        Ok(How::new(way.name()))
    }

    /// Writes the image's address into the configuration and mounts that. Success is not believed:
    /// the slot shows whether anything is mounted (badfish).
    async fn mount_iso(&self, slot: &Slot, image_url: &str, deadline: Instant) -> Result<How, RedfishError> {
        let url = Url::parse(image_url).map_err(|_| {
            RedfishError::unsupported(Op::Insert, &slot.link, "cannot be given an image that has no URL")
        })?;
        let host = url.origin().ascii_serialization();
        let body = json!({"Host": host, "Path": url.path(), "Username": "", "Password": ""});
        let config = slot.config.as_deref().unwrap_or(&slot.link);
        let call = self.patch(Op::Insert, config, &body, slot.system.as_deref());
        let reply = self.write_tagged(call.clone(), slot.etag.clone()).await?;
        self.outcome(&call, &reply, deadline).await?;
        self.mount(slot, deadline).await?;
        Ok(How::new(InsertMethod::IsoConfig.name()))
    }

    /// Of what was written down before.
    pub(super) async fn mount(&self, slot: &Slot, deadline: Instant) -> Result<(), RedfishError> {
        let empty = json!({});
        let call = self.insert_call(slot, InsertMethod::IsoConfig, &empty, deadline);
        self.act(&call, deadline).await
    }

    /// Lenovo XCC tells of an image that it could not open in the body of a success.
    async fn act(&self, call: &Call<'_>, deadline: Instant) -> Result<(), RedfishError> {
        let reply = self.write(call).await?;
        self.outcome(call, &reply, deadline).await
    }

    /// Empties the slot. A refusal counts for nothing where the slot is empty all the same.
    pub(super) async fn request_eject(&self, slot: &Slot) -> Result<How, RedfishError> {
        let deadline = Instant::now() + self.limits.insert_timeout;
        let error = match self.eject(slot, deadline).await {
            Err(error) if error.class() != super::ErrorClass::NeedsOperator => error,
            result => return result,
        };
        match self.observe_slot(&slot.link, slot.system.as_deref()).await {
            Ok(slot) if slot.is_empty() => Ok(How::new("empty already")),
            _ => Err(error),
        }
    }

    /// By the action, always with a body: HPE and others refuse a POST without one. Where the action
    /// turns out not to be there, by PATCH.
    async fn eject(&self, slot: &Slot, deadline: Instant) -> Result<How, RedfishError> {
        let system = slot.system.as_deref();
        let Some(target) = &slot.eject.target else { return self.eject_by_patch(slot, deadline).await };
        let body = match slot.way {
            Some(InsertMethod::VmmControl) => json!({"VmmControlType": "Disconnect"}),
            _ => json!({}),
        };
        match self.act(&self.post(Op::Eject, target, &body, system), deadline).await {
            Err(error) if error.is_not_there() && slot.may_patch => self.eject_by_patch(slot, deadline).await,
            result => result.map(|()| How::new("by its action")),
        }
    }

    async fn eject_by_patch(&self, slot: &Slot, deadline: Instant) -> Result<How, RedfishError> {
        if slot.eject.target.is_none() && slot.way != Some(InsertMethod::Patch) {
            return Err(RedfishError::unsupported(Op::Eject, &slot.link, "offers no way to eject here"));
        }
        let body = json!({"Image": null, "Inserted": false});
        let call = self.patch(Op::Eject, &slot.link, &body, slot.system.as_deref());
        let mut reply = self.write_tagged(call.clone(), slot.etag.clone()).await?;
        if reply.status == StatusCode::BAD_REQUEST {
            // `Inserted` alone (sushy), for those that refuse a null.
            let body = json!({ "Inserted": false });
            reply = self.write_tagged(Call { body: Some(&body), ..call.clone() }, slot.etag.clone()).await?;
        }
        self.outcome(&call, &reply, deadline).await?;
        Ok(How::new("by PATCH"))
    }
}

/// Another form of the request may not meet this.
fn is_of_form(error: &RedfishError) -> bool {
    use super::RedfishErrorKind as Kind;
    error.class() == super::ErrorClass::Permanent
        && matches!(error.kind, Kind::Refused { status: 400 | 422, .. } | Kind::Unsupported { .. })
}

/// How it went, and the properties to begin with the next time.
type Inserted = (How, Option<Vec<String>>);

fn described(way: InsertMethod, form: &InsertBody<'_>) -> How {
    let names = form.names();
    match names.is_empty() {
        true => How::new(way.name()),
        false => How::new(format!("{} with {}", way.name(), names.join(", "))),
    }
}
