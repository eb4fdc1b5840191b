//! Controllers on PostgreSQL as operators run them: real processes on one database.
//!
//! What the store promises is in `store::contract_tests`. Where no server is installed each test reports that and why.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::postgres::{PGBOUNCER_PORT, POSTGRES_PORT, TestServer, test_server};

use crate::process::{Served, output, serve, shoal, start, start_command, text};

/// A database of its own, for the controllers of one test.
struct Shared {
    server: TestServer,
    url: String,
    dirs: TempDir,
}

impl Shared {
    fn new(port: u16) -> Option<Shared> {
        match test_server() {
            Ok(server) => {
                let url = server.new_database(port).unwrap();
                Some(Shared { server, url, dirs: tempfile::tempdir().unwrap() })
            }
            Err(why) => {
                eprintln!("skipped: {why}");
                None
            }
        }
    }

    /// A machine's directory, with the key that all controllers share.
    fn machine(&self, name: &str, key: u8) -> std::path::PathBuf {
        let dir = self.dirs.path().join(name);
        std::fs::create_dir_all(dir.join("var/shoal")).unwrap();
        std::fs::write(dir.join("var/shoal/master.key"), [key; 32]).unwrap();
        dir
    }

    async fn started(&self, name: &str) -> Served {
        let flags = ["--db", &self.url, "--redfish-retries", "0"];
        let mut served = start(&self.machine(name, 7), &flags).await;
        if served.token.is_empty() {
            let first = self.dirs.path().join("one/var/shoal/admin.token");
            served.token = std::fs::read_to_string(first).unwrap().trim_end().to_owned();
        }
        served
    }
}

fn server_json() -> Value {
    json!({"serial": "A1", "bmc_address": "https://127.0.0.1:9", "bmc_username": "root", "bmc_password": "hunter2"})
}

#[tokio::test]
async fn two_controllers_share_a_database() {
    let Some(shared) = Shared::new(POSTGRES_PORT) else { return };
    let one = shared.started("one").await;
    assert!(one.greeting.contains("admin.token"), "{}", one.greeting);
    let two = shared.started("two").await;
    assert!(!shared.dirs.path().join("two/var/shoal/admin.token").exists(), "there is an admin token");
    assert_eq!(one.post("/api/v1/servers", server_json()).await.0, 201);
    let (status, server) = two.get("/api/v1/servers/A1").await;
    assert_eq!((status, &server["bmc_username"]), (200, &json!("root")));
    let job = crate::process::recipe("A1");
    let (status, job) = two.post("/api/v1/jobs", job).await;
    assert_eq!(status, 202, "{job:#}");
    // Driven by either of them, cancelled at one and followed at the other; its BMC does not answer.
    let cancel = format!("/api/v1/jobs/{}/cancel", job["job_id"].as_str().unwrap());
    assert_eq!(two.post(&cancel, json!({})).await.0, 202);
    let settled = one.settled(job["job_id"].as_str().unwrap()).await;
    assert_eq!(settled["status"], "cancelled");
    for controller in [&one, &two] {
        assert_eq!(controller.get("/readyz").await.0, 200);
        assert_eq!(controller.get("/api/v1/audit").await.0, 200);
    }
    for controller in [one, two] {
        let (code, log) = controller.stop("-TERM").await;
        assert_eq!(code, Some(0), "{log}");
    }
}

#[tokio::test]
async fn a_controller_works_behind_pgbouncer() {
    let Some(shared) = Shared::new(PGBOUNCER_PORT) else { return };
    if !shared.server.has_pgbouncer {
        eprintln!("skipped: PgBouncer is not installed");
        return;
    }
    let one = shared.started("one").await;
    assert_eq!(one.post("/api/v1/servers", server_json()).await.0, 201);
    assert_eq!(one.get("/readyz").await.0, 200);
    one.stop("-TERM").await;
}

async fn refused(dir: &Path, flags: &[&str]) -> String {
    let refused = output(serve(dir, flags)).await;
    assert_ne!(refused.status.code(), Some(0));
    text(&refused.stderr)
}

#[tokio::test]
async fn a_controller_with_another_key_or_none_is_refused() {
    let Some(shared) = Shared::new(POSTGRES_PORT) else { return };
    let none = shared.dirs.path().join("none");
    std::fs::create_dir_all(&none).unwrap();
    let error = refused(&none, &["--db", &shared.url]).await;
    assert!(error.contains("master.key") && error.contains("/dev/urandom"), "{error}");
    let one = shared.started("one").await;
    let other = shared.machine("other", 8);
    let error = refused(&other, &["--db", &shared.url]).await;
    assert!(error.contains("the master key does not open the secrets"), "{error}");
    let check = output(serve(&other, &["--check", "--db", &shared.url])).await;
    assert_eq!(check.status.code(), Some(1));
    let found = text(&check.stdout) + &text(&check.stderr);
    assert!(found.contains("needs the master key"), "{found}");
    one.stop("-TERM").await;
}

