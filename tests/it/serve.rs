//! `shoal serve` as an operator and a script use it: the real binary, real files, real sockets.
//!
//! What the API answers is proved in `api.rs`; here it is what only a process can show. Invariant:
//! every port is one that the system chose, and nothing waits longer than a bound.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shoal_base::world::{PeerCertificate, TlsPolicy, real_transport};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tower::ServiceExt;

use crate::process::{
    BOUND, Served, kill, output, recipe, serve, serve_at, shoal, start, start_command, text,
};

fn server_json() -> Value {
    // Nothing listens on the discard port, so that a job fails immediately and touches no BMC.
    json!({"serial": "A1", "bmc_address": "https://127.0.0.1:9", "bmc_username": "root", "bmc_password": "hunter2"})
}

fn temp() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn it_starts_with_nothing_set_and_stops_when_asked_to() {
    let dir = temp();
    let served = start(dir.path(), &[]).await;
    assert!(served.greeting.contains("admin token in ./var/shoal/admin.token"), "{}", served.greeting);
    for name in ["admin.token", "master.key"] {
        let mode = std::fs::metadata(dir.path().join("var/shoal").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(served.token.len(), 70);
    assert_eq!(served.get("/readyz").await.0, 200);
    assert_eq!(served.get("/metrics").await.0, 200);
    assert_eq!(served.get("/api/v1/jobs").await.0, 200);
    let token = served.token.clone();
    let (code, log) = served.stop("-TERM").await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains(&token), "{log}");
    let again = start(dir.path(), &[]).await;
    assert_eq!(again.token, token, "the token stays");
    assert_eq!(again.stop("-INT").await.0, Some(0));
}

#[tokio::test]
async fn what_was_added_is_there_after_kill_and_a_second_controller_is_refused() {
    let dir = temp();
    let mut served = start(dir.path(), &[]).await;
    assert_eq!(served.post("/api/v1/servers", server_json()).await.0, 201);
    let second = output(serve(dir.path(), &[])).await;
    assert_eq!(second.status.code(), Some(1));
    let error = text(&second.stderr);
    assert!(error.contains("another controller holds"), "{error}");
    assert_eq!(error.matches("another controller holds").count(), 1, "reported once: {error}");
    served.child.kill().await.unwrap();
    let served = start(dir.path(), &[]).await;
    let (status, server) = served.get("/api/v1/servers/A1").await;
    assert_eq!((status, &server["bmc_username"]), (200, &json!("root")));
    served.stop("-TERM").await;
}

#[tokio::test]
async fn a_setting_that_is_wrong_stops_the_start_with_its_name() {
    let dir = temp();
    let refused = output(serve(dir.path(), &["--esxi-stable-window", "90"])).await;
    assert_eq!(refused.status.code(), Some(2));
    let error = text(&refused.stderr);
    assert!(error.contains("ESXI_STABLE_WINDOW (from the command line)"), "{error}");
    let mut command = serve(dir.path(), &[]);
    command.env("ESXI_KS_TIMEOUT", "soon");
    let error = text(&output(command).await.stderr);
    assert!(error.contains("ESXI_KS_TIMEOUT (from the environment)"), "{error}");
    assert!(!dir.path().join("var").exists(), "nothing was made");
}

#[tokio::test]
async fn the_environment_gives_the_token_and_flags_beat_it() {
    let dir = temp();
    let mut command = serve(dir.path(), &["--log-format", "json"]);
    command.env("SHOAL_BOOTSTRAP_TOKEN", "from-the-environment").env("LOG_FORMAT", "text");
    let mut served = start_command(dir.path(), command).await;
    assert!(served.greeting.contains("SHOAL_BOOTSTRAP_TOKEN"), "{}", served.greeting);
    assert_eq!(served.get("/api/v1/jobs").await.0, 401);
    served.token = "from-the-environment".to_owned();
    assert_eq!(served.get("/api/v1/jobs").await.0, 200);
    let (_, log) = served.stop("-TERM").await;
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(line["message"].is_string(), "{line}");
    }
    assert!(!log.is_empty() && !log.contains("from-the-environment"), "{log}");
}

