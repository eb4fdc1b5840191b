//! Power cuts, wrong data and small disks, on a disk that forgets what was not flushed.

use std::sync::{Mutex, PoisonError};

use proptest::prelude::*;
use shoal_image::iso::ReadAt;

use super::*;
use crate::table::{self, ESP, LINUX, SeedPartition, fit, samples};

const MIB: u64 = 1 << 20;
const SECTOR: usize = 512;

/// A disk whose writes are durable after a sync only, and which stops at a given request.
pub struct FakeDisk {
    state: Mutex<DiskState>,
}

struct DiskState {
    durable: Vec<u8>,
    pending: Vec<(u64, Vec<u8>)>,
    requests_left: usize,
    /// A read gives another byte than was written here.
    rots_at: Option<u64>,
}

impl FakeDisk {
    pub fn new(bytes: Vec<u8>) -> FakeDisk {
        let state =
            DiskState { durable: bytes, pending: Vec::new(), requests_left: usize::MAX, rots_at: None };
        FakeDisk { state: Mutex::new(state) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, DiskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads give another byte than was written there.
    pub fn rot(&self, at: Option<u64>) {
        self.state().rots_at = at;
    }

    /// What is on the medium when everything that was written stays.
    pub fn bytes(&self) -> Vec<u8> {
        self.after_cut(&mut |_| true)
    }

    /// What is on the medium when power fails now: of each sector that was not flushed, the old or the new.
    fn after_cut(&self, stays: &mut dyn FnMut(usize) -> bool) -> Vec<u8> {
        let state = self.state();
        let mut bytes = state.durable.clone();
        let mut count = 0;
        for (offset, written) in &state.pending {
            for (index, sector) in written.chunks(SECTOR).enumerate() {
                if stays(count) {
                    let at = *offset as usize + index * SECTOR;
                    bytes[at..at + sector.len()].copy_from_slice(sector);
                }
                count += 1;
            }
        }
        bytes
    }

    fn request(state: &mut DiskState) -> io::Result<()> {
        state.requests_left =
            state.requests_left.checked_sub(1).ok_or_else(|| io::Error::other("power failed"))?;
        Ok(())
    }
}

impl ReadAt for FakeDisk {
    fn size(&self) -> u64 {
        self.state().durable.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        buf.copy_from_slice(&state.durable[offset as usize..offset as usize + buf.len()]);
        for (at, written) in &state.pending {
            let (start, end) =
                ((*at).max(offset), (*at + written.len() as u64).min(offset + buf.len() as u64));
            if start < end {
                let source = &written[(start - at) as usize..(end - at) as usize];
                buf[(start - offset) as usize..(end - offset) as usize].copy_from_slice(source);
            }
        }
        if state.rots_at.is_some_and(|at| (offset..offset + buf.len() as u64).contains(&at)) {
            buf[0] ^= 1;
        }
        Ok(())
    }
}

impl BlockDevice for FakeDisk {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        assert!(offset + bytes.len() as u64 <= state.durable.len() as u64, "beyond the end");
        // The request that fails may have reached the medium in part.
        state.pending.push((offset, bytes.to_vec()));
        FakeDisk::request(&mut state)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        FakeDisk::request(&mut state)?;
        for (at, written) in std::mem::take(&mut state.pending) {
            state.durable[at as usize..at as usize + written.len()].copy_from_slice(&written);
        }
        Ok(())
    }

    fn forget(&self) -> io::Result<()> {
        Ok(())
    }
}

/// An old system, and an image that shares no sector with it.
fn old_disk(size: u64) -> Vec<u8> {
    let mut disk = samples::gpt_image(size, SECTOR, &[(ESP, MIB, MIB), (LINUX, 2 * MIB, size - 4 * MIB)]);
    disk[MIB as usize..(size - 2 * MIB) as usize].fill(0x11);
    disk
}

fn image(size: u64) -> Vec<u8> {
    let mut image = samples::gpt_image(size, SECTOR, &[(ESP, MIB, MIB), (LINUX, 2 * MIB, size - 4 * MIB)]);
    image[0] = 0xeb;
    for (index, byte) in image[MIB as usize..(size - 2 * MIB) as usize].iter_mut().enumerate() {
        *byte = (index / SECTOR % 251) as u8 ^ 0x80;
    }
    image
}

/// Writes `image` as an installation does, its first-boot data included.
fn install(disk: &FakeDisk, image: &[u8]) -> Result<(), Failure> {
    let mut writer = Writer::new(disk)?;
    writer.clear().map_err(Failure::of(FailedStep::Write, "clear"))?;
    for block in image.chunks(BLOCK_BYTES) {
        writer.write(block)?;
    }
    writer.flush()?;
    writer.verify(Verify::Full, |_| {})?;
    let table = table::read(writer.head()).unwrap();
    let seed =
        (disk.size() > image.len() as u64 + 4 * MIB).then_some(SeedPartition { size: MIB, guid: [9; 16] });
    let fitted = fit(writer.head(), &table, disk.size(), seed, true).unwrap();
    if let Some(seed) = fitted.seed.clone() {
        writer
            .window(seed)
            .write_all(&[0x5e; MIB as usize])
            .map_err(Failure::of(FailedStep::Seed, "seed"))?;
    }
    writer.commit(&fitted.tail)
}

use std::io::Write as _;

/// Whether any firmware, however lenient, could start from the disk.
fn is_bootable(disk: &[u8]) -> bool {
    let boot_sector = disk[510..512] == [0x55, 0xaa];
    let primary = disk[SECTOR..].starts_with(b"EFI PART") && table::read(disk).is_ok();
    let tail = &disk[disk.len() - MIB as usize..];
    boot_sector || primary || table::is_valid_backup(tail, SECTOR, disk.len() as u64)
}

/// The disk after an installation that nothing disturbed.
fn finished(size: u64, image: &[u8]) -> Vec<u8> {
    let disk = FakeDisk::new(old_disk(size));
    install(&disk, image).unwrap();
    disk.bytes()
}

/// Requests of an undisturbed installation.
fn requests(size: u64, image: &[u8]) -> usize {
    let disk = FakeDisk::new(old_disk(size));
    install(&disk, image).unwrap();
    usize::MAX - disk.state().requests_left
}

/// Cuts power at every request, and keeps of what was not flushed what `pattern` says.
fn cut_everywhere(size: u64, image: &[u8], pattern: u64) -> (usize, usize) {
    let (whole, old) = (finished(size, image), old_disk(size));
    let (mut dead, mut alive) = (0, 0);
    for cut in 0..requests(size, image) {
        let disk = FakeDisk::new(old.clone());
        disk.state().requests_left = cut;
        install(&disk, image).unwrap_err();
        let mut random = pattern;
        let mut stays = |_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match pattern {
                0 => false,
                u64::MAX => true,
                _ => random >> 63 == 1,
            }
        };
        let bytes = disk.after_cut(&mut stays);
        let body = MIB as usize..bytes.len() - MIB as usize;
        if !is_bootable(&bytes) {
            dead += 1;
        } else if bytes[body.clone()] == old[body.clone()] {
            alive += 1;
        } else {
            assert!(
                bytes[KEY_BYTES..body.end] == whole[KEY_BYTES..body.end],
                "half an image at request {cut}"
            );
            alive += 1;
        }
    }
    (dead, alive)
}

