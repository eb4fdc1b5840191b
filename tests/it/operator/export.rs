//! Installed hosts are handed over to VCF and to scripts by the command line.

use serde_json::{Value, json};

use super::Desk;
use super::fleet::{KICKSTART, client};

const VCF: [&str; 4] = ["export", "vcf", "--storage-type=VSAN", "--network-pool-id=np-1"];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The exports of a job whose host showed a certificate of this SHA-256; its server has the label `hostname`.
pub async fn has_its_certificate(desk: &Desk, job: &Value, sha256: &str) {
    let pairs: Vec<String> =
        sha256.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase()).collect();
    let thumbprint = pairs.join(":");
    let job = format!("--job={}", job["job_id"].as_str().unwrap());
    let (code, shown, errors) = client(desk, &[&VCF[..], &[&job, "--domain=lab.example"]].concat()).await;
    assert_eq!(code, Some(0), "{errors}");
    let expected = json!({"hosts": [{"fqdn": "esx01.lab.example", "username": "root",
        "password": "REPLACE_WITH_PASSWORD", "storageType": "VSAN", "networkPoolId": "np-1",
        "sslThumbprint": thumbprint}]});
    assert_eq!(json(&shown), expected);
    assert!(errors.starts_with("note: each password is REPLACE_WITH_PASSWORD"), "{errors}");
    let (_, shown, _) = client(desk, &["export", "json", &job]).await;
    let host = &json(&shown)["hosts"][0];
    assert_eq!((&host["thumbprint_sha256"], &host["confidence"]), (&json!(thumbprint), &json!("proven")));
    assert_eq!(host["labels"], json!({"hostname": "ESX01"}));
}

#[tokio::test]
async fn a_batch_is_exported_as_a_whole_unless_partial_is_given() {
    let desk = Desk::open(&[], &["--count=2", "--install-seconds=1"]).await;
    let broken = json!({ "bmc_password": "not the password", "management_address": "esx02.lab.example" });
    assert_eq!(desk.served.patch("/api/v1/servers/SIM0002", broken).await.0, 200);
    let named = json!({ "labels": { "dns": "esx01.lab.example" } });
    assert_eq!(desk.served.patch("/api/v1/servers/SIM0001", named).await.0, 200);
    let batch = json!({"recipe": {"task_target": "install-esxi.target", "ks_cfg": KICKSTART},
        "servers": ["SIM0001", "SIM0002"]});
    let (status, batch) = desk.served.post("/api/v1/batches", batch).await;
    assert!((200..300).contains(&status), "{batch}");
    let id = batch["batch_id"].as_str().unwrap();
    let batch = format!("--batch={id}");
    let (code, shown, errors) = client(&desk, &["export", "csv", &batch]).await;
    assert_eq!((code, shown.as_str()), (Some(1), ""), "{errors}");
    assert!(errors.contains("SIM0001 (job ") && errors.contains("none of the hosts can be"), "{errors}");
    assert_eq!(client(&desk, &["batch", "watch", id]).await.0, Some(1), "one of them fails");

    let export = [&VCF[..], &[&batch, "--fqdn-label=dns"]].concat();
    let (code, shown, errors) = client(&desk, &export).await;
    assert_eq!((code, shown.as_str()), (Some(1), ""), "{errors}");
    assert!(errors.contains("the job failed: resolve-server: bmc_login_refused"), "{errors}");
    assert!(errors.contains("nothing was exported: 1 of 2 hosts cannot be; use --partial"), "{errors}");
    let (code, shown, errors) = client(&desk, &[&export[..], &["--partial"]].concat()).await;
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains("SIM0002 (job ") && errors.contains("no sslThumbprint"), "{errors}");
    let hosts = json(&shown)["hosts"].as_array().unwrap().clone();
    assert_eq!(hosts.len(), 1, "{shown}");
    assert_eq!(hosts[0]["fqdn"], "esx01.lab.example");
    assert!(hosts[0].get("sslThumbprint").is_none(), "nothing has proved it: {shown}");
    let (code, shown, _) = client(&desk, &["export", "csv", &batch, "--partial", "--fqdn-label=dns"]).await;
    assert_eq!(code, Some(0));
    assert!(shown.lines().nth(1).unwrap().starts_with("esx01.lab.example,SIM0001,,,"), "{shown}");

    let absent = "0".repeat(32);
    let (code, _, errors) = client(&desk, &["export", "json", "--job", &absent]).await;
    assert_eq!(code, Some(1));
    assert!(errors.contains(&format!("job {absent}: the controller has no such job")), "{errors}");
    for wrong in [&["export", "csv"][..], &["export", "vcf", &batch], &["export", "csv", "--job=x"]] {
        assert_eq!(client(&desk, wrong).await.0, Some(2), "{wrong:?}");
    }
}
