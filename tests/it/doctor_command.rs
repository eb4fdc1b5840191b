//! `shoal bmc check` as an operator uses it: the real binary, a controller, simulated BMCs, sockets.
//!
//! What a check finds is proved in `doctor`. Invariant: every port is one that the system chose.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::process::{BOUND, Machine, Served, Sim, is_left_clean, recipe, shoal, start, text};

/// The command, with `input` on its standard input.
async fn run(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that refuses its arguments reads nothing.
    let _closed = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    tokio::time::timeout(BOUND, child.wait_with_output()).await.unwrap().unwrap()
}

async fn direct(machine: &Machine, password: &str, more: &[&str]) -> Output {
    let mut command = shoal();
    command.args(["bmc", "check", machine.text("bmc_address"), "--user", machine.text("username")]);
    command.args(["--password-stdin"]).args(more);
    run(command, password).await
}

async fn by_controller(served: &Served, arguments: &[&str]) -> Output {
    let mut command = shoal();
    command.args(["bmc", "check"]).args(arguments);
    command.env("SHOAL_URL", &served.url).env("SHOAL_TOKEN", &served.token);
    run(command, "").await
}

async fn controller(dir: &Path, sim: &Sim) -> Served {
    let served = start(dir, &["--drain-timeout=1s"]).await;
    for (number, machine) in sim.machines.iter().enumerate() {
        let mut record = machine.record();
        record["labels"] = json!({"rack": if number == 0 { "7" } else { "8" }});
        assert_eq!(served.post("/api/v1/servers", record).await.0, 201);
    }
    served
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[tokio::test]
async fn a_bmc_is_checked_from_here_over_tls_with_a_probe() {
    let sim = Sim::start(&["--tls", "--fault", "prefetch"]).await;
    let machine = &sim.machines[0];
    let pin = machine.text("tls");
    let password = machine.text("password");

    let untrusted = direct(machine, password, &["-o", "json"]).await;
    assert_eq!(untrusted.status.code(), Some(1), "{untrusted:?}");
    let untrusted = report(&untrusted);
    assert_eq!(untrusted["verdict"], "not_ready");
    assert_eq!(untrusted["facts"]["reach"]["tls"]["version"], "TLS 1.3", "{untrusted:#}");
    assert_eq!(format!("pin:{}", untrusted["facts"]["reach"]["tls"]["sha256"].as_str().unwrap()), pin);
    assert!(untrusted["sentence"].as_str().unwrap().contains(pin), "{untrusted:#}");
    let shown = &untrusted["facts"]["reach"]["tls"]["chain"];
    assert_eq!(shown.as_array().map(Vec::len), Some(1), "{shown:#}");
    assert_eq!(shown[0]["names"], json!(["localhost", "127.0.0.1"]));
    assert_eq!(shown[0]["subject"], shown[0]["issuer"], "self-signed");

    let pinned = direct(machine, password, &["--tls", pin, "--probe-media", "-o", "json"]).await;
    assert_eq!(pinned.status.code(), Some(0), "{pinned:?}");
    let pinned = report(&pinned);
    assert_eq!((&pinned["verdict"], &pinned["serial"]), (&json!("ready"), &json!("SIM0001")), "{pinned:#}");
    let probe = &pinned["facts"]["probe"];
    assert_eq!((&probe["wholes"], &probe["restored"]), (&json!(1), &json!(true)), "{probe:#}");
    assert_eq!(pinned["facts"]["clock"]["source"], "Date");
    assert!(is_left_clean(&machine.state().await));

    let wrong = direct(machine, "not the password", &["--tls", pin]).await;
    assert_eq!(wrong.status.code(), Some(1));
    let shown = text(&wrong.stdout);
    assert!(
        shown.contains("not ready, because") && shown.contains("login") && shown.contains("What to do:"),
        "{shown}"
    );
    assert!(!shown.contains("not the password"));
}

#[tokio::test]
async fn a_controller_checks_one_server_some_and_all() {
    let sim = Sim::start(&["--count", "3", "--fault", "one-cd"]).await;
    let dir = tempfile::tempdir().unwrap();
    let served = controller(dir.path(), &sim).await;

    let one = by_controller(&served, &["SIM0001", "--probe-media", "-o", "json"]).await;
    assert_eq!(one.status.code(), Some(0), "{one:?}");
    let one = report(&one);
    assert_eq!(
        (&one["verdict"], &one["media_layout"]),
        (&json!("ready_single_cd"), &json!("single-cd")),
        "{one:#}"
    );
    assert_eq!(one["facts"]["probe"]["restored"], true, "{one:#}");
    let (status, answer) = served.post("/api/v1/servers/SIM0001/check", json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!((names(&answer), names(&answer["facts"])), (names(&one), names(&one["facts"])));

    let table = by_controller(&served, &["SIM0002"]).await;
    let shown = text(&table.stdout);
    assert!(shown.starts_with("SIM0002 at http://127.0.0.1:"), "{shown}");
    assert!(shown.contains("ready with single-cd") && shown.contains("evidence"), "{shown}");

    let rack = by_controller(&served, &["--all", "--label", "rack=8", "-o", "json"]).await;
    assert_eq!(rack.status.code(), Some(0), "{rack:?}");
    let mut serials: Vec<String> = text(&rack.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["serial"].as_str().unwrap().to_owned())
        .collect();
    serials.sort();
    assert_eq!(serials, ["SIM0002", "SIM0003"]);

    let gone = json!({"serial": "GONE1", "bmc_address": "http://127.0.0.1:1", "bmc_username": "a", "bmc_password": "b"});
    assert_eq!(served.post("/api/v1/servers", gone).await.0, 201);
    let all = by_controller(&served, &["--all", "--parallel", "2"]).await;
    assert_eq!(all.status.code(), Some(1), "{all:?}");
    let shown = text(&all.stdout);
    assert!(shown.contains("3 of 4 ready") && shown.contains("GONE1: not ready, because"), "{shown}");
    assert!(text(&all.stderr).contains("SIM0003: ready"), "a line a server, as they come: {all:?}");
    for machine in &sim.machines {
        assert!(is_left_clean(&machine.state().await));
    }
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_a_usage_error() {
    for arguments in [
        &["bmc", "check"][..],
        &["bmc", "check", "A1", "--all"],
        &["bmc", "check", "A1", "--label", "rack=7"],
        &["bmc", "check", "A1", "--user", "root"],
        &["bmc", "check", "https://127.0.0.1:1"],
        &["bmc", "check", "http://10.0.0.5", "--user", "root", "--password-stdin"],
    ] {
        let mut command = shoal();
        command.args(arguments);
        let refused = run(command, "secret").await;
        assert_eq!(refused.status.code(), Some(2), "{arguments:?} {refused:?}");
    }
}

/// The job is of another record of the same host.
#[tokio::test]
async fn a_probe_of_a_host_with_a_job_of_another_record_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let installer = dir.path().join("esxi.iso");
    let installer = installer.to_str().unwrap();
    let faults = ["--fault", "no-serial", "--install-seconds", "120"];
    let sim = Sim::start(&[&faults[..], &["--write-installer", installer]].concat()).await;
    let machine = &sim.machines[0];
    let served = start(dir.path(), &["--drain-timeout=1s", "--esxi-installer-url", installer]).await;
    let mut record = machine.record();
    record["system_id"] = json!("1");
    assert_eq!(served.post("/api/v1/servers", record.clone()).await.0, 201);
    record["serial"] = json!("RACK7-12");
    assert_eq!(served.post("/api/v1/servers", record).await.0, 201);
    let (status, job) = served.post("/api/v1/jobs", recipe(machine.text("serial"))).await;
    assert_eq!(status, 202, "{job}");
    let job = job["job_id"].as_str().unwrap();
    machine.until(|state| state["media"]["CD2"]["inserted"] == true).await;
    let before = machine.state().await["media"].clone();

    let refused = by_controller(&served, &["RACK7-12", "--probe-media", "-o", "json"]).await;
    let refused = report(&refused);
    let probe = refused["facts"]["probe"].to_string();
    for words in [job, "delete one of the two records"] {
        assert!(probe.contains(words), "{probe}");
    }
    assert_eq!(machine.state().await["media"], before, "nothing was mounted");
}
