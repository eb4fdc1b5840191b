//! `shoal sim` as a script uses it: the real binary, real sockets.
//!
//! What the machines do is proved in `sim.rs`. Invariant: every port is one that the system chose.

use bytes::Bytes;
use http_body_util::BodyExt;
use shoal_base::world::real_transport;
use tower::ServiceExt;

use crate::process::{Sim, kill, output, shoal, text};

#[tokio::test]
async fn it_prints_its_machines_serves_them_and_ends_cleanly() {
    for arguments in [vec!["--count", "3"], vec!["--count", "3", "--tls"]] {
        let mut sim = Sim::start(&arguments).await;
        let serials: Vec<&str> = sim.machines.iter().map(|machine| machine.text("serial")).collect();
        assert_eq!(serials, ["SIM0001", "SIM0002", "SIM0003"]);
        for machine in &sim.machines {
            assert!(machine.text("password").len() >= 20);
            let address = machine.text("bmc_address");
            assert!(address.starts_with("https://127.0.0.1:") == arguments.contains(&"--tls"), "{address}");
            assert_eq!(machine.state().await["power"], "Off");
        }
        kill(&sim.child, "-TERM").await;
        assert!(sim.child.wait().await.unwrap().success());
    }
}

#[tokio::test]
async fn a_seed_gives_the_same_secrets_each_time() {
    let mut drawn = Vec::new();
    for seed in ["5", "5", "6"] {
        let sim = Sim::start(&["--seed", seed]).await;
        drawn.push(sim.machines[0].text("password").to_owned());
    }
    assert_eq!(drawn[0], drawn[1]);
    assert_ne!(drawn[0], drawn[2]);
}

#[tokio::test]
async fn an_unknown_fault_is_a_usage_error() {
    let mut command = shoal();
    command.args(["sim", "--fault", "no-such"]);
    let refused = output(command).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("wrong-serial"));
}

#[tokio::test]
async fn personas_take_turns_and_the_installer_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let installer = dir.path().join("esxi.iso");
    let path = installer.to_str().unwrap();
    let arguments =
        ["--count", "3", "--persona", "idrac9,ilo5", "--serial-prefix", "R1-", "--write-installer", path];
    let sim = Sim::start(&arguments).await;
    let serials: Vec<&str> = sim.machines.iter().map(|machine| machine.text("serial")).collect();
    assert_eq!(serials, ["R1-0001", "R1-0002", "R1-0003"]);
    let mut vendors = vec![];
    for machine in &sim.machines {
        let request = http::Request::get(format!("{}/redfish/v1/", machine.text("bmc_address")));
        let answer = real_transport(&[]).oneshot(request.body(Bytes::new()).unwrap()).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let root: serde_json::Value = serde_json::from_slice(&body).unwrap();
        vendors.push(root["Vendor"].as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(vendors[0], vendors[2]);
    assert_ne!(vendors[0], vendors[1]);
    assert_eq!(std::fs::read(&installer).unwrap(), shoal_sim::standin_installer().to_vec());
}
