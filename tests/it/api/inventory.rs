//! The inventory as a whole: lists, names that are nearly right, variables.

use http::Method;
use serde_json::{Value, json};

use super::{Fixture, server_json};

async fn patch(fixture: &Fixture, change: Value) -> super::Answer {
    fixture.call(Method::PATCH, "/api/v1/servers/A1", Some(change)).await
}

#[tokio::test(start_paused = true)]
async fn a_serial_number_that_is_nearly_right_is_answered_with_the_right_one() {
    let fixture = Fixture::new();
    fixture.add_server("Cz 30").await;
    let like = async |method, path: &str, body| {
        let problem = fixture.call(method, path, body).await.problem(404);
        assert!(problem["detail"].as_str().unwrap().contains("Cz 30 differs from it in case"), "{problem}");
    };
    like(Method::GET, "/api/v1/servers/CZ%2030", None).await;
    like(Method::DELETE, "/api/v1/servers/cz30", None).await;
    like(Method::PATCH, "/api/v1/servers/CZ30", Some(json!({}))).await;
    like(Method::POST, "/api/v1/servers/CZ30/check", None).await;
    like(Method::POST, "/api/v1/servers/CZ30/release", None).await;
    like(Method::POST, "/api/v1/jobs", Some(super::recipe("CZ30"))).await;
    like(Method::POST, "/api/v1/jobs", Some(super::recipe(" Cz 30 "))).await;
    fixture.get("/api/v1/servers/%20Cz%2030").await.ok(200);
    let unknown = fixture.get("/api/v1/servers/Q7").await.problem(404);
    assert_eq!(unknown["detail"], "no server has the serial number Q7");
}

#[tokio::test(start_paused = true)]
async fn a_list_is_filtered_and_shows_the_last_job_of_each() {
    let fixture = Fixture::new();
    let mut labelled = server_json("B 2");
    labelled["labels"] = json!({ "rack": "7" });
    fixture.post("/api/v1/servers", labelled).await.ok(201);
    for serial in ["A1", "C3"] {
        fixture.add_server(serial).await;
    }
    let job = fixture.add_job("A1").await;
    let list = async |query: &str| -> Vec<String> {
        let page = fixture.get(&format!("/api/v1/servers?{query}")).await.ok(200);
        let servers = page["servers"].as_array().unwrap();
        servers.iter().map(|server| server["serial"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(list("label=rack%3D7").await, ["B 2"]);
    assert!(list("label=rack%3D8").await.is_empty());
    assert_eq!(list("serial=b2").await, ["B 2"]);
    assert_eq!(list("status=queued").await, ["A1"]);
    assert_eq!(list("status=none&limit=1").await, ["B 2"]);
    assert_eq!(list("status=none&limit=1&cursor=B+2").await, ["C3"]);
    let page = fixture.get("/api/v1/servers").await.ok(200);
    assert_eq!(page["servers"][0]["last_job"]["job_id"], job.as_str());
    for query in ["status=done", "label=rack", "limit=0", "limit=501", "cursor=%2F", "serials=A1"] {
        fixture.get(&format!("/api/v1/servers?{query}")).await.problem(400);
    }
}

/// Any of them may be a root password. Not even an operator reads one back, and so a PUT without them keeps them.
#[tokio::test(start_paused = true)]
async fn variables_go_in_and_only_their_names_come_out() {
    let fixture = Fixture::new();
    let mut body = server_json("A1");
    body["variables"] = json!({ "root_password": "hunter9", "vlan": 20, "ssh": true });
    let mut answers = vec![fixture.post("/api/v1/servers", body).await];
    answers.push(patch(&fixture, json!({ "variables": { "vlan": null, "ip": "hunter9.1" } })).await);
    answers.push(fixture.call(Method::PUT, "/api/v1/servers/A1", Some(server_json("A1"))).await);
    answers.push(fixture.get("/api/v1/servers").await);
    assert_eq!(answers[1].ok(200)["variable_names"], json!(["ip", "root_password", "ssh"]));
    assert_eq!(answers[2].ok(200)["variable_names"], json!(["ip", "root_password", "ssh"]));
    answers.push(fixture.get("/api/v1/audit").await);
    let changed = &answers[4].ok(200)["entries"][0]["detail"];
    assert!(changed.to_string().contains("variables") || changed.is_object(), "{changed}");
    for answer in &answers {
        assert!(!answer.text.contains("hunter9"), "{}", answer.text);
    }
    let mut emptied = server_json("A1");
    emptied["variables"] = json!({ "ip": "10.0.0.1" });
    let put = fixture.call(Method::PUT, "/api/v1/servers/A1", Some(emptied.clone())).await.ok(200);
    assert_eq!(put["variable_names"], json!(["ip"]));
    emptied["variables"] = json!({});
    let put = fixture.call(Method::PUT, "/api/v1/servers/A1", Some(emptied)).await.ok(200);
    assert_eq!(put["variable_names"], json!([]));
    let refused = patch(&fixture, json!({ "variables": { "a": ["hunter9"] } })).await;
    assert_eq!(refused.problem(422)["errors"][0]["pointer"], "/variables");
}
