//! Hints and names: one match or a reason, and never a name that is not known.

use super::*;

const NAA: &str = "600508B1001C3AD5F0D1A4C2E9B7C311";
const NGUID: &str = "3634393053A1021400253845 00000001";

fn drive(id: &str, vendor: &str, model: &str, serial: &str, gigabytes: u64, protocol: &str) -> Disk {
    Disk {
        id: id.to_owned(),
        vendor: Some(vendor.to_owned()),
        model: Some(model.to_owned()),
        serial: Some(serial.to_owned()),
        bytes: Some(gigabytes * GIGABYTE),
        is_rotational: Some(protocol == "SAS"),
        protocol: Some(protocol.to_owned()),
        ..Disk::default()
    }
}

fn named(mut disk: Disk, format: &str, name: &str) -> Disk {
    disk.identifiers.push((format.to_owned(), name.to_owned()));
    disk
}

fn volume(name: &str, controller: &str, gigabytes: u64) -> Disk {
    Disk {
        id: "239".to_owned(),
        name: Some(name.to_owned()),
        is_volume: true,
        bytes: Some(gigabytes * GIGABYTE),
        is_rotational: Some(false),
        controller: Some(controller.to_owned()),
        ..Disk::default()
    }
}

/// A RAID volume, a BOSS card, a SAS drive, two NVMe drives and a SATA drive.
fn inventory() -> Inventory {
    Inventory {
        disks: vec![
            named(volume("system", "PERC H755 Front", 446), "NAA", NAA),
            volume("VD_R1_1", "BOSS-S2", 223),
            named(
                drive("Bay.0", "SEAGATE", "ST2400MM0159", "WBM0AAAA", 2235, "SAS"),
                "NAA",
                "5000C500D4C6A1B3",
            ),
            named(drive("Bay.1", "Samsung", "MZWLR1T9HBJR", "S4XNNE0M1", 1788, "NVMe"), "NGUID", NGUID),
            named(
                drive("Bay.2", "Samsung", "MZWLR1T9HBJR", "S4XNNE0M2", 1788, "NVMe"),
                "EUI",
                "00-25-38-45-00-00-00-02",
            ),
            named(drive("Bay.3", "Micron", "5300 PRO", "21A0", 894, "SATA"), "NAA", "500A0751F0A1B2C3"),
        ],
        hidden: 2,
    }
}

fn chosen(hints: &str) -> Result<Choice, String> {
    choose(&Hints::parse(hints)?, &inventory())
}

#[test]
fn one_match_gives_the_name_that_esxi_uses() {
    for (hints, device, confidence) in [
        ("model=PERC", "naa.600508b1001c3ad5f0d1a4c2e9b7c311", Confidence::Certain),
        ("system", "naa.600508b1001c3ad5f0d1a4c2e9b7c311", Confidence::Certain),
        (
            "wwn=0x600508b1001c3ad5f0d1a4c2e9b7c311",
            "naa.600508b1001c3ad5f0d1a4c2e9b7c311",
            Confidence::Certain,
        ),
        ("rotational=true", "naa.5000c500d4c6a1b3", Confidence::Likely),
        ("deviceName=/vmfs/devices/disks/naa.5000C500D4C6A1B3", "naa.5000c500d4c6a1b3", Confidence::Likely),
        ("serialNumber=S4XNNE0M1", "eui.3634393053a102140025384500000001", Confidence::Likely),
        ("S4XNNE0M1", "eui.3634393053a102140025384500000001", Confidence::Likely),
        ("vendor=seagate, minSizeGigabytes=2000", "naa.5000c500d4c6a1b3", Confidence::Likely),
    ] {
        let choice = chosen(hints).unwrap_or_else(|why| panic!("{hints}: {why}"));
        assert_eq!((choice.device.as_str(), choice.confidence), (device, confidence), "{hints}");
    }
    let choice = chosen("model=PERC").unwrap();
    assert_eq!(choice.disk, "volume system (on PERC H755 Front, 446 GiB)");
    assert_eq!(choice.hints, "model=PERC");
}

