//! ISO images that are anything: read, taken for installers, and changed.
//!
//! What a change must leave alone is judged here independently, not by the code that the change is checked
//! with. Invariant: the bytes of an image that a target compares are read apart from the reader.

use std::collections::BTreeMap;
use std::ops::Range;

use super::blocks::{Observed, unpack};
use shoal_image::installer::{Installer, KickstartOn, overlay, overlay_single_cd, recognise};
use shoal_image::iso::{Entry, NONCE_NAME, Overlaid, Overlay, Patch, ReadAt, Tree, TreeKind, Volume};

/// Entries of a tree that are looked at one by one, since each look goes through the tree.
const LOOKED_AT_MAX: usize = 40;
const FILE_BYTES_MAX: u64 = 1 << 16;
/// At each end of a file, whatever the change says that it touches.
const LOOK_BYTES: u64 = 2048;
const KICKSTART: &[u8] = b"vmaccepteula\nreboot\n";
const NONCE: &[u8] = b"0123456789abcdef";

/// Descriptors, every tree, names, files.
pub fn iso(data: &[u8]) {
    let image = unpack(data);
    let src = Observed::new(&image);
    let Ok(volume) = Volume::open(&src) else { return };
    for tree in &volume.trees {
        let Ok(entries) = volume.walk(&src, tree.kind) else { continue };
        for entry in entries.iter().take(LOOKED_AT_MAX) {
            look_at(&volume, tree, &src, &image, entry);
        }
    }
}

fn look_at(volume: &Volume, tree: &Tree, src: &Observed<'_>, image: &[u8], entry: &Entry) {
    assert!(!entry.name.is_empty() && !entry.name.chars().any(|c| c.is_control() || c == '/'));
    assert!(entry.path.starts_with('/') && entry.path.ends_with(&entry.name));
    let found = volume.find_exact(src, tree.kind, &entry.path).expect("what was walked can be found");
    // Of two directories with one name, the first is looked into.
    let is_of_root = entry.path.matches('/').count() == 1;
    assert!(found.as_ref().map_or(!is_of_root, |found| found.path == entry.path));
    assert!(volume.list(src, tree.kind, &entry.path).is_ok());
    if let Ok(bytes) = volume.read(src, entry, FILE_BYTES_MAX) {
        assert_eq!(bytes, image[entry.extent.start as usize..entry.extent.end as usize]);
    }
}

/// Recognised, and changed in every way that the controller knows.
pub fn installer(data: &[u8]) {
    let image = unpack(data);
    let src = Observed::new(&image);
    let Ok(installer) = recognise(&src) else { return };
    for range in &installer.landmarks.payload {
        assert!(range.start < range.end && range.end <= src.size());
    }
    for on in [KickstartOn::Cd, KickstartOn::Usb] {
        let src = Observed::new(&image);
        if let Ok(change) = overlay(&src, &installer, on) {
            check_change(&image, &change);
            check_boot_options(&image, &change, &installer, on);
        }
    }
    for nonce in [None, Some(NONCE)] {
        let src = Observed::new(&image);
        if let Ok(single) = overlay_single_cd(&src, &installer, KICKSTART, nonce) {
            check_change(&image, &single.overlay);
            let changed = Overlaid::new(image.as_slice(), &single.overlay);
            check_file(&changed, "/KS.CFG", &single.kickstart, KICKSTART);
            if let (Some(nonce), Some(place)) = (nonce, &single.nonce) {
                check_file(&changed, &format!("/{NONCE_NAME}"), place, nonce);
            }
        }
    }
}