#[tokio::test]
async fn without_tokens_it_listens_on_loopback_only() {
    let dir = temp();
    let served = start(dir.path(), &["--auth-mode", "none"]).await;
    assert_eq!(served.get("/api/v1/jobs").await.0, 200);
    assert!(!dir.path().join("var/shoal/admin.token").exists());
    served.stop("-TERM").await;
    let mut command = shoal();
    command.current_dir(dir.path()).args(["serve", "--auth-mode=none", "--addr=0.0.0.0:0"]);
    let refused = output(command).await;
    assert!(text(&refused.stderr).contains("AUTH_MODE"), "{}", text(&refused.stderr));
}

#[tokio::test]
async fn tls_and_a_plain_listener_for_media_beside_it() {
    let dir = temp();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(dir.path().join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let flags = ["--tls-cert=cert.pem", "--tls-key=key.pem", "--media-addr=127.0.0.1:0"];
    let served = start(dir.path(), &flags).await;
    assert!(served.url.starts_with("https://127.0.0.1:"), "{}", served.url);
    assert_eq!(served.get("/healthz").await.0, 200);
    let list = |tls: &str| {
        let mut command = shoal();
        command.args([
            "server",
            "list",
            "--url",
            &served.url,
            "--token",
            &served.token,
            "--controller-tls",
            tls,
        ]);
        command
    };
    let untrusted = output(list("verify")).await;
    assert_eq!(untrusted.status.code(), Some(1));
    assert!(text(&untrusted.stderr).contains("is not trusted: name its root"), "{}", text(&untrusted.stderr));
    let pin = format!("pin:{}", shoal_base::hex(&Sha256::digest(made.cert.der())));
    assert_eq!(output(list(&pin)).await.status.code(), Some(0));
    assert_eq!(output(list(&format!("pin:{}", "00".repeat(32)))).await.status.code(), Some(1));
    assert_eq!(shown_certificate(&served.url).await, Some(Sha256::digest(made.cert.der()).into()));
    served.stop("-TERM").await;
}

/// The SHA-256 of the certificate that comes with an answer of this address.
async fn shown_certificate(url: &str) -> Option<[u8; 32]> {
    let request = http::Request::get(format!("{url}/healthz")).extension(TlsPolicy::Insecure);
    let response = real_transport(&[]).oneshot(request.body(Bytes::new()).unwrap()).await.unwrap();
    response.extensions().get::<PeerCertificate>().map(|PeerCertificate(sha256)| *sha256)
}

#[tokio::test]
async fn a_plain_answer_has_no_certificate() {
    let dir = temp();
    let served = start(dir.path(), &[]).await;
    assert_eq!(shown_certificate(&served.url).await, None);
    served.stop("-TERM").await;
}

/// A BMC that takes connections and never says a word, so that a request to it stays in flight.
fn silent_bmc() -> (std::net::TcpListener, Value) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = server_json();
    server["bmc_address"] = json!(format!("http://{}", listener.local_addr().unwrap()));
    (listener, server)
}

