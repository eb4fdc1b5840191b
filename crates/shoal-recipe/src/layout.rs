//! The partitions of a disk onto which a root file system is unpacked.
//!
//! Pure. Sizes that depend on the disk are for the agent to compute. Invariant: a [`Layout`] has one partition that
//! gets the rest of the disk, one EFI system partition and one root.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};

use crate::reader::Reader;
use crate::size::parse_size;

const PARTITIONS_MAX: usize = 64;
const SIZE_MIN: u64 = 1 << 20;
const MOUNTPOINT_BYTES_MAX: usize = 255;
/// What the running system mounts there itself.
const KERNEL_FOLDERS: [&str; 4] = ["/dev", "/proc", "/run", "/sys"];

/// In the order on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout(Vec<LayoutPartition>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutPartition {
    pub size: PartitionSize,
    pub type_guid: TypeGuid,
    pub format: PartitionFormat,
    /// Of the file system.
    pub label: Option<String>,
    pub mountpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionSize {
    Bytes(u64),
    /// Of the space that partitions may use, 1 to 99.
    Percent(u8),
    /// What the others leave.
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionFormat {
    Vfat,
    Ext4,
    Xfs,
    Swap,
    /// Left as it is.
    None,
}

/// A GPT partition type, in the order of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeGuid([u8; 16]);

const FORMATS: [(&str, PartitionFormat); 6] = [
    ("vfat", PartitionFormat::Vfat),
    ("ext4", PartitionFormat::Ext4),
    ("xfs", PartitionFormat::Xfs),
    ("swap", PartitionFormat::Swap),
    ("none", PartitionFormat::None),
    ("raw", PartitionFormat::None),
];

/// The codes that sgdisk has for them.
const TYPES: [(&str, TypeGuid); 5] = [
    ("ef00", TypeGuid::ESP),
    ("8300", TypeGuid::LINUX),
    ("8200", TypeGuid::SWAP),
    ("0700", TypeGuid(0xebd0_a0a2_b9e5_4433_87c0_68b6_b726_99c7_u128.to_be_bytes())),
    ("0c01", TypeGuid(0xe3c9_e316_0b5c_4db8_817d_f92d_f002_15ae_u128.to_be_bytes())),
];

impl TypeGuid {
    pub const ESP: TypeGuid = TypeGuid(0xc12a_7328_f81f_11d2_ba4b_00a0_c93e_c93b_u128.to_be_bytes());
    pub const LINUX: TypeGuid = TypeGuid(0x0fc6_3daf_8483_4772_8e79_3d69_d847_7de4_u128.to_be_bytes());
    pub const SWAP: TypeGuid = TypeGuid(0x0657_fd6d_a4ab_43c4_84e5_0933_c84b_4f4f_u128.to_be_bytes());

    /// As a GPT stores it: the first three fields little-endian.
    pub fn stored(self) -> [u8; 16] {
        let mut bytes = self.0;
        bytes[..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        bytes
    }

    fn parse(text: &str) -> Option<TypeGuid> {
        let text = text.to_ascii_lowercase();
        if let Some((_, guid)) = TYPES.iter().find(|(code, _)| *code == text) {
            return Some(*guid);
        }
        let is_grouped = text.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
        let bytes = shoal_base::unhex(&text.replace('-', ""))?;
        let bytes: [u8; 16] = bytes.try_into().ok().filter(|bytes| is_grouped && *bytes != [0; 16])?;
        Some(TypeGuid(bytes))
    }
}

impl fmt::Display for TypeGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = shoal_base::hex(&self.0);
        let (a, b, c, d, e) = (&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]);
        write!(f, "{a}-{b}-{c}-{d}-{e}")
    }
}

impl PartitionSize {
    fn parse(text: &str) -> Option<PartitionSize> {
        let Some(percent) = text.strip_suffix('%') else {
            return parse_size(text).filter(|bytes| *bytes >= SIZE_MIN).map(PartitionSize::Bytes);
        };
        match percent.parse().ok()? {
            100 => Some(PartitionSize::Rest),
            percent @ 1..=99 => Some(PartitionSize::Percent(percent)),
            _ => None,
        }
    }
}

impl fmt::Display for PartitionSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartitionSize::Bytes(bytes) => write!(f, "{bytes}"),
            PartitionSize::Percent(percent) => write!(f, "{percent}%"),
            PartitionSize::Rest => f.write_str("100%"),
        }
    }
}