/// Sound in itself, and no byte of a file differs that is not ours.
fn check_change(image: &[u8], change: &Overlay) {
    assert!(change.size >= image.size() && change.size <= image.size() + (16 << 20));
    let ends = change.patches.iter().map(Patch::end);
    let starts = change.patches.iter().map(|patch| patch.offset).skip(1);
    assert!(ends.clone().zip(starts).all(|(end, next)| end <= next) && ends.max() <= Some(change.size));
    let changed = Overlaid::new(image, change);
    let volume = Volume::open(image).expect("the image was recognised");
    let after = Volume::open(&changed).expect("a changed image is still one");
    assert_eq!(volume.trees.len(), after.trees.len());
    for tree in &volume.trees {
        let (before, after) = (files(image, &volume, tree.kind), files(&changed, &after, tree.kind));
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        for (path, extents) in &before {
            assert_eq!(extents, &after[path], "{path}");
            for extent in extents {
                assert!(same_bytes(image, change, *extent), "{path} has changed");
            }
        }
    }
}

/// Where the files lie that are not ours to change.
fn files<R: ReadAt + ?Sized>(src: &R, volume: &Volume, kind: TreeKind) -> BTreeMap<String, Vec<(u64, u64)>> {
    const OURS: [&str; 4] = ["/BOOT.CFG", "/EFI/BOOT/BOOT.CFG", "/KS.CFG", "/NONCE.TXT"];
    let is_ours = |entry: &Entry| OURS.iter().any(|path| entry.path.eq_ignore_ascii_case(path));
    let mut files: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    let entries = volume.walk(src, kind).expect("an image that was changed can be walked");
    for entry in entries.into_iter().filter(|entry| !entry.is_dir && !is_ours(entry)) {
        files.entry(entry.path).or_default().push((entry.extent.start, entry.extent.end));
    }
    files.values_mut().for_each(|extents| extents.sort_unstable());
    files
}

/// Whether the bytes of this file that the change could have met are as they were: its ends, and where
/// patches lie.
fn same_bytes(image: &[u8], change: &Overlay, (start, end): (u64, u64)) -> bool {
    let changed = Overlaid::new(image, change);
    // A tree that is not the primary one may show files behind the image's end.
    let end = end.min(image.size());
    let met = |patch: &Patch| patch.offset.max(start)..patch.end().min(end);
    let mut places: Vec<Range<u64>> = change.patches.iter().map(met).collect();
    places.push(start..end.min(start + LOOK_BYTES));
    places.push(start.max(end.saturating_sub(LOOK_BYTES))..end);
    places.into_iter().filter(|place| place.start < place.end).all(|place| {
        let mut after = vec![0; (place.end - place.start) as usize];
        changed.read_at(place.start, &mut after).expect("a changed image has every byte that it had");
        image[place.start as usize..place.end as usize] == after
    })
}

/// Recognised again, unattended, and the same change once more is none.
fn check_boot_options(image: &[u8], change: &Overlay, before: &Installer, on: KickstartOn) {
    let changed = Overlaid::new(image, change);
    let again = recognise(&changed).expect("a changed installer is still one");
    let wanted = on.option().strip_prefix("ks=");
    assert!(again.boot_files.iter().all(|file| file.kickstart.as_deref() == wanted));
    assert!(!again.has_ks_cfg);
    assert_eq!(
        (&before.volume_id, &before.version, &before.build),
        (&again.volume_id, &again.version, &again.build)
    );
    let twice = overlay(&changed, &again, on).expect("a changed installer can be changed again");
    assert!(twice.patches.is_empty() && twice.size == change.size, "a second change is none: {twice:?}");
}

fn check_file<R: ReadAt + ?Sized>(changed: &R, path: &str, place: &Range<u64>, content: &[u8]) {
    let volume = Volume::open(changed).expect("a changed image is still one");
    let entry = volume.find_exact(changed, TreeKind::Primary, path).expect("the root can be read");
    assert_eq!(entry.map(|entry| entry.extent).as_ref(), Some(place));
    let mut bytes = vec![0; content.len()];
    changed.read_at(place.start, &mut bytes).expect("the file lies inside the image");
    assert_eq!((bytes.as_slice(), place.end - place.start), (content, content.len() as u64));
}
