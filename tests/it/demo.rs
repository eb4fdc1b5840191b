//! `shoal demo`, as the first command that anybody runs.
//!
//! The installation itself is proved in `install.rs`, in simulated time; here it is that the command
//! ends well, says how, and leaves nothing behind. Invariant: nothing of this process's environment
//! has a say.

use std::process::Stdio;

use shoal_sim::{Persona, Sources};
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
async fn linux_is_installed_from_an_image_that_the_controller_hosts() {
    for persona in [None, Some("idrac9")] {
        let directory = tempfile::tempdir().unwrap();
        let persona = persona.map(|name| ["--persona", name]);
        let arguments: Vec<&str> =
            ["--target", "linux"].into_iter().chain(persona.into_iter().flatten()).collect();
        let output = demo(directory.path(), &arguments).output().await.unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{shown}\n{}", String::from_utf8_lossy(&output.stderr));
        for words in ["await-webhook", "one Linux installation", "from this very image"] {
            assert!(shown.contains(words), "{words} is not shown:\n{shown}");
        }
        let last = shown.lines().last().unwrap();
        assert!(last.contains("succeeded") && last.contains("proven, by task_report"), "{last}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn an_unknown_persona_is_a_usage_error() {
    let directory = tempfile::tempdir().unwrap();
    let output = demo(directory.path(), &["--persona", "unknown"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("generic"));
}

/// Those that take no image from here are refused; see the next test.
fn installable() -> impl Iterator<Item = &'static Persona> {
    Persona::all().filter(|persona| !persona.media.protocols.is_empty())
}

/// How the last line has to begin: the strongest word that this BMC's properties allow.
fn expected(persona: &Persona) -> &'static str {
    match (persona.boot.lasts, &persona.sources) {
        (true, _) => "probable, by installer_hook",
        (false, &Sources::NONE) => "assumed, by power_stable",
        (false, _) => "probable, by second_boot",
    }
}

/// Over real HTTPS, the media too where they are taken so. Nearly all of the time is waiting.
#[tokio::test]
async fn every_persona_is_installed_over_https() {
    let shown = futures_util::future::join_all(installable().map(async |persona| {
        let directory = tempfile::tempdir().unwrap();
        let output = demo(directory.path(), &["--persona", persona.name]).output().await.unwrap();
        (persona, output.status.success(), String::from_utf8(output.stdout).unwrap())
    }));
    for (persona, succeeded, shown) in shown.await {
        let last = shown.lines().last().unwrap_or_default();
        assert!(succeeded && last.contains(expected(persona)), "{}\n{shown}", persona.name);
        assert!(shown.contains("SIM0001 at https://127.0.0.1:"), "{}\n{shown}", persona.name);
    }
}

#[tokio::test]
async fn a_persona_that_takes_nothing_from_here_is_refused_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    for (persona, words) in [("irmc4", "NFS and SMB shares"), ("ibmc", "protocol http is not supported")] {
        let output = demo(directory.path(), &["--persona", persona]).output().await.unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{shown}");
        assert!(shown.lines().last().unwrap().contains(words), "{shown}");
    }
}
