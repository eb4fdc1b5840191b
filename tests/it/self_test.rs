//! What a controller finds out about its own settings: before it starts, and as long as it runs.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use shoal_sim::standin_installer;

use crate::process::{Served, output, serve, start, text};

fn write_installer(dir: &Path) {
    let file = std::fs::File::create(dir.join("esxi.iso")).unwrap();
    standin_installer().write_to(&file).unwrap();
}

/// `/readyz`, once it is as `wanted`.
async fn ready(served: &Served, wanted: impl Fn(u16, &Value) -> bool) -> (u16, Value) {
    for _ in 0..100 {
        let (status, body) = served.get("/readyz").await;
        if wanted(status, &body) {
            return (status, body);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never: {:?}", served.get("/readyz").await);
}

#[tokio::test]
async fn an_installer_that_is_none_makes_the_controller_unready() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("esxi.iso"), "no image").unwrap();
    let served = start(dir.path(), &["--esxi-installer-url=esxi.iso"]).await;
    let (_, problem) = ready(&served, |status, _| status == 503).await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("ESXI_INSTALLER_URL (installer_not_esxi): ") && detail.contains("esxi.iso"),
        "{detail}"
    );
    assert_eq!(served.get("/healthz").await.0, 200, "the process is alive");
}

#[tokio::test]
async fn a_media_address_that_leads_elsewhere_is_a_warning_and_a_metric() {
    let elsewhere = crate::operator::failures::Shelf::default().serve();
    let dir = tempfile::tempdir().unwrap();
    write_installer(dir.path());
    let flags = ["--esxi-installer-url=esxi.iso", "--media-base-url", &elsewhere];
    let served = start(dir.path(), &flags).await;
    let (status, body) = ready(&served, |_, body| !body["warnings"].is_null()).await;
    let warning = body["warnings"][0].as_str().unwrap();
    assert_eq!((status, &body["status"]), (200, &json!("ready")));
    assert!(warning.starts_with(&format!("MEDIA_BASE_URL {elsewhere}/ does not lead to this")), "{warning}");
    assert!(warning.contains("something else answers there, with 404"), "{warning}");
}

#[tokio::test]
async fn a_media_address_that_leads_here_is_none() {
    let dir = tempfile::tempdir().unwrap();
    write_installer(dir.path());
    let served = start(dir.path(), &["--esxi-installer-url=esxi.iso"]).await;
    // The address is derived for each BMC, so that there is one once a server is known. No BMC is contacted.
    let server = json!({
        "serial": "A1", "bmc_address": "http://127.0.0.1:9", "bmc_username": "a", "bmc_password": "b", "tls": "none",
    });
    assert_eq!(served.post("/api/v1/servers", server).await.0, 201);
    let (status, body) = ready(&served, |status, _| status == 200).await;
    assert_eq!((status, &body["warnings"]), (200, &Value::Null), "{body}");
}

async fn check(dir: &Path, flags: &[&str]) -> (Option<i32>, String) {
    let mut command = serve(dir, flags);
    command.arg("--check");
    let done = output(command).await;
    (done.status.code(), text(&done.stdout))
}

#[tokio::test]
async fn a_check_looks_at_everything_and_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write_installer(dir.path());
    let names = |dir: &Path| {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names(dir.path());
    let (code, report) = check(dir.path(), &["--esxi-installer-url=esxi.iso"]).await;
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(
        report.lines().filter(|line| line.starts_with("ok ")).count(),
        report.lines().count(),
        "{report}"
    );
    assert!(report.contains("is made at the first start") && report.contains("esxi.iso: "), "{report}");
    assert_eq!(names(dir.path()), before);

    let wrong = ["--esxi-installer-url=esxi.iso", "--esxi-installer-sha256", &"0".repeat(64)];
    let wrong =
        [&wrong[..], &["--tls-cert=absent.pem", "--tls-key=absent.key", "--maintenance-iso-url=none.iso"]];
    let (code, report) = check(dir.path(), &wrong.concat()).await;
    assert_eq!(code, Some(1));
    for part in ["TLS ", "installer ", "maintenance ISO "] {
        assert!(report.contains(&format!("FAILED  {part}")), "{part} {report}");
    }
    assert!(report.contains("(ESXI_INSTALLER_SHA256)"), "{report}");
    let (code, report) = check(dir.path(), &["--esxi-boot-timeout=soon"]).await;
    assert!(code == Some(1) && report.starts_with("FAILED  configuration"), "{report}");
}

#[tokio::test]
async fn a_check_beside_a_running_controller_disturbs_nothing_and_finds_a_wrong_key() {
    let dir = tempfile::tempdir().unwrap();
    write_installer(dir.path());
    let served = start(dir.path(), &["--esxi-installer-url=esxi.iso"]).await;
    let (code, report) = check(dir.path(), &["--esxi-installer-url=esxi.iso"]).await;
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("the master key fits"), "{report}");
    let key = dir.path().join("var/shoal/master.key");
    std::fs::write(&key, [7; 32]).unwrap();
    let (code, report) = check(dir.path(), &["--esxi-installer-url=esxi.iso"]).await;
    assert!(code == Some(1) && report.contains("restore the key"), "{report}");
    assert_eq!(served.get("/healthz").await.0, 200);
}
