//! The files on the maintenance system's own medium, as changes over its bytes.
//!
//! It writes no image. Invariant: what is handed out has been read back: every tree shows the files, and everything
//! else is as it was.

use std::collections::BTreeMap;

use super::{TaskContent, TaskFile, TaskMediumError, TaskOverlay, TaskPlaces, check_files};
use crate::iso::{
    ChangeError, Edit, Extent, IsoError, KICKSTART_GAP_BYTES, Overlaid, Overlay, ReadAt, TreeKind, Volume,
    add_root_file, begin_change, check_rest, set_root_file,
};

/// The image with these files at its root, in every directory tree that it has. A file of the same name is replaced.
pub fn overlay_task_files<R: ReadAt + ?Sized>(
    src: &R,
    files: &[TaskFile],
) -> Result<TaskOverlay, TaskMediumError> {
    check_files(files)?;
    let mut edit = begin_change(src)?;
    let volume = Volume::open(src).map_err(ChangeError::from)?;
    if !volume.trees.iter().any(|tree| has_long_names(tree.kind)) {
        return Err(TaskMediumError::ShortNames);
    }
    let places = place(&mut edit, files).map_err(ChangeError::from)?;
    let volume = Volume::open(&edit).map_err(ChangeError::from)?;
    edit.update_volume_sizes(&volume).map_err(ChangeError::from)?;
    let overlay = edit.finish().map_err(ChangeError::from)?;
    verify(src, &overlay, files, &places)?;
    Ok(TaskOverlay { overlay, places })
}

fn has_long_names(kind: TreeKind) -> bool {
    matches!(kind, TreeKind::RockRidge | TreeKind::Joliet)
}

/// The directory entries come first, because they may move the root directory behind the image; the files go behind
/// that.
fn place<R: ReadAt + ?Sized>(edit: &mut Edit<'_, R>, files: &[TaskFile]) -> Result<TaskPlaces, IsoError> {
    // All that is replaced goes first: the 8.3 name of one file may be the whole name of another.
    for file in files {
        set_root_file(edit, &file.name, None)?;
    }
    for (index, file) in files.iter().enumerate() {
        add_root_file(edit, &file.name, &nowhere(index))?;
    }
    let mut extents = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        if let TaskContent::Shared(bytes) = &file.content {
            extents.insert(index, edit.append(bytes, 0)?);
        }
    }
    let shared_end = edit.size();
    for (index, file) in files.iter().enumerate() {
        if let TaskContent::Alone(bytes) = &file.content {
            extents.insert(index, edit.append(bytes, KICKSTART_GAP_BYTES)?);
        }
    }
    edit.extend(KICKSTART_GAP_BYTES);
    for (index, file) in files.iter().enumerate() {
        if let TaskContent::Elsewhere(bytes) = &file.content {
            extents.insert(index, edit.append_hole(*bytes, 0)?);
        }
    }
    point_records(edit, &extents)?;
    let named = extents.into_iter().map(|(index, extent)| (files[index].name.clone(), extent.range()));
    Ok(TaskPlaces { files: named.collect(), shared_end })
}

/// What stands in a file's directory records until its place is known: no image reaches so far.
fn nowhere(index: usize) -> Extent {
    Extent { block: u32::MAX - index as u32, size: 0 }
}

/// Points every record of a file that is nowhere to the file's extent, whatever the tree calls it.
fn point_records<R: ReadAt + ?Sized>(
    edit: &mut Edit<'_, R>,
    extents: &BTreeMap<usize, Extent>,
) -> Result<(), IsoError> {
    let volume = Volume::open(edit)?;
    let starts: BTreeMap<u64, &Extent> =
        extents.iter().map(|(index, extent)| (nowhere(*index).range().start, extent)).collect();
    for tree in &volume.trees {
        for entry in volume.list(edit, tree.kind, "/")? {
            if let Some(extent) = starts.get(&entry.extent.start) {
                edit.point_record(entry.record_offset, extent)?;
            }
        }
    }
    Ok(())
}

fn verify<R: ReadAt + ?Sized>(
    src: &R,
    overlay: &Overlay,
    files: &[TaskFile],
    places: &TaskPlaces,
) -> Result<(), TaskMediumError> {
    let paths: Vec<String> = files.iter().map(|file| format!("/{}", file.name)).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let extents: Vec<_> = places.files.values().cloned().collect();
    check_rest(src, overlay, &paths, &extents)?;
    let image = Overlaid::new(src, overlay);
    let volume = Volume::open(&image).map_err(ChangeError::from)?;
    for tree in &volume.trees {
        for file in files {
            let wrong =
                || ChangeError::Unverified { path: format!("/{}", file.name), tree: tree.kind.name() };
            let is_right = shows(&image, &volume, tree.kind, file, places).map_err(ChangeError::from)?;
            is_right.then_some(()).ok_or_else(wrong)?;
        }
    }
    Ok(())
}

/// Whether the tree shows the file where it was placed, under its name if the tree has such names, and with its
/// content.
fn shows<R: ReadAt + ?Sized>(
    image: &R,
    volume: &Volume,
    kind: TreeKind,
    file: &TaskFile,
    places: &TaskPlaces,
) -> Result<bool, IsoError> {
    let place = &places.files[&file.name];
    let mut in_root = volume.list(image, kind, "/")?.into_iter();
    let is_it = |name: &str| !has_long_names(kind) || name == file.name;
    let Some(entry) = in_root.find(|entry| entry.extent == *place && is_it(&entry.name)) else {
        return Ok(false);
    };
    match &file.content {
        TaskContent::Elsewhere(_) => Ok(!entry.is_dir),
        TaskContent::Shared(bytes) | TaskContent::Alone(bytes) => {
            Ok(volume.read(image, &entry, bytes.len() as u64)? == *bytes)
        }
    }
}
