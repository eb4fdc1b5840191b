//! Tokens of an identity provider at the API: who is let in as what, and what is not believed.
//!
//! The provider is a router in this process. Invariant: each refusal differs in one thing from a token
//! that is let in.

pub mod provider;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request, header};
use serde_json::{Value, json};
use shoal::access::Role;
use shoal::oidc::{Oidc, OidcSettings};
use shoal_base::world::World;
use shoal_sim::Network;

use crate::api::{Answer, Fixture, change_tokens};
use provider::{ISSUER, Provider, Signer, text, unsigned};

/// A controller that believes the provider, and the network between them.
struct Site {
    fixture: Fixture,
    network: Network,
    provider: Provider,
}

impl Site {
    fn new(signers: &[&Signer]) -> Site {
        let (network, provider) = (Network::default(), Provider::with(signers));
        network.add("idp.test", provider.router());
        let transport = network.transport();
        let fixture = Fixture::with(|parts| {
            let world = World { transport, ..parts.world.clone() };
            let oidc = Some(Arc::new(Oidc::new(settings(), &world)));
            change_tokens(parts, |tokens| tokens.oidc = oidc);
        });
        Site { fixture, network, provider }
    }

    async fn ask(&self, method: Method, path: &str, token: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.fixture.send(request.body(Body::empty()).unwrap()).await
    }

    async fn status(&self, token: &str) -> u16 {
        self.ask(Method::GET, "/api/v1/jobs", token).await.status.as_u16()
    }

    fn now(&self) -> i64 {
        self.fixture.world.clock.now().as_second()
    }

    fn claims(&self) -> Value {
        json!({
            "iss": ISSUER, "aud": ["shoal", "account"], "sub": "42", "preferred_username": "ada",
            "exp": self.now() + 300, "iat": self.now(), "realm_access": {"roles": ["offline", "ops"]},
        })
    }

    fn claims_with(&self, key: &str, value: Value) -> Value {
        let mut claims = self.claims();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(key)),
            value => claims[key] = value,
        }
        claims
    }
}

