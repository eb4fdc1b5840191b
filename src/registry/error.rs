//! Why an image in a registry cannot be had, each with what to do about it.
//!
//! Invariant: no message holds a login, a token, or a query of a URL.

use http::StatusCode;
use shoal_base::world::TransportError;

use super::logins::LoginsError;
use super::manifest::ManifestFault;

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(
        "registry {registry} cannot be reached ({fault}): check its name and port, and that this controller may connect to it"
    )]
    Unreachable { registry: String, fault: TransportError },
    #[error(
        "the certificate of registry {registry} is not trusted ({fault}): add its authority with CA_FILE, or correct the name"
    )]
    Certificate { registry: String, fault: TransportError },
    #[error(
        "registry {registry} does not answer HTTPS: if it serves plain HTTP only, add it to REGISTRY_PLAIN_HTTP"
    )]
    NotTls { registry: String },
    #[error("registry {registry} did not answer within {seconds} s: look at the registry, and submit again")]
    TimedOut { registry: String, seconds: u64 },
    #[error("registry {registry} requires a login for {repository} (401): add it to REGISTRY_AUTH_FILE")]
    LoginMissing { registry: String, repository: String },
    #[error(
        "{by} rejects the login that REGISTRY_AUTH_FILE has for registry {registry} ({status}): correct it"
    )]
    LoginRejected { registry: String, by: String, status: StatusCode },
    #[error(
        "registry {registry} denies access to {repository} (403): the login in REGISTRY_AUTH_FILE needs the right to pull it"
    )]
    Denied { registry: String, repository: String },
    #[error("registry {registry} has no repository {repository} (404): correct the reference")]
    NoRepository { registry: String, repository: String },
    #[error("registry {registry} has no {what} in {repository} (404): correct the reference")]
    NotFound { registry: String, repository: String, what: String },
    #[error("registry {registry} answers {status}: look at the registry, and submit again")]
    Failed { registry: String, status: StatusCode },
    #[error("registry {registry} answers {status} to a request for {what}")]
    Refused { registry: String, status: StatusCode, what: String },
    #[error("registry {registry} asks for a login in a form that is not supported: Basic and Bearer are")]
    Challenge { registry: String },
    #[error(
        "registry {registry} has its tokens made by {host}, to which no login is sent: if that is right, add it to REGISTRY_TOKEN_HOSTS"
    )]
    TokenHost { registry: String, host: String },
    #[error("registry {registry} has its tokens made by {host} over plain HTTP, to which no login is sent")]
    TokenPlain { registry: String, host: String },
    #[error("the token server {host} of registry {registry} answers {status}, not a token")]
    Token { registry: String, host: String, status: StatusCode },
    #[error(
        "the logins in {path} (REGISTRY_AUTH_FILE) cannot be read ({fault}): check that the file exists and that this user may read it"
    )]
    LoginsUnreadable { path: String, fault: std::io::Error },
    #[error("the file of logins {path} (REGISTRY_AUTH_FILE) {source}")]
    Logins { path: String, source: LoginsError },
    #[error(
        "the login for registry {registry} is in a credential helper, which the controller does not run: put it into REGISTRY_AUTH_FILE itself, for example with podman login --authfile"
    )]
    LoginElsewhere { registry: String },
    #[error(
        "the login for registry {registry} in REGISTRY_AUTH_FILE is a token, which the token server does not take: give a user and a password"
    )]
    LoginUnsuited { registry: String },
    #[error("registry {registry} redirects to plain HTTP, or too often")]
    Redirect { registry: String },
    #[error("the manifest of {name} has more than {bytes_max} bytes")]
    TooLarge { name: String, bytes_max: usize },
    #[error("the connection to registry {registry} broke within the manifest of {name}: submit again")]
    Broken { registry: String, name: String },
    #[error(
        "the manifest that registry {registry} returned for {name} has the digest sha256:{found}, not sha256:{expected}: look at the registry"
    )]
    WrongDigest { registry: String, name: String, expected: String, found: String },
    #[error("{name} {fault}")]
    Manifest { name: String, fault: ManifestFault },
    #[error("registry {registry} returned another part of layer {layer} than was asked for")]
    WrongPart { registry: String, layer: String },
}
