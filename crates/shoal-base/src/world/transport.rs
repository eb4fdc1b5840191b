//! Outbound HTTP as a boxed tower service, and the one real implementation of it.
//!
//! A caller puts a [`TlsPolicy`] into the request's extensions where the peer is a BMC; without one
//! the certificate is verified against the system's roots. Redirects are never followed: a caller that
//! may follow one decides so for itself. Invariant: a response body is a stream with no limit of
//! its own, so every reader sets its limit.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum_core::body::Body;
use bytes::Bytes;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedProtocolVersion, WantsVerifier,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::upload::StreamedBody;

pub type HttpRequest = http::Request<Bytes>;
pub type HttpResponse = http::Response<Body>;

/// Sends one request and gives the response's head; the body streams.
pub type Transport = BoxCloneSyncService<HttpRequest, HttpResponse, TransportError>;

/// SHA-256 of the leaf certificate, in DER, that the peer of an HTTPS response has shown: an
/// extension of every such response, whatever the policy. No other response has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCertificate(pub [u8; 32]);

/// In a request's extensions: this request by TLS 1.3 or not at all, to find out what a peer speaks.
#[derive(Clone, Copy, Debug)]
pub struct OnlyTls13;

/// In a request's extensions, beside [`TlsPolicy::Insecure`]: keeps the certificates that the peer shows.
///
/// Such a request has a connection of its own.
#[derive(Clone, Debug, Default)]
pub struct ShownChain(Arc<OnceLock<Vec<CertificateDer<'static>>>>);

impl ShownChain {
    /// In DER, the peer's own first; empty where no handshake came that far.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        self.0.get().map(Vec::as_slice).unwrap_or_default()
    }

    fn keep(&self, leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>]) {
        let all = std::iter::once(leaf).chain(others);
        self.0.get_or_init(|| all.map(|certificate| certificate.clone().into_owned()).collect());
    }
}

/// How the certificate of an HTTPS peer is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum TlsPolicy {
    /// Chain and name, against the system's roots and those of `CA_FILE`.
    #[default]
    Verify,
    /// The leaf certificate's SHA-256 and nothing else.
    Pin([u8; 32]),
    /// Any certificate: encryption without identity.
    Insecure,
    /// Plain HTTP, allowed off loopback by an explicit word only.
    None,
}

impl fmt::Display for TlsPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsPolicy::Verify => f.write_str("verify"),
            TlsPolicy::Pin(sha256) => write!(f, "pin:{}", crate::hex(sha256)),
            TlsPolicy::Insecure => f.write_str("insecure"),
            TlsPolicy::None => f.write_str("none"),
        }
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a TLS policy: say verify, insecure, none, or pin: and 64 hex digits")]
pub struct TlsPolicyError(String);

impl FromStr for TlsPolicy {
    type Err = TlsPolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || TlsPolicyError(text.to_owned());
        match text {
            "verify" => Ok(TlsPolicy::Verify),
            "insecure" => Ok(TlsPolicy::Insecure),
            "none" => Ok(TlsPolicy::None),
            _ => {
                // Tools show fingerprints in either case, with or without colons.
                let digits =
                    text.strip_prefix("pin:").ok_or_else(wrong)?.replace(':', "").to_ascii_lowercase();
                let bytes = crate::unhex(&digits).ok_or_else(wrong)?;
                Ok(TlsPolicy::Pin(bytes.try_into().map_err(|_| wrong())?))
            }
        }
    }
}

impl From<TlsPolicy> for String {
    fn from(policy: TlsPolicy) -> String {
        policy.to_string()
    }
}

impl TryFrom<String> for TlsPolicy {
    type Error = TlsPolicyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Why no response came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
pub struct TransportError {
    pub kind: TransportErrorKind,
    /// What the system or the peer says, without the layers of libraries above it.
    pub reason: Option<String>,
}

impl TransportError {
    pub fn new(kind: TransportErrorKind) -> TransportError {
        TransportError { kind, reason: None }
    }
}

/// What an operator does next depends on this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportErrorKind {
    /// No connection was made, so the request had no effect.
    #[error("cannot connect")]
    Connect,
    /// The peer's certificate was refused, so the request had no effect.
    #[error("the TLS certificate is not trusted")]
    Certificate,
    /// The peer of an `https` URL answers something else than TLS, so the request had no effect.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// The connection broke; the request may have had its effect.
    #[error("the connection broke before an answer came")]
    Broken,
}

