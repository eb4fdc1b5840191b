//! The provider's keys: where its document says they are, remembered, and fetched again now and then.
//!
//! It verifies nothing. Invariants: at most one fetch runs at a time and one starts in a while, so that
//! no storm of tokens becomes a storm of requests; keys that are too old are believed no more.

use std::sync::Mutex;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use shoal_base::with_causes;
use tokio::time::Instant;
use url::Url;

use super::OidcError;
use super::fetch::{self, FetchError};
use shoal_base::world::Transport;

const KEYS_MAX: usize = 64;
/// Between two fetches, whatever tokens come.
const FETCH_EVERY: Duration = Duration::from_secs(30);
/// After so long they are fetched again: a key may have been withdrawn.
const FRESH_FOR: Duration = Duration::from_secs(15 * 60);
/// A provider that is out of reach is believed on its old keys for so long.
const BELIEVED_FOR: Duration = Duration::from_secs(24 * 3_600);

pub struct ProviderKeys {
    issuer: Url,
    transport: Transport,
    known: Mutex<Known>,
    /// Held while the keys are fetched.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    keys: Vec<Key>,
    /// When those were fetched.
    fetched_at: Option<Instant>,
    /// When a fetch was last begun.
    tried_at: Option<Instant>,
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    key: DecodingKey,
}

/// What is read of the provider's document.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: Url,
}

impl ProviderKeys {
    pub fn new(issuer: Url, transport: Transport) -> ProviderKeys {
        ProviderKeys { issuer, transport, known: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    /// The key of that name for that algorithm. A token without a name is of the only key there is.
    pub async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, OidcError> {
        let (found, is_fresh) = {
            let known = self.known();
            (known.find(id, algorithm).is_some(), known.is_fresh())
        };
        if !found {
            let turn = self.fetching.lock().await;
            self.refresh(turn).await;
        } else if !is_fresh && let Ok(turn) = self.fetching.try_lock() {
            // One waits for the answer; the others go on with the key they have.
            self.refresh(turn).await;
        }
        let known = self.known();
        if !known.is_believed() {
            return Err(OidcError::Unavailable);
        }
        known.find(id, algorithm).ok_or(OidcError::Refused("unknown key"))
    }

    /// Fetches the keys, unless that was just done or tried; those before stay if it fails.
    async fn refresh(&self, _turn: tokio::sync::MutexGuard<'_, ()>) {
        if self.known().tried_at.is_some_and(|tried| tried.elapsed() < FETCH_EVERY) {
            return;
        }
        self.known().tried_at = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "the identity provider's keys were fetched");
                let mut known = self.known();
                (known.keys, known.fetched_at) = (keys, Some(Instant::now()));
            }
            Err(error) => {
                tracing::warn!(error = %with_causes(&error), "the identity provider's keys were not fetched");
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<Key>, FetchError> {
        let document = fetch::document_url(&self.issuer);
        let body = fetch::get(&self.transport, &document).await?;
        let found: Discovery = serde_json::from_slice(&body)
            .map_err(|_| FetchError::garbled(&document, "no OpenID Connect document"))?;
        if found.issuer.trim_end_matches('/') != self.issuer.as_str().trim_end_matches('/') {
            return Err(FetchError::garbled(&document, "it is of another issuer"));
        }
        let keys = found.jwks_uri;
        if !fetch::is_secure(&keys) {
            return Err(FetchError::garbled(&document, "its keys are not at an https address"));
        }
        let body = fetch::get(&self.transport, &keys).await?;
        parse(&body).map_err(|problem| FetchError::garbled(&keys, problem))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.fetched_at.is_some_and(|at| at.elapsed() < FRESH_FOR)
    }

    fn is_believed(&self) -> bool {
        self.fetched_at.is_some_and(|at| at.elapsed() < BELIEVED_FOR)
    }

    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
        let family = if algorithm == Algorithm::ES256 { AlgorithmFamily::Ec } else { AlgorithmFamily::Rsa };
        let mut of_family = self.keys.iter().filter(|key| key.key.family() == family);
        match id {
            Some(id) => of_family.find(|key| key.id.as_deref() == Some(id)).map(|key| key.key.clone()),
            None => match (of_family.next(), of_family.next()) {
                (Some(only), None) => Some(only.key.clone()),
                _ => None,
            },
        }
    }
}

/// The keys of a set that can verify what is accepted here. Others are passed over one by one: a
/// provider may have keys of kinds that are not known yet.
fn parse(body: &[u8]) -> Result<Vec<Key>, &'static str> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(body).map_err(|_| "no set of keys")?;
    if set.keys.len() > KEYS_MAX {
        return Err("too many keys");
    }
    let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let keys: Vec<Key> = JwkSet { keys: keys.collect() }.keys.iter().filter_map(usable).collect();
    if keys.is_empty() { Err("no key for RS256 or ES256") } else { Ok(keys) }
}

fn usable(key: &Jwk) -> Option<Key> {
    let signs = !matches!(&key.common.public_key_use, Some(purpose) if *purpose != PublicKeyUse::Signature);
    let is_known = match &key.algorithm {
        AlgorithmParameters::RSA(_) => true,
        AlgorithmParameters::EllipticCurve(point) => point.curve == EllipticCurve::P256,
        _ => false,
    };
    let parsed = DecodingKey::from_jwk(key).ok().filter(|_| signs && is_known)?;
    Some(Key { id: key.common.key_id.clone(), key: parsed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_other_kinds_are_passed_over() {
        let rsa = r#"{"kty":"RSA","kid":"r","use":"sig","n":"AQAB","e":"AQAB"}"#;
        let parse = |keys: &str| parse(format!("{{\"keys\":[{keys}]}}").as_bytes()).map(|keys| keys.len());
        assert_eq!(parse(rsa), Ok(1));
        let others = r#"{"kty":"oct","kid":"s","k":"c2VjcmV0"},{"kty":"new","x":1},{"kty":"EC","crv":"P-384","x":"AA","y":"AA"},{"kty":"RSA","use":"enc","n":"AQAB","e":"AQAB"}"#;
        assert_eq!(parse(&format!("{rsa},{others}")), Ok(1));
        assert!(parse(others).is_err() && parse("").is_err());
        assert!(parse(&vec![rsa; KEYS_MAX + 1].join(",")).is_err());
    }
}
