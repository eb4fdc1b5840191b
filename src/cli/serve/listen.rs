//! The listeners: the API's, and media's where that has its own; with TLS, reloaded on change.
//!
//! The only place of a controller that opens one. Invariant: a certificate that does not load
//! changes nothing; the one before stays.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::ServiceExt;
use axum::extract::Request;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use shoal_base::with_causes;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::connections::{Connections, SeatAcceptor};
use crate::config::{ListenSettings, TlsFiles};
use crate::media::MediaFirst;

const RELOAD_EVERY: Duration = Duration::from_secs(10);
/// Some BMCs take their time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two requests of a connection, the head of the second included. Common servers wait for 5 to
/// 75 seconds, so BMCs know how to come again.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// What one connection may keep here, a request's head among it.
const BUFFER_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {addr} ({setting})")]
    Bind {
        setting: &'static str,
        addr: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("cannot read {} ({setting})", .path.display())]
    Read {
        setting: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("TLS_CERT_FILE or TLS_KEY_FILE is not valid PEM")]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error("TLS_CERT_FILE and TLS_KEY_FILE do not make a TLS server")]
    Tls(#[from] rustls::Error),
}

/// Called with a peer whose connection failed, and why.
pub type OnRefused = Arc<dyn Fn(IpAddr, &str) + Send + Sync>;

/// Bound sockets on which nothing is served yet.
pub struct Bound {
    api: Listening,
    media: Option<Listening>,
    certificate: Option<Certificate>,
}

struct Listening {
    listener: TcpListener,
    addr: SocketAddr,
    tls: Option<RustlsConfig>,
}

pub async fn bind(settings: &ListenSettings) -> Result<Bound, ListenError> {
    let certificate = match &settings.tls {
        Some(files) => Some(Certificate::load(files).await?),
        None => None,
    };
    let tls = certificate.as_ref().map(|certificate| certificate.config.clone());
    let media_tls = settings.media.filter(|media| media.tls).and(tls.clone());
    let api = listening("CONTROLLER_HTTP_ADDR", settings.addr, tls)?;
    let media = settings.media.map(|media| listening("MEDIA_ADDR", media.addr, media_tls));
    Ok(Bound { api, media: media.transpose()?, certificate })
}

fn listening(
    setting: &'static str,
    addr: SocketAddr,
    tls: Option<RustlsConfig>,
) -> Result<Listening, ListenError> {
    let bound = TcpListener::bind(addr).and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (addr, listener) = bound.map_err(|source| ListenError::Bind { setting, addr, source })?;
    Ok(Listening { listener, addr, tls })
}

impl Bound {
    pub fn url(&self) -> Url {
        self.api.url()
    }

    /// Where media are served to BMCs; its host may be the wildcard.
    pub fn media_url(&self) -> Url {
        self.media.as_ref().unwrap_or(&self.api).url()
    }

    pub fn is_loopback(&self) -> bool {
        self.api.addr.ip().is_loopback()
    }

    /// Serves from now on. `broken` is cancelled if a server ends unasked; `refused`
    /// is called with peers whose connections failed.
    pub fn serve(
        self,
        api: MediaFirst,
        media: MediaFirst,
        refused: &OnRefused,
        broken: &CancellationToken,
    ) -> Vec<Serving> {
        if let Some(certificate) = self.certificate {
            tokio::spawn(certificate.keep_reloading());
        }
        let start = |listening, service| Serving::start(listening, service, refused.clone(), broken.clone());
        let mut servers = vec![start(self.api, api)];
        servers.extend(self.media.map(|listening| start(listening, media)));
        servers
    }
}

impl Listening {
    fn url(&self) -> Url {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr).parse().expect("an address is the authority of a URL")
    }
}

/// One listener and what it serves.
pub struct Serving {
    handle: axum_server::Handle<SocketAddr>,
    task: JoinHandle<()>,
}

