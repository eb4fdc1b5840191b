//! `shoal support-bundle`: what is in the archive, and that no secret is.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};

use super::Desk;
use super::fleet::{KICKSTART, client, command};
use crate::process::{output, text};

/// Planted wherever a secret can be.
const CANARY: &str = "canary-f00d";

fn contents(path: &Path) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()));
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (entry.path().unwrap().display().to_string(), text)
    });
    files.collect()
}

fn value(files: &BTreeMap<String, String>, name: &str) -> Value {
    let text = files.get(&format!("shoal-support/{name}"));
    serde_json::from_str(text.unwrap_or_else(|| panic!("no {name} in {:?}", files.keys()))).unwrap()
}

#[tokio::test]
async fn the_archive_explains_a_failed_job_and_holds_no_secret() {
    let secret = format!("{CANARY}-{}", "w".repeat(32));
    let desk = Desk::open(&["--webhook-secret", &secret], &["--count=2", "--install-seconds=1"]).await;
    let password = json!({ "bmc_password": CANARY, "variables": { "root": CANARY } });
    assert_eq!(desk.served.patch("/api/v1/servers/SIM0002", password).await.0, 200);
    let kickstart = KICKSTART.replace("q7X!mzr0T", CANARY);
    for serial in ["SIM0001", "SIM0002"] {
        let recipe = json!({
            "task_target": "install-esxi.target",
            "server_serial": serial,
            "ks_cfg": kickstart,
            "metadata": { "ticket": CANARY },
        });
        let id = desk.submit(recipe).await;
        desk.served.settled(&id).await;
    }
    let settings = format!(
        "webhook_secret = \"{secret}\"\nmaster_key = \"{CANARY}\"\nworker_concurrency = 7\n\
         esxi_installer_url = \"https://user:{CANARY}@files.test/esxi.iso?sig={CANARY}\"\n"
    );
    std::fs::write(desk.dir.path().join("shoal.toml"), settings).unwrap();

    let arguments = ["support-bundle", "b.tar.gz", "--config=shoal.toml"];
    let mut bundle = command(&desk, &arguments);
    bundle.env("NOTIFY_SECRET", CANARY);
    let done = output(bundle).await;
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let files = contents(&desk.dir.path().join("b.tar.gz"));
    for (name, text) in &files {
        assert!(!text.contains(CANARY), "{name}: {text}");
    }
    assert!(!text(&done.stdout).contains("not in it"), "{}", text(&done.stdout));

    let settings = value(&files, "settings.json");
    let of = |name: &str| {
        let rows = settings.as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
    };
    assert_eq!(
        (&of("WORKER_CONCURRENCY")["value"], &of("WEBHOOK_SECRET")["value"]),
        (&json!("7"), &json!("(set)"))
    );
    assert_eq!(of("NOTIFY_SECRET")["origin"], "from the environment");
    assert_eq!(of("ESXI_INSTALLER_URL")["value"], "https://(removed)@files.test/esxi.iso?(removed)");
    assert_eq!(of("JOB_RETENTION"), json!({"name": "JOB_RETENTION", "value": "90d", "origin": "by default"}));

    let jobs = value(&files, "jobs.json");
    let failed = jobs["jobs"].as_array().unwrap().iter().find(|job| job["status"] == "failed").unwrap();
    let job = value(&files, &format!("jobs/{}.json", failed["job_id"].as_str().unwrap()));
    assert!(job["events"].as_array().is_some_and(|events| !events.is_empty()), "{job:#}");
    assert_eq!(value(&files, "checks/01.json")["serial"], "SIM0002");
    assert_eq!(value(&files, "servers.json")["servers"].as_array().unwrap().len(), 2);
    assert!(files["shoal-support/metrics.txt"].contains("shoal_provisioner_"));
    assert_eq!(value(&files, "version.json")["version"], env!("CARGO_PKG_VERSION"));

    let (code, _, errors) = client(&desk, &arguments).await;
    assert_eq!(code, Some(1), "a second one would take the place of the first");
    assert!(errors.contains("cannot create b.tar.gz"), "{errors}");
}

#[tokio::test]
async fn without_a_controller_the_archive_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let mut bundle = crate::process::shoal();
    bundle.args(["support-bundle", "--url=http://127.0.0.1:9"]).current_dir(dir.path());
    let done = output(bundle).await;
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let files = contents(&dir.path().join("shoal-support.tar.gz"));
    assert!(files.contains_key("shoal-support/settings.json"));
    let why = &files["shoal-support/jobs.json.missing"];
    assert!(why.starts_with("cannot reach the controller at http://127.0.0.1:9"), "{why}");
    assert!(text(&done.stdout).contains("not in it: jobs.json: cannot reach"), "{}", text(&done.stdout));
}