/// The real transport: HTTP/1.1 over TCP, and TLS 1.2 or 1.3 by rustls.
///
/// `extra_roots` are trusted beside the system's (`CA_FILE`).
pub fn real_transport(extra_roots: &[CertificateDer<'static>]) -> Transport {
    pooled_transport(extra_roots, 1)
}

/// As [`real_transport`], for callers with several parallel requests to a peer: at most
/// `idle_max` connections to each are kept open between requests.
pub fn pooled_transport(extra_roots: &[CertificateDer<'static>], idle_max: usize) -> Transport {
    let roots = Arc::new(root_store(extra_roots));
    let clients = Arc::new(Clients { roots, idle_max, made: Mutex::default() });
    let service = tower::service_fn(move |request: HttpRequest| {
        let clients = clients.clone();
        async move { clients.send(request).await }
    });
    BoxCloneSyncService::new(service)
}

/// The system's trusted roots and `extra`.
pub fn root_store(extra: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(extra.iter().cloned());
    roots
}

/// One client a policy (and one for [`OnlyTls13`]), made when first needed and then shared.
struct Clients {
    roots: Arc<RootCertStore>,
    /// Idle connections kept for each peer.
    idle_max: usize,
    made: Mutex<BTreeMap<(String, bool), reqwest::Client>>,
}

impl Clients {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let policy = request.extensions().get::<TlsPolicy>().cloned().unwrap_or_default();
        let client = match request.extensions().get::<ShownChain>() {
            Some(shown) => self.make(leaf_config(rustls::DEFAULT_VERSIONS, None, Some(shown.clone())))?,
            None => self.client(&policy, request.extensions().get::<OnlyTls13>().is_some())?,
        };
        let streamed = request.extensions().get::<StreamedBody>().and_then(StreamedBody::take);
        let request = request.map(|body| streamed.map_or_else(|| body.into(), reqwest::Body::wrap));
        let request = reqwest::Request::try_from(request).map_err(classify)?;
        let response = client.oneshot(request).await.map_err(classify)?;
        Ok(with_certificate(http::Response::from(response).map(Body::new)))
    }

    fn client(&self, policy: &TlsPolicy, only_13: bool) -> Result<reqwest::Client, TransportError> {
        let mut made = self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let key = (policy.to_string(), only_13);
        if let Some(client) = made.get(&key) {
            return Ok(client.clone());
        }
        let versions = if only_13 { &[&rustls::version::TLS13][..] } else { rustls::DEFAULT_VERSIONS };
        let client = self.make(tls_config(policy, self.roots.clone(), versions))?;
        made.insert(key, client.clone());
        Ok(client)
    }

    fn make(&self, tls: ClientConfig) -> Result<reqwest::Client, TransportError> {
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .tls_info(true)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .connect_timeout(Duration::from_secs(10))
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_max_idle_per_host(self.idle_max)
            .build()
            .map_err(classify)
    }
}

/// The response with the peer's certificate, where it came by HTTPS, among its extensions.
fn with_certificate(mut response: HttpResponse) -> HttpResponse {
    let shown = response.extensions_mut().remove::<reqwest::tls::TlsInfo>();
    if let Some(leaf) = shown.as_ref().and_then(reqwest::tls::TlsInfo::peer_certificate) {
        response.extensions_mut().insert(PeerCertificate(Sha256::digest(leaf).into()));
    }
    response
}

fn tls_config(
    policy: &TlsPolicy,
    roots: Arc<RootCertStore>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    match policy {
        TlsPolicy::Verify => {
            let (builder, _) = config_builder(versions);
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        TlsPolicy::Pin(sha256) => leaf_config(versions, Some(*sha256), None),
        TlsPolicy::Insecure | TlsPolicy::None => leaf_config(versions, None, None),
    }
}

fn leaf_config(
    versions: &[&'static SupportedProtocolVersion],
    pin: Option<[u8; 32]>,
    shown: Option<ShownChain>,
) -> ClientConfig {
    let (builder, provider) = config_builder(versions);
    let verifier = Arc::new(LeafVerifier { pin, shown, provider });
    builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
}

fn config_builder(
    versions: &[&'static SupportedProtocolVersion],
) -> (ConfigBuilder<ClientConfig, WantsVerifier>, Arc<CryptoProvider>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .expect("ring offers TLS 1.2 and 1.3");
    (builder, provider)
}

fn classify(error: reqwest::Error) -> TransportError {
    let tls = tls_error(&error).cloned();
    let kind = if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
        TransportErrorKind::Certificate
    } else if matches!(tls, Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType))) {
        TransportErrorKind::NotTls
    } else if error.is_connect() || error.is_builder() {
        TransportErrorKind::Connect
    } else {
        TransportErrorKind::Broken
    };
    let reason = match &tls {
        // The crate rustls shows what a verifier of ours says by its debug text.
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(said))) => said.0.to_string(),
        _ => crate::root_cause(&error.without_url()),
    };
    TransportError { kind, reason: Some(reason) }
}

fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = innermost(error).downcast_ref::<rustls::Error>() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

/// What I/O errors are wrapped around, which is not their source: hyper-rustls wraps one that
/// tokio-rustls has wrapped already.
fn innermost<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut error = error;
    while let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        error = inner;
    }
    error
}

/// The peer showed another certificate than the pinned one.
#[derive(Debug, thiserror::Error)]
#[error("the certificate has the SHA-256 {found}, which is not the pinned one")]
pub struct PinError {
    pub found: String,
}

/// Accepts the pinned leaf, or, without a pin, any. Signatures are checked all the same, so that
/// the peer proves that it holds the key.
#[derive(Debug)]
struct LeafVerifier {
    pin: Option<[u8; 32]>,
    shown: Option<ShownChain>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for LeafVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(shown) = &self.shown {
            shown.keep(leaf, intermediates);
        }
        let found: [u8; 32] = Sha256::digest(leaf).into();
        match self.pin {
            Some(pin) if pin != found => {
                let other = PinError { found: crate::hex(&found) };
                Err(rustls::CertificateError::Other(rustls::OtherError(Arc::new(other))).into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_read_back_as_written() {
        let pin = format!("pin:{}", "ab".repeat(32));
        for text in ["verify", "insecure", "none", pin.as_str()] {
            assert_eq!(text.parse::<TlsPolicy>().unwrap().to_string(), text);
        }
        let shown_by_tools = format!("pin:{}AB", "AB:".repeat(31));
        assert_eq!(shown_by_tools.parse::<TlsPolicy>().unwrap().to_string(), pin);
        for text in ["", "off", "pin:", "pin:abcd"] {
            assert!(text.parse::<TlsPolicy>().is_err(), "{text}");
        }
    }
}
