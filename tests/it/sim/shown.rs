//! What the System resource shows of the host, true or not.
//!
//! The truth to compare it with is the simulator's own state.

use super::*;

#[tokio::test(start_paused = true)]
async fn lies_are_in_the_service_and_not_by_the_state() {
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

impl Bench {
    /// With these sources and none else.
    fn showing(sources: &str, faults: &[&str]) -> Bench {
        Bench::with(|config| {
            config.persona.sources = sources.parse().unwrap();
            config.faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
        })
    }

    /// The values of a property, each once in a row, from before an install to its end.
    async fn course_of(&self, pointer: &str) -> Vec<Value> {
        let mut course = vec![];
        let mut note = async || {
            let value = self.get(SYSTEM).await.pointer(pointer).cloned();
            course.push(value.unwrap_or_else(|| panic!("no {pointer}")));
        };
        note().await;
        self.begin_install().await;
        while self.bmc.state().guest != "installed" {
            tokio::time::sleep(Duration::from_millis(50)).await;
            note().await;
        }
        course.dedup();
        course
    }
}

#[tokio::test(start_paused = true)]
async fn a_system_shows_what_its_persona_shows_and_nothing_else() {
    let system = Bench::showing("none", &[]).get(SYSTEM).await;
    for property in ["BootProgress", "LastResetTime", "Oem"] {
        assert!(system.get(property).is_none(), "{property}");
    }
    let bench = Bench::showing("last-boot-time,post-state", &[]);
    bench.reset("On").await;
    let system = bench.get(SYSTEM).await;
    assert_eq!(system["BootProgress"], json!({ "LastState": "None", "LastBootTimeSeconds": 0 }));
    assert_eq!(system["Oem"]["Hpe"]["PostState"], "InPost");
    assert!(system["Oem"].get("Lenovo").is_none() && system.get("LastResetTime").is_none());
}

#[tokio::test(start_paused = true)]
async fn post_state_and_boot_progress_go_through_both_boots() {
    let boot = ["InPost", "InPostDiscoveryComplete", "FinishedPost"];
    let course = Bench::showing("post-state", &[]).course_of("/Oem/Hpe/PostState").await;
    assert_eq!(course, [&["PowerOff"][..], &boot, &boot].concat());
    let course = Bench::showing("boot-progress", &[]).course_of("/BootProgress").await;
    let first = json!({ "LastState": "MemoryInitializationStarted" });
    assert_eq!(course.iter().filter(|progress| **progress == first).count(), 2);
    assert_eq!(course.last(), Some(&json!({ "LastState": "OSRunning" })));
}

#[tokio::test(start_paused = true)]
async fn reboots_are_counted_and_no_two_boots_take_the_same_time() {
    let course = Bench::showing("number-of-reboots", &[]).course_of("/Oem/Lenovo/NumberOfReboots").await;
    assert_eq!(course, [16, 17, 18]);
    let course = Bench::showing("last-boot-time", &[]).course_of("/BootProgress/LastBootTimeSeconds").await;
    let [zero, first, again, second] = course.as_slice() else { panic!("{course:?}") };
    assert_eq!((zero, again), (&json!(0), &json!(0)), "while the host boots");
    assert!(first.as_u64() > Some(0) && second.as_u64() > Some(0) && first != second, "{course:?}");
}

#[tokio::test(start_paused = true)]
async fn sources_can_be_stuck_or_null() {
    let cases = [
        ("boot-progress-time", "stuck-boot-progress", "/BootProgress"),
        ("last-reset-time", "stuck-last-reset-time", "/LastResetTime"),
        ("post-state", "stuck-post-state", "/Oem/Hpe/PostState"),
        ("number-of-reboots", "stuck-number-of-reboots", "/Oem/Lenovo/NumberOfReboots"),
    ];
    for (source, stuck, pointer) in cases {
        let course = Bench::showing(source, &[stuck]).course_of(pointer).await;
        assert!(course.len() == 1 && !course[0].is_null(), "{stuck}: {course:?}");
        let course = Bench::showing(source, &["null-sources"]).course_of(pointer).await;
        assert_eq!(course, [Value::Null], "{source}");
    }
}
