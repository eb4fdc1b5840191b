//! The API of the installed system, as a client without credentials sees it.
//!
//! Over the simulated network; the listeners of `shoal sim` are in `sim_command.rs`.

use shoal_base::world::{PeerCertificate, TlsPolicy, TransportErrorKind};
use shoal_sim::InstalledSystem;

use super::*;

const QUESTION: &str = "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\">\
    <soapenv:Body><RetrieveServiceContent xmlns=\"urn:vim25\"><_this type=\"ServiceInstance\">\
    ServiceInstance</_this></RetrieveServiceContent></soapenv:Body></soapenv:Envelope>";

/// A status, a certificate and a body; or why there was no connection.
type Reply = Result<(u16, [u8; 32], String), TransportErrorKind>;

impl Bench {
    fn with_host(faults: &[&str], power_on: bool, previous: Option<&str>) -> Bench {
        let previous = previous.map(|release| release.parse::<InstalledSystem>().unwrap());
        let bench = Bench::with(|config| {
            config.faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
            (config.power_on, config.previous) = (power_on, previous);
        });
        bench.network.add_host("esx.test", &bench.bmc);
        bench
    }

    async fn ask(&self) -> Reply {
        let request = http::Request::post("https://esx.test/sdk").header("soapaction", "\"\"");
        self.ask_for(request.extension(TlsPolicy::Insecure), QUESTION).await
    }

    async fn ask_for(&self, request: http::request::Builder, body: &'static str) -> Reply {
        let request = request.body(Bytes::from_static(body.as_bytes())).unwrap();
        let response = self.network.transport().oneshot(request).await.map_err(|error| error.kind)?;
        let PeerCertificate(certificate) = *response.extensions().get().unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        Ok((status, certificate, String::from_utf8(body.into()).unwrap()))
    }
}

#[tokio::test(start_paused = true)]
async fn an_installed_system_shows_its_build_once_its_services_run() {
    let bench = Bench::with_host(&[], false, None);
    assert_eq!(bench.ask().await, Err(TransportErrorKind::Connect), "off");
    bench.begin_install().await;
    for guest in ["firmware", "installing", "booting"] {
        bench.wait_for(guest).await;
        assert_eq!(bench.ask().await, Err(TransportErrorKind::Connect), "{guest}");
    }
    bench.wait_for("installed").await;
    assert_eq!(bench.ask().await.unwrap().0, 503, "hostd starts");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (status, _, body) = bench.ask().await.unwrap();
    assert_eq!(status, 200);
    for part in [
        "<RetrieveServiceContentResponse xmlns=\"urn:vim25\"><returnval>",
        "<rootFolder type=\"Folder\">ha-folder-root</rootFolder>",
        "<fullName>VMware ESXi 8.0.1 build-21495797</fullName>",
        "<version>8.0.1</version><build>21495797</build>",
        "<productLineId>embeddedEsx</productLineId><apiType>HostAgent</apiType>",
    ] {
        assert!(body.contains(part), "{part}: {body}");
    }
    assert_eq!(bench.bmc.state().build.as_deref(), Some("21495797"));
}

#[tokio::test(start_paused = true)]
async fn the_products_probe_understands_the_answer() {
    let bench = Bench::with_host(&[], true, Some("8.0.3-0.0.24022510"));
    let (_, certificate, _) = bench.ask().await.unwrap();
    let url = "https://esx.test/sdk".parse().unwrap();
    let found = shoal::paths::esxi::probe::observe_esxi(&bench.network.transport(), &url, 1).await.unwrap();
    assert_eq!((found.version.as_str(), found.build.as_str()), ("8.0.3", "24022510"));
    assert_eq!(found.certificate, shoal_base::hex(&certificate));
}

