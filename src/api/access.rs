//! Who may ask: the bearer token, and what protects a controller that asks for none.
//!
//! This version knows one token, the admin's. Invariants: tokens are compared by their SHA-256 in
//! constant time, and without tokens no web page of another origin can act through a browser.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, Uri, header};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::ApiState;
use super::body::is_json;
use super::error::ApiError;
use crate::media::OperatorCheck;

/// How requests are let in.
#[derive(Clone)]
pub enum Access {
    /// Everybody, on a loopback listener only.
    Open,
    /// Nobody.
    Closed,
    /// Whoever shows the admin token, of which this is the SHA-256.
    Token([u8; 32]),
}

impl Access {
    pub fn token(token: &SecretString) -> Access {
        Access::Token(digest(token.expose_secret().as_bytes()))
    }

    /// Whether a request with these headers comes from an operator.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let expected = match self {
            Access::Open => return check_host(headers),
            Access::Closed => return Err(ApiError::Forbidden("ask the API's listener".to_owned())),
            Access::Token(expected) => expected,
        };
        let shown = bearer(headers).ok_or(ApiError::Unauthorised)?;
        if is_same(&digest(shown.as_bytes()), expected) { Ok(()) } else { Err(ApiError::Unauthorised) }
    }
}

/// Guards what media serve to operators.
#[expect(clippy::result_large_err, reason = "the media's own form: its refusal is a whole answer")]
pub fn operator_check(access: Access) -> OperatorCheck {
    Arc::new(move |headers: &HeaderMap| match access.check(headers) {
        Ok(()) => Ok(()),
        Err(error) => Err(error.into_response()),
    })
}

/// Lets operators through.
pub async fn require_operator(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    state.access.check(request.headers())?;
    if matches!(state.access, Access::Open) {
        check_same_site(request.method(), request.headers())?;
    }
    Ok(next.run(request).await)
}

/// Whether `X-Webhook-Secret` is one of `secrets`. All are compared, whichever fits.
pub fn is_webhook_secret(headers: &HeaderMap, secrets: &[SecretString]) -> bool {
    let shown = headers.get("x-webhook-secret").map(|value| digest(value.as_bytes()));
    let Some(shown) = shown else { return false };
    let known = secrets.iter().map(|secret| digest(secret.expose_secret().as_bytes()));
    known.fold(false, |found, secret| is_same(&shown, &secret) | found)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn digest(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Takes the same time wherever the two differ.
fn is_same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b))) == 0
}

/// A name that leads here from another site's DNS would make a browser a go-between (DNS rebinding).
fn check_host(headers: &HeaderMap) -> Result<(), ApiError> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(is_loopback) {
        return Ok(());
    }
    Err(ApiError::Forbidden(
        "with AUTH_MODE=none the Host must be a loopback name or address, such as localhost".to_owned(),
    ))
}

/// A form of another site can be posted by a browser unasked, but not as JSON and not without its
/// origin.
fn check_same_site(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if let Some(origin) = headers.get(header::ORIGIN) {
        let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        if authority.is_none_or(|(_, authority)| !authority.eq_ignore_ascii_case(host)) {
            let detail = "with AUTH_MODE=none a request of another Origin is refused";
            return Err(ApiError::Forbidden(detail.to_owned()));
        }
    }
    if !method.is_safe() && !is_json(headers) {
        return Err(ApiError::NotJsonType);
    }
    Ok(())
}

/// Whether `host`, with or without a port, is of this machine only.
fn is_loopback(host: &str) -> bool {
    let uri: Result<Uri, _> = format!("http://{host}/").parse();
    let Some(name) = uri.ok().and_then(|uri| uri.host().map(str::to_ascii_lowercase)) else { return false };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost" || name.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_right_token_alone_opens() {
        let access = Access::token(&"s3cret".into());
        let check = |value| access.check(&headers(&[("authorization", value)])).is_ok();
        assert!(check("Bearer s3cret") && check("bearer s3cret"));
        for wrong in ["Bearer s3creT", "Bearer s3cre", "Bearer ", "Basic s3cret", "s3cret", ""] {
            assert!(!check(wrong), "{wrong}");
        }
        assert!(access.check(&HeaderMap::new()).is_err());
    }

    #[test]
    fn hosts_of_this_machine_are_told_from_others() {
        for here in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.8.9.1", "[::1]:8080"] {
            assert!(is_loopback(here), "{here}");
        }
        for there in ["example.com", "localhost.evil.com", "127.0.0.1.evil.com", "10.0.0.1", "", "[::2]"] {
            assert!(!is_loopback(there), "{there}");
        }
    }

    #[test]
    fn without_tokens_another_sites_page_cannot_act() {
        let json = ("content-type", "application/json");
        let host = ("host", "localhost:8080");
        let check = |method: Method, pairs: &[_]| check_same_site(&method, &headers(pairs)).is_ok();
        assert!(check(Method::POST, &[json, host]));
        assert!(check(Method::POST, &[json, host, ("origin", "http://localhost:8080")]));
        assert!(check(Method::GET, &[host]));
        assert!(!check(Method::POST, &[host]));
        assert!(!check(Method::POST, &[host, ("content-type", "text/plain")]));
        assert!(!check(Method::POST, &[json, host, ("origin", "https://evil.example")]));
        assert!(!check(Method::POST, &[json, host, ("origin", "http://localhost:3000")]));
        assert!(!check(Method::GET, &[host, ("origin", "null")]));
    }

    #[test]
    fn either_webhook_secret_will_do() {
        let secrets = ["new".into(), "old".into()];
        let shown = |value| is_webhook_secret(&headers(&[("x-webhook-secret", value)]), &secrets);
        assert!(shown("new") && shown("old") && !shown("other") && !shown(""));
        assert!(!is_webhook_secret(&HeaderMap::new(), &secrets));
    }
}
