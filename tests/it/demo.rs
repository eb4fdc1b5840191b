//! `shoal demo`, as the first command that anybody runs.
//!
//! The installation itself is proved in `install.rs`, in simulated time; here it is that the command
//! ends well, says how, and leaves nothing behind. Invariant: nothing of this process's environment
//! has a say.

use std::process::Stdio;

use tokio::process::Command;

fn demo(directory: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
    command.env_clear().env("TMPDIR", directory).arg("demo").args(arguments);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn it_shows_every_step_ends_with_the_verdict_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let output = demo(directory.path(), &[]).output().await.unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{shown}\n{}", String::from_utf8_lossy(&output.stderr));
    for step in
        ["validate-recipe", "mount.task", "boot.override", "reset", "esxi.poll_power", "cleanup.reset"]
    {
        assert!(shown.contains(step), "{step} is not shown:\n{shown}");
    }
    let last = shown.lines().last().unwrap();
    assert!(["succeeded", "probable", "second_boot"].iter().all(|word| last.contains(word)), "{last}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_persona_that_nobody_knows_is_a_usage_error() {
    let directory = tempfile::tempdir().unwrap();
    let output = demo(directory.path(), &["--persona", "nobody"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("generic"));
}

/// One persona for each way in, each way to boot and each manner of speaking; all of them are run in
/// simulated time by `quirks.rs`. Over real HTTPS, the media too where they are taken so.
const PERSONAS: [(&str, &str); 5] = [
    // A list that is mounted, images by plain HTTP alone; NumberOfReboots.
    ("xcc1", "probable, by second_boot (NumberOfReboots"),
    // `Connection: close`, compressed answers, a 401 now and then; LastBootTimeSeconds, PostState.
    ("ilo6", "probable, by second_boot (BootProgress"),
    // UsbCd with the mode; reset types in an ActionInfo.
    ("x13", "probable, by second_boot (BootProgress"),
    // The override in the settings object, `On` refused once, a second slot that takes nothing.
    ("idrac10", "probable, by second_boot (BootProgress"),
    // Media to be switched on, Tasks, If-Match everywhere, 503 after a start.
    ("megarac", "probable, by second_boot (LastResetTime"),
];

#[tokio::test]
async fn personas_are_installed_over_https() {
    let shown = futures_util::future::join_all(PERSONAS.map(|(persona, words)| async move {
        let directory = tempfile::tempdir().unwrap();
        let output = demo(directory.path(), &["--persona", persona]).output().await.unwrap();
        (persona, words, output.status.success(), String::from_utf8(output.stdout).unwrap())
    }));
    for (persona, words, succeeded, shown) in shown.await {
        assert!(succeeded && shown.contains(words), "{persona}\n{shown}");
        assert!(shown.contains("SIM0001 at https://127.0.0.1:"), "{persona}\n{shown}");
    }
}

#[tokio::test]
async fn a_persona_that_takes_nothing_from_here_is_refused_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let output = demo(directory.path(), &["--persona", "irmc4"]).output().await.unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.lines().last().unwrap().contains("NFS and SMB shares"), "{shown}");
}
