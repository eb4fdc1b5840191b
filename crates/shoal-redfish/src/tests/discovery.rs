//! What is found, in how many requests, and what is skipped.

use serde_json::{Value, json};

use super::super::*;
use super::fake::*;

const SLOTS: &str = "GET /redfish/v1/Systems/1/VirtualMedia";

#[tokio::test(start_paused = true)]
async fn a_cold_start_reads_each_resource_once() {
    let (bmc, log) = bmc(|_| None);
    assert_eq!(bmc.vendor(), "unknown");
    bmc.observe_service().await.unwrap();
    let system = read_system(&bmc).await;
    let slots = bmc.observe_slots(&system).await.unwrap();
    assert_eq!(slots.iter().map(|slot| slot.id.as_str()).collect::<Vec<_>>(), ["CD1", "CD2"]);
    assert_eq!(bmc.vendor(), "other");
    assert_eq!(
        log.lines(),
        [
            "GET /redfish/v1/",
            "POST /redfish/v1/SessionService/Sessions",
            "GET /redfish/v1/Systems",
            "GET /redfish/v1/Systems/1",
            // Who made the BMC and its firmware: the quirks follow from that.
            "GET /redfish/v1/Managers/1",
            SLOTS,
            "GET /redfish/v1/Systems/1/VirtualMedia/CD1",
            "GET /redfish/v1/Systems/1/VirtualMedia/CD2",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_root_that_names_no_maker_leaves_it_to_the_system() {
    let (bmc, _) = bmc(|asked| match asked.path.as_str() {
        "/redfish/v1/" => answer(200, json!({"Systems": link("/redfish/v1/Systems")})),
        SYSTEM => answer(200, json!({"Manufacturer": "Supermicro", "Boot": system()["Boot"]})),
        _ => None,
    });
    read_system(&bmc).await;
    assert_eq!(bmc.vendor(), "supermicro");
}

#[tokio::test(start_paused = true)]
async fn links_are_remembered_for_a_while_and_states_never() {
    let (bmc, log) = bmc(|_| None);
    let system = read_system(&bmc).await;
    bmc.observe_slots(&system).await.unwrap();
    log.clear();
    bmc.observe_systems().await.unwrap();
    bmc.observe_slots(&system).await.unwrap();
    assert_eq!(
        log.lines(),
        [
            "GET /redfish/v1/Systems/1",
            "GET /redfish/v1/Systems/1/VirtualMedia/CD1",
            "GET /redfish/v1/Systems/1/VirtualMedia/CD2",
        ]
    );
    tokio::time::sleep(Duration::from_secs(601)).await;
    bmc.observe_slots(&system).await.unwrap();
    assert_eq!(log.count(SLOTS), 1);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_leads_nowhere_is_looked_up_again() {
    let mut moved = false;
    let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
        // A firmware update moves the slots once they have been read.
        "GET /redfish/v1/Systems/1/VirtualMedia/CD1" if !moved => {
            moved = true;
            None
        }
        "GET /redfish/v1/Systems/1/VirtualMedia/CD1" | "GET /redfish/v1/Systems/1/VirtualMedia/CD2"
            if moved =>
        {
            answer(404, json!({}))
        }
        SLOTS if moved => answer(200, collection(&["/redfish/v1/Managers/1/VirtualMedia/2"])),
        _ => None,
    });
    let system = read_system(&bmc).await;
    bmc.observe_slots(&system).await.unwrap();
    log.clear();
    let slots = bmc.observe_slots(&system).await.unwrap();
    assert_eq!(slots[0].link, "/redfish/v1/Managers/1/VirtualMedia/2");
    assert_eq!(log.count(SLOTS), 1);
}

#[tokio::test(start_paused = true)]
async fn one_device_under_system_and_manager_is_one_slot() {
    let (bmc, log) = bmc(|_| None);
    let system = read_system(&bmc).await;
    let slots = bmc.observe_slots(&system).await.unwrap();
    assert_eq!(slots.len(), 2);
    assert_eq!(log.count("GET /redfish/v1/Managers/1/VirtualMedia"), 0);
}

/// The slots of a BMC whose System answers so for its own collection.
async fn links_with(system_collection: Value) -> Vec<String> {
    let (bmc, _) = bmc(move |asked| match asked.line().as_str() {
        SLOTS => answer(200, system_collection.clone()),
        _ => None,
    });
    let system = read_system(&bmc).await;
    bmc.observe_slots(&system).await.unwrap().into_iter().map(|slot| slot.link).collect()
}

#[tokio::test(start_paused = true)]
async fn the_managers_slots_serve_where_the_systems_do_not() {
    let of_manager = "/redfish/v1/Managers/1/VirtualMedia/2";
    assert_eq!(links_with(json!({"Members@odata.count": 0})).await, [of_manager]);
    // The same member in both collections is one slot.
    assert_eq!(links_with(collection(&[of_manager, of_manager])).await, [of_manager]);
}

#[tokio::test(start_paused = true)]
async fn a_collection_or_member_that_is_linked_twice_is_read_once() {
    let (shared, floppy) =
        ("/redfish/v1/Managers/1/VirtualMedia", "/redfish/v1/Managers/1/VirtualMedia/Floppy");
    // The System links to its manager's collection (Supermicro) or has a member of it in its own.
    for of_system in [shared, "/redfish/v1/Systems/1/VirtualMedia"] {
        let (bmc, log) = bmc(move |asked| match asked.path.as_str() {
            SYSTEM => {
                let mut body = system();
                body["VirtualMedia"] = link(of_system);
                answer(200, body)
            }
            path if path == shared || path == of_system => answer(200, collection(&[floppy])),
            path if path == floppy => answer(200, json!({"Id": "Floppy", "MediaTypes": ["Floppy"]})),
            _ => None,
        });
        let slots = bmc.observe_slots(&read_system(&bmc).await).await.unwrap();
        assert_eq!(slots.iter().map(|slot| slot.id.as_str()).collect::<Vec<_>>(), ["Floppy"]);
        assert_eq!(log.count(&format!("GET {shared}")), 1);
        assert_eq!(log.count(&format!("GET {floppy}")), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_collection_that_is_not_there_has_no_slots() {
    let (bmc, _) = bmc(|asked| if asked.line() == SLOTS { answer(404, json!({})) } else { None });
    let slots = bmc.observe_slots(&read_system(&bmc).await).await.unwrap();
    assert_eq!(slots[0].link, "/redfish/v1/Managers/1/VirtualMedia/2");
}

#[tokio::test(start_paused = true)]
async fn a_silent_bmc_is_not_waited_for_once_a_slot() {
    let (bmc, log) = bmc(|asked| {
        let silent = FakeAnswer::After(Duration::from_secs(60), response(200, &[], "{}"));
        asked.path.contains("/VirtualMedia/CD").then_some(silent)
    });
    let error = bmc.observe_slots(&read_system(&bmc).await).await.unwrap_err();
    assert_eq!(error.kind, RedfishErrorKind::TimedOut { after: Duration::from_secs(30) });
    assert_eq!(log.count("GET /redfish/v1/Systems/1/VirtualMedia/CD2"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_gives_no_answer_is_left_out_unless_none_does() {
    for (broken, left) in [("CD2", Some(1)), ("CD", None)] {
        let (bmc, _) = bmc(move |asked| {
            if asked.path.contains(&format!("VirtualMedia/{broken}")) { answer(500, json!({})) } else { None }
        });
        let slots = bmc.observe_slots(&read_system(&bmc).await).await;
        assert_eq!(slots.ok().map(|slots| slots.len()), left);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_was_left_out_is_asked_again_next_time() {
    let mut broken = 3;
    let (bmc, _) = bmc(move |asked| {
        let breaks = asked.path.ends_with("/CD2") && broken > 0;
        broken -= u32::from(breaks);
        if breaks { answer(500, json!({})) } else { None }
    });
    let system = read_system(&bmc).await;
    assert_eq!(bmc.observe_slots(&system).await.unwrap().len(), 1);
    assert_eq!(bmc.observe_slots(&system).await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_override_that_cannot_be_read_where_it_is_set_is_an_error() {
    let mut reads = 0;
    let (bmc, _) = bmc(move |asked| match asked.path.as_str() {
        SYSTEM => {
            let mut body = system();
            body["@Redfish.Settings"] = json!({"SettingsObject": link("/redfish/v1/Systems/1/SD")});
            answer(200, body)
        }
        "/redfish/v1/Systems/1/SD" => {
            reads += 1;
            let boot = json!({"Boot": {"BootSourceOverrideEnabled": "Once"}});
            answer(if reads == 1 { 200 } else { 503 }, boot)
        }
        _ => None,
    });
    assert_eq!(read_system(&bmc).await.boot.enabled.as_deref(), Some("Once"));
    let error = bmc.observe_system(SYSTEM).await.unwrap_err();
    assert_eq!((error.op, error.class()), (Op::Settings, ErrorClass::Retry));
}

#[tokio::test(start_paused = true)]
async fn a_system_that_has_gone_is_looked_up_again() {
    let (bmc, log) = bmc(|asked| if asked.path == "/old" { answer(404, json!({})) } else { None });
    read_system(&bmc).await;
    bmc.observe_system("/old").await.unwrap_err();
    log.clear();
    read_system(&bmc).await;
    assert_eq!(log.count("GET /redfish/v1/Systems"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_system_without_virtual_media_link_has_those_of_its_manager() {
    let (bmc, log) = bmc(|asked| match asked.line().as_str() {
        "GET /redfish/v1/Systems/1" => {
            let mut body = system();
            body.as_object_mut().unwrap().remove("VirtualMedia");
            body["Links"] = json!({});
            answer(200, body)
        }
        // `Links.ManagedBy` is missing too (Huawei 1288H): with one system, every manager is its.
        "GET /redfish/v1/Managers" => answer(200, collection(&["/redfish/v1/Managers/1"])),
        _ => None,
    });
    let slots = bmc.observe_slots(&read_system(&bmc).await).await.unwrap();
    assert_eq!(slots[0].link, "/redfish/v1/Managers/1/VirtualMedia/2");
    assert_eq!(log.count("GET /redfish/v1/Managers"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_answers_500_is_reported_and_skipped() {
    let (bmc, log) = bmc(|asked| match asked.line().as_str() {
        "GET /redfish/v1/Systems" => {
            answer(200, collection(&["/redfish/v1/Systems/HGX_Baseboard_0", SYSTEM]))
        }
        "GET /redfish/v1/Systems/HGX_Baseboard_0" => answer(500, json!({})),
        _ => None,
    });
    let systems = bmc.observe_systems().await.unwrap();
    assert_eq!(systems.iter().map(System::is_host).collect::<Vec<_>>(), [false, true]);
    assert_eq!(systems[0].unread.as_deref(), Some("the BMC answered 500"));
    assert_eq!(log.count("GET /redfish/v1/Systems/HGX_Baseboard_0"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_only_system_is_tried_again_and_then_fatal() {
    let (bmc, log) = bmc(|asked| match asked.line().as_str() {
        "GET /redfish/v1/Systems/1" => answer(500, json!({})),
        _ => None,
    });
    let error = bmc.observe_systems().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Retry);
    assert_eq!(error.to_string(), "reading the system at /redfish/v1/Systems/1: the BMC answered 500");
    assert!(log.count("GET /redfish/v1/Systems/1") >= 3);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_slow_beside_a_baseboard_gets_all_its_tries() {
    let mut tries = 0;
    let (bmc, _) = bmc(move |asked| match asked.line().as_str() {
        "GET /redfish/v1/Systems" => answer(200, collection(&[SYSTEM, "/redfish/v1/Systems/Baseboard"])),
        "GET /redfish/v1/Systems/Baseboard" => answer(200, json!({"Id": "Baseboard"})),
        "GET /redfish/v1/Systems/1" => {
            tries += 1;
            if tries < 3 { answer(503, json!({})) } else { None }
        }
        _ => None,
    });
    assert!(bmc.observe_systems().await.unwrap()[0].is_host());
}

#[tokio::test(start_paused = true)]
async fn members_are_bounded() {
    let (bmc, log) = bmc(|asked| match asked.path.as_str() {
        "/redfish/v1/Systems" => {
            let links: Vec<String> = (0..1000).map(|n| format!("/redfish/v1/Systems/{n}")).collect();
            answer(200, collection(&links.iter().map(String::as_str).collect::<Vec<_>>()))
        }
        path if path.starts_with("/redfish/v1/Systems/") => answer(200, system()),
        _ => None,
    });
    assert_eq!(bmc.observe_systems().await.unwrap().len(), 256);
    assert!(log.all().len() < 270);
}

#[tokio::test(start_paused = true)]
async fn reset_types_come_from_the_action_info_once() {
    let (bmc, log) = bmc(|asked| match asked.line().as_str() {
        "GET /redfish/v1/Systems/1" => {
            let mut body = system();
            body["Actions"]["#ComputerSystem.Reset"] =
                json!({"target": "/r", "@Redfish.ActionInfo": "/info"});
            answer(200, body)
        }
        "GET /info" => answer(
            200,
            json!({"Parameters": [{"Name": "ResetType", "AllowableValues": ["On", "ForceOff", "Odd"]}]}),
        ),
        _ => None,
    });
    read_system(&bmc).await;
    assert_eq!(read_system(&bmc).await.reset_types, [ResetType::On, ResetType::ForceOff]);
    assert_eq!(log.count("GET /info"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_garbled_list_of_reset_types_gives_way_to_the_action_info() {
    let read = |info: u16| async move {
        let (bmc, _) = bmc(move |asked| match asked.line().as_str() {
            "GET /redfish/v1/Systems/1" => {
                let mut body = system();
                body["Actions"]["#ComputerSystem.Reset"] = json!({
                    "target": "/r",
                    "@Redfish.ActionInfo": "/info",
                    "ResetType@Redfish.AllowableValues": ["On", "GracefulShutdownGracefulRestart"],
                });
                answer(200, body)
            }
            "GET /info" => {
                let allowed = ["On", "GracefulShutdown"];
                answer(info, json!({"Parameters": [{"Name": "ResetType", "AllowableValues": allowed}]}))
            }
            _ => None,
        });
        read_system(&bmc).await.reset_types
    };
    assert_eq!(read(200).await, [ResetType::On, ResetType::GracefulShutdown]);
    assert_eq!(read(404).await, [ResetType::On]);
}

#[tokio::test(start_paused = true)]
async fn the_override_is_read_where_it_is_set() {
    let in_settings = |boot: Value| async move {
        let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
            "GET /redfish/v1/Systems/1" => {
                let mut body = system();
                body["@Redfish.Settings"] = json!({"SettingsObject": link("/redfish/v1/Systems/1/SD")});
                answer(200, body)
            }
            "GET /redfish/v1/Systems/1/SD" => answer(200, json!({ "Boot": boot })),
            _ => None,
        });
        read_system(&bmc).await;
        let system = read_system(&bmc).await;
        bmc.request_boot_from_cd(&system, None).await.unwrap();
        (system.boot, log)
    };
    let armed = json!({"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Cd"});
    let (boot, log) = in_settings(armed).await;
    assert_eq!((boot.enabled.as_deref(), boot.target.as_deref()), (Some("Once"), Some("Cd")));
    assert_eq!(log.count("PATCH /redfish/v1/Systems/1/SD"), 1);
    // iDRAC 7.10: a settings object without the override is read once and then left alone.
    let (boot, log) = in_settings(json!({"BootOrder": []})).await;
    assert_eq!(boot.enabled.as_deref(), Some("Disabled"));
    assert_eq!(log.count("GET /redfish/v1/Systems/1/SD"), 1);
    assert_eq!(log.count("PATCH /redfish/v1/Systems/1"), 1);
}

/// An iDRAC 10, whose settings object shows the override only while it is pending.
fn idrac10(mut script: impl FnMut(&Asked) -> Option<FakeAnswer> + Send + 'static) -> (Bmc, RequestLog) {
    const SETTINGS: &str = "/redfish/v1/Systems/1/Settings";
    bmc(move |asked| {
        let given = script(asked);
        given.or_else(|| match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/redfish/v1/") => {
                answer(200, json!({"Vendor": "Dell", "Systems": link("/redfish/v1/Systems")}))
            }
            ("GET", "/redfish/v1/Managers/1") => answer(200, json!({"Model": "17G Monolithic"})),
            ("GET", SYSTEM) => {
                let mut body = system();
                body["@Redfish.Settings"] = json!({"SettingsObject": link(SETTINGS)});
                answer(200, body)
            }
            ("GET", SETTINGS) => answer(200, json!({"Boot": {"BootOrder": []}})),
            _ => None,
        })
    })
}

fn has_settings_quirk(bmc: &Bmc) -> bool {
    bmc.quirks().has(Quirk::BootInSettings)
}

#[tokio::test(start_paused = true)]
async fn what_a_bmc_is_outlives_the_memory_of_its_links() {
    let mut moved = false;
    let (bmc, log) = idrac10(move |asked| {
        let gone = asked.path == CD1 && !std::mem::replace(&mut moved, true);
        if gone { answer(404, json!({})) } else { None }
    });
    read_system(&bmc).await;
    assert!(has_settings_quirk(&bmc));
    bmc.observe_slot(CD1).await.unwrap_err();
    bmc.observe_service().await.unwrap();
    assert!(has_settings_quirk(&bmc), "the root was read again, and no manager");
    assert_eq!(log.count("GET /redfish/v1/"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_does_not_answer_is_asked_again_with_the_next_looks() {
    for (failures, knows) in [(2, [false, true]), (9, [false, false])] {
        let mut left = failures;
        let (bmc, log) = idrac10(move |asked| {
            let fails = asked.path == "/redfish/v1/Managers/1" && left > 0;
            left -= i32::from(fails);
            if fails { answer(500, json!({})) } else { None }
        });
        for known in knows {
            read_system(&bmc).await;
            assert_eq!(has_settings_quirk(&bmc), known);
        }
        for _ in 0..5 {
            read_system(&bmc).await;
        }
        let asked = log.count("GET /redfish/v1/Managers/1");
        assert!(asked <= 3 * 2, "one that always fails is not read without end: {asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pending_override_that_cannot_be_read_is_not_taken_for_none() {
    let mut reads = 0;
    let (bmc, _) = idrac10(move |asked| {
        reads += i32::from(asked.path.ends_with("/Settings"));
        let fails = asked.path.ends_with("/Settings") && reads > 1;
        if fails { answer(503, json!({})) } else { None }
    });
    read_system(&bmc).await;
    let error = bmc.observe_system(SYSTEM).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Retry);
}
