//! Logging in: once, not again after a refusal, and without sessions where there are none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base64::Engine as _;
use serde_json::json;

use super::super::*;
use super::fake::*;

const LOGIN: &str = "POST /redfish/v1/SessionService/Sessions";
const LOGOUT: &str = "DELETE /redfish/v1/SessionService/Sessions/7";

#[tokio::test(start_paused = true)]
async fn all_clones_share_one_session() {
    let (pool, log) = pool(|_| None);
    let (one, two) = (pool.bmc(&account("calvin")), pool.bmc(&account("calvin")));
    let (a, b) = tokio::join!(one.observe_systems(), two.observe_systems());
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(log.count(LOGIN), 1);
    assert_eq!(log.bodies(LOGIN), [json!({"UserName": "root", "Password": "calvin"})]);
    for asked in log.all() {
        let is_public = asked.path == "/redfish/v1/" || asked.path == SESSIONS;
        assert_eq!(asked.header("x-auth-token"), (!is_public).then_some("t0ken"), "{}", asked.path);
        assert_eq!(asked.header("authorization"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_session_is_made_anew_once() {
    let mut expired = false;
    let (bmc, log) = bmc(move |asked| {
        let old = asked.header("x-auth-token") == Some("t0ken");
        match asked.line().as_str() {
            LOGIN if expired => answer_with(201, &[("x-auth-token", "fresh")], json!({})),
            "GET /redfish/v1/Systems/1" if old => {
                expired = true;
                answer(401, json!({}))
            }
            _ => None,
        }
    });
    let (a, b) = tokio::join!(bmc.observe_systems(), bmc.observe_systems());
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(log.count(LOGIN), 2);
}

#[tokio::test(start_paused = true)]
async fn requests_that_meet_the_same_expiry_share_the_new_session() {
    let mut logins = 0;
    let (pool, log) = pool_within(Limits { per_bmc: 2, ..Limits::default() }, move |asked| {
        let old = asked.header("x-auth-token") == Some("0");
        match asked.line().as_str() {
            LOGIN => {
                let headers = [("x-auth-token", ["0", "1", "2"][logins])];
                logins += 1;
                answer_with(201, &headers, json!({}))
            }
            "GET /redfish/v1/Systems/1" if old => {
                Some(FakeAnswer::After(Duration::from_secs(1), response(401, &[], "{}")))
            }
            _ => None,
        }
    });
    let bmc = pool.bmc(&account("calvin"));
    let (a, b) = tokio::join!(bmc.observe_system(SYSTEM), bmc.observe_system(SYSTEM));
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(log.count(LOGIN), 2);
    assert_eq!(log.count("GET /redfish/v1/Systems/1"), 4);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_meets_an_expired_session_is_sent_again() {
    let mut refused = false;
    let (bmc, log) = bmc(move |asked| {
        let now = asked.method == "PATCH" && !std::mem::replace(&mut refused, asked.method == "PATCH");
        if now { answer(401, json!({})) } else { None }
    });
    let system = read_system(&bmc).await;
    bmc.request_boot_from_cd(&system, None).await.unwrap();
    assert_eq!(log.count("PATCH /redfish/v1/Systems/1"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_stays_401_is_not_hammered() {
    let (bmc, log) = bmc(|asked| match asked.line().as_str() {
        "GET /redfish/v1/Systems/1" => answer(401, refusal("Base.1.8.NoValidSession", &[])),
        _ => None,
    });
    let error = bmc.observe_systems().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::NeedsOperator);
    assert_eq!((log.count(LOGIN), log.count("GET /redfish/v1/Systems/1")), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_is_not_tried_again_by_anybody_for_a_while() {
    let good = Arc::new(AtomicBool::new(false));
    let now_good = good.clone();
    let (pool, log) = pool(move |asked| {
        let right = asked.body["Password"] == "right" || now_good.load(Ordering::Relaxed);
        if asked.line() == LOGIN && !right {
            answer(401, refusal("Base.1.8.AccessDenied", &[]))
        } else {
            None
        }
    });
    for _ in 0..20 {
        let error = pool.bmc(&account("wrong")).observe_systems().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "logging in at /redfish/v1/SessionService/Sessions: the BMC refused the account \
             (Base.1.8.AccessDenied: No.)"
        );
        assert_eq!((error.class(), error.effect()), (ErrorClass::NeedsOperator, Effect::None));
    }
    assert_eq!(log.count(LOGIN), 1);
    // Another password is another try, immediately.
    pool.bmc(&account("right")).observe_systems().await.unwrap();
    assert_eq!(log.count(LOGIN), 2);
    // The same one has its try when the cool-down is over.
    good.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(121)).await;
    pool.bmc(&account("wrong")).observe_systems().await.unwrap();
}

/// It is the BMC that is not ready, and the account is not to be left alone for minutes.
#[tokio::test(start_paused = true)]
async fn a_bmc_that_is_not_ready_refuses_no_account() {
    for status in [400, 401, 403, 503] {
        for message_id in ["IDRAC.2.8.SYS518", "Base.1.8.ResourceNotReadyRetry"] {
            let mut left = 4;
            let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
                LOGIN if left > 0 => {
                    left -= 1;
                    answer(status, refusal(message_id, &[]))
                }
                _ => None,
            });
            let error = bmc.observe_systems().await.unwrap_err();
            assert_eq!((error.class(), error.effect()), (ErrorClass::Retry, Effect::None), "{error}");
            bmc.observe_systems().await.unwrap();
            assert_eq!(log.count(LOGIN), 5, "{status} {message_id}");
        }
    }
}

/// Nor the token or the password that a request carries.
#[tokio::test(start_paused = true)]
async fn a_request_that_meets_a_bmc_which_is_not_ready_causes_no_login() {
    for login in [201, 404] {
        let mut left = 2;
        let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
            LOGIN if login == 404 => answer(404, json!({})),
            "GET /redfish/v1/Systems/1" if left > 0 => {
                left -= 1;
                answer(401, refusal("IDRAC.2.8.SYS518", &[]))
            }
            _ => None,
        });
        bmc.observe_systems().await.unwrap();
        assert_eq!((log.count(LOGIN), log.count("GET /redfish/v1/Systems/1")), (1, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn without_sessions_basic_authentication_is_used() {
    let basic = format!("Basic {}", base64::prelude::BASE64_STANDARD.encode("root:calvin"));
    for (status, in_root) in [(404, true), (405, true), (501, true), (201, true), (0, false)] {
        let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
            "GET /redfish/v1/" if !in_root => answer(200, json!({"Systems": link("/redfish/v1/Systems")})),
            LOGIN => answer(status, json!({})),
            _ => None,
        });
        bmc.observe_systems().await.unwrap();
        bmc.observe_systems().await.unwrap();
        assert_eq!(log.count(LOGIN), usize::from(in_root), "{status}");
        let last = log.all().pop().unwrap();
        assert_eq!(last.header("authorization"), Some(basic.as_str()), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn basic_authentication_that_is_refused_is_remembered_too() {
    let (bmc, log) = bmc(|asked| match asked.line().as_str() {
        LOGIN => answer(404, json!({})),
        "GET /redfish/v1/Systems" => answer(401, json!({})),
        _ => None,
    });
    for _ in 0..5 {
        let error = bmc.observe_systems().await.unwrap_err();
        assert!(matches!(error.kind, RedfishErrorKind::Unauthorised { .. }), "{error}");
    }
    assert_eq!(log.count("GET /redfish/v1/Systems"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_sessions_are_found_by_links_or_where_the_standard_has_them() {
    for (root, service) in [
        (json!({"SessionService": link("/ss"), "Systems": link("/redfish/v1/Systems")}), 200),
        (json!({"SessionService": link("/ss"), "Systems": link("/redfish/v1/Systems")}), 401),
    ] {
        let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
            "GET /redfish/v1/" => answer(200, root.clone()),
            "GET /ss" => answer(service, json!({"Sessions": link(SESSIONS)})),
            _ => None,
        });
        bmc.observe_systems().await.unwrap();
        assert_eq!(log.count(LOGIN), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_root_that_is_hidden_is_read_after_the_login() {
    let (bmc, log) = bmc(|asked| match asked.line().as_str() {
        "GET /redfish/v1/" if asked.header("x-auth-token").is_none() => answer(401, json!({})),
        _ => None,
    });
    assert_eq!(bmc.observe_service().await.unwrap().vendor, "Contoso");
    assert_eq!(log.count(LOGIN), 1);
}

#[tokio::test(start_paused = true)]
async fn sessions_are_deleted_at_the_end() {
    let (pool, log) = pool(|_| None);
    let bmc = pool.bmc(&account("calvin"));
    bmc.observe_systems().await.unwrap();
    bmc.close().await;
    bmc.close().await;
    assert_eq!(log.count(LOGOUT), 1);
    bmc.observe_systems().await.unwrap();
    pool.close_all().await;
    assert_eq!((log.count(LOGIN), log.count(LOGOUT)), (2, 2));
    assert_eq!(log.all().pop().unwrap().header("x-auth-token"), Some("t0ken"));
    pool.bmc(&account("calvin")).observe_systems().await.unwrap();
    pool.forget(&account("calvin")).await;
    assert_eq!(log.count(LOGOUT), 3);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_deleted_whatever_form_its_name_has() {
    for (location, body, deleted) in [
        (None, json!({}), 0),
        (None, json!({"@odata.id": SESSION}), 1),
        (Some("https://ilo.internal/redfish/v1/SessionService/Sessions/7"), json!({}), 1),
        (Some("redfish/v1/SessionService/Sessions/7"), json!({}), 1),
        (Some("Sessions/7"), json!({}), 1),
        (Some("7"), json!({}), 1),
        (None, json!({"@odata.id": "7"}), 1),
        (Some("https://["), json!({"@odata.id": SESSION}), 1),
        (Some(SESSIONS), json!({"@odata.id": SESSION}), 1),
    ] {
        let sent = body.clone();
        let (bmc, log) = bmc(move |asked| {
            let mut headers = vec![("x-auth-token", "t")];
            headers.extend(location.map(|location| ("location", location)));
            if asked.line() == LOGIN { answer_with(201, &headers, body.clone()) } else { None }
        });
        bmc.observe_systems().await.unwrap();
        bmc.close().await;
        assert_eq!(log.count(LOGOUT), deleted, "{location:?} {sent}");
    }
}

/// Logins that are good and tokens that are not, for a while (infra-controller#69). Gives the BMC, its log, and the
/// sessions that it counts.
fn refusing_tokens(until: Duration) -> (Bmc, RequestLog, Arc<AtomicUsize>) {
    let live = Arc::new(AtomicUsize::new(0));
    let (counted, began, mut made) = (live.clone(), tokio::time::Instant::now(), 0);
    let (bmc, log) = bmc(move |asked| {
        if asked.line() == LOGIN {
            made += 1;
            counted.fetch_add(1, Ordering::Relaxed);
            let link = format!("{SESSIONS}/{made}");
            let headers = [("x-auth-token", made.to_string()), ("location", link)];
            return answer_with(
                201,
                &[(headers[0].0, &headers[0].1), (headers[1].0, &headers[1].1)],
                json!({}),
            );
        }
        asked.header("x-auth-token")?;
        if began.elapsed() >= Duration::from_secs(5) && began.elapsed() < until {
            return answer(401, refusal("Base.1.8.NoValidSession", &[]));
        }
        if asked.line().starts_with(&format!("GET {SESSIONS}/")) {
            return answer(200, json!({"UserName": "root"}));
        }
        if asked.line().starts_with(&format!("DELETE {SESSIONS}/")) {
            counted.fetch_sub(1, Ordering::Relaxed);
        }
        None
    });
    (bmc, log, live)
}

#[tokio::test(start_paused = true)]
async fn refused_tokens_leave_no_flood_of_sessions() {
    for (secs, most) in [(30, 2), (600, 6)] {
        let (bmc, log, live) = refusing_tokens(Duration::from_secs(secs));
        bmc.observe_systems().await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        while bmc.observe_systems().await.is_err() {
            assert!(live.load(Ordering::Relaxed) <= most, "{} sessions", live.load(Ordering::Relaxed));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(log.count(LOGIN) <= most + 1, "{} logins", log.count(LOGIN));
        bmc.observe_systems().await.unwrap();
        assert_eq!(live.load(Ordering::Relaxed), 1, "those of before are deleted");
        bmc.close().await;
        assert_eq!(live.load(Ordering::Relaxed), 0);
    }
}

/// The limit was reached by our own sessions: once they are deleted, there is one again.
#[tokio::test(start_paused = true)]
async fn own_sessions_that_fill_the_table_are_deleted_and_a_login_follows() {
    const OLD: &str = "/redfish/v1/SessionService/Sessions/3";
    let mut free = false;
    let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
        LOGIN if !free => answer(503, refusal("Base.1.8.SessionLimitExceeded", &[])),
        line if line == format!("GET {OLD}") => answer(200, json!({"UserName": "root"})),
        line if line == format!("DELETE {OLD}") => {
            free = true;
            None
        }
        _ => None,
    });
    bmc.session().inherit(OLD).await;
    bmc.observe_systems().await.unwrap();
    bmc.observe_systems().await.unwrap();
    assert_eq!(log.count(LOGIN), 2);
    assert_eq!(log.all().pop().unwrap().header("x-auth-token"), Some("t0ken"));
}

/// A refused password counts towards the lockout of an account, so another try is minutes away; but it comes.
#[tokio::test(start_paused = true)]
async fn refused_basic_authentication_is_not_ruled_out_for_good() {
    let began = tokio::time::Instant::now();
    let (bmc, log) = bmc(move |asked| {
        let is_early = began.elapsed() < Duration::from_secs(200);
        match asked.line().as_str() {
            LOGIN => answer(503, refusal("Base.1.8.SessionLimitExceeded", &[])),
            _ if asked.header("authorization").is_some() && is_early => answer(401, json!({})),
            _ => None,
        }
    });
    let refused = || log.all().iter().filter(|asked| asked.header("authorization").is_some()).count();
    for _ in 0..3 {
        bmc.observe_systems().await.unwrap_err();
    }
    assert_eq!(refused(), 1);
    tokio::time::sleep(Duration::from_secs(301)).await;
    bmc.observe_systems().await.unwrap();
}

/// A BMC whose sessions are all taken for as many logins, and that takes Basic authentication or not.
fn full(mut logins: usize, basic: bool) -> (Bmc, RequestLog) {
    bmc(move |asked| {
        let takes = basic || asked.header("authorization").is_none();
        match asked.line().as_str() {
            LOGIN if logins > 0 => {
                logins -= 1;
                answer(400, refusal("IDRAC.2.8.RAC0218", &[]))
            }
            _ if takes => None,
            _ => answer(401, json!({})),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_full_session_table_is_got_round_with_basic_authentication_for_a_while() {
    let (bmc, log) = full(1, true);
    bmc.observe_systems().await.unwrap();
    assert!(log.all().pop().unwrap().header("authorization").unwrap().starts_with("Basic "));
    bmc.observe_systems().await.unwrap();
    assert_eq!(log.count(LOGIN), 1);
    tokio::time::advance(Duration::from_secs(301)).await;
    bmc.observe_systems().await.unwrap();
    assert_eq!(log.count(LOGIN), 2);
    assert_eq!(log.all().pop().unwrap().header("x-auth-token"), Some("t0ken"));
}

#[tokio::test(start_paused = true)]
async fn without_basic_authentication_a_full_session_table_is_an_error_and_tried_later() {
    let (bmc, log) = full(usize::MAX, false);
    let refused = || log.all().iter().filter(|asked| asked.header("authorization").is_some()).count();
    for _ in 0..2 {
        let error = bmc.observe_systems().await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Retry);
        assert!(error.to_string().contains("RAC0218"), "{error}");
    }
    // A password that is refused again and again locks accounts.
    assert_eq!(refused(), 1);
}

/// What is sent to a BMC that still has, or has no more, the session of a controller that crashed.
async fn inherit(link: &'static str, found: Option<FakeAnswer>) -> (Bmc, RequestLog) {
    let mut found = Some(found);
    let (bmc, log) = bmc(move |asked| match asked.line().as_str() {
        "GET /redfish/v1/SessionService/Sessions/3" => found.take().flatten(),
        _ => None,
    });
    bmc.session().inherit(link).await;
    bmc.observe_systems().await.unwrap();
    (bmc, log)
}

#[tokio::test(start_paused = true)]
async fn the_session_of_a_controller_that_crashed_is_deleted_with_the_next_login() {
    const OLD: &str = "/redfish/v1/SessionService/Sessions/3";
    let delete = format!("DELETE {OLD}");
    let (bmc, log) = inherit(OLD, answer(200, json!({"UserName": "root"}))).await;
    assert_eq!((log.count(LOGIN), log.count(&delete)), (1, 1));
    assert_eq!(bmc.session().link().as_deref(), Some(SESSION));
    // It is gone already, or its number has become another user's.
    for found in [answer(404, json!({})), answer(200, json!({"UserName": "other"}))] {
        let (_, log) = inherit(OLD, found).await;
        assert_eq!((log.count(LOGIN), log.count(&delete)), (1, 0));
    }
    // Its number has become ours.
    let (_, log) = inherit(SESSION, None).await;
    assert!(log.lines().iter().all(|line| !line.starts_with("DELETE")));
}

/// A BMC may be slow about it, and the others have work to do.
#[tokio::test(start_paused = true)]
async fn deleting_earlier_sessions_holds_up_no_other_request() {
    let slow =
        |body: &str| Some(FakeAnswer::After(Duration::from_secs(4), response(200, &[], body.to_owned())));
    let (began, times) = (tokio::time::Instant::now(), Arc::new(std::sync::Mutex::new(vec![])));
    let asked_at = times.clone();
    let (pool, log) = pool_within(Limits { per_bmc: 2, ..Limits::default() }, move |asked| {
        if asked.path == SYSTEM {
            asked_at.lock().unwrap().push(began.elapsed().as_secs());
        }
        match asked.path.strip_prefix(&format!("{SESSIONS}/"))? {
            "7" => None,
            _ if asked.method == "GET" => slow(r#"{"UserName": "root"}"#),
            _ => slow("{}"),
        }
    });
    let bmc = pool.bmc(&account("calvin"));
    for number in 10..16 {
        bmc.session().inherit(&format!("{SESSIONS}/{number}")).await;
    }
    let later = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        bmc.observe_system(SYSTEM).await.unwrap();
    };
    let (first, ()) = tokio::join!(bmc.observe_system(SYSTEM), later);
    first.unwrap();
    assert_eq!(times.lock().unwrap()[..2], [0, 1], "the second is sent while the first deletes");
    let deleted = || log.lines().iter().filter(|line| line.starts_with("DELETE")).count();
    for _ in 0..6 {
        bmc.observe_system(SYSTEM).await.unwrap();
    }
    assert!(deleted() >= 6, "{}", deleted());
    let before = deleted();
    bmc.observe_system(SYSTEM).await.unwrap();
    assert_eq!(deleted(), before, "nothing is left to delete");
}
