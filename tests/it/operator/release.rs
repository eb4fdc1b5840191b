//! `shoal server release` asks before it changes anything.

use std::process::Output;

use super::Desk;
use crate::process::shoal;

async fn release(desk: &Desk, flags: &[&str]) -> Output {
    let mut command = shoal();
    command.args(["server", "release", "SIM0001"]).args(flags);
    command.env("SHOAL_URL", &desk.served.url).env("SHOAL_TOKEN", &desk.served.token);
    command.output().await.unwrap()
}

#[tokio::test]
async fn without_a_terminal_a_release_needs_yes() {
    let desk = Desk::open(&[], &["--fault=media-left"]).await;
    let machine = &desk.sim.machines[0];
    for flags in [&[][..], &["--force"]] {
        let refused = release(&desk, flags).await;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains("add --yes"), "{said}");
    }
    let state = machine.state().await;
    assert_eq!((&state["redfish_requests"], &state["media"]["CD1"]["inserted"]), (&0.into(), &true.into()));
    let released = release(&desk, &["--yes", "--force"]).await;
    assert_eq!(released.status.code(), Some(0), "{released:?}");
    assert_eq!(machine.state().await["media"]["CD1"]["inserted"], false);
}
