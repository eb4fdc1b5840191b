//! What a maintenance system reports of its job, by the job's token or by the shared secret.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use shoal::domain::{Cursor, Job, JobId, MediaMode, Medium, MediumTrace, Phase, Reporter, Status, Step};
use shoal::token;

use super::{Answer, Fixture, HOOK_KEY, recipe};

const SECRET: &str = "shared";

pub fn linux(serial: &str) -> Value {
    json!({
        "task_target": "install-linux.target",
        "server_serial": serial,
        "target_disk": { "serial": "S4XNNE0M1" },
        "image": { "url": "https://images.example/linux/debian.raw.zst", "sha256": "ab".repeat(32) },
        "user_data": "#cloud-config\npassword: planted-secret\n",
    })
}

fn fixture() -> Fixture {
    Fixture::with(|parts| parts.webhook_secrets = vec![SECRET.into()])
}

/// A Linux job of server A1 whose host was started, if asked.
async fn job(fixture: &Fixture, started: bool) -> JobId {
    fixture.add_server("A1").await;
    start_job(fixture, started).await
}

/// A started one whose recipe is changed so.
async fn job_of(fixture: &Fixture, change: impl FnOnce(&mut Value)) -> JobId {
    fixture.add_server("A1").await;
    let mut recipe = linux("A1");
    change(&mut recipe);
    submit(fixture, recipe, true).await
}

async fn start_job(fixture: &Fixture, started: bool) -> JobId {
    submit(fixture, linux("A1"), started).await
}

async fn submit(fixture: &Fixture, recipe: Value, started: bool) -> JobId {
    fixture.post("/api/v1/jobs", recipe).await.ok(202);
    let (lease, job) = fixture.claim().await;
    let now = fixture.world.clock.now();
    let mut update = Job { last_update: now, ..job.clone() };
    update.status = Status::Provisioning;
    update.cursor = Cursor::enter(Phase::Forward, Step::AwaitWebhook, now);
    update.facts.reset.started_at = started.then_some(now);
    fixture.store.save(&lease, &update, vec![]).await.unwrap();
    job.id
}

async fn by_token(fixture: &Fixture, job: JobId, report: Value) -> Answer {
    let path = format!("/api/v1/status-webhook/A1/{}", token::of_hook(&HOOK_KEY, job).expose());
    fixture.call_with(Method::POST, &path, Some(report), &[]).await
}

async fn by_secret(fixture: &Fixture, serial: &str, report: Value) -> Answer {
    let path = format!("/api/v1/status-webhook/{serial}");
    fixture.call_with(Method::POST, &path, Some(report), &[("x-webhook-secret", SECRET)]).await
}

#[tokio::test(start_paused = true)]
async fn the_first_result_stays_and_repeats_are_answered_alike() {
    let fixture = fixture();
    let id = job(&fixture, true).await;
    let report = json!({
        "status": "failed", "failed_step": "disk", "delivery_id": "d1", "detail": "two disks match", "x": 1,
    });
    for _ in 0..3 {
        assert_eq!(by_token(&fixture, id, report.clone()).await.ok(200), json!({ "ok": true }));
    }
    by_token(&fixture, id, json!({ "status": "success" })).await.ok(200);
    let result = fixture.store.load_task_reports(id).await.unwrap().result.unwrap();
    assert_eq!((result.succeeded, result.by), (false, Reporter::Token));
    assert_eq!(result.failed_step.as_deref(), Some("disk"));
    assert_eq!(result.delivery_id.as_deref(), Some("d1"));
}

#[tokio::test(start_paused = true)]
async fn of_a_log_the_end_is_kept_and_the_token_in_it_is_not() {
    let fixture = fixture();
    let id = job(&fixture, true).await;
    let token = token::of_hook(&HOOK_KEY, id);
    let log = format!("{}é curl /status-webhook/A1/{} failed", "x".repeat(9_000), token.expose());
    by_token(&fixture, id, json!({ "status": "failed", "log": log, "detail": token.expose() })).await.ok(200);
    let result = fixture.store.load_task_reports(id).await.unwrap().result.unwrap();
    let log = result.log.unwrap();
    assert!(log.ends_with("failed") && log.len() <= 4096 && log.len() > 4000, "{}", log.len());
    assert!(!log.contains(token.expose()) && result.detail.as_deref() == Some("…"));
}

/// Past the time in which no maintenance system can have started.
async fn boot() {
    tokio::time::advance(Duration::from_secs(10)).await;
}