impl PartitionFormat {
    pub fn name(self) -> &'static str {
        FORMATS.iter().find(|(_, format)| *format == self).map_or("none", |(name, _)| name)
    }

    fn label_bytes_max(self) -> usize {
        match self {
            PartitionFormat::Vfat => 11,
            PartitionFormat::Xfs => 12,
            PartitionFormat::Swap => 15,
            PartitionFormat::Ext4 => 16,
            PartitionFormat::None => 0,
        }
    }

    fn can_be_mounted(self) -> bool {
        matches!(self, PartitionFormat::Vfat | PartitionFormat::Ext4 | PartitionFormat::Xfs)
    }
}

impl LayoutPartition {
    pub fn is_esp(&self) -> bool {
        self.type_guid == TypeGuid::ESP
    }

    pub fn is_root(&self) -> bool {
        self.mountpoint.as_deref() == Some("/")
    }
}

impl Layout {
    pub fn partitions(&self) -> &[LayoutPartition] {
        &self.0
    }

    pub(crate) fn to_json(&self) -> Value {
        let partition = |partition: &LayoutPartition| {
            json!({
                "size": partition.size.to_string(),
                "type_guid": partition.type_guid.to_string(),
                "format": partition.format.name(),
                "label": partition.label,
                "mountpoint": partition.mountpoint,
            })
        };
        self.0.iter().map(partition).collect()
    }

    /// The layout under `key`, if there is one and it has no fault.
    pub(crate) fn read(reader: &Reader<'_>, key: &str) -> Option<Layout> {
        let objects = reader.objects(key, PARTITIONS_MAX)?;
        let read: Vec<Option<LayoutPartition>> = objects.iter().map(read_partition).collect();
        let partitions: Vec<LayoutPartition> = read.into_iter().collect::<Option<_>>()?;
        let faults = whole_faults(&partitions);
        for fault in &faults {
            reader.refuse(key, *fault);
        }
        check_mountpoints(&objects, &partitions);
        faults.is_empty().then_some(Layout(partitions))
    }
}

fn read_partition(reader: &Reader<'_>) -> Option<LayoutPartition> {
    reader.only(
        &["size", "type_guid", "format", "label", "mountpoint"],
        &[("bootable", "the EFI system partition is the one to boot from: leave it out")],
    );
    if !reader.has("size") {
        reader.refuse("size", "is missing: give a size such as 512M, a percentage, or 100% for the rest");
    }
    let size =
        reader.parsed("size", "must be at least 1 MiB, or 1% to 100% (the rest)", PartitionSize::parse);
    let format = read_format(reader);
    let type_guid =
        reader.parsed("type_guid", "must be ef00, 8300, 8200, 0700, 0c01 or a GUID", TypeGuid::parse);
    let (label, mountpoint) = (read_label(reader, format), read_mountpoint(reader));
    let has_fault = reader.has("type_guid") && type_guid.is_none()
        || reader.has("label") && label.is_none()
        || reader.has("mountpoint") && mountpoint.is_none();
    let format = format?;
    if mountpoint.is_some() && !format.can_be_mounted() {
        reader.refuse("mountpoint", format!("`{}` cannot be mounted: use vfat, ext4 or xfs", format.name()));
    }
    let type_guid = type_guid.unwrap_or(match format {
        PartitionFormat::Swap => TypeGuid::SWAP,
        _ => TypeGuid::LINUX,
    });
    let size = size.filter(|_| !has_fault)?;
    Some(LayoutPartition { size, type_guid, format, label, mountpoint })
}

fn read_format(reader: &Reader<'_>) -> Option<PartitionFormat> {
    if !reader.has("format") {
        reader.refuse("format", "is missing: use vfat, ext4, xfs, swap or none");
        return None;
    }
    reader.choice("format", &FORMATS)
}

fn read_label(reader: &Reader<'_>, format: Option<PartitionFormat>) -> Option<String> {
    let max = format.map_or(usize::MAX, PartitionFormat::label_bytes_max);
    let must = match max {
        0 => "has no file system to name: leave it out".to_owned(),
        max => format!("must have 1 to {max} letters, digits, dots, hyphens or underscores"),
    };
    let is_inner = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    reader.parsed("label", &must, |text| {
        let fits = (1..=max).contains(&text.len()) && text.chars().all(is_inner) && !text.starts_with('-');
        fits.then(|| text.to_owned())
    })
}

