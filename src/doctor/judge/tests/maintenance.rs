//! The maintenance ISO: a kind a row.

use super::*;
use crate::doctor::MaintenanceIsoFacts;

#[test]
fn what_a_linux_or_windows_job_would_boot() {
    let file = || MaintenanceIsoFacts {
        source: "/srv/m.iso".to_owned(),
        size: Some(40_000_000),
        boots: vec!["BIOS".to_owned(), "UEFI".to_owned()],
        takes_files: true,
        ..MaintenanceIsoFacts::default()
    };
    let url = || MaintenanceIsoFacts {
        source: "https://web/m.iso".to_owned(),
        is_direct: true,
        ..MaintenanceIsoFacts::default()
    };
    let of = |iso: MaintenanceIsoFacts, layout: &'static str| {
        move |facts: &mut CheckFacts| {
            facts.maintenance = Some(iso);
            facts.layout.chosen = text(layout);
        }
    };
    let name = "maintenance";
    expect(|_| {}, name, Skipped, "only ESXi can be installed", "");
    expect(
        of(file(), "dual-cd"),
        name,
        Good,
        "/srv/m.iso (40 MB, BIOS and UEFI, served by the controller; the task on the second CD)",
        "",
    );
    expect(of(file(), "single-cd"), name, Good, "the task on the same CD", "");
    expect(of(file(), "cd-usb"), name, Good, "the task on a USB stick", "");
    expect(of(url(), "dual-cd"), name, Good, "fetched by the BMC", "");
    let report = expect(of(url(), "single-cd"), name, Warning, "with one virtual CD drive", "path of a file");
    assert_eq!(report.verdict, Readiness::ReadySingleCd, "ESXi can be installed");
    let refused = MaintenanceIsoFacts { refused: text("no HTTPS"), ..url() };
    expect(of(refused, "dual-cd"), name, Warning, "does not accept https://web/m.iso (no HTTPS)", "protocol");
    let silent = MaintenanceIsoFacts { problem: text("status 404"), ..url() };
    expect(
        of(silent, "dual-cd"),
        name,
        Warning,
        "cannot be read from here (status 404)",
        "if the BMC reaches it",
    );
    let missing = MaintenanceIsoFacts { problem: text("cannot be read"), ..file() };
    expect(of(missing, "dual-cd"), name, Warning, "would fail", "MAINTENANCE_ISO_URL");
    let short = MaintenanceIsoFacts { takes_files: false, ..file() };
    expect(of(short.clone(), "single-cd"), name, Warning, "neither Rock Ridge nor Joliet", "Rock Ridge");
    expect(of(short, "dual-cd"), name, Good, "", "");
    let uefi = MaintenanceIsoFacts { boots: vec!["UEFI".to_owned()], ..file() };
    expect(of(uefi, "dual-cd"), name, Warning, "boots by UEFI only", "BIOS and UEFI");
    let none = MaintenanceIsoFacts { boots: vec![], ..file() };
    expect(of(none, "dual-cd"), name, Warning, "no boot catalogue", "BIOS and UEFI");
}
