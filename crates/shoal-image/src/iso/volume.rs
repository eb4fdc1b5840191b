//! An image's descriptors: what it calls itself, which directory trees it has, what it boots.
//!
//! Nothing below a root directory is read here (that is [`super::tree`]). Invariant: a [`Volume`]
//! has exactly one primary tree, the first of [`Volume::trees`], and blocks of 2048 bytes.

use std::ops::Range;

use super::eltorito::{self, BootCatalog, read_catalog};
use super::field::{be32, le16, le32, read_block, text};
use super::name::{TreeKind, susp_entries};
use super::record::{Extent, read_records};
use super::{BLOCK, BLOCK_LEN, IsoError, ReadAt};

/// Block of the first descriptor.
const FIRST_DESCRIPTOR: u64 = 16;
/// Real images have 3 to 6.
const DESCRIPTORS_MAX: u64 = 32;
/// Blocks in which a volume recognition sequence (ECMA-167 part 2, 8.3) is looked for, foreign ones
/// included, and the most that one may have.
const UDF_SEARCH_BLOCKS: u64 = 4;
const RECOGNITION_BLOCKS_MAX: u64 = 32;
/// What stands in such a sequence beside UDF's `NSR…`.
const RECOGNITION_IDS: [&[u8; 5]; 5] = [b"CD001", b"BEA01", b"TEA01", b"BOOT2", b"CDW02"];

/// What may stand before the Rock Ridge entries of a record: 14 bytes of CD-ROM XA, or nothing.
const SUSP_SKIP_MAX: usize = 64;

/// Offset of the volume space size (both orders) in a descriptor.
pub const VOLUME_SIZE: u64 = 80;
/// Offset of the root directory's record in a descriptor.
pub const ROOT_RECORD: u64 = 156;

/// A parsed image, without the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    pub system_id: String,
    pub volume_id: String,
    pub publisher_id: String,
    pub preparer_id: String,
    pub application_id: String,
    /// Volume space size, in blocks. The image itself may be longer or, if cut off, shorter.
    pub size_blocks: u64,
    /// The descriptors with their terminator, in bytes.
    pub descriptors: Range<u64>,
    pub trees: Vec<Tree>,
    pub boot: Option<BootCatalog>,
    /// The image is a UDF bridge: it has one more tree, which is not read here.
    pub udf: bool,
}

/// One way to see the files of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    pub kind: TreeKind,
    /// Byte offset of its volume descriptor. The Rock Ridge tree shares the primary one's.
    pub descriptor: u64,
    /// The root directory, in bytes of the image.
    pub root: Range<u64>,
    /// Byte offsets of the path tables: little-endian ones, then big-endian ones. Absent optional
    /// tables are left out.
    pub path_tables: PathTables,
    /// Bytes to skip at the start of each system use area (SUSP's SP entry).
    pub(super) susp_skip: usize,
}

/// Where the path tables of a tree lie, in bytes of the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathTables {
    pub size: u32,
    pub little: Vec<u64>,
    pub big: Vec<u64>,
}

impl Volume {
    /// Reads the descriptors, the boot catalogue and the first records of the root directory.
    pub fn open<R: ReadAt + ?Sized>(src: &R) -> Result<Volume, IsoError> {
        let found = read_descriptors(src)?;
        let primary = &found.primary;
        let mut volume = Volume {
            system_id: text(&primary[8..40]),
            volume_id: text(&primary[40..72]),
            publisher_id: text(&primary[318..446]),
            preparer_id: text(&primary[446..574]),
            application_id: text(&primary[574..702]),
            size_blocks: u64::from(le32(primary, VOLUME_SIZE as usize)),
            descriptors: FIRST_DESCRIPTOR * BLOCK..found.end,
            trees: found.trees,
            boot: found.catalog.map(|block| read_catalog(src, block)).transpose()?,
            udf: find_udf(src, found.end)?,
        };
        if let Some(rock_ridge) = rock_ridge_of(src, &volume.trees[0])? {
            volume.trees.insert(1, rock_ridge);
        }
        Ok(volume)
    }

    /// The tree of this kind, if the image has it.
    pub fn tree(&self, kind: TreeKind) -> Option<&Tree> {
        self.trees.iter().find(|tree| tree.kind == kind)
    }

    /// The tree that every image has.
    pub fn primary(&self) -> &Tree {
        &self.trees[0]
    }
}

struct Descriptors {
    primary: [u8; BLOCK_LEN],
    trees: Vec<Tree>,
    /// Block of the boot catalogue.
    catalog: Option<u32>,
    /// Byte after the terminator.
    end: u64,
}

