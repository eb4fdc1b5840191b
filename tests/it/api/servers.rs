//! The inventory: what goes in, what comes out, and what must be known to change it.

use http::{Method, header};
use serde_json::{Value, json};

use shoal::access::Role;
use shoal_base::Password;
use shoal_base::world::Secrets;

use super::{Fixture, keep_token, request, server_json};

async fn patch(fixture: &Fixture, change: Value) -> super::Answer {
    fixture.call(Method::PATCH, "/api/v1/servers/A1", Some(change)).await
}

#[tokio::test(start_paused = true)]
async fn a_server_is_added_shown_listed_and_removed() {
    let fixture = Fixture::new();
    let mut body = server_json("A1");
    body["labels"] = json!({"rack": "7"});
    body["management_address"] = json!("esx1.example");
    let added = fixture.post("/api/v1/servers", body).await;
    assert_eq!(added.headers[header::LOCATION], "/api/v1/servers/A1");
    let added = added.ok(201);
    assert_eq!((&added["tls"], &added["bmc_address"]), (&json!("verify"), &json!("https://10.0.0.5")));
    assert_eq!(added["labels"]["rack"], "7");
    assert_eq!(fixture.get("/api/v1/servers/A1").await.ok(200), added);
    for key in ["created_at", "updated_at"] {
        assert!(added[key].is_string(), "{key}: {added}");
    }
    assert_eq!(fixture.get("/api/v1/servers").await.ok(200)["servers"], json!([added]));
    let removed = fixture.call(Method::DELETE, "/api/v1/servers/A1", None).await;
    assert_eq!((removed.status.as_u16(), removed.text.as_str()), (204, ""));
    fixture.get("/api/v1/servers/A1").await.problem(404);
    fixture.call(Method::DELETE, "/api/v1/servers/A1", None).await.problem(404);
}

#[tokio::test(start_paused = true)]
async fn the_password_never_comes_out() {
    let fixture = Fixture::new();
    let added = fixture.post("/api/v1/servers", server_json("A1")).await;
    let shown = fixture.get("/api/v1/servers/A1").await;
    let listed = fixture.get("/api/v1/servers").await;
    for answer in [added, shown, listed] {
        assert!(!answer.text.contains("hunter2") && !answer.text.contains("password"), "{}", answer.text);
    }
}

/// A caller that names one could have it sent to a machine of its own.
#[tokio::test(start_paused = true)]
async fn a_password_that_is_kept_elsewhere_is_named_by_an_admin_and_must_be_there() {
    let known = [("SHOAL_SECRET_A1".to_owned(), Password::new("hunter2".to_owned()))];
    let fixture = Fixture::with(|parts| parts.secrets = Secrets::new(known.into(), None));
    keep_token(&fixture.store, &fixture.world, "olga", Role::Operator, "olga");
    let with = |password: &str| {
        let mut body = server_json("A1");
        body["bmc_password"] = json!(password);
        body
    };
    let as_operator = async |method, path, body| {
        let mut request = request(method, path, Some(body), &[]);
        request.headers_mut().insert("authorization", "Bearer olga".parse().unwrap());
        fixture.send(request).await
    };
    let named = with("env:SHOAL_SECRET_A1");
    let refused = as_operator(Method::POST, "/api/v1/servers", named.clone()).await.problem(403);
    assert!(refused["detail"].as_str().unwrap().contains("only an admin"), "{refused}");
    for (password, words) in [
        ("env:SHOAL_SECRET_B2", "is not set"),
        ("env:MASTER_KEY", "SHOAL_SECRET_…"),
        ("file:rack1/a1", "BMC_SECRETS_DIR"),
    ] {
        let refused = fixture.post("/api/v1/servers", with(password)).await.problem(422);
        assert_eq!(refused["errors"][0]["pointer"], "/bmc_password");
        assert!(refused["errors"][0]["message"].as_str().unwrap().contains(words), "{refused}");
    }
    let added = fixture.post("/api/v1/servers", named).await.ok(201);
    assert_eq!(added["bmc_password_from"], "env:SHOAL_SECRET_A1");
    // An operator changes what has nothing to do with it, and cannot lead it elsewhere.
    as_operator(Method::PATCH, "/api/v1/servers/A1", json!({ "labels": { "rack": "7" } })).await.ok(200);
    let elsewhere = json!({ "bmc_address": "https://10.6.6.6", "bmc_password": "env:SHOAL_SECRET_A1" });
    as_operator(Method::PATCH, "/api/v1/servers/A1", elsewhere).await.problem(403);
    let plain = patch(&fixture, json!({ "bmc_password": "hunter3" })).await.ok(200);
    assert!(plain.get("bmc_password_from").is_none(), "{plain}");
}

