//! Images that the controller hosts: what recipes make of them.

use serde_json::{Value, json};
use shoal::domain::JobId;
use shoal::media::{HostedImages, NewImage};
use shoal_recipe::{ImageLocation, ImageName, ImageSource};

use super::Fixture;

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
    let images =
        HostedImages::new(fixture.dir.path().join("images"), 1 << 20, fixture.world.clone()).unwrap();
    let mut incoming = images.begin(None).await.unwrap();
    incoming.append(vec![7; size].into()).await.unwrap();
    let new = NewImage { name: ImageName::parse(name), sha256: None };
    incoming.finish(new).await.unwrap().image.sha256
}

/// Digest and source of the image that a submitted job installs.
async fn pinned(fixture: &Fixture, recipe: Value) -> (String, ImageSource) {
    let job = fixture.post("/api/v1/jobs", recipe).await.ok(202);
    let id: JobId = job["job_id"].as_str().unwrap().parse().unwrap();
    let stored = fixture.store.job(id).await.unwrap().unwrap();
    fixture.store.request_cancel(id, shoal::domain::Cancel { force: true }).await.unwrap();
    fixture.end_job(shoal::domain::Status::Cancelled, vec![]).await;
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
