//! Answers whose body is cut off, garbage, wrongly encoded or never ends: their status stands.

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::super::*;
use super::fake::*;

const GET_SYSTEM: &str = "GET /redfish/v1/Systems/1";
const LOGIN: &str = "POST /redfish/v1/SessionService/Sessions";
const RESET: &str = "POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset";
const INSERT: &str = "POST /redfish/v1/Actions/CD1.InsertMedia";

/// What may become of a body.
#[derive(Clone, Copy, Debug)]
enum Defect {
    /// The connection breaks in its middle.
    Cut,
    /// It never ends.
    Stalled,
    /// It ends in its middle as if it were whole.
    Short,
    Page,
    /// Gzip by its header, and nothing of the kind.
    WrongEncoding,
    Huge,
}

const DEFECTS: [Defect; 6] =
    [Defect::Cut, Defect::Stalled, Defect::Short, Defect::Page, Defect::WrongEncoding, Defect::Huge];

fn spoilt(
    defect: Defect,
    status: u16,
    headers: &[(&str, &str)],
    body: &serde_json::Value,
) -> Option<FakeAnswer> {
    let text = body.to_string();
    let half = Bytes::from(text[..text.len() / 2].to_owned());
    let first = stream::iter([Ok::<_, std::io::Error>(half.clone())]);
    let broken = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let gzip = ("content-encoding", "gzip");
    let answer = match defect {
        Defect::Cut => response(status, headers, Body::from_stream(first.chain(stream::iter([Err(broken)])))),
        Defect::Stalled => response(status, headers, Body::from_stream(first.chain(stream::pending()))),
        Defect::Short => response(status, headers, half),
        Defect::Page => response(status, headers, "<html>"),
        Defect::WrongEncoding => response(status, &[headers, &[gzip]].concat(), "\u{1}\u{2}"),
        Defect::Huge => response(status, headers, " ".repeat(5 << 20)),
    };
    Some(FakeAnswer::Http(answer))
}

#[tokio::test(start_paused = true)]
async fn an_expired_session_is_made_anew_whatever_becomes_of_the_body() {
    for defect in DEFECTS {
        let mut expired = true;
        let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
            GET_SYSTEM if std::mem::take(&mut expired) => {
                spoilt(defect, 401, &[], &refusal("Base.1.8.NoValidSession", &[]))
            }
            _ => None,
        });
        bmc.observe_systems().await.unwrap_or_else(|error| panic!("{defect:?}: {error}"));
        assert_eq!((log.count(LOGIN), log.count(GET_SYSTEM)), (2, 2), "{defect:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_is_that_error_whatever_becomes_of_its_body() {
    for defect in DEFECTS {
        let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
            GET_SYSTEM => spoilt(defect, 404, &[], &refusal("Base.1.8.ResourceMissingAtURI", &[])),
            _ => None,
        });
        let error = bmc.observe_system(SYSTEM).await.unwrap_err();
        assert!(matches!(error.kind, RedfishErrorKind::Refused { status: 404, .. }), "{defect:?}: {error}");
        assert_eq!(log.count(GET_SYSTEM), 1, "{defect:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_has_no_effect_and_a_done_one_is_done() {
    for (defect, status) in DEFECTS.into_iter().flat_map(|defect| [(defect, 400), (defect, 200)]) {
        let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
            RESET => spoilt(defect, status, &[], &refusal("Base.1.8.GeneralError", &[])),
            _ => None,
        });
        let system = read_system(&bmc).await;
        let result = bmc.request_reset(&system, ResetType::On).await;
        match status {
            200 => assert!(result.is_ok(), "{defect:?}: {result:?}"),
            _ => assert_eq!(result.unwrap_err().effect(), Effect::None, "{defect:?}"),
        }
        assert_eq!(log.count(RESET), 1, "{defect:?}");
    }
}

/// The Task is still followed: its link is in a header.
#[tokio::test(start_paused = true)]
async fn a_task_is_found_and_followed_past_broken_bodies() {
    const MONITOR: &str = "/redfish/v1/TaskService/TaskMonitors/9";
    for defect in DEFECTS {
        let mut looks = 0;
        let task = json!({"TaskState": "Running", "@odata.id": "/redfish/v1/TaskService/Tasks/9"});
        let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
            INSERT => spoilt(defect, 202, &[("location", MONITOR)], &task),
            line if line.ends_with(MONITOR) => {
                looks += 1;
                match looks {
                    1 => spoilt(defect, 200, &[], &task),
                    2 => answer(202, task.clone()),
                    _ => spoilt(defect, 404, &[], &refusal("Base.1.8.ResourceMissingAtURI", &[])),
                }
            }
            _ => None,
        });
        let slot = read_slot(&bmc, &log).await;
        let result = bmc.request_insert(&slot, IMAGE).await;
        let looks = log.count(&format!("GET {MONITOR}"));
        match defect {
            // Nothing that ends well is known to be larger than the bound.
            Defect::Huge => assert!(result.is_err() && looks == 1, "{result:?}"),
            _ => assert!(result.is_ok() && looks == 3, "{defect:?}: {result:?}, {looks}"),
        }
    }
}

/// Without a readable list of sessions nothing says that there are none.
#[tokio::test(start_paused = true)]
async fn a_cut_session_service_is_no_reason_for_basic_authentication() {
    let mut first = true;
    let root = json!({"SessionService": link("/ss"), "Systems": link("/redfish/v1/Systems")});
    let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
        "GET /redfish/v1/" => answer(200, root.clone()),
        "GET /ss" if std::mem::take(&mut first) => {
            spoilt(Defect::Short, 200, &[], &json!({ "Sessions": link(SESSIONS) }))
        }
        "GET /ss" => answer(200, json!({ "Sessions": link(SESSIONS) })),
        _ => None,
    });
    bmc.observe_systems().await.unwrap();
    assert!(log.all().iter().all(|asked| asked.header("authorization").is_none()));
    assert_eq!(log.count(LOGIN), 1);
}
