//! A network without sockets: authorities and the routers behind them.
//!
//! Requests are answered in process, so paused time works and a thousand servers need no port.
//! Invariant: an authority that is unknown, cut off, or a BMC that is down is
//! [`TransportErrorKind::Connect`], as a refused connection is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::SimBmc;
use super::redfish::ConnectionReset;
use crate::world::{HttpRequest, HttpResponse, Transport, TransportError, TransportErrorKind};

/// Shared by everything that is in one simulated world.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<Places>>);

#[derive(Default)]
struct Places {
    routers: BTreeMap<String, (Router, Option<SimBmc>)>,
    cut_off: BTreeSet<String>,
}

impl Network {
    /// Puts a router behind an authority (`controller.test:8080`), in the place of what was there.
    pub fn add(&self, authority: &str, router: Router) {
        self.places().routers.insert(authority.to_owned(), (router, None));
    }

    /// Puts a simulated BMC behind an authority.
    pub fn add_bmc(&self, authority: &str, bmc: &SimBmc) {
        self.places().routers.insert(authority.to_owned(), (bmc.router(), Some(bmc.clone())));
    }

    /// Whatever was behind the authority is gone, as a process that has died.
    pub fn remove(&self, authority: &str) {
        self.places().routers.remove(authority);
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
        let refused = || TransportError::new(TransportErrorKind::Connect);
        let authority = request.uri().authority().ok_or_else(refused)?.as_str().to_owned();
        let router = self.router(&authority).ok_or_else(refused)?;
        let response = router.oneshot(request.map(Body::from)).await.unwrap_or_else(|never| match never {});
        match response.extensions().get::<ConnectionReset>() {
            Some(_) => Err(TransportError::new(TransportErrorKind::Broken)),
            None => Ok(response),
        }
    }

    fn router(&self, authority: &str) -> Option<Router> {
        let places = self.places();
        let (router, bmc) = places.routers.get(authority)?;
        let is_down = bmc.as_ref().is_some_and(|bmc| !bmc.is_reachable());
        (!places.cut_off.contains(authority) && !is_down).then(|| router.clone())
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
