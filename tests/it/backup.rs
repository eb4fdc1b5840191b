//! `shoal backup` and `shoal restore` by real processes: beside a controller that runs, killed again and again,
//! in a database's place.
//!
//! What a restored controller does with its jobs is in `restored`. Invariant: whatever is killed when, there is a
//! whole database in its place, and every file that is called a backup can be put back.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use shoal::seal::{KeySource, load_or_create};
use shoal::store::Store;
use shoal_base::world::Rng;
use tokio::process::Command;

use crate::process::{BOUND, output, shoal, start, text};

const SERVERS: usize = 1500;
const KILLS: usize = 24;

fn database(dir: &Path) -> PathBuf {
    dir.join("var/shoal/shoal.db")
}

fn keys(dir: &Path) -> shoal::seal::Sealer {
    let key = KeySource::File(dir.join("var/shoal/master.key"));
    load_or_create(&key, &database(dir), true, &Rng::from_seed(3)).unwrap()
}

fn server(number: usize) -> Value {
    json!({
        "serial": format!("S{number:04}"), "bmc_address": "https://10.0.0.5", "bmc_username": "root",
        "bmc_password": "planted-bmc-password", "tls": "verify",
    })
}

async fn serials(dir: &Path, database: &Path) -> usize {
    let store = Store::open(database, keys(dir)).unwrap_or_else(|error| panic!("{database:?}: {error}"));
    let servers = store.servers().await.unwrap();
    assert!(servers.iter().all(|server| server.bmc_password.expose() == "planted-bmc-password"));
    servers.len()
}

fn command(dir: &Path, words: &[&str]) -> Command {
    let mut shoal = shoal();
    shoal.current_dir(dir).args(words).arg("--output=json");
    shoal.stdout(Stdio::piped()).stderr(Stdio::piped());
    shoal
}

/// Kills the command after that time; false where it had come to its end.
async fn is_killed_after(mut command: Command, micros: u64) -> bool {
    let mut child = command.spawn().unwrap();
    tokio::time::sleep(Duration::from_micros(micros)).await;
    child.start_kill().unwrap();
    let status = tokio::time::timeout(BOUND, child.wait()).await.unwrap().unwrap();
    !status.success()
}

fn called(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

async fn restore_into(dir: &Path, backup: &Path) -> usize {
    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(other.path().join("var/shoal")).unwrap();
    std::fs::copy(dir.join("var/shoal/master.key"), other.path().join("var/shoal/master.key")).unwrap();
    let restored = output(command(other.path(), &["restore", &backup.to_string_lossy()])).await;
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    serials(other.path(), &database(other.path())).await
}

#[tokio::test]
async fn a_backup_beside_a_controller_is_whole_and_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let served = start(dir, &[]).await;
    for number in 0..40 {
        assert_eq!(served.post("/api/v1/servers", server(number)).await.0, 201);
    }
    let made = output(command(dir, &["backup", "one.backup"])).await;
    assert!(made.status.success(), "{}", text(&made.stderr));
    let printed: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!((&printed["active_jobs"], &printed["file"]), (&json!(0), &json!("one.backup")));
    let backup = dir.join("one.backup");
    let metadata = backup.metadata().unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(printed["bytes"], metadata.len());
    let bytes = std::fs::read(&backup).unwrap();
    assert!(!bytes.windows(20).any(|window| window == b"planted-bmc-password"));
    // What came later is not in it.
    assert_eq!(served.post("/api/v1/servers", server(40)).await.0, 201);
    assert_eq!(restore_into(dir, &backup).await, 40);

    let again = output(command(dir, &["backup", "one.backup"])).await;
    assert!(text(&again.stderr).contains("it already exists: name another file"), "{}", text(&again.stderr));
    assert_eq!(std::fs::read(&backup).unwrap(), bytes, "what was there is as it was");
    let held = output(command(dir, &["restore", "one.backup"])).await;
    assert!(text(&held.stderr).contains("another controller holds"), "{}", text(&held.stderr));
    served.stop("-TERM").await;
}

