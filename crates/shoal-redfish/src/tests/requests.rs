//! One request: its headers, its bounds, when it is repeated, and where it goes.

use serde_json::json;

use super::super::*;
use super::fake::*;
use shoal_base::world::TransportErrorKind;

const GET_SYSTEM: &str = "GET /redfish/v1/Systems/1";
const RESET: &str = "POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset";

#[tokio::test(start_paused = true)]
async fn requests_carry_what_redfish_wants() {
    let (bmc, log) = bmc(|_| None);
    let system = read_system(&bmc).await;
    bmc.request_reset(&system, ResetType::On).await.unwrap();
    for asked in log.all() {
        assert_eq!(asked.header("odata-version"), Some("4.0"));
        assert_eq!(asked.header("accept"), Some("application/json"));
        assert_eq!(asked.header("accept-encoding"), Some("identity"));
        let is_post = asked.method == "POST";
        assert_eq!(asked.header("content-type"), is_post.then_some("application/json"));
    }
    assert_eq!(log.bodies(RESET), [json!({"ResetType": "On"})]);
}

#[tokio::test(start_paused = true)]
async fn a_read_waits_as_long_as_the_bmc_asks() {
    let mut busy = true;
    let (bmc, _) = bmc(move |asked| {
        let first = asked.line() == GET_SYSTEM && std::mem::take(&mut busy);
        if first { answer_with(503, &[("retry-after", "17")], json!({})) } else { None }
    });
    let started = tokio::time::Instant::now();
    read_system(&bmc).await;
    assert_eq!(started.elapsed(), Duration::from_secs(17));
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_may_be_a_date() {
    let mut busy = true;
    let (bmc, _) = bmc(move |asked| {
        let first = asked.line() == GET_SYSTEM && std::mem::take(&mut busy);
        let headers = [("retry-after", "Thu, 01 Jan 2026 00:00:21 GMT")];
        if first { answer_with(429, &headers, json!({})) } else { None }
    });
    let started = tokio::time::Instant::now();
    read_system(&bmc).await;
    assert_eq!(started.elapsed(), Duration::from_secs(21));
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_asks_for_too_long_a_wait_is_left_to_the_caller() {
    let (bmc, log) = bmc(|asked| {
        if asked.line() == GET_SYSTEM {
            answer_with(503, &[("retry-after", "1200")], json!({}))
        } else {
            None
        }
    });
    let error = bmc.observe_system(SYSTEM).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1200)));
    assert_eq!(log.count(GET_SYSTEM), 1);
}

