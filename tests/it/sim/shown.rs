//! What the System resource shows of the host, true or not.
//!
//! The truth to compare it with is the simulator's own state.

use super::*;

#[tokio::test(start_paused = true)]
async fn lies_are_told_by_the_service_and_not_by_the_state() {
    let bench = Bench::new(&[
        "power-lies",
        "wrong-serial",
        "no-boot-progress",
        "zero-last-reset-time",
        "override-not-stored",
    ]);
    let system = bench.get(SYSTEM).await;
    assert_eq!((&system["PowerState"], &system["SerialNumber"]), (&json!("On"), &json!("NOT-SIM0001")));
    assert_eq!(system["LastResetTime"], "0000-00-00T00:00:00+00:00");
    assert!(system.get("BootProgress").is_none());
    assert_eq!(bench.boot_once("Cd").await.status, 200);
    let state = bench.bmc.state();
    assert_eq!((state.power, state.boot_override.enabled), ("Off", "Disabled"));
}

#[tokio::test(start_paused = true)]
async fn power_can_take_its_time_to_come_and_go() {
    let bench = Bench::new(&["power-transitions=5", "legacy-boot"]);
    let power = async || bench.get(SYSTEM).await["PowerState"].as_str().unwrap().to_owned();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(power().await, "Off");
    bench.reset("On").await;
    assert_eq!(power().await, "PoweringOn");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(power().await, "On");
    assert_eq!(bench.get(SYSTEM).await["Boot"]["BootSourceOverrideMode"], "Legacy");
}
