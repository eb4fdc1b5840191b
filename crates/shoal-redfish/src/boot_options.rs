//! The firmware's boot options: which is the virtual CD's, and whether they are UEFI's.
//!
//! They are read where the override has no target for the virtual CD, and where the BMC may show the wrong mode.
//! Nothing is changed. Invariant: at most [`OPTIONS_MAX`] are read; a longer list decides nothing.

use serde_json::Value;

use super::session::Session;
use super::system::{System, last_segment};
use super::{ErrorClass, Op, RedfishError, json as read};

/// Boot options that are read.
const OPTIONS_MAX: usize = 64;
/// What firmware calls its virtual CD drive, in lower case.
const VIRTUAL_CDS: [&str; 6] =
    ["virtual cd", "virtual dvd", "virtual optical", "virtual media cd", "vcd-dvd", "virtualcd"];

/// One entry of the firmware's boot menu.
pub(super) struct BootOption {
    pub(super) reference: String,
    pub(super) path: String,
}

/// The boot option of the virtual CD, where the firmware lists one.
pub(super) async fn virtual_cd_option(
    session: &Session,
    system: &System,
) -> Result<Option<BootOption>, RedfishError> {
    let Some(options) = &system.boot.options else { return Ok(None) };
    let links = session.read_members(Op::BootOptions, options, Some(&system.link)).await?;
    for link in links.iter().take(OPTIONS_MAX) {
        let option = session.read_link(Op::BootOptions, link, Some(&system.link)).await?.body;
        if is_virtual_cd(&option) {
            let reference = read::text(&option, "/BootOptionReference");
            return Ok(Some(BootOption {
                reference: reference.unwrap_or_else(|| last_segment(link).to_owned()),
                path: read::text(&option, "/UefiDevicePath").unwrap_or_default(),
            }));
        }
    }
    Ok(None)
}

/// The system with the mode that its host boots in. While the override is disabled, a BMC may show `Legacy` for a
/// host that boots by UEFI (AMI 12.84 on Gigabyte): its boot options are all UEFI's.
/// Absent options decide nothing.
pub(super) async fn with_true_mode(session: &Session, system: &System) -> Result<System, RedfishError> {
    let boot = &system.boot;
    let is_shown = |word: &Option<String>, wanted: &str| word.as_deref() == Some(wanted);
    let in_doubt =
        is_shown(&boot.mode, "Legacy") && !matches!(boot.enabled.as_deref(), Some("Once" | "Continuous"));
    let Some(options) = boot.options.as_ref().filter(|_| in_doubt) else { return Ok(system.clone()) };
    let is_uefi = match all_options_are_uefi(session, options, system).await {
        Err(error) if error.class() == ErrorClass::Retry => return Err(error),
        read => read.unwrap_or(false),
    };
    let mut system = system.clone();
    if is_uefi {
        system.boot.mode = Some("UEFI".to_owned());
    }
    Ok(system)
}

/// False of a list that is empty or too long to be read.
async fn all_options_are_uefi(
    session: &Session,
    options: &str,
    system: &System,
) -> Result<bool, RedfishError> {
    let links = session.read_members(Op::BootOptions, options, Some(&system.link)).await?;
    if links.is_empty() || links.len() > OPTIONS_MAX {
        return Ok(false);
    }
    for link in &links {
        let option = session.read_link(Op::BootOptions, link, Some(&system.link)).await?.body;
        if !is_uefi_option(&option) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// By its path, or where it has none by its name. `BBS(…)` is a BIOS device in the terms of UEFI.
fn is_uefi_option(option: &Value) -> bool {
    match read::text(option, "/UefiDevicePath") {
        Some(path) => !path.to_ascii_uppercase().starts_with("BBS("),
        None => {
            let names =
                ["/DisplayName", "/Name"].into_iter().filter_map(|pointer| read::text(option, pointer));
            names.map(|name| name.to_ascii_uppercase()).any(|name| name.starts_with("UEFI"))
        }
    }
}

fn is_virtual_cd(option: &Value) -> bool {
    let texts = ["/DisplayName", "/Name", "/Description", "/UefiDevicePath"];
    let texts = texts.into_iter().filter_map(|pointer| read::text(option, pointer));
    let enabled = read::flag(option, "/BootOptionEnabled").unwrap_or(true);
    enabled
        && texts
            .map(|text| text.to_ascii_lowercase())
            .any(|text| VIRTUAL_CDS.iter().any(|name| text.contains(name)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn virtual_cds_are_distinguished_from_other_boot_options() {
        for (name, expected) in [
            ("UEFI: AMI Virtual CDROM0 1.00", true),
            ("UEFI OS (ATEN Virtual CDROM YS0J)", true),
            ("iDRAC Virtual Optical Drive", true),
            ("HPE Virtual DVD", true),
            ("AMI Virtual HDisk0 1.00", false),
            ("SATA CD-ROM", false),
        ] {
            assert_eq!(is_virtual_cd(&json!({ "DisplayName": name })), expected, "{name}");
        }
        assert!(!is_virtual_cd(&json!({"Name": "Virtual CD", "BootOptionEnabled": false})));
    }

    #[test]
    fn options_of_uefi_are_distinguished_from_those_of_a_bios() {
        for (option, expected) in [
            (json!({"DisplayName": "UEFI: Built-in EFI Shell"}), true),
            (json!({"Name": "Boot0003", "UefiDevicePath": "PciRoot(0x0)/Pci(0x1,0x0)"}), true),
            (json!({"DisplayName": "Network", "UefiDevicePath": "BBS(Network,,0x0)"}), false),
            (json!({"DisplayName": "HDD: SAMSUNG"}), false),
            (json!({}), false),
        ] {
            assert_eq!(is_uefi_option(&option), expected, "{option}");
        }
    }
}
