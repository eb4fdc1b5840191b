//! The answer of the service, before and as HTTP.
//!
//! A handler makes a [`Reply`]: a status, its own headers and a body. The headers that every answer has are added
//! when it becomes HTTP. Invariant: the ETag of a resource changes with any change of what is shown.

use axum::body::Body;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::guest::hex;
use super::super::message::{Message, Refusal};
use super::resource::Resource;

/// The answer, before it is HTTP.
pub struct Reply {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, String)>,
    pub body: ReplyBody,
}

pub enum ReplyBody {
    Empty,
    Json(Value),
    Xml(&'static str),
}

impl Reply {
    pub fn json(status: StatusCode, body: Value) -> Reply {
        Reply { status, headers: vec![], body: ReplyBody::Json(body) }
    }

    pub fn no_content() -> Reply {
        Reply { status: StatusCode::NO_CONTENT, headers: vec![], body: ReplyBody::Empty }
    }

    /// The error that a refusal is.
    pub fn refused(message: &Message) -> Reply {
        let reply = Reply::json(message.status, message.body());
        match &message.header {
            Some((name, value)) => reply.with(name.clone(), value.clone()),
            None => reply,
        }
    }

    pub fn with(mut self, name: HeaderName, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    /// The first message of an error, without the list around it.
    pub fn with_info_as_object(mut self) -> Reply {
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

/// The reply as HTTP, with the headers that every answer has.
pub fn render(reply: Reply) -> Response<Body> {
    let (body, content_type) = match reply.body {
        ReplyBody::Empty => (Body::empty(), None),
        ReplyBody::Json(value) => (Body::from(text(&value)), Some("application/json;charset=utf-8")),
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

/// A resource with the headers that describe it: its tag, its methods, its schema.
pub fn represent(status: StatusCode, resource: &Resource, mut body: Value) -> Reply {
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
pub fn etag(body: &Value) -> String {
    let hash = Sha256::digest(text(body));
    format!("\"{}\"", hex(&hash[..8]))
}

/// The same as its `Display`, in a third of the time.
fn text(body: &Value) -> Vec<u8> {
    serde_json::to_vec(body).expect("its keys are strings")
}
