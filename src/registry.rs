//! Images in OCI registries: what a reference stands for, and the bytes of its one layer.
//!
//! It pulls, and of each image one layer; it neither pushes nor keeps anything. A tag is resolved once, when a job is
//! submitted; from then on the layer's digest says which bytes are meant, and the host compares them. Invariants: a
//! manifest is read only once it has the digest that was asked for, and everything that a registry sends is bounded.
//!
//! - `manifest`: which layer is the disk's image; `challenge`, `logins`: how a registry wants to be asked.
//! - `client`: one request; `layer`: the bytes, as the media server reads them.

mod challenge;
mod client;
mod error;
mod layer;
mod logins;
mod manifest;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::Digest as _;
use shoal_base::world::{HttpResponse, Transport};
use shoal_recipe::{OciReference, OciVersion, Sha256};
use url::Url;

use crate::domain::RegistryImage;
use crate::media::HostImage;
use client::{RegistryClient, read_at_most, read_logins};
use layer::LayerSource;
use manifest::ManifestDocument;

pub use error::RegistryError;
pub use logins::LoginsError;
pub use manifest::ManifestFault;

/// What the specification asks registries to accept at least.
const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// For all requests that resolve a reference: a client waits for the answer.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(45);

const DOCKER_HUB: &str = "docker.io";
/// Where Docker's registry answers.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// Which registries are asked how.
#[derive(Clone, Debug, Default)]
pub struct RegistrySettings {
    /// Logins, in the format of docker's `config.json`.
    pub auth_file: Option<PathBuf>,
    /// `host[:port]` of registries without TLS.
    pub plain_http: BTreeSet<String>,
    /// `host[:port]` of token servers other than a registry itself that may be sent its login.
    pub token_hosts: BTreeSet<String>,
}

/// One repository of one registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RepositoryName {
    /// `host[:port]`, lower case.
    registry: String,
    name: String,
}

impl RegistrySettings {
    /// What is wrong with the file of logins as it is now, if there is one.
    pub fn check(&self) -> Result<(), RegistryError> {
        self.auth_file.as_deref().map_or(Ok(()), |path| read_logins(path).map(|_| ()))
    }

    fn is_plain(&self, registry: &str) -> bool {
        self.plain_http.contains(registry)
    }

    /// Where a reference leads, as `IMAGES_ALLOW` judges it: scheme, host and repository, without `/v2/`.
    pub fn place(&self, reference: &OciReference) -> Option<Url> {
        let registry = reference.registry.to_ascii_lowercase();
        let scheme = if self.is_plain(&registry) { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{registry}/{}", reference.repository)).ok()
    }

    fn url(&self, repository: &RepositoryName, path: &str) -> Url {
        let RepositoryName { registry, name } = repository;
        let scheme = if self.is_plain(registry) { "http" } else { "https" };
        let host = if registry == DOCKER_HUB { DOCKER_HUB_HOST } else { registry };
        let url = Url::parse(&format!("{scheme}://{host}/v2/{name}/{path}"));
        url.expect("a reference has a host, and names without special characters")
    }

    /// A token server is sent logins if it is the registry's own host, on any port, or if the settings name it, and by
    /// HTTPS, unless the registry itself has none. Others are not even asked.
    fn may_make_tokens(&self, registry: &str, realm: &Url) -> Result<(), RegistryError> {
        let host = realm.host_str().unwrap_or_default().to_ascii_lowercase();
        let with_port = realm.port().map(|port| format!("{host}:{port}"));
        let shown = with_port.clone().unwrap_or_else(|| host.clone());
        let own = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
        let is_named = self.token_hosts.contains(&shown);
        if !(host == own || is_named) {
            return Err(RegistryError::TokenHost { registry: registry.to_owned(), host: shown });
        }
        match realm.scheme() {
            "https" => Ok(()),
            "http" if self.is_plain(registry) => Ok(()),
            _ => Err(RegistryError::TokenPlain { registry: registry.to_owned(), host: shown }),
        }
    }
}

/// The registries that recipes may name. Clones share their tokens.
#[derive(Clone)]
pub struct Registries(RegistryClient);

/// A manifest with the digest that it was found to have.
struct FetchedManifest {
    bytes: bytes::Bytes,
    digest: Sha256,
    content_type: String,
}

/// Which image a recipe needs.
#[derive(Clone, Copy, Debug)]
pub struct WantedImage<'a> {
    /// As `linux/amd64`; chooses from an index.
    pub platform: &'a str,
    /// A root file system as a tar archive, and not the image of a disk.
    pub is_archive: bool,
}

impl Registries {
    pub fn new(transport: Transport, settings: RegistrySettings) -> Registries {
        Registries(RegistryClient::new(transport, settings))
    }

    pub fn settings(&self) -> &RegistrySettings {
        &self.0.settings
    }

    /// What a reference stands for now.
    pub async fn resolve(
        &self,
        reference: &OciReference,
        wanted: WantedImage<'_>,
    ) -> Result<RegistryImage, RegistryError> {
        let resolved = tokio::time::timeout(RESOLVE_TIMEOUT, self.resolve_patiently(reference, wanted)).await;
        resolved.unwrap_or_else(|_| {
            let registry = reference.registry.to_ascii_lowercase();
            Err(RegistryError::TimedOut { registry, seconds: RESOLVE_TIMEOUT.as_secs() })
        })
    }

