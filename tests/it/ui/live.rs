//! Live updates: what a stream sends, how often, and when it ends.

use std::time::Duration;

use axum::body::BodyDataStream;
use futures_util::StreamExt;
use http::{Request, header};
use serde_json::Value;
use shoal::domain::{EventStatus, Job, Level, NewEvent, Status, Step};
use tokio::time::Instant;
use tower::ServiceExt;

use super::{Browser, HOST, Site};

struct Stream {
    body: BodyDataStream,
    text: String,
}

impl Stream {
    async fn open(browser: &Browser, view: &str, after: u64) -> Stream {
        let view: String = url::form_urlencoded::byte_serialize(view.as_bytes()).collect();
        let request = Request::builder()
            .uri(format!("/live?view={view}&after={after}&since=1795348800000"))
            .header("host", HOST)
            .header("cookie", format!("shoal={}", browser.cookies["shoal"]));
        let request = request.body(axum::body::Body::empty()).unwrap();
        let response = browser.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Stream { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// Name and data of the next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = event.to_owned();
                self.text = rest.to_owned();
                let line =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let Some(data) = line("data: ") {
                    return Some((line("event: ").unwrap(), serde_json::from_str(&data).unwrap()));
                }
                continue;
            }
            let bytes = self.body.next().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

fn ids(update: &Value) -> Vec<&str> {
    update["parts"].as_array().unwrap().iter().map(|part| part["id"].as_str().unwrap()).collect()
}

fn event(site: &Site, message: &str) -> NewEvent {
    NewEvent {
        time: site.fixture.world.clock.now(),
        level: Level::Info,
        step: Step::Reset,
        op: "reset".to_owned(),
        status: EventStatus::Started,
        attempt: 1,
        duration_ms: None,
        message: message.to_owned(),
        detail: serde_json::json!({}),
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_page_is_updated_until_the_job_is_over() {
    let site = Site::new();
    site.fixture.add_server("A1").await;
    let job = site.fixture.add_job("A1").await;
    let mut viewer = site.signed_in("viewer").await;
    let path = format!("/jobs/{job}");
    let mut stream = Stream::open(&viewer, &path, 0).await;
    let (name, update) = stream.next().await.unwrap();
    assert_eq!(name, "update");
    assert_eq!(ids(&update), ["job-events", "job-head", "job-reads", "job-timeline", "job-verdict"]);
    // A part is the same node as on a page that is loaded now.
    let page = viewer.get(&path).await;
    for part in update["parts"].as_array().unwrap() {
        page.shows(part["html"].as_str().unwrap());
    }
    let (lease, before) = site.fixture.claim().await;
    let mut running = Job { status: Status::Provisioning, ..before };
    running.cursor.step = Step::Reset;
    site.fixture.store.save(&lease, &running, vec![event(&site, "resetting <now>")]).await.unwrap();
    let (_, update) = stream.next().await.unwrap();
    assert_eq!(update["say"], "Reset the host.");
    let events = update["parts"].as_array().unwrap().iter().find(|part| part["id"] == "job-events").unwrap();
    assert!(events["html"].as_str().unwrap().contains("resetting &lt;now&gt;"));
    let now = site.fixture.world.clock.now();
    let mut over = Job { status: Status::Failed, finished_at: Some(now), ..running };
    over.cursor.phase = shoal::domain::Phase::Done;
    site.fixture.store.save(&lease, &over, vec![event(&site, "over")]).await.unwrap();
    let mut last = stream.next().await.unwrap();
    while last.0 != "end" {
        last = stream.next().await.unwrap();
    }
    assert!(stream.next().await.is_none());
    viewer.get(&path).await.hides("data-live-after");
}

#[tokio::test(start_paused = true)]
async fn the_fleet_sends_only_rows_that_have_changed_and_at_most_two_updates_a_second() {
    let site = Site::new();
    for serial in ["A1", "B1", "C1"] {
        site.fixture.add_server(serial).await;
    }
    let mut viewer = site.signed_in("viewer").await;
    let page = viewer.get("/").await;
    let after: u64 =
        page.text.split("data-live-after=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
    // Between the page and its stream.
    site.fixture.add_job("B1").await;
    let mut stream = Stream::open(&viewer, "/", after).await;
    let (_, update) = stream.next().await.unwrap();
    assert_eq!(ids(&update), ["row-B1"]);
    let started = Instant::now();
    let (lease, job) = site.fixture.claim().await;
    let running = Job { status: Status::Provisioning, ..job };
    let mut updates = 0;
    for number in 0..40 {
        site.fixture.store.save(&lease, &running, vec![event(&site, &format!("{number}"))]).await.unwrap();
        tokio::select! {
            _ = stream.next() => updates += 1,
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
    let seconds = started.elapsed().as_secs() + 1;
    assert!(updates >= 2 && updates <= 2 * seconds, "{updates} updates in {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_session() {
    let site = Site::new();
    site.fixture.add_server("A1").await;
    let job = site.fixture.add_job("A1").await;
    let tokens = site.fixture.get("/api/v1/tokens").await.ok(200);
    let id = |name: &str| {
        let all = tokens["tokens"].as_array().unwrap();
        all.iter().find(|token| token["name"] == name).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let viewer = site.signed_in("viewer").await;
    let mut revoked = Stream::open(&viewer, &format!("/jobs/{job}"), 0).await;
    revoked.next().await.unwrap();
    site.fixture.call(http::Method::DELETE, &format!("/api/v1/tokens/{}", id("viewer")), None).await;
    while revoked.next().await.is_some() {}
    let mut operator = site.signed_in("operator").await;
    let mut signed_out = Stream::open(&operator, "/", 0).await;
    let page = operator.get("/").await;
    operator.submit(&page, "/sign-out", &[]).await;
    let ended = async { while signed_out.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(15), ended).await.expect("the stream ends");
    let admin = site.signed_in("admin").await;
    let mut stopped = Stream::open(&admin, "/", 0).await;
    site.fixture.shutdown.cancel();
    while stopped.next().await.is_some() {}
}

/// A stream that was left half-read while a page was rendered held the database that the page needed, and with it the
/// controller. Only a database in a file makes its readers wait.
#[tokio::test]
async fn a_stream_never_holds_the_database_that_its_page_needs() {
    let dir = tempfile::tempdir().unwrap();
    let store =
        shoal::store::Store::open(&dir.path().join("shoal.db"), shoal::seal::Sealer::new([7; 32])).unwrap();
    let site = Site::over(store.clone()).await;
    site.fixture.add_server("A1").await;
    let answer = site.fixture.post("/api/v1/jobs", crate::api::recipe("A1")).await.ok(202);
    let job = answer["job_id"].as_str().unwrap().to_owned();
    let viewer = site.signed_in("viewer").await;
    let mut streams = Vec::new();
    for view in ["/", &format!("/jobs/{job}")] {
        for _ in 0..4 {
            streams.push(Stream::open(&viewer, view, 0).await);
        }
    }
    let now = site.fixture.world.clock.now();
    let (lease, before) = store.claim("test", now, Duration::from_secs(60), 1).await.unwrap().pop().unwrap();
    let running = Job { status: Status::Provisioning, ..before };
    let readers = streams.into_iter().map(|mut stream| {
        tokio::spawn(async move {
            while let Some((_, update)) = stream.next().await {
                if update.to_string().contains("number 29") {
                    return;
                }
            }
            panic!("the stream has ended");
        })
    });
    let readers: Vec<_> = readers.collect();
    for number in 0..30 {
        let saved = store.save(&lease, &running, vec![event(&site, &format!("number {number}"))]);
        tokio::time::timeout(Duration::from_secs(20), saved).await.expect("the store answers").unwrap();
    }
    // The fleet shows no messages of events: only the pages of the job do.
    for reader in readers.into_iter().skip(4) {
        tokio::time::timeout(Duration::from_secs(20), reader).await.expect("the page is updated").unwrap();
    }
}
