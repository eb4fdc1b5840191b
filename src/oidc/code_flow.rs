//! Sign-in of a person at the identity provider: the authorization code flow with PKCE (RFC 6749, 7636, 9207).
//!
//! It keeps nothing: what must come back is in an [`SignInAttempt`], which the browser holds sealed. Invariants: a code is
//! redeemed only for the browser that began the attempt, and once by its `state`; the identity token must be for this
//! client and carry the attempt's nonce; no code, secret or token is part of an error.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::fetch::{self, FetchError};
use super::{Oidc, OidcError};
use crate::access::Actor;
use shoal_base::world::{Rng, World};

/// The provider's document is read again after so long.
const FRESH_FOR: Duration = Duration::from_secs(15 * 60);
/// Between two requests for it that failed.
const RETRY_AFTER: Duration = Duration::from_secs(10);
const CALLBACK: &str = "/sign-in/oidc/callback";

/// This controller as a client of the provider.
#[derive(Clone, Debug)]
pub struct CodeFlowSettings {
    pub client_id: String,
    /// Absent for a public client, which PKCE alone protects.
    pub client_secret: Option<SecretString>,
    /// Where the provider sends browsers back to.
    pub public_url: Url,
}

/// What has to come back, for one browser.
#[derive(Clone, Serialize, Deserialize)]
pub struct SignInAttempt {
    state: String,
    nonce: String,
    verifier: String,
    /// The page to go on to.
    pub next: String,
}

/// What the provider sends back.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CallbackParams {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

/// Why a sign-in failed.
#[derive(Debug, thiserror::Error)]
pub enum CodeFlowError {
    #[error("the identity provider rejected the sign-in")]
    Rejected,
    #[error("this sign-in was not begun in this browser, or it is older than 10 minutes: start it again")]
    OtherAttempt,
    #[error(
        "the identity provider (OIDC_ISSUER) does not answer as expected; the log of the controller has the cause"
    )]
    Provider(#[from] FetchError),
    #[error(transparent)]
    Token(#[from] OidcError),
}

/// What is read of the provider's document.
#[derive(Clone, Deserialize)]
struct Endpoints {
    issuer: String,
    authorization_endpoint: Url,
    token_endpoint: Url,
    /// `client_secret_basic` where it is absent.
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    id_token: String,
}

/// The client of one provider.
pub struct CodeFlow {
    settings: CodeFlowSettings,
    oidc: Arc<Oidc>,
    world: World,
    rng: Rng,
    known: Mutex<KnownEndpoints>,
}

#[derive(Default)]
struct KnownEndpoints {
    endpoints: Option<(Instant, Endpoints)>,
    tried_at: Option<Instant>,
}

impl CodeFlow {
    pub fn new(settings: CodeFlowSettings, oidc: Arc<Oidc>, world: &World) -> CodeFlow {
        let rng = world.rng.child("oidc code flow");
        CodeFlow { settings, oidc, world: world.clone(), rng, known: Mutex::default() }
    }

    /// Where the browser goes to, and what it must bring back.
    pub async fn begin(&self, next: &str) -> Result<(Url, SignInAttempt), CodeFlowError> {
        let endpoints = self.endpoints().await?;
        let attempt = SignInAttempt {
            state: self.rng.hex(16),
            nonce: self.rng.hex(16),
            verifier: self.rng.hex(32),
            next: next.to_owned(),
        };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(attempt.verifier.as_bytes()));
        let mut url = endpoints.authorization_endpoint;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &self.redirect_uri())
            .append_pair("scope", "openid profile email")
            .append_pair("state", &attempt.state)
            .append_pair("nonce", &attempt.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok((url, attempt))
    }

    /// The person who has signed in.
    pub async fn finish(
        &self,
        attempt: &SignInAttempt,
        params: &CallbackParams,
    ) -> Result<Actor, CodeFlowError> {
        let state = params.state.as_deref().unwrap_or_default();
        if !bool::from(state.as_bytes().ct_eq(attempt.state.as_bytes())) {
            return Err(CodeFlowError::OtherAttempt);
        }
        let code = match (&params.error, &params.code) {
            (None, Some(code)) => code,
            _ => return Err(CodeFlowError::Rejected),
        };
        let endpoints = self.endpoints().await?;
        if params.iss.as_ref().is_some_and(|issuer| *issuer != endpoints.issuer) {
            return Err(CodeFlowError::Rejected);
        }
        let token = self.redeem(&endpoints, attempt, code).await?;
        Ok(self.oidc.person(&token, &self.settings.client_id, &attempt.nonce).await?)
    }

    async fn redeem(
        &self,
        endpoints: &Endpoints,
        attempt: &SignInAttempt,
        code: &str,
    ) -> Result<String, FetchError> {
        let url = &endpoints.token_endpoint;
        let request = self.token_request(endpoints, attempt, code);
        let body = fetch::send(&self.world.transport, url, request).await?;
        let answer = serde_json::from_slice::<TokenAnswer>(&body);
        answer.map(|answer| answer.id_token).map_err(|_| FetchError::garbled(url, "no identity token"))
    }

    fn token_request(&self, endpoints: &Endpoints, attempt: &SignInAttempt, code: &str) -> Request<Bytes> {
        let settings = &self.settings;
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.redirect_uri())
            .append_pair("client_id", &settings.client_id)
            .append_pair("code_verifier", &attempt.verifier);
        let methods = &endpoints.token_endpoint_auth_methods_supported;
        let has = |name: &str| methods.iter().any(|method| method == name);
        let is_posted = has("client_secret_post") && !has("client_secret_basic");
        let mut request = Request::post(endpoints.token_endpoint.as_str())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json");
        match &settings.client_secret {
            Some(secret) if is_posted => {
                form.append_pair("client_secret", secret.expose_secret());
            }
            Some(secret) => {
                // RFC 6749, 2.3.1: both are form-encoded first.
                let encode =
                    |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = format!("{}:{}", encode(&settings.client_id), encode(secret.expose_secret()));
                request = request.header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)));
            }
            None => {}
        }
        request.body(Bytes::from(form.finish())).expect("the parts of the request are sound")
    }

    fn redirect_uri(&self) -> String {
        format!("{}{CALLBACK}", self.settings.public_url.as_str().trim_end_matches('/'))
    }

    /// From the provider's document, which is remembered: any client can begin an attempt.
    async fn endpoints(&self) -> Result<Endpoints, FetchError> {
        let mut known = self.known.lock().await;
        if let Some((read_at, endpoints)) = &known.endpoints
            && read_at.elapsed() < FRESH_FOR
        {
            return Ok(endpoints.clone());
        }
        let url = fetch::document_url(self.oidc.issuer());
        if known.tried_at.is_some_and(|tried| tried.elapsed() < RETRY_AFTER) {
            return Err(FetchError::garbled(&url, "it was not answered a moment ago"));
        }
        known.tried_at = Some(Instant::now());
        let body = fetch::get(&self.world.transport, &url).await?;
        let found: Endpoints = serde_json::from_slice(&body)
            .map_err(|_| FetchError::garbled(&url, "no OpenID Connect document with both endpoints"))?;
        if found.issuer.trim_end_matches('/') != self.oidc.issuer().as_str().trim_end_matches('/') {
            return Err(FetchError::garbled(&url, "it is of another issuer"));
        }
        if ![&found.authorization_endpoint, &found.token_endpoint].into_iter().all(fetch::is_secure) {
            return Err(FetchError::garbled(&url, "its endpoints are not at https addresses"));
        }
        known.tried_at = None;
        known.endpoints = Some((Instant::now(), found.clone()));
        Ok(found)
    }
}