async fn kept(fixture: &Fixture, job: JobId) -> Option<(bool, Reporter)> {
    let result = fixture.store.load_task_reports(job).await.unwrap().result;
    result.map(|result| (result.succeeded, result.by))
}

#[tokio::test(start_paused = true)]
async fn a_result_by_the_jobs_token_outranks_one_by_the_shared_secret() {
    let fixture = fixture();
    let id = job(&fixture, true).await;
    boot().await;
    by_secret(&fixture, "A1", json!({ "status": "success", "delivery_id": "x" })).await.ok(200);
    assert_eq!(kept(&fixture, id).await, Some((true, Reporter::SharedSecret)));
    by_token(&fixture, id, json!({ "status": "failed", "delivery_id": "x" })).await.ok(200);
    assert_eq!(kept(&fixture, id).await, Some((false, Reporter::Token)));
    by_secret(&fixture, "A1", json!({ "status": "success", "delivery_id": "y" })).await.ok(200);
    assert_eq!(kept(&fixture, id).await, Some((false, Reporter::Token)));
}

/// Repeated by a relay while the next job of the same host installs.
#[tokio::test(start_paused = true)]
async fn a_stale_delivery_of_an_earlier_job_ends_no_job() {
    let fixture = fixture();
    let success = |delivery: &str| json!({ "status": "success", "delivery_id": delivery });
    let first = job(&fixture, true).await;
    boot().await;
    by_secret(&fixture, "A1", success("first")).await.ok(200);
    tokio::time::advance(Duration::from_secs(60)).await;
    fixture.end_job(Status::Succeeded, vec![]).await;
    assert_eq!(kept(&fixture, first).await, Some((true, Reporter::SharedSecret)));
    let second = start_job(&fixture, true).await;
    by_secret(&fixture, "A1", success("late")).await.problem(404);
    by_secret(&fixture, "A1", json!({ "status": "progress" })).await.problem(404);
    boot().await;
    for stale in ["first", "late"] {
        by_secret(&fixture, "A1", success(stale)).await.ok(200);
        assert_eq!(kept(&fixture, second).await, None, "{stale}");
    }
    by_secret(&fixture, "A1", success("second")).await.ok(200);
    assert_eq!(kept(&fixture, second).await, Some((true, Reporter::SharedSecret)));
}

#[tokio::test(start_paused = true)]
async fn by_the_secret_nothing_counts_before_the_maintenance_iso_was_loaded() {
    let fixture = fixture();
    let id = job(&fixture, true).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    let mut read = MediumTrace { total: 1 << 30, mode: MediaMode::Streamed, ..MediumTrace::default() };
    let medium = Medium::Boot.name();
    for (loaded, mode, status) in [
        (false, MediaMode::None, 404),
        (false, MediaMode::Streamed, 404),
        (true, MediaMode::Streamed, 200),
        (false, MediaMode::Prefetched, 200),
    ] {
        read.mode = mode;
        read.loaded_at = loaded.then(|| fixture.world.clock.now());
        fixture.store.save_trace(id, medium, &read).await.unwrap();
        let answer = by_secret(&fixture, "A1", json!({ "status": "progress" })).await;
        assert_eq!(answer.status.as_u16(), status, "{read:?}");
    }
}

/// It may be signed.
#[tokio::test(start_paused = true)]
async fn the_query_of_an_images_url_is_in_no_report() {
    let fixture = fixture();
    let id = job_of(&fixture, |recipe| {
        recipe["image"]["url"] = json!("https://images.example/linux/d.raw?sig=pl%2Fanted-signature");
    })
    .await;
    let quoted = "GET https://images.example/linux/d.raw?sig=pl%2Fanted-signature: 403, pl/anted-signature has expired, \
                  moved to https://other.example/?token=another-signature";
    let progress = json!({ "status": "progress", "step": quoted });
    by_token(&fixture, id, progress).await.ok(200);
    let failed = json!({ "status": "failed", "detail": quoted, "log": quoted, "warnings": [quoted], "failed_step": "?sig=pl%2Fanted-signature" });
    by_token(&fixture, id, failed).await.ok(200);
    let kept = format!("{:?}", fixture.store.load_task_reports(id).await.unwrap());
    assert!(kept.contains("has expired") && !kept.contains("anted") && !kept.contains("another-"), "{kept}");
    let spec = fixture.store.job(id).await.unwrap().unwrap().spec;
    assert!(!format!("{spec:?}").contains("anted"));
}

