//! The machine's disks, as its sysfs shows them.
//!
//! The maintenance system has no udev, so the names of `/dev/disk/by-path` and `by-id` are made here, by udev's
//! rules. Invariant: a name that cannot be made as udev makes it is left out, never made otherwise.

use std::fs;
use std::path::Path;

use shoal_recipe::Transport;

use super::Disk;
use crate::machine::{Machine, names, trimmed};

/// Every disk, the unusable ones too. `medium` is the device of the task medium.
pub fn list(machine: &Machine, medium: &str) -> Vec<Disk> {
    let is_disk = |name: &String| {
        let is_part_of_card = name.starts_with("mmcblk") && (name.contains("boot") || name.contains("rpmb"));
        let folder = machine.path("/sys/block").join(name);
        let is_hidden = trimmed(&folder.join("hidden")).as_deref() == Some("1");
        folder.join("device").exists() && !is_part_of_card && !is_hidden
    };
    let is_drive = |name: &String| name.starts_with("sr") || name.starts_with("fd");
    let found = machine.names("/sys/block").into_iter().filter(|name| is_disk(name) && !is_drive(name));
    found.map(|name| read_disk(machine, name, medium)).collect()
}

fn read_disk(machine: &Machine, name: String, medium: &str) -> Disk {
    let folder = machine.path("/sys/block").join(&name);
    let text = |file: &str| trimmed(&folder.join(file));
    let number = |file: &str| text(file).and_then(|text| text.parse::<u64>().ok());
    let device_path = fs::canonicalize(&folder).unwrap_or_default();
    let path: Vec<String> = device_path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let transport = transport_of(&name, &path);
    let ata = (transport == Some(Transport::Sata)).then(|| ata_identity(&folder)).flatten();
    let scsi_serial = || page(&folder, "device/vpd_pg80").map(|page| ascii(&page));
    let serial = ata.as_ref().map(|(_, serial)| serial.clone());
    let serial = serial.or_else(|| text("device/serial")).or_else(|| text("serial")).or_else(scsi_serial);
    let is_wwn = |text: &String| ["naa.", "eui.", "0x"].iter().any(|prefix| text.starts_with(prefix));
    let wwn = text("wwid").or_else(|| text("device/wwid")).filter(is_wwn);
    let mut disk = Disk {
        size: number("size").unwrap_or_default() * 512,
        sector: number("queue/logical_block_size").unwrap_or(512) as u32,
        model: ata.map(|(model, _)| model).or_else(|| text("device/model")).unwrap_or_default(),
        // Devices on a bus of the machine have its number here.
        vendor: text("device/vendor").filter(|vendor| !vendor.starts_with("0x")).unwrap_or_default(),
        serial: serial.unwrap_or_default(),
        wwn: wwn.unwrap_or_default(),
        by_path: by_path(&folder, &device_path, &path),
        by_ids: Vec::new(),
        hctl: path.iter().rev().find(|part| is_hctl(part)).cloned(),
        transport,
        is_rotational: number("queue/rotational") == Some(1),
        unusable: None,
        name,
    };
    disk.by_ids = by_ids(&disk);
    disk.unusable = why_unusable(machine, &folder, &disk, medium);
    disk
}

fn why_unusable(machine: &Machine, folder: &Path, disk: &Disk, medium: &str) -> Option<String> {
    let is_set = |file: &str| trimmed(&folder.join(file)).as_deref() == Some("1");
    let is_own = |device: &str| {
        let device = device.strip_prefix("/dev/").unwrap_or_default();
        let rest = device.strip_prefix(&disk.name);
        rest.is_some_and(|rest| rest.trim_start_matches('p').chars().all(|c| c.is_ascii_digit()))
    };
    let names_it = |file: &str| {
        let text = machine.text(file).unwrap_or_default();
        text.lines().any(|line| is_own(line.split_whitespace().next().unwrap_or_default()))
    };
    let partitions = names(folder).into_iter().filter(|name| name.starts_with(&disk.name));
    let partition_holders = partitions.flat_map(|partition| names(&folder.join(partition).join("holders")));
    let holder = names(&folder.join("holders")).into_iter().chain(partition_holders).next();
    match () {
        () if disk.name == medium => Some("is the task medium".to_owned()),
        () if disk.size == 0 => Some("has no medium".to_owned()),
        () if is_set("removable") => Some("is removable".to_owned()),
        () if is_set("ro") => Some("is read-only".to_owned()),
        () if holder.is_some() => holder.map(|holder| format!("is in use by {holder}")),
        () if names_it("/proc/mounts") => Some("is mounted".to_owned()),
        () if names_it("/proc/swaps") => Some("is used as swap space".to_owned()),
        () => None,
    }
}

fn transport_of(name: &str, path: &[String]) -> Option<Transport> {
    let has = |prefix: &str| path.iter().any(|part| part.starts_with(prefix));
    let numbered = |prefix: &str| {
        let is = |part: &String| part.strip_prefix(prefix).is_some_and(|rest| rest.parse::<u32>().is_ok());
        path.iter().any(is)
    };
    match () {
        () if name.starts_with("nvme") => Some(Transport::Nvme),
        () if name.starts_with("mmcblk") => Some(Transport::Mmc),
        () if numbered("usb") => Some(Transport::Usb),
        () if numbered("ata") => Some(Transport::Sata),
        () if numbered("session") => Some(Transport::Iscsi),
        () if has("rport-") => Some(Transport::FibreChannel),
        () if has("end_device-") => Some(Transport::Sas),
        () if numbered("virtio") => Some(Transport::Virtio),
        () if path.iter().any(|part| is_hctl(part)) => Some(Transport::Scsi),
        () => None,
    }
}

