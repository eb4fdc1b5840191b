//! Is ESXi up at an address, and which one? One question to its API that needs no account.
//!
//! It judges nothing: the caller decides whether an answer proves an installation. The certificate
//! of a fresh host is self-signed, so it is not verified but reported, as the host's identity.
//! Invariant: an answer is one only where it names ESXi's own product line, a build, and came over TLS.

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, header};
use http_body_util::{BodyExt, Limited};
use tower::ServiceExt;
use url::Url;

use crate::domain::ApiHost;
use shoal_base::hex;
use shoal_base::world::{
    HttpResponse, PeerCertificate, TlsPolicy, Transport, TransportError, TransportErrorKind,
};

/// For one question with its answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The real answer has some 3 KiB.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Why an address did not answer as ESXi does.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("nothing answers")]
    NoAnswer(#[source] TransportError),
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// 503 while hostd starts.
    #[error("the answer was {0}")]
    Status(StatusCode),
    #[error("the answer is not one of ESXi")]
    NotEsxi,
    #[error("the URL cannot be requested")]
    Url(#[source] http::Error),
}

impl ProbeError {
    /// No connection was made, or nothing came over it: a host that is down drops what it is sent.
    pub fn is_silence(&self) -> bool {
        match self {
            ProbeError::NoAnswer(error) => error.kind == TransportErrorKind::Connect,
            ProbeError::TimedOut => true,
            ProbeError::Status(_) | ProbeError::NotEsxi | ProbeError::Url(_) => false,
        }
    }
}

/// Asks the API at `url`, up to `tries` times while no answer comes in time.
pub async fn observe_esxi(transport: &Transport, url: &Url, tries: u32) -> Result<ApiHost, ProbeError> {
    for _ in 1..tries {
        match ask(transport, url).await {
            Err(ProbeError::TimedOut) => {}
            answer => return answer,
        }
    }
    ask(transport, url).await
}

async fn ask(transport: &Transport, url: &Url) -> Result<ApiHost, ProbeError> {
    let request = http::Request::post(url.as_str())
        .extension(TlsPolicy::Insecure)
        .header(header::CONTENT_TYPE, "text/xml; charset=utf-8")
        .header("SOAPAction", "\"urn:vim25/\"")
        // The next question is asked over a connection of its own: a name may lead to another host by then.
        .header(header::CONNECTION, "close")
        .body(Bytes::from_static(RETRIEVE_SERVICE_CONTENT.as_bytes()))
        .map_err(ProbeError::Url)?;
    let answer = async {
        let response = transport.clone().oneshot(request).await.map_err(ProbeError::NoAnswer)?;
        read(response).await
    };
    tokio::time::timeout(TIMEOUT, answer).await.unwrap_or(Err(ProbeError::TimedOut))
}

/// The one call of the vSphere API that is answered without a login (used so by libvirt, nmap and
/// OpenVAS).
const RETRIEVE_SERVICE_CONTENT: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
    <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Body>\
    <RetrieveServiceContent xmlns=\"urn:vim25\"><_this type=\"ServiceInstance\">ServiceInstance</_this>\
    </RetrieveServiceContent></soapenv:Body></soapenv:Envelope>";

async fn read(response: HttpResponse) -> Result<ApiHost, ProbeError> {
    if response.status() != StatusCode::OK {
        return Err(ProbeError::Status(response.status()));
    }
    let certificate =
        response.extensions().get::<PeerCertificate>().map(|PeerCertificate(sha256)| hex(sha256));
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|_| ProbeError::NotEsxi)?.to_bytes();
    let text = std::str::from_utf8(&body).map_err(|_| ProbeError::NotEsxi)?;
    parse_about(text)
        .zip(certificate)
        .ok_or(ProbeError::NotEsxi)
        .map(|((version, build), certificate)| ApiHost { version, build, certificate })
}

/// Version and build of `AboutInfo`, if it is an ESXi host's. Its name may be "VMware ESX" from 9.0
/// on, and vCenter answers the same call: the product line distinguishes them.
fn parse_about(text: &str) -> Option<(String, String)> {
    let document = roxmltree::Document::parse(text).ok()?;
    let about = document.descendants().find(|node| node.tag_name().name() == "about")?;
    let field = |name: &str| {
        let node = about.children().find(|node| node.tag_name().name() == name)?;
        node.text().map(str::trim).filter(|text| !text.is_empty() && text.len() <= FIELD_BYTES_MAX)
    };
    let is_host = field("productLineId") == Some("embeddedEsx") && field("apiType") == Some("HostAgent");
    is_host.then_some(())?;
    Some((field("version")?.to_owned(), field("build")?.to_owned()))
}

/// No version or build is longer.
const FIELD_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tower::util::BoxCloneSyncService;

    use super::*;

    fn about(product_line: &str, api_type: &str, build: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
             <RetrieveServiceContentResponse xmlns=\"urn:vim25\"><returnval><rootFolder>ha-folder-root</rootFolder>\
             <about><name>VMware ESXi</name><version>8.0.3</version><build>{build}</build>\
             <productLineId>{product_line}</productLineId><apiType>{api_type}</apiType></about>\
             </returnval></RetrieveServiceContentResponse></s:Body></s:Envelope>"
        )
    }

    async fn answered(status: u16, body: String, certificate: bool) -> Result<ApiHost, ProbeError> {
        let service = tower::service_fn(move |_| {
            let mut response =
                http::Response::builder().status(status).body(Body::from(body.clone())).unwrap();
            if certificate {
                response.extensions_mut().insert(PeerCertificate([0xab; 32]));
            }
            std::future::ready(Ok(response))
        });
        let url = "https://esx1/sdk".parse().unwrap();
        observe_esxi(&BoxCloneSyncService::new(service), &url, 1).await
    }

    #[tokio::test]
    async fn an_esxi_host_is_known_by_its_product_line() {
        let host = answered(200, about("embeddedEsx", "HostAgent", "24022510"), true).await.unwrap();
        let expected =
            ApiHost { version: "8.0.3".into(), build: "24022510".into(), certificate: "ab".repeat(32) };
        assert_eq!(host, expected);
    }

    #[tokio::test]
    async fn whatever_else_answers_is_none() {
        let esxi = about("embeddedEsx", "HostAgent", "1");
        assert!(matches!(answered(503, esxi.clone(), true).await, Err(ProbeError::Status(_))));
        assert!(matches!(answered(200, esxi, false).await, Err(ProbeError::NotEsxi)), "without TLS");
        let others = [
            about("vpx", "VirtualCenter", "1"),
            about("embeddedEsx", "HostAgent", ""),
            about("embeddedEsx", "HostAgent", &"1".repeat(65)),
            "<html><body>about</body>".to_owned(),
            "<!DOCTYPE a [<!ENTITY b \"c\">]><about/>".to_owned(),
            " ".repeat(BODY_BYTES_MAX + 1),
            String::new(),
        ];
        for other in others {
            assert!(
                matches!(answered(200, other.clone(), true).await, Err(ProbeError::NotEsxi)),
                "{other:.80}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_is_asked_again_and_costs_five_seconds_each() {
        let silent = BoxCloneSyncService::new(tower::service_fn(|_| std::future::pending()));
        let begun = tokio::time::Instant::now();
        let answer = observe_esxi(&silent, &"https://esx1/sdk".parse().unwrap(), 3).await;
        assert!(matches!(answer, Err(ProbeError::TimedOut)));
        assert_eq!(begun.elapsed(), 3 * TIMEOUT);
    }
}
