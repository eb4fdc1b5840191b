//! A listener for one simulated BMC, plain or TLS, that is deaf while the BMC is down.
//!
//! Loopback only: a simulated BMC has no business on a network. Invariant: no connection is served
//! that was made while the gate before it was closed.

use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum_server::accept::{Accept, DefaultAcceptor};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures_util::future::Either;
use rustls::pki_types::PrivatePkcs8KeyDer;
use sha2::{Digest, Sha256};

use crate::cli::CliError;
use shoal_base::world::TlsPolicy;
use shoal_sim::SimBmc;

/// As long as a real BMC waits for a handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A bound port on loopback.
pub struct Listener {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

impl Listener {
    pub fn bind(address: SocketAddr) -> Result<Listener, BindError> {
        let bound = std::net::TcpListener::bind(address);
        let bound = bound.and_then(|listener| Ok(Listener { address: listener.local_addr()?, listener }));
        bound.map_err(|source| BindError { address, source })
    }

    /// Host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn into_tcp(self) -> std::net::TcpListener {
        self.listener
    }

    /// What a client connects to.
    pub fn url(&self, tls: bool) -> String {
        format!("{}://{}", if tls { "https" } else { "http" }, self.address)
    }
}

/// A certificate of one run, for all its machines.
#[derive(Clone)]
pub struct Tls {
    config: RustlsConfig,
    policy: TlsPolicy,
    /// Certificate and key, in PEM.
    pem: [String; 2],
}

impl Tls {
    pub fn self_signed() -> Result<Tls, CliError> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names)?;
        let certificate = made.cert.der().clone();
        let policy = TlsPolicy::Pin(Sha256::digest(&certificate).into());
        let pem = [made.cert.pem(), made.signing_key.serialize_pem()];
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())?;
        Ok(Tls { config: RustlsConfig::from_config(config.into()), policy, pem })
    }

    /// The inventory's `tls` that trusts this certificate alone.
    pub fn policy(&self) -> &TlsPolicy {
        &self.policy
    }

    /// Certificate and key, in PEM, for another server with the same.
    pub fn pem(&self) -> [&[u8]; 2] {
        [self.pem[0].as_bytes(), self.pem[1].as_bytes()]
    }
}

/// Serves one BMC until the process ends.
pub async fn serve(listener: Listener, tls: Option<Tls>, bmc: SimBmc) -> io::Result<()> {
    let service = bmc.router().into_make_service_with_connect_info::<SocketAddr>();
    let server = axum_server::from_tcp(listener.listener)?;
    let is_open = move || bmc.is_reachable();
    match tls {
        None => server.acceptor(Gate::new(DefaultAcceptor::new(), is_open)).serve(service).await,
        Some(Tls { config, .. }) => {
            let inner = RustlsAcceptor::new(config).handshake_timeout(HANDSHAKE_TIMEOUT);
            server.acceptor(Gate::new(inner, is_open)).serve(service).await
        }
    }
}

/// Accepts connections while there is a server for them.
#[derive(Clone)]
pub struct Gate<A> {
    is_open: Arc<dyn Fn() -> bool + Send + Sync>,
    inner: A,
}

impl<A> Gate<A> {
    pub fn new(inner: A, is_open: impl Fn() -> bool + Send + Sync + 'static) -> Gate<A> {
        Gate { is_open: Arc::new(is_open), inner }
    }
}

impl<A: Accept<I, S>, I, S> Accept<I, S> for Gate<A> {
    type Stream = A::Stream;
    type Service = A::Service;
    type Future = Either<Ready<io::Result<(A::Stream, A::Service)>>, A::Future>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        if (self.is_open)() {
            Either::Right(self.inner.accept(stream, service))
        } else {
            Either::Left(ready(Err(io::ErrorKind::ConnectionRefused.into())))
        }
    }
}
