//! Kickstarts: checked alone, and in every recipe on its way to a job.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use shoal::domain::LintMode;

use super::{Fixture, recipe};

/// Has findings of three classes: no password (breaks), `--firstdisk` (dangerous), no device (style).
const BAD: &str = "vmaccepteula\ninstall --firstdisk --overwritevmfs\nnetwork --bootproto=dhcp\nreboot\n";
const SECRET: &str = "rootpw hunTer2\n";

fn fixture(mode: LintMode) -> Fixture {
    Fixture::with(|parts| parts.kickstart_check.mode = mode)
}

/// A fixture with a server, and a recipe for it with this kickstart.
async fn with_recipe(mode: LintMode, kickstart: &str) -> (Fixture, Value) {
    let fixture = fixture(mode);
    fixture.add_server("A1").await;
    let mut body = recipe("A1");
    body["ks_cfg"] = json!(kickstart);
    (fixture, body)
}

fn findings(events: &Value) -> Vec<(String, String, u64)> {
    let events = events.as_array().unwrap().iter().filter(|event| event["op"] == "kickstart.lint");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    events
        .map(|event| {
            (text(&event["level"]), text(&event["detail"]["rule"]), event["detail"]["line"].as_u64())
        })
        .map(|(level, rule, line)| (level, rule, line.unwrap()))
        .collect()
}

fn expected() -> Vec<(String, String, u64)> {
    [("warning", "KS030", 1), ("warning", "KS043", 2), ("info", "KS069", 3)]
        .map(|(level, rule, line)| (level.to_owned(), rule.to_owned(), line))
        .to_vec()
}

