//! Which disk an image is written to, as a recipe names it.
//!
//! It matches nothing itself: the agent knows the disks. Invariant: a selector names something; hints without a
//! hint do not parse.

use serde_json::{Map, Value, json};

use crate::reader::Reader;
use crate::size::parse_size;

/// The disk to write to. Exactly one disk of the machine must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskSelector {
    /// `/dev/disk/by-path/…`, `/dev/disk/by-id/…`, or a kernel name such as `/dev/sda`, which is accepted only where
    /// the machine has one candidate.
    Device(String),
    Hints(DiskHints),
}

/// Properties that the disk must have, all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskHints {
    pub serial: Option<String>,
    /// Compared without prefix, case and separators.
    pub wwn: Option<String>,
    /// A part of the model's name, in any case.
    pub model: Option<String>,
    pub vendor: Option<String>,
    /// The name below `/dev/disk/by-path/`.
    pub by_path: Option<String>,
    /// The name below `/dev/disk/by-id/`.
    pub by_id: Option<String>,
    /// Host, channel, target and LUN, such as `0:2:0:0`.
    pub hctl: Option<String>,
    pub transport: Option<Transport>,
    pub rotational: Option<bool>,
    /// In bytes, inclusive.
    pub min_size: Option<u64>,
    pub max_size: Option<u64>,
}

/// How a disk is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    Nvme,
    Sata,
    Sas,
    Scsi,
    Virtio,
    Usb,
    Mmc,
    FibreChannel,
    Iscsi,
}

const TRANSPORTS: [(&str, Transport); 9] = [
    ("nvme", Transport::Nvme),
    ("sata", Transport::Sata),
    ("sas", Transport::Sas),
    ("scsi", Transport::Scsi),
    ("virtio", Transport::Virtio),
    ("usb", Transport::Usb),
    ("mmc", Transport::Mmc),
    ("fc", Transport::FibreChannel),
    ("iscsi", Transport::Iscsi),
];

const HINTS: [&str; 11] = [
    "serial",
    "wwn",
    "model",
    "vendor",
    "by_path",
    "by_id",
    "hctl",
    "transport",
    "rotational",
    "min_size",
    "max_size",
];
/// Keys that other systems use.
const OTHER_NAMES: [(&str, &str); 5] = [
    ("tran", "use `transport`"),
    ("name", "kernel names change between boots: use `by_path`, `serial` or `wwn`"),
    ("deviceName", "kernel names change between boots: use `by_path`, `serial` or `wwn`"),
    ("size", "use `min_size` and `max_size`"),
    ("minSizeGigabytes", "use `min_size`, such as \"400GB\""),
];

impl Transport {
    pub fn name(self) -> &'static str {
        TRANSPORTS.iter().find(|(_, transport)| *transport == self).map_or("", |(name, _)| name)
    }
}

/// A WWN in the form in which two are compared: hex digits in lower case.
pub fn normalize_wwn(text: &str) -> String {
    let text = text.trim().to_ascii_lowercase();
    let text = ["naa.", "eui.", "0x", "wwn-0x", "wwn-"]
        .iter()
        .fold(text.as_str(), |text, prefix| text.strip_prefix(prefix).unwrap_or(text));
    text.chars().filter(|c| !matches!(c, ':' | '-' | ' ')).collect()
}

impl DiskSelector {
    pub(crate) fn read(reader: &Reader<'_>, key: &str) -> Option<DiskSelector> {
        match reader.value(key) {
            None => {
                reader.refuse(key, "is missing: name the disk by `by_path`, `serial`, `wwn` or other hints");
                None
            }
            Some(Value::String(device)) => read_device(reader, key, device),
            Some(_) => Some(DiskSelector::Hints(DiskHints::read(&reader.object(key)?)?)),
        }
    }

    pub fn to_json(&self) -> Value {
        match self {
            DiskSelector::Device(device) => json!(device),
            DiskSelector::Hints(hints) => hints.to_json(),
        }
    }
}