impl Serving {
    fn start(
        listening: Listening,
        service: MediaFirst,
        refused: OnRefused,
        broken: CancellationToken,
    ) -> Serving {
        let handle = axum_server::Handle::new();
        let (served, addr) = (handle.clone(), listening.addr);
        let task = tokio::spawn(async move {
            match serve(listening.listener, listening.tls, service, refused, served).await {
                Ok(()) => {}
                Err(error) => {
                    tracing::error!(%addr, %error, "a listener broke");
                    broken.cancel();
                }
            }
        });
        Serving { handle, task }
    }

    /// Takes no more connections, and gives requests in flight so long to end.
    pub async fn stop(self, within: Duration) {
        self.handle.graceful_shutdown(Some(within));
        let abort = self.task.abort_handle();
        if tokio::time::timeout(within + Duration::from_secs(1), self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// Until the handle's shutdown.
pub async fn serve(
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    service: MediaFirst,
    refused: OnRefused,
    handle: axum_server::Handle<SocketAddr>,
) -> io::Result<()> {
    let service = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(service);
    let acceptor = SeatAcceptor::default();
    let mut server = axum_server::from_tcp(listener)?
        .http1_only()
        .handle(handle)
        .first_request_timeout(FIRST_REQUEST_TIMEOUT)
        .accept_error_handler(move |peer, error| {
            // A BMC that does not trust our certificate is seen here and nowhere else.
            if Connections::is_refusal(error) {
                return tracing::debug!(?peer, %error, "a connection was refused");
            }
            tracing::info!(?peer, %error, "a connection was not accepted");
            if let Some(peer) = peer {
                refused(peer.ip(), &error.to_string());
            }
        });
    let mut http = server.http_builder().http1();
    http.header_read_timeout(IDLE_TIMEOUT).max_buf_size(BUFFER_BYTES_MAX);
    match tls {
        None => server.acceptor(acceptor).serve(service).await,
        Some(config) => {
            let tls = RustlsAcceptor::new(config).handshake_timeout(HANDSHAKE_TIMEOUT);
            server.acceptor(tls.acceptor(acceptor)).serve(service).await
        }
    }
}

/// The certificate in use and the files it came from.
pub(super) struct Certificate {
    files: TlsFiles,
    loaded: Pem,
    config: RustlsConfig,
}

/// Chain and key, as text.
#[derive(Clone, PartialEq, Eq)]
struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Certificate {
    pub(super) async fn load(files: &TlsFiles) -> Result<Certificate, ListenError> {
        let loaded = read(files).await?;
        let config = RustlsConfig::from_config(tls_server(&loaded)?);
        Ok(Certificate { files: files.clone(), loaded, config })
    }

    /// Compares contents and not times: a file may be replaced by an older one.
    async fn keep_reloading(mut self) {
        loop {
            tokio::time::sleep(RELOAD_EVERY).await;
            if let Err(error) = self.reload().await {
                tracing::warn!(error = %with_causes(&error), "the new certificate does not load; the old one stays");
            }
        }
    }

    async fn reload(&mut self) -> Result<(), ListenError> {
        let found = read(&self.files).await?;
        if found == self.loaded {
            return Ok(());
        }
        self.config.reload_from_config(tls_server(&found)?);
        self.loaded = found;
        tracing::info!("the certificate was reloaded");
        Ok(())
    }
}

/// What is offered by ALPN is what is served: a client that was offered `h2` would speak it.
fn tls_server(pem: &Pem) -> Result<Arc<ServerConfig>, ListenError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem.cert).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(&pem.key)?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    Ok(Arc::new(config))
}

async fn read(files: &TlsFiles) -> Result<Pem, ListenError> {
    Ok(Pem {
        cert: read_file("TLS_CERT_FILE", &files.cert).await?,
        key: read_file("TLS_KEY_FILE", &files.key).await?,
    })
}

async fn read_file(setting: &'static str, path: &Path) -> Result<Vec<u8>, ListenError> {
    let unreadable = |source| ListenError::Read { setting, path: path.to_owned(), source };
    tokio::fs::read(path).await.map_err(unreadable)
}

#[cfg(test)]
mod tests;
