//! One file more, or one less, in the root directory of an image, in every tree that it has.
//!
//! It touches directories only, never the data of a file. Invariant: all trees of the image show
//! the same root files afterwards. Where the root directory is full it moves behind the image, and
//! everything that points to it is pointed to its new place.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::field::{le32, read_block};
use super::level1::unique_level1_name;
use super::name::{TreeKind, name_of, plain_name};
use super::record::{Extent, Record, lay_out, read_records};
use super::volume::ROOT_RECORD;
use super::{BLOCK, Edit, IsoError, ReadAt, Tree, Volume, rock_ridge};

/// Makes `name` a file of the root directory that lies at `extent`; without an extent, makes sure that there is none.
/// Whatever case it has in the image, a file of that name is replaced. Where the name is not upper-case 8.3, as
/// `KS.CFG` is, the primary tree shows another one.
pub fn set_root_file<R: ReadAt + ?Sized>(
    edit: &mut Edit<'_, R>,
    name: &str,
    extent: Option<Extent>,
) -> Result<(), IsoError> {
    change_root(edit, Some(name), extent.as_ref().map(|extent| (name, extent)))
}

/// Adds a file whose name the root directory does not have. It removes none: an 8.3 name of one file may be the whole name
/// of another.
pub fn add_root_file<R: ReadAt + ?Sized>(
    edit: &mut Edit<'_, R>,
    name: &str,
    extent: &Extent,
) -> Result<(), IsoError> {
    change_root(edit, None, Some((name, extent)))
}

fn change_root<R: ReadAt + ?Sized>(
    edit: &mut Edit<'_, R>,
    removed: Option<&str>,
    added: Option<(&str, &Extent)>,
) -> Result<(), IsoError> {
    let volume = Volume::open(edit)?;
    let mut roots: BTreeMap<u64, Vec<&Tree>> = BTreeMap::new();
    for tree in &volume.trees {
        roots.entry(tree.root.start).or_default().push(tree);
    }
    for trees in roots.values() {
        let mut records = records_without(edit, trees, removed)?;
        if let Some((name, extent)) = added {
            insert(&mut records, trees, name, extent)?;
        }
        replace_root(edit, trees, records)?;
    }
    Ok(())
}

/// The records of the root directory that these trees share, but for the files called `removed` in
/// any of them.
fn records_without<R: ReadAt + ?Sized>(
    edit: &Edit<'_, R>,
    trees: &[&Tree],
    removed: Option<&str>,
) -> Result<Vec<Record>, IsoError> {
    let mut kept = Vec::new();
    for record in read_records(edit, &trees[0].root)? {
        let mut is_named = false;
        if let Some(name) = removed {
            for tree in trees {
                is_named |= name_of(edit, tree.kind, &record, tree.susp_skip)?.eq_ignore_ascii_case(name);
            }
            if is_named && record.is_dir() {
                return Err(IsoError::Unsupported { path: format!("/{name}"), what: "is a directory" });
            }
        }
        if !is_named || record.is_dot() {
            kept.push(record);
        }
    }
    let starts_with_dots = matches!(kept.as_slice(), [dot, parent, ..]
        if dot.identifier() == [0] && parent.identifier() == [1]);
    if starts_with_dots {
        return Ok(kept);
    }
    let reason = "it does not start with its own and its parent's record";
    Err(IsoError::Malformed { what: "the root directory", offset: trees[0].root.start, reason })
}

/// Puts the new record where the order of ECMA-119 §9.3 wants it, dressed as its neighbours are.
fn insert(records: &mut Vec<Record>, trees: &[&Tree], name: &str, extent: &Extent) -> Result<(), IsoError> {
    let is_joliet = trees[0].kind == TreeKind::Joliet;
    let wide = |text: &str| -> Vec<u8> {
        if is_joliet { text.encode_utf16().flat_map(u16::to_be_bytes).collect() } else { text.into() }
    };
    let is_primary = trees.iter().any(|tree| tree.kind == TreeKind::Primary);
    let mut identifier = if is_primary { primary_name(records, name)? } else { wide(name) };
    let version = wide(";1");
    let mut files = records.iter().filter(|record| !record.is_dir());
    if files.any(|file| file.identifier().ends_with(&version)) {
        // ECMA-119 §7.5.1: the dot stays where there is no extension.
        if is_primary && !identifier.contains(&b'.') {
            identifier.push(b'.');
        }
        identifier.extend(version);
    }
    let rock_ridge = trees.iter().find(|tree| tree.kind == TreeKind::RockRidge);
    let entries = |tree: &&Tree| [vec![0; tree.susp_skip], rock_ridge::named(name, false)].concat();
    let system_use = rock_ridge.map(entries).unwrap_or_default();
    let record = Record::new(&identifier, extent, records[0].time(), false, &system_use);
    let is_after = |other: &Record| {
        let order = if is_joliet {
            other.identifier().cmp(&identifier)
        } else {
            compare_identifiers(other.identifier(), &identifier)
        };
        !other.is_dot() && order == Ordering::Greater
    };
    let at = records.iter().position(is_after).unwrap_or(records.len());
    records.insert(at, record);
    Ok(())
}

