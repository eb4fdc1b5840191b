//! Makes an installer boot unattended, as changes over its bytes.
//!
//! It writes no image. A boot file that has to change keeps its length if its title can give way,
//! else it grows inside its last block, else it moves behind the image; the records of every tree
//! follow. Invariant: what is handed out has been read back by [`super::verify`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::bootcfg::{fit, set_kickstart};
use super::patch_error::PatchError;
use super::recognise::BOOT_FILE_BYTES_MAX;
use super::verify::{Expected, verify};
use super::{BootFile, Installer, KICKSTART_PATH, KickstartOn};
use crate::iso::{
    BLOCK, Edit, Extent, IsoError, KICKSTART_GAP_BYTES, NONCE_NAME, Overlay, ReadAt, TreeKind, Volume,
    begin_change, boot_ranges, set_root_file,
};

/// An installer and a job's kickstart on one CD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SingleCd {
    pub overlay: Overlay,
    /// Where the kickstart lies, in bytes: behind everything else, with 4 MiB of nothing before
    /// and after it, so that a read of it is one.
    pub kickstart: Range<u64>,
    /// The same of the nonce, behind the kickstart.
    pub nonce: Option<Range<u64>>,
    /// Byte after everything that is not in those two files.
    pub rest_end: u64,
}

/// The image with the kickstart's option in its boot files, and without a `/KS.CFG` of its own: the
/// kickstart is on another medium, and the installer searches CDs in no known order.
pub fn overlay<R: ReadAt + ?Sized>(
    src: &R,
    installer: &Installer,
    on: KickstartOn,
) -> Result<Overlay, PatchError> {
    let mut edit = begin_change(src)?;
    if installer.has_ks_cfg {
        set_root_file(&mut edit, KICKSTART_NAME, None)?;
    }
    let boot_files = patch_boot_files(&mut edit, installer, on)?;
    finish(src, edit, &Expected { boot_files, kickstart: None, nonce: None })
}

/// The same, with this kickstart, and perhaps a nonce, at the root of the image.
pub fn overlay_single_cd<R: ReadAt + ?Sized>(
    src: &R,
    installer: &Installer,
    kickstart: &[u8],
    nonce: Option<&[u8]>,
) -> Result<SingleCd, PatchError> {
    let mut edit = begin_change(src)?;
    // The directory entries come first, because they may move the root directory behind the image;
    // the files go behind that.
    let files = [(KICKSTART_NAME, Some(kickstart)), (NONCE_NAME, nonce)];
    let files = files.into_iter().filter_map(|(name, bytes)| Some((name, bytes?)));
    for (name, _) in files.clone() {
        set_root_file(&mut edit, name, Some(Extent { block: 0, size: 0 }))?;
    }
    let boot_files = patch_boot_files(&mut edit, installer, KickstartOn::Cd)?;
    let rest_end = edit.size();
    let mut places = Vec::new();
    for (name, bytes) in files {
        let extent = edit.append(bytes, KICKSTART_GAP_BYTES)?;
        set_root_file(&mut edit, name, Some(extent))?;
        places.push(extent.range());
    }
    edit.extend(KICKSTART_GAP_BYTES);
    let overlay = finish(src, edit, &Expected { boot_files, kickstart: Some(kickstart), nonce })?;
    let mut places = places.into_iter();
    let kickstart = places.next().expect("the kickstart has just been placed");
    Ok(SingleCd { overlay, kickstart, nonce: places.next(), rest_end })
}

const KICKSTART_NAME: &str = KICKSTART_PATH.split_at(1).1;

fn finish<R: ReadAt + ?Sized>(
    src: &R,
    mut edit: Edit<'_, R>,
    expected: &Expected<'_>,
) -> Result<Overlay, PatchError> {
    let volume = Volume::open(&edit)?;
    edit.update_volume_sizes(&volume)?;
    let overlay = edit.finish()?;
    verify(src, &overlay, expected)?;
    Ok(overlay)
}

/// Changes the boot files and gives their new content, by path.
fn patch_boot_files<R: ReadAt + ?Sized>(
    edit: &mut Edit<'_, R>,
    installer: &Installer,
    on: KickstartOn,
) -> Result<BTreeMap<String, Vec<u8>>, PatchError> {
    let volume = Volume::open(edit)?;
    let occupied = occupied(edit, &volume)?;
    let mut contents = BTreeMap::new();
    for place in places(edit, &volume, installer)? {
        let old = edit_bytes(edit, &place.extent)?;
        let path = place.paths.first().cloned().unwrap_or_default();
        let new = set_kickstart(&old, on).map_err(|source| PatchError::BootFile { path, source })?;
        let written = if new == old { old } else { write_boot_file(edit, &place, &occupied, new)? };
        contents.extend(place.paths.into_iter().map(|path| (path, written.clone())));
    }
    Ok(contents)
}

