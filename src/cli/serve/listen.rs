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
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the new certificate does not load; the old one stays");
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
mod tests {
    use super::*;
    use axum::Router;

    fn write_pair(files: &TlsFiles) -> Vec<u8> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&files.cert, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        made.cert.pem().into_bytes()
    }

    fn serving(bound: Bound, routes: Router) -> Vec<Serving> {
        let (service, refused) =
            (MediaFirst::without_media(routes), Arc::new(|_: IpAddr, _: &str| {}) as OnRefused);
        bound.serve(service.clone(), service, &refused, &CancellationToken::new())
    }

    #[tokio::test]
    async fn a_certificate_is_reloaded_and_a_broken_one_is_not() {
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        assert!(
            Certificate::load(&files).await.is_err_and(|error| error.to_string().contains("TLS_CERT_FILE"))
        );
        write_pair(&files);
        let mut certificate = Certificate::load(&files).await.unwrap();
        let first = certificate.config.get_inner();
        certificate.reload().await.unwrap();
        assert!(std::sync::Arc::ptr_eq(&first, &certificate.config.get_inner()), "nothing has changed");
        let second = write_pair(&files);
        certificate.reload().await.unwrap();
        assert_eq!(certificate.loaded.cert, second);
        std::fs::write(&files.key, "no key").unwrap();
        assert!(certificate.reload().await.is_err());
        assert_eq!(certificate.loaded.cert, second);
    }

    /// What a peer reads until the listener closes its connection, with or without a response. Time is
    /// paused: nothing but a timeout ends the wait.
    #[expect(clippy::disallowed_methods, reason = "a peer that speaks no proper HTTP")]
    async fn answer_to(address: SocketAddr, words: &[&str]) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        for word in words {
            let _ = stream.write_all(word.as_bytes()).await;
            tokio::time::sleep(FIRST_REQUEST_TIMEOUT / 4).await;
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_takes_too_long_is_disconnected() {
        let settings = ListenSettings { addr: "127.0.0.1:0".parse().unwrap(), tls: None, media: None };
        let bound = bind(&settings).await.unwrap();
        let address = bound.api.addr;
        let routes = Router::new().route("/", axum::routing::get(|| async { "hello" }));
        let servers = serving(bound, routes);
        assert_eq!(answer_to(address, &[]).await, "");
        assert_eq!(answer_to(address, &["GET / HT"]).await, "");
        assert_eq!(answer_to(address, &["GET /", " HTTP/1.1\r\n", "a: ", "b\r\n", "c: "]).await, "");
        let request = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        let idle = answer_to(address, &[request]).await;
        assert!(idle.starts_with("HTTP/1.1 200 OK\r\n") && idle.ends_with("hello"), "{idle}");
        let half = answer_to(address, &[request, "GET / HT"]).await;
        assert_eq!(half.matches("hello").count(), 1, "{half}");
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "b".repeat(4 * BUFFER_BYTES_MAX));
        let too_long = answer_to(address, &[&head]).await;
        assert!(too_long.is_empty() || too_long.starts_with("HTTP/1.1 431 "), "{too_long}");
        for server in servers {
            server.stop(Duration::ZERO).await;
        }
    }

    /// A peer that asks for a large answer and never reads it: paused time shows that it is dropped, and when.
    #[expect(clippy::disallowed_methods, reason = "a peer that does not read")]
    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_of_an_answer_is_dropped() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let settings = ListenSettings { addr: "127.0.0.1:0".parse().unwrap(), tls: None, media: None };
        let bound = bind(&settings).await.unwrap();
        let address = bound.api.addr;
        let dropped = Arc::new(tokio::sync::Notify::new());
        let on_drop = dropped.clone();
        let endless = move || {
            let guard = NotifyOnDrop(on_drop.clone());
            let pieces = futures_util::stream::repeat_with(move || {
                let _alive = &guard;
                Ok::<_, io::Error>(bytes::Bytes::from_static(&[0; 65536]))
            });
            async move { axum::body::Body::from_stream(pieces) }
        };
        let routes = Router::new().route("/", axum::routing::get(endless));
        let servers = serving(bound, routes);
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut piece = [0; 1024];
        assert!(stream.read(&mut piece).await.unwrap() > 0, "it reads a little, and then no more");
        let begun = tokio::time::Instant::now();
        dropped.notified().await;
        assert!(begun.elapsed() >= Duration::from_secs(600), "{:?}", begun.elapsed());
        for server in servers {
            server.stop(Duration::ZERO).await;
        }
    }

    /// Notifies when it is dropped.
    struct NotifyOnDrop(Arc<tokio::sync::Notify>);

    impl Drop for NotifyOnDrop {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }

    /// A stream that goes on while the certificate changes, and a new connection that shows the new one.
    #[tokio::test]
    async fn a_new_certificate_breaks_no_connection() {
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        write_pair(&files);
        let settings =
            ListenSettings { addr: "127.0.0.1:0".parse().unwrap(), tls: Some(files.clone()), media: None };
        let mut bound = bind(&settings).await.unwrap();
        let mut certificate = bound.certificate.take().unwrap();
        let url = bound.url();
        let (send, receive) = tokio::sync::mpsc::channel::<Result<bytes::Bytes, io::Error>>(1);
        let receive = Arc::new(std::sync::Mutex::new(Some(receive)));
        let stream = move || {
            let receive = receive.lock().unwrap().take();
            let stream = receive.map(tokio_stream::wrappers::ReceiverStream::new);
            async move { stream.map_or(axum::body::Body::empty(), axum::body::Body::from_stream) }
        };
        let routes = Router::new().route("/", axum::routing::get(stream));
        let mut servers = serving(bound, routes);

        let transport = shoal_base::world::real_transport(&[]);
        let get = async || {
            let request = http::Request::get(url.as_str()).extension(shoal_base::world::TlsPolicy::Insecure);
            let request = request.body(bytes::Bytes::new()).unwrap();
            let response = tower::ServiceExt::oneshot(transport.clone(), request).await.unwrap();
            let shown = *response.extensions().get::<shoal_base::world::PeerCertificate>().unwrap();
            (shown, response.into_body())
        };
        use http_body_util::BodyExt;
        let (first, mut body) = get().await;
        send.send(Ok("before".into())).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "before");
        write_pair(&files);
        certificate.reload().await.unwrap();
        let (second, _) = get().await;
        assert_ne!(first, second, "a new connection shows the new certificate");
        send.send(Ok("after".into())).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "after");
        drop(send);
        assert!(body.frame().await.is_none(), "the stream ended, and was not broken off");
        servers.remove(0).stop(Duration::from_secs(1)).await;
    }

    /// The protocol that a client which offers `offered` is to speak.
    async fn negotiated(bound: Bound, offered: &[&[u8]]) -> Result<Option<Vec<u8>>, io::Error> {
        let address = bound.api.addr;
        let mut roots = rustls::RootCertStore::empty();
        let shown = &bound.certificate.as_ref().unwrap().loaded.cert;
        roots.add(CertificateDer::from_pem_slice(shown).unwrap()).unwrap();
        let servers = serving(bound, Router::new());
        let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
        let mut client =
            rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let shaken = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address)?;
            while client.is_handshaking() {
                client.complete_io(&mut stream)?;
            }
            Ok(client.alpn_protocol().map(<[u8]>::to_vec))
        });
        let protocol = shaken.await.unwrap();
        for server in servers {
            server.stop(Duration::ZERO).await;
        }
        protocol
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_offers_http_2_is_answered_http_1() {
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        write_pair(&files);
        let addr = "127.0.0.1:0".parse().unwrap();
        for is_reloaded in [false, true] {
            for (offered, spoken) in
                [(&[b"h2".as_slice(), b"http/1.1"][..], Some(b"http/1.1".to_vec())), (&[], None)]
            {
                let settings = ListenSettings { addr, tls: Some(files.clone()), media: None };
                let mut bound = bind(&settings).await.unwrap();
                if is_reloaded {
                    write_pair(&files);
                    bound.certificate.as_mut().unwrap().reload().await.unwrap();
                }
                assert_eq!(negotiated(bound, offered).await.unwrap(), spoken, "reloaded: {is_reloaded}");
            }
        }
        let bound = bind(&ListenSettings { addr, tls: Some(files), media: None }).await.unwrap();
        assert!(negotiated(bound, &[b"h2"]).await.is_err(), "h2 alone is refused in the handshake");
    }

    #[tokio::test]
    async fn media_have_tls_where_they_are_to_and_not_otherwise() {
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        write_pair(&files);
        let addr = "127.0.0.1:0".parse().unwrap();
        for (tls, scheme) in [(false, "http"), (true, "https")] {
            let media = Some(crate::config::MediaListen { addr, tls });
            let bound = bind(&ListenSettings { addr, tls: Some(files.clone()), media }).await.unwrap();
            assert_eq!((bound.url().scheme(), bound.media_url().scheme()), ("https", scheme));
            assert_ne!(bound.url(), bound.media_url());
        }
    }

    #[tokio::test]
    async fn an_address_in_use_is_named_with_its_setting() {
        let settings = ListenSettings { addr: "127.0.0.1:0".parse().unwrap(), tls: None, media: None };
        let bound = bind(&settings).await.unwrap();
        assert!(bound.is_loopback() && bound.url() == bound.media_url());
        let again = ListenSettings { addr: bound.api.addr, ..settings };
        let error = bind(&again).await.err().unwrap().to_string();
        assert!(error.contains("CONTROLLER_HTTP_ADDR"), "{error}");
    }
}