/// It is shown with its server, and is of the address that it was learned at.
#[tokio::test(start_paused = true)]
async fn what_a_bmc_agreed_to_is_shown_until_its_address_changes() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let server = fixture.store.servers().await.unwrap().remove(0);
    let memory = shoal_redfish::BmcMemory {
        firmware: Some("2.72".to_owned()),
        insert_how: Some("InsertMedia".to_owned()),
        ..Default::default()
    };
    fixture.store.save_bmc_memory(&server, memory.clone()).await.unwrap();
    let learned = async || fixture.get("/api/v1/servers/A1").await.ok(200)["learned"].clone();
    assert_eq!(learned().await, json!(["insert: InsertMedia"]));
    assert!(fixture.get("/api/v1/servers").await.ok(200)["servers"][0].get("learned").is_none());
    let patch = async |body| fixture.call(Method::PATCH, "/api/v1/servers/A1", Some(body)).await.ok(200);
    patch(json!({ "labels": { "rack": "7" } })).await;
    assert_eq!(learned().await, json!(["insert: InsertMedia"]), "another label is no other BMC");
    patch(json!({ "bmc_address": "https://10.0.0.6", "bmc_password": "hunter2" })).await;
    assert_eq!(learned().await, json!(null));
    patch(json!({ "bmc_address": server.bmc_address, "bmc_password": "hunter2" })).await;
    assert_eq!(learned().await, json!(null), "it does not come back with the address");
    // A job that was at work meanwhile has nothing to add at the other address.
    patch(json!({ "bmc_address": "https://10.0.0.7", "bmc_password": "hunter2" })).await;
    fixture.store.save_bmc_memory(&server, memory).await.unwrap();
    assert_eq!(learned().await, json!(null));
}

#[tokio::test(start_paused = true)]
async fn one_serial_is_one_server() {
    let fixture = Fixture::new();
    fixture.add_server("Cz 30").await;
    fixture.post("/api/v1/servers", server_json("Cz 30")).await.problem(409);
    let refused = fixture.post("/api/v1/servers", server_json("CZ30")).await.problem(409);
    assert!(refused["detail"].as_str().unwrap().contains("use Cz 30, or remove"), "{refused}");
    let put = fixture.call(Method::PUT, "/api/v1/servers/CZ30", Some(server_json("CZ30"))).await;
    assert!(put.problem(409)["detail"].as_str().unwrap().contains("Cz 30"));
}

