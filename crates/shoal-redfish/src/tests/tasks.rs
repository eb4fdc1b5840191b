//! Tasks behind an insert: how they end, and how long they are followed.

use serde_json::{Value, json};

use super::super::*;
use super::fake::*;

const INSERT: &str = "POST /redfish/v1/Actions/CD1.InsertMedia";
const MONITOR: &str = "/redfish/v1/TaskService/TaskMonitors/9";
const TASK: &str = "/redfish/v1/TaskService/Tasks/9";

/// An insert that becomes a Task, whose monitor answers with these one after the other, the last
/// without end. Gives the result and how often the monitor was asked.
async fn insert_with(looks: Vec<(u16, Value)>) -> (Result<(), RedfishError>, usize) {
    let mut left = looks.into_iter().rev().collect::<Vec<_>>();
    let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
        INSERT => answer_with(202, &[("location", MONITOR)], json!({"@odata.id": TASK, "TaskState": "New"})),
        line if line.ends_with(MONITOR) => {
            let (status, body) = if left.len() > 1 { left.pop().unwrap() } else { left[0].clone() };
            answer(status, body)
        }
        _ => None,
    });
    let slot = read_slot(&bmc, &log).await;
    let result = bmc.request_insert(&slot, IMAGE).await;
    (result.map(|_| ()), log.count(&format!("GET {MONITOR}")))
}

fn task(state: &str) -> Value {
    json!({"@odata.id": TASK, "TaskState": state, "TaskStatus": "OK"})
}

#[tokio::test(start_paused = true)]
async fn a_task_is_followed_to_its_end() {
    for last in
        [(200, task("Completed")), (204, json!(null)), (200, json!({})), (201, json!(null)), (404, json!({}))]
    {
        let looks = vec![(202, task("Running")), (202, json!(null)), (200, task("Running")), last.clone()];
        let (result, asked) = insert_with(looks).await;
        assert!(result.is_ok(), "{last:?}: {result:?}");
        assert_eq!(asked, 4, "{last:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_is_found_on_the_bmcs_own_origin_whatever_form_its_name_has() {
    let monitor = MONITOR.trim_start_matches('/');
    for (location, body) in [
        (Some(format!("https://ilo.internal{MONITOR}")), json!({})),
        (Some(monitor.to_owned()), json!({})),
        (Some("TaskService/TaskMonitors/9".to_owned()), json!({})),
        (None, json!({ "TaskMonitor": MONITOR })),
        (None, json!({"TaskMonitor": format!("http://10.9.9.9{MONITOR}")})),
        (None, json!({ "@odata.id": monitor })),
    ] {
        let named = location.clone();
        let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
            INSERT => {
                let location = location.iter().map(|location| ("location", location.as_str()));
                answer_with(202, &location.collect::<Vec<_>>(), body.clone())
            }
            line if line.ends_with(MONITOR) => answer(200, task("Exception")),
            _ => None,
        });
        let slot = read_slot(&bmc, &log).await;
        let error = bmc.request_insert(&slot, IMAGE).await.unwrap_err();
        assert!(matches!(error.kind, RedfishErrorKind::TaskFailed { .. }), "{named:?}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_late_is_a_failure_in_its_own_words() {
    let message = json!({"MessageId": "IDRAC.2.8.RAC0904", "Message": format!("Cannot reach {IMAGE}."), "Severity": "Critical"});
    for messages in [json!([message]), message.clone()] {
        let mut failed = task("Exception");
        failed["Messages"] = messages;
        let (result, _) =
            insert_with(vec![(202, task("Running")), (202, task("Running")), (200, failed)]).await;
        let error = result.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "following a Task at {MONITOR}: the BMC's Task failed \
                     (IDRAC.2.8.RAC0904: Exception. Cannot reach http://10.0.0.1:8080/(hidden).)"
            )
        );
        assert_eq!((error.class(), error.effect()), (ErrorClass::Retry, Effect::Unknown));
    }
}

#[tokio::test(start_paused = true)]
async fn every_way_of_failing_is_seen() {
    let mut critical = task("Completed");
    critical["TaskStatus"] = json!("Critical");
    for last in
        [(200, task("Killed")), (200, task("Cancelled")), (200, critical), (400, json!({})), (409, json!({}))]
    {
        let (result, _) = insert_with(vec![(202, task("Running")), last.clone()]).await;
        let error = result.unwrap_err();
        assert!(matches!(error.kind, RedfishErrorKind::TaskFailed { .. }), "{last:?}: {error}");
    }
}