/// The password stands in a file, and nowhere else.
#[tokio::test]
async fn the_password_of_the_database_is_shown_nowhere() {
    let Some(shared) = Shared::new(POSTGRES_PORT) else { return };
    let dir = shared.machine("one", 7);
    let url = shared.url.replacen('@', ":planted-password@", 1);
    let file = dir.join("db-url");
    std::fs::write(&file, format!("{url}\n")).unwrap();
    let mut command = serve(&dir, &["--db-url-file", "db-url", "--log-level", "trace"]);
    command.stderr(std::fs::File::create(dir.join("log")).unwrap());
    let served = start_command(&dir, command).await;
    assert_eq!(served.get("/readyz").await.0, 200);
    served.get("/api/v1/servers").await;
    let token = served.token.clone();
    let mut bundle = shoal();
    bundle.current_dir(&dir).args(["support-bundle", "bundle.tar.gz", "--url", &served.url]);
    bundle.env("SHOAL_TOKEN", &token).env("DB_URL", &url);
    let bundle = output(bundle).await;
    assert!(bundle.status.success(), "{}", text(&bundle.stderr));
    let answers = served.answers().clone();
    served.stop("-TERM").await;
    let log = std::fs::read_to_string(dir.join("log")).unwrap();
    assert!(!log.is_empty());
    let archive = std::fs::File::open(dir.join("bundle.tar.gz")).unwrap();
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(archive), &mut plain).unwrap();
    for shown in [answers, log, String::from_utf8_lossy(&plain).into_owned(), text(&bundle.stderr)] {
        assert!(!shown.contains("planted-password"), "{shown}");
    }
    shared.server.psql("SELECT 1").unwrap();
    std::fs::write(&file, url.replace("/postgres", "/nowhere")).unwrap();
    let error = refused(&dir, &["--db-url-file", "db-url"]).await;
    assert!(error.contains("CREATE DATABASE") && !error.contains("planted-password"), "{error}");
    let error = refused(&dir, &["--db-url-file", "db-url", "--db", "x.db"]).await;
    assert!(error.contains("DB_URL_FILE"), "{error}");
}

