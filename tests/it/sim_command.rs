//! `shoal sim` as a script uses it: the real binary, real sockets.
//!
//! What the machines do is proved in `sim.rs`. Invariant: every port is one that the system chose.

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
