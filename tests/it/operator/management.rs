//! A verdict that rests on the installed system's own word, over real TLS.
//!
//! The hosts are those of `shoal sim --management`.

use bytes::Bytes;
use serde_json::json;
use shoal_base::hex;
use shoal_base::world::{PeerCertificate, TlsPolicy, Transport, real_transport};
use tower::ServiceExt;

use super::{Desk, assert_installed, export};
use crate::process::{Machine, Sim, output, recipe, shoal, text};

/// The certificate that the host shows now, or `None` where it takes no connection.
async fn shown_certificate(client: &Transport, machine: &Machine) -> Option<[u8; 32]> {
    let url = format!("https://{}/ui/", machine.text("management_address"));
    let request = http::Request::get(url).extension(TlsPolicy::Insecure).body(Bytes::new()).unwrap();
    let response = client.clone().oneshot(request).await.ok()?;
    response.extensions().get::<PeerCertificate>().map(|PeerCertificate(sha256)| *sha256)
}

#[tokio::test]
async fn a_new_system_with_a_new_certificate_at_its_address_is_proof() {
    // Long enough for the address to be seen silent twice, ten seconds apart.
    let sim = ["--management", "--power=on", "--previous=7.0.3-0.0.20036589", "--install-seconds=15"];
    let desk = Desk::with_empty_inventory(&[], &sim).await;
    let machine = &desk.sim.machines[0];
    // One client for all, which would resume a session if it could.
    let client = real_transport(&[]);
    let before = shown_certificate(&client, machine).await.unwrap();
    assert_eq!(shown_certificate(&client, machine).await, Some(before), "the host's, not the connection's");

    let mut server = machine.record();
    server["management_address"] = machine.text("management_address").into();
    server["labels"] = json!({ "hostname": "ESX01" });
    desk.add(server).await;
    let job = desk.submit(recipe("SIM0001")).await;
    let job = desk.served.settled(&job).await;
    assert_installed(&job, machine).await;
    assert_eq!(job["verdict"]["confidence"], "proven", "{job:#}");
    let evidence = job["verdict"]["evidence"].as_array().unwrap();
    assert!(evidence.iter().any(|evidence| evidence["kind"] == json!("os_api")), "{job:#}");
    let after = shown_certificate(&client, machine).await;
    assert!(after.is_some_and(|after| after != before), "{after:?}");
    let shown = after.map(|sha256| hex(&sha256)).unwrap();
    let installed = &job["installed"];
    assert_eq!(installed["certificate_sha256"], json!(shown), "{job:#}");
    assert_eq!(installed["management_address"], machine.text("management_address"), "{job:#}");
    assert_eq!(installed["build"], "24022510", "{job:#}");
    export::has_its_certificate(&desk, &job, &shown).await;
}

#[tokio::test]
async fn a_machine_that_registers_itself_sends_its_address() {
    let desk = Desk::with_empty_inventory(&[], &[]).await;
    let register = ["--management", "--register", &desk.served.url, "--token", &desk.served.token];
    let mut running = vec![];
    for more in [[].as_slice(), &["--replace"]] {
        let sim = Sim::start(&[register.as_slice(), more].concat()).await;
        let address = sim.machines[0].text("management_address").to_owned();
        let server = desk.served.get("/api/v1/servers/SIM0001").await.1;
        assert_eq!(server["management_address"], json!(address), "{server}");
        let refused = shown_certificate(&real_transport(&[]), &sim.machines[0]).await;
        assert_eq!(refused, None, "the host is off");
        running.push(sim);
    }
}

#[tokio::test]
async fn a_record_that_exists_is_not_changed_without_being_asked() {
    let desk = Desk::with_empty_inventory(&[], &[]).await;
    let register = ["sim", "--register", &desk.served.url, "--token", &desk.served.token];
    let _first = Sim::start(&register[1..]).await;
    let before = desk.served.get("/api/v1/servers/SIM0001").await.1;
    let mut second = shoal();
    second.args(register).args(["--count", "2"]);
    let refused = output(second).await;
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("SIM0001: bmc_address is http://127.0.0.1:") && said.contains("--replace"),
        "{said}"
    );
    assert!(!text(&refused.stdout).contains("ready"), "{said}");
    assert_eq!(desk.served.get("/api/v1/servers/SIM0001").await.1, before);
    assert_eq!(desk.served.get("/api/v1/servers/SIM0002").await.0, 404, "not the other one either");
    let _third = Sim::start(&[&register[1..], &["--serial-prefix", "LAB-"]].concat()).await;
    assert_eq!(desk.served.get("/api/v1/servers/LAB-0001").await.0, 200);
}