/// Where a boot file's data lies, and everything that leads there.
struct Place {
    extent: Range<u64>,
    /// Offsets of the directory records, in all trees.
    records: BTreeSet<u64>,
    /// One path, or both where the two boot files are one.
    paths: BTreeSet<String>,
}

/// Where the trees say that the boot files lie.
fn places<R: ReadAt + ?Sized>(
    edit: &Edit<'_, R>,
    volume: &Volume,
    installer: &Installer,
) -> Result<Vec<Place>, PatchError> {
    let mut places: Vec<Place> = Vec::new();
    for BootFile { path, .. } in &installer.boot_files {
        for tree in &volume.trees {
            let entry = match volume.find(edit, tree.kind, path)? {
                Some(entry) => entry,
                None if tree.kind == TreeKind::Primary => {
                    return Err(PatchError::Vanished { path: path.clone() });
                }
                None => continue,
            };
            if entry.is_dir || entry.is_split || entry.has_extended_attributes {
                let what = "is no plain file of one extent";
                return Err(IsoError::Unsupported { path: path.clone(), what }.into());
            }
            let index = places.iter().position(|place| place.extent == entry.extent).unwrap_or(places.len());
            if index == places.len() {
                places.push(Place { extent: entry.extent, records: BTreeSet::new(), paths: BTreeSet::new() });
            }
            places[index].records.insert(entry.record_offset);
            places[index].paths.insert(path.clone());
        }
    }
    Ok(places)
}

/// Writes the file where it is, if it fits there and nothing else lies there, else behind the
/// image. Gives the content as written.
fn write_boot_file<R: ReadAt + ?Sized>(
    edit: &mut Edit<'_, R>,
    place: &Place,
    occupied: &[Occupied],
    new: Vec<u8>,
) -> Result<Vec<u8>, PatchError> {
    let Range { start, end } = place.extent;
    let room = start..end.next_multiple_of(BLOCK).min(edit.size());
    let is_foreign = |other: &Occupied| match other.record {
        Some(record) if place.records.contains(&record) => false,
        _ => other.range.start < room.end && room.start < other.range.end,
    };
    let is_alone = !occupied.iter().any(is_foreign);
    if let Some(same_length) = fit(&new, (end - start) as usize).filter(|_| is_alone) {
        edit.write(start, &same_length)?;
        return Ok(same_length);
    }
    if is_alone && new.len() as u64 <= room.end - room.start {
        edit.write(start, &new)?;
        let block = u32::try_from(start / BLOCK).unwrap_or(u32::MAX);
        point_records(edit, place, &Extent { block, size: new.len() as u32 })?;
        return Ok(new);
    }
    let extent = edit.append(&new, 0)?;
    point_records(edit, place, &extent)?;
    Ok(new)
}

fn point_records<R: ReadAt + ?Sized>(
    edit: &mut Edit<'_, R>,
    place: &Place,
    extent: &Extent,
) -> Result<(), IsoError> {
    place.records.iter().try_for_each(|record| edit.point_record(*record, extent))
}

fn edit_bytes<R: ReadAt + ?Sized>(edit: &Edit<'_, R>, range: &Range<u64>) -> Result<Vec<u8>, IsoError> {
    let found = range.end - range.start;
    if found > BOOT_FILE_BYTES_MAX {
        return Err(IsoError::TooMuch { what: "bytes of a boot file", found, limit: BOOT_FILE_BYTES_MAX });
    }
    let mut bytes = vec![0; found as usize];
    let (what, offset) = ("a boot file", range.start);
    edit.read_at(offset, &mut bytes).map_err(|source| IsoError::Read { what, offset, source })?;
    Ok(bytes)
}

/// Bytes of the image that something needs.
struct Occupied {
    range: Range<u64>,
    /// Of the file, if it is one.
    record: Option<u64>,
}

fn occupied<R: ReadAt + ?Sized>(edit: &Edit<'_, R>, volume: &Volume) -> Result<Vec<Occupied>, IsoError> {
    let mut ranges = vec![Occupied { range: 0..volume.descriptors.end, record: None }];
    for tree in &volume.trees {
        let tables = tree.path_tables.little.iter().chain(&tree.path_tables.big);
        let tables = tables.map(|start| *start..start + u64::from(tree.path_tables.size));
        ranges.extend(tables.chain([tree.root.clone()]).map(|range| Occupied { range, record: None }));
        let entries = volume.walk(edit, tree.kind)?.into_iter();
        ranges
            .extend(entries.map(|entry| Occupied { range: entry.extent, record: Some(entry.record_offset) }));
    }
    ranges.extend(boot_ranges(volume).map(|range| Occupied { range, record: None }));
    ranges.retain(|occupied| !occupied.range.is_empty());
    Ok(ranges)
}
