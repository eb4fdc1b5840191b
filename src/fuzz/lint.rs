//! The linter and the templates of kickstarts, over any bytes.
//!
//! Invariant: a finding lies inside the text, no report holds what follows `rootpw`, and rendering ends
//! within its bounds.

use serde_json::{Map, json};
use shoal_kickstart::report::{self, FileReport, Judged, masked_text};
use shoal_kickstart::template::{self, Disk, Inventory, RENDERED_BYTES_MAX, ServerFacts, Values};
use shoal_kickstart::{Hook, Options, Version, lint as judge, syntax};

use crate::domain::KICKSTART_BYTES_MAX;

const PLANTED: &str = "pLanTed-7731";

pub fn lint(data: &[u8]) {
    if data.len() > KICKSTART_BYTES_MAX {
        return;
    }
    let file = syntax::parse(data);
    assert_eq!(syntax::print(&file), data, "nothing is lost");
    for (version, hook) in [("6.7", Hook::None), ("8.0.3", Hook::Webhook), ("9.0", Hook::OwnPoweroff)] {
        reports(data, Options { version: version.parse::<Version>().ok(), hook });
    }
    masks(data);
    if let Ok(text) = std::str::from_utf8(data) {
        renders(text);
    }
}

fn reports(data: &[u8], options: Options) {
    let findings = judge(data, options);
    let lines = data.split(|byte| *byte == b'\n').count();
    for finding in &findings.found {
        assert!(finding.span.start <= finding.span.end && finding.span.end <= data.len());
        assert!((1..=lines).contains(&finding.line) && finding.column >= 1);
    }
    let judged = Judged { name: "ks.cfg", source: data, findings: &findings };
    assert!(!report::text(&judged, false).contains('\u{1b}'));
    assert!(serde_json::to_value(FileReport::new("ks.cfg", &findings)).is_ok());
    report::sarif(&[judged], "0");
}

/// A password in front of whatever follows.
fn masks(data: &[u8]) {
    let planted = [format!("rootpw {PLANTED}\n").as_bytes(), data].concat();
    assert!(!masked_text(&planted, &[]).contains(PLANTED));
}

fn renders(text: &str) {
    let variables = Map::from_iter([("a".to_owned(), json!(PLANTED)), ("b".to_owned(), json!([1, "x"]))]);
    let server = ServerFacts { serial: "A1".to_owned(), ..ServerFacts::default() };
    let disk = Disk {
        id: "Bay.0".to_owned(),
        serial: Some("S1".to_owned()),
        protocol: Some("NVMe".to_owned()),
        identifiers: vec![("NGUID".to_owned(), "36343930530000010025384500000001".to_owned())],
        ..Disk::default()
    };
    let inventory = Inventory { disks: vec![disk.clone(), disk], hidden: 1 };
    let values =
        Values { variables: &variables, server: Some(&server), disks: Ok(&inventory), seed: [0; 32] };
    match template::render(text, &values) {
        Ok(rendered) => assert!(rendered.text.len() <= RENDERED_BYTES_MAX),
        Err(error) => assert!(!error.to_string().contains(PLANTED) || text.contains(PLANTED)),
    }
}
