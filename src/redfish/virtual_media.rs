//! Putting an image into a slot and taking it out.
//!
//! It does not look whether the slot took it: the caller reads the slot again. Invariant: at most
//! four requests an insert, and never another one after an answer that leaves it open whether the
//! last one did something.

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::connection::{Call, Connection, Reply};
use super::discovery::Parameter;
use super::messages::{self, Severity};
use super::slot::Slot;
use super::{Op, RedfishError};

/// Requests of one insert, the first included.
const INSERT_TRIES_MAX: usize = 4;

/// Properties beside `Image` that a BMC may want or refuse.
const OPTIONAL: [&str; 6] =
    ["TransferProtocolType", "TransferMethod", "UserName", "Password", "Inserted", "WriteProtected"];

/// Ids of messages that mean "leave this property out".
const UNWANTED: [&str; 5] = [
    "PropertyUnknown",
    "ParameterUnknown",
    "ParameterNotSupported",
    "PropertyNotWritable",
    "PropertyNotSupported",
];

impl Connection {
    /// Gives `image_url` to the slot and follows the BMC's Task, if it makes one.
    pub(super) async fn request_insert(&self, slot: &Slot, image_url: &str) -> Result<(), RedfishError> {
        let deadline = Instant::now() + self.limits.insert_timeout;
        let mut form = Form::new(image_url, self.insert_parameters(slot).await, slot);
        for _ in 0..INSERT_TRIES_MAX {
            let body = Value::Object(form.body.clone());
            let reply = self.send_insert(slot, &body, deadline).await?;
            if reply.status.is_success() {
                return self.finish(slot, Op::Insert, &reply, deadline).await;
            }
            if !form.react(&reply) {
                return Err(self.refusal(&self.insert_call(slot, &body, deadline), &reply));
            }
            tracing::debug!(path = %slot.link, status = reply.status.as_u16(), "insert asked for in another form");
        }
        let what = format!("refused {INSERT_TRIES_MAX} forms of the request");
        Err(RedfishError::unsupported(Op::Insert, &slot.link, &what))
    }

    async fn send_insert(&self, slot: &Slot, body: &Value, deadline: Instant) -> Result<Reply, RedfishError> {
        if !slot.can_insert {
            return Err(RedfishError::unsupported(
                Op::Insert,
                &slot.link,
                "offers no way to insert an image here",
            ));
        }
        let call = self.insert_call(slot, body, deadline);
        match slot.by_patch {
            true => self.write_tagged(call, slot.etag.clone()).await,
            false => self.write(&call).await,
        }
    }

    fn insert_call<'a>(&self, slot: &'a Slot, body: &'a Value, deadline: Instant) -> Call<'a> {
        let system = slot.system.as_deref();
        let call = match &slot.insert.target {
            Some(target) => self.post(Op::Insert, target, body, system),
            None => self.patch(Op::Insert, &slot.link, body, system),
        };
        // Some fetch the whole image before they answer (sushy emulator).
        Call { timeout: deadline.saturating_duration_since(Instant::now()).max(self.limits.timeout), ..call }
    }