#[test]
fn a_power_cut_at_any_request_leaves_the_old_system_the_whole_new_one_or_nothing_that_starts() {
    for (disk, image_size) in [(7 * MIB, 7 * MIB), (14 * MIB, 7 * MIB)] {
        for pattern in [0, u64::MAX, 1, 2] {
            let (dead, alive) = cut_everywhere(disk, &image(image_size), pattern);
            assert!(dead >= 5 && alive >= 1, "{dead} {alive}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn power_cuts_with_any_losses(pattern: u64, mib in 7_u64..10, more in 0_u64..7) {
        cut_everywhere((mib + more) * MIB, &image(mib * MIB), pattern);
    }

    /// What is written through windows and blocks reads back the same, wherever the edges are.
    #[test]
    fn windows_read_what_was_written(at in 0_u64..8 * MIB - 70_000, length in 1_usize..70_000, fill: u8) {
        let disk = FakeDisk::new(vec![0; 8 << 20]);
        let mut writer = Writer::new(&disk).unwrap();
        let bytes: Vec<u8> = (0..length).map(|index| (index as u8) ^ fill).collect();
        writer.window(at..at + length as u64).write_all(&bytes).unwrap();
        let mut found = Vec::new();
        std::io::Read::read_to_end(&mut writer.window(at..at + length as u64), &mut found).unwrap();
        prop_assert!(found == bytes);
        prop_assert_eq!(writer.window(at..at + length as u64).write(b"x").unwrap(), 1);
        writer.commit(&[]).unwrap();
        prop_assert!(disk.bytes()[at as usize + 1..at as usize + length] == bytes[1..]);
    }
}

#[test]
fn a_finished_disk_has_the_image_both_tables_and_the_seed() {
    let (image, disk) = (image(10 * MIB), finished(24 * MIB, &image(10 * MIB)));
    assert!(is_bootable(&disk) && table::is_valid_backup(&disk[23 << 20..], SECTOR, 24 * MIB));
    assert!(disk[MIB as usize..8 << 20] == image[MIB as usize..8 << 20]);
    let table = table::read(&disk).unwrap();
    assert_eq!(table.partitions().len(), 3);
    let seed = &table.partitions()[2];
    assert!(disk[seed.start as usize..seed.end() as usize].iter().all(|byte| *byte == 0x5e));
    assert_eq!(table.partitions()[1].end(), seed.start, "the root reaches the seed");
}

#[test]
fn clearing_leaves_nothing_that_starts() {
    let disk = FakeDisk::new(finished(16 * MIB, &image(10 * MIB)));
    clear(&disk).unwrap();
    assert!(!is_bootable(&disk.bytes()));
    assert_eq!(crate::disk::find_foreign(&disk, 512).unwrap(), None);
}

#[test]
fn an_image_larger_than_the_disk_is_refused_at_the_byte_that_does_not_fit() {
    let disk = FakeDisk::new(old_disk(8 * MIB));
    let mut writer = Writer::new(&disk).unwrap();
    writer.clear().unwrap();
    writer.write(&[1; BLOCK_BYTES]).unwrap();
    writer.write(&[2; BLOCK_BYTES]).unwrap();
    let failure = writer.write(&[3]).unwrap_err();
    assert_eq!(
        (failure.step, failure.message.as_str()),
        (FailedStep::Image, "the image needs 8388609 bytes and the disk has 8388608")
    );
    assert!(
        Writer::new(&FakeDisk::new(vec![0; 4 << 20])).is_err_and(|failure| failure.step == FailedStep::Disk)
    );
}

#[test]
fn a_disk_that_returns_other_data_fails_verification_wherever_it_is() {
    for at in [MIB, 5 * MIB, 11 * MIB, 13 * MIB] {
        let disk = FakeDisk::new(old_disk(16 * MIB));
        disk.state().rots_at = Some(at);
        let failure = install(&disk, &image(14 * MIB)).unwrap_err();
        assert_eq!(failure.step, FailedStep::Verify);
        assert!(failure.message.contains("between bytes"), "{failure}");
        clear(&disk).unwrap();
        assert!(!is_bootable(&disk.bytes()));
    }
    for at in [0, 16 * MIB - 1] {
        let disk = FakeDisk::new(old_disk(16 * MIB));
        disk.state().rots_at = Some(at);
        assert!(install(&disk, &image(14 * MIB)).unwrap_err().message.contains("partition table"));
    }
}