#[tokio::test(start_paused = true)]
async fn reads_are_repeated_within_bounds() {
    for answer_of in [
        || Some(FakeAnswer::Fails(TransportErrorKind::Connect)),
        || Some(FakeAnswer::Fails(TransportErrorKind::Broken)),
        || answer(500, json!({})),
        || raw(200, "{\"Id\":"),
        || Some(FakeAnswer::After(Duration::from_secs(31), response(200, &[], "{}"))),
    ] {
        let (bmc, log) = bmc(move |asked| if asked.line() == GET_SYSTEM { answer_of() } else { None });
        let error = bmc.observe_system(SYSTEM).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Retry, "{error}");
        assert_eq!(error.effect(), Effect::None, "{error}");
        assert_eq!(log.count(GET_SYSTEM), 3, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_between_reads_doubles() {
    let down = |_: &Asked| Some(FakeAnswer::Fails(TransportErrorKind::Connect));
    let (pool, log) = pool_within(Limits { retries: 5, ..Limits::default() }, down);
    let started = tokio::time::Instant::now();
    let error = pool.bmc(&account("calvin")).observe_systems().await.unwrap_err();
    assert_eq!(error.to_string(), "reading the service root at /redfish/v1/: the BMC cannot be reached");
    assert_eq!(log.all().len(), 6);
    let waited = started.elapsed().as_secs_f64();
    assert!((15.5 * 0.75..15.5 * 1.25).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn systems_of_one_service_do_not_wait_for_each_other() {
    let other = "/redfish/v1/Systems/2";
    let (bmc, _) = bmc(move |asked| match asked.path.as_str() {
        "/redfish/v1/Systems" => answer(200, collection(&[SYSTEM, other])),
        path if path.starts_with("/redfish/v1/Systems/") => {
            Some(FakeAnswer::After(Duration::from_secs(10), response(200, &[], system().to_string())))
        }
        _ => None,
    });
    bmc.observe_systems().await.unwrap();
    let started = tokio::time::Instant::now();
    let (a, b) = tokio::join!(bmc.observe_system(SYSTEM), bmc.observe_system(other));
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(started.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn what_will_not_get_better_is_read_once() {
    for (status, class) in [(404, ErrorClass::Permanent), (403, ErrorClass::NeedsOperator)] {
        let (bmc, log) =
            bmc(move |asked| if asked.line() == GET_SYSTEM { answer(status, json!({})) } else { None });
        assert_eq!(bmc.observe_system(SYSTEM).await.unwrap_err().class(), class);
        assert_eq!(log.count(GET_SYSTEM), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn writes_are_never_repeated_and_say_whether_they_may_have_had_an_effect() {
    type Answers = fn() -> Option<FakeAnswer>;
    let cases: [(Answers, Effect); 6] = [
        (|| Some(FakeAnswer::Fails(TransportErrorKind::Connect)), Effect::None),
        (|| Some(FakeAnswer::Fails(TransportErrorKind::Certificate)), Effect::None),
        (|| Some(FakeAnswer::Fails(TransportErrorKind::Broken)), Effect::Unknown),
        (|| Some(FakeAnswer::After(Duration::from_secs(31), response(204, &[], ""))), Effect::Unknown),
        (|| answer(500, json!({})), Effect::Unknown),
        (|| answer(409, json!({})), Effect::None),
    ];
    for (answer_of, effect) in cases {
        let (bmc, log) = bmc(move |asked| if asked.line() == RESET { answer_of() } else { None });
        let system = read_system(&bmc).await;
        let error = bmc.request_reset(&system, ResetType::On).await.unwrap_err();
        assert_eq!(error.effect(), effect, "{error}");
        assert_eq!(log.count(RESET), 1, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_done_write_with_a_broken_body_is_done() {
    for body in ["{\"garbled".to_owned(), "<html>".to_owned(), "x".repeat(5 << 20)] {
        let (bmc, _) = bmc(move |asked| if asked.line() == RESET { raw(200, body.clone()) } else { None });
        let system = read_system(&bmc).await;
        bmc.request_reset(&system, ResetType::On).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn answers_are_bounded_in_size() {
    let (bmc, log) = bmc(|asked| {
        let body = format!("{{\"Id\":\"{}\"}}", "x".repeat(5 << 20));
        if asked.line() == GET_SYSTEM { raw(200, body) } else { None }
    });
    let error = bmc.observe_system(SYSTEM).await.unwrap_err();
    assert_eq!(error.kind, RedfishErrorKind::TooLarge { max_bytes: 4 << 20 });
    assert_eq!(log.count(GET_SYSTEM), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_nearly_json_is_read() {
    let (bmc, _) = bmc(|asked| {
        let body = format!("\u{feff}{}\0\0", system().to_string().replace("}}", "},}"));
        if asked.line() == GET_SYSTEM { raw(200, body) } else { None }
    });
    assert_eq!(read_system(&bmc).await.serial.as_deref(), Some("ABC123"));
}

#[tokio::test(start_paused = true)]
async fn links_to_another_origin_are_errors_and_nothing_is_sent_there() {
    for link_to in
        ["https://evil.test/redfish/v1/Systems/1", "http://bmc-1.test/redfish/v1/Systems/1", "//evil.test/x"]
    {
        // The fake BMC panics if a request leaves its origin.
        let (bmc, _) =
            bmc(
                move |asked| {
                    if asked.path == "/redfish/v1/Systems" {
                        answer(200, collection(&[link_to]))
                    } else {
                        None
                    }
                },
            );
        let error = bmc.observe_systems().await.unwrap_err();
        assert!(matches!(error.kind, RedfishErrorKind::OtherOrigin { .. }), "{error}");
        assert_eq!(error.class(), ErrorClass::Permanent);
    }
    let (bmc, _) = bmc(|asked| {
        let absolute = collection(&["https://bmc-1.test/redfish/v1/Systems/1"]);
        if asked.path == "/redfish/v1/Systems" { answer(200, absolute) } else { None }
    });
    read_system(&bmc).await;
}

#[tokio::test(start_paused = true)]
async fn a_write_to_another_origin_has_no_effect() {
    let (bmc, _) = bmc(|asked| {
        let mut body = system();
        body["Actions"]["#ComputerSystem.Reset"]["target"] = json!("https://evil.test/reset");
        if asked.line() == GET_SYSTEM { answer(200, body) } else { None }
    });
    let system = read_system(&bmc).await;
    assert_eq!(bmc.request_reset(&system, ResetType::On).await.unwrap_err().effect(), Effect::None);
}

#[tokio::test(start_paused = true)]
async fn redirects_are_followed_for_a_slash_only() {
    let redirect = |to: &'static str| {
        move |asked: &Asked| {
            if asked.line() == GET_SYSTEM { answer_with(308, &[("location", to)], json!({})) } else { None }
        }
    };
    // Under another host name too: the path is asked for on the BMC's own origin.
    for target in ["/redfish/v1/Systems/1/", "https://ilo.internal/redfish/v1/Systems/1/"] {
        let redirect = redirect(target);
        let (slash, log) = bmc(move |asked| match asked.path.as_str() {
            "/redfish/v1/Systems/1/" => answer(200, system()),
            _ => redirect(asked),
        });
        read_system(&slash).await;
        assert_eq!(log.count("GET /redfish/v1/Systems/1/"), 1);
    }
    let (elsewhere, _) = bmc(redirect("https://evil.test/redfish/v1/Systems/2/"));
    let error = elsewhere.observe_system(SYSTEM).await.unwrap_err();
    assert_eq!(error.kind, RedfishErrorKind::OtherOrigin { origin: "https://evil.test".into() });
    let (other, _) = bmc(redirect("/login.html"));
    let error = other.observe_system(SYSTEM).await.unwrap_err();
    assert!(matches!(error.kind, RedfishErrorKind::Refused { status: 308, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_write_is_repeated_once_where_a_redirect_adds_a_slash() {
    // 303 says that it was done, and where to read of that.
    for (status, writes) in [(301, 2), (302, 2), (303, 1), (307, 2), (308, 2)] {
        let slashed = format!("{}/", RESET.trim_start_matches("POST "));
        let (bmc, log) = bmc(move |asked| {
            let headers = [("location", slashed.as_str())];
            if asked.line() == RESET { answer_with(status, &headers, json!({})) } else { None }
        });
        let system = read_system(&bmc).await;
        log.clear();
        assert_eq!(bmc.request_reset(&system, ResetType::On).await.is_ok(), writes == 2, "{status}");
        assert_eq!(log.all().len(), writes, "{status}");
        assert!(
            log.all().iter().all(|asked| asked.line().starts_with(RESET) && asked.body["ResetType"] == "On")
        );
    }
}

/// Old Supermicro redirects its login so (check_redfish#187); one that goes on redirecting is asked twice.
#[tokio::test(start_paused = true)]
async fn a_login_is_repeated_at_the_path_with_a_slash() {
    const LOGIN: &str = "POST /redfish/v1/SessionService/Sessions";
    for (target, is_good) in [
        ("/redfish/v1/SessionService/Sessions/", true),
        ("http://10.9.9.9/redfish/v1/SessionService/Sessions/", true),
        ("https://evil.test/redfish/v1/SessionService/Sessions", false),
        ("/redfish/v1/SessionService/Sessions//", false),
    ] {
        let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
            line if line == LOGIN || line.ends_with("//") => {
                answer_with(301, &[("location", target)], json!({}))
            }
            line if line.starts_with(LOGIN) => answer_with(201, &[("x-auth-token", "t")], json!({})),
            _ => None,
        });
        assert_eq!(bmc.observe_systems().await.is_ok(), is_good, "{target}");
        let logins: Vec<_> = log.all().into_iter().filter(|asked| asked.line().starts_with(LOGIN)).collect();
        assert_eq!(logins.len(), if target.contains("evil") { 1 } else { 2 }, "{target}");
        assert!(logins.iter().all(|asked| asked.body["Password"] == "calvin"), "{target}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_wants_no_accept_encoding_gets_none() {
    let (bmc, _) = bmc(|asked| {
        let identity = asked.header("accept-encoding").is_some();
        if asked.line() == GET_SYSTEM && identity { answer(406, json!({})) } else { None }
    });
    read_system(&bmc).await;
}

#[tokio::test(start_paused = true)]
async fn one_request_is_in_flight_at_a_time() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let answered = Arc::new(AtomicUsize::new(0));
    let count = answered.clone();
    let (bmc, _) = bmc(move |asked| {
        if asked.line() != GET_SYSTEM {
            return None;
        }
        count.fetch_add(1, Ordering::Relaxed);
        Some(FakeAnswer::After(Duration::from_secs(10), response(200, &[], system().to_string())))
    });
    let started = tokio::time::Instant::now();
    let (a, b, c) =
        tokio::join!(bmc.observe_system(SYSTEM), bmc.observe_system(SYSTEM), bmc.observe_system(SYSTEM));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(answered.load(Ordering::Relaxed), 3);
    // One after the other, and the wait for one's turn is not part of one's timeout.
    assert_eq!(started.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_closed_sets_of_labels() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut busy = true;
    let (bmc, _) = bmc(move |asked| {
        let first = asked.line() == GET_SYSTEM && std::mem::take(&mut busy);
        if first { answer(599, json!({})) } else { None }
    });
    read_system(&bmc).await;
    let text = handle.render();
    for line in [
        "shoal_provisioner_redfish_requests_total{op=\"login\",code=\"201\",vendor=\"other\"} 1",
        "shoal_provisioner_redfish_requests_total{op=\"system\",code=\"other\",vendor=\"other\"} 1",
        "shoal_provisioner_redfish_requests_total{op=\"system\",code=\"200\",vendor=\"other\"} 1",
        "shoal_provisioner_redfish_retries_total{op=\"system\",vendor=\"other\"} 1",
        "shoal_provisioner_redfish_request_duration_seconds_count{op=\"system\",vendor=\"other\"} 2",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
