//! Signed tokens of an identity provider (OpenID Connect), judged without asking it each time.
//!
//! No login page and no session: the client presents a token of the provider, or a browser brings a code
//! ([`CodeFlow`]). The provider's keys are
//! fetched, remembered, and fetched again when they are old or a token names an unknown one, and no
//! more than once in a while whatever tokens come. Invariants: a token is believed only if a key of the
//! provider signed it with an algorithm of that key, for this controller, and at this time; no token is
//! ever part of an error.

mod claims;
mod code_flow;
mod fetch;
mod keys;
mod verifier;

use std::collections::BTreeMap;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};
use url::Url;

pub use code_flow::{CallbackParams, CodeFlow, CodeFlowError, CodeFlowSettings, SignInAttempt};

use crate::access::{Actor, Role};
use keys::ProviderKeys;
use shoal_base::world::{Clock, World};

/// Clocks may differ by so much.
const LEEWAY: Duration = Duration::from_secs(60);
/// What is longer is no token.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// `none` and symmetric algorithms are not among them: their "keys" are public here.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::RS256, Algorithm::ES256];

/// Which provider is believed, and what its roles are here.
#[derive(Clone, Debug)]
pub struct OidcSettings {
    /// As tokens and the provider's own document say it.
    pub issuer: Url,
    /// What tokens for this controller are for.
    pub audience: String,
    /// Names within claims, as `realm_access.roles`.
    pub role_claim: Vec<String>,
    /// A word of that claim and the role that it is here; the strongest counts.
    pub role_map: BTreeMap<String, Role>,
}

/// Why a token is not believed, or cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// Invalid, for a reason with that name.
    #[error("the token is invalid: {0}")]
    Refused(&'static str),
    /// Valid, but without a role here.
    #[error("the token of {name} has no role here: OIDC_ROLE_MAP has none of the names in its role claim")]
    NoRole { name: String },
    /// The provider's keys are not known, so the token cannot be verified.
    #[error("the keys of the identity provider (OIDC_ISSUER) are out of reach")]
    Unavailable,
}

/// One identity provider.
pub struct Oidc {
    settings: OidcSettings,
    clock: Clock,
    keys: ProviderKeys,
}

/// Whether a text has the form of a signed token. Those of the store have not: they hold no dots.
pub fn may_be_jwt(text: &str) -> bool {
    text.len() <= TOKEN_BYTES_MAX && text.split('.').count() == 3 && decode_header(text).is_ok()
}

impl Oidc {
    pub fn new(settings: OidcSettings, world: &World) -> Oidc {
        verifier::install();
        let keys = ProviderKeys::new(settings.issuer.clone(), world.transport.clone());
        Oidc { settings, clock: world.clock.clone(), keys }
    }

    fn issuer(&self) -> &Url {
        &self.settings.issuer
    }

    /// Who shows this token.
    pub async fn actor(&self, text: &str) -> Result<Actor, OidcError> {
        let claims = self.verified(text, &self.settings.audience).await?;
        let actor = claims::actor(&claims, &self.settings)?;
        Ok(Actor { expires_at: claims::end(&claims, LEEWAY), ..actor })
    }

    /// Who has signed in, by an identity token for the client of that attempt. It is good for the sign-in alone, so its
    /// end is not that of the session.
    async fn person(&self, text: &str, client_id: &str, nonce: &str) -> Result<Actor, OidcError> {
        let claims = self.verified(text, client_id).await?;
        let claim = |name: &str| claims.get(name).and_then(Value::as_str);
        if claim("nonce") != Some(nonce) {
            return Err(OidcError::Refused("nonce"));
        }
        if claim("azp").is_some_and(|party| party != client_id) {
            return Err(OidcError::Refused("audience"));
        }
        claims::actor(&claims, &self.settings)
    }

    /// The claims of a token for this audience, at this time.
    async fn verified(&self, text: &str, audience: &str) -> Result<Map<String, Value>, OidcError> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(OidcError::Refused("malformed"));
        }
        let header = decode_header(text).map_err(|_| OidcError::Refused("malformed"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(OidcError::Refused("algorithm"));
        }
        let key = self.keys.find(header.kid.as_deref(), header.alg).await?;
        let claims = self.claims(text, &key, header.alg, audience)?;
        claims::check_times(&claims, self.clock.wall(), LEEWAY)?;
        Ok(claims)
    }

    /// The claims of a token that the key has signed, for us, by the provider. Its times are checked
    /// by the world's clock and not by the library's.
    fn claims(
        &self,
        text: &str,
        key: &DecodingKey,
        algorithm: Algorithm,
        audience: &str,
    ) -> Result<Map<String, Value>, OidcError> {
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.set_issuer(&[self.settings.issuer.as_str(), trimmed(&self.settings.issuer)]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        use jsonwebtoken::errors::ErrorKind;
        let decoded = decode::<Map<String, Value>>(text, key, &validation);
        decoded.map(|token| token.claims).map_err(|error| {
            OidcError::Refused(match error.kind() {
                ErrorKind::InvalidSignature => "signature",
                ErrorKind::InvalidIssuer => "issuer",
                ErrorKind::InvalidAudience => "audience",
                ErrorKind::MissingRequiredClaim(_) => "claim missing",
                ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => "algorithm",
                _ => "malformed",
            })
        })
    }
}

/// A URL without a path is written with and without its slash.
fn trimmed(issuer: &Url) -> &str {
    issuer.as_str().trim_end_matches('/')
}
