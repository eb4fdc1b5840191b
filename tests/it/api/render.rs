//! Templates: rendered when a job is made, and on request; what they are made of is shown nowhere.

use std::sync::Arc;

use serde_json::{Value, json};
use shoal::domain::{LintMode, Status};
use shoal_kickstart::template::{Disk, Inventory};

use super::{Fixture, recipe, server_json};

const TEMPLATE: &str = "vmaccepteula\nrootpw --iscrypted {{ root_password | sha512_crypt }}\n\
    install --disk={{ disk_name }} --overwritevmfs\n{% if vlan is defined %}\n\
    network --bootproto=dhcp --device={{ server.labels.mac | mac }} --vlanid={{ vlan }}\n{% endif %}\n\
    reboot\n%post --interpreter=busybox\necho {{ server.serial }} ${#HOME} {# kept #}\n";

async fn fixture(mode: LintMode) -> Fixture {
    let fixture = Fixture::with(|parts| parts.kickstart_check.mode = mode);
    let mut server = server_json("A1");
    server["labels"] = json!({ "mac": "94-40-C9-00-00-01", "note": "$(reboot)" });
    fixture.post("/api/v1/servers", server).await.ok(201);
    fixture
}

fn variables() -> Value {
    json!({ "root_password": "hunTer2-root", "disk_name": "naa.600508b1001c3ad5", "vlan": 20, "api_token": "hunTer2-tok" })
}

fn templated(template: &str, variables: Value) -> Value {
    let mut body = recipe("A1");
    body["ks_cfg"] = json!(template);
    body["templated"] = json!(true);
    body["variables"] = variables;
    body
}

