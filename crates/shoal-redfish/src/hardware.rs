//! The hardware of a host as its BMC reports it: processors, memory, network interfaces, drives, firmware.
//!
//! It decides nothing, and no installation needs it: a part that the BMC does not report is absent, and one that it
//! refuses to show is named in [`Hardware::unread`]. A BMC that stops answering is an error, since what is missing then
//! would look like hardware that is not there. Invariants: texts and lists are bounded, since they are stored; nothing
//! here is a secret.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::RedfishErrorKind as Kind;
use super::service::ROOT;
use super::session::Session;
use super::storage::{Disk, StorageReader};
use super::system::System;
use super::{Bmc, Op, RedfishError, json};

/// Resources that are read beside those of `Storage`; a Dell with many cards has some eighty firmware entries.
const PARTS_MAX: usize = 300;
/// Tries of each read after the first.
const RETRIES: u32 = 1;
/// So much of a text is kept.
pub(super) const TEXT_CHARS_MAX: usize = 200;
/// So many reasons are kept.
const UNREAD_MAX: usize = 16;

/// What a BMC reports of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "testing", derive(schemars::JsonSchema))]
pub struct Hardware {
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub sku: Option<String>,
    pub bios_version: Option<String>,
    /// Of the BMC itself.
    pub bmc_version: Option<String>,
    pub processors: Processors,
    pub memory_mib: Option<u64>,
    pub nics: Vec<Nic>,
    pub drives: Vec<Drive>,
    pub firmware: Vec<Firmware>,
    /// What the BMC did not show, and why, a sentence each.
    pub unread: Vec<String>,
}

/// The processors together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "testing", derive(schemars::JsonSchema))]
pub struct Processors {
    pub count: Option<u64>,
    pub model: Option<String>,
    pub cores: Option<u64>,
    pub threads: Option<u64>,
}

/// A network interface of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "testing", derive(schemars::JsonSchema))]
pub struct Nic {
    pub id: String,
    pub name: Option<String>,
    /// Lower case with colons.
    pub mac: String,
    pub speed_mbps: Option<u64>,
    pub has_link: Option<bool>,
}

/// A drive, or a volume of several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "testing", derive(schemars::JsonSchema))]
pub struct Drive {
    pub id: String,
    pub is_volume: bool,
    pub vendor: Option<String>,
    pub model: Option<String>,
    pub serial: Option<String>,
    pub bytes: Option<u64>,
    /// `SAS`, `SATA`, `NVMe` …
    pub protocol: Option<String>,
    pub is_rotational: Option<bool>,
    pub controller: Option<String>,
}

/// An entry of the firmware inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "testing", derive(schemars::JsonSchema))]
pub struct Firmware {
    pub name: String,
    pub version: String,
}

impl Bmc {
    /// The hardware of a system, as far as the BMC reports it.
    pub async fn observe_hardware(&self, system: &System) -> Result<Hardware, RedfishError> {
        let session = &self.0.session;
        let mut reader =
            HardwareReader { session, system: &system.link, left: PARTS_MAX, unread: Vec::new() };
        // Without it there is nothing to report.
        let body = session.read_link(Op::Hardware, &system.link, Some(&system.link)).await?.body;
        let managers = self.0.discovery.managers_of(system).await.unwrap_or_default();
        let manager = match managers.first() {
            Some(link) => reader.read(link).await?,
            None => Value::Null,
        };
        let root = reader.read(ROOT).await?;
        Ok(Hardware {
            manufacturer: short(&body, "/Manufacturer"),
            model: short(&body, "/Model"),
            sku: short(&body, "/SKU"),
            bios_version: short(&body, "/BiosVersion"),
            bmc_version: short(&manager, "/FirmwareVersion"),
            processors: reader.processors(&body).await?,
            memory_mib: reader.memory(&body).await?,
            nics: reader.nics(&body).await?,
            drives: reader.drives(&body).await?,
            firmware: reader.firmware(&root).await?,
            unread: reader.unread,
        })
    }
}