#[tokio::test(start_paused = true)]
async fn each_fault_of_a_server_is_named_with_its_pointer() {
    let fixture = Fixture::new();
    let cases = [
        (json!({"serial": "../x"}), "/serial"),
        (json!({"bmc_address": "10.0.0.5"}), "/bmc_address"),
        (json!({"bmc_address": "http://10.0.0.5"}), "/bmc_address"),
        (json!({"bmc_address": "https://root:pw@10.0.0.5"}), "/bmc_address"),
        (json!({"bmc_password": ""}), "/bmc_password"),
        (json!({"bmc_username": 7}), "/bmc_username"),
        (json!({"tls": "off"}), "/tls"),
        (json!({"labels": {"a b": "c"}}), "/labels"),
        (json!({"protected": "yes"}), "/protected"),
        (json!({"management_address": "a b"}), "/management_address"),
        (json!({"bmc_adress": "https://10.0.0.5"}), "/bmc_adress"),
    ];
    for (change, pointer) in cases {
        let mut body = server_json("A1");
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let problem = fixture.post("/api/v1/servers", body).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    assert_eq!(fixture.get("/api/v1/servers").await.ok(200)["servers"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn plain_http_off_loopback_needs_the_word_none() {
    let fixture = Fixture::new();
    let mut body = server_json("A1");
    body["bmc_address"] = json!("http://10.0.0.5");
    body["tls"] = json!("none");
    fixture.post("/api/v1/servers", body).await.ok(201);
    let mut body = server_json("A2");
    body["bmc_address"] = json!("http://127.0.0.1:9000");
    fixture.post("/api/v1/servers", body).await.ok(201);
}

#[tokio::test(start_paused = true)]
async fn a_patch_changes_what_it_names_and_null_empties() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let changed = patch(&fixture, json!({"protected": true, "system_id": "1"})).await.ok(200);
    assert_eq!((&changed["protected"], &changed["system_id"]), (&json!(true), &json!("1")));
    let changed = patch(&fixture, json!({"system_id": null})).await.ok(200);
    assert_eq!((&changed["protected"], &changed["system_id"]), (&json!(true), &Value::Null));
    assert_eq!(changed["bmc_username"], "root");
    patch(&fixture, json!({"serial": "B2"})).await.problem(422);
    patch(&fixture, json!({"bmc_username": null})).await.problem(422);
    fixture.call(Method::PATCH, "/api/v1/servers/B2", Some(json!({}))).await.problem(404);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_address_requires_the_password() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    for change in [json!({"bmc_address": "https://10.0.0.6"}), json!({"tls": "insecure"})] {
        let problem = patch(&fixture, change.clone()).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], "/bmc_password", "{change}");
        let mut change = change;
        change["bmc_password"] = json!("new");
        patch(&fixture, change).await.ok(200);
    }
    let stored = fixture.store.server(&super::serial("A1")).await.unwrap().unwrap();
    assert_eq!(stored.bmc_password.expose(), "new");
    assert_eq!(patch(&fixture, json!({"tls": "verify"})).await.ok(200)["tls"], "verify");
    patch(&fixture, json!({"bmc_address": "https://10.0.0.6"})).await.ok(200);
}

#[tokio::test(start_paused = true)]
async fn a_server_with_an_active_job_is_neither_removed_nor_pointed_elsewhere() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let job = fixture.add_job("A1").await;
    let removed = fixture.call(Method::DELETE, "/api/v1/servers/A1", None).await.problem(409);
    assert_eq!(removed["job_id"], job);
    let elsewhere = json!({"bmc_address": "https://10.0.0.9", "bmc_password": "x"});
    assert_eq!(patch(&fixture, elsewhere).await.problem(409)["job_id"], job);
    patch(&fixture, json!({"bmc_password": "corrected"})).await.ok(200);
    fixture.end_job(shoal::domain::Status::Failed, Vec::new()).await;
    assert_eq!(fixture.call(Method::DELETE, "/api/v1/servers/A1", None).await.status, 204);
    fixture.get(&format!("/api/v1/jobs/{job}")).await.ok(200);
}

