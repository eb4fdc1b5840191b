//! An identity provider in one process: its document, its keys, and the tokens that it signs.
//!
//! It holds no test. Invariant: what it serves can be changed while it runs, and each request for it is
//! counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderMap;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://idp.test/realms/site";

/// A key of 2048 bits that signs nothing but the tokens of these tests.
const RSA_KEY: [&str; 16] = [
    "MIIEowIBAAKCAQEAjVamhQa8pVcg8a+FsuCmHRe6YbYnG7ivSmCaAy98q509ZjbwK9OsSv5AyyCt+LsPp4HJizFaFqSke3NdBP76",
    "+sPcp0AKT71aNANPsmpBs9HpFQlIWHaOUzjra3gP3+7ekGWkK0B/bhHg2kUFBpeZwa3MkXHswQSv8MtoHcTPWEJfpKafK8/D1iu9",
    "FZL88l6eKF8UUGfslaV3USS7ftKhsnkQowGYSRsNCCd/2PgISB/CNSpNj2zA2zc/Nxyn/XPQuy+ise7KTeoZrEaHF4S+TbNPJcln",
    "wAJHVULkkcG/6vQ3LeMfPgdFU72alU1Osu7lQJYkdP5TnWmzVabgg2flxwIDAQABAoIBABd+5B0RIE3MIingp9/eAJSthnUKjDh2",
    "MeMHaWhGKKTOyuTcan3z/kb+j/7fO+HcFvTIWpzNDiYy0Ipv2cgkKyIsv9hTM7j1yAewKpDaS88nghEr2Imm4RoXSEDhVfeVWg0J",
    "wzTS0AbtlJeJtGrYIN4AP8BIqWGc9IfvCIE1Cn2oARzsSgLoobJGj2o7HvRRb/7YsWTpfq+vblkBHDoLf/rYz//DLG5Pj2etv69T",
    "NmDsim//0GfKlUT6JbCKgjCE+wHylL8aYwrsuJj5C9GtnUn0QwThfzuFxRJ/nWSx9r/a/w3HFGzaxrENOHUSW9IkNIrAQOlOk9sp",
    "S9uSgGb5sKECgYEAv6MAnhkSje/1AqOahlLpVqXP79EFM6Wrkaq7Hx5mO1zFoYNUI4WH/rci018DfDnRGVMiO0HmRnIQ02cftGWI",
    "SCH7vod0yGM9mfHjtzMwB1llNU1c0YKRjI5qL1lLBSwYgeq6BtmMolmo1z6Hz2g+lr3JUS6SK+srRiKpC39CZQUCgYEAvM78WCCu",
    "gJ3Nq1tSYoWh+vafLZO2unnntYQ2a2VZRaIo2xsXaSMJwetzGMKS0bMxWXquvUATuLywvpYt00iMbQWJdCbc1eXqy3nupukXPM68",
    "JDhgdZnnZRT/35JlmtcBFFTn8GqjeH88rHoDusa5jHm6GQLS3B42Xcur32IWmVsCgYEAr3RrJVTpUwDmv0LRQLh6oPVxOy2RaKb/",
    "PYAmkKhBi4o1+9mE2HzydXhxLztnsn4w/tHJnp2IWukmlJdvRLhNHVXX6qqUdr+978uy5NG94IytiC7Lk5rK7fiaKb3EXPjxe0lQ",
    "huL5ys7yMhgzOedEnrkmr+hGtmU7GpyzTy51uI0CgYB+z4Ka6jBqABLwAWD+/QQDG/tjUC/NZS0kNA2c6jAgXb6VEsgRfFAEZ9Ah",
    "FCYqI/GESKruPwg/7rPC/fj/TF3Mp4hfc+6k10xwp4+LmUhbNfsVVKwssFbDBGyqy5fkfH2kGzbAuc7bkpG8wiKZIvniiKteOxBG",
    "eSBItQ/V8/p7uwKBgGgglPTKnfJXQ/h1khcnqyPh6f3+EwanVlHLiutT0JXKMRNwNE7INcgY+wTqFYk0apYImhbSEEimplg1l+2R",
    "1xYA9iADCo5Cd1Jm1IJ7o3btAT3mt7csS+BfIcQSeuuDmVnbJbVUUU9qp+xWqV0Wnl1lOi9PYFLS0F+7iQlPLSpI",
];