/// Reads parts of one host, and counts them.
struct HardwareReader<'b> {
    session: &'b Session,
    system: &'b str,
    left: usize,
    unread: Vec<String>,
}

impl HardwareReader<'_> {
    /// A part, or nothing where the BMC refuses it or too many were read.
    async fn read(&mut self, link: &str) -> Result<Value, RedfishError> {
        let Some(left) = self.left.checked_sub(1) else {
            self.note(format!("more than {PARTS_MAX} resources: the others were not read"));
            return Ok(Value::Null);
        };
        self.left = left;
        let call = self.session.http.get(Op::Hardware, link, Some(self.system));
        match self.session.read_up_to(&call, RETRIES).await {
            Ok(reply) => Ok(reply.body),
            Err(error) => self.excuse(error).map(|()| Value::Null),
        }
    }

    /// The members of the collection at `pointer`, in their order; read one by one unless they are there whole.
    async fn members(&mut self, of: &Value, pointer: &str) -> Result<Vec<Value>, RedfishError> {
        let Some(collection) = json::link(of, pointer) else { return Ok(Vec::new()) };
        let links = match self.session.read_members(Op::Hardware, &collection, Some(self.system)).await {
            Ok(links) => links,
            Err(error) => return self.excuse(error).map(|()| Vec::new()),
        };
        let mut members = Vec::with_capacity(links.len());
        for link in links {
            members.push(self.read(&link).await?);
        }
        Ok(members.into_iter().filter(Value::is_object).collect())
    }

    /// Notes that a part was not shown; an error that concerns more than this part stays one.
    fn excuse(&mut self, error: RedfishError) -> Result<(), RedfishError> {
        match error.kind {
            Kind::Refused { .. }
            | Kind::Garbled
            | Kind::TooLarge { .. }
            | Kind::Unsupported { .. }
            | Kind::OtherOrigin { .. } => {
                self.note(format!("{}: {}", error.path, error.kind));
                Ok(())
            }
            _ => Err(error),
        }
    }

    fn note(&mut self, why: String) {
        let why: String = why.chars().take(TEXT_CHARS_MAX).collect();
        if self.unread.len() < UNREAD_MAX && !self.unread.contains(&why) {
            self.unread.push(why);
        }
    }

    /// From the System's summary, else from its processors.
    async fn processors(&mut self, system: &Value) -> Result<Processors, RedfishError> {
        let number = |name: &str| number(system, &format!("/ProcessorSummary/{name}"));
        let summary = Processors {
            count: number("Count"),
            model: short(system, "/ProcessorSummary/Model"),
            cores: number("CoreCount"),
            threads: number("LogicalProcessorCount"),
        };
        if summary.count.is_some() {
            return Ok(summary);
        }
        let members = self.members(system, "/Processors").await?;
        let is_cpu = |cpu: &&Value| json::text(cpu, "/ProcessorType").is_none_or(|kind| kind == "CPU");
        let cpus: Vec<&Value> = members.iter().filter(is_cpu).filter(|cpu| is_present(cpu)).collect();
        Ok(Processors {
            count: (!cpus.is_empty()).then_some(cpus.len() as u64),
            model: cpus.iter().find_map(|cpu| short(cpu, "/Model")),
            cores: sum(&cpus, "/TotalCores"),
            threads: sum(&cpus, "/TotalThreads"),
        })
    }

    /// From the System's summary, else from its modules.
    async fn memory(&mut self, system: &Value) -> Result<Option<u64>, RedfishError> {
        let summary = json::text(system, "/MemorySummary/TotalSystemMemoryGiB");
        if let Some(mib) = summary.and_then(|gib| mib_of_gib(&gib)) {
            return Ok(Some(mib));
        }
        let members = self.members(system, "/Memory").await?;
        Ok(sum(&members.iter().filter(|module| is_present(module)).collect::<Vec<_>>(), "/CapacityMiB"))
    }

    /// The System's Ethernet interfaces; where it shows none with an address, the functions of its network adapters.
    async fn nics(&mut self, system: &Value) -> Result<Vec<Nic>, RedfishError> {
        let interfaces = self.members(system, "/EthernetInterfaces").await?;
        let mut nics: Vec<Nic> = interfaces.iter().filter_map(nic).collect();
        if nics.is_empty() {
            for adapter in self.members(system, "/NetworkInterfaces").await? {
                let functions = self.members(&adapter, "/NetworkDeviceFunctions").await?;
                nics.extend(functions.iter().filter_map(nic));
            }
        }
        Ok(nics)
    }

    /// Every drive and volume, those included that a RAID controller hides from the host.
    async fn drives(&mut self, system: &Value) -> Result<Vec<Drive>, RedfishError> {
        let Some(collection) = json::link(system, "/Storage") else { return Ok(Vec::new()) };
        let mut storage = StorageReader::new(self.session, self.system);
        let units = match storage.members(&collection).await {
            Ok(units) => units,
            Err(error) => return self.excuse(error).map(|()| Vec::new()),
        };
        let mut drives = Vec::new();
        for unit in units {
            match storage.unit(&unit).await {
                Ok(unit) => drives.extend(unit.into_all().into_iter().map(drive)),
                Err(error) => self.excuse(error)?,
            }
        }
        Ok(drives)
    }

    async fn firmware(&mut self, root: &Value) -> Result<Vec<Firmware>, RedfishError> {
        let Some(service) = json::link(root, "/UpdateService") else { return Ok(Vec::new()) };
        let service = self.read(&service).await?;
        let members = self.members(&service, "/FirmwareInventory").await?;
        let mut firmware: Vec<Firmware> = members.iter().filter_map(firmware_entry).collect();
        firmware.sort();
        firmware.dedup();
        Ok(firmware)
    }
}

