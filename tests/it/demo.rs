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