fn is_hctl(part: &str) -> bool {
    let numbers: Vec<&str> = part.split(':').collect();
    numbers.len() == 4 && numbers.iter().all(|number| number.parse::<u64>().is_ok())
}

fn is_pci(part: &str) -> bool {
    let (address, function) = part.rsplit_once('.').unwrap_or_default();
    let parts: Vec<&str> = address.split(':').collect();
    parts.len() == 3 && !function.is_empty() && parts.iter().all(|part| u32::from_str_radix(part, 16).is_ok())
}

/// As udev's `path_id` makes it, for disks behind PCI.
fn by_path(folder: &Path, device_path: &Path, path: &[String]) -> Option<String> {
    let pci_at = path.iter().rposition(|part| is_pci(part))?;
    let pci = format!("pci-{}", path[pci_at]);
    let below = &path[pci_at + 1..];
    let part_with = |prefix: &str| below.iter().find(|part| part.starts_with(prefix));
    let folder_of = |part: &str| device_path.ancestors().find(|folder| folder.ends_with(part));
    let hctl = below.iter().rev().find(|part| is_hctl(part));
    let numbers: Vec<&str> = hctl.map(|hctl| hctl.split(':').collect()).unwrap_or_default();
    if part_with("nvme").is_some() {
        return trimmed(&folder.join("nsid")).map(|nsid| format!("{pci}-nvme-{nsid}"));
    }
    if let Some(port) = part_with("ata").filter(|_| hctl.is_some()) {
        let number = trimmed(&folder_of(port)?.join("ata_port").join(port).join("port_no"))?;
        return Some(format!("{pci}-ata-{number}"));
    }
    if let Some(end_device) = part_with("end_device-") {
        let sas = folder_of(end_device)?.join("sas_device").join(end_device);
        let is_behind_expander = part_with("expander-").is_some();
        let phy = trimmed(&sas.join("phy_identifier")).filter(|_| !is_behind_expander)?;
        return Some(format!("{pci}-sas-phy{phy}-lun-{}", numbers.get(3)?));
    }
    if part_with("rport-").is_some() || part_with("session").is_some() {
        return None;
    }
    if hctl.is_none() {
        return part_with("virtio").map(|_| pci);
    }
    // udev counts the hosts of one device from zero.
    let host = part_with("host")?;
    let hosts = names(folder_of(host)?.parent()?).into_iter();
    let number = |name: &str| name.strip_prefix("host").and_then(|number| number.parse::<u64>().ok());
    let first = hosts.filter_map(|name| number(&name)).min()?;
    let rest = numbers[1..].join(":");
    let usb = below
        .iter()
        .rev()
        .find(|part| part.contains('-') && part.contains(':') && !part.starts_with("target"));
    let usb = usb.and_then(|part| part.split_once('-')).map(|(_, port)| format!("-usb-0:{port}"));
    Some(format!("{pci}{}-scsi-{}:{rest}", usb.unwrap_or_default(), number(host)? - first))
}

/// As udev's rules for persistent storage make them.
fn by_ids(disk: &Disk) -> Vec<String> {
    let clean = |text: &str| text.split_whitespace().collect::<Vec<_>>().join("_");
    let mut ids = Vec::new();
    let named = |prefix: &str| format!("{prefix}-{}_{}", clean(&disk.model), clean(&disk.serial));
    let has_names = !disk.model.is_empty() && !disk.serial.is_empty();
    match disk.transport {
        Some(Transport::Nvme) => {
            ids.extend(has_names.then(|| named("nvme")));
            ids.extend((!disk.wwn.is_empty()).then(|| format!("nvme-{}", disk.wwn)));
        }
        Some(Transport::Virtio) if disk.hctl.is_none() => {
            ids.extend((!disk.serial.is_empty()).then(|| format!("virtio-{}", disk.serial)));
        }
        Some(Transport::Sata) => ids.extend(has_names.then(|| named("ata"))),
        _ => {}
    }
    if let Some(digits) = disk.wwn.strip_prefix("naa.") {
        ids.push(format!("wwn-0x{digits}"));
        ids.push(format!("scsi-3{digits}"));
    }
    ids
}

/// A page of vital product data, without its header.
fn page(folder: &Path, file: &str) -> Option<Vec<u8>> {
    let bytes = fs::read(folder.join(file)).ok()?;
    bytes.get(4..).map(<[u8]>::to_vec)
}

/// Model and serial number of an ATA disk, from its own identification: SCSI cuts the model at 16 letters.
fn ata_identity(folder: &Path) -> Option<(String, String)> {
    let page = page(folder, "device/vpd_pg89")?;
    let words = page.get(56..56 + 512)?;
    let swapped = |range: std::ops::Range<usize>| {
        let pairs = words[range].chunks_exact(2).flat_map(|pair| [pair[1], pair[0]]);
        ascii(&pairs.collect::<Vec<u8>>())
    };
    let (model, serial) = (swapped(54..94), swapped(20..40));
    (!model.is_empty()).then_some((model, serial))
}

fn ascii(bytes: &[u8]) -> String {
    let text: String =
        bytes.iter().filter(|byte| matches!(byte, 0x20..=0x7e)).map(|byte| char::from(*byte)).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests;