    /// What the action takes, where the BMC says; an ActionInfo that cannot be read says nothing.
    async fn insert_parameters(&self, slot: &Slot) -> Vec<Parameter> {
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

    /// Empties the slot.
    pub(super) async fn request_eject(&self, slot: &Slot) -> Result<(), RedfishError> {
        let deadline = Instant::now() + self.limits.insert_timeout;
        let system = slot.system.as_deref();
        let reply = match &slot.eject.target {
            // Always with a body: HPE and others refuse a POST without one.
            Some(target) => self.write(&self.post(Op::Eject, target, &json!({}), system)).await?,
            None if slot.by_patch => {
                let body = json!({"Image": null, "Inserted": false});
                self.write_tagged(self.patch(Op::Eject, &slot.link, &body, system), slot.etag.clone()).await?
            }
            None => {
                return Err(RedfishError::unsupported(Op::Eject, &slot.link, "offers no way to eject here"));
            }
        };
        self.finish(slot, Op::Eject, &reply, deadline).await
    }

    /// What became of an accepted request.
    async fn finish(
        &self,
        slot: &Slot,
        op: Op,
        reply: &Reply,
        deadline: Instant,
    ) -> Result<(), RedfishError> {
        let call = self.get(op, &slot.link, None);
        if !reply.status.is_success() {
            return Err(self.refusal(&call, reply));
        }
        let followed = self.follow_task(reply, slot.system.as_deref(), deadline).await;
        followed.map_err(RedfishError::after_acceptance)?;
        // Lenovo XCC tells of an image that it could not open in the body of a success.
        let complaint = self.complaint(&reply.body);
        if complaint.severity == Severity::Critical {
            return Err(RedfishError::task_failed(&slot.link, "Refused at once", complaint));
        }
        Ok(())
    }
}

/// The body of an insert, and what the BMC's refusals have done to it.
struct Form<'a> {
    image_url: &'a str,
    parameters: Vec<Parameter>,
    body: Map<String, Value>,
    /// Properties that a refusal has added or removed: each changes once.
    changed: Vec<&'static str>,
}

impl<'a> Form<'a> {
    /// `{Image}` and what is advertised as required; a PATCH says `Inserted` too (Lenovo XCC).
    fn new(image_url: &'a str, parameters: Vec<Parameter>, slot: &Slot) -> Form<'a> {
        let body = Map::from_iter([("Image".to_owned(), json!(image_url))]);
        let mut form = Form { image_url, parameters, body, changed: Vec::new() };
        for name in OPTIONAL {
            let required = form.parameter(name).is_some_and(|parameter| parameter.required);
            if required || (slot.by_patch && matches!(name, "Inserted" | "WriteProtected")) {
                form.add(name);
            }
        }
        form
    }

    /// Changes the form as a refusal asks for. False where it asks for nothing that can be done, or
    /// where it leaves open whether the request did something.
    fn react(&mut self, reply: &Reply) -> bool {
        if !matches!(reply.status.as_u16(), 400 | 422) {
            return false;
        }
        let is_unwanted = messages::has_id(&reply.body, &UNWANTED);
        let mut reacted = false;
        for name in OPTIONAL {
            if self.changed.contains(&name) || !is_named(&reply.body, name) {
                continue;
            }
            match self.body.contains_key(name) {
                true => drop(self.body.remove(name)),
                false if is_unwanted => continue,
                false => self.add(name),
            }
            self.changed.push(name);
            reacted = true;
        }
        reacted
    }

    fn add(&mut self, name: &str) {
        let value = match name {
            "TransferProtocolType" => json!(self.protocol()),
            "TransferMethod" => json!("Stream"),
            // Some demand credentials for a server that wants none (AMI DGX, sushy).
            "UserName" | "Password" => json!("none"),
            _ => json!(true),
        };
        self.body.insert(name.to_owned(), value);
    }

    /// The image's scheme, spelt as the BMC spells it (xFusion lists `https`).
    fn protocol(&self) -> String {
        let scheme = self.image_url.split(':').next().unwrap_or_default().to_ascii_uppercase();
        let allowed = self.parameter("TransferProtocolType").map(|parameter| &parameter.allowed);
        let spelt =
            allowed.and_then(|allowed| allowed.iter().find(|word| word.eq_ignore_ascii_case(&scheme)));
        spelt.cloned().unwrap_or(scheme)
    }

    fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }
}

/// Credentials come and go in pairs (the sushy emulator refuses one alone).
fn is_named(body: &Value, property: &str) -> bool {
    match property {
        "UserName" | "Password" => messages::names(body, "UserName") || messages::names(body, "Password"),
        _ => messages::names(body, property),
    }
}
