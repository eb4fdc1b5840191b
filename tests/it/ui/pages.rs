//! Fleet, server, batches, kickstart, audit and tokens: what they show and do.

use std::io::Read as _;

use http::Method;
use serde_json::json;
use shoal::domain::Status;

use super::Site;

#[tokio::test(start_paused = true)]
async fn the_fleet_shows_state_reason_and_groups_and_filters_by_its_url() {
    let site = Site::new();
    for (serial, rack) in [("A1", "1"), ("A2", "1"), ("B1", "2")] {
        let mut server = crate::api::server_json(serial);
        server["labels"] = json!({ "rack": rack });
        site.fixture.post("/api/v1/servers", server).await.ok(201);
    }
    site.fixture.add_job("A1").await;
    site.fixture.end_job(Status::Failed, Vec::new()).await;
    site.fixture.add_job("B1").await;
    let mut viewer = site.signed_in("viewer").await;
    let page = viewer.get("/").await;
    for part in
        ["rack = 1", "rack = 2", "href=\"/servers/A1\"", "<strong>1</strong> Needs a person", "no job yet"]
    {
        page.shows(part);
    }
    page.shows("failed</span>");
    let failed = viewer.get("/?state=attention").await;
    failed.shows("href=\"/servers/A1\"");
    failed.hides("href=\"/servers/A2\"");
    let found = viewer.get("/?q=RACK%3D2&state=queued").await;
    found.shows("href=\"/servers/B1\"");
    found.hides("href=\"/servers/A1\"");
    viewer.get("/?q=nothing+like+this").await.shows("No server matches.");
    let flat = viewer.get("/?group=-").await;
    flat.shows("All servers");
    page.hides("Release");
}

#[tokio::test(start_paused = true)]
async fn a_fleet_of_a_thousand_hosts_is_one_small_page() {
    let site = Site::new();
    let rows = (0..1_000).map(|number| {
        json!({"serial": format!("SRV{number:05}"), "bmc_address": format!("https://10.0.{}.{}", number / 250, number % 250),
            "bmc_username": "root", "bmc_password": "calvin-calvin", "labels": {"rack": format!("r{:02}", number / 20), "site": "fra1"}})
    });
    let rows: Vec<_> = rows.collect();
    for part in rows.chunks(500) {
        for row in part {
            site.fixture.post("/api/v1/servers", row.clone()).await.ok(201);
        }
    }
    let mut viewer = site.signed_in("viewer").await;
    let page = viewer.send(Method::GET, "/", None, &[("accept-encoding", "gzip, br")]).await;
    assert_eq!(page.headers["content-encoding"], "gzip");
    assert_eq!(page.headers["vary"], "Accept-Encoding");
    let plain = viewer.get("/").await;
    assert_eq!(plain.text.matches("role=\"rowheader\"").count(), 1_000);
    let mut packed = flate2::read::GzEncoder::new(plain.text.as_bytes(), flate2::Compression::new(4));
    let mut bytes = Vec::new();
    packed.read_to_end(&mut bytes).unwrap();
    assert!(bytes.len() < 200_000, "{} bytes", bytes.len());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_path_is_a_page_for_a_browser_and_a_problem_for_a_program() {
    let site = Site::new();
    let mut browser = site.browser();
    let kinds = "text/html,application/xhtml+xml,*/*;q=0.8";
    let page = browser.send(Method::GET, "/servres", None, &[("accept", kinds)]).await;
    assert_eq!(page.status, 404);
    page.shows("Back to the fleet");
    for (method, path, accepted) in [
        (Method::GET, "/servres", "*/*"),
        (Method::POST, "/servres", kinds),
        (Method::GET, "/api/v1/servres", kinds),
    ] {
        let answer = browser.send(method, path, None, &[("accept", accepted)]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text.contains("<html")),
            (404, false),
            "{path} {accepted}"
        );
        answer.shows("there is nothing under that path");
    }
}