/// DMTF: it is not complete, and may be restarted.
#[tokio::test(start_paused = true)]
async fn an_interrupted_task_has_not_ended() {
    let looks = vec![(200, task("Interrupted")), (202, task("Running")), (200, task("Completed"))];
    let (result, asked) = insert_with(looks).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(asked, 3);
}

/// What such an answer is about is the look.
#[tokio::test(start_paused = true)]
async fn a_monitor_that_refuses_to_be_looked_at_gives_way_to_the_task_and_leaves_the_end_open() {
    for status in [303, 403, 405, 415] {
        for (state, ok) in [("Completed", true), ("Exception", false)] {
            let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
                INSERT => answer_with(202, &[("location", MONITOR)], json!({ "@odata.id": TASK })),
                line if line.ends_with(MONITOR) => answer(status, json!({})),
                line if line.ends_with(TASK) => answer(200, task(state)),
                _ => None,
            });
            let slot = read_slot(&bmc, &log).await;
            assert_eq!(bmc.request_insert(&slot, IMAGE).await.is_ok(), ok, "{status} {state}");
        }
        let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
            INSERT => answer_with(202, &[("location", MONITOR)], json!({})),
            line if line.ends_with(MONITOR) => answer(status, json!({})),
            _ => None,
        });
        let slot = read_slot(&bmc, &log).await;
        let error = bmc.request_insert(&slot, IMAGE).await.unwrap_err();
        assert!(error.is_open() && !error.is_reported_failure(), "{status}: {error}");
        assert_eq!(
            (error.class(), error.effect()),
            (ErrorClass::Retry, Effect::Unknown),
            "{status}: {error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_without_end_is_left_at_the_deadline() {
    let started = tokio::time::Instant::now();
    let (result, asked) = insert_with(vec![(202, task("Running"))]).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind, RedfishErrorKind::TimedOut { after: Duration::from_secs(900) });
    assert_eq!(error.effect(), Effect::Unknown);
    assert_eq!(started.elapsed(), Duration::from_secs(900));
    assert!((90..120).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_asks_for_an_hour_between_looks_is_looked_at_sooner() {
    let mut looks = 0;
    let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
        INSERT => answer_with(202, &[("location", MONITOR)], json!({})),
        line if line.ends_with(MONITOR) => {
            looks += 1;
            let running = || answer_with(202, &[("retry-after", "3600")], json!({}));
            if looks < 3 { running() } else { answer(200, json!({})) }
        }
        _ => None,
    });
    let slot = read_slot(&bmc, &log).await;
    bmc.request_insert(&slot, IMAGE).await.unwrap();
    assert_eq!(log.count(&format!("GET {MONITOR}")), 3);
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_is_busy_for_a_moment_does_not_fail_the_task() {
    for busy in [[503, 500], [429, 429]] {
        let [first, second] = busy.map(|status| (status, json!({})));
        let (result, _) = insert_with(vec![first, second, (200, task("Completed"))]).await;
        result.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_that_cannot_be_read_is_not_the_end() {
    let mut looks = 0;
    let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
        INSERT => answer_with(202, &[("location", MONITOR)], json!({})),
        line if line.ends_with(MONITOR) => {
            looks += 1;
            if looks == 1 { raw(200, "<html>Bad Gateway") } else { answer(200, task("Exception")) }
        }
        _ => None,
    });
    let slot = read_slot(&bmc, &log).await;
    let error = bmc.request_insert(&slot, IMAGE).await.unwrap_err();
    assert!(matches!(error.kind, RedfishErrorKind::TaskFailed { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_monitor_that_is_never_there_gives_way_to_the_task_itself() {
    let (bmc, log) = bmc(|asked| match asked.line().as_str() {
        INSERT => answer_with(202, &[("location", MONITOR)], json!({"@odata.id": TASK})),
        line if line.ends_with(TASK) => answer(200, task("Exception")),
        _ => None,
    });
    let slot = read_slot(&bmc, &log).await;
    let error = bmc.request_insert(&slot, IMAGE).await.unwrap_err();
    assert!(matches!(error.kind, RedfishErrorKind::TaskFailed { .. }), "{error}");
    assert_eq!(log.count(&format!("GET {MONITOR}")), 3);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_has_ended_already_is_not_followed() {
    for (body, ok) in [(task("Completed"), true), (task("Exception"), false)] {
        let (bmc, log) =
            bmc(move |asked| if asked.line() == INSERT { answer(202, body.clone()) } else { None });
        let slot = read_slot(&bmc, &log).await;
        assert_eq!(bmc.request_insert(&slot, IMAGE).await.is_ok(), ok);
        assert_eq!(log.lines(), [INSERT]);
    }
}

/// Not by a redirect of the monitor either.
#[tokio::test(start_paused = true)]
async fn a_monitor_that_redirects_to_another_origin_is_an_error() {
    let (bmc, log) = bmc(|asked| match asked.line().as_str() {
        INSERT => answer_with(202, &[("location", MONITOR)], json!({})),
        line if line.ends_with(MONITOR) => {
            answer_with(307, &[("location", "https://evil.test/redfish/v1/TaskService/Tasks/9")], json!({}))
        }
        _ => None,
    });
    let slot = read_slot(&bmc, &log).await;
    let error = bmc.request_insert(&slot, IMAGE).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown, "{error}");
}

/// A login that is refused had no effect; one on the way to the Task says nothing of it.
#[tokio::test(start_paused = true)]
async fn what_goes_wrong_after_the_bmc_took_an_insert_in_leaves_it_open() {
    let mut is_in = false;
    let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
        INSERT => {
            is_in = true;
            answer_with(202, &[("location", MONITOR)], json!({}))
        }
        _ if is_in => answer(401, json!({})),
        _ => None,
    });
    let slot = read_slot(&bmc, &log).await;
    let error = bmc.request_insert(&slot, IMAGE).await.unwrap_err();
    assert!(matches!(error.kind, RedfishErrorKind::Unauthorised { .. }), "{error}");
    assert_eq!((error.effect(), error.is_open()), (Effect::Unknown, true), "{error}");
    let (ended, _) = insert_with(vec![(200, task("Exception"))]).await;
    assert!(!ended.unwrap_err().is_open(), "the BMC has said how it ended");
}

#[tokio::test(start_paused = true)]
async fn a_202_without_a_task_is_left_to_the_callers_look() {
    let (bmc, log) = bmc(|asked| if asked.line() == INSERT { answer(202, json!({})) } else { None });
    let slot = read_slot(&bmc, &log).await;
    bmc.request_insert(&slot, IMAGE).await.unwrap();
}

const RESET: &str = "POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset";

fn critical_or(severity: &str) -> Value {
    json!([{"MessageId": "iDRAC.2.8.PSU0001", "Message": "No power.", "MessageSeverity": severity,
            "Resolution": "Plug it in."}])
}

#[tokio::test(start_paused = true)]
async fn the_task_of_a_reset_is_followed_to_its_end() {
    for state in ["Exception", "Killed", "Cancelled"] {
        let (bmc, _) = bmc(move |asked| match asked.line().as_str() {
            RESET => answer_with(202, &[("location", MONITOR)], task("New")),
            line if line.ends_with(MONITOR) => {
                let mut ended = task(state);
                ended["Messages"] = critical_or("Critical");
                answer(200, ended)
            }
            _ => None,
        });
        let system = read_system(&bmc).await;
        let error = bmc.request_reset(&system, ResetType::On).await.unwrap_err();
        assert!(error.is_reported_failure(), "{error}");
        let quoted = format!("(iDRAC.2.8.PSU0001: {state}. No power. Resolution: Plug it in.)");
        assert!(error.to_string().contains(&quoted), "{error}");
    }
}

/// The host's power says more than a Task that cannot be read, or that takes its time.
#[tokio::test(start_paused = true)]
async fn a_task_of_a_reset_that_shows_nothing_is_no_failure() {
    for look in [500, 401, 404, 200, 303, 403, 405] {
        let (bmc, _) = bmc(move |asked| match asked.line().as_str() {
            RESET => answer_with(202, &[("location", MONITOR)], task("New")),
            line if line.ends_with(MONITOR) => answer(look, task("Running")),
            _ => None,
        });
        let system = read_system(&bmc).await;
        bmc.request_reset(&system, ResetType::On).await.unwrap_or_else(|error| panic!("{look}: {error}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_that_reports_a_failure_is_one() {
    for (severity, is_good) in [("Critical", false), ("Warning", true), ("OK", true)] {
        for body in [
            json!({"error": {"@Message.ExtendedInfo": critical_or(severity)}}),
            json!({"@Message.ExtendedInfo": critical_or(severity)}),
        ] {
            let (bmc, _) = bmc(move |asked| match asked.method.as_str() {
                "POST" if asked.line() == RESET => answer(200, body.clone()),
                "PATCH" => answer(200, body.clone()),
                _ => None,
            });
            let system = read_system(&bmc).await;
            let reset = bmc.request_reset(&system, ResetType::On).await;
            let boot = bmc.request_boot_from_cd(&system, None).await.map(|_| ());
            for result in [reset, boot] {
                let Err(error) = result else {
                    assert!(is_good, "{severity}");
                    continue;
                };
                assert!(!is_good && error.is_reported_failure() && !error.is_open(), "{error}");
                let quoted = "reported that it failed (iDRAC.2.8.PSU0001: No power. Resolution: Plug it in.)";
                assert!(error.to_string().ends_with(quoted), "{error}");
            }
        }
    }
}

/// The Task of a reset that ends so late, beside a host that comes on unrequested then or never.
async fn reset_that_ends_after(
    secs: u64,
    state: &'static str,
    comes_on: u64,
) -> (Duration, Result<(), RedfishError>) {
    let began = tokio::time::Instant::now();
    let passed = move |secs| began.elapsed() >= Duration::from_secs(secs);
    let (bmc, _) = bmc(move |asked| match asked.line().as_str() {
        RESET => answer_with(202, &[("location", MONITOR)], task("New")),
        line if line.ends_with(MONITOR) => answer(200, task(if passed(secs) { state } else { "Running" })),
        "GET /redfish/v1/Systems/1" if passed(comes_on) => {
            let mut shown = system();
            shown["PowerState"] = json!("On");
            answer(200, shown)
        }
        _ => None,
    });
    let system = read_system(&bmc).await;
    let result = bmc.request_reset(&system, ResetType::On).await;
    (began.elapsed(), result)
}

/// Until then the BMC is at it, and must not be asked again.
#[tokio::test(start_paused = true)]
async fn the_task_of_a_start_is_followed_until_the_host_shows_it() {
    let (_, failed) = reset_that_ends_after(200, "Exception", 9999).await;
    assert!(failed.unwrap_err().is_reported_failure());
    let (took, result) = reset_that_ends_after(9999, "", 100).await;
    assert!(result.is_ok() && (100..=106).contains(&took.as_secs()), "{took:?} {result:?}");
    let (took, result) = reset_that_ends_after(9999, "", 9999).await;
    assert!(result.is_ok() && took.as_secs() <= 301, "{took:?} {result:?}");
}

/// A failure that every way of acting reports, in the answer or by a Task.
fn failures() -> [(u16, Value); 2] {
    let mut ended = task("Exception");
    ended["Messages"] = critical_or("Critical");
    [(200, json!({ "@Message.ExtendedInfo": critical_or("Critical") })), (202, ended)]
}

#[tokio::test(start_paused = true)]
async fn whatever_is_asked_for_a_failure_in_the_answer_or_its_task_is_one() {
    use super::super::slot::InsertMethod;
    use super::super::system::Action;
    const TARGETS: [&str; 4] = ["/config", "/mount", "/list", "/switch"];
    let action = || Action { target: Some("/mount".to_owned()), ..Action::default() };
    let slot_of = |way, config: &str| Slot {
        link: CD1.to_owned(),
        way: Some(way),
        insert: action(),
        eject: action(),
        config: Some(config.to_owned()),
        ..Slot::default()
    };
    for (status, body) in failures() {
        for target in TARGETS.into_iter().chain([SYSTEM]) {
            let sent = body.clone();
            let (bmc, log) = bmc(move |asked| match (asked.method.as_str(), asked.path.as_str()) {
                ("GET", "/list") => answer(200, collection(&[])),
                ("PATCH" | "POST", path) if path == target => {
                    answer_with(status, &[("location", MONITOR)], sent.clone())
                }
                _ => None,
            });
            let system = read_system(&bmc).await;
            let config = slot_of(InsertMethod::IsoConfig, "/config");
            let list = slot_of(InsertMethod::RemoteMap, "/list");
            let service = MediaService {
                enable: Some("/switch".to_owned()),
                instances: None,
                system: SYSTEM.to_owned(),
            };
            log.clear();
            let result = match target {
                "/config" | "/mount" => bmc.request_insert(&config, IMAGE).await.map(|_| ()),
                "/list" => bmc.request_insert(&list, IMAGE).await.map(|_| ()),
                "/switch" => bmc.request_media_service(&service).await,
                _ => bmc.request_boot_from_cd(&system, None).await.map(|_| ()),
            };
            let Err(error) = result else { panic!("{target} {status}: {:?}", log.lines()) };
            assert!(error.is_reported_failure(), "{target} {status}: {error}");
            assert!(error.to_string().contains("No power."), "{target} {status}: {error}");
            assert_eq!(error.effect(), Effect::Unknown, "{target} {status}: {error}");
        }
    }
}
