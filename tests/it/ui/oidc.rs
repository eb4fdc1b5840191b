//! Sign-in at an identity provider: the code flow, and every answer that must not sign anyone in.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shoal::api::Access;
use shoal::oidc::{CodeFlow, CodeFlowSettings, Oidc};
use shoal_base::world::World;
use shoal_sim::Network;
use url::Url;

use super::{Browser, Page};
use crate::api::change_tokens;
use crate::oidc::provider::{ISSUER, Provider, Signer};

/// Makes claims those of another token.
type ClaimsChange = fn(&mut Value);

struct Site {
    site: super::Site,
    provider: Provider,
    signer: Signer,
}

impl Site {
    fn new(secret: Option<&str>) -> Site {
        let signer = Signer::ec("e1");
        let (network, provider) = (Network::default(), Provider::with(&[&signer]));
        network.add("idp.test", provider.router());
        let (mut oidc, mut world) = (None, None);
        let transport = network.transport();
        let site = super::Site::with(
            |parts| {
                let online = World { transport, ..parts.world.clone() };
                let judge = Arc::new(Oidc::new(crate::oidc::settings(), &online));
                change_tokens(parts, |tokens| tokens.oidc = Some(judge.clone()));
                (oidc, world) = (Some(judge), Some(online));
            },
            |_| {},
        );
        let public_url: Url = format!("http://{}", super::HOST).parse().unwrap();
        let settings = CodeFlowSettings {
            client_id: "shoal web".to_owned(),
            client_secret: secret.map(Into::into),
            public_url: public_url.clone(),
        };
        let flow = Arc::new(CodeFlow::new(settings, oidc.unwrap(), &world.unwrap()));
        // The same routes once more, now with the flow.
        let access = Access::Tokens(crate::api::tokens(&site.fixture.store, &site.fixture.world));
        let pages = shoal::ui::router(shoal::ui::UiParts {
            world: site.fixture.world.clone(),
            api: site.fixture.router.clone(),
            access,
            sealer: shoal::seal::Sealer::new([4; 32]),
            tls: false,
            is_loopback: true,
            public_url: Some(public_url),
            code_flow: Some(flow),
            shutdown: site.fixture.shutdown.clone(),
        });
        let router = site.fixture.router.clone().merge(pages);
        Site { site: super::Site { router, ..site }, provider, signer }
    }

    fn claims(&self, nonce: &str) -> Value {
        let now = self.site.fixture.world.clock.now().as_second();
        json!({
            "iss": ISSUER, "aud": "shoal web", "sub": "42", "preferred_username": "ada", "nonce": nonce,
            "exp": now + 300, "iat": now, "realm_access": {"roles": ["ops"]},
        })
    }

    /// Begins a sign-in; returns what the provider was asked.
    async fn begin(&self, browser: &mut Browser, next: &str) -> Url {
        let page = browser.get(&format!("/sign-in/oidc?next={next}")).await;
        assert_eq!(page.status, 303, "{}", page.text);
        page.location().parse().unwrap()
    }

    /// Comes back with an identity token of these claims.
    async fn come_back(&self, browser: &mut Browser, asked: &Url, change: impl FnOnce(&mut Value)) -> Page {
        let mut claims = self.claims(&param(asked, "nonce"));
        change(&mut claims);
        *self.provider.id_token.lock().unwrap() = self.signer.sign(&claims);
        let state = param(asked, "state");
        browser.get(&format!("/sign-in/oidc/callback?code=c0de&state={state}&session_state=x")).await
    }
}

fn param(url: &Url, name: &str) -> String {
    let found = url.query_pairs().find(|(key, _)| key == name);
    found.unwrap_or_else(|| panic!("{name} is missing in {url}")).1.into_owned()
}

#[tokio::test(start_paused = true)]
async fn a_person_signs_in_at_the_provider_and_is_who_the_token_says() {
    let site = Site::new(Some("s3cret/&"));
    let mut browser = site.site.browser();
    browser.get("/sign-in").await.shows("Sign in with the identity provider");
    let asked = site.begin(&mut browser, "%2Fbatches").await;
    assert!(asked.as_str().starts_with("https://idp.test/auth?"));
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "shoal web"),
        ("redirect_uri", "http://127.0.0.1:8080/sign-in/oidc/callback"),
        ("scope", "openid profile email"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(param(&asked, name), value, "{name}");
    }
    let page = site.come_back(&mut browser, &asked, |_| {}).await;
    assert_eq!((page.status.as_u16(), page.location()), (303, "/batches"), "{}", page.text);
    assert!(!browser.cookies.contains_key("shoal-oidc"), "the attempt is over");
    let (login, form) = site.provider.redeemed.lock().unwrap()[0].clone();
    let form: Url = format!("https://x.test/?{form}").parse().unwrap();
    assert_eq!(param(&form, "grant_type"), "authorization_code");
    assert_eq!(param(&form, "code"), "c0de");
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(param(&form, "code_verifier").as_bytes()));
    assert_eq!(param(&asked, "code_challenge"), challenge);
    let pair =
        base64::engine::general_purpose::STANDARD.decode(login.strip_prefix("Basic ").unwrap()).unwrap();
    assert_eq!(String::from_utf8(pair).unwrap(), "shoal+web:s3cret%2F%26");
    let page = browser.get("/").await;
    page.shows("ada (operator)");
    assert_eq!(browser.get("/tokens").await.status, 403);
    let audit = site.site.fixture.get("/api/v1/audit?action=session.start").await.ok(200);
    assert_eq!(audit["entries"][0]["actor"], "oidc:42");
    assert_eq!(audit["entries"][0]["detail"]["method"], "oidc");
    tokio::time::advance(Duration::from_secs(3_601)).await;
    assert_eq!(browser.get("/").await.status, 303, "after an hour the person signs in again");
}

