//! Places everything, and writes the blocks.
//!
//! The order: descriptors, path tables, directories, boot catalogue, files; then, behind a gap,
//! the files that are placed far, and another gap; then the holes. Invariant: places are given once, before the
//! first byte is written, and every extent starts on a block.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::names::{Dir, Naming, Target, directories};
use super::{Boot, Content, File, IsoWriter, Placement, WriteError, Written};
use crate::iso::eltorito::{ENTRY_BYTES, SYSTEM_ID};
use crate::iso::field::{both16, both32};
use crate::iso::record::{Extent, Record, lay_out};
use crate::iso::{BLOCK, BLOCK_LEN, BootPlatform, Patch, SparseImage, rock_ridge, round_up};

const FIRST_DESCRIPTOR: u32 = 16;

/// A tree, and where its directories lie.
struct PlacedTree {
    naming: Naming,
    dirs: Vec<Dir>,
    extents: Vec<Extent>,
    path_table_bytes: u32,
    little_table: u32,
    big_table: u32,
    /// Block of the Rock Ridge entry that no directory record has room for.
    continuation: Option<u32>,
}

pub fn write(writer: &IsoWriter) -> Result<Written, WriteError> {
    let files = files_of(writer)?;
    let primary = if writer.rock_ridge { Naming::RockRidge } else { Naming::Level1 };
    let namings: &[Naming] = if writer.joliet { &[primary, Naming::Joliet] } else { &[primary] };
    let descriptors = namings.len() as u32 + 1 + u32::from(!writer.boot.is_empty());
    let mut next = FIRST_DESCRIPTOR + descriptors;
    let mut trees = Vec::new();
    for naming in namings {
        trees.push(place_tree(directories(files.keys(), *naming)?, *naming, &mut next));
    }
    let (extents, near_end, size) = place_files(writer, &files, next)?;
    let blocks = u32::try_from(size / BLOCK).map_err(|_| too_large("the image", size))?;

    let mut pieces: Vec<(u32, Bytes)> =
        vec![(FIRST_DESCRIPTOR, descriptor_blocks(writer, &trees, &extents, blocks).into())];
    for tree in &trees {
        pieces.push((tree.little_table, path_table(tree, u32::to_le_bytes, u16::to_le_bytes).into()));
        pieces.push((tree.big_table, path_table(tree, u32::to_be_bytes, u16::to_be_bytes).into()));
        for (index, extent) in tree.extents.iter().enumerate() {
            pieces.push((extent.block, directory(writer, tree, index, &extents).into()));
        }
        pieces.extend(tree.continuation.map(|block| (block, rock_ridge::extension_reference().into())));
    }
    let catalog = catalog_block(&writer.boot, &extents);
    for (path, file) in files {
        let block = extents[&path].block;
        match file.content {
            _ if is_catalog(writer, &path) => pieces.push((block, catalog.clone().into())),
            Content::Bytes(bytes) => pieces.push((block, bytes)),
            Content::Hole(_) => {}
        }
    }
    pieces.sort_by_key(|(block, _)| *block);
    let pieces = pieces.into_iter().filter(|(_, bytes)| !bytes.is_empty());
    let pieces = pieces.map(|(block, bytes)| Patch { offset: u64::from(block) * BLOCK, bytes });
    let image = SparseImage { size, pieces: pieces.collect() };
    let extents = extents.into_iter().map(|(path, extent)| (path, extent.range()));
    Ok(Written { image, extents: extents.collect(), near_end })
}

fn is_catalog(writer: &IsoWriter, path: &str) -> bool {
    !writer.boot.is_empty() && path == writer.catalog_path
}

fn too_large(path: &str, bytes: u64) -> WriteError {
    WriteError::TooLarge { path: path.to_owned(), bytes }
}

/// The files by path, the boot catalogue among them.
fn files_of(writer: &IsoWriter) -> Result<BTreeMap<String, File>, WriteError> {
    let mut files = writer.files.clone();
    if let Some(boot) = writer.boot.iter().find(|boot| !files.contains_key(&boot.path)) {
        return Err(WriteError::NoBootImage { path: boot.path.clone() });
    }
    if !writer.boot.is_empty() {
        let content = Content::Bytes(Bytes::from_static(&[0; BLOCK_LEN]));
        files.insert(writer.catalog_path.clone(), File { content, placement: Placement::Near });
    }
    Ok(files)
}

