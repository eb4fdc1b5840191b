//! Authentication: bearer tokens, and what protects a controller that requires none.
//!
//! Which role a route needs is the table of [`roles`], which [`guard()`] enforces before every route.
//! Invariants: secrets are compared by a hash in constant time, and without tokens no web page of
//! another origin can act through a browser.

mod admission;
mod guard;
mod limits;
mod reads;
pub mod roles;
mod session;

use std::net::IpAddr;
use std::sync::Arc;

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use shoal_base::with_causes;
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;

use super::body::is_json;
use super::error::ApiError;
use crate::access::{Actor, Standing, may_be_token};
use crate::oidc::{Oidc, OidcError, may_be_jwt};
use crate::store::Store;
use shoal_base::world::Clock;

pub use admission::Admission;
pub use guard::{AccessGuard, RequestSource, Who, guard};
pub use limits::{Limits, Rates};
pub use reads::MediaReads;
pub use session::SignedIn;

/// How requests are let in.
#[derive(Clone)]
pub enum Access {
    /// No authentication, on a loopback listener only.
    Open,
    /// No caller is accepted.
    Closed,
    /// Callers with a stored token that has not expired.
    Tokens(Arc<Tokens>),
}

/// What tokens are judged by.
#[derive(Clone)]
pub struct Tokens {
    pub store: Store,
    pub clock: Clock,
    pub limits: Arc<Limits>,
    /// Whose signed tokens are good too.
    pub oidc: Option<Arc<Oidc>>,
    /// Sent to whenever a token was revoked.
    pub revocations: watch::Sender<()>,
}

impl Access {
    /// Who sent a request with these headers.
    pub async fn actor(&self, headers: &HeaderMap, source: Option<IpAddr>) -> Result<Actor, ApiError> {
        match self {
            Access::Open => check_host(headers).map(|()| Actor::anybody()),
            Access::Closed => Err(ApiError::Forbidden("ask the API's listener".to_owned())),
            Access::Tokens(tokens) => tokens.actor(headers, source).await,
        }
    }

    /// Wakes open responses, which check whether their token was revoked.
    pub fn note_revocation(&self) {
        if let Access::Tokens(tokens) = self {
            tokens.revocations.send_replace(());
        }
    }

    /// Counts a wrong secret that is no token; refuses where there were too many.
    pub fn count_failure(&self, source: Option<IpAddr>) -> Result<(), ApiError> {
        match self {
            Access::Tokens(tokens) => {
                tokens.limits.log_failure(source, "webhook secret");
                tokens.limits.count_failure(source)
            }
            Access::Open | Access::Closed => Ok(()),
        }
    }
}

impl Tokens {
    async fn actor(&self, headers: &HeaderMap, source: Option<IpAddr>) -> Result<Actor, ApiError> {
        let Some(shown) = headers.get(header::AUTHORIZATION) else { return Err(refused("none")) };
        let judged = match (&self.oidc, shown.to_str().ok().and_then(bearer)) {
            (_, None) => Err("malformed"),
            (Some(oidc), Some(shown)) if may_be_jwt(shown) => signed(oidc, shown).await?,
            (_, Some(shown)) => self.kept(shown, source).await?,
        };
        judged.or_else(|reason| {
            self.limits.log_failure(source, reason);
            self.limits.count_failure(source)?;
            Err(refused(reason))
        })
    }

    /// The owner of a token by the store, or why it is not valid.
    async fn kept(
        &self,
        shown: &str,
        source: Option<IpAddr>,
    ) -> Result<Result<Actor, &'static str>, ApiError> {
        if !may_be_token(shown) {
            return Ok(Err("malformed"));
        }
        let now = self.clock.now();
        let Some(token) = self.store.token_shown(shown).await? else { return Ok(Err("unknown")) };
        match token.standing(self.clock.wall()) {
            Standing::Live => {}
            ended => return Ok(Err(ended.name())),
        }
        // A failed write of this note, on a full disk say, does not reject a valid token.
        let source = source.map(|source| source.to_string());
        if let Err(error) = self.store.note_token_use(&token, now, source).await {
            tracing::debug!(error = %with_causes(&error), "the use of a token is not noted");
        }
        Ok(Ok(Actor::of_token(&token)))
    }
}

/// The owner of a token by the identity provider, or why it is not valid.
async fn signed(oidc: &Oidc, shown: &str) -> Result<Result<Actor, &'static str>, ApiError> {
    match oidc.actor(shown).await {
        Ok(actor) => Ok(Ok(actor)),
        Err(OidcError::Refused(reason)) => Ok(Err(reason)),
        Err(error @ OidcError::NoRole { .. }) => Err(ApiError::Forbidden(error.to_string())),
        Err(error @ OidcError::Unavailable) => Err(ApiError::NotReady(error.to_string())),
    }
}

const FAILURES: &str = "shoal_provisioner_auth_failures_total";

/// Why a caller is rejected is counted and not reported: only the holder of a token knows what it was.
fn refused(reason: &'static str) -> ApiError {
    metrics::counter!(FAILURES, "reason" => reason).increment(1);
    ApiError::Unauthorised
}

/// Whether `X-Webhook-Secret` is one of `secrets`. All are compared, whichever fits.
pub fn is_webhook_secret(headers: &HeaderMap, secrets: &[SecretString]) -> bool {
    let shown = headers.get("x-webhook-secret").map(|value| digest(value.as_bytes()));
    let Some(shown) = shown else { return false };
    let known = secrets.iter().map(|secret| digest(secret.expose_secret().as_bytes()));
    known.fold(false, |found, secret| bool::from(shown.ct_eq(&secret)) | found)
}

fn bearer(text: &str) -> Option<&str> {
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn digest(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Refuses a request that names its host twice, or with userinfo (RFC 9112, 3.2): what stands before this
/// controller might read another host out of it.
pub fn check_host_form(headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    let bad = |host: &HeaderValue| host.to_str().is_ok_and(|host| host.contains('@') || host.contains(','));
    let authority = uri.authority().map(Authority::as_str);
    let named = host.and_then(|host| host.to_str().ok());
    let differs = authority.zip(named).is_some_and(|(uri, host)| !uri.eq_ignore_ascii_case(host));
    let is_unreadable = host.is_some() && named.is_none();
    let has_userinfo = host.is_some_and(bad) || authority.is_some_and(|uri| uri.contains('@'));
    match second.is_some() || is_unreadable || has_userinfo || differs {
        true => Err(ApiError::BadRequest(
            "send one Host header with a host name or address, and a port at most".to_owned(),
        )),
        false => Ok(()),
    }
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
    let authority: Result<Authority, _> = host.parse();
    let plain = authority.ok().filter(|authority| !authority.as_str().contains('@'));
    let Some(name) = plain.map(|authority| authority.host().to_ascii_lowercase()) else { return false };
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
    fn the_bearer_scheme_alone_is_read() {
        assert_eq!((bearer("Bearer s3cret"), bearer("bearer  s3cret ")), (Some("s3cret"), Some("s3cret")));
        for other in ["Basic s3cret", "s3cret", "", "Bearers3cret"] {
            assert_eq!(bearer(other), None, "{other}");
        }
    }

    #[test]
    fn hosts_of_this_machine_are_recognised() {
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
