//! `shoal sim` as a script uses it: the real binary, real sockets.
//!
//! What the machines do is proved in `sim.rs`. Invariant: every port is one that the system chose.

use std::process::Stdio;

use bytes::Bytes;
use serde_json::{Value, json};
use shoal::world::{HttpRequest, TlsPolicy, real_transport};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tower::ServiceExt;

fn get(url: &str) -> HttpRequest {
    http::Request::get(url).extension(TlsPolicy::Insecure).body(Bytes::new()).unwrap()
}

async fn lines_until_ready(arguments: &[&str]) -> (tokio::process::Child, Vec<Value>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
    command.arg("sim").args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut machines = vec![];
    while let Some(line) = lines.next_line().await.unwrap() {
        let line: Value = serde_json::from_str(&line).unwrap();
        if line == json!({ "ready": true }) {
            break;
        }
        machines.push(line);
    }
    (child, machines)
}

#[tokio::test]
async fn it_prints_its_machines_serves_them_and_ends_cleanly() {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    for arguments in [vec!["--count", "3"], vec!["--count", "3", "--tls"]] {
        let (mut child, machines) = lines_until_ready(&arguments).await;
        let serials: Vec<&str> = machines.iter().map(|machine| machine["serial"].as_str().unwrap()).collect();
        assert_eq!(serials, ["SIM0001", "SIM0002", "SIM0003"]);
        for machine in &machines {
            assert!(machine["password"].as_str().unwrap().len() >= 20);
            let address = machine["bmc_address"].as_str().unwrap();
            assert!(address.starts_with("https://127.0.0.1:") == arguments.contains(&"--tls"), "{address}");
            let transport = real_transport(&[]);
            let state = transport.oneshot(get(&format!("{address}/sim/v1/state"))).await.unwrap();
            assert_eq!(state.status(), 200);
        }
        let pid = child.id().unwrap().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        assert!(child.wait().await.unwrap().success());
    }
}

#[tokio::test]
async fn an_unknown_fault_is_a_usage_error() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
    let output = command.args(["sim", "--fault", "no-such"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("wrong-serial"));
}
