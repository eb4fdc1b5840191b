//! One request to a registry, with the login that it asks for.
//!
//! It knows neither manifests nor layers. Invariants: a login goes to the registry that its entry names, or to that
//! registry's token server under the rule of [`RegistrySettings::may_make_tokens`]; no credential follows a redirect to
//! another origin; a token asks for the right to pull and nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use shoal_base::Password;
use shoal_base::world::{HttpRequest, HttpResponse, Transport, TransportErrorKind};
use tower::ServiceExt as _;
use url::Url;

use super::challenge::AuthChallenge;
use super::logins::{Login, Logins};
use super::{RegistryError, RegistrySettings, RepositoryName};

/// For the head of an answer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
const REDIRECTS_MAX: usize = 5;
/// Of a token server's answer, and of a registry's error.
const ANSWER_BYTES_MAX: usize = 64 << 10;
const LOGINS_BYTES_MAX: u64 = 1 << 20;
/// Repositories whose authorization is kept.
const KEPT_MAX: usize = 1024;

#[derive(Clone)]
pub struct RegistryClient {
    pub transport: Transport,
    pub settings: Arc<RegistrySettings>,
    /// What a repository accepted last. A token that has expired is 401 again.
    kept: Arc<Mutex<BTreeMap<RepositoryName, HeaderValue>>>,
}

impl RegistryClient {
    pub fn new(transport: Transport, settings: RegistrySettings) -> RegistryClient {
        RegistryClient { transport, settings: Arc::new(settings), kept: Arc::default() }
    }

    /// GET of `path` in a repository. Every status but those of a login that is missing or wrong comes back.
    pub async fn get(
        &self,
        repository: &RepositoryName,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<HttpResponse, RegistryError> {
        let url = self.settings.url(repository, path);
        let response = self.follow(repository, &url, headers, self.kept(repository)).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let challenge = AuthChallenge::read(response.headers())
            .ok_or_else(|| RegistryError::Challenge { registry: repository.registry.clone() })?;
        drop(response);
        let login = self.login(repository)?;
        let authorization = self.authorize(repository, &challenge, login.as_ref()).await?;
        let response = self.follow(repository, &url, headers, Some(authorization.clone())).await?;
        match (response.status(), login) {
            (StatusCode::UNAUTHORIZED, None) => Err(login_missing(repository)),
            (status @ StatusCode::UNAUTHORIZED, Some(_)) => {
                Err(login_rejected(repository, &repository.registry, status))
            }
            _ => {
                self.keep(repository, authorization);
                Ok(response)
            }
        }
    }

    async fn follow(
        &self,
        repository: &RepositoryName,
        url: &Url,
        headers: &HeaderMap,
        authorization: Option<HeaderValue>,
    ) -> Result<HttpResponse, RegistryError> {
        let registry = &repository.registry;
        let redirect = || RegistryError::Redirect { registry: registry.clone() };
        let mut at = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut headers = headers.clone();
            let is_home = at.origin() == url.origin();
            if let Some(authorization) = authorization.as_ref().filter(|_| is_home) {
                headers.insert(AUTHORIZATION, authorization.clone());
            }
            let response = self.send(registry, Method::GET, &at, headers, Bytes::new()).await?;
            match response.status() {
                // Storage that wants a login of its own is no challenge of the registry's.
                status @ StatusCode::UNAUTHORIZED if !is_home => {
                    let what = "what it redirects to".to_owned();
                    return Err(RegistryError::Refused { registry: registry.clone(), status, what });
                }
                status if !status.is_redirection() || status == StatusCode::NOT_MODIFIED => {
                    return Ok(response);
                }
                _ => {}
            }
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            at = at.join(location.ok_or_else(redirect)?).map_err(|_| redirect())?;
            let is_plain = at.scheme() == "http" && self.settings.is_plain(registry);
            if at.scheme() != "https" && !is_plain {
                return Err(redirect());
            }
        }
        Err(redirect())
    }

    async fn send(
        &self,
        registry: &str,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<HttpResponse, RegistryError> {
        let registry = registry.to_owned();
        let mut request = HttpRequest::new(body);
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        let mut plain = url.clone();
        let _ = (plain.set_username(""), plain.set_password(None));
        *request.uri_mut() =
            plain.as_str().parse().map_err(|_| RegistryError::Redirect { registry: registry.clone() })?;
        match tokio::time::timeout(HEAD_TIMEOUT, self.transport.clone().oneshot(request)).await {
            Err(_) => Err(RegistryError::TimedOut { registry, seconds: HEAD_TIMEOUT.as_secs() }),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(fault)) => Err(match fault.kind {
                TransportErrorKind::Certificate => RegistryError::Certificate { registry, fault },
                TransportErrorKind::NotTls => RegistryError::NotTls { registry },
                _ => RegistryError::Unreachable { registry, fault },
            }),
        }
    }

    /// Read anew each time, so that a changed file applies immediately.
    fn login(&self, repository: &RepositoryName) -> Result<Option<Login>, RegistryError> {
        let Some(path) = &self.settings.auth_file else { return Ok(None) };
        let logins = read_logins(path)?;
        Ok(logins.of(&repository.registry, &repository.name).cloned())
    }

