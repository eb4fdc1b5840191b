//! Imports: many records checked together, and written together or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use http::{Method, header};
use serde_json::{Value, json};
use shoal::access::Role;
use shoal::domain::Server;
use shoal::store::{Side, Tap};
use shoal_base::Password;
use shoal_base::world::Secrets;

use super::{Answer, Fixture, keep_token, request, server_json};

const IMPORT: &str = "/api/v1/import/servers";

async fn import(fixture: &Fixture, query: &str, servers: Vec<Value>) -> Answer {
    fixture.post(&format!("{IMPORT}{query}"), json!({ "servers": servers })).await
}

fn with(serial: &str, changes: Value) -> Value {
    let mut server = server_json(serial);
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(server.as_object_mut().unwrap().remove(key)),
            value => server[key] = value.clone(),
        }
    }
    server
}

async fn serials(fixture: &Fixture) -> Vec<String> {
    let servers = fixture.store.servers().await.unwrap();
    servers.into_iter().map(|server| server.serial.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn rows_are_added_changed_or_left_and_each_is_audited() {
    let fixture = Fixture::new();
    fixture.post("/api/v1/servers", with("A1", json!({ "variables": { "ip": "10.0.0.1" } }))).await.ok(201);
    fixture.add_server("B2").await;
    let rows = || {
        vec![
            with("A1", json!({ "bmc_password": null, "protected": true, "labels": { "rack": "7" } })),
            with("B2", json!({})),
            with("C3", json!({ "variables": { "ip": "hunter9" } })),
        ]
    };
    let dry = import(&fixture, "?dry_run=true", rows()).await.ok(200);
    assert_eq!(serials(&fixture).await, ["A1", "B2"]);
    let mut done = import(&fixture, "", rows()).await.ok(200);
    assert_eq!(
        done["rows"][0],
        json!({ "serial": "A1", "result": "changed", "changed": ["protected", "labels"] })
    );
    let results: Vec<&str> =
        done["rows"].as_array().unwrap().iter().map(|row| row["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["changed", "unchanged", "added"]);
    assert_eq!(
        (&done["added"], &done["changed"], &done["unchanged"], &done["invalid"]),
        (&json!(1), &json!(1), &json!(1), &json!(0))
    );
    done["dry_run"] = json!(true);
    assert_eq!(dry, done);

    let shown = fixture.get("/api/v1/servers/A1").await.ok(200);
    assert_eq!((&shown["protected"], &shown["variable_names"]), (&json!(true), &json!(["ip"])), "they stay");
    let untouched = fixture.store.server_record(&"B2".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(untouched.revision, 1);
    let audit = fixture.get("/api/v1/audit?limit=2").await;
    let entries = &audit.ok(200)["entries"];
    let acts =
        [&entries[1], &entries[0]].map(|entry| (entry["action"].clone(), entry["server_serial"].clone()));
    assert_eq!(acts, [(json!("server.change"), json!("A1")), (json!("server.add"), json!("C3"))]);
    assert!(!audit.text.contains("hunter"), "{}", audit.text);

    let again = import(&fixture, "", rows()).await.ok(200);
    assert_eq!(again["unchanged"], 3, "an import can be repeated");
}

#[tokio::test(start_paused = true)]
async fn a_bad_row_leaves_everything_unwritten_unless_the_request_is_partial() {
    let fixture = Fixture::new();
    fixture.add_server("Cz 30").await;
    let rows = || {
        vec![
            with("A1", json!({})),
            with("B2", json!({ "tls": "off", "bmc_adress": "x" })),
            with("a1", json!({})),
            with("CZ30", json!({})),
            with("D4", json!({ "bmc_password": null })),
            json!("E5"),
            with("Cz 30", json!({ "bmc_password": null, "bmc_address": "https://10.0.0.9" })),
        ]
    };
    let expected = [
        ("/servers/1/bmc_adress", "the nearest known one is `bmc_address`"),
        ("/servers/1/tls", ""),
        ("/servers/2/serial", "row 1 has the same serial number"),
        ("/servers/3/serial", "that of server Cz 30"),
        ("/servers/4/bmc_password", "is missing"),
        ("/servers/5", "must be an object"),
        ("/servers/6/serial", "row 4 has the same serial number"),
        ("/servers/6/bmc_password", "is needed where bmc_address or tls changes"),
    ];
    let refused = import(&fixture, "", rows()).await.problem(422);
    let errors = refused["errors"].as_array().unwrap();
    for ((pointer, part), error) in expected.iter().zip(errors) {
        assert_eq!(error["pointer"], *pointer, "{refused}");
        assert!(error["message"].as_str().unwrap().contains(part), "{error}");
    }
    assert_eq!(errors.len(), expected.len());
    assert_eq!(serials(&fixture).await, ["Cz 30"]);
    let dry = import(&fixture, "?dry_run=true", rows()).await.ok(200);
    assert_eq!(
        (&dry["invalid"], &dry["rows"][1]["errors"][0]["pointer"]),
        (&json!(6), &json!("/bmc_adress"))
    );
    let partial = import(&fixture, "?partial=true", rows()).await.ok(200);
    assert_eq!((&partial["added"], &partial["invalid"]), (&json!(1), &json!(6)));
    assert_eq!(serials(&fixture).await, ["A1", "Cz 30"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_import_is_refused() {
    let fixture = Fixture::new();
    for body in
        [json!({}), json!({ "servers": {} }), json!({ "servers": [] }), json!({ "servers": [], "x": 1 })]
    {
        fixture.post(IMPORT, body).await.problem(422);
    }
    import(&fixture, "?dryrun=true", vec![server_json("A1")]).await.problem(400);
    let many = (0..5_001).map(|_| json!({})).collect();
    let refused = import(&fixture, "", many).await.problem(422);
    assert!(refused["errors"][0]["message"].as_str().unwrap().contains("has 5001 rows"), "{refused}");
    let large = vec![json!({ "serial": "x".repeat(9 << 20) })];
    import(&fixture, "", large).await.problem(413);
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_keeps_its_machine() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let job = fixture.add_job("A1").await;
    let refused = import(&fixture, "", vec![with("A1", json!({ "system_id": "2" }))]).await.problem(422);
    assert!(refused["errors"][0]["message"].as_str().unwrap().contains(&job), "{refused}");
    import(&fixture, "", vec![with("A1", json!({ "labels": { "rack": "7" } }))]).await.ok(200);
}

#[tokio::test(start_paused = true)]
async fn a_reference_to_a_password_is_set_by_an_admin_and_may_be_repeated_by_an_operator() {
    let known = [("SHOAL_SECRET_A1".to_owned(), Password::new("hunter2".to_owned()))];
    let fixture = Fixture::with(|parts| parts.secrets = Secrets::new(known.into(), None));
    keep_token(&fixture.store, &fixture.world, "olga", Role::Operator, "olga");
    let as_operator = async |server: Value| {
        let mut request = request(Method::POST, IMPORT, Some(json!({ "servers": [server] })), &[]);
        request.headers_mut().insert(header::AUTHORIZATION, "Bearer olga".parse().unwrap());
        fixture.send(request).await
    };
    let named = with("A1", json!({ "bmc_password": "env:SHOAL_SECRET_A1" }));
    let refused = as_operator(named.clone()).await.problem(422);
    assert!(refused["errors"][0]["message"].as_str().unwrap().contains("only an admin"), "{refused}");
    import(&fixture, "", vec![named.clone()]).await.ok(200);
    let mut labelled = named.clone();
    labelled["labels"] = json!({ "rack": "7" });
    assert_eq!(as_operator(labelled).await.ok(200)["changed"], 1);
    let mut elsewhere = named;
    elsewhere["bmc_address"] = json!("https://10.6.6.6");
    as_operator(elsewhere).await.problem(422);
}

#[tokio::test(start_paused = true)]
async fn thousands_of_rows_are_one_request() {
    let fixture = Fixture::new();
    let rows = |count: usize| {
        let note = "x".repeat(256);
        (0..count)
            .map(|n| with(&format!("S{n:05}"), json!({ "labels": { "note": note } })))
            .collect::<Vec<_>>()
    };
    assert_eq!(import(&fixture, "", rows(300)).await.ok(200)["added"], 300);
    let many = import(&fixture, "", rows(5_000)).await.ok(200);
    assert_eq!((&many["added"], &many["unchanged"]), (&json!(4_700), &json!(300)));
}

/// At another controller, between the check of a row and its writing: the import is checked anew against what stands
/// there then.
#[tokio::test(start_paused = true)]
async fn what_another_controller_sets_during_an_import_is_kept() {
    let fixture = Fixture::with(|parts| {
        let (other, is_done) = (parts.store.second_handle(), Arc::new(AtomicBool::new(false)));
        let tap: Tap = Arc::new(move |doing, side| {
            let is_due = (doing, side) == ("changing servers", Side::Before) && !is_done.swap(true, SeqCst);
            let other = other.clone();
            Box::pin(async move {
                if is_due {
                    let server = other.servers().await?.remove(0);
                    other.update_server(&Server { protected: true, ..server }, Some(1)).await?;
                }
                Ok(())
            })
        });
        parts.store = parts.store.tapped(tap);
    });
    fixture.add_server("A1").await;
    let rows = vec![with("A1", json!({ "labels": { "rack": "7" } })), with("B2", json!({}))];
    let done = import(&fixture, "", rows).await.ok(200);
    assert_eq!((&done["changed"], &done["added"]), (&json!(1), &json!(1)));
    let shown = fixture.get("/api/v1/servers/A1").await.ok(200);
    assert_eq!((&shown["protected"], &shown["labels"]["rack"]), (&json!(true), &json!("7")));
}
