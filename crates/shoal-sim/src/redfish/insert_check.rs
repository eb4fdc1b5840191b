//! What an InsertMedia has to say, before any slot is asked.
//!
//! The parameters are checked as strictly as the standard allows: their names, their types, their values, and that
//! the transfer protocol is that of the URL. Which of them a BMC wants, refuses or lists is its persona's. Nothing is
//! changed here. Invariant: the message of a refusal names the parameter, because a client finds the form that a BMC
//! takes by that.

use serde_json::Value;
use url::Url;

use super::super::bmc::Bmc;
use super::super::body::{self, Object};
use super::super::faults::Fault;
use super::super::message::{Message, Refusal};
use super::super::personas::MediaMethod;

pub const INSERT: &str = "VirtualMedia.InsertMedia";
pub const PROTOCOL: &str = "TransferProtocolType";
const PROTOCOLS: [&str; 2] = ["HTTP", "HTTPS"];
/// All that the action takes; any other is refused by name.
pub const PARAMETERS: [&str; 7] =
    ["Image", "Inserted", "WriteProtected", "TransferMethod", PROTOCOL, "UserName", "Password"];

impl Bmc {
    /// The URL of an insert whose parameters are all well-formed.
    pub fn check_insert(&self, body: &Object) -> Result<String, Refusal> {
        if self.faults.has(&Fault::InsertRejectsInserted) {
            let refused = ["Inserted", "WriteProtected"].into_iter().find(|name| body.contains_key(*name));
            refused.map_or(Ok(()), |name| Err(Message::property_unknown(name)))?;
        }
        let media = &self.config.persona.media;
        if let Some(refused) = media.refused.iter().find(|name| body.contains_key(**name)) {
            return Err(Message::property_unknown(refused));
        }
        if let Some(missing) = media.required.iter().find(|name| !body.contains_key(**name)) {
            return Err(Message::parameter_missing(INSERT, missing));
        }
        body::check_parameters(INSERT, body, &PARAMETERS)?;
        let image = body::parameter(INSERT, body, "Image")?
            .ok_or_else(|| Message::parameter_missing(INSERT, "Image"))?;
        for name in ["Inserted", "WriteProtected"] {
            match body.get(name) {
                None | Some(Value::Null | Value::Bool(true)) => {}
                Some(Value::Bool(false)) => return Err(Message::parameter_value(INSERT, name, "false")),
                Some(other) => return Err(Message::parameter_type(INSERT, name, other)),
            }
        }
        for name in ["UserName", "Password"] {
            body::parameter(INSERT, body, name)?;
        }
        if let Some(method) = body::parameter(INSERT, body, "TransferMethod")?.filter(|one| *one != "Stream")
        {
            return Err(Message::parameter_value(INSERT, "TransferMethod", method));
        }
        let protocol = check_protocol(body, image)?;
        if protocol.is_none() && self.faults.has(&Fault::InsertNeedsProtocol) {
            return Err(Message::parameter_missing(INSERT, "TransferProtocolType"));
        }
        Ok(image.to_owned())
    }

    /// The image's scheme has to be one that this BMC takes.
    pub fn check_scheme(&self, image: &str) -> Result<(), Refusal> {
        let media = &self.config.persona.media;
        let url = Url::parse(image).map_err(|_| Message::parameter_format(INSERT, "Image", image))?;
        let taken = media.protocols.iter().any(|protocol| protocol.eq_ignore_ascii_case(url.scheme()));
        match media.way {
            _ if taken => Ok(()),
            MediaMethod::VmmControl => Err(Message::protocol_mismatch(image)),
            _ if media.lists_images => Err(Message::parameter_value(INSERT, "Image", image)),
            _ => Err(Message::parameter_format(INSERT, "Image", image)),
        }
    }
}

/// The transfer protocol, which has to agree with the URL; the URL has to be one.
fn check_protocol<'a>(body: &'a Object, image: &str) -> Result<Option<&'a str>, Refusal> {
    let malformed = || Message::parameter_format(INSERT, "Image", image);
    let url = Url::parse(image).map_err(|_| malformed())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(malformed());
    }
    let protocol = body::parameter(INSERT, body, "TransferProtocolType")?;
    match protocol {
        Some(protocol) if !PROTOCOLS.contains(&protocol) => {
            Err(Message::parameter_value(INSERT, "TransferProtocolType", protocol))
        }
        Some(protocol) if !protocol.eq_ignore_ascii_case(url.scheme()) => {
            Err(Message::parameter_conflict("TransferProtocolType", protocol))
        }
        protocol => Ok(protocol),
    }
}
