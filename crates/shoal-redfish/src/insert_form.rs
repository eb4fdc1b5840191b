//! The body of an insert, and what a BMC's refusals do to it.
//!
//! Pure. Invariant: each property is added or removed once by what refusals name, and once more all
//! of them by a refusal that names nothing, so a ladder of forms ends.

use serde_json::{Map, Value, json};

use super::action_info::Parameter;
use super::call::Reply;
use super::messages;

/// Properties beside `Image` that a BMC may want or refuse.
pub(super) const OPTIONAL: [&str; 6] =
    ["TransferProtocolType", "TransferMethod", "UserName", "Password", "Inserted", "WriteProtected"];

/// What a BMC gets that refuses `{Image}` without a reason. No credentials: most refuse those on
/// HTTP.
const FULL: [&str; 4] = ["TransferProtocolType", "TransferMethod", "Inserted", "WriteProtected"];

/// Words of `TransferProtocolType`. A list with others in it is prose (Cisco CIMC).
/// `OEM` is one of the standard's, and opens no way for us.
const PROTOCOLS: [&str; 10] = ["CIFS", "FTP", "SFTP", "HTTP", "HTTPS", "NFS", "SCP", "TFTP", "SMB", "OEM"];

/// Ids of messages that mean "leave this property out".
const UNWANTED: [&str; 5] = [
    "PropertyUnknown",
    "ParameterUnknown",
    "ParameterNotSupported",
    "PropertyNotWritable",
    "PropertyNotSupported",
];

pub(super) struct InsertBody<'a> {
    image_url: &'a str,
    parameters: Vec<Parameter>,
    pub(super) body: Map<String, Value>,
    /// Properties that a refusal has added or removed: each changes once.
    changed: Vec<&'static str>,
    /// A refusal without a reason has been answered.
    was_full: bool,
}

impl<'a> InsertBody<'a> {
    /// `{Image}` with what worked the last time, or what is advertised as required; a PATCH says
    /// `Inserted` too (Lenovo XCC).
    pub(super) fn new(
        image_url: &'a str,
        parameters: Vec<Parameter>,
        by_patch: bool,
        learned: Option<Vec<String>>,
    ) -> InsertBody<'a> {
        let body = Map::from_iter([("Image".to_owned(), json!(image_url))]);
        let mut form = InsertBody { image_url, parameters, body, changed: Vec::new(), was_full: false };
        for name in OPTIONAL {
            let wanted = match &learned {
                Some(names) => names.iter().any(|known| known == name),
                None => form.parameter(name).is_some_and(|parameter| parameter.required),
            };
            if wanted || (by_patch && matches!(name, "Inserted" | "WriteProtected")) {
                form.add(name);
            }
        }
        form
    }

    /// The protocols that the BMC offers, where the image's is not among them.
    pub(super) fn refused_protocols(&self) -> Option<String> {
        let allowed = &self.parameter("TransferProtocolType")?.allowed;
        let is = |word: &str, protocol: &str| word.eq_ignore_ascii_case(protocol);
        let is_list = allowed.iter().all(|word| PROTOCOLS.iter().any(|protocol| is(word, protocol)));
        let offered = allowed.iter().any(|word| is(word, &self.scheme()));
        (is_list && !offered && !allowed.is_empty()).then(|| allowed.join(", "))
    }

    /// Properties beside `Image`.
    pub(super) fn names(&self) -> Vec<String> {
        self.body.keys().filter(|name| *name != "Image").cloned().collect()
    }

    /// Changes the form as a refusal asks for. False where it asks for nothing that can be done, or
    /// where it leaves open whether the request did something.
    pub(super) fn react(&mut self, reply: &Reply) -> bool {
        if !matches!(reply.status.as_u16(), 400 | 422) {
            return false;
        }
        self.react_to_names(&reply.body) || self.react_to_silence(&reply.body)
    }

    fn react_to_names(&mut self, refusal: &Value) -> bool {
        let is_unwanted = messages::has_id(refusal, &UNWANTED);
        let mut reacted = false;
        for name in OPTIONAL {
            if self.changed.contains(&name) || !is_named(refusal, name) {
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

    /// A refusal that gives no reason at all: the other extreme, once.
    fn react_to_silence(&mut self, refusal: &Value) -> bool {
        let speaks = messages::says_why(refusal) || !self.changed.is_empty();
        if speaks || std::mem::replace(&mut self.was_full, true) {
            return false;
        }
        match self.body.len() {
            1 => FULL.into_iter().for_each(|name| self.add(name)),
            _ => self.body.retain(|name, _| name == "Image"),
        }
        true
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

    fn scheme(&self) -> String {
        self.image_url.split(':').next().unwrap_or_default().to_ascii_uppercase()
    }

    /// The image's scheme, spelt as the BMC spells it (xFusion lists `https`).
    fn protocol(&self) -> String {
        let scheme = self.scheme();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(values: &[&str], url: &str) -> Option<String> {
        let allowed = values.iter().map(|value| value.to_string()).collect();
        let parameter = Parameter { name: OPTIONAL[0].to_owned(), required: false, allowed };
        InsertBody::new(url, vec![parameter], false, None).refused_protocols()
    }

    #[test]
    fn a_protocol_that_is_not_offered_is_not_asked_for() {
        assert_eq!(offered(&["NFS", "CIFS", "https"], "http://h/a.iso").as_deref(), Some("NFS, CIFS, https"));
        assert_eq!(offered(&["NFS", "CIFS", "https"], "https://h/a.iso"), None);
        let https_only = ["CIFS", "NFS", "HTTPS", "OEM"];
        assert_eq!(offered(&https_only, "http://h/a.iso").as_deref(), Some("CIFS, NFS, HTTPS, OEM"));
        assert_eq!(offered(&https_only, "https://h/a.iso"), None);
        assert_eq!(offered(&[], "http://h/a.iso"), None);
        assert_eq!(offered(&["www for HTTP shares", "NFS"], "http://h/a.iso"), None);
    }
}
