//! Inserting and ejecting: which body, how often, and what is never done.

use serde_json::{Value, json};

use super::super::*;
use super::fake::*;
use shoal_base::world::TransportErrorKind;

const INSERT: &str = "POST /redfish/v1/Actions/CD1.InsertMedia";
const EJECT: &str = "POST /redfish/v1/Actions/CD1.EjectMedia";

/// What an insert sent to a BMC that judges each body so, and the result.
async fn insert_into(
    change_slot: impl Fn(&mut Value) + Send + 'static,
    mut judge: impl FnMut(&Asked) -> Option<FakeAnswer> + Send + 'static,
) -> (Vec<Value>, Result<How, RedfishError>) {
    let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
        line if line == format!("GET {CD1}") => {
            let mut body = slot("CD1");
            change_slot(&mut body);
            answer_with(200, &[("etag", "\"7\"")], body)
        }
        _ => judge(asked),
    });
    let slot = read_slot(&bmc, &log).await;
    let result = bmc.request_insert(&slot, IMAGE).await;
    let writes = log.all().into_iter().filter(|asked| asked.method != "GET");
    (writes.map(|asked| asked.body).collect(), result)
}

fn without(parameter: &'static str, message_id: &'static str) -> impl FnMut(&Asked) -> Option<FakeAnswer> {
    move |asked| {
        let missing = asked.line() == INSERT && asked.body.get(parameter).is_none();
        if missing { answer(400, refusal(message_id, &["InsertMedia", parameter])) } else { None }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_form_is_the_image_alone() {
    let (sent, result) = insert_into(|_| (), |_| None).await;
    result.unwrap();
    assert_eq!(sent, [json!({ "Image": IMAGE })]);
}

#[tokio::test(start_paused = true)]
async fn what_is_advertised_as_required_is_sent_with_the_first_request() {
    let advertise = |body: &mut Value| {
        body["Actions"]["#VirtualMedia.InsertMedia"]["@Redfish.ActionInfo"] = json!("/info")
    };
    let (sent, result) = insert_into(advertise, |asked| match asked.line().as_str() {
        "GET /info" => answer(
            200,
            json!({"Parameters": [
                {"Name": "Image", "Required": true},
                {"Name": "TransferProtocolType", "Required": true, "AllowableValues": ["NFS", "http"]},
                {"Name": "TransferMethod", "Required": true},
                {"Name": "Inserted", "Required": false},
            ]}),
        ),
        _ => None,
    })
    .await;
    result.unwrap();
    assert_eq!(sent, [json!({"Image": IMAGE, "TransferProtocolType": "http", "TransferMethod": "Stream"})]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_names_a_property_is_answered_by_it() {
    for (parameter, value) in [
        ("TransferProtocolType", json!("HTTP")),
        ("TransferMethod", json!("Stream")),
        ("Inserted", json!(true)),
        ("WriteProtected", json!(true)),
    ] {
        let (sent, result) = insert_into(|_| (), without(parameter, "Base.1.8.ActionParameterMissing")).await;
        result.unwrap();
        assert_eq!(sent, [json!({ "Image": IMAGE }), json!({"Image": IMAGE, parameter: value})]);
    }
}

#[tokio::test(start_paused = true)]
async fn four_requests_satisfy_the_most_demanding_bmc() {
    // NVIDIA DGX H100 (AMI): protocol, method, and credentials for a server that wants none.
    let wants = |asked: &Asked| {
        let mut wanted = ["TransferProtocolType", "TransferMethod", "UserName", "Password"].into_iter();
        let missing = wanted.find(|name| asked.line() == INSERT && asked.body.get(*name).is_none())?;
        answer(400, refusal("Base.1.8.ActionParameterMissing", &["InsertMedia", missing]))
    };
    let (sent, result) = insert_into(|_| (), wants).await;
    result.unwrap();
    let last = json!({
        "Image": IMAGE, "TransferProtocolType": "HTTP", "TransferMethod": "Stream",
        "UserName": "none", "Password": "none",
    });
    assert_eq!((sent.len(), sent.last()), (4, Some(&last)));
}

#[tokio::test(start_paused = true)]
async fn a_property_that_is_refused_is_dropped_and_stays_dropped() {
    // Supermicro X11 and X12 refuse `Inserted`; here an ActionInfo claims that it is required.
    let advertise = |body: &mut Value| {
        body["Actions"]["#VirtualMedia.InsertMedia"]["@Redfish.ActionInfo"] = json!("/info")
    };
    let (sent, result) = insert_into(advertise, |asked| match asked.line().as_str() {
        "GET /info" => answer(200, json!({"Parameters": [{"Name": "Inserted", "Required": true}]})),
        INSERT if asked.body.get("Inserted").is_some() => {
            answer(400, refusal("Base.1.8.PropertyUnknown", &["Inserted"]))
        }
        INSERT => answer(400, refusal("Base.1.8.ActionParameterMissing", &["InsertMedia", "Inserted"])),
        _ => None,
    })
    .await;
    assert!(matches!(result.unwrap_err().kind, RedfishErrorKind::Refused { status: 400, .. }));
    assert_eq!(sent, [json!({"Image": IMAGE, "Inserted": true}), json!({ "Image": IMAGE })]);
}

#[tokio::test(start_paused = true)]
async fn the_ladder_has_four_rungs() {
    let mut wanted =
        ["TransferProtocolType", "TransferMethod", "Inserted", "WriteProtected", "UserName"].iter();
    let (sent, result) = insert_into(
        |_| (),
        move |asked| {
            let next = (asked.line() == INSERT).then(|| wanted.next().unwrap())?;
            answer(400, refusal("Base.1.8.ActionParameterMissing", &[next]))
        },
    )
    .await;
    assert_eq!(sent.len(), 4);
    assert!(matches!(result.unwrap_err().kind, RedfishErrorKind::Unsupported { .. }));
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_or_unspecific_answer_ends_it() {
    let named = refusal("Base.1.8.ActionParameterMissing", &["TransferProtocolType"]);
    let cases: [(Option<FakeAnswer>, Effect); 6] = [
        // It names what was never sent.
        (answer(400, refusal("Base.1.8.PropertyUnknown", &["Inserted"])), Effect::None),
        (answer(500, named.clone()), Effect::Unknown),
        (answer(503, named), Effect::Unknown),
        (Some(FakeAnswer::Fails(TransportErrorKind::Broken)), Effect::Unknown),
        (Some(FakeAnswer::After(Duration::from_secs(901), response(204, &[], ""))), Effect::Unknown),
        (answer(400, refusal("Base.1.8.PropertyValueFormatError", &["Image"])), Effect::None),
    ];
    for (first, effect) in cases {
        let mut first = Some(first);
        let (sent, result) = insert_into(
            |_| (),
            move |asked| if asked.line() == INSERT { first.take().unwrap() } else { None },
        )
        .await;
        let error = result.unwrap_err();
        assert_eq!((sent.len(), error.effect()), (1, effect), "{error}");
        assert_eq!(error.op, Op::Insert);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_insert_gets_its_own_timeout() {
    let slow = |asked: &Asked| {
        let done = FakeAnswer::After(Duration::from_secs(800), response(204, &[], ""));
        (asked.line() == INSERT).then_some(done)
    };
    insert_into(|_| (), slow).await.1.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slot_without_actions_is_patched_with_its_tag() {
    let strip = |body: &mut Value| body["Actions"] = json!({});
    let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
        line if line == format!("GET {CD1}") || line.ends_with("/VirtualMedia/CD2") => {
            let mut body = slot(if line.ends_with("CD1") { "CD1" } else { "CD2" });
            strip(&mut body);
            answer_with(200, &[("etag", "\"7\""), ("allow", "GET, PATCH")], body)
        }
        _ => None,
    });
    let slot = read_slot(&bmc, &log).await;
    bmc.request_insert(&slot, IMAGE).await.unwrap();
    bmc.request_eject(&slot).await.unwrap();
    let patches = log.bodies(&format!("PATCH {CD1}"));
    let insert = json!({"Image": IMAGE, "Inserted": true, "WriteProtected": true});
    assert_eq!(patches, [insert, json!({"Image": null, "Inserted": false})]);
    assert!(log.all().iter().all(|asked| asked.header("if-match") == Some("\"7\"")));
}

#[tokio::test(start_paused = true)]
async fn a_failure_reported_in_the_body_of_a_success_is_a_failure() {
    let message = json!({"MessageId": "ExtendedError.1.2.InternalError", "MessageSeverity": "Critical"});
    for (body, ok) in [
        (json!({"@Message.ExtendedInfo": [message]}), false),
        (
            json!({"error": {"code": "Base.1.8.Success", "@Message.ExtendedInfo": [{"MessageId": "Base.1.8.Success"}]}}),
            true,
        ),
    ] {
        let said = move |asked: &Asked| if asked.line() == INSERT { answer(200, body.clone()) } else { None };
        assert_eq!(insert_into(|_| (), said).await.1.is_ok(), ok);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_shows_nothing_of_the_media_url() {
    let echo = |asked: &Asked| {
        let text = format!("The value '{IMAGE}' for the property Image is not valid.");
        if asked.line() == INSERT {
            answer(400, json!({"error": {"code": "X.1.Bad", "message": text}}))
        } else {
            None
        }
    };
    let error = insert_into(|_| (), echo).await.1.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
    assert!(shown.contains("'http://10.0.0.1:8080/(hidden)' for the property Image"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn an_eject_always_has_a_body() {
    let (bmc, log) = bmc(|_| None);
    let slot = read_slot(&bmc, &log).await;
    bmc.request_eject(&slot).await.unwrap();
    assert_eq!(log.bodies(EJECT), [json!({})]);
    assert_eq!(log.all()[0].header("content-type"), Some("application/json"));
}

#[tokio::test(start_paused = true)]
async fn what_a_slot_does_not_offer_is_not_asked_for() {
    let (bmc, log) = bmc(|asked| match asked.line().as_str() {
        line if line == format!("GET {CD1}") => {
            let mut body = slot("CD1");
            body["Actions"].as_object_mut().unwrap().remove("#VirtualMedia.InsertMedia");
            answer(200, body)
        }
        line if line.starts_with("GET") && line.ends_with("/CD2") => {
            let mut body = slot("CD2");
            body["Actions"].as_object_mut().unwrap().remove("#VirtualMedia.EjectMedia");
            answer(200, body)
        }
        _ => None,
    });
    let system = read_system(&bmc).await;
    let slots = bmc.observe_slots(&system).await.unwrap();
    log.clear();
    let error = bmc.request_insert(&slots[0], IMAGE).await.unwrap_err();
    assert_eq!((error.class(), error.effect()), (ErrorClass::Permanent, Effect::None), "{error}");
    assert!(log.all().is_empty());
    // Nothing is in it, as another look shows.
    assert_eq!(bmc.request_eject(&slots[1]).await.unwrap().to_string(), "empty already");
    assert!(log.all().iter().all(|asked| asked.method == "GET"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_without_a_reason_is_answered_by_the_fullest_form_once() {
    let silent = |asked: &Asked| {
        let bare = asked.line() == INSERT && asked.body.get("TransferMethod").is_none();
        if bare { answer(400, json!({})) } else { None }
    };
    let (sent, result) = insert_into(|_| (), silent).await;
    assert_eq!(
        result.unwrap().to_string(),
        "InsertMedia with Inserted, TransferMethod, TransferProtocolType, WriteProtected"
    );
    assert_eq!(sent.len(), 2);
    let (sent, result) =
        insert_into(|_| (), |asked| if asked.line() == INSERT { answer(400, json!({})) } else { None }).await;
    assert_eq!((sent.len(), result.is_err()), (2, true));
}

#[tokio::test(start_paused = true)]
async fn the_next_insert_begins_with_what_worked() {
    let (bmc, log) = bmc(without_of("TransferProtocolType"));
    let slot = read_slot(&bmc, &log).await;
    bmc.request_insert(&slot, IMAGE).await.unwrap();
    bmc.request_insert(&slot, IMAGE).await.unwrap();
    assert_eq!(log.bodies(INSERT).len(), 3);
    assert_eq!(bmc.learned().list(), ["insert: InsertMedia with TransferProtocolType"]);
}

/// What worked before is no reason to give up where it does not any more.
#[tokio::test(start_paused = true)]
async fn a_remembered_form_that_is_refused_gives_way_to_the_whole_ladder() {
    // It took the image alone with a protocol; now it wants the fullest form, and never says why.
    let (bmc, log) = bmc(|asked| {
        let is_full = asked.body.get("TransferMethod").is_some() && asked.body.get("Inserted").is_some();
        if asked.line() == INSERT && !is_full { answer(400, json!({})) } else { None }
    });
    bmc.learned()
        .recall(BmcMemory { insert: Some(vec!["TransferProtocolType".to_owned()]), ..BmcMemory::default() });
    let slot = read_slot(&bmc, &log).await;
    bmc.request_insert(&slot, IMAGE).await.unwrap();
    let sent = log.bodies(INSERT);
    assert_eq!(sent[0], json!({"Image": IMAGE, "TransferProtocolType": "HTTP"}));
    assert_eq!(sent.last().unwrap()["TransferMethod"], "Stream");
    assert!(sent.len() <= 8, "{sent:?}");
    let full = ["Inserted", "TransferMethod", "TransferProtocolType", "WriteProtected"];
    assert_eq!(bmc.learned().memory().0.insert.unwrap(), full);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_no_form_changes_is_not_asked_about_twice() {
    for (status, message_id) in [(400, "iLO.2.15.LicenseKeyRequired"), (500, "")] {
        let (bmc, log) = bmc(move |asked| match asked.line() == INSERT {
            true => answer(status, refusal(message_id, &[])),
            false => None,
        });
        bmc.learned().recall(BmcMemory { insert: Some(vec!["Inserted".to_owned()]), ..BmcMemory::default() });
        let slot = read_slot(&bmc, &log).await;
        bmc.request_insert(&slot, IMAGE).await.unwrap_err();
        assert_eq!(log.bodies(INSERT).len(), 1, "{message_id}");
    }
}

fn without_of(parameter: &'static str) -> impl FnMut(&Asked) -> Option<FakeAnswer> {
    without(parameter, "Base.1.8.ActionParameterMissing")
}

#[tokio::test(start_paused = true)]
async fn an_action_that_turns_out_not_to_be_there_gives_way_to_a_patch() {
    let (sent, result) =
        insert_into(|_| (), |asked| if asked.line() == INSERT { answer(405, json!({})) } else { None }).await;
    assert_eq!(result.unwrap().to_string(), "PATCH with Inserted, WriteProtected");
    assert_eq!(sent.last(), Some(&json!({"Image": IMAGE, "Inserted": true, "WriteProtected": true})));
}

#[tokio::test(start_paused = true)]
async fn an_image_whose_protocol_is_not_offered_is_not_asked_for() {
    let (sent, result) = insert_into(
        |body| {
            body["Actions"]["#VirtualMedia.InsertMedia"]["TransferProtocolType@Redfish.AllowableValues"] =
                json!(["NFS", "CIFS"])
        },
        |_| None,
    )
    .await;
    let error = result.unwrap_err();
    assert!(sent.is_empty() && error.to_string().contains("NFS, CIFS only"), "{error}");
    assert!(error.concerns_the_url() && !error.is_of_this_slot(), "no slot of it would take this URL");
}

/// GH200's OpenBMC names `Image` where a URL is not HTTPS: rotating the slots put the media into the wrong ones.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_names_the_url_is_not_of_the_slot() {
    let refusal = |asked: &Asked| {
        let message =
            "The value http://h/a.iso for the parameter Image in the action InsertMedia is not in the list";
        let info = json!({"MessageId": "Base.1.13.ActionParameterValueNotInList", "Message": message});
        let body = json!({"error": {"@Message.ExtendedInfo": [info]}});
        if asked.line() == INSERT { answer(400, body) } else { None }
    };
    let error = insert_into(|_| (), refusal).await.1.unwrap_err();
    assert!(error.concerns_the_url() && !error.is_of_this_slot(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn another_slot_may_take_what_this_one_refuses_for_itself() {
    for (status, message_id, expected, occupied) in [
        (400, "Base.1.8.ActionParameterNotSupported", true, false),
        (400, "Base.1.8.ResourceInUse", true, true),
        (405, "", true, false),
        (409, "", true, true),
        (409, "Base.1.8.ResourceInUse", true, true),
        (500, "Base.1.8.ResourceInUse", true, true),
        (500, "Base.1.8.InternalError", false, false),
        (400, "Base.1.8.CouldNotEstablishConnection", false, false),
        (400, "iLO.2.15.LicenseKeyRequired", false, false),
        (403, "", false, false),
    ] {
        let body = refusal(message_id, &[]);
        let (_, result) = insert_into(
            |_| (),
            move |asked| match asked.line() == INSERT || asked.method == "PATCH" {
                true => answer(status, body.clone()),
                false => None,
            },
        )
        .await;
        let error = result.unwrap_err();
        let found = (error.is_of_this_slot(), error.is_of_an_occupied_slot());
        assert_eq!(found, (expected, occupied), "{status} {message_id}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_eject_that_is_refused_is_done_where_the_slot_is_empty() {
    for (status, empty, ok) in [(400, true, true), (409, true, true), (500, true, true), (500, false, false)]
    {
        let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
            EJECT => answer(status, refusal("Base.1.8.GeneralError", &[])),
            line if line == format!("GET {CD1}") => {
                let mut body = slot("CD1");
                body["Inserted"] = json!(!empty);
                // Supermicro never clears the image.
                body["Image"] = json!(IMAGE);
                answer(200, body)
            }
            _ => None,
        });
        let slot = read_slot(&bmc, &log).await;
        assert_eq!(bmc.request_eject(&slot).await.is_ok(), ok, "{status} {empty}");
    }
}