/// Names that need no quotes in an fstab.
fn read_mountpoint(reader: &Reader<'_>) -> Option<String> {
    let is_name = |name: &str| {
        let is_inner = |c: char| c.is_ascii_alphanumeric() || "._-@+".contains(c);
        !name.is_empty() && name != "." && name != ".." && name.chars().all(is_inner)
    };
    let is_path = |text: &str| match text.strip_prefix('/') {
        Some("") => true,
        Some(rest) => text.len() <= MOUNTPOINT_BYTES_MAX && rest.split('/').all(is_name),
        None => false,
    };
    let mountpoint = reader.parsed(
        "mountpoint",
        "must be an absolute path of letters, digits, dots, hyphens and underscores, without a slash at its end",
        |text| is_path(text).then(|| text.to_owned()),
    )?;
    let is_kernels = |folder: &str| {
        mountpoint.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if let Some(folder) = KERNEL_FOLDERS.into_iter().find(|folder| is_kernels(folder)) {
        reader.refuse("mountpoint", format!("the system mounts {folder} itself"));
        return None;
    }
    Some(mountpoint)
}

/// What is wrong with the list, though each partition is right.
fn whole_faults(partitions: &[LayoutPartition]) -> Vec<&'static str> {
    let count =
        |is: fn(&LayoutPartition) -> bool| partitions.iter().filter(|partition| is(partition)).count();
    let percent = |partition: &LayoutPartition| match partition.size {
        PartitionSize::Percent(percent) => u32::from(percent),
        _ => 0,
    };
    let mut faults = Vec::new();
    if count(|partition| partition.size == PartitionSize::Rest) != 1 {
        faults.push("exactly one partition must have the size 100%, which is the rest of the disk");
    }
    if partitions.iter().map(percent).sum::<u32>() >= 100 {
        faults.push("the percentages leave nothing for the partition of 100%");
    }
    if count(LayoutPartition::is_root) != 1 {
        faults.push("exactly one partition must have the mountpoint /");
    }
    if partitions.iter().any(|partition| partition.is_root() && partition.format == PartitionFormat::Vfat) {
        faults.push("the root partition must be ext4 or xfs");
    }
    if count(LayoutPartition::is_esp) != 1 {
        faults.push("exactly one partition must have the type ef00 (EFI system partition)");
    }
    let is_mounted_fat = |partition: &LayoutPartition| {
        partition.format == PartitionFormat::Vfat && partition.mountpoint.is_some()
    };
    if partitions.iter().any(|partition| partition.is_esp() && !is_mounted_fat(partition)) {
        faults.push("the EFI system partition must be vfat and have a mountpoint, such as /boot/efi");
    }
    faults
}