#[test]
fn none_and_several_are_refused_with_what_there_is() {
    let none = chosen("serialNumber=X").unwrap_err();
    for part in [
        "no disk matches `serialNumber=X`",
        "drive Bay.0 (SEAGATE, ST2400MM0159, 2235 GiB, serial number WBM0AAAA)",
        "2 drives not counted",
    ] {
        assert!(none.contains(part), "{part} in {none}");
    }
    let several = chosen("vendor=Samsung").unwrap_err();
    for part in ["2 disks match `vendor=Samsung`", "S4XNNE0M1", "S4XNNE0M2", "add a hint"] {
        assert!(several.contains(part), "{part} in {several}");
    }
    assert!(
        choose(&Hints::parse("x").unwrap(), &Inventory::default()).unwrap_err().contains("reports no disk")
    );
    assert!(chosen("serialNumber=S4XNNE0M").is_err(), "a serial number is compared whole");
    assert!(chosen("rotational=true, minSizeGigabytes=2236").is_err());
}

#[test]
fn a_name_that_is_not_known_is_refused_and_a_filter_proposed() {
    for (hints, parts) in [
        ("BOSS", ["no durable name", "--firstdisk=\"DELLBOSS VD\""]),
        ("vendor=Micron", ["driver of its controller", "--firstdisk=\"5300 PRO\""]),
    ] {
        let why = chosen(hints).unwrap_err();
        assert!(parts.iter().all(|part| why.contains(part)), "{hints}: {why}");
    }
    let bare = drive("1", "a", "b", "c", 1, "NVMe");
    let unseen = named(drive("1", "a", "b/c", "c", 1, "NVMe"), "EUI", "0025384500000002");
    let zeros = named(bare.clone(), "NGUID", &"0".repeat(32));
    for disk in [unseen, bare, zeros] {
        let inventory = Inventory { disks: vec![disk], hidden: 0 };
        assert!(
            choose(&Hints::parse("serialNumber=c").unwrap(), &inventory).unwrap_err().contains("not known")
        );
    }
}

/// Names as hosts list them, and the model number and EUI-64 of their disks.
#[test]
fn an_nvme_disk_with_an_eui_64_is_named_by_model_and_eui_64() {
    for (model, eui, name) in [
        (
            "Dell Ent NVMe P5600 MU U.2 1.6TB",
            "5cd2e406b45c0300",
            "t10.NVMe____Dell_Ent_NVMe_P5600_MU_U.2_1.6TB________00035CB406E4D25C",
        ),
        (
            "WDC WDS100T2B0C-00PXH0",
            "001b444a4630fd64",
            "t10.NVMe____WDC_WDS100T2B0C2D00PXH0__________________64FD30464A441B00",
        ),
        (
            "MTFDLBA1T0THJ-1BP15ABYY",
            "00A07501 50D3195D",
            "t10.NVMe____MTFDLBA1T0THJ2D1BP15ABYY_________________5D19D3500175A000",
        ),
        (
            "Samsung SSD 990 PRO 2TB ",
            "0x0025384451416D3B",
            "t10.NVMe____Samsung_SSD_990_PRO_2TB_________________3B6D415144382500",
        ),
    ] {
        let disk = named(drive("1", "a", model, "c", 1, "NVMe"), "EUI", eui);
        let with_nguid = named(disk.clone(), "NGUID", NGUID);
        for disk in [disk, with_nguid] {
            let inventory = Inventory { disks: vec![disk], hidden: 0 };
            let choice = choose(&Hints::parse("serialNumber=c").unwrap(), &inventory).unwrap();
            assert_eq!((choice.device.as_str(), choice.confidence), (name, Confidence::Likely), "{model}");
        }
    }
}

#[test]
fn invalid_hints_are_refused() {
    for (hints, part) in [
        ("", "needs a hint"),
        ("hctl=1:0:0:0", "takes the hints deviceName"),
        ("model=", "`model` has no value"),
        ("minSizeGigabytes=big", "whole number"),
        ("rotational=maybe", "true or false"),
        ("model=a, b", "of the form"),
    ] {
        let why = chosen(hints).unwrap_err();
        assert!(why.contains(part), "{hints}: {why}");
    }
}

#[test]
fn what_a_bmc_reports_cannot_get_out_of_a_message_or_a_name() {
    let mut disk = drive("a`$(reboot)`\n\u{1b}", "v\"", "m", "s", 1, "SAS");
    disk.identifiers.push(("NAA".to_owned(), "5000c500d4c6a1b3;reboot".to_owned()));
    let why = choose(&Hints::parse("s").unwrap(), &Inventory { disks: vec![disk], hidden: 0 }).unwrap_err();
    assert!(why.contains("drive a$(reboot) (v, m"), "{why}");
}
