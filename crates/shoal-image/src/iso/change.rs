//! Changes to an image: whether they can be made, and what they must leave alone.
//!
//! Not the changes themselves. Invariant: an overlay that passes [`check_rest`] has altered no byte of a file that
//! is not named to it, no directory entry of one, and nothing that firmware boots.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::{BLOCK, BootEntry, Edit, Entry, IsoError, Overlaid, Overlay, ReadAt, Volume};

/// Why an image cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("the image cannot be changed")]
    Iso(#[from] IsoError),
    #[error("the image is a UDF bridge too, and would show other content there")]
    Udf,
    /// Both would have to change, and no tool makes such images.
    #[error("the image has two {tree} trees")]
    Twins { tree: &'static str },
    #[error("{path} does not read back as it should after the change, in the {tree} tree")]
    Unverified { path: String, tree: &'static str },
    #[error("the change would touch {what}")]
    Foreign { what: String },
}

/// An image to change, if every system will see the changes whichever of its trees it reads.
pub fn begin_change<R: ReadAt + ?Sized>(src: &R) -> Result<Edit<'_, R>, ChangeError> {
    let volume = Volume::open(src)?;
    if volume.udf {
        return Err(ChangeError::Udf);
    }
    let mut seen = BTreeSet::new();
    match volume.trees.iter().find(|tree| !seen.insert(tree.kind)) {
        Some(twin) => Err(ChangeError::Twins { tree: twin.kind.name() }),
        None => Ok(Edit::new(src)),
    }
}

/// Fails unless everything but the files at `paths` (in whatever case) is as it was. A file that lies at one of
/// `places` is one of those too: in the primary tree it may have another name.
pub fn check_rest<R: ReadAt + ?Sized>(
    src: &R,
    overlay: &Overlay,
    paths: &[&str],
    places: &[Range<u64>],
) -> Result<(), ChangeError> {
    let image = Overlaid::new(src, overlay);
    let (before, after) = (Volume::open(src)?, Volume::open(&image)?);
    if before.boot != after.boot || before.trees.len() != after.trees.len() {
        return Err(ChangeError::Foreign { what: "the boot catalogue or the descriptors".to_owned() });
    }
    for range in boot_ranges(&before) {
        check_untouched(overlay, &range, "the boot catalogue or a boot image")?;
    }
    let (old, new) = (Trees::walk(&before, src, paths)?, Trees::walk(&after, &image, paths)?);
    for (tree, (old_entries, new_entries)) in before.trees.iter().zip(old.entries.iter().zip(&new.entries)) {
        let is_placed = |entry: &&Entry| !places.contains(&entry.extent);
        let others = shown(new.others(new_entries).filter(is_placed));
        if shown(old.others(old_entries)) != others {
            return Err(ChangeError::Foreign { what: format!("the {} directories", tree.kind.name()) });
        }
        let mut files = old.others(old_entries).filter(|entry| !entry.is_dir);
        files.try_for_each(|file| check_untouched(overlay, &file.extent, &file.path))?;
    }
    Ok(())
}

/// What the trees of an image show.
struct Trees {
    entries: Vec<Vec<Entry>>,
    /// Records of the files that are not looked at. One record may show in two trees, under two names.
    ours: BTreeSet<u64>,
}

impl Trees {
    fn walk<R: ReadAt + ?Sized>(volume: &Volume, src: &R, paths: &[&str]) -> Result<Trees, IsoError> {
        let entries: Vec<Vec<Entry>> =
            volume.trees.iter().map(|tree| volume.walk(src, tree.kind)).collect::<Result<_, _>>()?;
        let is_ours = |entry: &&Entry| paths.iter().any(|path| entry.path.eq_ignore_ascii_case(path));
        let ours = entries.iter().flatten().filter(is_ours).map(|entry| entry.record_offset).collect();
        Ok(Trees { entries, ours })
    }

    fn others<'a>(&'a self, entries: &'a [Entry]) -> impl Iterator<Item = &'a Entry> {
        entries.iter().filter(|entry| !self.ours.contains(&entry.record_offset))
    }
}

/// By path and place, whether it is a directory.
fn shown<'a>(entries: impl Iterator<Item = &'a Entry>) -> BTreeMap<(&'a str, u64, u64), bool> {
    entries.map(|entry| ((entry.path.as_str(), entry.extent.start, entry.extent.end), entry.is_dir)).collect()
}

fn check_untouched(overlay: &Overlay, range: &Range<u64>, what: &str) -> Result<(), ChangeError> {
    let first = overlay.patches.partition_point(|patch| patch.end() <= range.start);
    let touched = overlay.patches.get(first).is_some_and(|patch| patch.offset < range.end);
    if touched && !range.is_empty() { Err(ChangeError::Foreign { what: what.to_owned() }) } else { Ok(()) }
}

/// The boot catalogue, and what firmware loads of each image in it.
pub fn boot_ranges(volume: &Volume) -> impl Iterator<Item = Range<u64>> {
    let images =
        |entry: &BootEntry| entry.offset..entry.offset + (u64::from(entry.load_sectors) * 512).max(BLOCK);
    let catalogs = volume.boot.iter();
    catalogs.flat_map(move |boot| std::iter::once(boot.extent.clone()).chain(boot.entries.iter().map(images)))
}
