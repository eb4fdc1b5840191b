//! The reports: what they show, what they hide, and that SARIF is SARIF.

mod sarif_schema;

use proptest::prelude::*;

use super::*;
use crate::lint::{Options, lint};
use crate::rules;
use crate::sample::{GOOD, kickstartish};

fn shown(source: &str) -> String {
    let findings = lint(source.as_bytes(), Options::default());
    text(&Judged { name: "ks.cfg", source: source.as_bytes(), findings: &findings }, false)
}

#[test]
fn a_finding_is_shown_with_its_line_marked_and_a_remedy() {
    let text = shown(&GOOD.replace("reboot\n", "reboot --noEject\n"));
    for part in [
        "lost[KS012]: the option is spelled `--noeject`",
        "ks.cfg:5:8",
        "5 | reboot --noEject",
        "^^^^^^^^^",
        "help: Write it",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(shown(GOOD).contains("ks.cfg: no findings"));
}

#[test]
fn what_is_allowed_is_said() {
    let text = shown(&format!("# shoal: allow KS070 watched\n{}", GOOD.replace("reboot\n", "")));
    assert!(text.contains("allowed: KS070 (breaks) in line 5: watched"), "{text}");
}

#[test]
fn colour_is_for_terminals_alone() {
    let source = format!("{GOOD}\x1b[31mselinux\n");
    let findings = lint(source.as_bytes(), Options::default());
    let judged = Judged { name: "a\x1bb", source: source.as_bytes(), findings: &findings };
    assert!(!text(&judged, false).contains('\x1b'));
    assert!(text(&judged, true).contains("\x1b["));
}

/// Every place where a secret may stand, in lines that all have findings.
const SECRETS: &str = "rootpw hunTer2\nrootpw --iscrypted hunTer2 # hunTer2\nrootpw hunTer2 hunTer2 --hunTer2\n\
rootpw 'hunTer2\nserialnum --esx=hunTer2\nvmserialnum hunTer2\nrootpwd hunTer2\nroot --password=hunTer2\n\
network --bootproto=dhcp --password=hunTer2 # pass: hunTer2\ninstall url http://root:hunTer2@10.0.0.1/\nrootpw \\\nhunTer2\n\
rootpw #hunTer2\nrootpw \u{fc}hunTer2\n%post\nesxcli system account set -i root -p hunTer2 --password hunTer2\n\
echo root:$6$hunTer2 >> /etc/shadow\npoweroff # token hunTer2\n";

#[test]
fn no_report_holds_a_secret() {
    let findings = lint(SECRETS.as_bytes(), Options::default());
    assert!(findings.found.len() > 20);
    let judged = Judged { name: "ks.cfg", source: SECRETS.as_bytes(), findings: &findings };
    let json = serde_json::to_string(&FileReport::new("ks.cfg", &findings)).unwrap();
    for report in [text(&judged, false), text(&judged, true), json, sarif(&[judged], "1").to_string()] {
        let line = report.lines().find(|line| line.contains("hunTer2") || line.contains("unTer"));
        assert_eq!(line, None);
    }
    assert!(shown(SECRETS).contains("rootpw ********"));
}

#[test]
fn sarif_conforms_to_its_published_schema() {
    let mut judged = Vec::new();
    let texts: Vec<Vec<u8>> = rules::all().map(|rule| rule.examples()[0].clone()).collect();
    let findings: Vec<Findings> = texts.iter().map(|text| lint(text, Options::default())).collect();
    for (source, findings) in texts.iter().zip(&findings) {
        judged.push(Judged { name: "kick starts/ü?.cfg", source, findings });
    }
    let allowed = lint(b"# shoal: allow KS070 x\n", Options::default());
    judged.push(Judged { name: "b", source: b"# shoal: allow KS070 x\n", findings: &allowed });
    let sarif = sarif(&judged, "0.1.0");
    assert_eq!(sarif_schema::faults(&sarif), Vec::<String>::new());
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert!(results.len() > rules::all().count());
    assert!(results.iter().any(|result| result["suppressions"][0]["justification"] == "x"));
}

#[test]
fn what_is_not_sarif_is_noticed() {
    let findings = lint(b"reboot\n", Options::default());
    let good = sarif(&[Judged { name: "ks.cfg", source: b"reboot\n", findings: &findings }], "1");
    assert_eq!(sarif_schema::faults(&good), Vec::<String>::new());
    for (pointer, value) in [
        ("/version", serde_json::json!("2.0.0")),
        ("/runs/0/results/0", serde_json::json!({ "ruleId": "KS001", "ruleIndex": 0 })),
        ("/runs/0/results/0/level", serde_json::json!("fatal")),
        ("/runs/0/results/0/ruleIndex", serde_json::json!(0)),
        ("/runs/0/results/0/message", serde_json::json!({ "text": "x", "txt": "x" })),
        ("/runs/0/results/0/locations/0/physicalLocation/region/startLine", serde_json::json!(0)),
        ("/runs/0/results/0/locations/0/physicalLocation/artifactLocation/uri", serde_json::json!("a b")),
        ("/runs/0/tool", serde_json::json!(1)),
        ("/runs/0/results", serde_json::json!({})),
    ] {
        let mut wrong = good.clone();
        *wrong.pointer_mut(pointer).expect(pointer) = value;
        let faults = sarif_schema::faults(&wrong);
        assert!(faults.iter().any(|fault| fault.contains(pointer)), "{pointer}: {faults:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_reported(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let findings = lint(&bytes, Options::default());
        let judged = Judged { name: "x", source: &bytes, findings: &findings };
        prop_assert!(!text(&judged, false).contains('\x1b'));
    }

    #[test]
    fn near_kickstarts_are_reported(source in kickstartish()) {
        let findings = lint(source.as_bytes(), Options::default());
        let judged = Judged { name: "x", source: source.as_bytes(), findings: &findings };
        prop_assert!(text(&judged, false).contains("x: "));
        sarif(&[judged], "1");
    }
}

#[test]
fn a_masked_text_keeps_its_lines_and_no_secret() {
    let masked = masked_text(SECRETS.as_bytes(), &[]);
    assert!(!masked.contains("hunTer2"), "{masked}");
    assert_eq!(masked.lines().count(), SECRETS.lines().count());
    let source = "network --bootproto=dhcp\n%post\nsend 10.0.0.1 hunTer2\n";
    assert_eq!(masked_text(source.as_bytes(), &["hunTer2", ""]), source.replace("hunTer2", "********"));
    assert!(is_secret_name("vcenter_password") && is_secret_name("API_TOKEN") && !is_secret_name("hostname"));
}
