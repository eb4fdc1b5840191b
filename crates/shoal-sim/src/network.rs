//! A network without sockets: authorities and the routers behind them.
//!
//! Requests are answered in process, so paused time works and a thousand servers need no port.
//! Invariant: an authority that is unknown, cut off, or of a BMC or host that does not listen is
//! [`TransportErrorKind::Connect`], as a refused connection is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use sha2::{Digest, Sha256};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::SimBmc;
use super::redfish::ConnectionReset;
use shoal_base::world::{
    HttpRequest, HttpResponse, PeerCertificate, TlsPolicy, Transport, TransportError, TransportErrorKind,
};

/// Shared by everything that is in one simulated world.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<HostAddresses>>);

#[derive(Default)]
struct HostAddresses {
    /// Of several, the first answers next.
    listeners: BTreeMap<String, VecDeque<(Router, Listener)>>,
    cut_off: BTreeSet<String>,
}

/// Who listens at an authority.
#[derive(Clone)]
enum Listener {
    /// A host that always does.
    Other,
    Bmc(SimBmc),
    /// The software on the host, by HTTPS alone.
    Host(SimBmc),
}

impl Network {
    /// Puts a router behind an authority (`controller.test:8080`), in the place of what was there.
    pub fn add(&self, authority: &str, router: Router) {
        self.put(authority, router, Listener::Other);
    }

    /// Puts a simulated BMC behind an authority.
    pub fn add_bmc(&self, authority: &str, bmc: &SimBmc) {
        self.put(authority, bmc.router(), Listener::Bmc(bmc.clone()));
    }

    /// Puts the API of the system that a simulated server runs behind an authority. It answers by
    /// HTTPS, with a self-signed certificate that each installation makes anew.
    pub fn add_host(&self, authority: &str, bmc: &SimBmc) {
        self.put(authority, bmc.management_router(), Listener::Host(bmc.clone()));
    }

    /// The same for a name that leads to several hosts by rotation, connection by connection.
    pub fn add_hosts(&self, authority: &str, hosts: &[&SimBmc]) {
        let listeners = hosts.iter().map(|host| (host.management_router(), Listener::Host((*host).clone())));
        self.places().listeners.insert(authority.to_owned(), listeners.collect());
    }

    fn put(&self, authority: &str, router: Router, listener: Listener) {
        self.places().listeners.insert(authority.to_owned(), [(router, listener)].into());
    }

    /// Whatever was behind the authority is gone, as a process that has died.
    pub fn remove(&self, authority: &str) {
        self.places().listeners.remove(authority);
    }

    /// Removes all that is there. Until then the network and its machines, which use it, keep each other in memory.
    pub fn clear(&self) {
        let listeners = std::mem::take(&mut self.places().listeners);
        drop(listeners);
    }

    /// Cuts an authority off, or (`false`) connects it again.
    pub fn cut_off(&self, authority: &str, cut_off: bool) {
        let mut places = self.places();
        if cut_off {
            places.cut_off.insert(authority.to_owned());
        } else {
            places.cut_off.remove(authority);
        }
    }

    /// The door into this network.
    pub fn transport(&self) -> Transport {
        let network = self.clone();
        BoxCloneSyncService::new(tower::service_fn(move |request| network.clone().send(request)))
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let refused = || TransportError {
            reason: Some("connection refused".to_owned()),
            ..TransportError::new(TransportErrorKind::Connect)
        };
        let authority = request.uri().authority().ok_or_else(refused)?.as_str().to_owned();
        let (router, listener) = self.listener(&authority).ok_or_else(refused)?;
        let certificate = listener.shake_hands(&request).map_err(TransportError::new)?;
        let mut response =
            router.oneshot(request.map(Body::from)).await.unwrap_or_else(|never| match never {});
        if let Some(certificate) = certificate {
            response.extensions_mut().insert(certificate);
        }
        match response.extensions().get::<ConnectionReset>() {
            Some(_) => Err(TransportError::new(TransportErrorKind::Broken)),
            None => Ok(response),
        }
    }

    fn listener(&self, authority: &str) -> Option<(Router, Listener)> {
        let mut places = self.places();
        if places.cut_off.contains(authority) {
            return None;
        }
        let listeners = places.listeners.get_mut(authority)?;
        listeners.rotate_left(1 % listeners.len().max(1));
        listeners.back().cloned()
    }

    fn places(&self) -> MutexGuard<'_, HostAddresses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Takes a connection, and shows the certificate that goes with it.
    fn shake_hands(&self, request: &HttpRequest) -> Result<Option<PeerCertificate>, TransportErrorKind> {
        let host = match self {
            Listener::Other => return Ok(None),
            Listener::Bmc(bmc) if bmc.is_reachable() => return Ok(None),
            Listener::Bmc(_) => return Err(TransportErrorKind::Connect),
            Listener::Host(host) => host,
        };
        let number = host.certificate().ok_or(TransportErrorKind::Connect)?;
        if request.uri().scheme_str() != Some("https") {
            return Err(TransportErrorKind::Connect);
        }
        let shown = certificate(&host.serial(), number);
        match request.extensions().get::<TlsPolicy>() {
            Some(TlsPolicy::Insecure | TlsPolicy::None) => Ok(Some(PeerCertificate(shown))),
            Some(TlsPolicy::Pin(pin)) if *pin == shown => Ok(Some(PeerCertificate(shown))),
            Some(TlsPolicy::Pin(_) | TlsPolicy::Verify) | None => Err(TransportErrorKind::Certificate),
        }
    }
}

/// What stands for a certificate: only its hash is ever seen.
fn certificate(serial: &str, number: u64) -> [u8; 32] {
    Sha256::digest(format!("certificate {number} of {serial}")).into()
}
