//! What the hooks of the product do in a simulated guest, as seen by a media server and by the server that is
//! called.
//!
//! The text of the hooks and the task ISO are the product's own. Invariant: nothing here is sent by a
//! test.

use shoal::paths::esxi::kickstart::{Hook, render_with_hook};
use shoal_image::iso::NONCE_NAME;

use super::*;

const POWER_OFF: Hook<'_> = Hook::Poweroff { nonce_name: NONCE_NAME };
const WEBHOOK: Hook<'_> = Hook::Webhook { url: "http://controller.test/hook/SIM0001/token" };

/// What a controller was asked: method, path, content type and body.
type Calls = Arc<Mutex<Vec<(String, String, String, String)>>>;

/// A bench whose kickstart has this hook, in the middle of its install.
async fn installing(hook: Hook<'_>, faults: &[&str]) -> Bench {
    let bench = Bench::new(faults);
    let ks = render_with_hook(KS, hook);
    let task = build_task_iso(ks.as_bytes(), b"{}", Some(b"0123456789abcdef"));
    bench.network.add("media.test", media(bytes_of(&task.image), bench.asked.clone()));
    bench.begin_install().await;
    bench.wait_for("installing").await;
    bench.asked.lock().unwrap().clear();
    bench
}

fn controller(bench: &Bench, status: StatusCode) -> Calls {
    let calls = Calls::default();
    let noted = calls.clone();
    let router = Router::new().fallback(async move |request: axum::extract::Request| {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1000).await.unwrap();
        let kind = parts.headers.get(header::CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap());
        let call = (parts.method.to_string(), parts.uri.path().to_owned(), kind.to_owned());
        noted.lock().unwrap().push((call.0, call.1, call.2, String::from_utf8(body.into()).unwrap()));
        status
    });
    bench.network.add("controller.test", router);
    calls
}

#[tokio::test(start_paused = true)]
async fn a_nonce_is_read_by_range_after_the_install_and_before_the_power_goes() {
    let bench = installing(POWER_OFF, &[]).await;
    bench.wait_for("off").await;
    let nonce = build_task_iso(render_with_hook(KS, POWER_OFF).as_bytes(), b"{}", Some(b"x")).nonce.unwrap();
    let block = nonce.start / 65_536 * 65_536;
    let range = format!("bytes={block}-{}", block + 65_535);
    assert_eq!(*bench.asked.lock().unwrap(), [("/task.iso".to_owned(), range)]);
    let state = bench.bmc.state();
    assert_eq!((state.installs, state.interrupted_installs, state.boots), (1, 0, 1));
    assert_eq!(state.installed_ks_sha256, Some(sha256(&render_with_hook(KS, POWER_OFF))));
    assert_eq!(bench.get(SYSTEM).await["PowerState"], "Off");
}

#[tokio::test(start_paused = true)]
async fn a_webhook_is_called_once_with_its_report() {
    let bench = installing(WEBHOOK, &[]).await;
    let calls = controller(&bench, StatusCode::OK);
    bench.wait_for("installed").await;
    let call = |method: &str, kind: &str, body: &str| {
        (method.to_owned(), "/hook/SIM0001/token".to_owned(), kind.to_owned(), body.to_owned())
    };
    let report = call("POST", "application/x-www-form-urlencoded", "{}");
    assert_eq!(*calls.lock().unwrap(), std::slice::from_ref(&report));

    let bench = installing(WEBHOOK, &[]).await;
    let calls = controller(&bench, StatusCode::NOT_FOUND);
    bench.wait_for("installed").await;
    assert_eq!(*calls.lock().unwrap(), [report, call("GET", "", "")], "wget tries where Python failed");
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_cannot_be_reached_stops_nothing() {
    let bench = installing(WEBHOOK, &["no-guest-network"]).await;
    let calls = controller(&bench, StatusCode::OK);
    bench.wait_for("installed").await;
    assert!(calls.lock().unwrap().is_empty());

    let bench = installing(WEBHOOK, &[]).await;
    bench.wait_for("installed").await;
    assert_eq!(bench.bmc.state().boots, 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_under_way_is_not_repeated_when_a_client_talks_to_the_bmc() {
    let bench = installing(WEBHOOK, &[]).await;
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    let slow = Router::new().fallback(async move || {
        *count.lock().unwrap() += 1;
        tokio::time::sleep(Duration::from_secs(20)).await;
    });
    bench.network.add("controller.test", slow);
    bench.wait_for("installer_post").await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(bench.boot_once("None").await.status, 200);
    }
    bench.wait_for("installed").await;
    assert_eq!(*asked.lock().unwrap(), 1);
}
