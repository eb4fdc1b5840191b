//! First-boot data for Linux: a FAT volume named `cidata`, where cloud-init's NoCloud looks for it.
//!
//! Pure over a range of the disk. Invariants: both `user-data` and `meta-data` are there, as cloud-init needs; the
//! label is in the boot sector and in the root directory, since older versions see only the second.

use std::io::{self, Read, Seek, SeekFrom, Write};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};

/// Bytes of the partition. With the largest texts it is less than half full.
pub const SEED_BYTES: u64 = 16 << 20;
const LABEL: &[u8; 11] = b"CIDATA     ";
const ATTRIBUTE_LABEL: u8 = 8;

/// Formats the volume and writes the files into it. `sector` is the disk's: a volume with smaller ones cannot be
/// mounted.
pub fn write_seed<T: Read + Write + Seek>(
    mut volume: T,
    sector: u32,
    files: &[(&str, &[u8])],
) -> io::Result<()> {
    let sector = u16::try_from(sector).map_err(io::Error::other)?;
    let total = u32::try_from(SEED_BYTES / u64::from(sector)).map_err(io::Error::other)?;
    let options = FormatVolumeOptions::new()
        .bytes_per_sector(sector)
        .total_sectors(total)
        .bytes_per_cluster(u32::from(sector).max(2048))
        .fat_type(if sector == 512 { FatType::Fat16 } else { FatType::Fat12 })
        .volume_id(0x5e_ed_00_01)
        .volume_label(*LABEL);
    fatfs::format_volume(&mut volume, options)?;
    write_label(&mut volume)?;
    let volume = FileSystem::new(volume, FsOptions::new())?;
    for (name, content) in files {
        let mut file = volume.root_dir().create_file(name)?;
        file.write_all(content)?;
        file.flush()?;
    }
    volume.unmount()
}

/// Whether the volume has its label and the files, as they were to be written.
pub fn holds_seed<T: Read + Write + Seek>(volume: T, files: &[(&str, &[u8])]) -> io::Result<bool> {
    let volume = FileSystem::new(volume, FsOptions::new())?;
    if volume.read_volume_label_from_root_dir_as_bytes()?.as_ref() != Some(LABEL) {
        return Ok(false);
    }
    for (name, content) in files {
        let mut found = Vec::with_capacity(content.len());
        volume.root_dir().open_file(name)?.take(content.len() as u64 + 1).read_to_end(&mut found)?;
        if found != *content {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The label as the first entry of the root directory, which is empty yet.
fn write_label<T: Read + Write + Seek>(volume: &mut T) -> io::Result<()> {
    let mut boot = [0; 64];
    volume.seek(SeekFrom::Start(0))?;
    volume.read_exact(&mut boot)?;
    let word = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
    let root = (word(14) + u64::from(boot[16]) * word(22)) * word(11);
    let mut entry = [0; 32];
    entry[..11].copy_from_slice(LABEL);
    entry[11] = ATTRIBUTE_LABEL;
    volume.seek(SeekFrom::Start(root))?;
    volume.write_all(&entry)?;
    volume.seek(SeekFrom::Start(0)).map(drop)
}

/// `meta-data` for a medium that has none: a new instance for each job, so that cloud-init starts afresh.
pub fn default_meta_data(job_id: &str) -> String {
    format!("instance-id: {job_id}\n")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn the_volume_has_its_label_twice_and_the_files() {
        for sector in [512, 4096] {
            let mut bytes = vec![0xff; SEED_BYTES as usize];
            let large = vec![b'u'; 1 << 20];
            let files: [(&str, &[u8]); 2] = [("user-data", &large), ("meta-data", b"instance-id: a\n")];
            write_seed(Cursor::new(&mut bytes), sector, &files).unwrap();
            assert_eq!(
                crate::disk::find_foreign(&bytes, sector).unwrap().as_deref(),
                Some("FAT file system")
            );
            let volume = FileSystem::new(Cursor::new(bytes), FsOptions::new()).unwrap();
            assert_eq!(volume.volume_label(), "CIDATA");
            assert_eq!(volume.read_volume_label_from_root_dir().unwrap().as_deref(), Some("CIDATA"));
            for (name, content) in files {
                let mut found = Vec::new();
                volume.root_dir().open_file(name).unwrap().read_to_end(&mut found).unwrap();
                assert!(found == content);
            }
        }
    }
}