#[tokio::test(start_paused = true)]
async fn findings_are_events_of_the_job_the_worst_first() {
    let (fixture, body) = with_recipe(LintMode::Warn, BAD).await;
    let job = fixture.post("/api/v1/jobs", body).await.ok(202);
    assert_eq!(findings(&job["events"]), expected());
    assert_eq!(job["status"], "queued");
    let event = &job["events"][1];
    assert_eq!((&event["step"], &event["status"]), (&json!("validate-recipe"), &json!("progress")));
    assert_eq!((&event["detail"]["class"], &event["detail"]["column"]), (&json!("dangerous"), &json!(9)));
    let message = event["message"].as_str().unwrap();
    assert!(message.starts_with("line 2, column 9: KS043 (dangerous): "), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_reports_the_findings_and_leaves_no_job() {
    let (fixture, body) = with_recipe(LintMode::Warn, BAD).await;
    let report = fixture.post("/api/v1/jobs?dry_run=true", body.clone()).await.ok(200);
    assert_eq!((findings(&report["events"]), &report["ok"]), (expected(), &json!(true)));
    let (strict, _) = with_recipe(LintMode::Deny, BAD).await;
    let problem = strict.post("/api/v1/jobs?dry_run=true", body).await.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/ks_cfg");
    for fixture in [fixture, strict] {
        assert_eq!(fixture.get("/api/v1/jobs").await.ok(200)["jobs"], json!([]));
    }
}

#[tokio::test(start_paused = true)]
async fn deny_refuses_what_breaks_with_pointer_and_line_and_nothing_else() {
    let (fixture, mut body) = with_recipe(LintMode::Deny, &BAD.replace("reboot\n", SECRET)).await;
    let answer = fixture.post("/api/v1/jobs", body.clone()).await;
    let problem = answer.problem(422);
    let errors = problem["errors"].as_array().unwrap();
    let starts = ["line 4, column 8: KS032 (breaks): ", "line 4, column 15: KS070 (breaks): "];
    assert_eq!(errors.len(), starts.len(), "{errors:?}");
    for (error, start) in errors.iter().zip(starts) {
        assert_eq!(error["pointer"], "/ks_cfg");
        assert!(error["message"].as_str().unwrap().starts_with(start), "{error}");
    }
    let job = fixture.get(&format!("/api/v1/jobs/{}", problem["job_id"].as_str().unwrap())).await;
    assert_eq!(
        (&job.ok(200)["status"], &job.json()["failed_step"]),
        (&json!("failed"), &json!("validate-recipe"))
    );
    assert!(!answer.text.contains("hunTer2") && !job.text.contains("hunTer2"), "{}", job.text);

    // A hook that powers off needs no `reboot`, and dangerous findings are no reason to refuse.
    body["completion_hook"] = json!("poweroff");
    body["ks.cfg"] = json!(BAD.replace("reboot\n", "rootpw q7X!mzr0T\n"));
    body.as_object_mut().unwrap().remove("ks_cfg");
    let job = fixture.post("/api/v1/jobs", body.clone()).await.ok(202);
    assert!(findings(&job["events"]).iter().any(|(_, rule, _)| rule == "KS043"), "{job}");
    body["ks.cfg"] = json!(BAD);
    assert_eq!(fixture.post("/api/v1/jobs", body).await.problem(422)["errors"][0]["pointer"], "/ks.cfg");
}

#[tokio::test(start_paused = true)]
async fn an_allowed_finding_is_no_reason_to_refuse() {
    let allowed = format!("# shoal: allow KS030 the image sets it\n{BAD}");
    let (fixture, body) = with_recipe(LintMode::Deny, &allowed).await;
    fixture.post("/api/v1/jobs", body).await.ok(202);
}

#[tokio::test(start_paused = true)]
async fn off_says_nothing() {
    let (fixture, body) = with_recipe(LintMode::Off, BAD).await;
    assert_eq!(fixture.post("/api/v1/jobs", body).await.ok(202)["events"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_checked_like_a_submit() {
    let (fixture, body) = with_recipe(LintMode::Deny, BAD).await;
    let refused = fixture.post("/api/v1/jobs", body).await.problem(422);
    let path = format!("/api/v1/jobs/{}/retry", refused["job_id"].as_str().unwrap());
    let again = fixture.post(&path, json!({})).await.problem(422);
    assert_eq!(again["errors"], refused["errors"]);
}

#[tokio::test(start_paused = true)]
async fn findings_have_a_bound_and_the_rest_is_counted() {
    let kickstart = format!("{}{BAD}", "bogus\n".repeat(200));
    let (fixture, body) = with_recipe(LintMode::Warn, &kickstart).await;
    let job = fixture.post("/api/v1/jobs", body).await.ok(202);
    let events = job["events"].as_array().unwrap();
    assert_eq!(events.len(), 51);
    assert_eq!(events[0]["detail"]["class"], "breaks");
    assert_eq!(events[50]["detail"]["more"], 200 + 3 - 50);
}

/// Beside `upgrade` of 9.0 a licence key is moot; in 8.0 it is not.
#[tokio::test(start_paused = true)]
async fn the_rules_are_those_of_the_installer_that_the_recipe_means() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let fixture = Fixture::with(|parts| {
        parts.kickstart_check.mode = LintMode::Warn;
        parts.kickstart_check.installer_version = Arc::new(move |url| {
            let is_default = url.is_none();
            log.lock().unwrap().push(url);
            Box::pin(async move { Some(if is_default { "8.0U3" } else { "9.0.1-0.0.24755229" }.to_owned()) })
        });
    });
    let licensed = format!("{BAD}serialnum --esx=00000-00000-00000-00000-00000\n");
    for (serial, url, moot) in [("A1", None, false), ("A2", Some("https://images.example/esxi/9.iso"), true)]
    {
        fixture.add_server(serial).await;
        let mut body = recipe(serial);
        body["ks_cfg"] = json!(licensed);
        body["esxi_installer_url"] = json!(url);
        let job = fixture.post("/api/v1/jobs", body).await.ok(202);
        let is_found = findings(&job["events"]).iter().any(|(_, rule, _)| rule == "KS028");
        assert_eq!(is_found, moot, "{job}");
        let version = if moot { "9.0.1" } else { "8.0.3" };
        assert_eq!(job["events"][0]["detail"]["esxi_version"], version);
    }
    assert_eq!(asked.lock().unwrap().len(), 2);
    let body = json!({ "ks_cfg": licensed });
    assert_eq!(fixture.post("/api/v1/kickstart/lint", body).await.ok(200)["esxi_version"], "8.0.3");
}

#[tokio::test(start_paused = true)]
async fn a_kickstart_is_checked_without_a_job() {
    let fixture = fixture(LintMode::Off);
    let text = format!("# shoal: allow KS069 one port\n{BAD}{SECRET}");
    let body = json!({ "ks_cfg": text, "esxi_version": "7.0", "completion_hook": "none" });
    let answer = fixture.post("/api/v1/kickstart/lint", body).await;
    let report = answer.ok(200);
    assert_eq!((&report["breaks"], &report["esxi_version"]), (&json!(true), &json!("7.0.0")));
    let rules: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["rule"].as_str().unwrap())
        .collect();
    assert_eq!(rules, ["KS043", "KS032"]);
    assert_eq!(
        (&report["findings"][0]["line"], &report["findings"][0]["class"]),
        (&json!(3), &json!("dangerous"))
    );
    assert_eq!(
        (&report["allowed"][0]["rule"], &report["allowed"][0]["reason"]),
        (&json!("KS069"), &json!("one port"))
    );
    assert!(!answer.text.contains("hunTer2"), "{}", answer.text);
    let off =
        json!({ "ks_cfg": BAD.replace("reboot\n", "rootpw q7X!mzr0T\n"), "completion_hook": "poweroff" });
    assert_eq!(fixture.post("/api/v1/kickstart/lint", off).await.ok(200)["breaks"], false);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_request_to_check_names_its_fields() {
    let fixture = fixture(LintMode::Warn);
    for (body, pointer) in [
        (json!({}), "/ks_cfg"),
        (json!({ "ks_cfg": 1 }), "/ks_cfg"),
        (json!({ "ks_cfg": " " }), "/ks_cfg"),
        (json!({ "ks_cfg": "x".repeat(65_537) }), "/ks_cfg"),
        (json!({ "ks_cfg": "x", "esxi_version": "5.5" }), "/esxi_version"),
        (json!({ "ks_cfg": "x", "completion_hook": "halt" }), "/completion_hook"),
        (json!({ "ks_cfg": "x", "kscfg": "x" }), "/kscfg"),
    ] {
        let problem = fixture.post("/api/v1/kickstart/lint", body).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
}