#[tokio::test]
async fn what_is_no_backup_is_refused_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let missing = output(command(dir, &["backup", "one.backup"])).await;
    assert!(text(&missing.stderr).contains("there is no database"), "{}", text(&missing.stderr));
    let served = start(dir, &[]).await;
    assert_eq!(served.post("/api/v1/servers", server(1)).await.0, 201);
    served.stop("-TERM").await;
    assert!(output(command(dir, &["backup", "one.backup"])).await.status.success());
    std::fs::write(dir.join("text"), "no database at all\n".repeat(300)).unwrap();
    let half = std::fs::read(dir.join("one.backup")).unwrap();
    std::fs::write(dir.join("half"), &half[..half.len() / 2]).unwrap();
    std::fs::write(dir.join("empty"), "").unwrap();
    for file in ["text", "half", "empty", "nowhere"] {
        let refused = output(command(dir, &["restore", file])).await;
        assert_eq!(refused.status.code(), Some(1), "{file}");
        assert!(text(&refused.stderr).contains(file), "{}", text(&refused.stderr));
        assert_eq!(serials(dir, &database(dir)).await, 1);
    }
    let mut other = command(dir, &["restore", "one.backup"]);
    other.env("MASTER_KEY", "22".repeat(32));
    let refused = output(other).await;
    assert!(text(&refused.stderr).contains("MASTER_KEY"), "{}", text(&refused.stderr));
    assert_eq!(serials(dir, &database(dir)).await, 1);
    assert_eq!(called(&dir.join("var/shoal"), ".before-").len(), 0);
}

/// Both commands, killed at moments that chance chooses.
#[tokio::test]
async fn killed_dozens_of_times_they_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::create_dir_all(dir.join("var/shoal")).unwrap();
    let store = Store::open(&database(dir), keys(dir)).unwrap();
    for number in 0..SERVERS {
        let mut body = server(number);
        body["labels"] = json!({ "padding": "x".repeat(200) });
        store.insert_server(&record(&body)).await.unwrap();
    }
    drop(store);
    let rng = Rng::from_seed(12);
    let mut kills = 0;
    for number in 0.. {
        let name = format!("{number}.backup");
        kills += usize::from(is_killed_after(command(dir, &["backup", &name]), rng.below(60_000)).await);
        if kills == KILLS {
            break;
        }
    }
    assert!(output(command(dir, &["backup", "last.backup"])).await.status.success());
    for backup in called(dir, ".backup") {
        assert_eq!(restore_into(dir, &backup).await, SERVERS, "{}", backup.display());
    }

    // Another database is in its place, and the backup is put over it, or not yet.
    let store = Store::open(&database(dir), keys(dir)).unwrap();
    store.insert_server(&record(&server(9000))).await.unwrap();
    drop(store);
    let mut kills = 0;
    while kills < KILLS {
        kills +=
            usize::from(is_killed_after(command(dir, &["restore", "last.backup"]), rng.below(60_000)).await);
        let found = serials(dir, &database(dir)).await;
        assert!([SERVERS, SERVERS + 1].contains(&found), "{found} after {kills} kills");
    }
    assert!(output(command(dir, &["restore", "last.backup"])).await.status.success());
    assert_eq!(serials(dir, &database(dir)).await, SERVERS);
    let entries = std::fs::read_dir(dir.join("var/shoal")).unwrap().map(|entry| entry.unwrap().path());
    let kept = entries.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.contains(".before-") && !name.ends_with(".lock")
    });
    let mut held = Vec::new();
    for database in kept.collect::<Vec<_>>() {
        held.push(serials(dir, &database).await);
    }
    assert!(held.contains(&(SERVERS + 1)), "what was there first is kept: {held:?}");
}

fn record(body: &Value) -> shoal::domain::Server {
    shoal::domain::Server {
        serial: body["serial"].as_str().unwrap().parse().unwrap(),
        bmc_address: "https://10.0.0.5".parse().unwrap(),
        bmc_username: "root".into(),
        bmc_password: shoal_base::Password::new("planted-bmc-password".into()),
        tls: shoal_base::world::TlsPolicy::Verify,
        system_id: None,
        system_uuid: None,
        management_address: None,
        protected: false,
        labels: serde_json::from_value(body["labels"].clone()).unwrap_or_default(),
        variables: Default::default(),
    }
}
