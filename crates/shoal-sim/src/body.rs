//! Request bodies: a JSON object, and values of the right type in it.
//!
//! Content-Type is not looked at: real BMCs differ, and clients send odd ones. Invariant: a wrong
//! body becomes a message of the Base registry that names the property.

use serde_json::{Map, Value};

use super::message::{Message, Refusal};

pub type Object = Map<String, Value>;

/// The body as an object.
pub fn object(body: &[u8]) -> Result<Object, Refusal> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(Message::malformed_json()),
    }
}

/// Takes the OData annotations out of a PATCH; with nothing else in it, there is nothing to do.
pub fn drop_annotations(body: &mut Object) -> Result<(), Refusal> {
    body.retain(|name, _| !name.starts_with("@odata."));
    if body.is_empty() { Err(Message::no_operation()) } else { Ok(()) }
}

/// A property of a PATCH or of a resource to be created, if it is there.
pub fn text<'a>(body: &'a Object, name: &str) -> Result<Option<&'a str>, Refusal> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Message::property_type(name, other)),
    }
}

pub fn required_text<'a>(body: &'a Object, name: &str) -> Result<&'a str, Refusal> {
    text(body, name)?.ok_or_else(|| Message::property_missing(name))
}

pub fn flag(body: &Object, name: &str) -> Result<Option<bool>, Refusal> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(Message::property_type(name, other)),
    }
}

/// Refuses what is in none of these lists; with different messages for what can only be read and what is unknown.
pub fn unknown(body: &Object, writable: &[&str], read_only: &[&str]) -> Vec<Refusal> {
    let wrong = body.keys().filter(|name| !writable.contains(&name.as_str()));
    let message = |name: &String| match read_only.contains(&name.as_str()) {
        true => Message::property_not_writable(name),
        false => Message::property_unknown(name),
    };
    wrong.map(message).collect()
}

/// The parameters of an action, none of them unknown.
pub fn check_parameters(action: &str, body: &Object, known: &[&str]) -> Result<(), Refusal> {
    match body.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Message::parameter_unknown(action, name)),
        None => Ok(()),
    }
}

/// A text parameter of an action, if it is there.
pub fn parameter<'a>(action: &str, body: &'a Object, name: &str) -> Result<Option<&'a str>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Message::parameter_type(action, name, other)),
    }
}
