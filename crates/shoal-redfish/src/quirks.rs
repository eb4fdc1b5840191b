//! What a BMC does differently, by name.
//!
//! Pure. The client prefers what a BMC advertises, then one bounded reaction to a typed error; a
//! quirk is for what neither shows. It is computed from what the BMC says of itself (maker, model,
//! firmware, names of its OEM parts) and asked for by name: no call site knows a maker. Invariant:
//! every name has a row in docs/quirks.md, a persona that behaves so, and a test (`tests/it/quirks.rs`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::Vendor;

/// One named behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quirk {
    /// Connections must not be used twice.
    NoKeepAlive,
    /// Slots named `RDOC…` and `Remote…` belong to the BMC's own upload and console features.
    ReservedSlots,
    /// Images are inserted by `HpiLOVirtualMedia.InsertVirtualMedia`.
    IloAction,
    /// Images are inserted by writing an address into a configuration and mounting it.
    IsoConfig,
    /// Images are inserted by adding them to a list and mounting that.
    RemoteMap,
    /// Images are inserted by `VirtualMedia.VmmControl`.
    VmmControl,
    /// An OEM form takes images from NFS and SMB shares, which Shoal does not serve.
    ShareMount,
    /// Virtual media have to be switched on, and are an empty collection until then.
    RemoteMediaSwitch,
    /// The number of virtual CD drives is a setting.
    CdInstances,
    /// The virtual CD drive is a USB one; `Cd` is the drive in the chassis.
    UsbCd,
    /// A boot PATCH that leaves out the mode resets it, or is refused.
    BootWantsMode,
    /// `Cd` never is the virtual drive; a configuration import boots from that.
    BootByImport,
    /// The System's override is read-only; its settings object takes it.
    BootInSettings,
    /// A slot has a switch for a boot from it at the next reset, which works during a self test too.
    BootOnNextReset,
    /// A host that is switched on too soon after it went off may hang.
    PauseBeforeOn,
}

struct QuirkRow {
    quirk: Quirk,
    name: &'static str,
    holds: fn(&Identity) -> bool,
}

const fn row(quirk: Quirk, name: &'static str, holds: fn(&Identity) -> bool) -> QuirkRow {
    QuirkRow { quirk, name, holds }
}

/// Which BMC has which quirk; the sources are in docs/quirks.md.
static TABLE: [QuirkRow; 15] = [
    row(Quirk::NoKeepAlive, "no-keep-alive", |bmc| {
        bmc.vendor == Vendor::Hpe && bmc.generation().is_none_or(|ilo| ilo < 7)
    }),
    row(Quirk::ReservedSlots, "reserved-slots", |bmc| bmc.vendor == Vendor::Lenovo),
    row(Quirk::IloAction, "ilo-action", |bmc| bmc.names("HpiLOVirtualMedia.InsertVirtualMedia")),
    row(Quirk::IsoConfig, "iso-config", |bmc| bmc.names("VirtualMediaConfig")),
    row(Quirk::RemoteMap, "remote-map", |bmc| {
        bmc.vendor == Vendor::Lenovo
            && bmc.names("RemoteMap")
            && bmc.generation().is_none()
            && bmc.release().is_none_or(|release| release < (2, 50))
    }),
    row(Quirk::VmmControl, "vmm-control", |bmc| bmc.names("VirtualMedia.VmmControl")),
    row(Quirk::ShareMount, "share-mount", |bmc| bmc.names("FTSComputerSystem.VirtualMedia")),
    row(Quirk::RemoteMediaSwitch, "remote-media-switch", |bmc| {
        bmc.names("AMIVirtualMedia.EnableRMedia") || bmc.names("VirtualMedia.EnableRMedia")
    }),
    row(Quirk::CdInstances, "cd-instances", |bmc| {
        bmc.names("AMIVirtualMedia.ConfigureCDInstance") || bmc.names("VirtualMedia.ConfigureCDInstance")
    }),
    row(Quirk::UsbCd, "usb-cd", |bmc| is_aten(bmc) && !bmc.model.starts_with("ARS-111GL-NHR")),
    row(Quirk::BootWantsMode, "boot-wants-mode", |bmc| is_aten(bmc) || bmc.vendor == Vendor::Ami),
    row(Quirk::BootByImport, "boot-by-import", boots_by_import),
    row(Quirk::BootInSettings, "boot-in-settings", |bmc| {
        bmc.vendor == Vendor::Dell && bmc.generation().is_some_and(|generation| generation >= 17)
    }),
    row(Quirk::BootOnNextReset, "boot-on-next-reset", |bmc| bmc.names("BootOnNextServerReset")),
    row(Quirk::PauseBeforeOn, "pause-before-on", |bmc| {
        bmc.vendor == Vendor::Lenovo && bmc.model.contains("SR675 V3")
    }),
];

/// Supermicro's own firmware, not its OpenBMC machines.
fn is_aten(bmc: &Identity) -> bool {
    bmc.vendor == Vendor::Supermicro && !bmc.manager.eq_ignore_ascii_case("OpenBmc")
}