async fn start_job(served: &Served, server: Value) -> String {
    assert_eq!(served.post("/api/v1/servers", server).await.0, 201);
    let (status, job) = served.post("/api/v1/jobs", recipe("A1")).await;
    assert_eq!(status, 202, "{job}");
    let path = format!("/api/v1/jobs/{}", job["job_id"].as_str().unwrap());
    let mut stream = served.stream().await;
    let asking = async {
        let mut received = String::new();
        while !received.contains("resolve-server") {
            let frame = stream.frame().await.unwrap().unwrap();
            received.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    };
    tokio::time::timeout(BOUND, asking).await.unwrap();
    path
}

#[tokio::test]
async fn a_stop_ends_in_time_and_leaves_the_job_to_the_next_start() {
    let dir = temp();
    let (_bmc, server) = silent_bmc();
    let served = start(dir.path(), &["--drain-timeout=1s"]).await;
    let path = start_job(&served, server).await;
    let reading = tokio::spawn(served.stream().await.collect());
    let (code, log) = served.stop("-TERM").await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    tokio::time::timeout(BOUND, reading).await.unwrap().unwrap().unwrap();
    let served = start(dir.path(), &["--drain-timeout=1s"]).await;
    let (_, job) = served.get(&path).await;
    assert_eq!((&job["status"], &job["verdict"]), (&json!("provisioning"), &Value::Null));
    served.stop("-TERM").await;
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let dir = temp();
    let (_bmc, server) = silent_bmc();
    let mut served = start(dir.path(), &["--drain-timeout=1h"]).await;
    start_job(&served, server).await;
    kill(&served.child, "-TERM").await;
    let mut log = BufReader::new(served.child.stderr.take().unwrap()).lines();
    let stopping =
        async { while !log.next_line().await.unwrap().unwrap().contains("the controller stops") {} };
    tokio::time::timeout(BOUND, stopping).await.unwrap();
    kill(&served.child, "-TERM").await;
    let status = tokio::time::timeout(BOUND, served.child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[tokio::test]
async fn a_watch_goes_on_across_a_crash_of_the_controller_and_shows_no_event_twice() {
    let dir = temp();
    let (_bmc, server) = silent_bmc();
    let flags = ["--redfish-timeout=1s", "--redfish-retries=0", "--drain-timeout=0s"];
    let mut served = start(dir.path(), &flags).await;
    let path = start_job(&served, server).await;
    let job = path.rsplit('/').next().unwrap();
    let mut watch = shoal();
    watch.args(["job", "watch", job, "-o", "json"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut watch = watch.env("SHOAL_URL", &served.url).env("SHOAL_TOKEN", &served.token).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut shown = Vec::new();
    let mut next = async || {
        let line = tokio::time::timeout(BOUND, lines.next_line()).await.unwrap().unwrap()?;
        Some(serde_json::from_str::<Value>(&line).unwrap())
    };
    while !shown.iter().any(|event: &Value| event["step"] == "resolve-server") {
        shown.push(next().await.unwrap());
    }
    served.child.kill().await.unwrap();
    let addr = served.url.strip_prefix("http://").unwrap();
    let served = start_command(dir.path(), serve_at(addr, dir.path(), &flags)).await;
    assert_eq!(served.post(&format!("{path}/cancel"), json!({})).await.0, 202);
    while let Some(line) = next().await {
        shown.push(line);
    }
    assert_eq!(watch.wait().await.unwrap().code(), Some(1));
    let end = shown.pop().unwrap();
    assert_eq!((&end["job_id"], &end["status"]), (&json!(job), &json!("cancelled")));
    let seqs: Vec<u64> = shown.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=shown.len() as u64).collect::<Vec<_>>());
    served.stop("-TERM").await;
}

#[tokio::test]
async fn help_names_every_setting_with_its_default() {
    let mut command = shoal();
    command.args(["serve", "--help"]);
    let help = text(&output(command).await.stdout);
    for part in [
        "[env: CONTROLLER_HTTP_ADDR]",
        "[default: 127.0.0.1:8080]",
        "[env: DB_URL]",
        "[default: 90s]",
        "--esxi-min-install-time",
        "[default: 20GiB]",
        "[env: SHOAL_BOOTSTRAP_TOKEN]",
        "[env: LOG_LEVEL]",
    ] {
        assert!(help.contains(part), "{part}\n{help}");
    }
}

#[tokio::test]
async fn client_commands_talk_to_it() {
    let dir = temp();
    let served = start(dir.path(), &[]).await;
    let client = |args: &[&str]| {
        let mut command = shoal();
        command.current_dir(dir.path()).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("SHOAL_URL", &served.url).env("SHOAL_TOKEN", &served.token);
        command
    };
    // The controller itself stands in for a BMC that speaks HTTP and no Redfish.
    let add = ["server", "add", "A 1", "--bmc", &served.url, "--user", "root", "--password-stdin"];
    let mut adding = client(&add).args(["--label", "rack=7"]).stdin(Stdio::piped()).spawn().unwrap();
    adding.stdin.take().unwrap().write_all(b"hunter2\n").await.unwrap();
    let added = adding.wait_with_output().await.unwrap();
    assert_eq!((added.status.code(), text(&added.stdout).as_str()), (Some(0), "server A 1 added\n"));
    let listed = output(client(&["server", "list", "-o", "json"])).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["servers"][0]["labels"]["rack"], "7");
    assert!(text(&output(client(&["server", "show", "A 1"])).await.stdout).contains(&served.url));

    std::fs::write(dir.path().join("bad.json"), r#"{"server_serial": "A 1"}"#).unwrap();
    let refused = output(client(&["job", "submit", "bad.json"])).await;
    assert_eq!(refused.status.code(), Some(1));
    let error = text(&refused.stderr);
    assert!(error.contains("/ks_cfg: is missing") && error.contains("/task_target"), "{error}");
    std::fs::write(dir.path().join("good.json"), recipe("A 1").to_string()).unwrap();
    let watched = output(client(&["job", "submit", "good.json", "--watch"])).await;
    assert_eq!(watched.status.code(), Some(1), "no Redfish answers: {}", text(&watched.stderr));
    let lines = text(&watched.stdout);
    assert!(lines.contains("resolve-server  started"), "{lines}");
    assert!(lines.trim_end().lines().last().unwrap().contains("failed; resolve-server: "), "{lines}");
    let jobs = output(client(&["job", "list", "--status", "failed", "--refused", "-o", "json"])).await;
    let jobs: Value = serde_json::from_slice(&jobs.stdout).unwrap();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 2);

    assert_eq!(output(client(&["server", "rm", "A 1"])).await.status.code(), Some(0));
    assert_eq!(output(client(&["server", "rm", "A 1"])).await.status.code(), Some(1));
    let mut lost = client(&["job", "list"]);
    lost.env("SHOAL_TOKEN", "wrong");
    let lost = output(lost).await;
    assert_eq!(lost.status.code(), Some(1));
    assert!(text(&lost.stderr).contains("admin.token"), "{}", text(&lost.stderr));
    assert_eq!(output(client(&["job", "show", "not-an-id"])).await.status.code(), Some(2));
    served.stop("-TERM").await;
}

/// Issue 15, kind 26: the lock was in a file that could be deleted, and the files were never checked again.
#[tokio::test]
async fn files_that_are_deleted_while_it_runs_stop_all_work_and_let_no_second_controller_in() {
    for name in ["shoal.db.lock", "shoal.db-wal", "shoal.db"] {
        let dir = temp();
        let served = start(dir.path(), &[]).await;
        assert_eq!(served.post("/api/v1/servers", server_json()).await.0, 201);
        let path = dir.path().join("var/shoal").join(name);
        let aside = path.with_extension("aside");
        std::fs::rename(&path, &aside).unwrap();
        let (status, problem) = served.get("/readyz").await;
        let detail = problem["detail"].as_str().unwrap();
        assert!(status == 503 && detail.contains(&format!("{name} was deleted")), "{problem}");
        let (status, problem) = served.post("/api/v1/jobs", recipe("A1")).await;
        assert!(status == 503 && problem["detail"].as_str().unwrap().contains(name), "{problem}");
        if name == "shoal.db.lock" {
            let second = output(serve(dir.path(), &[])).await;
            let error = text(&second.stderr);
            assert!(second.status.code() == Some(1) && error.contains("another controller holds"), "{error}");
            std::fs::remove_file(&path).unwrap();
        }
        std::fs::rename(&aside, &path).unwrap();
        assert_eq!(served.get("/readyz").await.0, 200, "nothing was lost meanwhile");
        let (code, log) = served.stop("-TERM").await;
        assert_eq!(code, Some(0), "{log}");
    }
}
