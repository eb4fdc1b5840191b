//! Exactly one disk, or a list of those that there are.
//!
//! Pure. Invariant: no order among disks matters, so two that match equally are both refused.

use shoal_recipe::{DiskHints, DiskSelector, FailedStep, Transport, normalize_wwn};

use super::Disk;
use crate::failure::Failure;

/// The disk that the recipe means.
pub fn choose<'a>(disks: &'a [Disk], selector: &DiskSelector) -> Result<&'a Disk, Failure> {
    let usable = disks.iter().filter(|disk| disk.unusable.is_none() && !is_unasked(disk, selector));
    let candidates: Vec<&Disk> = usable.collect();
    let matching: Vec<&Disk> = candidates.iter().copied().filter(|disk| matches(disk, selector)).collect();
    match (matching.as_slice(), kernel_name(selector)) {
        ([_], Some(name)) if candidates.len() > 1 => Err(refused(
            disks,
            &format!(
                "target_disk /dev/{name} is not unique: kernel names change between boots and this machine has {} \
                 disks; use by_path, serial or wwn",
                candidates.len()
            ),
        )),
        ([disk], _) => Ok(disk),
        ([], _) => Err(refused(disks, "no disk matches target_disk")),
        (several, _) => Err(refused(disks, &format!("{} disks match target_disk", several.len()))),
    }
}

/// Whether there is a disk to choose, be it one of several.
pub fn has_match(disks: &[Disk], selector: &DiskSelector) -> bool {
    disks.iter().any(|disk| disk.unusable.is_none() && !is_unasked(disk, selector) && matches(disk, selector))
}

fn refused(disks: &[Disk], reason: &str) -> Failure {
    let lines: Vec<String> = disks.iter().map(ToString::to_string).collect();
    let list = if lines.is_empty() { "none".to_owned() } else { lines.join("; ") };
    Failure::new(FailedStep::Disk, format!("{reason}. Disks of this machine: {list}"))
}

/// The name of a selector such as `/dev/sda`.
fn kernel_name(selector: &DiskSelector) -> Option<&str> {
    match selector {
        DiskSelector::Device(device) => device.strip_prefix("/dev/").filter(|name| !name.contains('/')),
        DiskSelector::Hints(_) => None,
    }
}

/// Disks of a storage network may belong to other machines, and USB disks to people or the BMC, unless the recipe
/// names one.
fn is_unasked(disk: &Disk, selector: &DiskSelector) -> bool {
    let is_odd = matches!(disk.transport, Some(Transport::Iscsi | Transport::FibreChannel | Transport::Usb));
    let is_asked = match selector {
        DiskSelector::Device(_) => kernel_name(selector).is_none(),
        DiskSelector::Hints(hints) => {
            hints.transport == disk.transport || hints.by_path.is_some() || hints.by_id.is_some()
        }
    };
    is_odd && !is_asked
}

fn matches(disk: &Disk, selector: &DiskSelector) -> bool {
    match selector {
        DiskSelector::Hints(hints) => matches_hints(disk, hints),
        DiskSelector::Device(device) => {
            let link = |folder: &str| device.strip_prefix(folder);
            if let Some(path) = link("/dev/disk/by-path/") {
                disk.by_path.as_deref() == Some(path)
            } else if let Some(id) = link("/dev/disk/by-id/") {
                has_id(disk, id)
            } else {
                kernel_name(selector) == Some(disk.name.as_str())
            }
        }
    }
}

fn has_id(disk: &Disk, id: &str) -> bool {
    disk.by_ids.iter().any(|known| known == id)
}