/// iDRAC8, and iDRAC9 before 4.40.10, before 6.00 on AMD machines, whose model ends in 5.
fn boots_by_import(bmc: &Identity) -> bool {
    let is_amd = bmc.model.split_whitespace().any(|word| {
        let digits = word.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        digits.len() == 4 && digits.ends_with('5') && digits.chars().all(|c| c.is_ascii_digit())
    });
    let since = if is_amd { [6, 0, 0] } else { [4, 40, 10] };
    bmc.vendor == Vendor::Dell
        && match bmc.generation() {
            Some(..=13) => true,
            Some(14..=16) => bmc.version().is_some_and(|version| version < since),
            _ => false,
        }
}

impl Quirk {
    /// Every quirk.
    pub fn all() -> impl Iterator<Item = Quirk> {
        TABLE.iter().map(|row| row.quirk)
    }

    pub fn name(self) -> &'static str {
        TABLE.iter().find(|row| row.quirk == self).map_or("", |row| row.name)
    }
}

/// The quirks of one BMC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quirks(BTreeSet<Quirk>);

impl Quirks {
    /// What follows from `identity`, without those that an operator or a test has ruled out.
    pub fn of(identity: &Identity, ruled_out: &[Quirk]) -> Quirks {
        let held = TABLE.iter().filter(|row| !ruled_out.contains(&row.quirk) && (row.holds)(identity));
        Quirks(held.map(|row| row.quirk).collect())
    }

    pub fn has(&self, quirk: Quirk) -> bool {
        self.0.contains(&quirk)
    }

    /// Why a BMC with these has no drive for our images, and what to do about it.
    pub fn without_drives(&self) -> Option<&'static str> {
        self.has(Quirk::ShareMount).then_some(
            "this BMC (Fujitsu iRMC) mounts images by a form of its own, from NFS and SMB shares, which Shoal does \
             not serve: update it to a firmware with standard VirtualMedia slots, or look whether its licence for \
             virtual media is there",
        )
    }

    pub fn iter(&self) -> impl Iterator<Item = Quirk> {
        self.0.iter().copied()
    }
}

/// What a BMC has said of itself so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub vendor: Vendor,
    /// `Model` of the host's System.
    pub model: String,
    /// `Model` of its Manager, such as `iLO 5` or `14G Monolithic`.
    pub manager: String,
    /// `FirmwareVersion` of its Manager.
    pub firmware: String,
    /// Names of OEM members and OEM actions that were seen anywhere.
    oem: BTreeSet<String>,
}

/// Names that are kept of one BMC.
const NAMES_MAX: usize = 1024;

impl Identity {
    /// Nothing but the maker is known.
    pub fn of(vendor: Vendor) -> Identity {
        Identity { vendor, ..Identity::default() }
    }

    /// Keeps the OEM names of one resource: members of `Oem` two levels deep, its actions, and the
    /// OEM actions of the standard place.
    pub fn learn(&mut self, resource: &Value) {
        let mut names = Vec::new();
        for (name, part) in members(resource.get("Oem")) {
            names.push(name);
            names.extend(members(Some(part)).map(|(name, _)| name));
            names.extend(members(part.get("Actions")).map(|(name, _)| name));
        }
        names.extend(members(resource.pointer("/Actions/Oem")).map(|(name, _)| name));
        let room = NAMES_MAX.saturating_sub(self.oem.len());
        self.oem.extend(names.into_iter().take(room).map(|name| bare(name).to_owned()));
    }

    fn names(&self, name: &str) -> bool {
        self.oem.contains(name)
    }

    /// The first number in the Manager's model: 5 of `iLO 5`, 14 of `14G Monolithic`.
    fn generation(&self) -> Option<u32> {
        let digits = self.manager.split(|c: char| !c.is_ascii_digit());
        digits.filter(|part| !part.is_empty()).find_map(|part| part.parse().ok())
    }

    /// The two numbers of a version among words: 2.83 of `TGBT42S 2.83 2023-07-05`.
    fn release(&self) -> Option<(u32, u32)> {
        let parse = |word: &str| {
            let (major, minor) = word.split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        };
        self.firmware.split_whitespace().find_map(parse)
    }

    /// The first three numbers of the firmware's version.
    fn version(&self) -> Option<[u32; 3]> {
        let parts = self.firmware.split('.').take(3).map(str::parse);
        let parts: Vec<u32> = parts.collect::<Result<_, _>>().ok()?;
        parts.try_into().ok()
    }
}

fn members(value: Option<&Value>) -> impl Iterator<Item = (&str, &Value)> {
    let members = value.and_then(Value::as_object).into_iter().flatten();
    members.map(|(name, value)| (name.as_str(), value))
}

