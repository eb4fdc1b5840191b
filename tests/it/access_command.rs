//! Access as an admin handles it: the real binary, its commands, a controller, sockets.
//!
//! What each part promises is proved beside it. Invariant: every port is one that the system chose.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::process::{BOUND, Served, Sim, recipe, shoal, start, text};

async fn run(served: &Served, token: &str, arguments: &[&str]) -> Output {
    let mut command = shoal();
    command.args(arguments).env("SHOAL_URL", &served.url).env("SHOAL_TOKEN", token);
    tokio::time::timeout(BOUND, command.output()).await.unwrap().unwrap()
}

async fn ok(served: &Served, arguments: &[&str]) -> String {
    let output = run(served, &served.token, arguments).await;
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn a_token_is_made_for_a_script_used_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let served = start(dir.path(), &["--drain-timeout=1s"]).await;
    let made =
        run(&served, &served.token, &["token", "create", "ci", "--role", "viewer", "--expires", "90d"]).await;
    let token = text(&made.stdout).trim().to_owned();
    assert!(token.starts_with("shoal_") && !token.contains(char::is_whitespace), "{token}");
    assert!(text(&made.stderr).contains("shown this once"), "{}", text(&made.stderr));

    assert_eq!(run(&served, &token, &["job", "list"]).await.status.code(), Some(0));
    let denied = run(&served, &token, &["server", "rm", "A1"]).await;
    assert_eq!(denied.status.code(), Some(1));
    assert!(
        text(&denied.stderr).contains("needs the role operator; ci is viewer"),
        "{}",
        text(&denied.stderr)
    );

    let list = ok(&served, &["token", "list"]).await;
    assert!(list.contains("ci") && list.contains("127.0.0.1") && !list.contains(&token), "{list}");
    ok(&served, &["token", "revoke", "ci"]).await;
    assert_eq!(run(&served, &token, &["job", "list"]).await.status.code(), Some(1));
    let again = run(&served, &served.token, &["token", "revoke", "ci"]).await;
    assert_eq!(again.status.code(), Some(1), "no live token has that name any more");
}

/// Verifies the database itself, with no controller.
async fn offline(dir: &Path) -> (Option<i32>, Value) {
    let mut command = shoal();
    command.current_dir(dir.join("var/shoal"));
    command.args(["-o", "json", "audit", "verify", "--db", "shoal.db", "--master-key-file", "master.key"]);
    let output = command.output().await.unwrap();
    let verdict = serde_json::from_slice(&output.stdout);
    (output.status.code(), verdict.unwrap_or_else(|_| panic!("{}", text(&output.stderr))))
}

#[tokio::test]
async fn the_audit_is_verified_with_and_without_the_controller_and_tampering_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let served = start(dir.path(), &["--drain-timeout=1s"]).await;
    for name in ["one", "two", "three"] {
        ok(&served, &["token", "create", name, "--role", "viewer"]).await;
    }
    let list = ok(&served, &["audit", "list", "--action", "token.create"]).await;
    assert!(list.contains("admin.token") && list.contains("controller"), "{list}");
    let by_controller: Value =
        serde_json::from_str(&ok(&served, &["-o", "json", "audit", "verify"]).await).unwrap();
    assert_eq!((&by_controller["ok"], &by_controller["entries"]), (&true.into(), &4.into()));
    assert_eq!(offline(dir.path()).await, (Some(0), by_controller));

    served.stop("-TERM").await;
    let connection = rusqlite::Connection::open(dir.path().join("var/shoal/shoal.db")).unwrap();
    let refused = connection.execute("UPDATE audit SET actor_name = 'another' WHERE seq = 3", []);
    assert!(refused.unwrap_err().to_string().contains("not changed"));
    let sql = "DROP TRIGGER the_audit_is_not_changed; UPDATE audit SET actor_name = 'another' WHERE seq = 3";
    connection.execute_batch(sql).unwrap();
    let (code, verdict) = offline(dir.path()).await;
    assert_eq!((code, &verdict["ok"], &verdict["entries"]), (Some(1), &false.into(), &2.into()));
    assert_eq!(verdict["fault"], "entry 3 was changed, or one before it was");
}

#[tokio::test]
async fn a_bmcs_certificate_is_pinned_by_an_explicit_word_only() {
    let sim = Sim::start(&["--tls"]).await;
    let machine = &sim.machines[0];
    let dir = tempfile::tempdir().unwrap();
    let served = start(dir.path(), &["--drain-timeout=1s"]).await;
    let mut record = machine.record();
    record["tls"] = "insecure".into();
    assert_eq!(served.post("/api/v1/servers", record).await.0, 201);
    let (serial, pin) = (machine.text("serial"), machine.text("tls"));
    let tls = async || served.get(&format!("/api/v1/servers/{serial}")).await.1["tls"].clone();

    let shown = run(&served, &served.token, &["server", "pin", serial]).await;
    assert_eq!((shown.status.code(), tls().await), (Some(1), "insecure".into()));
    assert!(text(&shown.stdout).contains(pin), "{}", text(&shown.stdout));
    let wrong = run(&served, &served.token, &["server", "pin", serial, "--accept", &"ab".repeat(32)]).await;
    assert_eq!((wrong.status.code(), tls().await), (Some(1), "insecure".into()), "{}", text(&wrong.stderr));
    ok(&served, &["server", "pin", serial, "--accept", pin]).await;
    assert_eq!(tls().await, pin);
    ok(&served, &["server", "pin", serial, "--first-use"]).await;
    let changes = ok(&served, &["audit", "list", "--server", serial, "--action", "server.change"]).await;
    assert!(changes.contains("insecure") && changes.contains(pin), "{changes}");
    // Another peer may be trusted after this, so the password is asked for.
    let change = serde_json::json!({ "tls": "verify" });
    assert_eq!(served.patch(&format!("/api/v1/servers/{serial}"), change).await.0, 422);
    let (status, _) = served.post("/api/v1/jobs?dry_run=true", recipe(serial)).await;
    assert_eq!(status, 200);
}
