//! `shoal kickstart` as a script uses it: the real binary on real files.
//!
//! What each rule finds is proved in the crate of the rules. Invariant: exit codes and formats are what
//! a script may rely on, and no output holds a password.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const GOOD: &str = "vmaccepteula\nrootpw --iscrypted $1$kCNu7FHJ$2jPTEQvoE1p5JtSbVCYY61\n\
    install --disk=naa.600508b1001c3ad5 --overwritevmfs\n\
    network --bootproto=dhcp --device=94:40:c9:00:00:01\nreboot\n";

fn shoal(arguments: &[&str], dir: &Path, input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
    command.args(arguments).current_dir(dir).env("NO_COLOR", "1");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _closed = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn findings_decide_the_exit_code_and_a_hook_the_findings() {
    let dir = tempfile::tempdir().unwrap();
    let lint = |arguments: &[&str], input: &str| {
        shoal(&[&["kickstart", "lint"], arguments].concat(), dir.path(), input)
    };
    let good = lint(&["-"], GOOD);
    assert_eq!((good.status.code(), stdout(&good).as_str()), (Some(0), "stdin: no findings\n"));
    let hangs = GOOD.replace("reboot\n", "");
    let found = lint(&["-"], &hangs);
    assert_eq!(found.status.code(), Some(1));
    assert!(stdout(&found).contains("breaks[KS070]"), "{}", stdout(&found));
    assert_eq!(lint(&["-", "--hook", "poweroff"], &hangs).status.code(), Some(0));
    let style = lint(&["-"], &GOOD.replace("94:40:c9:00:00:01", "vmnic0"));
    assert_eq!(style.status.code(), Some(0));
    assert!(stdout(&style).contains("style[KS068]"));
    let old = lint(
        &["-", "--esxi", "6.7"],
        &GOOD.replace("--overwritevmfs", "--overwritevmfs --forceunsupportedinstall"),
    );
    assert!(stdout(&old).contains("KS013"), "{}", stdout(&old));
}

#[test]
fn wrong_use_is_2_and_what_cannot_be_read_is_1() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("good.cfg"), GOOD).unwrap();
    std::fs::write(dir.path().join("empty.cfg"), "").unwrap();
    std::fs::write(dir.path().join("long.cfg"), "#".repeat(65_537)).unwrap();
    std::fs::write(dir.path().join("bytes.cfg"), [GOOD.as_bytes(), b"# \xff\n"].concat()).unwrap();
    let code = |arguments: &[&str]| {
        let output = shoal(&[&["kickstart", "lint"], arguments].concat(), dir.path(), "");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(code(&["good.cfg"]).0, 0);
    assert_eq!(code(&["bytes.cfg"]).0, 1);
    for (file, part) in [("absent.cfg", "cannot be read"), ("empty.cfg", "is empty"), ("long.cfg", "65536")] {
        let (code, said) = code(&["good.cfg", file]);
        assert!(code == 1 && said.contains(file) && said.contains(part), "{said}");
    }
    for arguments in [&[][..], &["good.cfg", "--esxi", "5.5"], &["good.cfg", "--hook", "x"], &["-", "-"]] {
        assert_eq!(code(arguments).0, 2, "{arguments:?}");
    }
    let other = shoal(&["--output", "sarif", "iso", "inspect", "good.cfg"], dir.path(), "");
    assert_eq!(other.status.code(), Some(2));
}

#[test]
fn programs_get_json_or_sarif_and_nobody_a_password() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("ks.cfg"),
        GOOD.replace("--iscrypted $1$kCNu7FHJ$2jPTEQvoE1p5JtSbVCYY61", "hunTer2"),
    )
    .unwrap();
    let lint = |format: &str| {
        let output =
            shoal(&["kickstart", "lint", "ks.cfg", "absent.cfg", "--output", format], dir.path(), "");
        assert_eq!(output.status.code(), Some(1));
        let text = stdout(&output);
        assert!(!text.contains("hunTer2"), "{text}");
        text
    };
    assert!(lint("text").contains("rootpw ********"));
    let json: Value = serde_json::from_str(&lint("json")).unwrap();
    assert_eq!(json["files"][0]["breaks"], true);
    let finding = &json["files"][0]["findings"][0];
    assert_eq!(
        (&finding["rule"], &finding["class"], &finding["line"]),
        (&"KS032".into(), &"breaks".into(), &2.into())
    );
    assert_eq!(json["files"][1]["file"], "absent.cfg");
    let sarif: Value = serde_json::from_str(&lint("sarif")).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "KS032");
}
