//! The client reads the trees of real BMCs.
//!
//! A capture is a directory of `index.json` files by URI; here it is served in process, read-only,
//! without headers. What the client makes of each was compared with what is known of these BMCs:
//! where their slots are, how an image would get into them, how the host would boot from it and be
//! reset, and which of their properties show a boot. Captures
//! are not part of the repository: where the directory is absent, the test says so and ends.
//! Nothing that is written to a BMC is tested here.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::{Json, Router};
use jiff::Timestamp;
use shoal::domain::MediaLayout;
use shoal::flow::layout::choose;
use shoal::flow::look::sample;
use shoal_base::Password;
use shoal_base::world::{Clock, HttpRequest, Rng, TlsPolicy, Transport, World};
use shoal_redfish::{Account, Bmc, BmcPool, Limits, Plan, Slot, System};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

const IMAGE: &str = "http://10.0.0.1:8080/media/installers/esxi.iso";

#[tokio::test(start_paused = true)]
async fn every_capture_reads_as_is_known_of_its_bmc() {
    let Some(captures) = captures() else { return };
    for capture in captures {
        let name = capture.file_name().unwrap().to_string_lossy().into_owned();
        insta::assert_snapshot!(name, describe(&capture).await);
    }
}

/// The captures, sorted; `None` where there are none.
#[expect(clippy::disallowed_methods, reason = "where captures are is up to who runs the tests")]
pub fn captures() -> Option<Vec<PathBuf>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    let root = std::env::var_os("SHOAL_CAPTURES").map_or(beside, PathBuf::from);
    let Ok(entries) = std::fs::read_dir(&root) else {
        println!("skipped: no captures at {} (set SHOAL_CAPTURES)", root.display());
        return None;
    };
    let mut captures: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    captures.sort();
    Some(captures)
}

/// What the client sees of one BMC, and in how many requests.
async fn describe(capture: &Path) -> String {
    let requests = Arc::new(AtomicUsize::new(0));
    let bmc = connect(capture, requests.clone());
    let service = bmc.observe_service().await.unwrap();
    let systems = bmc.observe_systems().await.unwrap();
    let mut text = capture.file_name().unwrap().to_string_lossy().into_owned();
    write!(text, "\n  {} ({}), Redfish {}", service.vendor, bmc.vendor(), service.redfish_version.unwrap())
        .unwrap();
    for system in &systems {
        describe_system(&mut text, system);
    }
    let hosts: Vec<&System> = systems.iter().filter(|system| system.is_host()).collect();
    assert_eq!(hosts.len(), 1, "each capture is of one host");
    describe_plan(&mut text, &bmc.observe_plan(hosts[0], IMAGE).await.unwrap());
    write!(text, "\n  {} requests", requests.load(Ordering::Relaxed)).unwrap();
    text
}

/// How each BMC would be asked, or why it cannot be.
fn describe_plan(text: &mut String, plan: &Plan) {
    for slot in &plan.slots {
        describe_slot(text, slot);
    }
    let or_refused = |planned: &Result<String, String>| match planned {
        Ok(planned) => planned.clone(),
        Err(why) => format!("refused: {why}"),
    };
    write!(text, "\n  plan: {} CDs, quirks [{}]", plan.cds().count(), plan.quirks.join(" ")).unwrap();
    let layouts = [MediaLayout::DualCd, MediaLayout::SingleCd, MediaLayout::CdUsb];
    let allowed = layouts.into_iter().filter(|layout| choose(plan.slots.clone(), Some(*layout)).is_ok());
    let allowed: Vec<&str> = allowed.map(MediaLayout::name).collect();
    let chosen = match choose(plan.slots.clone(), None) {
        Ok(chosen) => chosen.layout.name().to_owned(),
        Err(why) => format!("refused: {why}"),
    };
    write!(text, "\n    layout {chosen} of [{}]", allowed.join(" ")).unwrap();
    for to_do in plan.media_service.to_do() {
        write!(text, "\n    first {to_do}").unwrap();
    }
    for (what, planned) in [("insert", &plan.insert), ("boot", &plan.boot), ("reset", &plan.reset)] {
        write!(text, "\n    {what} {}", or_refused(planned)).unwrap();
    }
}

