//! The system use entries that are written: SUSP 1.12's and those of RRIP 1.10, the version that every system
//! reads.
//!
//! Reading them is the job of [`super::name`] and [`super::volume`]. Invariant: what is written here fits into a
//! directory record, because a name has at most [`NAME_BYTES_MAX`] bytes and needs no continuation area.

use super::field::both32;

/// What a record has room for beside a level 1 identifier and the other entries.
pub const NAME_BYTES_MAX: usize = 150;

const FILE_MODE: u32 = 0o100_444;
const DIRECTORY_MODE: u32 = 0o040_555;

/// RRIP 1.10 §4.3: these texts are fixed.
const EXTENSION_ID: &str = "RRIP_1991A";
const EXTENSION_DESCRIPTION: &str =
    "THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS";
const EXTENSION_SOURCE: &str = "PLEASE CONTACT DISC PUBLISHER FOR SPECIFICATION SOURCE.  SEE PUBLISHER IDENTIFIER \
                                IN PRIMARY VOLUME DESCRIPTOR FOR CONTACT INFORMATION.";

/// PX and NM of a file or directory: readable by all, owned by root, with its name.
pub fn named(name: &str, is_dir: bool) -> Vec<u8> {
    let mut area = attributes(is_dir);
    let length = u8::try_from(name.len() + 5).expect("a name has at most NAME_BYTES_MAX bytes");
    area.extend([b'N', b'M', length, 1, 0]);
    area.extend(name.as_bytes());
    area
}

/// PX alone, which is all that `.` and `..` need.
pub fn attributes(is_dir: bool) -> Vec<u8> {
    let (mode, links) = if is_dir { (DIRECTORY_MODE, 2) } else { (FILE_MODE, 1) };
    let mut area = b"PX\x24\x01".to_vec();
    for value in [mode, links, 0, 0] {
        area.extend(both32(value));
    }
    area
}

/// The entries of the root directory's own record: SP, PX, and CE for [`extension_reference`] in that block.
pub fn root_directory(continuation_block: u32) -> Vec<u8> {
    let mut area = b"SP\x07\x01\xBE\xEF\0".to_vec();
    area.extend(attributes(true));
    area.extend(b"CE\x1c\x01");
    for value in [continuation_block, 0, extension_reference().len() as u32] {
        area.extend(both32(value));
    }
    area
}

/// ER, which announces Rock Ridge.
pub fn extension_reference() -> Vec<u8> {
    let texts = [EXTENSION_ID, EXTENSION_DESCRIPTION, EXTENSION_SOURCE];
    let lengths = texts.map(|text| text.len() as u8);
    let mut area = vec![b'E', b'R', 8 + lengths.iter().sum::<u8>(), 1];
    area.extend(lengths);
    area.push(1);
    area.extend(texts.concat().as_bytes());
    area
}
