//! Events as JSON and as a stream that is resumed by their ids.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use shoal::access::{NewToken, Role, TokenOrigin};
use shoal::domain::{EventStatus, Level, NewEvent, Status, Step};
use tower::ServiceExt;

use super::{Fixture, keep_token};

pub fn event(fixture: &Fixture, message: &str) -> NewEvent {
    NewEvent {
        time: fixture.world.clock.now(),
        level: Level::Info,
        step: Step::Reset,
        op: "reset".to_owned(),
        status: EventStatus::Progress,
        attempt: 1,
        duration_ms: None,
        message: message.to_owned(),
        detail: json!({"power": "On"}),
    }
}

/// Events of a stream as (id, data), to its end.
pub fn parse_stream(text: &str) -> Vec<(u64, Value)> {
    let blocks = text.split("\n\n").filter(|block| block.contains("data:"));
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    let parse = |block: &str| {
        let data = serde_json::from_str(&field(block, "data:")).unwrap();
        (field(block, "id:").parse().unwrap(), data)
    };
    blocks.map(parse).collect()
}

pub async fn stream(fixture: &Fixture, path: &str, headers: &[(&str, &str)]) -> super::Answer {
    let headers = [&[("accept", "text/event-stream")], headers].concat();
    fixture.call_with(Method::GET, path, None, &headers).await
}

#[tokio::test(start_paused = true)]
async fn events_are_listed_page_by_page() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let id = fixture.add_job("A1").await;
    let events = ["one", "two", "three"].map(|message| event(&fixture, message)).to_vec();
    fixture.end_job(Status::Failed, events).await;
    let path = format!("/api/v1/jobs/{id}/events");
    let all = fixture.get(&path).await.ok(200);
    let expected = json!({
        "id": 1, "seq": 1, "job_id": id, "server_serial": "A1", "time": "2026-11-22T12:00:00.01Z",
        "level": "info", "step": "reset", "op": "reset", "status": "progress", "attempt": 1,
        "duration_ms": null, "message": "one", "detail": {"power": "On"},
    });
    assert_eq!(all["events"][0], expected);
    assert_eq!((all["events"].as_array().unwrap().len(), &all["next_after"]), (3, &Value::Null));
    let page = fixture.get(&format!("{path}?limit=2")).await.ok(200);
    assert_eq!(page["next_after"], 2);
    let rest = fixture.get(&format!("{path}?limit=2&after=2")).await.ok(200);
    assert_eq!(rest["events"][0]["message"], "three");
    assert_eq!(fixture.get("/api/v1/events?after=1").await.ok(200)["events"][0]["id"], 2);
    fixture.get("/api/v1/events?limit=0").await.problem(400);
    fixture.get("/api/v1/events?after=x").await.problem(400);
}

#[tokio::test(start_paused = true)]
async fn the_stream_of_a_job_that_is_over_ends_after_its_last_event() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let id = fixture.add_job("A1").await;
    fixture.end_job(Status::Failed, vec![event(&fixture, "one"), event(&fixture, "two")]).await;
    let path = format!("/api/v1/jobs/{id}/events");
    let whole = stream(&fixture, &path, &[]).await;
    assert!(whole.headers["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let events = parse_stream(&whole.text);
    assert_eq!(events.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(events[1].1["message"], "two");
    let rest = parse_stream(&stream(&fixture, &path, &[("last-event-id", "1")]).await.text);
    assert_eq!(rest.len(), 1);
    let rest = parse_stream(&stream(&fixture, &format!("{path}?after=1"), &[]).await.text);
    assert_eq!(rest.len(), 1);
    let nothing = stream(&fixture, &path, &[("last-event-id", "2")]).await;
    assert_eq!(nothing.status, 204, "a browser does not reconnect");
    stream(&fixture, &path, &[("last-event-id", "two")]).await.problem(400);
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_as_events_are_written_and_beats_while_nothing_is() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let id = fixture.add_job("A1").await;
    let headers = [("accept", "text/event-stream")];
    let request = super::request(Method::GET, &format!("/api/v1/jobs/{id}/events"), None, &headers);
    let mut body = fixture.router.clone().oneshot(request).await.unwrap().into_body();
    let mut next = async || {
        let frame = body.frame().await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    };
    assert_eq!(next().await.unwrap().trim(), ":", "time passes, and the stream is seen to live");
    fixture.end_job(Status::Succeeded, vec![event(&fixture, "done")]).await;
    let (_, data) = parse_stream(&next().await.unwrap()).remove(0);
    assert_eq!(data["message"], "done");
    assert_eq!(next().await, None, "the job is over");
}

#[tokio::test(start_paused = true)]
async fn the_stream_of_all_jobs_ends_with_the_controller_alone() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    fixture.add_job("A1").await;
    fixture.end_job(Status::Failed, vec![event(&fixture, "one")]).await;
    let reading = stream(&fixture, "/api/v1/events", &[]);
    let stopping = async {
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        fixture.shutdown.cancel();
    };
    let (answer, ()) = tokio::join!(reading, stopping);
    assert_eq!(parse_stream(&answer.text).len(), 1);
    assert!(answer.text.matches(":\n\n").count() >= 3, "heartbeats: {}", answer.text);
}

#[tokio::test(start_paused = true)]
async fn the_stream_of_a_job_that_ends_without_an_event_ends_too() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let id = fixture.add_job("A1").await;
    let path = format!("/api/v1/jobs/{id}/events");
    let ending = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        fixture.end_job(Status::Failed, Vec::new()).await;
    };
    let (answer, ()) = tokio::join!(stream(&fixture, &path, &[]), ending);
    assert_eq!(parse_stream(&answer.text), []);
}