fn read_device(reader: &Reader<'_>, key: &str, device: &str) -> Option<DiskSelector> {
    let name = device.strip_prefix("/dev/").unwrap_or_default();
    let plain = |name: &str| !name.is_empty() && !name.contains('/') && !name.contains("..");
    let name = ["disk/by-path/", "disk/by-id/"]
        .iter()
        .fold(name, |name, link| name.strip_prefix(link).unwrap_or(name));
    if device.starts_with(r"\\.\") {
        reader
            .refuse(key, "is a name of Windows; the image is written from Linux: use hints such as `serial`");
    } else if !plain(name) {
        reader.refuse(key, "must be /dev/disk/by-path/…, /dev/disk/by-id/… or an object of hints");
    } else {
        return Some(DiskSelector::Device(device.to_owned()));
    }
    None
}

impl DiskHints {
    fn read(reader: &Reader<'_>) -> Option<DiskHints> {
        reader.only(&HINTS, &OTHER_NAMES);
        let text = |key| {
            let must = "must have 1 to 256 characters";
            let given =
                |text: &str| (!text.trim().is_empty() && text.len() <= 256).then(|| text.trim().to_owned());
            reader.parsed(key, must, given)
        };
        let hints = DiskHints {
            serial: text("serial"),
            wwn: text("wwn"),
            model: text("model"),
            vendor: text("vendor"),
            by_path: text("by_path").map(|path| link_name(&path, "/dev/disk/by-path/")),
            by_id: text("by_id").map(|id| link_name(&id, "/dev/disk/by-id/")),
            hctl: reader.parsed("hctl", "must be host:channel:target:lun, such as 0:2:0:0", parse_hctl),
            transport: reader.choice("transport", &TRANSPORTS),
            rotational: reader.has("rotational").then(|| reader.flag("rotational")),
            min_size: read_size(reader, "min_size"),
            max_size: read_size(reader, "max_size"),
        };
        if hints.min_size.zip(hints.max_size).is_some_and(|(min, max)| min > max) {
            reader.refuse("max_size", "is smaller than `min_size`");
        }
        if !HINTS.iter().any(|hint| reader.has(hint)) {
            reader.refuse("", "has no hint: give `by_path`, `serial`, `wwn` or others");
            return None;
        }
        Some(hints)
    }

    fn to_json(&self) -> Value {
        let texts = [
            ("serial", &self.serial),
            ("wwn", &self.wwn),
            ("model", &self.model),
            ("vendor", &self.vendor),
            ("by_path", &self.by_path),
            ("by_id", &self.by_id),
            ("hctl", &self.hctl),
        ];
        let texts = texts.into_iter().filter_map(|(key, text)| Some((key, json!(text.as_ref()?))));
        let others = [
            ("transport", self.transport.map(|transport| json!(transport.name()))),
            ("rotational", self.rotational.map(Value::Bool)),
            ("min_size", self.min_size.map(|bytes| json!(bytes))),
            ("max_size", self.max_size.map(|bytes| json!(bytes))),
        ];
        let others = others.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let object: Map<String, Value> =
            texts.chain(others).map(|(key, value)| (key.to_owned(), value)).collect();
        Value::Object(object)
    }
}

fn link_name(text: &str, folder: &str) -> String {
    text.strip_prefix(folder).unwrap_or(text).to_owned()
}

fn parse_hctl(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split(':').collect();
    (parts.len() == 4 && parts.iter().all(|part| part.parse::<u32>().is_ok())).then(|| text.to_owned())
}

fn read_size(reader: &Reader<'_>, key: &str) -> Option<u64> {
    match reader.value(key)? {
        Value::Number(bytes) if bytes.as_u64().is_some() => bytes.as_u64(),
        Value::Number(_) => {
            reader.refuse(key, "must be a whole number of bytes, or a text such as \"480GB\" or \"447GiB\"");
            None
        }
        _ => reader.parsed(
            key,
            "must be a number of bytes, or a text such as \"480GB\" or \"447GiB\"",
            parse_size,
        ),
    }
}
