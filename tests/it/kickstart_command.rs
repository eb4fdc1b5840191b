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
fn programs_get_json_or_sarif_and_never_a_password() {
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

const TEMPLATE: &str = "rootpw --iscrypted {{ root_password | sha512_crypt }}\n\
    network --device={{ server.labels.mac | mac }} --ip={{ net | ip_host(11) }}\nsend {{ api_token }}\n";

#[test]
fn a_template_is_rendered_from_a_file_of_values_with_secrets_masked() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    file("ks.j2", TEMPLATE);
    let json = r#"{"root_password": "hunTer2", "api_token": "hunTer2", "net": "10.0.0.0/24",
        "server": {"serial": "A1", "labels": {"mac": "9440.c900.0001"}}}"#;
    file("values.json", json);
    file(
        "values.toml",
        "root_password = 'hunTer2'\napi_token = 'hunTer2'\nnet = '10.0.0.0/24'\n[server.labels]\nmac = '94-40-c9-00-00-01'\n",
    );
    let render =
        |arguments: &[&str]| shoal(&[&["kickstart", "render", "ks.j2"], arguments].concat(), dir.path(), "");
    let masked =
        "rootpw --iscrypted ********\nnetwork --device=94:40:c9:00:00:01 --ip=10.0.0.11\nsend ********\n";
    for values in ["values.json", "values.toml"] {
        let output = render(&["--values", values]);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), masked), "{values}");
    }
    let shown = stdout(&render(&["--values", "values.json", "--show-secrets"]));
    assert!(shown.starts_with("rootpw --iscrypted $6$") && shown.ends_with("\nsend hunTer2\n"), "{shown}");
    let json: Value =
        serde_json::from_str(&stdout(&render(&["--values", "values.json", "--output", "json"]))).unwrap();
    assert_eq!((&json["ks_cfg"], &json["masked"]), (&masked.into(), &true.into()));

    file("bad.json", "{\n\"root_password\": \"hunTer2\" hunTer2}");
    file("bad.toml", "a = 1\nroot_password = hunTer2\n");
    file("less.json", r#"{"root_password": "hunTer2"}"#);
    for (arguments, code, part) in [
        (&[][..], 2, "--server"),
        (&["--values", "absent.json"], 2, "cannot read"),
        (&["--values", "bad.json"], 2, "line 2"),
        (&["--values", "bad.toml"], 2, "line 2"),
        (&["--values", "less.json"], 1, "line 2, column 21: `server.labels` is not defined"),
    ] {
        let output = render(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && said.contains(part), "{arguments:?}: {said}");
        assert!(!said.contains("hunTer2"), "{said}");
    }
}

/// No controller is there: what was not confirmed is not sent, and what was finds none.
#[test]
fn a_kickstart_is_judged_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    file("good.cfg", GOOD);
    file("first.cfg", &GOOD.replace("--disk=naa.600508b1001c3ad5", "--firstdisk"));
    file("off.cfg", &GOOD.replace("reboot\n", ""));
    let submit = |arguments: &[&str]| {
        let url = ["--url", "http://127.0.0.1:9", "--token", "x"];
        let output = shoal(&[&["job", "submit"], &url[..], arguments].concat(), dir.path(), "");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = submit(&["--server", "A1", "--ks", "first.cfg"]);
    assert!(code == 2 && said.contains("dangerous[KS043]") && said.contains("add --yes"), "{said}");
    assert!(!said.contains("cannot reach"), "{said}");
    for arguments in [
        &["--server", "A1", "--ks", "first.cfg", "--yes"][..],
        &["--server", "A1", "--ks", "good.cfg"],
        &["--server", "A1", "--ks", "off.cfg", "--hook", "poweroff"],
    ] {
        let (code, said) = submit(arguments);
        assert!(code == 1 && said.contains("cannot reach the controller"), "{arguments:?}: {said}");
    }
    assert!(submit(&["--server", "A1", "--ks", "off.cfg"]).1.contains("breaks[KS070]"));
    for arguments in [
        &[][..],
        &["--ks", "good.cfg"],
        &["--server", "A1"],
        &["recipe.json", "--server", "A1", "--ks", "good.cfg"],
    ] {
        assert_eq!(submit(arguments).0, 2, "{arguments:?}");
    }
}