#[tokio::test(start_paused = true)]
async fn an_older_system_answers_until_the_reset_and_has_another_certificate() {
    let bench = Bench::with_host(&[], true, Some("7.0.3-0.0.20036589"));
    let (status, old, body) = bench.ask().await.unwrap();
    assert!(status == 200 && body.contains("<build>20036589</build>"), "{body}");
    assert_eq!(bench.ask().await.unwrap().1, old);
    bench.reset("ForceOff").await;
    assert_eq!(bench.ask().await, Err(TransportErrorKind::Connect));
    bench.begin_install().await;
    bench.wait_for("installed").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (_, new, body) = bench.ask().await.unwrap();
    assert!(new != old && body.contains("<build>21495797</build>"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn an_older_system_that_boots_again_keeps_its_certificate() {
    let bench = Bench::with_host(&["override-ignored"], false, Some("7.0.3-0.0.20036589"));
    bench.reset("On").await;
    bench.wait_for("other_system").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (_, before, _) = bench.ask().await.unwrap();
    bench.reset("ForceOff").await;
    bench.begin_install().await;
    bench.wait_for("other_system").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(bench.ask().await.unwrap().1, before);
}

#[tokio::test(start_paused = true)]
async fn every_installation_has_a_certificate_of_its_own() {
    let bench = Bench::with_host(&[], false, None);
    let mut shown = vec![];
    for _ in 0..2 {
        bench.begin_install().await;
        bench.wait_for("installed").await;
        shown.push(bench.ask().await.unwrap().1);
        bench.reset("ForceOff").await;
    }
    assert_ne!(shown[0], shown[1]);
}

#[tokio::test(start_paused = true)]
async fn its_certificate_is_self_signed_and_there_is_no_plain_http() {
    let bench = Bench::with_host(&[], true, Some("8.0.3-0.0.24022510"));
    let (_, shown, _) = bench.ask().await.unwrap();
    let ask = async |url: &str, policy| {
        let request = http::Request::post(url).extension(policy);
        bench.ask_for(request, QUESTION).await.map(|reply| reply.0)
    };
    let sdk = "https://esx.test/sdk";
    assert_eq!(ask(sdk, TlsPolicy::Verify).await, Err(TransportErrorKind::Certificate));
    assert_eq!(ask(sdk, TlsPolicy::Pin([0; 32])).await, Err(TransportErrorKind::Certificate));
    assert_eq!(ask(sdk, TlsPolicy::Pin(shown)).await, Ok(200));
    assert_eq!(ask("http://esx.test/sdk", TlsPolicy::None).await, Err(TransportErrorKind::Connect));
}

#[tokio::test(start_paused = true)]
async fn what_else_is_asked_is_answered_or_refused() {
    let bench = Bench::with_host(&[], true, Some("8.0.3-0.0.24022510"));
    let ask = async |method, path: &str, body| {
        let url = format!("https://esx.test{path}");
        let request = http::Request::builder().method(method).uri(url).extension(TlsPolicy::Insecure);
        let (status, _, body) = bench.ask_for(request, body).await.unwrap();
        (status, body)
    };
    let (status, body) = ask(Method::POST, "/sdk", "<Login/>").await;
    assert!(status == 500 && body.contains("soapenv:Fault"), "{body}");
    let (status, body) = ask(Method::GET, "/sdk/vimServiceVersions.xml", "").await;
    assert!(status == 200 && body.contains("<version>8.0.3.0</version>"), "{body}");
    assert!(ask(Method::GET, "/ui/", "").await.1.contains("esxUiApp"));
    assert_eq!(ask(Method::GET, "/sdk", "").await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn an_api_can_be_late_or_out_of_reach_and_another_system_has_none() {
    let bench = Bench::with_host(&["api-late=600"], false, None);
    bench.begin_install().await;
    bench.wait_for("installed").await;
    tokio::time::sleep(Duration::from_secs(590)).await;
    assert_eq!(bench.ask().await.unwrap().0, 503);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.ask().await.unwrap().0, 200);

    let bench = Bench::with_host(&["no-guest-network"], true, Some("8.0.3-0.0.24022510"));
    assert_eq!(bench.ask().await, Err(TransportErrorKind::Connect));
    let bench = Bench::with_host(&[], true, None);
    assert_eq!(
        (bench.bmc.state().guest, bench.ask().await),
        ("other_system", Err(TransportErrorKind::Connect))
    );
}