fn place_tree(mut dirs: Vec<Dir>, naming: Naming, next: &mut u32) -> PlacedTree {
    let mut take = |bytes: u64| {
        let block = *next;
        *next += (round_up(bytes) / BLOCK) as u32;
        block
    };
    let table_bytes: usize = dirs.iter().map(|dir| 8 + dir.identifier.len().next_multiple_of(2)).sum();
    let (little_table, big_table) = (take(table_bytes as u64), take(table_bytes as u64));
    let continuation = (naming == Naming::RockRidge).then(|| take(BLOCK));
    if let Some(block) = continuation {
        dirs[0].own_system_use = rock_ridge::root_directory(block);
    }
    let nowhere = Extent { block: 0, size: 0 };
    let size_of = |dir: &Dir| lay_out(&records(dir, nowhere, nowhere, [0; 7], |_| nowhere)).len() as u32;
    let extents = dirs.iter().map(|dir| {
        let size = size_of(dir);
        Extent { block: take(u64::from(size)), size }
    });
    let extents = extents.collect();
    let path_table_bytes = table_bytes as u32;
    PlacedTree { naming, dirs, extents, path_table_bytes, little_table, big_table, continuation }
}

type Places = BTreeMap<String, Extent>;

/// Where each file lies, where the near ones end and where the image ends, both in bytes.
fn place_files(
    writer: &IsoWriter,
    files: &BTreeMap<String, File>,
    first: u32,
) -> Result<(Places, u64, u64), WriteError> {
    let mut ordered: Vec<_> = files.iter().collect();
    ordered.sort_by_key(|(_, file)| file.placement);
    let mut places = Places::new();
    let mut at = u64::from(first) * BLOCK;
    let mut near_end = at;
    let mut is_gap_due = false;
    for (path, file) in ordered {
        let bytes = file.content.size();
        let is_far = matches!(file.placement, Placement::Far(_));
        if is_far || is_gap_due {
            at = round_up(at + writer.gap_bytes);
        }
        is_gap_due = is_far;
        let wrong = |_| too_large(path, bytes);
        let block = u32::try_from(at / BLOCK).map_err(wrong)?;
        places.insert(path.clone(), Extent { block, size: u32::try_from(bytes).map_err(wrong)? });
        at = round_up(at + bytes);
        if file.placement == Placement::Near {
            near_end = at;
        }
    }
    let end = if is_gap_due { round_up(at + writer.gap_bytes) } else { at };
    Ok((places, near_end, end))
}

fn records(
    dir: &Dir,
    own: Extent,
    parent: Extent,
    time: [u8; 7],
    extent_of: impl Fn(&Target) -> Extent,
) -> Vec<Record> {
    let mut records = vec![
        Record::new(&[0], &own, time, true, &dir.own_system_use),
        Record::new(&[1], &parent, time, true, &dir.parent_system_use),
    ];
    records.extend(dir.entries.iter().map(|entry| {
        let is_dir = matches!(entry.target, Target::Dir(_));
        Record::new(&entry.identifier, &extent_of(&entry.target), time, is_dir, &entry.system_use)
    }));
    records
}

fn directory(writer: &IsoWriter, tree: &PlacedTree, index: usize, files: &Places) -> Vec<u8> {
    let dir = &tree.dirs[index];
    let (own, parent) = (tree.extents[index], tree.extents[dir.parent]);
    lay_out(&records(dir, own, parent, writer.time.short(), |target| match target {
        Target::Dir(index) => tree.extents[*index],
        Target::File(path) => files[path],
    }))
}

/// ECMA-119 §9.4; directories are numbered from 1.
fn path_table(tree: &PlacedTree, long: fn(u32) -> [u8; 4], short: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let mut table = Vec::with_capacity(tree.path_table_bytes as usize);
    for (dir, extent) in tree.dirs.iter().zip(&tree.extents) {
        table.extend([dir.identifier.len() as u8, 0]);
        table.extend(long(extent.block));
        table.extend(short(dir.parent as u16 + 1));
        table.extend(&dir.identifier);
        table.resize(table.len().next_multiple_of(2), 0);
    }
    table
}

