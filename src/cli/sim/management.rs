//! The listener of one simulated host's own API: TLS on loopback, deaf while no system answers there.
//!
//! What it answers is in [`shoal_sim`]. Invariant: every connection shows the certificate of the
//! installation that runs, so none is resumed from an earlier one.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::listen::{Gate, HANDSHAKE_TIMEOUT, Listener};
use shoal_sim::SimBmc;

/// Serves the API of one host until the process ends.
pub async fn serve_management(listener: Listener, host: SimBmc) -> io::Result<()> {
    let certificates = Certificates { host: host.clone(), last: Mutex::default() };
    let mut config =
        rustls::ServerConfig::builder().with_no_client_auth().with_cert_resolver(Arc::new(certificates));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    let inner = RustlsAcceptor::new(RustlsConfig::from_config(Arc::new(config)));
    let service = host.management_router().into_make_service_with_connect_info::<SocketAddr>();
    let gate = Gate::new(inner.handshake_timeout(HANDSHAKE_TIMEOUT), move || host.certificate().is_some());
    axum_server::from_tcp(listener.into_tcp())?.acceptor(gate).serve(service).await
}

/// A certificate for each installation of one host, made when it is first needed.
struct Certificates {
    host: SimBmc,
    /// Certificates only follow one another, so the last is the only one that is needed again.
    last: Mutex<Option<(u64, Arc<CertifiedKey>)>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let number = self.host.certificate()?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = last.as_ref().filter(|(made, _)| *made == number) {
            return Some(key.clone());
        }
        let key = match self_signed() {
            Ok(key) => Arc::new(key),
            Err(error) => {
                tracing::error!(error, "a simulated host has no certificate");
                return None;
            }
        };
        *last = Some((number, key.clone()));
        Some(key)
    }
}

/// As ESXi makes it at its first boot, before anybody has named the host.
fn self_signed() -> Result<CertifiedKey, Box<dyn std::error::Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost.localdomain".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let key = rustls::crypto::ring::sign::any_supported_type(&key.into())?;
    Ok(CertifiedKey::new(vec![made.cert.der().clone()], key))
}