/// Opens a stream with that token, and gives what it sent until it ended, and when that was. `None` where it
/// goes on for ten minutes.
async fn until_end(fixture: &Fixture, token: &str, meanwhile: impl AsyncFnOnce()) -> Option<Duration> {
    let mut request = super::request(Method::GET, "/api/v1/events", None, &[("accept", "text/event-stream")]);
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let response = fixture.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let reading = tokio::spawn(async move {
        response.into_body().collect().await.unwrap();
        tokio::time::Instant::now()
    });
    // It waits for events by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = tokio::time::Instant::now();
    meanwhile().await;
    let ended = tokio::time::timeout(Duration::from_secs(600), reading).await.ok()?.unwrap();
    Some(ended.saturating_duration_since(began))
}

/// Issue 15, kind 26.
#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_token_is_revoked() {
    let fixture = Fixture::new();
    let reader = keep_token(&fixture.store, &fixture.world, "reader", Role::Viewer, "reader");
    let other = keep_token(&fixture.store, &fixture.world, "other", Role::Viewer, "other");
    let revoke = async |id| {
        let answer = fixture.call(Method::DELETE, &format!("/api/v1/tokens/{id}"), None).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
    };
    assert_eq!(until_end(&fixture, "reader", async || revoke(other.id).await).await, None, "not its own");
    let ended = until_end(&fixture, "reader", async || revoke(reader.id).await).await;
    assert!(ended.is_some_and(|after| after < Duration::from_secs(1)), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_soon_when_another_controller_revokes_its_token() {
    let fixture = Fixture::new();
    let reader = keep_token(&fixture.store, &fixture.world, "reader", Role::Viewer, "reader");
    let now = fixture.world.clock.now();
    let revoke = async || drop(fixture.store.revoke_token(&reader.id, now).await.unwrap());
    let ended = until_end(&fixture, "reader", revoke).await;
    assert!(ended.is_some_and(|after| after <= Duration::from_secs(20)), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_token_expires() {
    let fixture = Fixture::new();
    let now = fixture.world.clock.now();
    let expiring = NewToken {
        id: shoal::api::new_token_id(&fixture.world.rng),
        name: "expiring".to_owned(),
        role: Role::Viewer,
        origin: TokenOrigin::Created,
        expires_at: Some(shoal_base::world::after(now, Duration::from_secs(95))),
        created_at: now,
        created_by: "test".to_owned(),
    };
    fixture.store.insert_token(expiring, "expiring").await.unwrap();
    let ended = until_end(&fixture, "expiring", async || {}).await.expect("it ends");
    assert!((93..=95).contains(&ended.as_secs()), "{ended:?}");
}

/// What was ready before the revocation is not sent after it.
#[tokio::test(start_paused = true)]
async fn nothing_is_sent_after_a_revocation() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    fixture.add_job("A1").await;
    let events = (0..50).map(|number| event(&fixture, &number.to_string())).collect();
    fixture.end_job(Status::Failed, events).await;
    let reader = keep_token(&fixture.store, &fixture.world, "reader", Role::Viewer, "reader");
    let mut request = super::request(Method::GET, "/api/v1/events", None, &[("accept", "text/event-stream")]);
    request.headers_mut().insert("authorization", "Bearer reader".parse().unwrap());
    let mut body = fixture.router.clone().oneshot(request).await.unwrap().into_body();
    assert!(body.frame().await.unwrap().is_ok());
    fixture.call(Method::DELETE, &format!("/api/v1/tokens/{}", reader.id), None).await;
    let mut rest = 0;
    while body.frame().await.is_some() {
        rest += 1;
    }
    assert_eq!(rest, 0);
}

#[tokio::test(start_paused = true)]
async fn events_are_filtered_by_server_and_level() {
    let fixture = Fixture::new();
    for serial in ["A1", "B2"] {
        fixture.add_server(serial).await;
        fixture.add_job(serial).await;
        let warning = NewEvent { level: Level::Warning, ..event(&fixture, &format!("{serial} warns")) };
        fixture.end_job(Status::Failed, vec![event(&fixture, serial), warning]).await;
    }
    let messages = async |query: &str| {
        let page = fixture.get(&format!("/api/v1/events?{query}")).await.ok(200);
        let events = page["events"].as_array().unwrap().clone();
        events.iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(messages("server_serial=B2").await, ["B2", "B2 warns"]);
    assert_eq!(messages("level=warning").await, ["A1 warns", "B2 warns"]);
    assert_eq!(messages("level=warning&server_serial=A1").await, ["A1 warns"]);
    assert_eq!(messages("level=error").await, Vec::<String>::new());
    let now = fixture.get("/api/v1/events?from=now").await.ok(200);
    assert_eq!((&now["events"], &now["next_after"]), (&json!([]), &json!(4)));
    assert_eq!(messages("from=now&after=3").await, ["B2 warns"], "a position takes precedence");
    for query in ["level=loud", "from=then", "server_serial=a/b", "batch=x"] {
        fixture.get(&format!("/api/v1/events?{query}")).await.problem(400);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_from_now_shows_nothing_of_before_and_passes_over_what_does_not_fit() {
    let fixture = Fixture::new();
    for serial in ["A1", "B2"] {
        fixture.add_server(serial).await;
    }
    fixture.add_job("A1").await;
    fixture.end_job(Status::Failed, vec![event(&fixture, "before")]).await;
    let headers = [("accept", "text/event-stream")];
    let request = super::request(Method::GET, "/api/v1/events?from=now&server_serial=B2", None, &headers);
    let mut body = fixture.router.clone().oneshot(request).await.unwrap().into_body();
    for serial in ["A1", "B2"] {
        fixture.add_job(serial).await;
        fixture.end_job(Status::Failed, vec![event(&fixture, serial)]).await;
    }
    loop {
        let frame = body.frame().await.unwrap().unwrap();
        let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
        if text.contains("data:") {
            let events = parse_stream(&text);
            assert_eq!(events[0].1["message"], "B2");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_resumed_from_before_the_retention_begins_with_a_gap() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let old = fixture.add_job("A1").await;
    fixture.end_job(Status::Failed, vec![event(&fixture, "old"), event(&fixture, "older")]).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    let now = fixture.world.clock.now();
    fixture.add_job("A1").await;
    fixture.end_job(Status::Failed, vec![event(&fixture, "new")]).await;
    assert_eq!(fixture.store.expire_events(now, 9).await.unwrap(), 1);
    fixture.shutdown.cancel();
    let begins_with_gap = async |path: &str, last: &str| {
        let text = stream(&fixture, path, &[("last-event-id", last)]).await.text;
        text.starts_with("event: gap\ndata: {\"removed_up_to\":2}\n\n")
    };
    assert!(begins_with_gap("/api/v1/events", "1").await);
    assert!(!begins_with_gap("/api/v1/events", "2").await, "nothing of what follows was removed");
    let path = format!("/api/v1/jobs/{old}/events");
    assert!(begins_with_gap(&path, "0").await);
    assert_eq!(stream(&fixture, &path, &[("last-event-id", "2")]).await.status, 204);
    assert!(!stream(&fixture, "/api/v1/events", &[]).await.text.contains("gap"), "it was not resumed");
}
