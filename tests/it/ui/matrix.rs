//! Every page and form with every role: who sees and does what, and what every answer has in common.
//!
//! What is expected is written here a second time, on purpose, as for the API.

use std::collections::BTreeSet;

use http::{Method, header};
use serde_json::json;
use shoal::access::Role;

use super::{Browser, CSP, HOST, Page, Site};

/// Method, path, and who may use it.
const EXPECTED: [(&str, &str, Option<Role>); 42] = [
    ("GET", "/", Some(Role::Viewer)),
    ("GET", "/jobs/{id}", Some(Role::Viewer)),
    ("GET", "/jobs/{id}/cancel", Some(Role::Operator)),
    ("POST", "/jobs/{id}/cancel", Some(Role::Operator)),
    ("GET", "/jobs/{id}/force", Some(Role::Operator)),
    ("POST", "/jobs/{id}/force", Some(Role::Operator)),
    ("GET", "/jobs/{id}/retry", Some(Role::Operator)),
    ("POST", "/jobs/{id}/retry", Some(Role::Operator)),
    ("POST", "/jobs/{id}/bmc", Some(Role::Operator)),
    ("GET", "/servers/{serial}", Some(Role::Viewer)),
    ("POST", "/servers/{serial}/check", Some(Role::Operator)),
    ("POST", "/servers/{serial}/inspect", Some(Role::Operator)),
    ("POST", "/servers/{serial}/protect", Some(Role::Operator)),
    ("POST", "/servers/{serial}/unprotect", Some(Role::Operator)),
    ("GET", "/servers/{serial}/release", Some(Role::Operator)),
    ("POST", "/servers/{serial}/release", Some(Role::Operator)),
    ("GET", "/batches", Some(Role::Viewer)),
    ("GET", "/batches/{id}", Some(Role::Viewer)),
    ("POST", "/batches/{id}/pause", Some(Role::Operator)),
    ("GET", "/batches/{id}/resume", Some(Role::Operator)),
    ("POST", "/batches/{id}/resume", Some(Role::Operator)),
    ("GET", "/batches/{id}/cancel", Some(Role::Operator)),
    ("POST", "/batches/{id}/cancel", Some(Role::Operator)),
    ("GET", "/batches/{id}/retry", Some(Role::Operator)),
    ("POST", "/batches/{id}/retry", Some(Role::Operator)),
    ("GET", "/kickstart", Some(Role::Viewer)),
    ("POST", "/kickstart/lint", Some(Role::Viewer)),
    ("POST", "/kickstart/render", Some(Role::Operator)),
    ("GET", "/audit", Some(Role::Admin)),
    ("GET", "/audit/verify", Some(Role::Admin)),
    ("GET", "/tokens", Some(Role::Admin)),
    ("POST", "/tokens", Some(Role::Admin)),
    ("GET", "/tokens/{id}/revoke", Some(Role::Admin)),
    ("POST", "/tokens/{id}/revoke", Some(Role::Admin)),
    ("GET", "/live", Some(Role::Viewer)),
    ("POST", "/sign-out", Some(Role::Viewer)),
    ("GET", "/sign-in", None),
    ("POST", "/sign-in", None),
    ("GET", "/sign-in/oidc", None),
    ("GET", "/sign-in/oidc/callback", None),
    ("GET", "/assets/{name}", None),
    ("GET", "/favicon.svg", None),
];

/// A site with one server, one job, one batch and one token, and how routes name them.
struct Stage {
    site: Site,
    job: String,
    batch: String,
    token: String,
}