async fn stored(fixture: &Fixture, job: &Value) -> String {
    let id = job["job_id"].as_str().unwrap().parse().unwrap();
    let job = fixture.store.job(id).await.unwrap().unwrap();
    job.spec.unwrap().esxi().unwrap().kickstart.expose().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_template_becomes_the_text_of_its_server_when_the_job_is_made() {
    let fixture = fixture(LintMode::Deny).await;
    let job = fixture.post("/api/v1/jobs", templated(TEMPLATE, variables())).await.ok(202);
    let text = stored(&fixture, &job).await;
    let (hash, rest) =
        text.strip_prefix("vmaccepteula\nrootpw --iscrypted $6$").unwrap().split_once('\n').unwrap();
    assert_eq!(hash.len(), 16 + 1 + 86, "{hash}");
    let expected = "install --disk=naa.600508b1001c3ad5 --overwritevmfs\n\
        network --bootproto=dhcp --device=94:40:c9:00:00:01 --vlanid=20\nreboot\n\
        %post --interpreter=busybox\necho A1 ${#HOME} {# kept #}\n";
    assert_eq!(rest, expected);

    // Frozen: the record changes and the job's text does not.
    let change = json!({ "labels": { "mac": "94:40:c9:00:00:02" } });
    fixture.call(http::Method::PATCH, "/api/v1/servers/A1", Some(change)).await.ok(200);
    assert_eq!(stored(&fixture, &job).await, text);
}

#[tokio::test(start_paused = true)]
async fn variables_of_the_server_are_under_those_of_the_job() {
    let fixture = fixture(LintMode::Off).await;
    let change = json!({ "variables": { "root_password": "hunTer2-server", "vlan": 7, "ip": "10.0.0.9" } });
    fixture.call(http::Method::PATCH, "/api/v1/servers/A1", Some(change)).await.ok(200);
    let template = "network --ip={{ ip }} --vlanid={{ vlan }}\nrootpw {{ root_password }}\n";
    let job = fixture.post("/api/v1/jobs", templated(template, json!({ "vlan": 20 }))).await.ok(202);
    assert_eq!(stored(&fixture, &job).await, "network --ip=10.0.0.9 --vlanid=20\nrootpw hunTer2-server\n");
    let mut body = json!({ "ks_cfg": template, "variables": {}, "server_serial": "A1" });
    let masked = fixture.post("/api/v1/kickstart/render", body.clone()).await.ok(200);
    let masked = masked["ks_cfg"].as_str().unwrap();
    assert!(masked.contains("--ip=10.0.0.9 --vlanid=7\n") && !masked.contains("hunTer2"), "{masked}");
    body.as_object_mut().unwrap().remove("server_serial");
    fixture.post("/api/v1/kickstart/render", body).await.problem(422);
}

#[tokio::test(start_paused = true)]
async fn variables_are_shown_nowhere() {
    let fixture = fixture(LintMode::Warn).await;
    let template = "rootpw {{ root_password }}\n{{ api_token }} {{ api_token }}\n";
    let accepted = fixture.post("/api/v1/jobs", templated(template, variables())).await;
    let id = accepted.ok(202)["job_id"].as_str().unwrap().to_owned();
    fixture.post(&format!("/api/v1/jobs/{id}/cancel"), json!({ "force": true })).await.ok(202);
    let dry =
        fixture.post("/api/v1/jobs?dry_run=true", templated("{{ root_password + 1 }}", variables())).await;
    dry.problem(422);
    let refused = fixture.post("/api/v1/jobs", templated("{{ root_password.x.y }}", variables())).await;
    refused.problem(422);
    let mut answers = vec![accepted, dry, refused];
    for path in ["jobs", "events", "audit", &format!("jobs/{id}"), &format!("jobs/{id}/events")] {
        answers.push(fixture.get(&format!("/api/v1/{path}")).await);
    }
    for answer in answers {
        assert!(!answer.text.contains("hunTer2"), "{}", answer.text);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_rendered_is_refused_with_its_line() {
    let fixture = fixture(LintMode::Off).await;
    for (template, variables, pointer, part) in [
        ("a\nb {{ ip_adress }}\n", json!({}), "/ks_cfg", "line 2, column 6: `ip_adress` is not defined"),
        ("{{ server.bmc_password }}", json!({}), "/ks_cfg", "`server.bmc_password` is not defined"),
        ("{{ server.labels.note }}", json!({}), "/ks_cfg", "character outside [A-Za-z0-9 ._:-]"),
        ("{% if x %}", json!({ "x": 1 }), "/ks_cfg", "line 1"),
        ("{{ x }}", json!({ "x": " " }), "/ks_cfg", "the rendered kickstart is empty"),
        ("{{ server.serial }}", json!({ "server": 1 }), "/ks_cfg", "a variable is named `server`"),
        ("{{ x }}", json!([1]), "/variables", "must be an object"),
    ] {
        let problem = fixture.post("/api/v1/jobs", templated(template, variables)).await.problem(422);
        let error = &problem["errors"][0];
        assert_eq!(error["pointer"], pointer, "{problem}");
        assert!(error["message"].as_str().unwrap().contains(part), "{problem}");
        assert!(problem["job_id"].is_string(), "{problem}");
    }
    let mut plain = templated("{{ x }}", json!({ "x": 1 }));
    plain["templated"] = json!(false);
    assert_eq!(
        fixture.post("/api/v1/jobs", plain.clone()).await.problem(422)["errors"][0]["pointer"],
        "/variables"
    );
    plain.as_object_mut().unwrap().remove("variables");
    let job = fixture.post("/api/v1/jobs", plain).await.ok(202);
    assert_eq!(stored(&fixture, &job).await, "{{ x }}", "without `templated` the text is used as it is");
}

#[tokio::test(start_paused = true)]
async fn findings_name_lines_of_the_rendered_text() {
    let fixture = fixture(LintMode::Deny).await;
    let template = "{% for n in [1, 2, 3] %}\n# {{ n }}\n{% endfor %}\nvmaccepteula\n";
    let problem = fixture.post("/api/v1/jobs", templated(template, json!({}))).await.problem(422);
    let messages: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["message"].as_str().unwrap())
        .collect();
    let last = messages.iter().find(|message| message.contains("KS070")).unwrap();
    assert!(last.starts_with("line 4 of the rendered kickstart, column 13: KS070 (breaks): "), "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_retry_renders_the_recipe_again() {
    let fixture = fixture(LintMode::Off).await;
    let body = templated("{{ server.labels.mac | mac }} {{ x }}\n", json!({ "x": 7 }));
    let first = fixture.post("/api/v1/jobs?dry_run=false", body).await.ok(202);
    let id = first["job_id"].as_str().unwrap();
    fixture.end_job(Status::Failed, Vec::new()).await;
    let again = fixture.post(&format!("/api/v1/jobs/{id}/retry"), json!({ "force": true })).await.ok(202);
    assert_eq!(stored(&fixture, &again).await, "94:40:c9:00:00:01 7\n");
}

#[tokio::test(start_paused = true)]
async fn a_template_is_shown_with_secrets_masked_unless_asked() {
    let fixture = fixture(LintMode::Off).await;
    let template = format!("{TEMPLATE}send {{{{ api_token }}}}\n");
    let mut body = json!({ "ks_cfg": template, "variables": variables(), "server_serial": "A1" });
    let masked = fixture.post("/api/v1/kickstart/render", body.clone()).await.ok(200);
    let text = masked["ks_cfg"].as_str().unwrap();
    assert_eq!(masked["masked"], true);
    assert!(text.contains("rootpw --iscrypted ********\n") && text.contains("send ********\n"), "{text}");
    assert!(text.contains("--device=94:40:c9:00:00:01 --vlanid=20") && !text.contains("hunTer2"), "{text}");
    body["show_secrets"] = json!(true);
    let shown = fixture.post("/api/v1/kickstart/render", body.clone()).await.ok(200);
    let text = shown["ks_cfg"].as_str().unwrap();
    assert!(text.contains("--iscrypted $6$") && text.contains("send hunTer2-tok\n"), "{text}");
    assert!(!text.contains("hunTer2-root"), "the plain password never leaves");
    assert_eq!(fixture.get("/api/v1/jobs").await.ok(200)["jobs"], json!([]));

    body["server_serial"] = json!("UNKNOWN");
    fixture.post("/api/v1/kickstart/render", body.clone()).await.problem(404);
    body.as_object_mut().unwrap().remove("server_serial");
    let problem = fixture.post("/api/v1/kickstart/render", body).await.problem(422);
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("not defined"), "{problem}");
}

fn inventory() -> Inventory {
    let volume = |name: &str, naa: &str| Disk {
        name: Some(name.to_owned()),
        is_volume: true,
        identifiers: vec![("NAA".to_owned(), naa.to_owned())],
        ..Disk::default()
    };
    let disks = vec![
        volume("os", "600508B1001C3AD5F0D1A4C2E9B7C311"),
        volume("data", "600508b1001c3ad5f0d1a4c2e9b7c312"),
    ];
    Inventory { disks, hidden: 0 }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_a_template_chose_is_an_event_and_one_that_it_did_not_is_refused() {
    let fixture = Fixture::with(|parts| {
        parts.kickstart_check.disks = Arc::new(|_| Box::pin(async { Ok(inventory()) }));
    });
    fixture.post("/api/v1/servers", server_json("A1")).await.ok(201);
    let template = |hints: &str| templated(&format!("install --disk={{{{ disk('{hints}') }}}}\n"), json!({}));
    for (hints, part) in [("name", "line 1, column 19: no disk matches `name`"), ("wwn=", "has no value")] {
        let problem = fixture.post("/api/v1/jobs", template(hints)).await.problem(422);
        assert!(problem["errors"][0]["message"].as_str().unwrap().contains(part), "{problem}");
    }
    let job = fixture.post("/api/v1/jobs", template("os")).await.ok(202);
    assert_eq!(stored(&fixture, &job).await, "install --disk=naa.600508b1001c3ad5f0d1a4c2e9b7c311\n");
    let events =
        fixture.get(&format!("/api/v1/jobs/{}/events", job["job_id"].as_str().unwrap())).await.ok(200);
    let event =
        events["events"].as_array().unwrap().iter().find(|event| event["op"] == "kickstart.disk").unwrap();
    assert_eq!(event["detail"]["device"], "naa.600508b1001c3ad5f0d1a4c2e9b7c311", "{event}");
    assert_eq!(
        (&event["detail"]["hints"], &event["detail"]["confidence"]),
        (&json!("os"), &json!("certain"))
    );
}

/// Only a template that asks for a disk makes the controller talk to the BMC.
#[tokio::test(start_paused = true)]
async fn a_bmc_that_reports_no_disks_refuses_only_what_asks_for_one() {
    let fixture = fixture(LintMode::Off).await;
    let asks = templated("{{ disk('os') }}\n", json!({}));
    let problem = fixture.post("/api/v1/jobs", asks).await.problem(422);
    let message = problem["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("the disks of server A1 cannot be read: the BMC does not answer"), "{message}");
    fixture.post("/api/v1/jobs", templated("disk {{ server.serial }}\n", json!({}))).await.ok(202);
}