/// Serial numbers have a form of their own; all else is text of others.
#[tokio::test(start_paused = true)]
async fn text_of_others_is_never_markup() {
    let site = Site::new();
    let evil = "\"><script>alert(1)</script><img src=x onerror=alert(1)>";
    let mut server = crate::api::server_json("A1");
    server["labels"] = json!({ "note": evil });
    server["bmc_username"] = json!(evil);
    server["management_address"] = json!("esx'\"<b>.example");
    let answer = site.fixture.post("/api/v1/servers", server.clone()).await;
    if answer.status != 201 {
        server.as_object_mut().unwrap().remove("management_address");
        site.fixture.post("/api/v1/servers", server).await.ok(201);
    }
    let job = site.fixture.add_job("A1").await;
    let (lease, before) = site.fixture.claim().await;
    let event = shoal::domain::NewEvent {
        time: site.fixture.world.clock.now(),
        level: shoal::domain::Level::Warning,
        step: shoal::domain::Step::Reset,
        op: evil.to_owned(),
        status: shoal::domain::EventStatus::Progress,
        attempt: 1,
        duration_ms: None,
        message: format!("The BMC said {evil}\u{1b}[2J\u{202e}"),
        detail: json!({}),
    };
    let failed = shoal::domain::Job { reason: Some(evil.to_owned()), status: Status::Failed, ..before };
    site.fixture.store.save(&lease, &failed, vec![event]).await.unwrap();
    let mut admin = site.signed_in("admin").await;
    let paths = [
        "/".to_owned(),
        "/?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
        "/servers/A1".to_owned(),
        format!("/jobs/{job}"),
        format!("/jobs/{job}/cancel"),
        "/audit?actor=%22%3E%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
        "/sign-in?next=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&notice=%3Cscript%3E".to_owned(),
    ];
    for path in paths {
        let page = admin.get(&path).await;
        assert_eq!(page.status, 200, "{path}");
        page.hides("<script>alert");
        page.hides("<img");
        page.hides("\u{1b}");
        page.hides("\u{202e}");
    }
    let page = admin.get("/kickstart").await;
    let page =
        admin.submit(&page, "/kickstart/lint", &[("ks_cfg", "</textarea><script>alert(1)</script>\n")]).await;
    page.shows("&lt;/textarea&gt;");
    page.hides("<script>alert");
}