/// From SQLite to PostgreSQL and back, by the commands of an operator.
#[tokio::test]
async fn a_database_moves_to_postgresql_and_back() {
    let Some(shared) = Shared::new(POSTGRES_PORT) else { return };
    let dir = shared.machine("one", 7);
    let run = async |arguments: &[&str]| {
        let mut command = shoal();
        command.current_dir(&dir).args(arguments);
        let output = output(command).await;
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let before = start(&dir, &["--redfish-retries", "0"]).await;
    assert_eq!(before.post("/api/v1/servers", server_json()).await.0, 201);
    let (_, job) = before.post("/api/v1/jobs", crate::process::recipe("A1")).await;
    let cancel = format!("/api/v1/jobs/{}/cancel", job["job_id"].as_str().unwrap());
    assert_eq!(before.post(&cancel, json!({})).await.0, 202);
    let job = before.settled(job["job_id"].as_str().unwrap()).await;
    let migrate = ["db", "migrate", "--from", "sqlite:var/shoal/shoal.db", "--to", &shared.url];
    let (code, error) = run(&migrate).await;
    assert!(code == Some(1) && error.contains("another controller holds"), "{error}");
    before.stop("-TERM").await;

    let (code, shown) = run(&migrate).await;
    assert!(code == Some(0) && shown.contains("every table compared"), "{shown}");
    let error = refused(&dir, &[]).await;
    assert!(error.contains("was transferred to") && error.contains("shoal db restored"), "{error}");
    let (code, error) = run(&migrate).await;
    assert!(code == Some(1) && error.contains("not empty"), "{error}");

    let after = start(&dir, &["--db", &shared.url]).await;
    assert_eq!(after.get("/api/v1/servers/A1").await.0, 200);
    let path = format!("/api/v1/jobs/{}", job["job_id"].as_str().unwrap());
    assert_eq!(after.get(&path).await.1["events"], job["events"]);
    assert_eq!(after.get("/api/v1/audit/verify").await.1["ok"], true);
    let back = ["db", "migrate", "--from", &shared.url, "--to", "sqlite:var/shoal/back.db"];
    let (code, error) = run(&back).await;
    assert!(code == Some(1) && error.contains("controllers use"), "{error}");
    after.stop("-TERM").await;
    let (code, shown) = run(&back).await;
    assert_eq!(code, Some(0), "{shown}");
    let error = refused(&dir, &["--db", &shared.url]).await;
    assert!(error.contains("was transferred to"), "{error}");
    let again = start(&dir, &["--db", "var/shoal/back.db"]).await;
    assert_eq!(again.get(&path).await.1["events"], job["events"]);
    again.stop("-TERM").await;

    let (code, marked) = run(&["db", "restored", "--db", &shared.url]).await;
    assert!(code == Some(0) && marked.contains("no job was active"), "{marked}");
    start(&dir, &["--db", &shared.url]).await.stop("-TERM").await;
}

/// A controller lives on without its database, reports that, and needs no restart.
#[tokio::test]
async fn a_database_that_is_away_is_reported_and_heals() {
    let Some(shared) = Shared::new(POSTGRES_PORT) else { return };
    let one = shared.started("one").await;
    let role = shared.url["postgres://".len()..].split('@').next().unwrap();
    let away = format!(
        "ALTER ROLE {role} NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
    );
    shared.server.psql(&away).unwrap();
    let (status, ready) = one.get("/readyz").await;
    assert_eq!(status, 503, "{ready:#}");
    assert!(ready.to_string().contains("the database is unreachable"), "{ready:#}");
    assert_eq!(one.get("/healthz").await.0, 200);
    assert_eq!(one.post("/api/v1/servers", server_json()).await.0, 503);
    shared.server.psql(&format!("ALTER ROLE {role} LOGIN")).unwrap();
    assert_eq!(one.get("/readyz").await.0, 200);
    assert_eq!(one.post("/api/v1/servers", server_json()).await.0, 201);
    one.stop("-TERM").await;
}

/// A dump that was loaded elsewhere is not taken for the database that it was made of.
#[tokio::test]
async fn a_database_on_another_server_is_refused_until_it_is_marked() {
    let Some(shared) = Shared::new(POSTGRES_PORT) else { return };
    let dir = shared.machine("one", 7);
    start(&dir, &["--db", &shared.url]).await.stop("-TERM").await;
    let role = shared.url["postgres://".len()..].split('@').next().unwrap();
    shared.server.psql(&format!("UPDATE {role}.meta SET value = 'another' WHERE name = 'server'")).unwrap();
    let error = refused(&dir, &["--db", &shared.url]).await;
    assert!(error.contains("on another server") && error.contains("shoal db restored"), "{error}");
    let mut mark = shoal();
    mark.current_dir(&dir).args(["db", "restored", "--db", &shared.url]);
    assert!(output(mark).await.status.success());
    start(&dir, &["--db", &shared.url]).await.stop("-TERM").await;
}

/// Commands on a file name what replaces them.
#[tokio::test]
async fn commands_on_files_name_what_takes_their_place() {
    let Some(shared) = Shared::new(POSTGRES_PORT) else { return };
    let dir = shared.machine("one", 7);
    let run = async |arguments: &[&str]| {
        let mut command = shoal();
        command.current_dir(&dir).args(arguments).args(["--db", &shared.url]);
        let output = output(command).await;
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let (code, error) = run(&["backup", "x"]).await;
    assert!(code == Some(1) && error.contains("pg_dump"), "{error}");
    let (code, error) = run(&["restore", "x"]).await;
    assert!(code == Some(1) && error.contains("shoal db restored"), "{error}");
    let (_, error) = run(&["audit", "verify", "--master-key-file", "var/shoal/master.key"]).await;
    assert!(error.contains("shoal audit verify --url"), "{error}");

    let one = shared.started("one").await;
    let (code, error) = run(&["key", "rotate"]).await;
    assert!(code == Some(1) && error.contains("1 controllers use the database"), "{error}");
    assert_eq!(one.post("/api/v1/servers", server_json()).await.0, 201);
    one.stop("-TERM").await;
    let (code, rotated) = run(&["key", "rotate"]).await;
    assert_eq!(code, Some(0), "{rotated}");
    let (code, keys) = run(&["key", "list"]).await;
    assert!(code == Some(0) && keys.contains("retired"), "{keys}");
    let again = start(&dir, &["--db", &shared.url]).await;
    assert_eq!(again.get("/api/v1/servers/A1").await.0, 200);
    again.stop("-TERM").await;
}
