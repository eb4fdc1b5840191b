//! Several hosts from the command line: submitted, followed, listed, ended and tried again in one command each.

use std::process::Stdio;

use serde_json::{Value, json};

use super::{Desk, assert_installed};
use crate::process::{kill, output, shoal, text};

pub const KICKSTART: &str = "vmaccepteula\nrootpw q7X!mzr0T\ninstall --firstdisk --overwritevmfs\n\
    network --bootproto=dhcp\nreboot\n";

pub fn command(desk: &Desk, arguments: &[&str]) -> tokio::process::Command {
    let mut command = shoal();
    command.args(arguments).current_dir(desk.dir.path());
    command.env("SHOAL_URL", &desk.served.url).env("SHOAL_TOKEN", &desk.served.token);
    command
}

pub async fn client(desk: &Desk, arguments: &[&str]) -> (Option<i32>, String, String) {
    let done = output(command(desk, arguments)).await;
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

pub async fn desk(count: &str) -> Desk {
    let desk = Desk::open(&[], &[count, "--install-seconds=1"]).await;
    std::fs::write(desk.dir.path().join("ks.cfg"), KICKSTART).unwrap();
    desk
}

#[tokio::test]
async fn one_command_installs_several_hosts_and_shows_the_end_of_each() {
    let desk = desk("--count=3").await;
    let wrong = json!({ "bmc_password": "not the password" });
    assert_eq!(desk.served.patch("/api/v1/servers/SIM0003", wrong).await.0, 200);
    let submit = [
        "job",
        "submit",
        "--server=SIM0001",
        "--server=SIM0002",
        "--server=SIM0003",
        "--ks=ks.cfg",
        "--idempotency-key=tuesday",
        "--yes",
    ];
    let (code, shown, errors) = client(&desk, &[&submit[..], &["--watch"]].concat()).await;
    assert_eq!(code, Some(1), "one of them fails\n{shown}{errors}");
    for machine in &desk.sim.machines[..2] {
        let serial = machine.text("serial");
        assert!(shown.contains(&format!(" on {serial}: succeeded (")), "{shown}");
    }
    assert!(shown.contains("on SIM0003: failed; resolve-server: bmc_login_refused: "), "{shown}");
    assert!(errors.ends_with("3 jobs: 2 succeeded, 1 did not\n"), "{errors}");
    let (_, page) = desk.served.get("/api/v1/jobs").await;
    for job in page["jobs"].as_array().unwrap().iter().filter(|job| job["status"] == "succeeded") {
        let machine = desk.sim.machines.iter().find(|machine| job["server_serial"] == machine.text("serial"));
        assert_installed(job, machine.unwrap()).await;
    }

    let (code, again, _) = client(&desk, &submit).await;
    assert_eq!((code, again.lines().count()), (Some(0), 3), "the same jobs once more: {again}");
    assert_eq!(desk.served.get("/api/v1/jobs").await.1["jobs"].as_array().unwrap().len(), 3);

    let (code, first, more) = client(&desk, &["job", "list", "--limit=2"]).await;
    assert_eq!((code, first.lines().count()), (Some(0), 3), "{first}");
    let cursor = more.split("--cursor ").nth(1).unwrap().split(',').next().unwrap();
    let (_, rest, nothing) = client(&desk, &["job", "list", "--cursor", cursor]).await;
    assert_eq!((rest.lines().count(), nothing.as_str()), (2, ""), "{rest}");
    assert!(format!("{first}{rest}").contains("resolve-server: bmc_login_refused"), "{first}{rest}");
    let (_, show, _) = client(&desk, &["job", "list", "--status=failed", "--output=json"]).await;
    let failed: Value = serde_json::from_str(&show).unwrap();
    let failed = failed["jobs"][0]["job_id"].as_str().unwrap();
    let (code, _, refused) = client(&desk, &["job", "cancel", failed, &"0".repeat(32)]).await;
    assert_eq!(code, Some(1));
    assert_eq!(refused.matches("error: job ").count(), 2, "{refused}");
    let (code, report, _) = client(&desk, &["job", "retry", failed, "--dry-run"]).await;
    assert_eq!(code, Some(1));
    assert!(report.starts_with("resolve-server: bmc_login_refused: "), "{report}");
}

#[tokio::test]
async fn variables_and_an_installer_are_given_on_the_command_line() {
    let desk = desk("--count=1").await;
    let template = KICKSTART.replace("q7X!mzr0T", "{{ password }}");
    std::fs::write(desk.dir.path().join("ks.j2"), template).unwrap();
    let submit =
        ["job", "submit", "--server=SIM0001", "--ks=ks.j2", "--set=password=q7X!mzr0T=", "--yes", "--watch"];
    let (code, shown, errors) = client(&desk, &submit).await;
    assert_eq!(code, Some(0), "{shown}{errors}");
    let other = ["--esxi-url=https://elsewhere.example/esxi.iso", "--completion-hook=poweroff", "--yes"];
    let submit = ["job", "submit", "--server=SIM0001", "--ks=ks.cfg"];
    let (code, _, errors) = client(&desk, &[&submit[..], &other[..]].concat()).await;
    assert!(code == Some(1) && errors.contains("/esxi_installer_url"), "{errors}");
    let (_, listed, _) = client(&desk, &["job", "list"]).await;
    assert_eq!(listed.lines().count(), 2, "a refused submission is not listed: {listed}");
    let (_, listed, _) = client(&desk, &["job", "list", "--refused"]).await;
    assert!(listed.contains("validate-recipe: source_not_allowed"), "{listed}");
    for wrong in ["--set=nothing", "--set==x"] {
        assert_eq!(client(&desk, &[&submit[..], &[wrong]].concat()).await.0, Some(2), "{wrong}");
    }
}

#[tokio::test]
async fn an_interrupted_watch_says_that_the_jobs_go_on() {
    let desk = Desk::open(&[], &["--count=2", "--install-seconds=30"]).await;
    std::fs::write(desk.dir.path().join("ks.cfg"), KICKSTART).unwrap();
    let submit = ["job", "submit", "--server=SIM0001", "--server=SIM0002", "--ks=ks.cfg", "--yes"];
    assert_eq!(client(&desk, &submit).await.0, Some(0));
    let mut watch = command(&desk, &["job", "watch", "--all"]);
    let child = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    kill(&child, "-INT").await;
    let done = child.wait_with_output().await.unwrap();
    let (shown, errors) = (text(&done.stdout), text(&done.stderr));
    assert_eq!(done.status.code(), Some(130), "{shown}{errors}");
    assert_eq!(errors, "the jobs go on; watch them again with `shoal job watch --all`\n");
    for serial in ["SIM0001", "SIM0002"] {
        assert!(shown.contains(&format!("{serial}  ")), "{shown}");
    }
    let (_, page) = desk.served.get("/api/v1/jobs?status=provisioning").await;
    assert_eq!(page["jobs"].as_array().unwrap().len(), 2, "{page}");
}

#[tokio::test]
async fn events_are_followed_until_the_reader_has_gone() {
    let desk = desk("--count=1").await;
    let mut follow = command(&desk, &["events", "--output=json", "--backlog", "--server=SIM0001"]);
    let mut child = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let submit = ["job", "submit", "--server=SIM0001", "--ks=ks.cfg", "--yes"];
    assert_eq!(client(&desk, &submit).await.0, Some(0));
    let mut lines =
        tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stdout.take().unwrap()));
    let event: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(event["server_serial"], "SIM0001");
    drop(lines);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), child.wait()).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_result_that_cannot_be_written_is_an_error_and_a_closed_pipe_is_none() {
    for arguments in [&["--version"][..], &["completions", "bash"], &["kickstart", "lint", "/dev/null"]] {
        let mut full = shoal();
        full.args(arguments).stdout(std::fs::File::create("/dev/full").unwrap()).stderr(Stdio::null());
        assert_eq!(full.status().await.unwrap().code(), Some(1), "{arguments:?}");
    }
    let mut full = shoal();
    full.arg("--version").stdout(std::fs::File::create("/dev/full").unwrap()).stderr(Stdio::piped());
    let done = full.spawn().unwrap().wait_with_output().await.unwrap();
    let message = text(&done.stderr);
    assert!(message.starts_with("error: standard output cannot be written: No space left"), "{message}");
    let mut child = shoal().args(["completions", "zsh"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn completions_and_manual_pages_cover_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let mut command = shoal();
        command.args(["completions", shell]);
        let script = text(&output(command).await.stdout);
        assert!(script.contains("maintenance-iso") && script.contains("idempotency-key"), "{shell}");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = shoal();
    command.arg("man").arg(dir.path());
    assert_eq!(output(command).await.status.code(), Some(0));
    for page in ["shoal.1", "shoal-serve.1", "shoal-job-submit.1", "shoal-kickstart-lint.1"] {
        assert!(std::fs::read_to_string(dir.path().join(page)).unwrap().starts_with(".ie"), "{page}");
    }
    let mut command = shoal();
    command.arg("man").arg(dir.path().join("absent"));
    assert_eq!(output(command).await.status.code(), Some(1));
}