#[tokio::test(start_paused = true)]
async fn a_check_answers_with_the_report_and_mounts_nothing_on_a_server_in_use() {
    let fixture = Fixture::new();
    let path = "/api/v1/servers/A1/check";
    fixture.post(path, json!({})).await.problem(404);
    fixture.add_server("A1").await;
    let report = fixture.call(Method::POST, path, None).await.ok(200);
    assert_eq!((&report["serial"], &report["verdict"]), (&json!("A1"), &json!("not_ready")));
    assert!(report["checks"][0]["remedy"].is_string() && report["facts"].is_object(), "{report}");
    fixture.post(path, json!({"probe": true})).await.problem(422);
    fixture.post(path, json!({"probe_media": "yes"})).await.problem(422);
    fixture.post(path, json!({"probe_media": true})).await.ok(200);
    let job = fixture.add_job("A1").await;
    let problem = fixture.post(path, json!({"probe_media": true})).await.problem(409);
    assert_eq!(problem["job_id"], json!(job));
    fixture.post(path, json!({"probe_media": false})).await.ok(200);
    fixture.call(Method::PATCH, "/api/v1/servers/A1", Some(json!({"protected": true}))).await.ok(200);
    fixture.post(path, json!({"probe_media": true})).await.problem(409);
}

/// RFC 7396, issue 15, kind 30.
#[tokio::test(start_paused = true)]
async fn labels_are_merged_by_a_patch_and_null_takes_one_away() {
    let fixture = Fixture::new();
    let mut server = server_json("A1");
    server["labels"] = json!({"rack": "7", "row": "b"});
    fixture.post("/api/v1/servers", server.clone()).await.ok(201);
    for (patch, labels) in [
        (json!({"labels": {"rack": "8"}}), json!({"rack": "8", "row": "b"})),
        (json!({"labels": {"row": null, "site": "x", "absent": null}}), json!({"rack": "8", "site": "x"})),
        (json!({"labels": {}}), json!({"rack": "8", "site": "x"})),
        (json!({"protected": true}), json!({"rack": "8", "site": "x"})),
        (json!({"labels": null}), json!({})),
    ] {
        let typed = [("content-type", "application/merge-patch+json")];
        let mut request = super::request(Method::PATCH, "/api/v1/servers/A1", None, &typed);
        *request.body_mut() = axum::body::Body::from(patch.to_string());
        assert_eq!(fixture.send(request).await.ok(200)["labels"], labels, "{patch}");
    }
    for bad in [json!({"labels": {"a b": null}}), json!({"labels": {"rack": 7}}), json!({"labels": ["rack"]})]
    {
        let problem = fixture.call(Method::PATCH, "/api/v1/servers/A1", Some(bad)).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], "/labels");
    }
    let many = |from: u32, to: u32| {
        let labels: serde_json::Map<_, _> = (from..to).map(|n| (format!("l{n}"), json!("x"))).collect();
        json!({ "labels": labels })
    };
    fixture.call(Method::PATCH, "/api/v1/servers/A1", Some(many(0, 30))).await.ok(200);
    fixture.call(Method::PATCH, "/api/v1/servers/A1", Some(many(30, 33))).await.problem(422);
    assert_eq!(fixture.get("/api/v1/servers/A1").await.ok(200)["labels"].as_object().unwrap().len(), 30);
    server["serial"] = json!("A2");
    server["labels"] = json!({"rack": null});
    assert_eq!(fixture.post("/api/v1/servers", server).await.problem(422)["errors"][0]["pointer"], "/labels");
}