fn check_mountpoints(objects: &[Reader<'_>], partitions: &[LayoutPartition]) {
    let mut used = BTreeSet::new();
    for (object, partition) in objects.iter().zip(partitions) {
        if partition.mountpoint.as_ref().is_some_and(|mountpoint| !used.insert(mountpoint)) {
            object.refuse("mountpoint", "is the mountpoint of another partition too");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::reader::read_document;

    fn read(layout: Value) -> Result<Layout, Vec<String>> {
        let document: Map<String, Value> = [("partition_layout".to_owned(), layout)].into_iter().collect();
        read_document(&document, |reader| Layout::read(reader, "partition_layout")).map_err(|faults| {
            faults.0.iter().map(|fault| format!("{} {}", fault.pointer, fault.message)).collect()
        })
    }

    fn esp() -> Value {
        json!({ "size": "512M", "type_guid": "EF00", "format": "vfat", "label": "ESP", "mountpoint": "/boot/efi" })
    }

    fn root() -> Value {
        json!({ "size": "100%", "format": "ext4", "mountpoint": "/" })
    }

    #[test]
    fn a_layout_is_read_back_as_it_is_written() {
        let swap = json!({ "size": "10%", "format": "swap" });
        let data = json!({ "size": "2GiB", "format": "xfs", "label": "data", "mountpoint": "/srv/a.b",
            "type_guid": "4d21b016-b534-45c2-a9fb-5c16e091fd2d" });
        let layout = read(json!([esp(), root(), swap, data])).unwrap();
        assert_eq!(read(layout.to_json()).unwrap(), layout);
        let types: Vec<String> =
            layout.partitions().iter().map(|found| found.type_guid.to_string()).collect();
        assert_eq!(
            types,
            [
                "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
                "0fc63daf-8483-4772-8e79-3d69d8477de4",
                "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f",
                "4d21b016-b534-45c2-a9fb-5c16e091fd2d",
            ]
        );
        let sizes: Vec<PartitionSize> = layout.partitions().iter().map(|found| found.size).collect();
        let [m512, g2] = [512 << 20, 2 << 30].map(PartitionSize::Bytes);
        assert_eq!(sizes, [m512, PartitionSize::Rest, PartitionSize::Percent(10), g2]);
        assert_eq!(TypeGuid::ESP.stored()[..8], [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]);
    }

    /// The fault that a layout gets whose first partition is `esp()` with these changes, and whose second is `root()`.
    fn fault_of(changes: Value) -> Vec<String> {
        let mut first = esp();
        for (key, value) in changes.as_object().unwrap() {
            first[key] = value.clone();
        }
        read(json!([first, root()])).unwrap_err()
    }

    #[test]
    fn every_fault_of_a_partition_has_its_pointer() {
        for (changes, pointer, message) in [
            (json!({ "size": null }), "size", "is missing"),
            (json!({ "size": "1K" }), "size", "at least 1 MiB"),
            (json!({ "size": "0%" }), "size", "1% to 100%"),
            (json!({ "size": "101%" }), "size", "1% to 100%"),
            (json!({ "type_guid": "ef02" }), "type_guid", "or a GUID"),
            (json!({ "type_guid": "c12a7328f81f11d2ba4b00a0c93ec93b" }), "type_guid", "or a GUID"),
            (json!({ "format": "btrfs" }), "format", "use vfat, ext4, xfs"),
            (json!({ "format": null }), "format", "is missing"),
            (json!({ "label": "TWELVE-CHARS" }), "label", "1 to 11"),
            (json!({ "label": "-n" }), "label", "1 to 11"),
            (json!({ "mountpoint": "boot" }), "mountpoint", "absolute path"),
            (json!({ "mountpoint": "/boot/../etc" }), "mountpoint", "absolute path"),
            (json!({ "mountpoint": "/boot/" }), "mountpoint", "absolute path"),
            (json!({ "mountpoint": "/a b" }), "mountpoint", "absolute path"),
            (json!({ "mountpoint": "/proc/x" }), "mountpoint", "mounts /proc itself"),
            (json!({ "mountpoint": "/" }), "mountpoint", "another partition"),
            (json!({ "bootable": true }), "bootable", "leave it out"),
            (json!({ "sise": "1G" }), "sise", "`size`"),
        ] {
            let faults = fault_of(changes.clone());
            let at = format!("/partition_layout/0/{pointer} ");
            let at = at.replace(
                "/0/mountpoint ",
                if message.starts_with("another") { "/1/mountpoint " } else { "/0/mountpoint " },
            );
            assert!(
                faults.iter().any(|fault| fault.starts_with(&at) && fault.contains(message)),
                "{changes} {faults:?}"
            );
        }
    }

    #[test]
    fn a_list_needs_a_root_an_esp_and_one_rest() {
        let twice = json!({ "size": "100%", "format": "none" });
        for (layout, message) in [
            (json!([esp(), root(), twice]), "exactly one partition must have the size 100%"),
            (json!([esp()]), "exactly one partition must have the mountpoint /"),
            (json!([root()]), "type ef00"),
            (json!([esp(), esp(), root()]), "type ef00"),
            (json!([{ "size": "1G", "type_guid": "ef00", "format": "none" }, root()]), "must be vfat"),
            (json!([esp(), { "size": "100%", "format": "vfat", "mountpoint": "/" }]), "must be ext4 or xfs"),
            (
                json!([esp(), root(), { "size": "60%", "format": "swap" }, { "size": "40%", "format": "swap" }]),
                "leave nothing",
            ),
            (json!({}), "must be a list of 1 to 64 objects"),
            (json!([]), "must be a list of 1 to 64 objects"),
            (json!([1]), "must be an object"),
        ] {
            let faults = read(layout.clone()).unwrap_err();
            assert!(faults.iter().any(|fault| fault.contains(message)), "{layout} {faults:?}");
        }
        assert!(read(Value::Null).is_err(), "an absent one is none");
    }
}