#[tokio::test(start_paused = true)]
async fn a_server_is_checked_inspected_protected_and_released_from_its_page() {
    let site = Site::new();
    site.fixture.add_server("A1").await;
    let mut operator = site.signed_in("operator").await;
    let page = operator.get("/servers/A1").await;
    page.shows("The hardware was not read yet.");
    let report = operator.submit(&page, "/servers/A1/check", &[]).await;
    assert_eq!(report.status, 200);
    report.shows("What to do");
    report.shows("What the BMC shows now");
    let done = operator.submit(&page, "/servers/A1/inspect", &[]).await;
    let page = operator.follow(&done).await;
    page.shows("The hardware inventory was read from the BMC.");
    page.shows("<dd>A1</dd>");
    let done = operator.submit(&page, "/servers/A1/protect", &[]).await;
    let page = operator.follow(&done).await;
    page.shows("This server is protected");
    let done = operator.submit(&page, "/servers/A1/unprotect", &[]).await;
    operator.follow(&done).await.shows("no longer protected");
    let page = operator.get("/servers/A1/release").await;
    page.shows("https://10.0.0.5");
    let report = operator.submit(&page, "/servers/A1/release", &[]).await;
    report.shows("Every drive is empty and no boot override is set.");
    assert_eq!(operator.get("/servers/NOPE").await.status, 404);
    assert_eq!(operator.get("/servers/%2e%2e").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_batch_shows_its_plan_and_is_paused_resumed_and_cancelled() {
    let site = Site::new();
    for serial in ["A1", "B1", "C1"] {
        site.fixture.add_server(serial).await;
    }
    let recipe = json!({"task_target": "install-esxi.target", "ks_cfg": "vmaccepteula\nreboot\n"});
    let body = json!({"recipe": recipe, "servers": ["A1", "B1", "C1"], "name": "rack <7>", "canary": 1, "max_failures": 2});
    let batch = site.fixture.post("/api/v1/batches", body).await.ok(202);
    let path = format!("/batches/{}", batch["batch_id"].as_str().unwrap());
    let mut operator = site.signed_in("operator").await;
    let page = operator.get("/batches").await;
    page.shows("rack &lt;7&gt;");
    page.shows(&path);
    let page = operator.get(&path).await;
    for part in ["the first 1 rows must succeed", "canary", "href=\"/servers/C1\"", "3 waiting, of 3"] {
        page.shows(part);
    }
    let done = operator.submit(&page, &format!("{path}/pause"), &[]).await;
    let page = operator.follow(&done).await;
    page.shows("The batch is paused");
    let resume = format!("{path}/resume");
    let page = operator.get(&resume).await;
    page.shows("Up to 3 more hosts are reset and their disks erased");
    page.shows("<li>B1</li>");
    let done = operator.submit(&page, &resume, &[]).await;
    operator.follow(&done).await.shows("The batch continues.");
    let cancel = format!("{path}/cancel");
    let page = operator.get(&cancel).await;
    let done = operator.submit(&page, &cancel, &[]).await;
    let page = operator.follow(&done).await;
    page.shows("The rows that had not started are cancelled.");
    let page = operator.post(&resume, &[("csrf", &page.hidden("/sign-out", "csrf"))]).await;
    assert_eq!(page.status, 409, "what is possible is decided when the form is sent");
    page.shows("cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_kickstart_is_linted_in_its_lines_and_rendered_for_a_host() {
    let site = Site::new();
    site.fixture.add_server("A1").await;
    let mut operator = site.signed_in("operator").await;
    let page = operator.get("/kickstart").await;
    let text = "vmaccepteula\r\ninstall --firstdisk\r\nrootpw {{ password }}\r\nnonsense here\r\n";
    let linted =
        operator.submit(&page, "/kickstart/lint", &[("ks_cfg", text), ("completion_hook", "none")]).await;
    assert_eq!(linted.status, 200);
    linted.shows("This kickstart stops the installation");
    linted.shows("id=\"line-4\" class=\"marked\"");
    let fields = [("ks_cfg", text), ("server_serial", "A1"), ("variables", r#"{"password": "s3cret-word"}"#)];
    let mut all = fields.to_vec();
    let csrf = page.hidden("/kickstart/lint", "csrf");
    all.push(("csrf", &csrf));
    let rendered = operator.post("/kickstart/render", &all).await;
    assert_eq!(rendered.status, 200, "{}", rendered.text);
    rendered.shows("Secrets are masked.");
    let result =
        rendered.text.split("Rendered kickstart").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(!result.contains("s3cret-word"), "{result}");
    all[2] = ("variables", "{");
    let refused = operator.post("/kickstart/render", &all).await;
    assert_eq!(refused.status, 400);
    refused.shows("Variables must be a JSON object");
    refused.shows("nonsense here");
    let mut viewer = site.signed_in("viewer").await;
    viewer.get("/kickstart").await.hides("/kickstart/render");
}

#[tokio::test(start_paused = true)]
async fn an_admin_makes_a_token_that_is_shown_once_and_reads_the_audit() {
    let site = Site::new();
    let mut admin = site.signed_in("admin").await;
    let page = admin.get("/tokens").await;
    let made =
        admin.submit(&page, "/tokens", &[("name", "ci"), ("role", "operator"), ("expires_at", "")]).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let text = made.text.split("class=\"secret\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert!(text.starts_with("shoal_"));
    admin.get("/tokens").await.hides(&text);
    assert_eq!(site.signed_in(&text).await.get("/").await.status, 200);
    let refused = admin.submit(&page, "/tokens", &[("name", "a b"), ("role", "viewer")]).await;
    assert_eq!(refused.status, 422);
    refused.shows("/name");
    let audit = admin.get("/audit?action=token.create").await;
    audit.shows("token.create");
    audit.hides("session.start");
    admin.get("/audit/verify").await.shows("Audit log verified");
}
