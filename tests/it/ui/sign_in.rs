//! Sessions: how one begins, what it is worth, and how it ends.

use std::time::Duration;

use http::{Method, header};
use shoal::access::{NewToken, Role, TokenOrigin};
use shoal::api::Access;

use super::{Page, Site};

fn set_cookies(page: &Page) -> Vec<&str> {
    page.headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_page_leads_to_the_sign_in_and_back() {
    let site = Site::new();
    let mut browser = site.browser();
    let page = browser.get("/jobs/0123?x=1").await;
    assert_eq!((page.status.as_u16(), page.location()), (303, "/sign-in?next=%2Fjobs%2F0123%3Fx%3D1"));
    let form = browser.get("/sign-in?next=%2Fbatches").await;
    form.shows("admin.token");
    let next = form.hidden("/sign-in", "next");
    let page = browser.submit(&form, "/sign-in", &[("next", &next), ("token", " viewer ")]).await;
    assert_eq!((page.status.as_u16(), page.location()), (303, "/batches"));
    let cookie = set_cookies(&page)[0].to_owned();
    assert!(cookie.starts_with("shoal=") && cookie.ends_with("; HttpOnly; SameSite=Lax"), "{cookie}");
    assert!(!cookie.contains("viewer"), "the cookie holds no token");
    let page = browser.get("/").await;
    assert_eq!(page.status, 200);
    page.shows("viewer (viewer)");
    let audit = site.fixture.get("/api/v1/audit?action=session.start").await.ok(200);
    assert_eq!(audit["entries"][0]["actor_name"], "viewer");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_refused_and_counted_as_at_the_api() {
    let site = Site::new();
    let mut browser = site.browser();
    for token in ["wrong", "", "two words", "\u{1}"] {
        let page = browser.sign_in(token).await;
        assert_eq!(page.status, 401, "{token:?}");
        page.shows("the token is invalid, expired or revoked");
        assert!(!browser.cookies.contains_key("shoal"));
    }
    let form = browser.get("/sign-in").await;
    let page = browser.submit(&form, "/sign-in", &[("token", "<script>alert(1)</script>")]).await;
    page.hides("<script>alert");
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_form_of_another_site_or_browser_is_refused() {
    let site = Site::new();
    let (mut browser, mut other) = (site.browser(), site.browser());
    let form = browser.get("/sign-in").await;
    let csrf = form.hidden("/sign-in", "csrf");
    let fields = [("csrf", csrf.as_str()), ("token", "viewer")];
    for headers in [
        &[("origin", "https://evil.example")][..],
        &[],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "cross-site")],
    ] {
        let page = browser.send(Method::POST, "/sign-in", Some(&fields), headers).await;
        assert_eq!(page.status, 403, "{headers:?}");
    }
    // A refused form was answered with a new one; the old is that of no browser any more.
    assert_eq!(browser.post("/sign-in", &fields).await.status, 403);
    other.get("/sign-in").await;
    assert_eq!(other.post("/sign-in", &fields).await.status, 403, "a form of another browser");
    assert_eq!(other.sign_in("viewer").await.status, 303);
}

#[tokio::test(start_paused = true)]
async fn off_loopback_there_is_no_sign_in_without_tls() {
    let site = Site::with(|_| {}, |ui| ui.is_loopback = false);
    let mut browser = site.browser();
    let page = browser.get("/sign-in").await;
    page.shows("TLS_CERT_FILE");
    page.hides("name=\"token\"");
    let page = browser.post("/sign-in", &[("token", "admin")]).await;
    assert_eq!(page.status, 403);
    assert!(!browser.cookies.contains_key("shoal"));
}

#[tokio::test(start_paused = true)]
async fn with_tls_or_behind_a_proxy_with_tls_the_cookie_is_secure() {
    let tls = Site::with(|api| api.tls = true, |ui| (ui.tls, ui.is_loopback) = (true, false));
    let public = Some("https://shoal.example".parse().unwrap());
    let proxy = Site::with(|_| {}, |ui| ui.public_url = public);
    for (site, host) in [(tls, "shoal.example:8443"), (proxy, "shoal.example")] {
        let mut browser = site.browser();
        (browser.scheme, browser.host) = ("https", host.to_owned());
        let page = browser.sign_in("viewer").await;
        assert_eq!(page.status, 303, "{}", page.text);
        let cookie = set_cookies(&page)[0].to_owned();
        assert!(cookie.starts_with("__Host-shoal=") && cookie.ends_with("; Secure"), "{cookie}");
        assert_eq!(browser.get("/").await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_by_sign_out_also_where_the_cookie_was_kept() {
    let site = Site::new();
    let mut browser = site.signed_in("operator").await;
    let kept = browser.cookies.clone();
    let page = browser.get("/").await;
    let page = browser.submit(&page, "/sign-out", &[]).await;
    assert_eq!(page.location(), "/sign-in?notice=signed-out");
    browser.follow(&page).await.shows("You are signed out.");
    browser.cookies = kept;
    assert_eq!(browser.get("/").await.status, 303, "a copy of the cookie");
}

#[tokio::test(start_paused = true)]
async fn a_session_is_good_at_every_controller_and_ends_at_all() {
    let site = Site::new();
    let elsewhere = site.beside();
    let mut browser = site.signed_in("operator").await;
    let mut there = elsewhere.browser();
    there.cookies = browser.cookies.clone();
    let page = there.get("/").await;
    assert_eq!(page.status, 200, "{}", page.text);
    let page = browser.get("/").await;
    browser.submit(&page, "/sign-out", &[]).await;
    assert_eq!(there.get("/").await.status, 303);
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_its_token() {
    let site = Site::new();
    let now = site.fixture.world.clock.now();
    let new = NewToken {
        id: shoal::api::new_token_id(&site.fixture.world.rng),
        name: "brief".to_owned(),
        role: Role::Viewer,
        origin: TokenOrigin::Created,
        expires_at: Some(shoal_base::world::after(now, Duration::from_secs(60))),
        created_at: now,
        created_by: "test".to_owned(),
    };
    site.fixture.store.insert_token(new, "brief-token").await.unwrap();
    let mut brief = site.signed_in("brief-token").await;
    let mut revoked = site.signed_in("operator").await;
    assert_eq!((brief.get("/").await.status.as_u16(), revoked.get("/").await.status.as_u16()), (200, 200));
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(brief.get("/").await.status, 303, "expired");
    let tokens = site.fixture.get("/api/v1/tokens").await.ok(200);
    let tokens = tokens["tokens"].as_array().unwrap();
    let id = tokens.iter().find(|token| token["name"] == "operator").unwrap()["id"].as_str().unwrap();
    let mut admin = site.signed_in("admin").await;
    let path = format!("/tokens/{id}/revoke");
    let page = admin.get(&path).await;
    page.shows("Sessions that were opened with it end.");
    let page = admin.submit(&page, &path, &[]).await;
    admin.follow(&page).await.shows("The token is revoked.");
    assert_eq!(revoked.get("/").await.status, 303, "revoked");
    assert_eq!(revoked.post("/sign-out", &[]).await.location(), "/sign-in?notice=signed-out");
}

#[tokio::test(start_paused = true)]
async fn without_authentication_there_is_no_sign_in_and_no_other_host_or_origin() {
    let site = Site::with(|api| api.access = Access::Open, |_| {});
    let mut browser = site.browser();
    let page = browser.get("/").await;
    page.shows("AUTH_MODE=none");
    page.shows(">Tokens<");
    assert_eq!(browser.get("/sign-in").await.location(), "/");
    site.fixture
        .send(crate::api::request(
            Method::POST,
            "/api/v1/servers",
            Some(crate::api::server_json("A1")),
            &[("host", "localhost")],
        ))
        .await
        .ok(201);
    let page = browser.get("/servers/A1").await;
    let done = browser.submit(&page, "/servers/A1/protect", &[]).await;
    browser.follow(&done).await.shows("The server is protected");
    let csrf = page.hidden("/servers/A1/unprotect".replace("un", "").as_str(), "csrf");
    let fields = [("csrf", csrf.as_str())];
    let evil = [("origin", "https://evil.example")];
    let page = browser.send(Method::POST, "/servers/A1/unprotect", Some(&fields), &evil).await;
    assert_eq!(page.status, 403);
    browser.host = "rebound.example".to_owned();
    let page = browser.get("/").await;
    assert_eq!(page.status, 403);
    page.hides("A1");
}