    async fn authorize(
        &self,
        repository: &RepositoryName,
        challenge: &AuthChallenge,
        login: Option<&Login>,
    ) -> Result<HeaderValue, RegistryError> {
        let registry = || repository.registry.clone();
        match (challenge, login) {
            (_, Some(Login::Elsewhere)) => Err(RegistryError::LoginElsewhere { registry: registry() }),
            (_, Some(Login::Token(token))) => Ok(secret_header("Bearer", token.expose())),
            (AuthChallenge::Basic, Some(Login::Account { user, password })) => Ok(basic(user, password)),
            (AuthChallenge::Basic, Some(Login::Identity(_))) => {
                Err(RegistryError::LoginUnsuited { registry: registry() })
            }
            (AuthChallenge::Basic, None) => Err(login_missing(repository)),
            (AuthChallenge::Bearer { realm, service }, login) => {
                self.settings.may_make_tokens(&repository.registry, realm)?;
                let request = TokenRequest { realm, service: service.as_deref(), login };
                self.token(repository, &request).await
            }
        }
    }

    async fn token(
        &self,
        repository: &RepositoryName,
        request: &TokenRequest<'_>,
    ) -> Result<HeaderValue, RegistryError> {
        let (method, url, headers, body) = request.made_for(repository);
        let response = self.send(&repository.registry, method, &url, headers, body).await?;
        let (registry, status) = (repository.registry.clone(), response.status());
        let host = authority(request.realm);
        match (status, request.login) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST, Some(_)) => {
                return Err(login_rejected(repository, &format!("the token server {host}"), status));
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => {
                return Err(login_missing(repository));
            }
            (status, _) if status.is_server_error() => {
                return Err(RegistryError::Failed { registry, status });
            }
            _ => {}
        }
        let answer = match status.is_success() {
            true => read_at_most(response, ANSWER_BYTES_MAX).await,
            false => None,
        };
        let answer: Option<Value> = answer.and_then(|answer| serde_json::from_slice(&answer).ok());
        let token = answer.as_ref().and_then(|answer| {
            ["token", "access_token"]
                .iter()
                .find_map(|key| answer.get(key)?.as_str().filter(|token| !token.is_empty()))
        });
        let is_plain = |token: &&str| token.bytes().all(|byte| byte.is_ascii_graphic());
        match token.filter(is_plain) {
            Some(token) => Ok(secret_header("Bearer", token)),
            None => Err(RegistryError::Token { registry, host, status }),
        }
    }

    fn kept(&self, repository: &RepositoryName) -> Option<HeaderValue> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(repository).cloned()
    }

    fn keep(&self, repository: &RepositoryName, authorization: HeaderValue) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(repository.clone(), authorization);
    }
}

/// What a token server is asked.
struct TokenRequest<'a> {
    realm: &'a Url,
    service: Option<&'a str>,
    login: Option<&'a Login>,
}

impl TokenRequest<'_> {
    fn made_for(&self, repository: &RepositoryName) -> (Method, Url, HeaderMap, Bytes) {
        // The scope that the challenge asks for is not used: pulling is all that happens here.
        let scope = format!("repository:{}:pull", repository.name);
        let service = self.service.map(|service| ("service", service));
        let fields = service.into_iter().chain([("scope", scope.as_str())]);
        let (mut url, mut headers) = (self.realm.clone(), HeaderMap::new());
        if let Some(Login::Identity(identity)) = self.login {
            let fields = fields.chain([
                ("grant_type", "refresh_token"),
                ("client_id", "shoal"),
                ("refresh_token", identity.expose()),
            ]);
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            return (Method::POST, url, headers, body.into());
        }
        url.query_pairs_mut().extend_pairs(fields);
        if let Some(Login::Account { user, password }) = self.login {
            headers.insert(AUTHORIZATION, basic(user, password));
        }
        (Method::GET, url, headers, Bytes::new())
    }
}

pub fn read_logins(path: &std::path::Path) -> Result<Logins, RegistryError> {
    use std::io::Read as _;
    let shown = || path.display().to_string();
    let unreadable = |fault| RegistryError::LoginsUnreadable { path: shown(), fault };
    // A pipe would keep its reader waiting.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file");
        return Err(unreadable(source));
    }
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(LOGINS_BYTES_MAX).read_to_end(&mut text).map_err(unreadable)?;
    Logins::parse(&text).map_err(|source| RegistryError::Logins { path: shown(), source })
}

/// A body that is no longer than that, within the time for a head.
pub async fn read_at_most(response: HttpResponse, bytes_max: usize) -> Option<Bytes> {
    let read = async {
        let (mut body, mut bytes) = (response.into_body(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            bytes.extend_from_slice(&frame.ok()?.into_data().unwrap_or_default());
            if bytes.len() > bytes_max {
                return None;
            }
        }
        Some(bytes.freeze())
    };
    tokio::time::timeout(HEAD_TIMEOUT, read).await.ok()?
}

fn login_missing(repository: &RepositoryName) -> RegistryError {
    let RepositoryName { registry, name } = repository.clone();
    RegistryError::LoginMissing { registry, repository: name }
}

fn login_rejected(repository: &RepositoryName, by: &str, status: StatusCode) -> RegistryError {
    RegistryError::LoginRejected { registry: repository.registry.clone(), by: by.to_owned(), status }
}

fn basic(user: &str, password: &Password) -> HeaderValue {
    secret_header("Basic", &STANDARD.encode(format!("{user}:{}", password.expose())))
}

/// A token with control characters is sent as none, and rejected.
fn secret_header(scheme: &str, secret: &str) -> HeaderValue {
    let value = HeaderValue::from_str(&format!("{scheme} {secret}"));
    let mut value = value.unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
    value.set_sensitive(true);
    value
}

fn authority(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or_default())
}