/// A body as either part of which there are many.
#[cfg(any(test, fuzzing, feature = "testing"))]
pub(super) fn parse_parts(body: &Value) -> (Option<Nic>, Option<Firmware>) {
    (nic(body), firmware_entry(body))
}

fn nic(body: &Value) -> Option<Nic> {
    let macs =
        ["/PermanentMACAddress", "/MACAddress", "/Ethernet/PermanentMACAddress", "/Ethernet/MACAddress"];
    let mac = macs.into_iter().find_map(|pointer| plain_mac(&json::text(body, pointer)?))?;
    Some(Nic {
        id: short(body, "/Id").unwrap_or_default(),
        name: short(body, "/Description").or_else(|| short(body, "/Name")),
        mac,
        speed_mbps: number(body, "/SpeedMbps"),
        has_link: json::text(body, "/LinkStatus").map(|link| link == "LinkUp"),
    })
}

/// With colons and in lower case; none of an address that is not set.
fn plain_mac(text: &str) -> Option<String> {
    let digits: Vec<u8> =
        text.bytes().filter(u8::is_ascii_hexdigit).map(|c| c.to_ascii_lowercase()).collect();
    let is_mac = digits.len() == 12 && text.len() <= 17 && digits.iter().any(|digit| *digit != b'0');
    let pairs = digits.chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned());
    is_mac.then(|| pairs.collect::<Vec<_>>().join(":"))
}

fn drive(disk: Disk) -> Drive {
    let short = |text: Option<String>| text.map(|text| clipped(&text));
    Drive {
        id: clipped(&disk.id),
        is_volume: disk.is_volume,
        vendor: short(disk.vendor),
        model: short(disk.model),
        serial: short(disk.serial),
        bytes: disk.bytes,
        protocol: short(disk.protocol),
        is_rotational: disk.is_rotational,
        controller: short(disk.controller),
    }
}