fn matches_hints(disk: &Disk, hints: &DiskHints) -> bool {
    let contains = |value: &str, part: &str| value.to_lowercase().contains(&part.to_lowercase());
    let is = |hint: &Option<String>, test: &dyn Fn(&str) -> bool| hint.as_deref().is_none_or(test);
    is(&hints.serial, &|serial| disk.serial == serial)
        && is(&hints.wwn, &|wwn| !disk.wwn.is_empty() && normalize_wwn(&disk.wwn) == normalize_wwn(wwn))
        && is(&hints.model, &|model| contains(&disk.model, model))
        && is(&hints.vendor, &|vendor| contains(&disk.vendor, vendor))
        && is(&hints.by_path, &|path| disk.by_path.as_deref() == Some(path))
        && is(&hints.by_id, &|id| has_id(disk, id))
        && is(&hints.hctl, &|hctl| disk.hctl.as_deref() == Some(hctl))
        && hints.transport.is_none_or(|transport| disk.transport == Some(transport))
        && hints.rotational.is_none_or(|rotational| disk.is_rotational == rotational)
        && hints.min_size.is_none_or(|min| disk.size >= min)
        && hints.max_size.is_none_or(|max| disk.size <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str, serial: &str, gb: u64) -> Disk {
        Disk {
            name: name.to_owned(),
            serial: serial.to_owned(),
            size: gb * 1_000_000_000,
            sector: 512,
            model: "SSD 960".to_owned(),
            wwn: format!("naa.5000C500{serial}"),
            by_path: Some(format!("pci-0000:3b:00.0-ata-{serial}")),
            by_ids: vec![format!("wwn-0x5000c500{serial}")],
            transport: Some(Transport::Sata),
            ..Disk::default()
        }
    }

    fn hints(change: impl FnOnce(&mut DiskHints)) -> DiskSelector {
        let mut hints = DiskHints::default();
        change(&mut hints);
        DiskSelector::Hints(hints)
    }

    fn name(disks: &[Disk], selector: &DiskSelector) -> Result<String, String> {
        choose(disks, selector).map(|disk| disk.name.clone()).map_err(|failure| failure.message)
    }

    #[test]
    fn each_hint_selects() {
        let mut disks = [disk("sda", "01", 480), disk("sdb", "02", 960)];
        disks[1].vendor = "ACME".to_owned();
        disks[1].model = "Rust 9000".to_owned();
        disks[1].is_rotational = true;
        disks[1].hctl = Some("0:2:0:0".to_owned());
        disks[1].transport = Some(Transport::Sas);
        let text = |text: &str| Some(text.to_owned());
        let selectors = [
            hints(|hints| hints.serial = text("02")),
            hints(|hints| hints.wwn = text("0x5000c50002")),
            hints(|hints| hints.model = text("rust")),
            hints(|hints| hints.vendor = text("acme")),
            hints(|hints| hints.by_path = text("pci-0000:3b:00.0-ata-02")),
            hints(|hints| hints.by_id = text("wwn-0x5000c50002")),
            hints(|hints| hints.hctl = text("0:2:0:0")),
            hints(|hints| hints.transport = Some(Transport::Sas)),
            hints(|hints| hints.rotational = Some(true)),
            hints(|hints| hints.min_size = Some(500_000_000_000)),
            DiskSelector::Device("/dev/disk/by-path/pci-0000:3b:00.0-ata-02".to_owned()),
            DiskSelector::Device("/dev/disk/by-id/wwn-0x5000c50002".to_owned()),
        ];
        for selector in selectors {
            assert_eq!(name(&disks, &selector), Ok("sdb".to_owned()), "{selector:?}");
        }
        assert_eq!(
            name(&disks, &hints(|hints| hints.max_size = Some(500_000_000_000))),
            Ok("sda".to_owned())
        );
    }

    #[test]
    fn none_or_several_fail_with_the_list() {
        let disks = [disk("sda", "01", 480), disk("sdb", "02", 480)];
        let error = name(&disks, &hints(|hints| hints.min_size = Some(1))).unwrap_err();
        assert!(error.starts_with("2 disks match target_disk"), "{error}");
        assert!(error.contains("sda: 480 GB, sata, model SSD 960, serial 01, WWN naa.5000C50001"), "{error}");
        assert!(error.contains("by-path pci-0000:3b:00.0-ata-02"), "{error}");
        let error = name(&disks, &hints(|hints| hints.serial = Some("03".to_owned()))).unwrap_err();
        assert!(error.starts_with("no disk matches"), "{error}");
        let error = name(&[], &hints(|hints| hints.min_size = Some(1))).unwrap_err();
        assert!(error.ends_with("Disks of this machine: none"), "{error}");
    }

    #[test]
    fn a_kernel_name_is_enough_only_for_a_machine_with_one_candidate() {
        let selector = DiskSelector::Device("/dev/sda".to_owned());
        let mut disks = [disk("sda", "01", 480), disk("sdb", "02", 480)];
        let error = name(&disks, &selector).unwrap_err();
        assert!(error.contains("kernel names change"), "{error}");
        disks[1].unusable = Some("is removable".to_owned());
        assert_eq!(name(&disks, &selector), Ok("sda".to_owned()));
        let wrong = name(&disks, &DiskSelector::Device("/dev/sdb".to_owned())).unwrap_err();
        assert!(wrong.contains("(is removable)"), "{wrong}");
    }

    #[test]
    fn a_disk_of_a_storage_network_is_chosen_only_by_its_path_or_transport() {
        let mut disks = [disk("sda", "01", 480)];
        disks[0].transport = Some(Transport::FibreChannel);
        assert!(name(&disks, &hints(|hints| hints.serial = Some("01".to_owned()))).is_err());
        assert!(name(&disks, &DiskSelector::Device("/dev/sda".to_owned())).is_err());
        assert!(name(&disks, &hints(|hints| hints.transport = Some(Transport::FibreChannel))).is_ok());
        let path = hints(|hints| hints.by_path = Some("pci-0000:3b:00.0-ata-01".to_owned()));
        assert!(name(&disks, &path).is_ok());
    }
}
