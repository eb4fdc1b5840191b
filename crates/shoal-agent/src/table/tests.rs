//! Tables on disks of other sizes, and tables that are damaged.

use proptest::prelude::*;

use super::fit::{FitError, is_valid_backup};
use super::*;

const MIB: u64 = 1 << 20;

fn fitted(image: &[u8], disk: u64, seed: Option<u64>) -> Result<(Vec<u8>, Fitted, Table), FitError> {
    let mut head = image[..HEAD_BYTES].to_vec();
    let table = read(&head)?;
    let seed = seed.map(|size| SeedPartition { size, guid: [7; 16] });
    let fitted = fit(&mut head, &table, disk, seed, true)?;
    let after = read(&head)?;
    Ok((head, fitted, after))
}

proptest! {
    /// On a disk of any size both tables are valid, name the disk's end, and no partition has moved.
    #[test]
    fn a_gpt_fits_any_larger_disk(
        is_4k: bool, lengths in prop::collection::vec(1_u64..4, 1..4), more in 0_u64..64, odd in 0_u64..8, seed: bool,
    ) {
        let sector = if is_4k { 4096 } else { 512 };
        let mut start = MIB;
        let parts: Vec<(u64, u64)> = lengths.iter().map(|length| {
            let part = (start, length * MIB);
            start += length * MIB;
            part
        }).collect();
        let image = samples::gpt_disk(start + MIB, sector, &parts);
        let disk = start + MIB * (10 + more) + odd * sector as u64;
        let (_, fitted, after) = fitted(&image, disk, seed.then_some(8 * MIB)).unwrap();
        let Table::Gpt(gpt) = &after else { panic!("still a GPT") };
        prop_assert_eq!((gpt.backup_lba + 1) * sector as u64, disk);
        prop_assert!(is_valid_backup(&fitted.tail, sector, disk));
        let mut end = 0;
        for partition in &gpt.partitions {
            prop_assert!(partition.start >= end);
            end = partition.end();
        }
        for (partition, (start, length)) in gpt.partitions.iter().zip(&parts) {
            prop_assert!(partition.start == *start && partition.size >= *length);
        }
        prop_assert!(end <= disk - fitted.tail.len() as u64);
        prop_assert_eq!(gpt.partitions.len(), parts.len() + usize::from(seed));
        let last = &gpt.partitions[parts.len() - 1];
        prop_assert_eq!(last.size, parts[parts.len() - 1].1 + fitted.grown_by);
        prop_assert!(fitted.grown_by > 0);
        prop_assert_eq!(fitted.seed.is_some(), seed);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(mut head in prop::collection::vec(any::<u8>(), 0..9000), at in 0_usize..9000, value: u8) {
        let _ = read(&head);
        if head.len() >= 1024 {
            head[512..520].copy_from_slice(b"EFI PART");
            let _ = read(&head);
        }
        let mut image = samples::gpt_disk(4 * MIB, 512, &[(MIB, MIB)]);
        let before = read(&image).unwrap();
        image[at] = image[at].wrapping_add(value);
        // A byte of header or entries that changed is noticed.
        if value != 0 && ((512..604).contains(&at) || (1024..9000).contains(&at)) {
            prop_assert_ne!(read(&image), Ok(before));
        }
    }
}

#[test]
fn the_protective_mbr_covers_the_disk() {
    let image = samples::gpt_disk(4 * MIB, 512, &[(MIB, MIB)]);
    let (head, ..) = fitted(&image, 64 * MIB, None).unwrap();
    assert_eq!(le32(&head, 446 + 12), (64 * MIB / 512 - 1) as u32);
    let (head, ..) = fitted(&image, 3 << 40, None).unwrap();
    assert_eq!(le32(&head, 446 + 12), u32::MAX);
}

#[test]
fn partitions_of_fixed_purpose_do_not_grow() {
    for kind in FIXED {
        let image = samples::gpt_image(4 * MIB, 512, &[(LINUX, MIB, MIB), (kind, 2 * MIB, MIB)]);
        assert_eq!(fitted(&image, 64 * MIB, None).unwrap().1.grown_by, 0);
    }
}

#[test]
fn an_mbr_fits_too_and_stops_at_two_tebibytes() {
    let image = samples::mbr_disk(4 << 20, &[(0x83, MIB, MIB)]);
    let (_, fit, table) = fitted(&image, 64 * MIB, Some(8 * MIB)).unwrap();
    assert_eq!((fit.seed, fit.grown_by), (Some(56 * MIB..64 * MIB), 54 * MIB));
    assert_eq!(table.partitions().len(), 2);
    let (_, _, table) = fitted(&image, 4 << 40, None).unwrap();
    assert!(table.extent() <= 2 << 40 && table.extent() > (2 << 40) - 2 * MIB);
    let full: Vec<_> = (0..4).map(|slot| (0x83, MIB + slot * MIB, MIB)).collect();
    assert_eq!(
        fitted(&samples::mbr_disk(8 << 20, &full), 64 * MIB, Some(MIB)).unwrap_err(),
        FitError::NoEntry
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let image = samples::gpt_disk(8 * MIB, 512, &[(MIB, 6 * MIB)]);
    assert_eq!(fitted(&image, 7 * MIB, None).unwrap_err(), FitError::Table(TableError::Partition(1)));
    assert_eq!(fitted(&image, 8 * MIB, Some(8 * MIB)).unwrap_err(), FitError::NoRoom);
    assert_eq!(fitted(&vec![0; 4 << 20], 8 * MIB, None).unwrap_err(), FitError::NoTable);
}

#[test]
fn a_disk_can_start_by_bios_with_boot_code_and_a_place_for_it() {
    let check = |disk: &[u8]| read(disk).unwrap().has_bios_boot(disk);
    assert!(check(&samples::mbr_disk(2 << 20, &[(0x83, MIB, MIB)])));
    let mut disk = samples::gpt_image(4 * MIB, 512, &[(BIOS_BOOT, MIB, MIB)]);
    assert!(!check(&disk), "no boot code");
    disk[0] = 0xeb;
    assert!(check(&disk));
    let mut disk = samples::gpt_disk(4 * MIB, 512, &[(MIB, MIB)]);
    disk[0] = 0xeb;
    assert!(!check(&disk), "no BIOS boot partition");
}

#[test]
fn a_protective_mbr_alone_is_damage() {
    let mut disk = samples::gpt_disk(4 * MIB, 512, &[(MIB, MIB)]);
    disk[512..1024].fill(0);
    assert_eq!(read(&disk), Err(TableError::NoGpt));
}