/// Primary, boot record, Joliet, terminator.
fn descriptor_blocks(writer: &IsoWriter, trees: &[PlacedTree], files: &Places, blocks: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for tree in trees {
        bytes.extend(descriptor(writer, tree, blocks));
        if tree.naming != Naming::Joliet && !writer.boot.is_empty() {
            let mut record = descriptor_head(0);
            record[7..7 + SYSTEM_ID.len()].copy_from_slice(SYSTEM_ID);
            record[71..75].copy_from_slice(&files[&writer.catalog_path].block.to_le_bytes());
            bytes.extend(record);
        }
    }
    bytes.extend(descriptor_head(255));
    bytes
}

fn descriptor_head(kind: u8) -> [u8; BLOCK_LEN] {
    let mut block = [0; BLOCK_LEN];
    block[0] = kind;
    block[1..6].copy_from_slice(b"CD001");
    block[6] = 1;
    block
}

/// ECMA-119 §8.4 and §8.5.
fn descriptor(writer: &IsoWriter, tree: &PlacedTree, blocks: u32) -> [u8; BLOCK_LEN] {
    let is_joliet = tree.naming == Naming::Joliet;
    let mut block = descriptor_head(if is_joliet { 2 } else { 1 });
    let mut text = |from: usize, to: usize, value: &str| put_text(&mut block[from..to], value, is_joliet);
    text(8, 40, "");
    text(40, 72, &writer.volume_id);
    text(190, 318, "");
    text(318, 446, &writer.publisher_id);
    text(446, 574, "");
    text(574, 702, &writer.application_id);
    text(702, 739, "");
    text(739, 776, "");
    text(776, 813, "");
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(80, &both32(blocks));
    if is_joliet {
        // UCS-2 level 3, as all tools write it.
        put(88, b"%/E");
    }
    put(120, &both16(1));
    put(124, &both16(1));
    put(128, &both16(BLOCK_LEN as u16));
    put(132, &both32(tree.path_table_bytes));
    put(140, &tree.little_table.to_le_bytes());
    put(148, &tree.big_table.to_be_bytes());
    put(156, Record::new(&[0], &tree.extents[0], writer.time.short(), true, &[]).bytes());
    let unset = *b"0000000000000000\0";
    for (at, date) in [(813, writer.time.long()), (830, writer.time.long()), (847, unset), (864, unset)] {
        put(at, &date);
    }
    put(881, &[1]);
    block
}

/// A text field, filled up with blanks, in the tree's own characters.
fn put_text(field: &mut [u8], value: &str, is_joliet: bool) {
    if is_joliet {
        let units = value.encode_utf16().chain(std::iter::repeat(u16::from(b' ')));
        // A field of odd length ends with half a character, which stays zero.
        field
            .chunks_exact_mut(2)
            .zip(units)
            .for_each(|(pair, unit)| pair.copy_from_slice(&unit.to_be_bytes()));
    } else {
        let bytes = value.bytes().chain(std::iter::repeat(b' '));
        field.iter_mut().zip(bytes).for_each(|(byte, value)| *byte = value);
    }
}

/// The El Torito catalogue: a validation entry, the default entry, and a section for each other
/// entry.
fn catalog_block(boot: &[Boot], files: &Places) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BLOCK_LEN);
    for (index, entry) in boot.iter().enumerate() {
        let id = entry.platform.id();
        if index == 0 {
            bytes.extend(validation_entry(entry.platform));
        } else {
            let more = if index + 1 < boot.len() { 0x90 } else { 0x91 };
            let mut header = [0; ENTRY_BYTES];
            header[..4].copy_from_slice(&[more, id, 1, 0]);
            bytes.extend(header);
        }
        let mut record = [0; ENTRY_BYTES];
        record[0] = 0x88;
        record[6..8].copy_from_slice(&entry.load_sectors.to_le_bytes());
        record[8..12].copy_from_slice(&files[&entry.path].block.to_le_bytes());
        bytes.extend(record);
    }
    bytes.resize(BLOCK_LEN, 0);
    bytes
}

/// Its 16-bit words add up to zero.
fn validation_entry(platform: BootPlatform) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[..2].copy_from_slice(&[1, platform.id()]);
    entry[30..].copy_from_slice(&[0x55, 0xAA]);
    let sum = entry
        .chunks_exact(2)
        .fold(0, |sum: u16, pair| sum.wrapping_add(u16::from_le_bytes([pair[0], pair[1]])));
    entry[28..30].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    entry
}
