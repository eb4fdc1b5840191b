//! Outgoing notifications against a receiver that fails, redirects, hangs and takes what it has had before.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use serde_json::Value;
use shoal::api::{Notifier, NotifySettings};
use shoal::domain::Status;
use shoal_base::world::{HttpRequest, HttpResponse, TransportError, TransportErrorKind, World};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::util::BoxCloneSyncService;

use super::api::{Fixture, recipe};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[derive(Clone, Copy, Debug)]
enum Receives {
    Refuses,
    Answers(u16),
    Hangs,
    /// Takes it, and the answer is lost.
    Loses,
}

/// One request as it arrived.
#[derive(Clone, Debug)]
struct Received {
    at: tokio::time::Instant,
    id: String,
    timestamp: String,
    signature: String,
    body: Value,
}

#[derive(Clone, Default)]
struct Receiver {
    plan: Arc<Mutex<VecDeque<Receives>>>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    fn planning(plan: &[Receives]) -> Receiver {
        Receiver { plan: Arc::new(Mutex::new(plan.iter().copied().collect())), ..Receiver::default() }
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// 200 once the plan is over.
    async fn receive(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let next = self.plan.lock().unwrap().pop_front().unwrap_or(Receives::Answers(200));
        let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        let received = Received {
            at: tokio::time::Instant::now(),
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            signature: header("webhook-signature"),
            body: serde_json::from_slice(request.body()).unwrap(),
        };
        if !matches!(next, Receives::Refuses) {
            self.received.lock().unwrap().push(received);
        }
        match next {
            Receives::Refuses => Err(TransportError::new(TransportErrorKind::Connect)),
            Receives::Loses => Err(TransportError::new(TransportErrorKind::Broken)),
            Receives::Hangs => std::future::pending().await,
            Receives::Answers(status) => {
                let answer =
                    http::Response::builder().status(status).header("location", "https://elsewhere.example");
                Ok(answer.body(Body::empty()).unwrap())
            }
        }
    }

    fn start(&self, fixture: &Fixture) -> JoinHandle<()> {
        let receiver = self.clone();
        let transport = BoxCloneSyncService::new(tower::service_fn(move |request: HttpRequest| {
            let receiver = receiver.clone();
            async move { receiver.receive(request).await }
        }));
        let world = World { transport, ..fixture.world.clone() };
        let url = "https://receiver.example/hook?key=1".parse().unwrap();
        let settings = NotifySettings { url, secret: Some(SECRET.parse().unwrap()) };
        let notifier = Notifier::new(fixture.store.clone(), world, settings);
        tokio::spawn(async move { notifier.run(CancellationToken::new()).await })
    }
}

async fn site() -> Fixture {
    let fixture = Fixture::new();
    fixture.store.set_notifying(true).await.unwrap();
    fixture.add_server("A1").await;
    fixture
}

async fn wait_hours(hours: u64) {
    tokio::time::sleep(Duration::from_secs(hours * 3_600)).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_job_is_delivered_once_and_signed() {
    let fixture = site().await;
    let receiver = Receiver::default();
    let _running = receiver.start(&fixture);
    let job = fixture.add_job("A1").await;
    fixture.end_job(Status::Failed, Vec::new()).await;
    wait_hours(1).await;
    let received = receiver.received();
    assert_eq!(received.len(), 1, "{received:?}");
    let Received { id, timestamp, signature, body, .. } = &received[0];
    assert_eq!((&body["type"], &body["data"]["job"]["job_id"]), (&"job.ended".into(), &job.as_str().into()));
    assert_eq!(body["data"]["job"]["status"], "failed");
    assert!(id.starts_with(&format!("msg_{job}_")), "{id}");
    let (_, code) = signature.split_once("v1,").unwrap();
    let mut mac = <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(&{
        use base64::Engine as _;
        base64::prelude::BASE64_STANDARD.decode(&SECRET[6..]).unwrap()
    })
    .unwrap();
    hmac::Mac::update(&mut mac, format!("{id}.{timestamp}.{body}").as_bytes());
    use base64::Engine as _;
    let expected = base64::prelude::BASE64_STANDARD.encode(hmac::Mac::finalize(mac).into_bytes());
    assert_eq!(code, expected);
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_later_each_time_under_one_id() {
    use Receives::{Answers, Hangs, Loses, Refuses};
    let fixture = site().await;
    let receiver = Receiver::planning(&[Refuses, Answers(500), Answers(302), Hangs, Loses, Answers(204)]);
    let _running = receiver.start(&fixture);
    fixture.add_job("A1").await;
    fixture.end_job(Status::Succeeded, Vec::new()).await;
    wait_hours(24).await;
    let received = receiver.received();
    assert_eq!(received.len(), 5, "the last one was accepted: {received:?}");
    assert!(received.iter().all(|one| one.id == received[0].id), "{received:?}");
    let waits: Vec<Duration> = received.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(waits.is_sorted(), "{waits:?}");
    assert!(fixture.store.next_notification().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_away_for_days_gets_no_more_of_what_is_old() {
    let fixture = site().await;
    let receiver = Receiver::planning(&[Receives::Answers(503); 1_000]);
    let _running = receiver.start(&fixture);
    fixture.add_job("A1").await;
    fixture.end_job(Status::Succeeded, Vec::new()).await;
    wait_hours(71).await;
    assert!(fixture.store.next_notification().await.unwrap().is_some());
    wait_hours(8).await;
    assert!(fixture.store.next_notification().await.unwrap().is_none());
    assert!((10..40).contains(&receiver.received().len()), "{}", receiver.received().len());
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_the_middle_of_an_attempt_delivers_it_again() {
    let fixture = site().await;
    let receiver = Receiver::planning(&[Receives::Hangs]);
    let running = receiver.start(&fixture);
    fixture.add_job("A1").await;
    fixture.end_job(Status::Succeeded, Vec::new()).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    running.abort();
    let _restarted = receiver.start(&fixture);
    wait_hours(1).await;
    let ids: Vec<String> = receiver.received().into_iter().map(|one| one.id).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
}

/// One that hangs takes its own 15 seconds and none of the others'.
#[tokio::test(start_paused = true)]
async fn one_hanging_answer_does_not_delay_the_others() {
    let fixture = site().await;
    fixture.add_server("B1").await;
    let receiver = Receiver::planning(&[Receives::Hangs]);
    for server in ["A1", "B1"] {
        fixture.post("/api/v1/jobs", recipe(server)).await.ok(202);
        fixture.end_job(Status::Succeeded, Vec::new()).await;
    }
    let started = tokio::time::Instant::now();
    let _running = receiver.start(&fixture);
    wait_hours(1).await;
    let received = receiver.received();
    assert!(received.len() == 3 && received[1].at - started < Duration::from_secs(5), "{received:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_reported_without_its_rows() {
    let fixture = site().await;
    let receiver = Receiver::default();
    let _running = receiver.start(&fixture);
    let body = serde_json::json!({"recipe": {"task_target": "install-esxi.target", "ks_cfg": "x"}, "servers": ["A1"]});
    let batch = fixture.post("/api/v1/batches", body).await.ok(202);
    fixture.end_job(Status::Failed, Vec::new()).await;
    let none = fixture.store.claim("me", fixture.world.clock.now(), Duration::from_secs(9), 9).await.unwrap();
    assert!(none.is_empty());
    wait_hours(1).await;
    let received = receiver.received();
    let types: Vec<&Value> = received.iter().map(|one| &one.body["type"]).collect();
    assert_eq!(types, ["job.ended", "batch.ended"]);
    let shown = &received[1].body["data"]["batch"];
    assert_eq!((&shown["batch_id"], &shown["counts"]["failed"]), (&batch["batch_id"], &1.into()));
    assert!(shown.get("rows").is_none());
}
