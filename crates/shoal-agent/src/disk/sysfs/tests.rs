//! Disks of simulated machines.

use super::*;
use crate::testing::TestMachine;

#[test]
fn an_nvme_disk_is_known_by_everything() {
    let test = TestMachine::new();
    let pci = "/sys/devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/nvme/nvme0/nvme0n1";
    test.block(
        "nvme0n1",
        pci,
        960_197_124_096,
        &[
            ("device/model", "SAMSUNG MZQL2960HCJR-00A07   "),
            ("device/serial", "S64FNE0R100000      "),
            ("wwid", "eui.36344630526000010025384100000001"),
            ("nsid", "1"),
        ],
    );
    let disks = list(&test.machine(), "sr0");
    let disk = &disks[0];
    assert_eq!((disk.name.as_str(), disk.size, disk.sector), ("nvme0n1", 960_197_124_096, 512));
    assert_eq!(disk.by_path.as_deref(), Some("pci-0000:3b:00.0-nvme-1"));
    let ids = ["nvme-SAMSUNG_MZQL2960HCJR-00A07_S64FNE0R100000", "nvme-eui.36344630526000010025384100000001"];
    assert_eq!(disk.by_ids, ids);
    assert_eq!((disk.transport, &disk.unusable), (Some(Transport::Nvme), &None));
}

#[test]
fn a_sata_disk_has_the_name_that_its_own_identification_gives() {
    let test = TestMachine::new();
    let ata = "/sys/devices/pci0000:00/0000:00:17.0/ata3";
    let scsi = format!("{ata}/host2/target2:0:0/2:0:0:0/block/sda");
    test.file(&format!("{ata}/ata_port/ata3/port_no"), "3");
    test.block(
        "sda",
        &scsi,
        480_103_981_056,
        &[
            ("device/model", "INTEL SSDSC2KB48"),
            ("device/vendor", "ATA"),
            ("device/wwid", "naa.55cd2e4150000001"),
            ("queue/rotational", "0"),
        ],
    );
    let mut page = vec![0; 4 + 56 + 512];
    let swapped =
        |text: &str| text.as_bytes().chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect::<Vec<u8>>();
    page[60 + 54..60 + 94].copy_from_slice(&swapped(&format!("{:<40}", "INTEL SSDSC2KB480G8")));
    page[60 + 20..60 + 40].copy_from_slice(&swapped(&format!("{:>20}", "PHYF000000000000")));
    test.bytes(&format!("{scsi}/device/vpd_pg89"), &page);
    let disk = list(&test.machine(), "sr0").remove(0);
    assert_eq!((disk.model.as_str(), disk.serial.as_str()), ("INTEL SSDSC2KB480G8", "PHYF000000000000"));
    assert_eq!(disk.by_path.as_deref(), Some("pci-0000:00:17.0-ata-3"));
    assert_eq!(disk.hctl.as_deref(), Some("2:0:0:0"));
    let ids =
        ["ata-INTEL_SSDSC2KB480G8_PHYF000000000000", "wwn-0x55cd2e4150000001", "scsi-355cd2e4150000001"];
    assert_eq!(disk.by_ids, ids);
}

#[test]
fn raid_controllers_virtio_and_usb_have_their_paths() {
    let test = TestMachine::new();
    let raid = "/sys/devices/pci0000:00/0000:00:02.0/0000:02:00.0/host4/target4:2:0/4:2:0:0/block/sdb";
    test.block("sdb", raid, 1 << 40, &[]);
    test.bytes(&format!("{raid}/device/vpd_pg80"), b"\0\x80\0\x08 00aabb ");
    test.block(
        "vda",
        "/sys/devices/pci0000:00/0000:00:05.0/virtio2/block/vda",
        1 << 34,
        &[("serial", "disk0")],
    );
    let usb = "/sys/devices/pci0000:00/0000:00:14.0/usb1/1-3/1-3:1.0/host6/target6:0:0/6:0:0:0/block/sdc";
    test.block("sdc", usb, 1 << 30, &[("removable", "1")]);
    let disks = list(&test.machine(), "sr0");
    let paths: Vec<_> =
        disks.iter().map(|disk| (disk.by_path.as_deref().unwrap(), disk.transport.unwrap())).collect();
    let expected = [
        ("pci-0000:02:00.0-scsi-0:2:0:0", Transport::Scsi),
        ("pci-0000:00:14.0-usb-0:3:1.0-scsi-0:0:0:0", Transport::Usb),
        ("pci-0000:00:05.0", Transport::Virtio),
    ];
    assert_eq!(paths, expected);
    assert_eq!(disks[0].serial, "00aabb");
    assert_eq!(disks[1].unusable.as_deref(), Some("is removable"));
    assert_eq!(disks[2].by_ids, ["virtio-disk0"]);
}

#[test]
fn what_is_in_use_cannot_be_the_target() {
    let test = TestMachine::new();
    let scsi = |host: u32, name: &str| {
        format!("/sys/devices/pci0000:00/0000:02:00.0/host{host}/target{host}:0:0/{host}:0:0:0/block/{name}")
    };
    let names = ["sda", "sdb", "sdc", "sdd", "sde", "sdf"];
    for (host, name) in names.iter().enumerate() {
        test.block(name, &scsi(host as u32, name), 1 << 30, &[]);
    }
    test.file(&format!("{}/holders/dm-0/x", scsi(0, "sda")), "");
    test.file(&format!("{}/sdb1/holders/md0/x", scsi(1, "sdb")), "");
    test.file(&format!("{}/ro", scsi(2, "sdc")), "1");
    test.file("/proc/mounts", "/dev/sdd2 / ext4 rw 0 0\nproc /proc proc rw 0 0\n");
    let disks = list(&test.machine(), "sde");
    let reasons: Vec<_> = disks.iter().map(|disk| disk.unusable.as_deref().unwrap_or("usable")).collect();
    let expected = [
        "is in use by dm-0",
        "is in use by md0",
        "is read-only",
        "is mounted",
        "is the task medium",
        "usable",
    ];
    assert_eq!(reasons, expected);
}
