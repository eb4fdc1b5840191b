//! Recipes whose image is in a registry, and the schema that describes recipes.

use bytes::Bytes;
use serde_json::{Value, json};
use shoal::registry::{Registries, RegistrySettings};
use shoal_sim::Network;

use super::task_reports::linux;
use super::{Fixture, recipe};
use crate::registry::fake::{self, FakeRegistry};

/// A Linux recipe with an image of that reference.
fn from_registry(serial: &str, reference: &str) -> Value {
    let mut body = linux(serial);
    body.as_object_mut().unwrap().remove("image");
    body["oci_url"] = json!(reference);
    body
}

#[tokio::test(start_paused = true)]
async fn a_tag_is_resolved_before_the_job_is_accepted() {
    let layer = Bytes::from_static(b"a disk");
    let (network, registry) = (Network::default(), FakeRegistry::with("12", &layer));
    network.add("images.example", registry.router());
    let fixture = Fixture::with(|parts| {
        parts.registries = Registries::new(network.transport(), RegistrySettings::default());
    });
    fixture.add_server("A1").await;
    let reference = "images.example/linux/debian:12";
    let recipe = from_registry("A1", reference);
    let dry_run = fixture.post("/api/v1/jobs?dry_run=true", recipe.clone()).await.ok(200);
    assert_eq!(dry_run["events"][0]["op"], "image.resolve", "{dry_run}");
    let job = fixture.post("/api/v1/jobs", recipe.clone()).await.ok(202);
    let path = format!("/api/v1/jobs/{}", job["job_id"].as_str().unwrap());
    let job = fixture.get(&path).await.ok(200);
    let image = &job["registry_image"];
    assert_eq!((&image["repository"], &image["size"]), (&json!("images.example/linux/debian"), &json!(6)));
    assert_eq!(image["layer"], fake::digest(&layer));
    let manifest = fake::digest(fake::manifest_of(&layer).to_string().as_bytes());
    assert_eq!(image["digest"], manifest);
    let event = &job["events"][0];
    let message = event["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("{reference} is {manifest}")), "{event}");
    // The tag may go elsewhere now; the job keeps what it stood for.
    registry.state().manifests.clear();
    let stored = fixture.store.job(job["job_id"].as_str().unwrap().parse().unwrap()).await.unwrap().unwrap();
    let spec = stored.spec.unwrap();
    let kept = spec.maintenance().unwrap().registry_image.clone().unwrap();
    assert_eq!(format!("sha256:{}", kept.layer_sha256), fake::digest(&layer));
    let lists = fixture.get("/api/v1/jobs").await.ok(200);
    assert!(lists["jobs"][0].get("registry_image").is_none(), "{lists}");
    // Another job is another submit.
    fixture.add_server("A2").await;
    let problem = fixture.post("/api/v1/jobs", from_registry("A2", reference)).await.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/oci_url");
    assert!(problem["errors"][0].to_string().contains("has no tag 12 in linux/debian (404)"), "{problem}");
    registry.state().seen.clear();
    for (reference, words) in [
        (
            "images.example/other/debian:12",
            "IMAGES_ALLOW, where it counts as https://images.example/other/debian",
        ),
        ("images.example:5000/linux/debian:12", "IMAGES_ALLOW"),
        ("https://images.example/linux/debian", "without a scheme"),
    ] {
        let problem = fixture.post("/api/v1/jobs", from_registry("A2", reference)).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], "/oci_url", "{problem}");
        assert!(problem.to_string().contains(words), "{reference}: {problem}");
    }
    assert!(registry.state().seen.is_empty(), "what is not allowed is not asked");
}

#[tokio::test(start_paused = true)]
async fn the_schema_of_recipes_stands_alone() {
    let schema = Fixture::new().get("/api/v1/recipe.schema.json").await;
    assert_eq!(
        (schema.status.as_u16(), &schema.headers["content-type"]),
        (200, &"application/schema+json".parse().unwrap())
    );
    let schema = schema.json();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let validator = jsonschema::validator_for(&schema).unwrap();
    let with = |key: &str, value: Value| {
        let mut body = linux("A1");
        body[key] = value;
        body
    };
    let image = json!({ "source": "network" });
    let mut sourced = from_registry("A1", "reg.example:5000/a/b:12");
    sourced["image"] = image;
    let pinned = format!("reg.example/a@sha256:{}", "ab".repeat(32));
    for good in [
        linux("A1"),
        recipe("A1"),
        with("user_data", json!("#cloud-config")),
        with("user_data", json!({ "content": "#cloud-config" })),
        with("schema_version", json!("1.2")),
        with("recipe_version", json!("1")),
        with("image", json!({ "name": "debian-12", "source": "auto" })),
        with("image", json!({ "sha256": "ab".repeat(32) })),
        from_registry("A1", &pinned),
        from_registry("A1", "reg/a"),
        sourced,
    ] {
        assert!(validator.is_valid(&good), "{:?}", validator.iter_errors(&good).collect::<Vec<_>>());
    }
    for bad in [
        with("oci_url", json!("reg.example/a:1")),
        with("image", json!(null)),
        with("image", json!({ "source": "media" })),
        with("image", json!({ "url": "https://images.example/linux/a" })),
        with("user_data", json!({ "url": "https://x" })),
        with("user_data", json!("")),
        with("schema_version", json!("2")),
        from_registry("A1", "https://reg.example/a"),
    ] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
    let mut bad = linux("A1");
    bad["image"]["sha256"] = json!("short");
    assert!(
        !validator.is_valid(&bad) && !validator.is_valid(&json!({ "task_target": "install-linux.target" }))
    );
}