#[tokio::test(start_paused = true)]
async fn the_shared_secret_and_the_servers_serial_number_report_too() {
    let fixture = fixture();
    let id = job(&fixture, true).await;
    boot().await;
    by_secret(&fixture, "A2", json!({ "status": "success" })).await.problem(404);
    by_secret(&fixture, "A1", json!({ "status": "success", "task_target": "install-linux.target" }))
        .await
        .ok(200);
    let result = fixture.store.load_task_reports(id).await.unwrap().result.unwrap();
    assert_eq!((result.succeeded, result.by), (true, Reporter::SharedSecret));
    by_secret(&fixture, "A1", json!({ "status": "success" })).await.ok(200);
}

#[tokio::test(start_paused = true)]
async fn nothing_counts_before_the_start_or_for_another_path() {
    let fixture = fixture();
    let id = job(&fixture, false).await;
    by_token(&fixture, id, json!({ "status": "success" })).await.problem(404);
    by_secret(&fixture, "A1", json!({ "status": "success" })).await.problem(404);
    assert_eq!(fixture.store.load_task_reports(id).await.unwrap(), Default::default());
    fixture.add_server("E1").await;
    fixture.post("/api/v1/jobs", recipe("E1")).await.ok(202);
    by_secret(&fixture, "E1", json!({ "status": "success" })).await.problem(404);
}

#[tokio::test(start_paused = true)]
async fn progress_is_kept_at_most_once_in_five_seconds() {
    let fixture = fixture();
    let id = job(&fixture, true).await;
    for (wait, bytes) in [(0, 1), (4, 2), (2, 3)] {
        tokio::time::advance(Duration::from_secs(wait)).await;
        let report = json!({ "status": "progress", "step": "write", "bytes": bytes, "total": 9 });
        by_token(&fixture, id, report).await.ok(200);
    }
    let reports = fixture.store.load_task_reports(id).await.unwrap();
    assert_eq!((reports.result, reports.progress.unwrap().bytes), (None, Some(3)));
    let report = json!({ "status": "progress", "bytes": 4 });
    by_token(&fixture, id, report).await.ok(200);
    assert_eq!(fixture.store.load_task_reports(id).await.unwrap().progress.unwrap().bytes, Some(3));
}

#[tokio::test(start_paused = true)]
async fn an_invalid_report_changes_nothing() {
    let fixture = fixture();
    let id = job(&fixture, true).await;
    for bad in [
        json!({}),
        json!({ "status": "perhaps" }),
        json!({ "status": "failed", "failed_step": "x".repeat(129) }),
    ] {
        by_token(&fixture, id, bad.clone()).await.problem(422);
        by_secret(&fixture, "A1", bad).await.problem(422);
    }
    by_token(&fixture, id, json!({ "status": "failed", "log": "x".repeat(70_000) })).await.problem(413);
    assert_eq!(fixture.store.load_task_reports(id).await.unwrap(), Default::default());
}

#[tokio::test(start_paused = true)]
async fn an_image_must_be_where_the_settings_allow() {
    let fixture = fixture();
    fixture.add_server("A1").await;
    let mut body = linux("A1");
    body["image"]["url"] = json!("https://elsewhere.example/x.raw");
    let problem = fixture.post("/api/v1/jobs", body).await.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/image/url");
    assert!(problem["errors"][0].to_string().contains("IMAGES_ALLOW"), "{problem}");
    assert!(!problem.to_string().contains("planted-secret"));
}

#[tokio::test(start_paused = true)]
async fn a_faulty_layout_is_rejected_at_its_place() {
    let fixture = fixture();
    fixture.add_server("A1").await;
    let mut body = linux("A1");
    body["partition_layout"] = json!([
        { "size": "512M", "type_guid": "ef00", "format": "vfat" },
        { "size": "100%", "format": "btrfs", "mountpoint": "/" },
    ]);
    let problem = fixture.post("/api/v1/jobs", body).await.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/partition_layout/1/format");
    assert!(problem["errors"][0].to_string().contains("vfat, ext4, xfs"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn a_linux_recipe_may_be_large_and_an_esxi_recipe_may_not() {
    let fixture = fixture();
    for serial in ["A1", "A2"] {
        fixture.add_server(serial).await;
    }
    let mut large = linux("A1");
    large["user_data"] = json!("x".repeat(1 << 20));
    fixture.post("/api/v1/jobs", large).await.ok(202);
    let mut esxi = recipe("A2");
    esxi["metadata"] = json!("x".repeat(1 << 20));
    fixture.post("/api/v1/jobs", esxi).await.problem(413);
}