/// A level 1 name that none of the records has.
fn primary_name(records: &[Record], name: &str) -> Result<Vec<u8>, IsoError> {
    let taken: BTreeSet<String> = records.iter().map(|record| plain_name(record.identifier())).collect();
    let is_taken = |wanted: &[u8]| taken.contains(&plain_name(wanted));
    let unsupported = |what| IsoError::Unsupported { path: format!("/{name}"), what };
    unique_level1_name(name, false, is_taken).map_err(unsupported)
}

/// ECMA-119 §9.3: by name, then extension, each as if padded with blanks.
pub fn compare_identifiers(a: &[u8], b: &[u8]) -> Ordering {
    let parts = |identifier: &[u8]| {
        let stem_end = identifier.iter().position(|byte| *byte == b';').unwrap_or(identifier.len());
        let text = identifier[..stem_end].to_vec();
        match text.iter().position(|byte| *byte == b'.') {
            Some(dot) => (text[..dot].to_vec(), text[dot + 1..].to_vec()),
            None => (text, Vec::new()),
        }
    };
    let (a, b) = (parts(a), parts(b));
    compare_padded(&a.0, &b.0).then_with(|| compare_padded(&a.1, &b.1))
}

fn compare_padded(a: &[u8], b: &[u8]) -> Ordering {
    let at = |text: &[u8], index: usize| text.get(index).copied().unwrap_or(b' ');
    (0..a.len().max(b.len()))
        .map(|i| at(a, i).cmp(&at(b, i)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Writes the directory back, in its place if it fits there.
fn replace_root<R: ReadAt + ?Sized>(
    edit: &mut Edit<'_, R>,
    trees: &[&Tree],
    mut records: Vec<Record>,
) -> Result<(), IsoError> {
    let old = &trees[0].root;
    let capacity = (old.end - old.start) / BLOCK * BLOCK;
    let mut bytes = lay_out(&records);
    if bytes.len() as u64 <= capacity {
        bytes.resize(capacity as usize, 0);
        return edit.write(old.start, &bytes);
    }
    let extent = edit.append(&bytes, 0)?;
    records[0].point_to(&extent);
    records[1].point_to(&extent);
    edit.write(extent.range().start, &lay_out(&records))?;
    for tree in trees {
        point_tree(edit, tree, &extent)?;
    }
    records
        .iter()
        .filter(|record| record.is_dir() && !record.is_dot())
        .try_for_each(|child| point_parent(edit, child, &extent))
}

/// Points descriptor and path tables to the new root directory.
fn point_tree<R: ReadAt + ?Sized>(
    edit: &mut Edit<'_, R>,
    tree: &Tree,
    root: &Extent,
) -> Result<(), IsoError> {
    edit.point_record(tree.descriptor + ROOT_RECORD, root)?;
    for (tables, location) in [
        (&tree.path_tables.little, root.block.to_le_bytes()),
        (&tree.path_tables.big, root.block.to_be_bytes()),
    ] {
        for table in tables {
            // ECMA-119 §9.4: length of identifier, extended attributes, location, parent, identifier.
            let entry = read_block(edit, table / BLOCK, "the path table")?;
            if entry[0] != 1 || entry[8] != 0 {
                let reason = "it does not start with the root directory";
                return Err(IsoError::Malformed { what: "the path table", offset: *table, reason });
            }
            if le32(&entry, 2) != u32::from_le_bytes(location) {
                edit.write(table + 2, &location)?;
            }
        }
    }
    Ok(())
}

/// Points the `..` of a directory in the root to the new root directory.
fn point_parent<R: ReadAt + ?Sized>(
    edit: &mut Edit<'_, R>,
    child: &Record,
    root: &Extent,
) -> Result<(), IsoError> {
    let range = child.extent().range();
    let records = read_records(edit, &(range.start..range.end.min(range.start + BLOCK)))?;
    match records.get(1).filter(|record| record.identifier() == [1]) {
        Some(parent) => edit.point_record(parent.offset, root),
        None => {
            let reason = "its second record is not its parent's";
            Err(IsoError::Malformed { what: "a directory", offset: range.start, reason })
        }
    }
}