impl Stage {
    async fn new() -> Stage {
        let site = Site::new();
        site.fixture.add_server("A1").await;
        site.fixture.add_server("B1").await;
        let job = site.fixture.add_job("A1").await;
        let recipe = json!({"task_target": "install-esxi.target", "ks_cfg": "vmaccepteula\nreboot\n"});
        let body = json!({"recipe": recipe, "servers": ["B1"]});
        let answer = site.fixture.post("/api/v1/batches", body).await;
        let batch =
            answer.json()["batch_id"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned();
        let tokens = site.fixture.get("/api/v1/tokens").await.ok(200);
        let token =
            tokens["tokens"].as_array().unwrap().iter().find(|token| token["name"] == "test").unwrap();
        let token = token["id"].as_str().unwrap().to_owned();
        Stage { site, job, batch, token }
    }

    fn path(&self, route: &str) -> String {
        let id = match route {
            route if route.starts_with("/jobs") => &self.job,
            route if route.starts_with("/batches") => &self.batch,
            _ => &self.token,
        };
        route.replace("{id}", id).replace("{serial}", "A1").replace("{name}", "style.css")
    }

    /// A token of this session's forms.
    async fn csrf(&self, browser: &mut Browser) -> String {
        browser.get("/kickstart").await.hidden("/kickstart/lint", "csrf")
    }
}

/// Fields with which every form has what it needs.
fn fields(csrf: &str) -> Vec<(&str, &str)> {
    vec![
        ("csrf", csrf),
        ("once", "0123456789abcdef"),
        ("sure", "yes"),
        ("ks_cfg", "reboot\n"),
        ("name", "new"),
        ("role", "viewer"),
    ]
}

async fn request(browser: &mut Browser, method: &str, path: &str, csrf: &str) -> Page {
    match method {
        "POST" => browser.post(path, &fields(csrf)).await,
        _ => browser.get(path).await,
    }
}

#[test]
fn the_table_of_routes_is_the_one_above() {
    let expected: BTreeSet<_> = EXPECTED.into_iter().collect();
    let routes: BTreeSet<_> = shoal::ui::ROUTES.iter().copied().collect();
    let differs: Vec<_> = routes.symmetric_difference(&expected).collect();
    assert!(differs.is_empty(), "{differs:?}");
}

#[tokio::test(start_paused = true)]
async fn every_page_and_form_accepts_its_roles_and_no_others() {
    for (method, route, needed) in EXPECTED {
        let Some(needed) = needed else { continue };
        for role in [None, Some(Role::Viewer), Some(Role::Operator), Some(Role::Admin)] {
            let stage = Stage::new().await;
            let (mut browser, mut csrf) = (stage.site.browser(), String::new());
            if let Some(role) = role {
                browser = stage.site.signed_in(role.name()).await;
                csrf = stage.csrf(&mut browser).await;
            }
            let path = stage.path(route);
            let path = if route == "/live" { "/live?view=/nothing".to_owned() } else { path };
            let page = request(&mut browser, method, &path, &csrf).await;
            let case = format!("{method} {route} as {role:?}: {} {}", page.status, page.text);
            match role {
                None if route == "/live" => assert_eq!(page.status, 401, "{case}"),
                None => {
                    assert_eq!(page.status, 303, "{case}");
                    assert!(page.location().starts_with("/sign-in"), "{case}");
                }
                Some(role) if role < needed => {
                    assert_eq!(page.status, 403, "{case}");
                    assert!(page.text.contains(needed.name()), "{case}");
                }
                Some(_) => {
                    assert!(!matches!(page.status.as_u16(), 401 | 403 | 404 | 500..), "{case}");
                    let is_sign_in = page.status == 303 && page.location() == "/sign-in";
                    assert!(!is_sign_in, "{case}");
                }
            }
        }
    }
}

/// A refused act of a role is in the audit log, as a refused request of the API is.
#[tokio::test(start_paused = true)]
async fn a_refused_act_is_audited() {
    let stage = Stage::new().await;
    let mut viewer = stage.site.signed_in("viewer").await;
    let csrf = stage.csrf(&mut viewer).await;
    viewer.post(&format!("/jobs/{}/cancel", stage.job), &fields(&csrf)).await;
    let audit = stage.site.fixture.get("/api/v1/audit?action=access.denied").await.ok(200);
    assert_eq!(audit["entries"][0]["actor_name"], "viewer");
    assert_eq!(audit["entries"][0]["detail"]["path"], format!("/api/v1/jobs/{}/cancel", stage.job));
}

#[tokio::test(start_paused = true)]
async fn no_form_is_accepted_without_its_token_or_from_another_origin() {
    let stage = Stage::new().await;
    let mut admin = stage.site.signed_in("admin").await;
    let csrf = stage.csrf(&mut admin).await;
    let mut other = stage.site.signed_in("admin").await;
    let foreign = stage.csrf(&mut other).await;
    let own = format!("http://{HOST}");
    let before = stage.site.fixture.get("/api/v1/audit").await.ok(200);
    for (method, route, needed) in EXPECTED {
        if method != "POST" || needed.is_none() {
            continue;
        }
        let path = stage.path(route);
        for wrong in ["", "00", foreign.as_str()] {
            let page = admin.post(&path, &fields(wrong)).await;
            assert_eq!(page.status, 403, "{route} with the token {wrong:?}: {}", page.text);
        }
        for headers in [
            &[][..],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("origin", "http://127.0.0.1:9090")],
            &[("origin", own.as_str()), ("sec-fetch-site", "same-site")],
        ] {
            let page = admin.send(Method::POST, &path, Some(&fields(&csrf)), headers).await;
            assert_eq!(page.status, 403, "{route} {headers:?}");
        }
    }
    let after = stage.site.fixture.get("/api/v1/audit").await.ok(200);
    assert_eq!(before, after, "nothing was done");
}

