//! The override and the reset: bodies, tags, and what is tried after a refusal.

use serde_json::{Value, json};

use super::super::*;
use super::fake::*;

const PATCH: &str = "PATCH /redfish/v1/Systems/1";

/// The tags that a BMC saw which accepts the PATCH of the one-time boot only as `accepts` says,
/// and the result.
async fn tags(
    header: Option<&'static str>,
    accepts: impl Fn(Option<&str>) -> u16 + Send + 'static,
) -> (Vec<Option<String>>, Result<(), RedfishError>) {
    let mut reads = 0;
    let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
        "GET /redfish/v1/Systems/1" => {
            reads += 1;
            let fresh = format!("W/\"{reads}\"");
            let mut body = system();
            body["@odata.etag"] = json!(fresh);
            answer_with(200, &header.map(|tag| ("etag", tag)).into_iter().collect::<Vec<_>>(), body)
        }
        PATCH => answer(accepts(asked.header("if-match")), json!({})),
        _ => None,
    });
    let system = read_system(&bmc).await;
    let result = bmc.request_boot_from_cd(&system, None).await.map(|_| ());
    let patches = log.all().into_iter().filter(|asked| asked.line() == PATCH);
    (patches.map(|asked| asked.header("if-match").map(str::to_owned)).collect(), result)
}

fn some(tags: &[&str]) -> Vec<Option<String>> {
    tags.iter().map(|tag| Some(tag.to_string()).filter(|tag| tag != "none")).collect()
}