/// A program that is made of the description must know that a patch needs nothing, and each closed set of words.
#[tokio::test(start_paused = true)]
async fn the_description_has_a_body_for_patches_and_enumerations() {
    let document = Fixture::new().get("/openapi.json").await.ok(200);
    let patch = &document["paths"]["/api/v1/servers/{serial}"]["patch"]["requestBody"]["content"];
    for kind in ["application/json", "application/merge-patch+json"] {
        assert_eq!(patch[kind]["schema"]["$ref"], "#/components/schemas/ServerPatch", "{patch}");
    }
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["ServerPatch"].get("required"), None, "{}", schemas["ServerPatch"]);
    assert_eq!(schemas["ServerPatch"]["additionalProperties"], false);
    let label = &schemas["ServerPatch"]["properties"]["labels"]["additionalProperties"]["type"];
    assert!(label.as_array().is_some_and(|types| types.contains(&json!("null"))), "{schemas}");
    assert_eq!(schemas["ServerInput"]["required"].as_array().unwrap().len(), 4);
    let reference = |schema: &Value| schema.to_string();
    for (body, field, words) in [
        ("JobBody", "status", "JobStatus"),
        ("JobBody", "step", "StepName"),
        ("JobBody", "failed_step", "StepName"),
        ("JobBody", "cleanup", "CleanupState"),
        ("VerdictBody", "confidence", "ConfidenceName"),
        ("VerdictBody", "outcome", "OutcomeName"),
        ("EvidenceBody", "kind", "EvidenceKindName"),
        ("EventBody", "level", "EventLevel"),
        ("TokenBody", "role", "RoleName"),
        ("CheckBody", "verdict", "CheckVerdict"),
    ] {
        let shown = reference(&schemas[body]);
        assert!(
            shown.contains(&format!("#/components/schemas/{words}\"")) || body == "EventBody",
            "{field}: {shown}"
        );
        assert!(schemas[words]["enum"].as_array().is_some_and(|words| words.len() > 1), "{words}");
    }
    let parameters = document["paths"]["/api/v1/jobs"]["get"]["parameters"].as_array().unwrap();
    let status = parameters.iter().find(|parameter| parameter["name"] == "status").unwrap();
    assert_eq!(status["schema"]["$ref"], "#/components/schemas/JobStatus", "{status}");
}

async fn put(fixture: &Fixture, body: Value) -> super::Answer {
    fixture.call(Method::PUT, "/api/v1/servers/A1", Some(body)).await
}

