//! Questions before something that cannot be undone, asked on a terminal.
//!
//! The command's standard input and error are a terminal of the kernel's, whose other end is the operator.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use super::fleet::{client, command, desk};
use super::{Desk, id};

/// The operator's end, and the command's.
fn terminal() -> (File, File) {
    let operator: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&operator).unwrap();
    unlockpt(&operator).unwrap();
    let name = ptsname(&operator, Vec::new()).unwrap();
    let options = File::options().read(true).write(true).open(name.to_str().unwrap());
    (operator.into(), options.unwrap())
}

/// Runs a command on a terminal and gives `answer` to its one question; the exit code and what was shown.
async fn asked(desk: &Desk, arguments: &[&str], answer: &str) -> (Option<i32>, String) {
    let (mut operator, end) = terminal();
    let mut command = command(desk, arguments);
    command.stdin(end.try_clone().unwrap()).stdout(std::process::Stdio::null()).stderr(end);
    let mut child = command.spawn().unwrap();
    // The command has the only handle of its end now.
    drop(command);
    let answer = answer.to_owned();
    let shown = tokio::task::spawn_blocking(move || {
        let (mut shown, mut bytes) = (String::new(), [0; 4096]);
        let mut has_answered = false;
        // A terminal whose other end is closed gives an error.
        while let Ok(read @ 1..) = operator.read(&mut bytes) {
            shown.push_str(&String::from_utf8_lossy(&bytes[..read]));
            if !has_answered && shown.contains("[y/N]") {
                has_answered = true;
                operator.write_all(format!("{answer}\n").as_bytes()).unwrap();
            }
        }
        shown
    });
    let code = child.wait().await.unwrap().code();
    (code, shown.await.unwrap().replace('\r', ""))
}

async fn jobs(desk: &Desk) -> Vec<Value> {
    desk.served.get("/api/v1/jobs").await.1["jobs"].as_array().unwrap().clone()
}

#[tokio::test]
async fn nothing_is_erased_without_a_yes() {
    let desk = desk("--count=2").await;
    let submit = ["job", "submit", "--server=SIM0001", "--ks=ks.cfg"];
    for answer in ["n", "", "yess"] {
        let (code, shown) = asked(&desk, &submit, answer).await;
        assert_eq!(code, Some(1), "{shown}");
        assert!(shown.contains("This erases:\n  server SIM0001, BMC "), "{shown}");
        assert!(shown.contains(": the disks of `install --firstdisk --overwritevmfs`\n"), "{shown}");
        assert!(shown.contains("no job was made"), "{shown}");
    }
    let batch = ["batch", "submit", "ks.cfg", "--server=SIM0001", "--server=SIM0002"];
    let (code, shown) = asked(&desk, &batch, "no").await;
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("Install 2 servers (SIM0001, SIM0002)? Their disks are erased. [y/N]"), "{shown}");
    assert!(jobs(&desk).await.is_empty());

    let (code, shown) = asked(&desk, &submit, "y").await;
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(jobs(&desk).await.len(), 1);
}

#[tokio::test]
async fn a_second_try_is_asked_about_too() {
    let desk = desk("--count=1").await;
    let wrong = json!({ "bmc_password": "not the password" });
    assert_eq!(desk.served.patch("/api/v1/servers/SIM0001", wrong).await.0, 200);
    let (_, made, errors) =
        client(&desk, &["batch", "submit", "ks.cfg", "--server=SIM0001", "--yes", "--output=json"]).await;
    let batch: Value = serde_json::from_str(&made).unwrap_or_else(|_| panic!("{made}{errors}"));
    let batch = batch["batch_id"].as_str().unwrap();
    let failed = id(&jobs(&desk).await[0]);
    assert_eq!(desk.served.settled(&failed).await["status"], "failed");

    let (code, shown) = asked(&desk, &["batch", "retry", batch], "n").await;
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("Install again server SIM0001? Its disks are erased. [y/N]"), "{shown}");
    let (code, shown) = asked(&desk, &["job", "retry", &failed], "n").await;
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("This erases:\n  server SIM0001"), "{shown}");
    assert_eq!(jobs(&desk).await.len(), 1);
    let (code, shown) = asked(&desk, &["batch", "retry", batch], "yes").await;
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(jobs(&desk).await.len(), 2);
}