    async fn resolve_patiently(
        &self,
        reference: &OciReference,
        wanted: WantedImage<'_>,
    ) -> Result<RegistryImage, RegistryError> {
        let repository = RepositoryName {
            registry: reference.registry.to_ascii_lowercase(),
            name: reference.repository.clone(),
        };
        let (version, expected) = match &reference.version {
            OciVersion::Tag(tag) => (tag.clone(), None),
            OciVersion::Digest(digest) => (format!("sha256:{digest}"), Some(*digest)),
        };
        let first = self.manifest(&repository, &version, expected).await?;
        let faulty = |fault| RegistryError::Manifest { name: reference.to_string(), fault };
        let read = |manifest: &FetchedManifest| {
            ManifestDocument::read(&manifest.bytes, &manifest.content_type, wanted.is_archive)
        };
        let layer = match read(&first).map_err(faulty)? {
            ManifestDocument::Image(layer) => layer,
            ManifestDocument::Index(entries) => {
                let chosen = manifest::choose(&entries, wanted.platform).map_err(faulty)?;
                let second = self.manifest(&repository, &format!("sha256:{chosen}"), Some(chosen)).await?;
                match read(&second).map_err(faulty)? {
                    ManifestDocument::Image(layer) => layer,
                    ManifestDocument::Index(_) => {
                        let what = "an index within an index".to_owned();
                        return Err(faulty(ManifestFault::NotAManifest { what }));
                    }
                }
            }
        };
        Ok(RegistryImage {
            registry: repository.registry,
            repository: repository.name,
            digest: first.digest.to_string(),
            layer_sha256: layer.digest.to_string(),
            size: layer.size,
            media_type: layer.media_type,
        })
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        version: &str,
        expected: Option<Sha256>,
    ) -> Result<FetchedManifest, RegistryError> {
        let headers: HeaderMap =
            [(ACCEPT, HeaderValue::from_static(manifest::ACCEPTED))].into_iter().collect();
        let response = self.0.get(repository, &format!("manifests/{version}"), &headers).await?;
        if response.status() != StatusCode::OK {
            let what = if expected.is_some() { "manifest" } else { "tag" };
            return Err(refused(repository, &format!("{what} {version}"), response).await);
        }
        let (content_type, announced, length) = described(response.headers());
        let (registry, name) = (repository.registry.clone(), repository.shown(version));
        if length.is_some_and(|length| length > MANIFEST_BYTES_MAX) {
            return Err(RegistryError::TooLarge { name, bytes_max: MANIFEST_BYTES_MAX });
        }
        let Some(bytes) = read_at_most(response, MANIFEST_BYTES_MAX).await else {
            return Err(match length {
                Some(_) => RegistryError::Broken { registry, name },
                None => RegistryError::TooLarge { name, bytes_max: MANIFEST_BYTES_MAX },
            });
        };
        let digest = Sha256(sha2::Sha256::digest(&bytes).into());
        match expected.or(announced).filter(|expected| *expected != digest) {
            Some(expected) => Err(RegistryError::WrongDigest {
                registry,
                name,
                expected: expected.to_string(),
                found: digest.to_string(),
            }),
            None => Ok(FetchedManifest { bytes, digest, content_type }),
        }
    }

    /// The layer's bytes, to be served to a host.
    pub fn host_image(&self, image: &RegistryImage) -> HostImage {
        HostImage {
            size: image.size,
            sha256: image.layer_sha256.clone(),
            source: Arc::new(LayerSource { client: self.0.clone(), image: image.clone() }),
        }
    }
}

impl RepositoryName {
    fn shown(&self, version: &str) -> String {
        let by = if version.starts_with("sha256:") { '@' } else { ':' };
        format!("{}/{}{by}{version}", self.registry, self.name)
    }
}

/// Type, SHA-256 and length of a manifest, as far as the registry says them.
fn described(headers: &HeaderMap) -> (String, Option<Sha256>, Option<usize>) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let digest = text("docker-content-digest").and_then(|digest| digest.strip_prefix("sha256:"));
    let length = text(CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
    (text(CONTENT_TYPE.as_str()).unwrap_or_default().to_owned(), digest.and_then(Sha256::parse), length)
}

/// Why a registry gave something else than `what`.
async fn refused(repository: &RepositoryName, what: &str, response: HttpResponse) -> RegistryError {
    let RepositoryName { registry, name } = repository.clone();
    let (status, what) = (response.status(), what.to_owned());
    match status {
        StatusCode::FORBIDDEN => RegistryError::Denied { registry, repository: name },
        StatusCode::NOT_FOUND => {
            let body = read_at_most(response, 64 << 10).await.unwrap_or_default();
            match String::from_utf8_lossy(&body).contains("NAME_UNKNOWN") {
                true => RegistryError::NoRepository { registry, repository: name },
                false => RegistryError::NotFound { registry, repository: name, what },
            }
        }
        status if status.is_server_error() => RegistryError::Failed { registry, status },
        status => RegistryError::Refused { registry, status, what },
    }
}