/// `#OemManager.v1_4_0.OemManager#OemManager.Import…` (iDRAC9 6.00) is `OemManager.Import…`.
fn bare(name: &str) -> &str {
    name.rsplit('#').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(identity: &Identity) -> Vec<&'static str> {
        Quirks::of(identity, &[]).iter().map(Quirk::name).collect()
    }

    fn identity(vendor: Vendor, model: &str, manager: &str, firmware: &str) -> Identity {
        let [model, manager, firmware] = [model, manager, firmware].map(str::to_owned);
        Identity { vendor, model, manager, firmware, ..Identity::default() }
    }

    #[test]
    fn every_quirk_has_one_row_and_one_name() {
        let names: BTreeSet<&str> = Quirk::all().map(Quirk::name).collect();
        assert_eq!(names.len(), TABLE.len());
        assert!(names.iter().all(|name| !name.is_empty()));
        assert_eq!(Quirk::all().collect::<BTreeSet<_>>().len(), TABLE.len());
    }

    #[test]
    fn nothing_is_assumed_of_a_bmc_that_says_nothing() {
        assert_eq!(names(&Identity::default()), Vec::<&str>::new());
        assert_eq!(names(&identity(Vendor::Dell, "PowerEdge R750", "", "")), Vec::<&str>::new());
    }

    #[test]
    fn idracs_differ_by_generation_firmware_and_processor() {
        for (model, manager, firmware, expected) in [
            ("PowerEdge R730", "13G Monolithic", "2.75.75.75", vec!["boot-by-import"]),
            ("PowerEdge R740", "14G Monolithic", "4.40.00.00", vec!["boot-by-import"]),
            ("PowerEdge R740", "14G Monolithic", "4.40.10.00", vec![]),
            ("PowerEdge R7525", "14G Monolithic", "5.10.50.00", vec!["boot-by-import"]),
            ("PowerEdge R750", "15G Monolithic", "6.00.30.00", vec![]),
            ("PowerEdge R7625", "16G Monolithic", "7.10.30.00", vec![]),
            ("PowerEdge R670", "17G Monolithic", "1.20.50.52", vec!["boot-in-settings"]),
        ] {
            let found = names(&identity(Vendor::Dell, model, manager, firmware));
            assert_eq!(found, expected, "{model} {manager} {firmware}");
        }
    }

    #[test]
    fn supermicros_openbmc_machines_are_not_like_the_others() {
        let own = identity(Vendor::Supermicro, "SYS-821GE-TNHR", "ASPEED", "11.01.01");
        assert_eq!(names(&own), ["usb-cd", "boot-wants-mode"]);
        let exception = identity(Vendor::Supermicro, "ARS-111GL-NHR", "ASPEED", "1.0");
        assert_eq!(names(&exception), ["boot-wants-mode"]);
        let openbmc = identity(Vendor::Supermicro, "GB NVL", "OpenBmc", "70.01.00.09");
        assert_eq!(names(&openbmc), Vec::<&str>::new());
    }

    #[test]
    fn oem_names_are_found_at_every_depth_that_is_used() {
        let mut seen = identity(Vendor::Other, "", "", "");
        seen.learn(&json!({
            "Oem": {
                "Hp": {"Actions": {"#HpiLOVirtualMedia.InsertVirtualMedia": {"target": "/x"}}},
                "VirtualMediaConfig": {"@odata.id": "/y"},
                "Hpe": {"BootOnNextServerReset": false},
            },
            "Actions": {"Oem": {"#AMIVirtualMedia.EnableRMedia": {}, "v1#AMIVirtualMedia.ConfigureCDInstance": {}}},
        }));
        let expected =
            ["ilo-action", "iso-config", "remote-media-switch", "cd-instances", "boot-on-next-reset"];
        assert_eq!(names(&seen), expected);
        for nothing in [json!(null), json!([]), json!({"Oem": 3, "Actions": {"Oem": "x"}})] {
            seen.learn(&nothing);
        }
    }

    #[test]
    fn xccs_differ_by_release_and_generation() {
        for (manager, firmware, expected) in [
            ("Lenovo XClarity Controller", "CDI327H 2.10 2018-10-19", true),
            ("Lenovo XClarity Controller", "CDI338M 2.50 2019-03-22", false),
            ("Lenovo XClarity Controller", "TGBT42S 2.83 2023-07-05", false),
            ("Lenovo XClarity Controller", "", true),
            ("Lenovo XClarity Controller 3", "IHX304E 1.20 2025-04-02", false),
        ] {
            let mut seen = identity(Vendor::Lenovo, "ThinkSystem SR650", manager, firmware);
            seen.learn(&json!({"Oem": {"Lenovo": {"RemoteMap": {"@odata.id": "/map"}}}}));
            assert_eq!(names(&seen).contains(&"remote-map"), expected, "{manager} {firmware}");
        }
    }

    #[test]
    fn a_quirk_that_is_ruled_out_does_not_hold() {
        let lenovo = identity(Vendor::Lenovo, "ThinkSystem SR675 V3", "Lenovo XClarity Controller", "");
        assert_eq!(names(&lenovo), ["reserved-slots", "pause-before-on"]);
        let rest = Quirks::of(&lenovo, &[Quirk::PauseBeforeOn]);
        assert_eq!(rest.iter().map(Quirk::name).collect::<Vec<_>>(), ["reserved-slots"]);
    }
}
