//! The FAT of a USB stick, as the installer's file system reads it: partition table, boot sector, the
//! root directory, and one file by its clusters.
//!
//! Written apart from [`shoal_image::fat`], which makes such sticks, so that neither can hide the other's
//! mistake. FAT16 alone of the two that ESXi takes, and no long names. Invariant: any bytes give an
//! answer, and no chain of clusters is followed further than the file is long.

use shoal_image::iso::{PartialImage, ReadAt};

const ENTRY: u64 = 32;
/// A small file: what is asked for is a kickstart.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How many clusters make a FAT one of 16 bits.
const CLUSTERS: std::ops::Range<u64> = 4_085..65_525;

#[derive(Debug, thiserror::Error)]
pub enum FatError {
    #[error("the disk cannot be read")]
    Read(#[from] std::io::Error),
    #[error("the disk has no partition of FAT")]
    NoPartition,
    #[error("the volume is no FAT16: {0}")]
    NotFat(&'static str),
    #[error("a chain of clusters leads nowhere")]
    BadChain,
    #[error("the file is too large for a kickstart")]
    TooLarge,
}

/// A volume that has been found sound.
#[derive(Debug)]
pub struct FatVolume {
    /// Everything in bytes of the disk.
    fat_start: u64,
    root: std::ops::Range<u64>,
    data_start: u64,
    cluster_bytes: u64,
    clusters: u64,
}

impl FatVolume {
    /// The first partition, where it holds FAT.
    pub fn open(image: &PartialImage) -> Result<FatVolume, FatError> {
        let table = read(image, 0, 512)?;
        let (kind, start) = (table[450], u64::from(u32_at(&table, 454)));
        if table[510..] != [0x55, 0xAA] || !matches!(kind, 0x04 | 0x06 | 0x0E) || start == 0 {
            return Err(FatError::NoPartition);
        }
        let boot = read(image, start * 512, 512)?;
        FatVolume::parse(&boot, start * 512)
    }

    fn parse(boot: &[u8], start: u64) -> Result<FatVolume, FatError> {
        let number = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let (sector, per_cluster) = (number(11), u64::from(boot[13]));
        if boot[510..] != [0x55, 0xAA] || sector != 512 || !per_cluster.is_power_of_two() {
            return Err(FatError::NotFat("its boot sector says so"));
        }
        let (reserved, fats, root_entries) = (number(14), u64::from(boot[16]), number(17));
        let sectors = if number(19) == 0 { u64::from(u32_at(boot, 32)) } else { number(19) };
        let fat_sectors = number(22);
        if fats == 0 || reserved == 0 || fat_sectors == 0 {
            return Err(FatError::NotFat("it has no table of 16 bits"));
        }
        let root = reserved + fats * fat_sectors;
        let data = root + (root_entries * ENTRY).div_ceil(sector);
        let clusters = sectors.saturating_sub(data) / per_cluster;
        if !CLUSTERS.contains(&clusters) {
            return Err(FatError::NotFat("its number of clusters is that of another"));
        }
        let at = |number: u64| start + number * sector;
        Ok(FatVolume {
            fat_start: at(reserved),
            root: at(root)..at(root) + root_entries * ENTRY,
            data_start: at(data),
            cluster_bytes: per_cluster * sector,
            clusters,
        })
    }

    /// A file at the root, whatever the case of its name.
    pub fn read(&self, image: &PartialImage, path: &str) -> Result<Option<Vec<u8>>, FatError> {
        let Some(name) = short_name(path.trim_start_matches('/')) else { return Ok(None) };
        let directory = read(image, self.root.start, self.root.end - self.root.start)?;
        for entry in directory.chunks_exact(ENTRY as usize) {
            match entry[0] {
                0 => break,
                0xE5 => continue,
                _ => {}
            }
            // Neither a label nor a directory.
            if entry[..11] == name && entry[11] & 0x18 == 0 {
                let first = u64::from(u16::from_le_bytes([entry[26], entry[27]]));
                return self.read_chain(image, first, u64::from(u32_at(entry, 28))).map(Some);
            }
        }
        Ok(None)
    }

    fn read_chain(&self, image: &PartialImage, first: u64, size: u64) -> Result<Vec<u8>, FatError> {
        if size > FILE_BYTES_MAX {
            return Err(FatError::TooLarge);
        }
        let (mut content, mut cluster) = (Vec::new(), first);
        loop {
            let left = size - content.len() as u64;
            if left == 0 {
                return Ok(content);
            }
            if !(2..self.clusters + 2).contains(&cluster) {
                return Err(FatError::BadChain);
            }
            let start = self.data_start + (cluster - 2) * self.cluster_bytes;
            content.extend(read(image, start, self.cluster_bytes.min(left))?);
            if left > self.cluster_bytes {
                let link = read(image, self.fat_start + cluster * 2, 2)?;
                cluster = u64::from(u16::from_le_bytes([link[0], link[1]]));
            }
        }
    }
}

fn read(image: &PartialImage, offset: u64, len: u64) -> Result<Vec<u8>, FatError> {
    let mut bytes = vec![0; len as usize];
    image.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// As directories have it; `None` for what has no such name.
fn short_name(name: &str) -> Option<[u8; 11]> {
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    let is_plain = name.is_ascii() && !name.contains('/') && !extension.contains('.');
    let fits = is_plain && (1..=8).contains(&base.len()) && extension.len() <= 3;
    let mut short = [b' '; 11];
    short.get_mut(..base.len()).filter(|_| fits)?.copy_from_slice(base.to_ascii_uppercase().as_bytes());
    short[8..8 + extension.len()].copy_from_slice(extension.to_ascii_uppercase().as_bytes());
    Some(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_case_and_eight_and_three_characters() {
        assert_eq!(short_name("ks.cfg"), Some(*b"KS      CFG"));
        assert_eq!(short_name("KS"), Some(*b"KS         "));
        for name in ["", ".cfg", "kickstart.cfg", "ks.conf", "é.cfg", "a/b.c.d"] {
            assert_eq!(short_name(name), None, "{name}");
        }
    }

    #[test]
    fn any_bytes_give_an_answer() {
        let mut image = PartialImage::new(1024, 512);
        image.insert(0, vec![0xFF; 512].into());
        image.insert(512, vec![0xFF; 512].into());
        assert!(matches!(FatVolume::open(&image), Err(FatError::NoPartition)));
        for fill in [0, 1, 0x7F, 0xFF] {
            let mut boot = [fill; 512];
            boot[510..].copy_from_slice(&[0x55, 0xAA]);
            assert!(FatVolume::parse(&boot, 512).is_err());
            boot[11..14].copy_from_slice(&[0, 2, 4]);
            let _ = FatVolume::parse(&boot, 512).map(|volume| volume.read(&image, "/KS.CFG"));
        }
    }
}