#[tokio::test(start_paused = true)]
async fn the_override_is_once_and_the_mode_is_left_alone() {
    let (bmc, log) = bmc(|_| None);
    let system = read_system(&bmc).await;
    let how = bmc.request_boot_from_cd(&system, None).await.unwrap();
    let body = json!({"Boot": {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Cd"}});
    assert_eq!(log.bodies(PATCH), [body]);
    assert_eq!(how.to_string(), "Cd on the System");
    assert_eq!(bmc.learned().list(), ["boot: Cd on the System"]);
}

#[tokio::test(start_paused = true)]
async fn the_tag_is_that_of_the_header_or_else_of_the_body() {
    assert_eq!(tags(Some("\"h\""), |_| 204).await.0, some(&["\"h\""]));
    assert_eq!(tags(None, |_| 204).await.0, some(&["W/\"1\""]));
    // An empty tag is none: sending it back gives 412.
    assert_eq!(tags(Some(""), |_| 204).await.0, some(&["W/\"1\""]));
    assert_eq!(tags(Some("\"\""), |_| 204).await.0, some(&["none"]));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_tag_is_tried_fresh_and_then_in_every_form() {
    let (seen, result) = tags(None, |tag| if tag == Some("W/\"2\"") { 204 } else { 412 }).await;
    result.unwrap();
    assert_eq!(seen, some(&["W/\"1\"", "W/\"2\""]));
    let (seen, result) =
        tags(None, |tag| if tag.is_some_and(|tag| tag.starts_with('"')) { 204 } else { 412 }).await;
    result.unwrap();
    assert_eq!(seen, some(&["W/\"1\"", "W/\"2\"", "\"2\""]));
    let (seen, result) = tags(None, |tag| if tag.is_none() { 204 } else { 412 }).await;
    result.unwrap();
    assert_eq!(seen, some(&["W/\"1\"", "W/\"2\"", "\"2\"", "none"]));
    let (seen, result) = tags(None, |tag| if tag == Some("2") { 204 } else { 412 }).await;
    result.unwrap();
    assert_eq!(seen, some(&["W/\"1\"", "W/\"2\"", "\"2\"", "none", "2"]));
    let (seen, result) = tags(None, |_| 412).await;
    assert_eq!(seen, some(&["W/\"1\"", "W/\"2\"", "\"2\"", "none", "2", "*"]));
    let error = result.unwrap_err();
    assert_eq!((error.class(), error.effect()), (ErrorClass::Retry, Effect::None));
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_demands_a_tag_and_gives_none_gets_a_star() {
    for status in [412, 428] {
        let (seen, result) = tags(Some("\"\""), move |tag| if tag == Some("*") { 204 } else { status }).await;
        result.unwrap();
        assert_eq!(seen, some(&["none", "*"]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_during_post_may_be_tried_later() {
    let (bmc, _) = bmc(|asked| {
        let post = refusal("iLO.2.15.UnableToModifyDuringSystemPOST", &[]);
        if asked.line() == PATCH { answer(400, post) } else { None }
    });
    let error = bmc.request_boot_from_cd(&read_system(&bmc).await, None).await.unwrap_err();
    assert_eq!((error.class(), error.effect()), (ErrorClass::Retry, Effect::None));
}

#[tokio::test(start_paused = true)]
async fn disarming_gives_the_target_where_the_bmc_wants_it() {
    let (bmc, log) = bmc(|asked| {
        let bare = asked.line() == PATCH && asked.body["Boot"].get("BootSourceOverrideTarget").is_none();
        if bare { answer(400, json!({})) } else { None }
    });
    bmc.request_boot_disarm(&read_system(&bmc).await, None).await.unwrap();
    assert_eq!(
        log.bodies(PATCH),
        [
            json!({"Boot": {"BootSourceOverrideEnabled": "Disabled"}}),
            json!({"Boot": {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None"}}),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_reset_too_soon_may_be_tried_later_and_a_wrong_one_may_not() {
    for (status, body, class) in [
        (400, refusal("Base.1.8.InvalidOperationForSystemState", &[]), ErrorClass::Retry),
        (409, refusal("Base.1.8.ActionParameterValueConflict", &["ResetType"]), ErrorClass::Retry),
        (503, json!({}), ErrorClass::Retry),
        (400, refusal("Base.1.8.ActionParameterNotSupported", &["ResetType"]), ErrorClass::Permanent),
    ] {
        let (bmc, log) = bmc(move |asked| {
            if asked.path.ends_with("ComputerSystem.Reset") { answer(status, body.clone()) } else { None }
        });
        let system = read_system(&bmc).await;
        log.clear();
        let error = bmc.request_reset(&system, ResetType::On).await.unwrap_err();
        assert_eq!(error.class(), class, "{error}");
        assert_eq!(log.all().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_system_without_a_reset_is_not_reset() {
    let (bmc, log) = bmc(|asked| match asked.line().as_str() {
        "GET /redfish/v1/Systems/1" => answer(200, json!({"Id": "1"})),
        _ => None,
    });
    let system = read_system(&bmc).await;
    log.clear();
    let error = bmc.request_reset(&system, ResetType::On).await.unwrap_err();
    assert!(matches!(error.kind, RedfishErrorKind::Unsupported { .. }), "{error}");
    assert!(log.all().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_form_of_a_tag_that_worked_is_used_again() {
    let (bmc, log) = bmc(|asked| match asked.line().as_str() {
        PATCH => answer(if asked.header("if-match") == Some("*") { 204 } else { 412 }, json!({})),
        _ => None,
    });
    let system = read_system(&bmc).await;
    bmc.request_boot_from_cd(&system, None).await.unwrap();
    log.clear();
    bmc.request_boot_from_cd(&system, None).await.unwrap();
    assert_eq!(log.lines(), [PATCH]);
    assert!(bmc.learned().list().contains(&"If-Match: *".to_owned()));
}

/// The bodies of a BMC's boot PATCHes, and the result; its System is changed so, and it refuses so.
async fn patches(
    change: impl Fn(&mut Value) + Send + 'static,
    judge: impl Fn(&Value) -> Option<FakeAnswer> + Send + 'static,
) -> (Vec<(String, Value)>, Result<How, RedfishError>) {
    let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
        "GET /redfish/v1/Systems/1" => {
            let mut body = system();
            change(&mut body);
            answer(200, body)
        }
        line if line.starts_with("PATCH") => judge(&asked.body["Boot"]),
        _ => None,
    });
    let result = bmc.request_boot_from_cd(&read_system(&bmc).await, None).await;
    let patches = log.all().into_iter().filter(|asked| asked.method == "PATCH");
    (patches.map(|asked| (asked.path, asked.body["Boot"].clone())).collect(), result)
}

#[tokio::test(start_paused = true)]
async fn a_mode_that_a_refusal_asks_for_is_sent_as_it_is() {
    let legacy = |body: &mut Value| body["Boot"]["BootSourceOverrideMode"] = json!("Legacy");
    let wants = |boot: &Value| {
        let missing = boot.get("BootSourceOverrideMode").is_none();
        missing
            .then(|| refusal("Base.1.8.PropertyMissing", &["BootSourceOverrideMode"]))
            .and_then(|body| answer(400, body))
    };
    let (sent, result) = patches(legacy, wants).await;
    assert_eq!(result.unwrap().to_string(), "Cd on the System with the mode");
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1].1["BootSourceOverrideMode"], "Legacy");
}

/// What is sent where the refusal asks for the mode, on a BMC that shows `Legacy` and these boot options.
async fn mode_sent(enabled: &'static str, options: &'static [&'static str]) -> Value {
    let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
        "GET /redfish/v1/Systems/1" => {
            let mut body = system();
            body["Boot"]["BootSourceOverrideEnabled"] = json!(enabled);
            body["Boot"]["BootSourceOverrideMode"] = json!("Legacy");
            body["Boot"]["BootOptions"] = link("/o");
            answer(200, body)
        }
        "GET /o" => {
            let members: Vec<Value> =
                (0..options.len()).map(|number| link(&format!("/o/{number}"))).collect();
            answer(200, json!({ "Members": members }))
        }
        PATCH if asked.body["Boot"].get("BootSourceOverrideMode").is_none() => {
            answer(400, refusal("Base.1.8.PropertyMissing", &["BootSourceOverrideMode"]))
        }
        PATCH => answer(204, json!({})),
        line => {
            let number = line.strip_prefix("GET /o/").and_then(|number| number.parse::<usize>().ok());
            number.and_then(|number| answer(200, json!({ "DisplayName": options[number] })))
        }
    });
    bmc.request_boot_from_cd(&read_system(&bmc).await, None).await.unwrap();
    log.bodies(PATCH).last().unwrap()["Boot"]["BootSourceOverrideMode"].clone()
}

/// AMI 12.84 on Gigabyte H262-Z63.
#[tokio::test(start_paused = true)]
async fn legacy_is_not_believed_of_a_disabled_override_beside_options_of_uefi() {
    const UEFI: &[&str] = &["UEFI: disk", "UEFI: PXE IPv4"];
    assert_eq!(mode_sent("Disabled", UEFI).await, "UEFI");
    assert_eq!(mode_sent("Once", UEFI).await, "Legacy");
    assert_eq!(mode_sent("Disabled", &["UEFI: disk", "HDD: disk"]).await, "Legacy");
    assert_eq!(mode_sent("Disabled", &[]).await, "Legacy");
}

#[tokio::test(start_paused = true)]
async fn an_override_that_is_read_only_is_set_on_the_settings_object() {
    let settings = |body: &mut Value| {
        body["@Redfish.Settings"] = json!({"SettingsObject": {"@odata.id": "/redfish/v1/Systems/1/Settings"}})
    };
    let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
        "GET /redfish/v1/Systems/1" => {
            let mut body = system();
            settings(&mut body);
            answer(200, body)
        }
        PATCH => answer(405, json!({})),
        _ => None,
    });
    let how = bmc.request_boot_from_cd(&read_system(&bmc).await, None).await.unwrap();
    assert_eq!(how.to_string(), "Cd on its settings object");
    assert_eq!(log.count("PATCH /redfish/v1/Systems/1/Settings"), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_target_for_cds_the_boot_option_of_the_virtual_one_is_next() {
    const OPTIONS: &str = "/redfish/v1/Systems/1/BootOptions";
    let (bmc, log) = bmc(|asked| match asked.path.as_str() {
        SYSTEM if asked.method == "GET" => {
            let mut body = system();
            body["Boot"]["BootSourceOverrideTarget@Redfish.AllowableValues"] =
                json!(["None", "UefiBootNext"]);
            body["Boot"]["BootNext"] = json!(null);
            body["Boot"]["BootOptions"] = link(OPTIONS);
            answer(200, body)
        }
        OPTIONS => answer(200, collection(&["/o/Boot0001", "/o/Boot0007"])),
        "/o/Boot0001" => answer(200, json!({"DisplayName": "ESXi", "BootOptionReference": "Boot0001"})),
        "/o/Boot0007" => {
            answer(200, json!({"DisplayName": "AMI Virtual CDROM0", "BootOptionReference": "Boot0007"}))
        }
        _ => None,
    });
    let how = bmc.request_boot_from_cd(&read_system(&bmc).await, None).await.unwrap();
    assert_eq!(how.to_string(), "UefiBootNext Boot0007 on the System");
    let body = json!({"Boot": {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "UefiBootNext",
        "BootNext": "Boot0007"}});
    assert_eq!(log.bodies(PATCH), [body]);
}

/// By its device path, and without `Enabled` where that is refused beside it (older iDRACs).
#[tokio::test(start_paused = true)]
async fn a_boot_option_is_reached_by_its_path_too() {
    const OPTIONS: &str = "/redfish/v1/Systems/1/BootOptions";
    const PATH: &str = "PciRoot(0x0)/Pci(0x14,0x0)/USB(0xD,0x0)/USB(0x0,0x0)";
    let (bmc, log) = bmc(|asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", SYSTEM) => {
            let mut body = system();
            body["Boot"]["BootSourceOverrideTarget@Redfish.AllowableValues"] = json!(["None", "UefiTarget"]);
            body["Boot"]["BootOptions"] = link(OPTIONS);
            answer(200, body)
        }
        ("GET", OPTIONS) => answer(200, collection(&["/o/1"])),
        ("GET", "/o/1") => answer(
            200,
            json!({"Name": "Virtual CD", "BootOptionReference": "Boot0003", "UefiDevicePath": PATH}),
        ),
        ("PATCH", SYSTEM) if asked.body["Boot"].get("BootSourceOverrideEnabled").is_some() => {
            answer(400, refusal("Base.1.8.PropertyNotWritable", &["BootSourceOverrideEnabled"]))
        }
        _ => None,
    });
    let how = bmc.request_boot_from_cd(&read_system(&bmc).await, None).await.unwrap();
    assert_eq!(how.to_string(), "UefiTarget Boot0003 on the System");
    let sent = log.bodies("PATCH /redfish/v1/Systems/1");
    let body =
        json!({"Boot": {"BootSourceOverrideTarget": "UefiTarget", "UefiTargetBootSourceOverride": PATH}});
    assert_eq!((sent.len(), sent.last()), (2, Some(&body)));
}

/// What worked the last time goes first, as long as it is offered.
#[tokio::test(start_paused = true)]
async fn a_remembered_target_is_the_first_try_and_not_the_last() {
    let offer = |targets: &'static [&'static str]| {
        move |asked: &Asked| match asked.line().as_str() {
            "GET /redfish/v1/Systems/1" => {
                let mut body = system();
                body["Boot"]["BootSourceOverrideTarget@Redfish.AllowableValues"] = json!(targets);
                answer(200, body)
            }
            PATCH if asked.body["Boot"]["BootSourceOverrideTarget"] == "UsbCd" => {
                answer(400, refusal("Base.1.8.PropertyValueNotInList", &["UsbCd"]))
            }
            _ => None,
        }
    };
    let (bmc, log) = bmc(offer(&["None", "UefiUsbCd", "UsbCd"]));
    bmc.learned().recall(BmcMemory { boot_target: Some("UsbCd".to_owned()), ..BmcMemory::default() });
    let how = bmc.request_boot_from_cd(&read_system(&bmc).await, None).await.unwrap();
    assert_eq!(how.to_string(), "UefiUsbCd on the System");
    let target = |body: &Value| body["Boot"]["BootSourceOverrideTarget"].clone();
    assert_eq!(log.bodies(PATCH).iter().map(target).collect::<Vec<_>>(), ["UsbCd", "UefiUsbCd"]);
    assert_eq!(bmc.learned().memory().0.boot_target.as_deref(), Some("UefiUsbCd"));
}

/// The stock sushy emulator knows neither `None` nor an override that ends.
#[tokio::test(start_paused = true)]
async fn an_override_that_knows_no_none_is_disarmed_by_the_disk() {
    for refusing in [400, 500] {
        let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
            "GET /redfish/v1/Systems/1" => {
                let mut body = system();
                body["Boot"]["BootSourceOverrideTarget@Redfish.AllowableValues"] =
                    json!(["Pxe", "Hdd", "Cd"]);
                answer(200, body)
            }
            PATCH => match asked.body["Boot"]["BootSourceOverrideTarget"].as_str() {
                Some("Hdd") => None,
                Some(_) => answer(refusing, json!({})),
                None => answer(400, json!({})),
            },
            _ => None,
        });
        bmc.request_boot_disarm(&read_system(&bmc).await, None).await.unwrap();
        let last =
            json!({"Boot": {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "Hdd"}});
        assert_eq!(log.bodies(PATCH).last(), Some(&last));
    }
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_offers_no_cd_at_all_is_refused_with_what_it_offers() {
    let (sent, result) = patches(
        |body| body["Boot"]["BootSourceOverrideTarget@Redfish.AllowableValues"] = json!(["None", "Pxe"]),
        |_| None,
    )
    .await;
    let error = result.unwrap_err();
    assert!(error.to_string().contains("it offers None, Pxe"), "{error}");
    assert!(sent.is_empty());
    assert_eq!(error.class(), ErrorClass::Permanent);
}

/// Dell's settings object refuses what the System takes (libredfish#75), and the other way round.
#[tokio::test(start_paused = true)]
async fn the_other_resource_is_asked_once_after_a_definite_refusal() {
    const SETTINGS: &str = "/redfish/v1/Systems/1/Settings";
    let places = [(true, SETTINGS, SYSTEM), (false, SYSTEM, SETTINGS)];
    let cells = places.into_iter().flat_map(|place| DEFINITE.map(|refusal| (place, refusal)));
    for ((in_settings, refusing, taking), (status, message_id)) in cells {
        let mut shown = system();
        shown["@Redfish.Settings"] = json!({ "SettingsObject": link(SETTINGS) });
        let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
            "GET /redfish/v1/Systems/1" => answer(200, shown.clone()),
            line if line == format!("GET {SETTINGS}") && in_settings => answer(
                200,
                json!({"Boot": {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None"}}),
            ),
            line if line == format!("PATCH {refusing}") => answer(status, refusal(message_id, &[])),
            _ => None,
        });
        let system = read_system(&bmc).await;
        bmc.request_boot_from_cd(&system, None).await.unwrap();
        let patched: Vec<String> = log.lines().into_iter().filter(|line| line.starts_with("PATCH")).collect();
        assert_eq!(patched, [format!("PATCH {refusing}"), format!("PATCH {taking}")], "{message_id}");
    }
}

/// Refusals for good, of the request as such and of a property in it.
const DEFINITE: [(u16, &str); 8] = [
    (400, "Base.1.8.UnsupportedOperation"),
    (400, "Base.1.8.PropertyValueNotInList"),
    (400, "Base.1.8.PropertyValueFormatError"),
    (400, "Base.1.18.PropertyValueIncorrect"),
    (400, "Base.1.8.PropertyNotWritable"),
    (403, "Base.1.8.PropertyNotWritable"),
    (400, "Base.1.8.PropertyUnknown"),
    (405, ""),
];

/// The slot's own switch, outside a self test too; what the override was refused for is the error where there is none.
#[tokio::test(start_paused = true)]
async fn the_slots_own_switch_is_asked_once_after_a_definite_refusal() {
    for (status, message_id) in DEFINITE {
        for (cd, switch) in [(Some(CD1), json!({"Hpe": {"BootOnNextServerReset": false}})), (None, json!({}))]
        {
            let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
                line if line == format!("GET {CD1}") => {
                    let mut body = slot("CD1");
                    body["Oem"] = switch.clone();
                    answer(200, body)
                }
                PATCH => answer(status, refusal(message_id, &[])),
                _ => None,
            });
            let system = read_system(&bmc).await;
            let slots = bmc.observe_slots(&system).await.unwrap();
            assert!(!slots.is_empty());
            log.clear();
            let result = bmc.request_boot_from_cd(&system, cd).await;
            let switched = log.bodies(&format!("PATCH {CD1}"));
            match cd {
                Some(_) => {
                    assert_eq!(
                        result.unwrap().to_string(),
                        "BootOnNextServerReset of the slot",
                        "{message_id}"
                    );
                    assert_eq!(switched, [json!({"Oem": {"Hpe": {"BootOnNextServerReset": true}}})]);
                }
                None => assert!(result.unwrap_err().to_string().contains(message_id), "{message_id}"),
            }
        }
    }
}

/// `Disabled` alone and with `None`, whichever is taken (metal-operator#998).
#[tokio::test(start_paused = true)]
async fn the_other_form_of_disarming_is_asked_once_after_a_definite_refusal() {
    for (maker, mode) in [("Contoso", None), ("Supermicro", Some("UEFI"))] {
        for (status, message_id) in DEFINITE {
            for takes_alone in [true, false] {
                let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
                    "GET /redfish/v1/" => {
                        let mut body = root();
                        body["Vendor"] = json!(maker);
                        answer(200, body)
                    }
                    "GET /redfish/v1/Systems/1" => {
                        let mut body = system();
                        body["Boot"]["BootSourceOverrideMode"] = json!(mode);
                        answer(200, body)
                    }
                    PATCH if asked.body["Boot"].get("BootSourceOverrideTarget").is_none() != takes_alone => {
                        answer(status, refusal(message_id, &[]))
                    }
                    _ => None,
                });
                let system = read_system(&bmc).await;
                bmc.request_boot_disarm(&system, None).await.unwrap();
                let sent = log.bodies(PATCH).len();
                // With the mode the full form goes first.
                assert_eq!(sent, if takes_alone == mode.is_none() { 1 } else { 2 }, "{maker} {message_id}");
            }
        }
    }
}