#[tokio::test(start_paused = true)]
async fn a_put_adds_a_server_or_replaces_its_record() {
    let fixture = Fixture::new();
    let mut whole = server_json("A1");
    whole["labels"] = json!({"rack": "7"});
    whole["protected"] = json!(true);
    let added = put(&fixture, whole).await;
    assert_eq!(added.ok(201)["labels"], json!({"rack": "7"}));
    assert_eq!(added.headers[header::LOCATION], "/api/v1/servers/A1");
    // No serial, no labels, no password, no `protected`: the last two stay as they are.
    let bare = json!({"bmc_address": "https://10.0.0.5/", "bmc_username": "admin"});
    let replaced = put(&fixture, bare).await.ok(200);
    assert_eq!(
        (&replaced["labels"], &replaced["protected"], &replaced["bmc_username"]),
        (&json!({}), &json!(true), &json!("admin"))
    );
    let kept = fixture.store.server(&super::serial("A1")).await.unwrap().unwrap();
    assert_eq!(kept.bmc_password.expose(), "hunter2-calvin");
    let actions = fixture.get("/api/v1/audit").await.ok(200);
    let actions: Vec<&str> = actions["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["server.change", "server.add"]);
}

/// A token alone cannot have a password sent elsewhere.
#[tokio::test(start_paused = true)]
async fn a_put_keeps_the_password_only_where_address_and_tls_stay() {
    let fixture = Fixture::new();
    let body = |change: Value| {
        let mut body = json!({"bmc_address": "https://10.0.0.5", "bmc_username": "root"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    let pointers = |problem: Value| -> Vec<String> {
        let errors = problem["errors"].as_array().unwrap().iter();
        errors.map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        pointers(put(&fixture, body(json!({}))).await.problem(422)),
        ["/bmc_password"],
        "a new server"
    );
    fixture.add_server("A1").await;
    for change in [
        json!({"bmc_address": "https://10.0.0.6"}),
        json!({"tls": "insecure"}),
        json!({"tls": format!("pin:{}", "a".repeat(64))}),
        json!({"bmc_password": null}),
    ] {
        let problem = put(&fixture, body(change.clone())).await.problem(422);
        assert!(pointers(problem).contains(&"/bmc_password".to_owned()), "{change}");
    }
    assert_eq!(pointers(put(&fixture, body(json!({"serial": "B2"}))).await.problem(422)), ["/serial"]);
    put(&fixture, body(json!({}))).await.ok(200);
    put(&fixture, body(json!({"tls": "insecure", "bmc_password": "hunter2-calvin"}))).await.ok(200);
    // The other way round needs it as well: PUT without `tls` means `verify`.
    put(&fixture, body(json!({}))).await.problem(422);
    fixture.add_job("A1").await;
    let moved = body(json!({"bmc_address": "https://10.0.0.6", "bmc_password": "x", "tls": "insecure"}));
    assert!(put(&fixture, moved).await.problem(409)["job_id"].is_string());
}

#[tokio::test(start_paused = true)]
async fn a_stale_if_match_is_412_and_changes_nothing() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let path = "/api/v1/servers/A1";
    let tag = async || fixture.get(path).await.headers[header::ETAG].to_str().unwrap().to_owned();
    let first = tag().await;
    assert_eq!(tag().await, first, "reading changes nothing");
    let send = async |method: Method, tag: &str| {
        let body = match method {
            Method::DELETE => None,
            Method::PUT => Some(json!({"bmc_address": "https://10.0.0.5", "bmc_username": "root"})),
            _ => Some(json!({"labels": {"rack": "7"}})),
        };
        fixture.call_with(method, path, body, &[("if-match", tag)]).await
    };
    let changed = send(Method::PATCH, &first).await;
    changed.ok(200);
    let second = changed.headers[header::ETAG].to_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(second, tag().await);
    for method in [Method::PATCH, Method::PUT, Method::DELETE] {
        for stale in [first.as_str(), "\"x\"", "W/\"x\"", "", &format!("W/{second}")] {
            send(method.clone(), stale).await.problem(412);
        }
    }
    let wrong =
        fixture.call_with(Method::PATCH, path, Some(json!({"tls": 7})), &[("if-match", &first)]).await;
    wrong.problem(422);
    assert_eq!(tag().await, second);
    send(Method::PATCH, &format!("\"x\", {second}")).await.ok(200);
    send(Method::PATCH, "*").await.ok(200);
    fixture.call(Method::PATCH, path, Some(json!({}))).await.ok(200);
    let last = tag().await;
    assert_eq!(send(Method::DELETE, &last).await.status, 204);
    let nothing_there = [("if-match", "*")];
    fixture.call_with(Method::PUT, path, Some(server_json("A1")), &nothing_there).await.problem(412);
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    fixture.add_server("A1").await;
    send(Method::PATCH, &first).await.problem(412);
}

#[tokio::test(start_paused = true)]
async fn a_record_shows_when_it_was_added_and_changed_and_its_last_job() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let show = async || fixture.get("/api/v1/servers/A1").await.ok(200);
    let record = show().await;
    assert_eq!(
        (&record["created_at"], &record["updated_at"], record.get("last_job")),
        (&json!("2026-11-22T12:00:00Z"), &json!("2026-11-22T12:00:00Z"), None)
    );
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    fixture.call(Method::PATCH, "/api/v1/servers/A1", Some(json!({"labels": {"a": "b"}}))).await.ok(200);
    let record = show().await;
    assert_eq!(
        (&record["created_at"], &record["updated_at"]),
        (&json!("2026-11-22T12:00:00Z"), &json!("2026-11-22T12:01:00Z"))
    );
    let first = fixture.add_job("A1").await;
    let job = fixture.get(&format!("/api/v1/jobs/{first}")).await.ok(200);
    let mut expected = json!({"job_id": first, "status": "queued", "confidence": null, "build": null});
    // As in the job itself.
    for name in [
        "task_target",
        "step",
        "failed_step",
        "reason",
        "failure_code",
        "deadline",
        "progress",
        "cleanup",
        "created_at",
        "last_update",
        "finished_at",
    ] {
        expected[name] = job[name].clone();
    }
    assert_eq!(show().await["last_job"], expected);
    fixture.end_job(shoal::domain::Status::Failed, Vec::new()).await;
    let second = fixture.add_job("A1").await;
    assert_eq!(show().await["last_job"]["job_id"], second);
}
