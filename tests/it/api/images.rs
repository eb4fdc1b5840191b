//! Images that the controller hosts: additions, removals, and what recipes make of them.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shoal::domain::{JobId, Status};
use shoal::media::{HostedImages, NewImage};
use shoal_recipe::{ImageLocation, ImageName, ImageSource};

use super::{Fixture, request};

fn linux(image: Value) -> Value {
    json!({
        "task_target": "install-linux.target",
        "server_serial": "A1",
        "target_disk": { "serial": "DISK0001" },
        "image": image,
    })
}

/// Puts an image of so many bytes where the controller's are; returns its SHA-256.
async fn host(fixture: &Fixture, name: &str, size: usize) -> String {
    let images = HostedImages::new(fixture.dir.path().join("images"), 1 << 20, fixture.world.clone());
    let mut incoming = Arc::new(images.unwrap()).begin(None).await.unwrap();
    incoming.append(vec![7; size].into()).await.unwrap();
    let new = NewImage { name: ImageName::parse(name), ..NewImage::default() };
    incoming.finish(new).await.unwrap().image.sha256
}

/// Digest and source of the image that a submitted job installs.
async fn pinned(fixture: &Fixture, recipe: Value) -> (String, ImageSource) {
    let job = fixture.post("/api/v1/jobs", recipe).await.ok(202);
    let id: JobId = job["job_id"].as_str().unwrap().parse().unwrap();
    let stored = fixture.store.job(id).await.unwrap().unwrap();
    fixture.store.request_cancel(id, shoal::domain::Cancel { force: true }).await.unwrap();
    fixture.end_job(Status::Cancelled, vec![]).await;
    tokio::time::advance(std::time::Duration::from_millis(10)).await;
    let image = &stored.spec.as_ref().unwrap().maintenance().unwrap().recipe.image;
    let sha256 = match &image.location {
        ImageLocation::Hosted { sha256, .. } => sha256.unwrap(),
        ImageLocation::Url { sha256, .. } => *sha256,
        ImageLocation::Oci(_) => panic!("none is in a registry"),
    };
    (sha256.to_string(), image.source)
}

