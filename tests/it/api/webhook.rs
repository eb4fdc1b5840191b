//! The hook of an installer: a token of one job, good once, after its reset.

use axum::body::Body;
use http::{Method, Request};
use serde_json::json;
use shoal::domain::{Cursor, Job, JobId, Phase, Status, Step};
use shoal::token;

use super::{Fixture, HOOK_KEY, recipe};

/// A job with that hook, taken up and, if asked, with its host started.
async fn job(fixture: &Fixture, hook: &str, started: bool) -> JobId {
    fixture.add_server("A1").await;
    let mut body = recipe("A1");
    body["completion_hook"] = json!(hook);
    fixture.post("/api/v1/jobs", body).await.ok(202);
    let (lease, job) = fixture.claim().await;
    let now = fixture.world.clock.now();
    let mut update = Job { last_update: now, ..job.clone() };
    update.status = Status::Provisioning;
    update.cursor = Cursor::enter(Phase::Forward, Step::EsxiPollPower, now);
    update.facts.reset.started_at = started.then_some(now);
    fixture.store.save(&lease, &update, vec![]).await.unwrap();
    job.id
}

fn path(job: JobId) -> String {
    format!("/api/v1/status-webhook/A1/{}", token::of_hook(&HOOK_KEY, job).expose())
}

/// As the installer's tools send it: no account, and whatever content type.
async fn call(fixture: &Fixture, method: Method, path: &str, body: &str) -> super::Answer {
    let request = Request::builder().method(method).uri(path).header("content-type", "text/plain");
    fixture.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test(start_paused = true)]
async fn an_installer_reports_once() {
    let fixture = Fixture::new();
    let id = job(&fixture, "webhook", true).await;
    let answer = call(&fixture, Method::GET, &path(id), "").await.ok(200);
    assert_eq!(answer, json!({ "ok": true }));
    let report = fixture.store.load_hook_report(id).await.unwrap().unwrap();
    assert!(report.succeeded && report.at == fixture.world.clock.now());
    call(&fixture, Method::POST, &path(id), r#"{"status":"failed"}"#).await.problem(404);
    assert!(fixture.store.load_hook_report(id).await.unwrap().unwrap().succeeded, "the first word stays");
}

#[tokio::test(start_paused = true)]
async fn a_body_may_say_that_it_failed() {
    for (body, succeeded) in
        [("{}", true), (r#"{"status":"success"}"#, true), (r#"{"status":"failed"}"#, false)]
    {
        let fixture = Fixture::new();
        let id = job(&fixture, "webhook", true).await;
        call(&fixture, Method::POST, &path(id), r#"{"status":"perhaps"}"#).await.problem(422);
        call(&fixture, Method::POST, &path(id), body).await.ok(200);
        let report = fixture.store.load_hook_report(id).await.unwrap().unwrap();
        assert_eq!(report.succeeded, succeeded, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_call_counts_before_the_reset_without_the_hook_or_with_another_token() {
    for (hook, started) in [("webhook", false), ("none", true), ("poweroff", true)] {
        let fixture = Fixture::new();
        let id = job(&fixture, hook, started).await;
        call(&fixture, Method::POST, &path(id), "").await.problem(404);
        assert_eq!(fixture.store.load_hook_report(id).await.unwrap(), None, "{hook}");
    }
    let fixture = Fixture::new();
    let id = job(&fixture, "webhook", true).await;
    let other = token::of_hook(&[0; 32], id);
    for wrong in [other.expose(), "", "x", &"0".repeat(32)] {
        call(&fixture, Method::POST, &format!("/api/v1/status-webhook/A1/{wrong}"), "").await.problem(404);
    }
    let elsewhere = path(id).replace("/A1/", "/A2/");
    call(&fixture, Method::POST, &elsewhere, "").await.problem(404);
    assert_eq!(fixture.store.load_hook_report(id).await.unwrap(), None);
}

/// Issue 15, kind 20: bodies were read and judged before the token.
#[tokio::test(start_paused = true)]
async fn a_token_comes_before_the_body_and_head_reports_nothing() {
    let fixture = Fixture::new();
    let id = job(&fixture, "webhook", true).await;
    let wrong = path(id).replace("/A1/", "/A2/");
    let never = || {
        let body = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
        Request::builder().method(Method::POST).uri(&wrong).body(Body::from_stream(body)).unwrap()
    };
    fixture.send(never()).await.problem(404);
    call(&fixture, Method::POST, &wrong, &"x".repeat(957_000)).await.problem(404);
    let answer = call(&fixture, Method::HEAD, &path(id), "").await;
    assert_eq!(answer.status, 405);
    assert_eq!(fixture.store.load_hook_report(id).await.unwrap(), None);
    call(&fixture, Method::POST, &path(id), &"x".repeat(4097)).await.problem(413);
    call(&fixture, Method::POST, &path(id), &" ".repeat(4096)).await.ok(200);
}

#[tokio::test(start_paused = true)]
async fn a_decided_job_waits_for_nothing() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let mut body = recipe("A1");
    body["completion_hook"] = json!("webhook");
    fixture.post("/api/v1/jobs", body).await.ok(202);
    let (lease, job) = fixture.claim().await;
    let now = fixture.world.clock.now();
    let mut update = Job { last_update: now, ..job.clone() };
    update.facts.reset.started_at = Some(now);
    update.status = Status::Failed;
    update.cursor = Cursor::enter(Phase::Cleanup, Step::CleanupUnmountTask, now);
    fixture.store.save(&lease, &update, vec![]).await.unwrap();
    call(&fixture, Method::POST, &path(job.id), "").await.problem(404);
}