/// What is installed: Dell also lists what was, and what could be.
fn firmware_entry(body: &Value) -> Option<Firmware> {
    let id = json::text(body, "/Id").unwrap_or_default();
    if id.starts_with("Previous-") || id.starts_with("Available-") {
        return None;
    }
    let name = short(body, "/Name").unwrap_or_else(|| clipped(&id));
    Some(Firmware { name, version: short(body, "/Version")? })
}

fn is_present(part: &Value) -> bool {
    json::text(part, "/Status/State").is_none_or(|state| state != "Absent")
}

fn mib_of_gib(gib: &str) -> Option<u64> {
    let mib = gib.parse::<f64>().ok()? * 1024.0;
    (0.0..1e12).contains(&mib).then_some(mib.round() as u64)
}

fn sum(parts: &[&Value], pointer: &str) -> Option<u64> {
    let numbers: Vec<u64> = parts.iter().filter_map(|part| number(part, pointer)).collect();
    (!numbers.is_empty()).then(|| numbers.into_iter().fold(0, u64::saturating_add))
}

fn number(body: &Value, pointer: &str) -> Option<u64> {
    json::text(body, pointer)?.parse().ok()
}

fn short(body: &Value, pointer: &str) -> Option<String> {
    json::text(body, pointer).map(|text| clipped(&text))
}

fn clipped(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_are_written_one_way_and_unset_ones_are_none() {
        for text in ["00:0A:F7:11:22:33", "00-0a-f7-11-22-33", "000AF7112233", "000a.f711.2233"] {
            assert_eq!(plain_mac(text).as_deref(), Some("00:0a:f7:11:22:33"), "{text}");
        }
        for text in ["", "00:00:00:00:00:00", "80:00:02:08:fe:80:00:00", "n/a", "00:0A:F7:11:22"] {
            assert_eq!(plain_mac(text), None, "{text}");
        }
    }

    #[test]
    fn an_interface_is_read_of_either_resource() {
        let ethernet = json!({"Id": "NIC.1", "Name": "Ethernet", "MACAddress": "00:0A:F7:11:22:33",
            "SpeedMbps": "25000", "LinkStatus": "LinkUp"});
        let function = json!({"Id": "1", "Ethernet": {"MACAddress": "00:0A:F7:11:22:33"}});
        let expected = Nic {
            id: "NIC.1".into(),
            name: Some("Ethernet".into()),
            mac: "00:0a:f7:11:22:33".into(),
            speed_mbps: Some(25_000),
            has_link: Some(true),
        };
        assert_eq!(nic(&ethernet), Some(expected));
        assert_eq!(nic(&function).unwrap().mac, "00:0a:f7:11:22:33");
        assert_eq!(nic(&json!({"Id": "usb0", "MACAddress": null})), None);
    }

    #[test]
    fn firmware_that_is_not_installed_is_left_out() {
        let entry = |id: &str| firmware_entry(&json!({"Id": id, "Name": "BIOS", "Version": "1.8.2"}));
        assert!(entry("Installed-159-1.8.2__BIOS").is_some() && entry("1").is_some());
        assert!(entry("Previous-159-1.7.0__BIOS").is_none() && entry("Available-159-1.9.0").is_none());
        assert_eq!(firmware_entry(&json!({"Id": "1", "Name": "x", "Version": ""})), None);
    }

    #[test]
    fn memory_may_be_a_fraction_of_a_gibibyte() {
        for (text, mib) in
            [("512", Some(524_288)), ("0.5", Some(512)), ("-1", None), ("NaN", None), ("x", None)]
        {
            assert_eq!(mib_of_gib(text), mib, "{text}");
        }
    }

    #[test]
    fn texts_are_bounded() {
        assert_eq!(short(&json!({"a": "x".repeat(9_000)}), "/a").unwrap().len(), TEXT_CHARS_MAX);
    }
}