#[tokio::test(start_paused = true)]
async fn digest_and_source_are_settled_on_submit() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let small = host(&fixture, "small", 100_000).await;
    let large = host(&fixture, "large", 100_001).await;
    let url = "https://images.example/linux/a.raw";
    let elsewhere = "ab".repeat(32);
    let network = json!({ "mac": "0c:42:a1:00:00:01", "addresses": ["10.0.0.9/24"] });
    for (image, network, sha256, source) in [
        (json!({ "name": "small" }), Value::Null, &small, ImageSource::Network),
        (json!({ "name": "small", "source": "media" }), Value::Null, &small, ImageSource::Media),
        (json!({ "name": "small", "source": "auto" }), Value::Null, &small, ImageSource::Media),
        (json!({ "name": "small", "source": "auto" }), network.clone(), &small, ImageSource::Network),
        (json!({ "sha256": large, "source": "auto" }), Value::Null, &large, ImageSource::Network),
        (json!({ "sha256": large, "source": "media" }), network, &large, ImageSource::Media),
        (json!({ "url": url, "sha256": small, "source": "media" }), Value::Null, &small, ImageSource::Media),
        (json!({ "url": url, "sha256": small, "source": "auto" }), Value::Null, &small, ImageSource::Media),
        (
            json!({ "url": url, "sha256": elsewhere, "source": "auto" }),
            Value::Null,
            &elsewhere,
            ImageSource::Network,
        ),
    ] {
        let mut recipe = linux(image);
        recipe["network"] = network;
        assert_eq!(pinned(&fixture, recipe.clone()).await, (sha256.clone(), source), "{recipe}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_not_hosted_is_refused_where_it_is_named() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let sha256 = host(&fixture, "small", 1).await;
    let other = "ab".repeat(32);
    let url = "https://images.example/linux/a.raw";
    for (image, pointer, words) in [
        (json!({ "name": "other" }), "/image/name", "hosts no such image"),
        (json!({ "sha256": other }), "/image/sha256", "hosts no such image"),
        (json!({ "name": "small", "sha256": other }), "/image/sha256", sha256.as_str()),
        (json!({ "url": url, "sha256": other, "source": "media" }), "/image/source", "shoal image add"),
    ] {
        let problem = fixture.post("/api/v1/jobs", linux(image.clone())).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        assert!(problem["errors"][0]["message"].as_str().unwrap().contains(words), "{problem}");
        let dry_run = fixture.post("/api/v1/jobs?dry_run=true", linux(image)).await.problem(422);
        assert_eq!(dry_run["errors"], problem["errors"]);
    }
}

fn upload(query: &str, body: Body) -> Request<Body> {
    let path = format!("/api/v1/images{query}");
    let mut request = request(Method::POST, &path, None, &[("content-type", "application/octet-stream")]);
    *request.body_mut() = body;
    request
}

fn files(fixture: &Fixture) -> usize {
    std::fs::read_dir(fixture.dir.path().join("images")).unwrap().count()
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_kept_once_and_recorded() {
    let fixture = Fixture::new();
    let bytes = vec![3; 300_000];
    let digest = shoal_base::hex(&Sha256::digest(&bytes));
    let query = format!("?name=debian&sha256={}", digest.to_uppercase());
    let answer = fixture.send(upload(&query, Body::from(bytes.clone()))).await;
    assert_eq!(answer.headers["location"], format!("/api/v1/images/{digest}"));
    let image = answer.ok(201);
    assert_eq!(
        (&image["sha256"], &image["name"], &image["size"]),
        (&json!(digest), &json!("debian"), &json!(300_000))
    );
    for query in ["", "?name=another", &query] {
        let again = fixture.send(upload(query, Body::from(bytes.clone()))).await.ok(200);
        assert_eq!(again, image);
    }
    let list = fixture.get("/api/v1/images").await.ok(200);
    assert_eq!(list["images"], json!([image]));
    let audit = fixture.get("/api/v1/audit?action=image.add").await.ok(200);
    let entries = audit["entries"].as_array().unwrap();
    assert_eq!((entries.len(), &entries[0]["detail"]["sha256"]), (1, &json!(digest)));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_refused_leaves_nothing() {
    let fixture = Fixture::new();
    host(&fixture, "taken", 10).await;
    let stays = files(&fixture);
    let bytes = || Body::from(vec![3; 300_000]);
    let broken = || {
        let pieces = [Ok(Bytes::from(vec![3; 300_000])), Err(std::io::Error::other("gone"))];
        Body::from_stream(futures_util::stream::iter(pieces))
    };
    for (query, body, status) in [
        ("?name=taken", bytes(), 409),
        (&format!("?sha256={}", "ab".repeat(32)), bytes(), 422),
        ("", Body::empty(), 422),
        ("?name=../a", bytes(), 400),
        ("?sha256=ab", bytes(), 400),
        ("?nam=a", bytes(), 400),
        ("", broken(), 400),
        ("", Body::from(vec![3; 2 << 20]), 507),
    ] {
        fixture.send(upload(query, body)).await.problem(status);
        assert_eq!(files(&fixture), stays, "{query}");
    }
    let silent = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    fixture.send(upload("", silent)).await.problem(408);
    assert_eq!(files(&fixture), stays);
    for (body, status) in [
        (json!({}), 422),
        (json!({ "url": "file:///etc/passwd" }), 422),
        (json!({ "url": "https://elsewhere.example/a" }), 422),
        (json!({ "url": "https://images.example/linux/a", "name": "a b" }), 422),
        // The network of these tests leads nowhere.
        (json!({ "url": "https://images.example/linux/a" }), 502),
    ] {
        fixture.post("/api/v1/images/fetch", body).await.problem(status);
        assert_eq!(files(&fixture), stays);
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_a_job_installs_stays_until_the_job_is_over() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let sha256 = host(&fixture, "small", 10).await;
    let job = fixture.post("/api/v1/jobs", linux(json!({ "name": "small" }))).await.ok(202);
    for key in ["small", &sha256] {
        let problem = fixture.call(Method::DELETE, &format!("/api/v1/images/{key}"), None).await.problem(409);
        assert_eq!(problem["job_id"], job["job_id"], "{problem}");
    }
    fixture.end_job(Status::Succeeded, vec![]).await;
    assert_eq!(fixture.call(Method::DELETE, "/api/v1/images/small", None).await.status, 204);
    assert_eq!(files(&fixture), 0);
    fixture.call(Method::DELETE, "/api/v1/images/small", None).await.problem(404);
    fixture.call(Method::DELETE, "/api/v1/images/a%20b", None).await.problem(404);
    let audit = fixture.get("/api/v1/audit?action=image.remove").await.ok(200);
    assert_eq!(audit["entries"][0]["detail"]["sha256"], json!(sha256));
}
