//! Where the partitions of a layout lie on a disk.
//!
//! Pure.

use std::ops::Range;

use shoal_recipe::{Layout, PartitionSize};

const ALIGNMENT: u64 = 1 << 20;
/// A file system needs some space to be one.
const REST_MIN: u64 = 16 << 20;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the partitions need {needed} bytes and the disk has {usable} for them")]
pub struct DiskTooSmall {
    needed: u64,
    usable: u64,
}

/// Where each partition lies, in their order. A percentage is of all that partitions may use; all are aligned to a
/// MiB and keep clear of the first and the last MiB, which hold the tables.
pub fn plan(layout: &Layout, disk_size: u64) -> Result<Vec<Range<u64>>, DiskTooSmall> {
    let usable = (disk_size / ALIGNMENT * ALIGNMENT).saturating_sub(2 * ALIGNMENT);
    let size = |size: PartitionSize| match size {
        PartitionSize::Bytes(bytes) => bytes.div_ceil(ALIGNMENT).saturating_mul(ALIGNMENT),
        PartitionSize::Percent(percent) => (usable / 100 * u64::from(percent) / ALIGNMENT).max(1) * ALIGNMENT,
        PartitionSize::Rest => 0,
    };
    let sizes: Vec<u64> = layout.partitions().iter().map(|partition| size(partition.size)).collect();
    let fixed = sizes.iter().fold(0, |sum: u64, size| sum.saturating_add(*size));
    let rest = usable.checked_sub(fixed).filter(|rest| *rest >= REST_MIN);
    let rest = rest.ok_or(DiskTooSmall { needed: fixed.saturating_add(REST_MIN), usable })?;
    let mut start = ALIGNMENT;
    let place = |size: u64| {
        let end = start + if size == 0 { rest } else { size };
        std::mem::replace(&mut start, end)..end
    };
    Ok(sizes.into_iter().map(place).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use shoal_recipe::Recipe;

    use super::*;
    use crate::table::{ESP, NewPartition, is_valid_backup, make, read};

    const MIB: u64 = 1 << 20;

    fn layout(sizes: &[&str]) -> Layout {
        let mut partitions =
            vec![json!({ "size": "64M", "type_guid": "ef00", "format": "vfat", "mountpoint": "/boot/efi" })];
        for (index, size) in sizes.iter().enumerate() {
            let is_root = index == 0;
            let format = if is_root { "ext4" } else { "swap" };
            partitions.push(json!({ "size": size, "format": format, "mountpoint": is_root.then_some("/") }));
        }
        let recipe = json!({
            "task_target": "install-linux.target", "target_disk": "/dev/sda", "partition_layout": partitions,
            "image": { "url": "https://ctl/root.tar.zst", "sha256": "00".repeat(32) },
        });
        Recipe::parse(recipe.as_object().unwrap()).unwrap().partition_layout.unwrap()
    }

    #[test]
    fn the_rest_may_stand_anywhere_and_percentages_are_of_the_usable_space() {
        let ranges = plan(&layout(&["100%", "10%", "1G"]), 10_002 * MIB).unwrap();
        let mib = |range: &Range<u64>| (range.start / MIB, (range.end - range.start) / MIB);
        let sizes: Vec<(u64, u64)> = ranges.iter().map(mib).collect();
        assert_eq!(sizes, [(1, 64), (65, 10_000 - 64 - 1000 - 1024), (7977, 1000), (8977, 1024)]);
        let error = plan(&layout(&["100%", "1G"]), 1024 * MIB).unwrap_err();
        assert_eq!(
            error,
            DiskTooSmall { needed: (64 + 1024 + 16) * MIB, usable: 1022 * MIB },
            "the rest has to be something"
        );
        assert!(plan(&layout(&["100%", "16000000T"]), 10_002 * MIB).is_err());
        assert!(plan(&layout(&["100%"]), 0).is_err());
    }

    proptest! {
        /// On a disk of any size the partitions lie one after the other, and both tables show them.
        #[test]
        fn a_planned_table_is_read_back(is_4k: bool, size in 2000_u64..9000, odd in 0_u64..100, percent in 1_u8..90) {
            let sector: u32 = if is_4k { 4096 } else { 512 };
            let disk = size * MIB + odd * u64::from(sector);
            let layout = layout(&["100%", &format!("{percent}%"), "100M"]);
            let ranges = plan(&layout, disk).unwrap();
            let partitions: Vec<NewPartition<'_>> = layout.partitions().iter().zip(&ranges).map(|(partition, range)| {
                let type_guid = partition.type_guid.stored();
                NewPartition { type_guid, guid: [range.end as u8 | 1; 16], name: "ü-data", range: range.clone() }
            }).collect();
            let (head, tail) = make(disk, sector, [9; 16], &partitions);
            let table = read(&head).unwrap();
            let found: Vec<Range<u64>> = table.partitions().iter().map(|found| found.start..found.end()).collect();
            prop_assert_eq!(&found, &ranges);
            prop_assert_eq!(table.extent(), disk / u64::from(sector) * u64::from(sector));
            prop_assert!(table.esp().is_some_and(|esp| esp.slot == 0 && esp.start == MIB));
            prop_assert!(is_valid_backup(&tail, sector as usize, disk));
            prop_assert!(ranges.last().unwrap().end <= disk - MIB);
            prop_assert_eq!(partitions[0].type_guid, ESP);
        }
    }
}