#[tokio::test(start_paused = true)]
async fn the_api_never_accepts_a_cookie() {
    let stage = Stage::new().await;
    let mut admin = stage.site.signed_in("admin").await;
    for (method, path) in [
        (Method::GET, "/api/v1/servers".to_owned()),
        (Method::DELETE, "/api/v1/servers/A1".to_owned()),
        (Method::POST, format!("/api/v1/jobs/{}/cancel", stage.job)),
        (Method::GET, format!("/media/tasks/{}/task.iso", stage.job)),
    ] {
        let origin = format!("http://{HOST}");
        let headers = [("origin", origin.as_str()), ("sec-fetch-site", "same-origin")];
        let page = admin.send(method, &path, None, &headers).await;
        assert_eq!(page.status, 401, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_answer_forbids_foreign_and_inline_content_caching_and_framing() {
    let stage = Stage::new().await;
    let mut admin = stage.site.signed_in("admin").await;
    for (method, route, _) in EXPECTED {
        let page = match method {
            "GET" if route == "/live" => admin.get("/live?view=/nothing").await,
            "GET" => admin.get(&stage.path(route)).await,
            _ => admin.post(&stage.path(route), &[]).await,
        };
        let value = |name: &str| page.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(value("content-security-policy").as_deref(), Some(CSP), "{method} {route}");
        assert_eq!(value("referrer-policy").as_deref(), Some("same-origin"), "{method} {route}");
        assert_eq!(value("x-content-type-options").as_deref(), Some("nosniff"), "{method} {route}");
        assert_eq!(value("x-frame-options").as_deref(), Some("DENY"), "{method} {route}");
        if !route.starts_with("/favicon") {
            assert_eq!(value("cache-control").as_deref(), Some("no-store"), "{method} {route}");
        }
        assert_eq!(page.headers.get_all(header::CONTENT_SECURITY_POLICY).iter().count(), 1);
        for part in
            [" style=", "<style", " onclick=", " onload=", "javascript:", "<script>", "http://", "https://"]
        {
            // The address of a BMC is text, not a link; so is the name of SVG.
            let text = page.text.replace("https://10.0.0.5", "").replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains(part), "{method} {route} has {part}: {text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn style_and_script_are_served_by_their_hash_and_kept() {
    let site = Site::new();
    let mut browser = site.browser();
    let page = browser.get("/sign-in").await;
    for (start, kind) in [("/assets/style.", "text/css"), ("/assets/live.", "text/javascript")] {
        let path = page.text.split('"').find(|part| part.starts_with(start)).unwrap().to_owned();
        let asset = browser.get(&path).await;
        assert_eq!(asset.status, 200);
        assert!(asset.headers["content-type"].to_str().unwrap().starts_with(kind));
        assert!(asset.headers["cache-control"].to_str().unwrap().contains("immutable"));
        assert_eq!(browser.get(&format!("{path}x")).await.status, 404);
    }
    assert_eq!(browser.get("/favicon.svg").await.headers["content-type"], "image/svg+xml");
}