pub fn settings() -> OidcSettings {
    OidcSettings {
        issuer: ISSUER.parse().unwrap(),
        audience: "shoal".to_owned(),
        role_claim: vec!["realm_access".to_owned(), "roles".to_owned()],
        role_map: [("look", Role::Viewer), ("ops", Role::Operator), ("boss", Role::Admin)]
            .map(|(word, role)| (word.to_owned(), role))
            .into(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_signed_token_is_its_holder_with_the_role_of_its_claim() {
    let (rsa, ec) = (Signer::rsa("r1"), Signer::ec("e1"));
    let site = Site::new(&[&rsa, &ec]);
    for signer in [&rsa, &ec] {
        for (word, path, status) in [
            ("look", "/api/v1/jobs", 200),
            ("look", "/api/v1/tokens", 403),
            ("ops", "/api/v1/tokens", 403),
            ("boss", "/api/v1/tokens", 200),
        ] {
            let token = signer.sign(&site.claims_with("realm_access", json!({"roles": [word]})));
            assert_eq!(site.ask(Method::GET, path, &token).await.status, status, "{word} {path}");
        }
    }
    let token = ec.sign(&site.claims());
    let answer = site.ask(Method::DELETE, "/api/v1/servers/A1", &token).await;
    answer.problem(404);
    let viewer = ec.sign(&site.claims_with("realm_access", json!({"roles": ["look"]})));
    site.ask(Method::DELETE, "/api/v1/servers/A1", &viewer).await.problem(403);
    let audit = site.fixture.get("/api/v1/audit").await.ok(200);
    assert_eq!(
        (&audit["entries"][0]["actor"], &audit["entries"][0]["actor_name"]),
        (&"oidc:42".into(), &"ada".into())
    );
    let unknown = ec.sign(&site.claims_with("realm_access", json!({"roles": ["admin"]})));
    let refusal = site.ask(Method::GET, "/api/v1/jobs", &unknown).await.problem(403);
    assert!(refusal["detail"].as_str().unwrap().contains("OIDC_ROLE_MAP"), "{refusal}");
    assert_eq!(site.provider.fetched(), 1, "keys are remembered");
    assert_eq!(site.fixture.get("/api/v1/jobs").await.status, 200, "other tokens are good as before");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_wrong_in_one_thing_is_401() {
    let (rsa, ec, impostor) = (Signer::rsa("r1"), Signer::ec("e1"), Signer::ec("e1"));
    let site = Site::new(&[&rsa, &ec]);
    let claims = site.claims();
    assert_eq!(site.status(&ec.sign(&claims)).await, 200);
    for (key, value) in [
        ("aud", json!("other")),
        ("aud", json!(["account"])),
        ("aud", Value::Null),
        ("iss", json!("https://idp.test/realms/other")),
        ("iss", Value::Null),
        ("exp", json!(site.now() - 61)),
        ("exp", Value::Null),
        ("exp", json!("tomorrow")),
        ("nbf", json!(site.now() + 120)),
        ("iat", json!(site.now() + 120)),
        ("sub", Value::Null),
        ("sub", json!("a\u{1b}[2J")),
    ] {
        let token = ec.sign(&site.claims_with(key, value.clone()));
        assert_eq!(site.status(&token).await, 401, "{key}: {value}");
    }
    assert_eq!(site.status(&impostor.sign(&claims)).await, 401, "another key of the same name");
    let good = ec.sign(&claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let boss = site.claims_with("realm_access", json!({"roles": ["boss"]}));
    let (header, _) = message.split_once('.').unwrap();
    let forged = format!("{header}.{}.{signature}", text(boss.to_string().as_bytes()));
    for token in
        [forged, format!("{message}."), format!("{message}.AAAA"), format!("{good}x"), "a.b.c".to_owned()]
    {
        assert_eq!(site.status(&token).await, 401, "{token}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_algorithm_is_believed_but_the_two_with_their_own_keys() {
    let (rsa, ec) = (Signer::rsa("r1"), Signer::ec("e1"));
    let site = Site::new(&[&rsa, &ec]);
    let claims = site.claims();
    for algorithm in ["none", "None", "NONE", ""] {
        let bare = unsigned(&json!({"alg": algorithm, "kid": "r1"}), &claims);
        for token in [format!("{bare}."), format!("{bare}.AAAA")] {
            assert_eq!(site.status(&token).await, 401, "{algorithm}");
        }
    }
    // The public key as the secret of an HMAC, which a careless verifier would take for its own.
    let message = unsigned(&json!({"alg": "HS256", "kid": "r1"}), &claims);
    let public = rsa.public()["n"].as_str().unwrap().to_owned();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, public.as_bytes());
    let forged = format!("{message}.{}", text(ring::hmac::sign(&key, message.as_bytes()).as_ref()));
    assert_eq!(site.status(&forged).await, 401);
    // A good signature under the name of the other algorithm, or of the other key.
    for (signer, header) in [
        (&rsa, json!({"alg": "ES256", "kid": "r1"})),
        (&ec, json!({"alg": "RS256", "kid": "e1"})),
        (&ec, json!({"alg": "ES256", "kid": "r1"})),
        (&rsa, json!({"alg": "RS512", "kid": "r1"})),
    ] {
        assert_eq!(site.status(&signer.sign_as(header.clone(), &claims)).await, 401, "{header}");
    }
    let unnamed = rsa.sign_as(json!({"alg": "RS256"}), &claims);
    assert_eq!(site.status(&unnamed).await, 200, "the only key of that algorithm needs no name");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_new_is_fetched_and_one_that_is_gone_is_forgotten() {
    let (old, new) = (Signer::ec("old"), Signer::ec("new"));
    let site = Site::new(&[&old]);
    assert_eq!(site.status(&old.sign(&site.claims())).await, 200);
    site.provider.serve_keys(&[&new]);
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(site.status(&new.sign(&site.claims())).await, 200);
    assert_eq!(site.status(&old.sign(&site.claims())).await, 401, "withdrawn");
    assert_eq!(site.provider.fetched(), 2);
    // Withdrawn while no other key is needed: noticed when the keys are old.
    site.provider.serve_keys(&[&old]);
    assert_eq!(site.status(&new.sign(&site.claims())).await, 200);
    tokio::time::advance(Duration::from_secs(16 * 60)).await;
    assert_eq!(site.status(&new.sign(&site.claims())).await, 401);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_unknown_keys_is_one_request_in_a_while() {
    let (known, unknown) = (Signer::ec("known"), Signer::ec("unknown"));
    let site = Site::new(&[&known]);
    assert_eq!(site.status(&known.sign(&site.claims())).await, 200);
    tokio::time::advance(Duration::from_secs(31)).await;
    let claims = site.claims();
    for number in 0..200 {
        let token = unknown.sign_as(json!({"alg": "ES256", "kid": format!("k{number}")}), &claims);
        assert_eq!(site.status(&token).await, 401);
    }
    assert_eq!(site.provider.fetched(), 2);
    assert_eq!(site.status(&known.sign(&site.claims())).await, 200, "the storm does not keep others out");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_out_of_reach_is_believed_for_a_day_and_never_before_it_was_seen() {
    let signer = Signer::rsa("r1");
    let site = Site::new(&[&signer]);
    site.network.remove("idp.test");
    site.ask(Method::GET, "/api/v1/jobs", &signer.sign(&site.claims())).await.problem(503);
    site.network.add("idp.test", site.provider.router());
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(site.status(&signer.sign(&site.claims())).await, 200);
    site.network.remove("idp.test");
    tokio::time::advance(Duration::from_secs(23 * 3_600)).await;
    assert_eq!(site.status(&signer.sign(&site.claims())).await, 200);
    tokio::time::advance(Duration::from_secs(2 * 3_600)).await;
    assert_eq!(site.status(&signer.sign(&site.claims())).await, 503);
}

#[tokio::test(start_paused = true)]
async fn a_document_that_leads_elsewhere_is_not_followed() {
    let signer = Signer::rsa("r1");
    for change in [
        json!({"issuer": "https://evil.test", "jwks_uri": "https://idp.test/keys"}),
        json!({"issuer": ISSUER, "jwks_uri": "http://idp.test/keys"}),
        json!({"issuer": ISSUER}),
        json!("x".repeat(300 << 10)),
    ] {
        let site = Site::new(&[&signer]);
        *site.provider.document.lock().unwrap() = change;
        assert_eq!(site.status(&signer.sign(&site.claims())).await, 503);
        assert_eq!(site.provider.fetched(), 0);
    }
}
