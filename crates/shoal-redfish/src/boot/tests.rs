//! Which words reach the virtual CD.

use super::super::quirks::Identity;
use super::super::service::Vendor;
use super::*;

fn boot(allowed: &[&str], mode: Option<&str>) -> Boot {
    Boot {
        target: Some("None".to_owned()),
        allowed_targets: allowed.iter().map(|target| target.to_string()).collect(),
        mode: mode.map(str::to_owned),
        ..Boot::default()
    }
}

fn quirks(vendor: Vendor) -> Quirks {
    Quirks::of(&Identity::of(vendor), &[])
}

#[test]
fn the_target_follows_what_is_offered_and_what_the_drive_is() {
    let other = quirks(Vendor::Other);
    let aten = quirks(Vendor::Supermicro);
    for (allowed, mode, quirks, expected) in [
        (&[][..], None, &other, vec!["Cd"]),
        (&["None", "Cd", "UsbCd"], None, &other, vec!["Cd"]),
        (&["None", "UsbCd"], None, &other, vec!["UsbCd"]),
        (&["None", "Pxe"], None, &other, vec![]),
        // X12, X13; X10; an older one.
        (&["Cd", "UsbCd", "UefiBootNext"], Some("UEFI"), &aten, vec!["UsbCd"]),
        (&["UsbCd", "UefiCd", "UefiUsbCd"], None, &aten, vec!["UefiUsbCd", "UsbCd"]),
        (&["UsbCd", "UefiUsbCd"], Some("Legacy"), &aten, vec!["UsbCd", "UefiUsbCd"]),
        (&["None", "Cd"], None, &aten, vec!["Cd"]),
    ] {
        assert_eq!(cd_targets(&boot(allowed, mode), quirks), expected, "{allowed:?} {mode:?}");
    }
}

#[test]
fn armed_is_what_reaches_the_virtual_cd() {
    let armed = |boot: &Boot, enabled: &str, target: &str, vendor| {
        let boot = Boot { enabled: Some(enabled.into()), target: Some(target.into()), ..boot.clone() };
        boots_from_cd(&boot, &quirks(vendor))
    };
    let plain = boot(&[], None);
    assert!(armed(&plain, "Once", "Cd", Vendor::Other));
    assert!(armed(&plain, "Continuous", "Cd", Vendor::Other));
    assert!(!armed(&plain, "Disabled", "Cd", Vendor::Other));
    assert!(!armed(&plain, "Once", "Hdd", Vendor::Other));
    // `Cd` is the empty drive in the chassis there.
    let x13 = boot(&["Cd", "UsbCd"], Some("UEFI"));
    assert!(!armed(&x13, "Once", "Cd", Vendor::Supermicro));
    assert!(armed(&x13, "Once", "UsbCd", Vendor::Supermicro));
    let options = Boot { next: Some(Some("Boot0007".into())), ..boot(&["UefiBootNext"], None) };
    assert!(armed(&options, "Once", "UefiBootNext", Vendor::Other));
    assert!(!armed(&Boot { next: Some(None), ..options }, "Once", "UefiBootNext", Vendor::Other));
}

#[test]
fn the_mode_is_sent_as_it_is_and_only_where_it_would_be_lost() {
    let only = Boot { allowed_modes: vec!["UEFI".into()], ..Boot::default() };
    for (boot, vendor, expected) in [
        (boot(&[], Some("UEFI")), Vendor::Other, None),
        (boot(&[], Some("Legacy")), Vendor::Supermicro, Some("Legacy")),
        (boot(&[], None), Vendor::Supermicro, None),
        (only, Vendor::Ami, Some("UEFI")),
    ] {
        assert_eq!(mode_to_send(&boot, &quirks(vendor)).as_deref(), expected);
    }
}