/// Signs, and says what its public half is.
pub enum Signer {
    Rsa(String, RsaKeyPair),
    Ec(String, EcdsaKeyPair),
}

impl Signer {
    pub fn rsa(id: &str) -> Signer {
        let der = STANDARD.decode(RSA_KEY.concat()).unwrap();
        Signer::Rsa(id.to_owned(), RsaKeyPair::from_der(&der).unwrap())
    }

    pub fn ec(id: &str) -> Signer {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random);
        Signer::Ec(id.to_owned(), key.unwrap())
    }

    pub fn public(&self) -> Value {
        match self {
            Signer::Rsa(id, key) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({
                    "kty": "RSA", "use": "sig", "alg": "RS256", "kid": id,
                    "n": text(&public.n),
                    "e": text(&public.e),
                })
            }
            Signer::Ec(id, key) => {
                let point = key.public_key().as_ref();
                json!({
                    "kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": id,
                    "x": text(&point[1..33]), "y": text(&point[33..]),
                })
            }
        }
    }

    /// A token of these claims, signed as its header says.
    pub fn sign(&self, claims: &Value) -> String {
        let (algorithm, id) = match self {
            Signer::Rsa(id, _) => ("RS256", id),
            Signer::Ec(id, _) => ("ES256", id),
        };
        self.sign_as(json!({ "alg": algorithm, "kid": id, "typ": "JWT" }), claims)
    }

    /// The same with a header that may say anything.
    pub fn sign_as(&self, header: Value, claims: &Value) -> String {
        let message = unsigned(&header, claims);
        let random = SystemRandom::new();
        let signature = match self {
            Signer::Rsa(_, key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Signer::Ec(_, key) => key.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{message}.{}", text(&signature))
    }
}

/// Header and claims, as they are signed.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", text(header.to_string().as_bytes()), text(claims.to_string().as_bytes()))
}

pub fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What the provider serves. Clones share it.
#[derive(Clone)]
pub struct Provider {
    pub document: Arc<Mutex<Value>>,
    pub keys: Arc<Mutex<Value>>,
    pub fetches: Arc<AtomicUsize>,
    /// What the token endpoint answers with, and what it was sent: `Authorization` and the form.
    pub id_token: Arc<Mutex<String>>,
    pub redeemed: Arc<Mutex<Vec<(String, String)>>>,
}

impl Provider {
    pub fn with(signers: &[&Signer]) -> Provider {
        let document = json!({
            "issuer": ISSUER, "jwks_uri": "https://idp.test/keys", "authorization_endpoint": "https://idp.test/auth",
            "token_endpoint": "https://idp.test/token",
        });
        let provider = Provider {
            document: Arc::new(Mutex::new(document)),
            keys: Arc::default(),
            fetches: Arc::default(),
            id_token: Arc::default(),
            redeemed: Arc::default(),
        };
        provider.serve_keys(signers);
        provider
    }

    pub fn serve_keys(&self, signers: &[&Signer]) {
        let keys: Vec<Value> = signers.iter().map(|signer| signer.public()).collect();
        *self.keys.lock().unwrap() = json!({ "keys": keys });
    }

    /// Requests for keys so far.
    pub fn fetched(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    pub fn router(&self) -> Router {
        let (document, keys, fetches) = (self.document.clone(), self.keys.clone(), self.fetches.clone());
        let document =
            async move || -> Response { axum::Json(document.lock().unwrap().clone()).into_response() };
        let keys = async move || -> Response {
            fetches.fetch_add(1, Ordering::SeqCst);
            axum::Json(keys.lock().unwrap().clone()).into_response()
        };
        let (id_token, redeemed) = (self.id_token.clone(), self.redeemed.clone());
        let token = async move |headers: HeaderMap, form: String| -> Response {
            let login = headers.get("authorization").map_or("", |value| value.to_str().unwrap()).to_owned();
            redeemed.lock().unwrap().push((login, form));
            axum::Json(json!({"id_token": *id_token.lock().unwrap(), "access_token": "x"})).into_response()
        };
        Router::new()
            .route("/token", post(token))
            .route("/realms/site/.well-known/openid-configuration", get(document))
            .route("/keys", get(keys))
    }
}