fn read_descriptors<R: ReadAt + ?Sized>(src: &R) -> Result<Descriptors, IsoError> {
    let mut primary = None;
    let mut trees: Vec<Tree> = Vec::new();
    let mut catalog = None;
    for index in 0..DESCRIPTORS_MAX {
        let offset = (FIRST_DESCRIPTOR + index) * BLOCK;
        let block = read_descriptor(src, offset)?;
        match block[0] {
            0 if block[7..].starts_with(eltorito::SYSTEM_ID) => catalog = Some(le32(&block, 71)),
            1 if primary.is_none() => {
                trees.insert(0, read_tree(&block, offset, TreeKind::Primary)?);
                primary = Some(block);
            }
            2 => trees.push(read_tree(&block, offset, supplementary_kind(&block))?),
            255 => {
                let primary = primary.ok_or(IsoError::NotIso { reason: "it has no primary descriptor" })?;
                return Ok(Descriptors { primary, trees, catalog, end: offset + BLOCK });
            }
            _ => {}
        }
    }
    Err(IsoError::TooMuch { what: "volume descriptors", found: DESCRIPTORS_MAX + 1, limit: DESCRIPTORS_MAX })
}

fn read_descriptor<R: ReadAt + ?Sized>(src: &R, offset: u64) -> Result<[u8; BLOCK_LEN], IsoError> {
    let first = offset == FIRST_DESCRIPTOR * BLOCK;
    if first && src.size() < offset + BLOCK {
        return Err(IsoError::NotIso { reason: "it is too short" });
    }
    let block = read_block(src, offset / BLOCK, "the volume descriptors")?;
    match &block[1..6] {
        b"CD001" => Ok(block),
        _ if first && find_udf(src, offset)? => {
            Err(IsoError::NotIso { reason: "it is a UDF image without an ISO 9660 tree" })
        }
        _ if first => Err(IsoError::NotIso { reason: "there is no CD001 at byte 32769" }),
        _ => Err(IsoError::Malformed { what: "the volume descriptor", offset, reason: "it is not CD001" }),
    }
}

fn read_tree(block: &[u8; BLOCK_LEN], descriptor: u64, kind: TreeKind) -> Result<Tree, IsoError> {
    let malformed =
        |reason| IsoError::Malformed { what: "the volume descriptor", offset: descriptor, reason };
    if u64::from(le16(block, 128)) != BLOCK {
        return Err(malformed("its blocks are not of 2048 bytes"));
    }
    let root = &block[ROOT_RECORD as usize..];
    if root[0] < 34 || root[1] != 0 {
        return Err(malformed("its root directory record is no plain one"));
    }
    let root = Extent { block: le32(root, 2), size: le32(root, 10) }.range();
    let table = |block: u32| Some(u64::from(block) * BLOCK).filter(|offset| *offset != 0);
    let path_tables = PathTables {
        size: le32(block, 132),
        little: [le32(block, 140), le32(block, 144)].into_iter().filter_map(table).collect(),
        big: [be32(block, 148), be32(block, 152)].into_iter().filter_map(table).collect(),
    };
    Ok(Tree { kind, descriptor, root, path_tables, susp_skip: 0 })
}

/// Joliet announces itself by one of three escape sequences (its specification, "SVD Escape
/// Sequences Field").
fn supplementary_kind(block: &[u8; BLOCK_LEN]) -> TreeKind {
    match &block[88..91] {
        b"%/@" | b"%/C" | b"%/E" => TreeKind::Joliet,
        _ => TreeKind::Supplementary,
    }
}

/// The Rock Ridge tree, if the root directory's own record says that there is one (SUSP's SP, and
/// a PX or RR entry of RRIP).
fn rock_ridge_of<R: ReadAt + ?Sized>(src: &R, primary: &Tree) -> Result<Option<Tree>, IsoError> {
    let first_block = primary.root.start..primary.root.end.min(primary.root.start.saturating_add(BLOCK));
    let records = read_records(src, &first_block)?;
    let Some(dot) = records.first() else { return Ok(None) };
    let area = dot.system_use();
    // SP stands first, or after the 14 bytes of a CD-ROM XA record.
    let Some(at) = [0, 14]
        .into_iter()
        .find(|at| area.get(*at..).is_some_and(|rest| rest.starts_with(b"SP\x07\x01\xBE\xEF")))
    else {
        return Ok(None);
    };
    let is_rock_ridge = susp_entries(&area[at..]).any(|entry| matches!(&entry[..2], b"PX" | b"RR"));
    let susp_skip = area.get(at + 6).copied().map_or(0, usize::from);
    if susp_skip > SUSP_SKIP_MAX {
        let reason = "its Rock Ridge entries begin behind the end of a record";
        return Err(IsoError::Malformed { what: "the root directory", offset: dot.offset, reason });
    }
    Ok(is_rock_ridge.then(|| Tree { kind: TreeKind::RockRidge, susp_skip, ..primary.clone() }))
}

/// Whether a volume recognition sequence from the byte `start` on announces UDF: `NSR02` for UDF up
/// to 1.50, `NSR03` from 2.00 on.
fn find_udf<R: ReadAt + ?Sized>(src: &R, start: u64) -> Result<bool, IsoError> {
    for index in 0..RECOGNITION_BLOCKS_MAX {
        let block = start / BLOCK + index;
        if (block + 1) * BLOCK > src.size() {
            break;
        }
        let bytes = read_block(src, block, "the volume recognition sequence")?;
        let id = &bytes[1..6];
        if id.starts_with(b"NSR0") {
            return Ok(true);
        }
        if index + 1 >= UDF_SEARCH_BLOCKS && !RECOGNITION_IDS.iter().any(|known| known.as_slice() == id) {
            break;
        }
    }
    Ok(false)
}
