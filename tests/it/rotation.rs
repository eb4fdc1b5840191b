//! `shoal key rotate` killed again and again: real processes, SIGKILL, and a database that must open
//! with the keys that its file holds at every moment.
//!
//! Each single write is interrupted in `cli::key`. Invariant: no value is lost, and in the end one key
//! is left.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use shoal::domain::Server;
use shoal::seal::{KeySource, load_or_create};
use shoal::store::Store;
use shoal_base::Password;
use shoal_base::world::{Rng, TlsPolicy};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::process::{BOUND, output, serve, shoal, start, text};

const SERVERS: usize = 3000;
const KILLS: usize = 36;

fn server(number: usize) -> Server {
    Server {
        serial: format!("S{number:04}").parse().unwrap(),
        bmc_address: "https://10.0.0.5".parse().unwrap(),
        bmc_username: "root".into(),
        bmc_password: Password::new(format!("password {number}")),
        tls: TlsPolicy::Verify,
        system_id: None,
        system_uuid: None,
        management_address: None,
        protected: false,
        labels: Default::default(),
        variables: Default::default(),
    }
}

fn key_file(dir: &Path) -> KeySource {
    KeySource::File(dir.join("var/shoal/master.key"))
}

fn database(dir: &Path) -> std::path::PathBuf {
    dir.join("var/shoal/shoal.db")
}

async fn fill(dir: &Path) {
    let keys = load_or_create(&key_file(dir), &database(dir), true, &Rng::from_seed(3)).unwrap();
    let store = Store::open(&database(dir), keys).unwrap();
    for number in 0..SERVERS {
        store.insert_server(&server(number)).await.unwrap();
    }
}

async fn check(dir: &Path, context: &str) {
    let keys = key_file(dir).load().unwrap().unwrap();
    let store = Store::open(&database(dir), keys).unwrap_or_else(|error| panic!("{context}: {error}"));
    let servers = store.servers().await.unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(servers.len(), SERVERS, "{context}");
    for (number, server) in servers.iter().enumerate() {
        assert_eq!(server.bmc_password.expose(), format!("password {number}"), "{context}");
    }
}

fn key(dir: &Path, command: &str) -> Command {
    let mut shoal = shoal();
    shoal.current_dir(dir).args(["key", command, "--output=json", "--log-level=debug"]);
    shoal.stdout(Stdio::piped()).stderr(Stdio::piped());
    shoal
}

/// Runs a rotation and kills it once it has said so many lines; false where it came to its end.
async fn killed_after(dir: &Path, lines: u64) -> bool {
    let mut child = key(dir, "rotate").spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    for _ in 0..lines {
        if tokio::time::timeout(BOUND, log.next_line()).await.unwrap().unwrap().is_none() {
            break;
        }
    }
    child.start_kill().unwrap();
    let status = tokio::time::timeout(BOUND, child.wait()).await.unwrap().unwrap();
    !status.success()
}

#[tokio::test]
async fn killed_dozens_of_times_it_loses_no_value() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path()).await;
    let rng = Rng::from_seed(12);
    let (mut kills, mut ended) = (0, 0);
    while kills < KILLS {
        let lines = rng.below(9);
        match killed_after(dir.path(), lines).await {
            true => kills += 1,
            false => ended += 1,
        }
        check(dir.path(), &format!("kill {kills}, after {lines} lines, {ended} rotations ended")).await;
        assert!(ended < KILLS, "it is too quick to be killed");
    }
    let rotated = output(key(dir.path(), "rotate")).await;
    assert!(rotated.status.success(), "{}", text(&rotated.stderr));
    check(dir.path(), "in the end").await;
    let files: Vec<_> = std::fs::read_dir(dir.path().join("var/shoal")).unwrap().collect();
    let names: Vec<_> = files.into_iter().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name == "master.key.new"), "{names:?}");
    assert_eq!(std::fs::read(dir.path().join("var/shoal/master.key")).unwrap().len(), 32);
    let listed = output(key(dir.path(), "list")).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let keys = listed["keys"].as_array().unwrap();
    let (last, retired) = keys.split_last().unwrap();
    assert_eq!((&last["state"], &last["values"]), (&"seals".into(), &(SERVERS + 4).into()), "{listed:#}");
    assert!(retired.iter().all(|key| key["state"].as_str().unwrap().starts_with("retired")), "{listed:#}");
}

#[tokio::test]
async fn it_waits_for_no_controller_and_says_which_one_holds_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let served = start(dir.path(), &[]).await;
    let refused = output(key(dir.path(), "rotate")).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("another controller holds"), "{}", text(&refused.stderr));
    let listed = output(key(dir.path(), "list")).await;
    assert!(text(&listed.stdout).contains("\"seals\""), "beside a controller that runs");
    served.stop("-TERM").await;
    assert!(output(key(dir.path(), "rotate")).await.status.success());
    start(dir.path(), &[]).await.stop("-TERM").await;
}

#[tokio::test]
async fn without_its_key_a_controller_does_not_start_and_makes_no_other() {
    let dir = tempfile::tempdir().unwrap();
    start(dir.path(), &[]).await.stop("-TERM").await;
    let key = dir.path().join("var/shoal/master.key");
    let (aside, moved) = (dir.path().join("aside"), std::fs::read(&key).unwrap());
    std::fs::rename(&key, &aside).unwrap();
    let refused = output(serve(dir.path(), &[])).await;
    let error = text(&refused.stderr);
    assert!(error.contains("MASTER_KEY_FILE") && error.contains("is missing"), "{error}");
    assert!(!key.exists(), "no key was made");

    let mut wrong = serve(dir.path(), &[]);
    wrong.env("MASTER_KEY", "11".repeat(32));
    let error = text(&output(wrong).await.stderr);
    assert!(error.contains("DB_URL") && error.contains("MASTER_KEY holds"), "{error}");
    assert!(!error.contains("111111"), "{error}");

    let mut given = serve(dir.path(), &[]);
    given.env("MASTER_KEY", shoal_base::hex(&moved));
    crate::process::start_command(dir.path(), given).await.stop("-TERM").await;

    let credentials = dir.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::rename(&aside, credentials.join("master.key")).unwrap();
    let mut given = serve(dir.path(), &[]);
    given.env("CREDENTIALS_DIRECTORY", &credentials);
    crate::process::start_command(dir.path(), given).await.stop("-TERM").await;

    let mut both = serve(dir.path(), &["--master-key-file=aside"]);
    both.env("MASTER_KEY", shoal_base::hex(&moved));
    let error = text(&output(both).await.stderr);
    assert!(error.contains("MASTER_KEY contradicts MASTER_KEY_FILE"), "{error}");
    let mut short = serve(dir.path(), &[]);
    short.env("MASTER_KEY", "abcd");
    let error = text(&output(short).await.stderr);
    assert!(error.contains("MASTER_KEY (from the environment)") && !error.contains("abcd"), "{error}");
}