fn describe_system(text: &mut String, system: &System) {
    let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    let kind = if system.is_host() { "host" } else { "no host" };
    write!(text, "\n  {} {kind}, {:?}", system.link, system.power.unwrap()).unwrap();
    write!(text, "\n    serial {}, uuid {}", or_none(&system.serial), or_none(&system.uuid)).unwrap();
    let boot = &system.boot;
    let [enabled, target, mode] = [&boot.enabled, &boot.target, &boot.mode].map(or_none);
    write!(text, "\n    boot {enabled} {target} {mode} of {}", boot.allowed_targets.join(" ")).unwrap();
    let resets: Vec<&str> = system.reset_types.iter().map(|reset| reset.name()).collect();
    write!(text, "\n    reset {} {}", system.can_reset, resets.join(" ")).unwrap();
    let progress = system
        .boot_progress
        .as_ref()
        .map(|progress| format!("{} {}", progress.state, or_none(&progress.time)));
    write!(
        text,
        "\n    BootProgress {}, LastResetTime {}",
        or_none(&progress),
        or_none(&system.last_reset_time)
    )
    .unwrap();
    // What the judge compares with, under the names of its sources.
    let sources: Vec<&str> =
        sample(system, Timestamp::UNIX_EPOCH).sources.into_keys().map(|source| source.property()).collect();
    write!(text, "\n    evidence of a boot: {}", if sources.is_empty() { "none" } else { "" }).unwrap();
    text.push_str(&sources.join(", "));
}

fn describe_slot(text: &mut String, slot: &Slot) {
    let word = |is: bool, word: &'static str| if is { word } else { "" };
    let words = [
        word(slot.takes_cd(), "CD"),
        word(slot.can_insert, "insert"),
        word(slot.can_eject, "eject"),
        word(!slot.is_empty(), "occupied"),
        word(slot.reserved, "reserved"),
    ];
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    write!(text, "\n  {} {{{}}} {}", slot.link, slot.media_types.join(","), words.join(" ")).unwrap();
}

pub fn connect(capture: &Path, requests: Arc<AtomicUsize>) -> Bmc {
    let start = "2026-01-01T00:00:00Z".parse().unwrap();
    let transport = transport(serve(capture.to_owned()), requests);
    let world = World { clock: Clock::virtual_from(start), rng: Rng::from_seed(1), transport };
    let account = Account {
        address: "https://bmc.test".parse().unwrap(),
        username: "root".into(),
        password: Password::new("calvin".into()),
        secrets: Default::default(),
        tls: TlsPolicy::Insecure,
    };
    BmcPool::new(world, Limits { retries: 0, ..Limits::default() }).bmc(&account)
}

/// The capture as a service: any login is good, nothing can be written.
fn serve(capture: PathBuf) -> Router {
    Router::new().fallback(move |request: Request| async move {
        if request.method() == http::Method::POST {
            return (http::StatusCode::CREATED, [("x-auth-token", "token")], Json(serde_json::json!({})))
                .into_response();
        }
        let file = capture.join(request.uri().path().trim_start_matches('/')).join("index.json");
        match std::fs::read(file) {
            Ok(body) => body.into_response(),
            Err(_) => http::StatusCode::NOT_FOUND.into_response(),
        }
    })
}

fn transport(router: Router, requests: Arc<AtomicUsize>) -> Transport {
    BoxCloneSyncService::new(tower::service_fn(move |request: HttpRequest| {
        let router = router.clone();
        requests.fetch_add(1, Ordering::Relaxed);
        async move { Ok(router.oneshot(request.map(Body::from)).await.unwrap_or_else(|never| match never {})) }
    }))
}
