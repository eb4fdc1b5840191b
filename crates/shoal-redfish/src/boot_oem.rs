//! Ways to boot once that are not the override: boot options, and Dell's configuration import.
//!
//! Invariant: an import changes the two attributes of the one-time boot and nothing else, and never
//! asks for a restart of the host.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::boot::BootOption;
use super::connection::Connection;
use super::learned::How;
use super::system::{Action, System, last_segment};
use super::{ErrorClass, Op, RedfishError, json as read};

/// How long an import job may take (ironic waits 35 × 15 s).
const IMPORT_TIMEOUT: Duration = Duration::from_secs(600);
/// Boot options that are read.
const OPTIONS_MAX: usize = 64;
/// What firmware calls its virtual CD drive, in lower case.
const VIRTUAL_CDS: [&str; 6] =
    ["virtual cd", "virtual dvd", "virtual optical", "virtual media cd", "vcd-dvd", "virtualcd"];

impl Connection {
    /// The boot option of the virtual CD, where the firmware lists one.
    pub(super) async fn virtual_cd_option(
        &self,
        system: &System,
    ) -> Result<Option<BootOption>, RedfishError> {
        let Some(options) = &system.boot.options else { return Ok(None) };
        let links = self.read_members(Op::BootOptions, options, Some(&system.link)).await?;
        for link in links.iter().take(OPTIONS_MAX) {
            let call = self.get(Op::BootOptions, link, Some(&system.link));
            let option = self.read(&call).await?.body;
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
    /// host that boots by UEFI (AMI 12.84 on Gigabyte): its boot options, all of them UEFI's, say otherwise.
    /// Options that are not there say nothing.
    pub(super) async fn with_true_mode(&self, system: &System) -> Result<System, RedfishError> {
        let boot = &system.boot;
        let is_shown = |word: &Option<String>, wanted: &str| word.as_deref() == Some(wanted);
        let in_doubt =
            is_shown(&boot.mode, "Legacy") && !matches!(boot.enabled.as_deref(), Some("Once" | "Continuous"));
        let Some(options) = boot.options.as_ref().filter(|_| in_doubt) else { return Ok(system.clone()) };
        let is_uefi = match self.all_options_are_uefi(options, system).await {
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
    async fn all_options_are_uefi(&self, options: &str, system: &System) -> Result<bool, RedfishError> {
        let links = self.read_members(Op::BootOptions, options, Some(&system.link)).await?;
        if links.is_empty() || links.len() > OPTIONS_MAX {
            return Ok(false);
        }
        for link in &links {
            let call = self.get(Op::BootOptions, link, Some(&system.link));
            if !is_uefi_option(&self.read(&call).await?.body) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Imports the one-time boot from the virtual CD (dell-py, sushy-oem-idrac), or takes it back.
    pub(super) async fn import_boot(&self, system: &System, on: bool) -> Result<How, RedfishError> {
        let deadline = Instant::now() + IMPORT_TIMEOUT;
        let manager = self.dell_manager(system).await?;
        let Some(target) = manager.import else {
            let what = "boots once from the virtual CD by a configuration import, and offers none";
            return Err(RedfishError::unsupported(Op::BootImport, &system.link, what));
        };
        let (once, device) = if on { ("Enabled", VIRTUAL_DEVICE) } else { ("Disabled", "Normal") };
        let buffer = format!(
            "<SystemConfiguration><Component FQDD=\"{}\">\
             <Attribute Name=\"ServerBoot.1#BootOnce\">{once}</Attribute>\
             <Attribute Name=\"ServerBoot.1#FirstBootDevice\">{device}</Attribute>\
             </Component></SystemConfiguration>",
            manager.id
        );
        let body = json!({"ShareParameters": {"Target": ["IDRAC"]}, "ImportBuffer": buffer});
        let call = self.post(Op::BootImport, &target, &body, Some(&system.link));
        let reply = self.write(&call).await?;
        self.outcome(&call, &reply, deadline).await?;
        self.remembered().hosts.entry(system.link.clone()).or_default().imported = on;
        Ok(How::new(format!("{VIRTUAL_DEVICE} by a configuration import")))
    }

    /// What the attributes say; where there are none, what was imported since the last start.
    pub(super) async fn observe_import(&self, system: &System) -> Result<bool, RedfishError> {
        let manager = self.dell_manager(system).await?;
        let Some(attributes) = manager.attributes else {
            return Ok(self.remembered().hosts.get(&system.link).is_some_and(|host| host.imported));
        };
        let reply = self.read(&self.get(Op::Settings, &attributes, Some(&system.link))).await?;
        let named = reply.body.get("Attributes").unwrap_or(&reply.body);
        Ok(named.get("ServerBoot.1.FirstBootDevice").and_then(Value::as_str) == Some(VIRTUAL_DEVICE))
    }

    async fn dell_manager(&self, system: &System) -> Result<DellManager, RedfishError> {
        let Some(link) = self.managers_of(system).await?.into_iter().next() else {
            return Err(RedfishError::unsupported(
                Op::Manager,
                &system.link,
                "shows no manager of its system",
            ));
        };
        let reply = self.read(&self.get(Op::Manager, &link, Some(&system.link))).await?;
        Ok(parse_dell_manager(&link, &reply.body))
    }
}

/// The virtual CD among Dell's boot devices.
const VIRTUAL_DEVICE: &str = "VCD-DVD";

struct DellManager {
    id: String,
    import: Option<String>,
    attributes: Option<String>,
}

fn parse_dell_manager(link: &str, body: &Value) -> DellManager {
    let id = last_segment(link).to_owned();
    let actions = body.pointer("/Actions/Oem").and_then(Value::as_object).into_iter().flatten();
    let mut imports = actions.filter(|(name, _)| name.ends_with("Manager.ImportSystemConfiguration"));
    let attributes = read::links(body, "/Links/Oem/Dell/DellAttributes");
    DellManager {
        import: imports.next().and_then(|(_, action)| Action::of(action).target),
        // Those of the iDRAC itself: `…/DellAttributes/iDRAC.Embedded.1`, or on older firmware
        // `Managers/iDRAC.Embedded.1/Attributes`.
        attributes: attributes.into_iter().find(|link| link.trim_end_matches("/Attributes").ends_with(&id)),
        id,
    }
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
    use super::*;

    #[test]
    fn virtual_cds_are_told_from_other_boot_options() {
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
    fn options_of_uefi_are_told_from_those_of_a_bios() {
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

    #[test]
    fn a_dell_manager_is_read_in_its_old_and_new_forms() {
        for (action, attributes) in [
            (
                "#OemManager.ImportSystemConfiguration",
                "/m/iDRAC.Embedded.1/Oem/Dell/DellAttributes/iDRAC.Embedded.1",
            ),
            ("OemManager.v1_0_0#OemManager.ImportSystemConfiguration", "/m/iDRAC.Embedded.1/Attributes"),
            ("#EID_674_Manager.ImportSystemConfiguration", "/m/iDRAC.Embedded.1/Attributes"),
        ] {
            let manager = parse_dell_manager(
                "/m/iDRAC.Embedded.1",
                &json!({
                    "Actions": {"Oem": {"#OemManager.ImportSystemConfigurationPreview": {"target": "/p"},
                        action: {"target": "/import"}}},
                    "Links": {"Oem": {"Dell": {"DellAttributes": [{"@odata.id": "/m/System.Embedded.1"},
                        {"@odata.id": attributes}]}}},
                }),
            );
            assert_eq!(manager.import.as_deref(), Some("/import"));
            assert_eq!(manager.attributes.as_deref(), Some(attributes));
        }
    }
}
