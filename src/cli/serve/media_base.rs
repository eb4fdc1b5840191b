//! Where a BMC finds this controller's media: `MEDIA_BASE_URL`, or what can be derived for it.
//!
//! It hands out bases of URLs and serves nothing. Invariant: what is derived is an address of this
//! very controller.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use shoal_base::root_cause;
use tokio::net::UdpSocket;
use tokio::sync::OnceCell;
use tower::ServiceExt;
use url::{Host, Url};

use crate::flow::MediaBase;
use shoal_base::world::{TlsPolicy, Transport};

const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
const HEALTH_BYTES_MAX: usize = 4_096;

/// What a base can be made of, in the order of preference.
pub struct MediaBases {
    /// `MEDIA_BASE_URL`.
    pub given: Option<Url>,
    /// `MAINTENANCE_ISO_URL`: its host, if that leads back here.
    pub maintenance: Option<Url>,
    /// The listener of media; its host may be the wildcard.
    pub listening: Url,
    /// What `/healthz` of this controller shows.
    pub instance_id: String,
    pub transport: Transport,
}

impl MediaBases {
    /// As the workflow asks for it. The question whether `MAINTENANCE_ISO_URL` leads back here is
    /// asked until it was answered with yes.
    pub fn into_fn(self) -> MediaBase {
        let shared = Arc::new((self, OnceCell::<Url>::new()));
        Arc::new(move |bmc| {
            let shared = shared.clone();
            async move { shared.0.for_bmc(&bmc, &shared.1).await }.boxed()
        })
    }

    async fn for_bmc(&self, bmc: &Url, leads_back: &OnceCell<Url>) -> Result<Url, String> {
        if let Some(given) = &self.given {
            return Ok(given.clone());
        }
        if let Some(maintenance) = &self.maintenance {
            match leads_back.get_or_try_init(|| self.origin_if_ours(maintenance)).await {
                Ok(base) => return Ok(base.clone()),
                Err(reason) => tracing::debug!(reason, "MAINTENANCE_ISO_URL does not lead back here"),
            }
        }
        self.listener_base(bmc).await
    }

    /// Scheme, host and port of `url`, if this controller answers there.
    async fn origin_if_ours(&self, url: &Url) -> Result<Url, String> {
        let mut origin = url.clone();
        origin.set_path("/");
        let health = origin.join("healthz").map_err(|error| error.to_string())?;
        // The id shows which instance answers; the certificate is for the BMC to verify.
        let request = http::Request::get(health.as_str()).extension(TlsPolicy::Insecure).body(Bytes::new());
        let request = request.map_err(|error| error.to_string())?;
        let asked = async {
            let response =
                self.transport.clone().oneshot(request).await.map_err(|error| error.to_string())?;
            let body = Limited::new(response.into_body(), HEALTH_BYTES_MAX).collect().await;
            body.map(|body| body.to_bytes()).map_err(|error| root_cause(&*error))
        };
        let body = tokio::time::timeout(PROBE_TIMEOUT, asked).await;
        let body = body.map_err(|_| "no answer in time".to_owned())??;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if answer["instance_id"] == self.instance_id.as_str() {
            return Ok(origin);
        }
        Err("something else answers there".to_owned())
    }

    /// The listener's own address, or for a wildcard the one that the BMC's packets would find.
    async fn listener_base(&self, bmc: &Url) -> Result<Url, String> {
        let mut base = self.listening.clone();
        let wildcard = match base.host() {
            Some(Host::Ipv4(address)) => address.is_unspecified().then_some(Family::V4),
            Some(Host::Ipv6(address)) => address.is_unspecified().then_some(Family::Both),
            _ => None,
        };
        if let Some(family) = wildcard {
            let address = local_address(bmc, family).await?;
            base.set_ip_host(address).map_err(|()| format!("{address} is not a valid URL host"))?;
        }
        Ok(base)
    }
}

/// What a wildcard listener listens on. The IPv6 wildcard takes IPv4 connections too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    Both,
}

/// The local end of the route to the BMC. Connecting a UDP socket asks the system's routing table
/// and sends nothing.
async fn local_address(bmc: &Url, family: Family) -> Result<IpAddr, String> {
    let host = bmc.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = bmc.port_or_known_default().unwrap_or(443);
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let found = found.map_err(|error| format!("the name {host} is not found: {error}"))?;
    let peers: Vec<SocketAddr> = found.filter(|peer| peer.is_ipv4() || family == Family::Both).collect();
    let mut reason = format!("{host} has no address of a family that the controller listens on");
    for peer in peers {
        match route(peer).await {
            Ok(address) => return Ok(address.to_canonical()),
            Err(error) => reason = format!("there is no route to {peer}: {error}"),
        }
    }
    Err(reason)
}

async fn route(peer: SocketAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(peer).await?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use tower::util::BoxCloneSyncService;

    use super::*;
    use shoal_base::world::TransportError;

    fn bases(listening: &str) -> MediaBases {
        let healthy = tower::service_fn(async |request: shoal_base::world::HttpRequest| {
            let id = if request.uri().host() == Some("ours.example") { "this" } else { "other" };
            let body = serde_json::json!({ "instance_id": id }).to_string();
            Ok::<_, TransportError>(http::Response::new(axum::body::Body::from(body)))
        });
        MediaBases {
            given: None,
            maintenance: None,
            listening: listening.parse().unwrap(),
            instance_id: "this".to_owned(),
            transport: BoxCloneSyncService::new(healthy),
        }
    }

    async fn base(bases: MediaBases, bmc: &str) -> Result<String, String> {
        bases.into_fn()(bmc.parse().unwrap()).await.map(String::from)
    }

    #[tokio::test]
    async fn what_is_given_comes_first_then_what_leads_back_here() {
        let given = Some("https://media.example:8443/x".parse().unwrap());
        let maintenance = |url: &str| Some(url.parse().unwrap());
        let bmc = "https://127.0.0.1";
        let all = MediaBases {
            given,
            maintenance: maintenance("http://ours.example/m.iso"),
            ..bases("http://127.0.0.1:1")
        };
        assert_eq!(base(all, bmc).await.unwrap(), "https://media.example:8443/x");
        let ours = MediaBases {
            maintenance: maintenance("http://ours.example:81/m.iso"),
            ..bases("http://127.0.0.1:1")
        };
        assert_eq!(base(ours, bmc).await.unwrap(), "http://ours.example:81/");
        let other = MediaBases {
            maintenance: maintenance("http://other.example/m.iso"),
            ..bases("http://127.0.0.1:1")
        };
        assert_eq!(base(other, bmc).await.unwrap(), "http://127.0.0.1:1/");
    }

    #[tokio::test]
    async fn a_wildcard_becomes_the_local_end_of_the_route() {
        let bmc = "https://127.0.0.1:9000";
        assert_eq!(base(bases("http://0.0.0.0:8080"), bmc).await.unwrap(), "http://127.0.0.1:8080/");
        assert_eq!(base(bases("http://[::]:8080"), bmc).await.unwrap(), "http://127.0.0.1:8080/");
        let reason = base(bases("http://0.0.0.0:8080"), "https://[::1]").await.unwrap_err();
        assert!(reason.contains("family"), "{reason}");
        let reason = base(bases("http://0.0.0.0:8080"), "https://no-such-host.invalid").await.unwrap_err();
        assert!(reason.contains("no-such-host.invalid"), "{reason}");
    }
}
