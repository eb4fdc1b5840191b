//! What a request carries: a JSON body, query parameters, path parameters.
//!
//! Extractors only; what the values mean is each resource's. Invariants: a body is bounded in size and
//! time, and no error quotes any of it.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::ApiError;

/// The largest body of a request.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Of a request for a Linux or Windows job.
const JOB_BYTES_MAX: usize = 4 << 20;
/// So many times its bound is read of a body that is too large: many clients read no answer before they have sent all.
const DISCARD_TIMES: usize = 32;
/// How long the body of a request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The JSON object that a request must carry.
pub struct JsonObject(pub Map<String, Value>);

impl<S: Sync> FromRequest<S> for JsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        check_json_type(request.headers())?;
        parse_object(&read(request).await?).map(JsonObject)
    }
}

/// The JSON object of a request for a job. What Linux and Windows need for their first boot may be large.
pub struct JobObject(pub Map<String, Value>);

impl<S: Sync> FromRequest<S> for JobObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        check_json_type(request.headers())?;
        let body = read_at_most(request, JOB_BYTES_MAX).await?;
        let object = parse_object(&body);
        match body.len() > BODY_BYTES_MAX && !object.as_ref().is_ok_and(may_be_large) {
            true => Err(ApiError::TooLarge { max: BODY_BYTES_MAX }),
            false => object.map(JobObject),
        }
    }
}

/// A Linux or Windows job, in either form of a request.
fn may_be_large(object: &Map<String, Value>) -> bool {
    let target = object.get("recipe").and_then(|recipe| recipe.get("task_target"));
    let target = target.or(object.get("task_target")).and_then(Value::as_str);
    matches!(target, Some("install-linux.target" | "install-windows.target"))
}

/// The JSON object that a request may carry; an empty body, or `null`, is an empty object.
pub struct OptionalJsonObject(pub Map<String, Value>);

impl<S: Sync> FromRequest<S> for OptionalJsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let typed = check_json_type(request.headers());
        let body = read(request).await?;
        if matches!(body.trim_ascii(), b"" | b"null") {
            return Ok(OptionalJsonObject(Map::new()));
        }
        typed?;
        parse_object(&body).map(OptionalJsonObject)
    }
}

/// Query parameters; an unknown one is refused, since a misspelt `dry_run` would install.
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        let wrong = |problem: String| ApiError::BadRequest(format!("invalid query: {problem}"));
        query.map(|Query(value)| Params(value)).map_err(|error| wrong(error.body_text()))
    }
}

/// A place in a list that goes by numbers, as far as the store counts.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u64")]
pub struct Position(pub u64);

impl TryFrom<u64> for Position {
    type Error = &'static str;

    fn try_from(number: u64) -> Result<Position, &'static str> {
        i64::try_from(number).map(|_| Position(number)).map_err(|_| "a number is too large")
    }
}

/// A part of the path that names a resource. One that cannot be a name is a resource that is not there.
pub struct Name<T>(pub T);

impl<S: Send + Sync, T: std::str::FromStr> FromRequestParts<S> for Name<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let nothing = || ApiError::NotFound("there is nothing under that name".to_owned());
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| nothing())?;
        // No name begins or ends with a blank, which a copied one may.
        text.trim().parse().map(Name).map_err(|_| nothing())
    }
}

/// A body without a type is taken for JSON; one with another type is not.
pub fn check_json_type(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(header::CONTENT_TYPE) {
        Some(_) if !is_json(headers) => Err(ApiError::NotJsonType),
        _ => Ok(()),
    }
}

pub fn is_json(headers: &HeaderMap) -> bool {
    let essence = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    essence.is_some_and(|essence| essence == "application/json" || essence.ends_with("+json"))
}

pub async fn read(request: Request) -> Result<Bytes, ApiError> {
    read_at_most(request, BODY_BYTES_MAX).await
}

/// The body, where it has at most `bytes_max` bytes.
pub async fn read_at_most(request: Request, bytes_max: usize) -> Result<Bytes, ApiError> {
    let read = tokio::time::timeout(BODY_TIMEOUT, read_bounded(request.into_body(), bytes_max)).await;
    read.map_err(|_| ApiError::TooSlow { within: BODY_TIMEOUT })?
}

async fn read_bounded(mut body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let (mut kept, mut size) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::BadRequest("the body broke off".to_owned()))?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        size += data.len();
        if size <= bytes_max {
            kept.extend_from_slice(data);
        } else if size > bytes_max.saturating_mul(DISCARD_TIMES) {
            break;
        }
    }
    if size > bytes_max { Err(ApiError::TooLarge { max: bytes_max }) } else { Ok(kept.into()) }
}

pub fn parse_object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ApiError::BadRequest("the body must be a JSON object".to_owned())),
        Err(error) if body.iter().all(u8::is_ascii_whitespace) || error.is_eof() => {
            Err(ApiError::BadRequest("the body is not JSON: it ends too early".to_owned()))
        }
        // The position only: the parser's message may repeat what stands there.
        Err(error) => Err(ApiError::BadRequest(format!(
            "the body is not JSON: line {}, column {}",
            error.line(),
            error.column()
        ))),
    }
}

/// How many entries of a list are answered.
pub fn page_limit(requested: Option<usize>, default: usize, max: usize) -> Result<usize, ApiError> {
    match requested.unwrap_or(default) {
        limit if (1..=max).contains(&limit) => Ok(limit),
        _ => Err(ApiError::BadRequest(format!("invalid query: limit is a number from 1 to {max}"))),
    }
}

/// `response` with a `Location`.
pub fn at_location(mut response: Response, path: &str) -> Response {
    let location = http::HeaderValue::try_from(path.replace(' ', "%20"));
    response
        .headers_mut()
        .insert(header::LOCATION, location.expect("names of resources have letters, digits and a few marks"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_error_has_a_position_and_no_content() {
        let error = parse_object(b"{\n  \"ks_cfg\": \"rootpw hunter2\" oops }").unwrap_err().to_string();
        assert!(error.contains("line 2, column 30"), "{error}");
        assert!(!error.contains("hunter2") && !error.contains("oops"), "{error}");
        for bad in [&b""[..], b"[]", b"\"x\"", b"{", b"\xff"] {
            assert!(matches!(parse_object(bad), Err(ApiError::BadRequest(_))), "{bad:?}");
        }
    }

    #[test]
    fn json_is_recognised_by_its_type() {
        let typed = |text: &'static str| {
            let value = http::HeaderValue::from_static(text);
            is_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, value)]))
        };
        assert!(typed("application/json") && typed("Application/JSON; charset=utf-8"));
        assert!(!typed("text/plain") && !typed("application/x-www-form-urlencoded"));
        assert!(!is_json(&HeaderMap::new()));
    }
}
