//! What a directory record's file is called, in each of the trees that an image can have.
//!
//! No paths and no searching. Invariant: a name is not empty and has no control character and no slash,
//! so it can be shown and can be part of a path.

use super::field::{le32, read_range};
use super::record::Record;
use super::{BLOCK, IsoError, ReadAt};

/// The directory trees of an image, all over the same file data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TreeKind {
    /// ISO 9660 itself: the only one that the ESXi boot loader and installer read.
    Primary,
    /// The primary tree's records under the names that Rock Ridge gives them.
    RockRidge,
    Joliet,
    /// Any other supplementary descriptor, such as that of ISO 9660:1999.
    Supplementary,
}

impl TreeKind {
    /// For an operator.
    pub fn name(self) -> &'static str {
        match self {
            TreeKind::Primary => "ISO 9660",
            TreeKind::RockRidge => "Rock Ridge",
            TreeKind::Joliet => "Joliet",
            TreeKind::Supplementary => "supplementary",
        }
    }
}

/// Continuation areas of one record; a name needs one at most.
const CONTINUATIONS_MAX: u32 = 4;
/// Longest Rock Ridge name that a system accepts.
const ROCK_RIDGE_NAME_MAX: usize = 255;

/// The name of a record in a tree of this kind, without its version. `susp_skip` is what the
/// volume's SP entry says.
pub fn name_of<R: ReadAt + ?Sized>(
    src: &R,
    kind: TreeKind,
    record: &Record,
    susp_skip: usize,
) -> Result<String, IsoError> {
    let name = match kind {
        TreeKind::Primary | TreeKind::Supplementary => None,
        TreeKind::Joliet => Some(joliet_name(record.identifier())),
        TreeKind::RockRidge => rock_ridge_name(src, record, susp_skip)?,
    };
    Ok(name.filter(|name| !name.is_empty()).unwrap_or_else(|| plain_name(record.identifier())))
}

/// `KS.CFG;1` is `KS.CFG`, and `README.;1` is `README`.
pub fn plain_name(identifier: &[u8]) -> String {
    let shown: String = identifier.iter().map(|byte| shown(char::from(*byte))).collect();
    let name = cut_version(&shown);
    name.strip_suffix('.').filter(|stem| !stem.is_empty()).unwrap_or(name).to_owned()
}

fn joliet_name(identifier: &[u8]) -> String {
    let units = identifier.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let decoded = char::decode_utf16(units).map(|unit| shown(unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
    cut_version(&decoded.collect::<String>()).to_owned()
}

fn shown(c: char) -> char {
    if c.is_control() || c == '/' { char::REPLACEMENT_CHARACTER } else { c }
}

fn cut_version(name: &str) -> &str {
    match name.rsplit_once(';') {
        Some((stem, version)) if !stem.is_empty() && version.bytes().all(|b| b.is_ascii_digit()) => stem,
        _ => name,
    }
}

/// Joins the NM entries of a record (RRIP 1.12 §4.1.4), following CE where they go on elsewhere.
fn rock_ridge_name<R: ReadAt + ?Sized>(
    src: &R,
    record: &Record,
    skip: usize,
) -> Result<Option<String>, IsoError> {
    let mut name: Option<Vec<u8>> = None;
    let mut area = record.system_use().get(skip..).unwrap_or_default().to_vec();
    for _ in 0..=CONTINUATIONS_MAX {
        let mut more = None;
        for entry in susp_entries(&area) {
            match (&entry[..2], entry.len()) {
                (b"NM", 5..) => name.get_or_insert_default().extend(&entry[5..]),
                (b"CE", 28..) => more = Some((le32(entry, 4), le32(entry, 12), le32(entry, 20))),
                _ => {}
            }
        }
        let Some((block, offset, len)) = more else { break };
        let start = u64::from(block) * BLOCK + u64::from(offset);
        area = read_range(src, &(start..start + u64::from(len)), BLOCK, "a Rock Ridge continuation")?;
    }
    Ok(name.map(|mut bytes| {
        bytes.truncate(ROCK_RIDGE_NAME_MAX);
        String::from_utf8_lossy(&bytes).chars().map(shown).collect()
    }))
}

/// The entries of a system use area (SUSP 1.12 §4), up to the first that is none.
pub fn susp_entries(area: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = area;
    std::iter::from_fn(move || {
        let len = usize::from(*rest.get(2)?);
        let entry = rest.get(..len).filter(|entry| entry.len() >= 4 && &entry[..2] != b"ST")?;
        rest = &rest[len..];
        Some(entry)
    })
}

#[cfg(test)]
mod tests {
    use super::super::record::Extent;
    use super::*;

    #[test]
    fn names_lose_their_version_and_whatever_a_terminal_would_obey() {
        for (identifier, name) in [
            ("KS.CFG;1", "KS.CFG"),
            ("README.;1", "README"),
            ("BOOT", "BOOT"),
            (";1", ";1"),
            ("A\u{1b}[2J/B;1", "A\u{fffd}[2J\u{fffd}B"),
        ] {
            assert_eq!(plain_name(identifier.as_bytes()), name);
            let utf16: Vec<u8> = identifier.encode_utf16().flat_map(u16::to_be_bytes).collect();
            assert_eq!(joliet_name(&utf16).trim_end_matches('.'), name);
        }
    }

    #[test]
    fn a_rock_ridge_name_may_go_on_in_a_continuation_area() {
        let mut image = vec![0; 4 * BLOCK as usize];
        image[2 * BLOCK as usize + 10..][..8].copy_from_slice(b"NM\x08\x01\0cfg");
        let mut system_use = b"NM\x08\x01\x01ks.".to_vec();
        system_use.extend(b"CE\x1c\x01");
        for value in [2, 10, 8] {
            system_use.extend(super::super::field::both32(value));
        }
        let extent = Extent { block: 0, size: 0 };
        let record = Record::new(b"KS.CFG;1", &extent, [0; 7], false, &system_use);
        assert_eq!(name_of(&image, TreeKind::RockRidge, &record, 0).unwrap(), "ks.cfg");
        assert_eq!(name_of(&image, TreeKind::Primary, &record, 0).unwrap(), "KS.CFG");
    }

    #[test]
    fn a_name_that_a_tree_leaves_empty_is_the_plain_one() {
        let image = vec![0; BLOCK as usize];
        let record = |identifier: &[u8], system_use: &[u8]| {
            Record::new(identifier, &Extent { block: 0, size: 0 }, [0; 7], false, system_use)
        };
        let empty = record(b"KS.CFG;1", b"NM\x05\x01\0");
        assert_eq!(name_of(&image, TreeKind::RockRidge, &empty, 0).unwrap(), "KS.CFG");
        let half_a_letter = record(b"K", b"");
        assert_eq!(name_of(&image, TreeKind::Joliet, &half_a_letter, 0).unwrap(), "K");
    }

    #[test]
    fn a_continuation_that_leads_to_itself_ends() {
        let mut image = vec![0; 2 * BLOCK as usize];
        let mut entry = b"CE\x1c\x01".to_vec();
        for value in [1, 0, 28] {
            entry.extend(super::super::field::both32(value));
        }
        image[BLOCK as usize..][..28].copy_from_slice(&entry);
        let extent = Extent { block: 0, size: 0 };
        let record = Record::new(b"A.;1", &extent, [0; 7], false, &entry);
        assert_eq!(name_of(&image, TreeKind::RockRidge, &record, 0).unwrap(), "A");
    }
}
