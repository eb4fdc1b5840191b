//! The disks that personas report: made up, in the shapes that BMCs use.
//!
//! Data only. Invariant: the ids within a unit are unique.

/// A controller with what is behind it.
#[derive(Clone, Copy, Debug)]
pub struct StorageUnit {
    pub id: &'static str,
    pub controller: &'static str,
    /// Empty of a controller that makes no volumes.
    pub raid_types: &'static [&'static str],
    pub drives: &'static [PhysicalDrive],
    pub volumes: &'static [RaidVolume],
}

#[derive(Clone, Copy, Debug)]
pub struct PhysicalDrive {
    pub id: &'static str,
    pub vendor: &'static str,
    pub model: &'static str,
    pub serial: &'static str,
    pub bytes: u64,
    /// `HDD` or `SSD`.
    pub media: &'static str,
    pub protocol: &'static str,
    /// Format and name.
    pub names: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy, Debug)]
pub struct RaidVolume {
    pub id: &'static str,
    pub name: &'static str,
    pub raid: &'static str,
    pub bytes: u64,
    pub names: &'static [(&'static str, &'static str)],
    /// Indices of the unit's drives.
    pub drives: &'static [usize],
}

const fn nvme(
    id: &'static str,
    serial: &'static str,
    names: &'static [(&'static str, &'static str)],
) -> PhysicalDrive {
    PhysicalDrive {
        id,
        vendor: "Example",
        model: "NV7400 1.92TB",
        serial,
        bytes: 1_920_383_410_176,
        media: "SSD",
        protocol: "NVMe",
        names,
    }
}

const fn sas(
    id: &'static str,
    serial: &'static str,
    names: &'static [(&'static str, &'static str)],
) -> PhysicalDrive {
    PhysicalDrive {
        id,
        vendor: "Example",
        model: "SH2400",
        serial,
        bytes: 2_400_476_553_216,
        media: "HDD",
        protocol: "SAS",
        names,
    }
}

const fn sata(id: &'static str, serial: &'static str) -> PhysicalDrive {
    PhysicalDrive {
        id,
        vendor: "Example",
        model: "SM480",
        serial,
        bytes: 480_103_981_056,
        media: "SSD",
        protocol: "SATA",
        names: &[],
    }
}

const MIRRORED: u64 = 479_559_942_144;

/// Two NVMe drives without a controller: one reports an NGUID, the other an EUI-64.
pub const NVME: &[StorageUnit] = &[StorageUnit {
    id: "NVMe",
    controller: "NVMe root",
    raid_types: &[],
    drives: &[
        nvme("Drive0", "NVA0001", &[("NGUID", "36343930530000010025384500000001")]),
        nvme("Drive1", "NVA0002", &[("EUI", "0025384500000002")]),
    ],
    volumes: &[],
}];

/// A mirror behind a RAID controller, a SAS drive that it does not use, and a boot card whose volume has no durable
/// name.
pub const DELL: &[StorageUnit] = &[
    StorageUnit {
        id: "RAID.SL.3-1",
        controller: "PERC H755 Front",
        raid_types: &["RAID0", "RAID1", "RAID5", "RAID6", "RAID10"],
        drives: &[
            sata("Disk.Bay.0:Enclosure.Internal.0-1:RAID.SL.3-1", "SMD0001"),
            sata("Disk.Bay.1:Enclosure.Internal.0-1:RAID.SL.3-1", "SMD0002"),
            sas("Disk.Bay.2:Enclosure.Internal.0-1:RAID.SL.3-1", "SHD0001", &[("NAA", "5000C500A1B2C3D5")]),
        ],
        volumes: &[RaidVolume {
            id: "Disk.Virtual.239:RAID.SL.3-1",
            name: "os",
            raid: "RAID1",
            bytes: MIRRORED,
            names: &[("NAA", "62CEA7F0A1B2C3D42A1B2C3D4E5F6071")],
            drives: &[0, 1],
        }],
    },
    StorageUnit {
        id: "AHCI.SL.6-1",
        controller: "BOSS-S2",
        raid_types: &["RAID1"],
        drives: &[
            sata("Disk.Direct.0-0:AHCI.SL.6-1", "SMB0001"),
            sata("Disk.Direct.1-1:AHCI.SL.6-1", "SMB0002"),
        ],
        volumes: &[RaidVolume {
            id: "Disk.Virtual.0:AHCI.SL.6-1",
            name: "VD_R1_1",
            raid: "RAID1",
            bytes: MIRRORED,
            names: &[],
            drives: &[0, 1],
        }],
    },
];

/// A boot mirror of NVMe drives, and SAS drives of a controller that makes no volumes.
pub const HPE: &[StorageUnit] = &[
    StorageUnit {
        id: "DA000000",
        controller: "HPE NS204i-p Gen10+ Boot Controller",
        raid_types: &["RAID1"],
        drives: &[nvme("DA000000", "NVH0001", &[]), nvme("DA000001", "NVH0002", &[])],
        volumes: &[RaidVolume {
            id: "1",
            name: "VD_0",
            raid: "RAID1",
            bytes: MIRRORED,
            names: &[("NGUID", "00A1B2C3D4E5F6070050435400000001")],
            drives: &[0, 1],
        }],
    },
    StorageUnit {
        id: "DE00B000",
        controller: "HPE Smart Host Bus Adapter",
        raid_types: &[],
        drives: &[
            sas("0", "SHH0001", &[("NAA", "5000C500B1C2D3E1")]),
            sas("1", "SHH0002", &[("NAA", "5000C500B1C2D3E5")]),
        ],
        volumes: &[],
    },
];