#[tokio::test(start_paused = true)]
async fn a_public_client_sends_no_secret() {
    let site = Site::new(None);
    let mut browser = site.site.browser();
    let asked = site.begin(&mut browser, "%2F").await;
    assert_eq!(site.come_back(&mut browser, &asked, |_| {}).await.status, 303);
    let (login, form) = site.provider.redeemed.lock().unwrap()[0].clone();
    assert!(login.is_empty() && form.contains("client_id=shoal+web") && !form.contains("client_secret"));
}

#[tokio::test(start_paused = true)]
async fn no_one_is_signed_in_by_a_token_for_others_or_of_another_attempt() {
    let site = Site::new(Some("s3cret"));
    let changes: [(&str, ClaimsChange, u16); 7] = [
        ("nonce", |claims| claims["nonce"] = json!("another"), 401),
        ("no nonce", |claims| drop(claims.as_object_mut().unwrap().remove("nonce")), 401),
        ("audience of the API", |claims| claims["aud"] = json!("shoal"), 401),
        ("another party", |claims| claims["azp"] = json!("other"), 401),
        ("issuer", |claims| claims["iss"] = json!("https://evil.example"), 401),
        ("expired", |claims| claims["exp"] = json!(1_000), 401),
        ("no role", |claims| claims["realm_access"] = json!({"roles": ["x"]}), 403),
    ];
    for (what, change, status) in changes {
        let mut browser = site.site.browser();
        let asked = site.begin(&mut browser, "%2F").await;
        let page = site.come_back(&mut browser, &asked, change).await;
        assert_eq!(page.status, status, "{what}: {}", page.text);
        assert!(!browser.cookies.contains_key("shoal"), "{what}");
        page.shows("name=\"token\"");
    }
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_no_attempt_of_this_browser_waits_for_is_refused() {
    let site = Site::new(Some("s3cret"));
    let (mut browser, mut other) = (site.site.browser(), site.site.browser());
    let asked = site.begin(&mut browser, "%2F").await;
    site.begin(&mut other, "%2F").await;
    let stolen = site.come_back(&mut other, &asked, |_| {}).await;
    assert_eq!(stolen.status, 403, "the state of another browser");
    assert_eq!(site.come_back(&mut site.site.browser(), &asked, |_| {}).await.status, 403, "no cookie");
    let state = param(&asked, "state");
    for query in [
        String::new(),
        format!("code=c0de&state={state}x"),
        format!("state={state}"),
        format!("error=access_denied&state={state}"),
        format!("code=c0de&state={state}&iss=https%3A%2F%2Fevil.example"),
    ] {
        let mut again = site.site.browser();
        again.cookies = browser.cookies.clone();
        let page = again.get(&format!("/sign-in/oidc/callback?{query}")).await;
        assert_eq!(page.status, 403, "{query}: {}", page.text);
        assert!(!again.cookies.contains_key("shoal"), "{query}");
    }
    assert!(site.provider.redeemed.lock().unwrap().is_empty(), "no code was redeemed");
    assert_eq!(site.come_back(&mut browser, &asked, |_| {}).await.status, 303);
    assert_eq!(site.come_back(&mut browser, &asked, |_| {}).await.status, 403, "once");
}

#[tokio::test(start_paused = true)]
async fn the_provider_is_asked_for_its_document_once_and_after_a_failure_not_immediately_again() {
    let site = Site::new(Some("s3cret"));
    let good = site.provider.document.lock().unwrap().clone();
    for (what, value) in [
        ("issuer", json!("https://other.test")),
        ("token_endpoint", json!("http://idp.test/token")),
        ("authorization_endpoint", Value::Null),
    ] {
        site.provider.document.lock().unwrap()[what] = value;
        tokio::time::advance(Duration::from_secs(11)).await;
        let page = site.site.browser().get("/sign-in/oidc").await;
        assert_eq!(page.status, 502, "{what}");
        page.shows("OIDC_ISSUER");
        *site.provider.document.lock().unwrap() = good.clone();
        assert_eq!(site.site.browser().get("/sign-in/oidc").await.status, 502, "{what}: too soon");
    }
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(site.site.browser().get("/sign-in/oidc").await.status, 303);
    let plain = super::Site::new();
    let page = plain.browser().get("/sign-in/oidc").await;
    assert_eq!(page.status, 403);
    page.shows("OIDC_CLIENT_ID");
}
