//! Finding, listing and reading what is in an image, in any of its trees.
//!
//! Nothing is kept between calls. Invariant: a walk ends, whatever the directories say, because no
//! directory is entered twice and depth and number of entries are limited.

use std::collections::BTreeSet;

use super::field::read_range;
use super::name::{TreeKind, name_of};
use super::record::{Record, read_records};
use super::{Entry, IsoError, ReadAt, Tree, Volume};

/// ECMA-119 allows 8 levels, Joliet and relaxed writers more.
const DEPTH_MAX: u64 = 32;
/// Files and directories of one tree. Vendor installers have about 200.
const ENTRIES_MAX: u64 = 65_536;
/// All paths of one tree together.
const PATH_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// All directories of one tree together, so that empty ones cannot keep a reader busy.
const DIRECTORIES_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Volume {
    /// The entry at this path, compared without regard to case, as the ESXi boot loader does. The
    /// first that fits wins. `None` where the image has no such tree or no such entry.
    pub fn find<R: ReadAt + ?Sized>(
        &self,
        src: &R,
        kind: TreeKind,
        path: &str,
    ) -> Result<Option<Entry>, IsoError> {
        self.find_by(src, kind, path, |name, wanted| name.eq_ignore_ascii_case(wanted))
    }

    /// The entry at exactly this path, as the ESXi installer looks for a kickstart.
    pub fn find_exact<R: ReadAt + ?Sized>(
        &self,
        src: &R,
        kind: TreeKind,
        path: &str,
    ) -> Result<Option<Entry>, IsoError> {
        self.find_by(src, kind, path, |name, wanted| name == wanted)
    }

    fn find_by<R: ReadAt + ?Sized>(
        &self,
        src: &R,
        kind: TreeKind,
        path: &str,
        is_same: impl Fn(&str, &str) -> bool,
    ) -> Result<Option<Entry>, IsoError> {
        let Some(tree) = self.tree(kind) else { return Ok(None) };
        let mut found: Option<Entry> = None;
        for (depth, wanted) in path.split('/').filter(|name| !name.is_empty()).enumerate() {
            let (extent, parent) = match &found {
                None => (tree.root.clone(), ""),
                Some(dir) if dir.is_dir && (depth as u64) < DEPTH_MAX => {
                    (dir.extent.clone(), dir.path.as_str())
                }
                Some(_) => return Ok(None),
            };
            let mut next = None;
            for record in read_records(src, &extent)?.iter().filter(|record| is_shown(record)) {
                let name = name_of(src, kind, record, tree.susp_skip)?;
                if is_same(&name, wanted) {
                    next = Some(Entry::new(parent, name, record));
                    break;
                }
            }
            let Some(next) = next else { return Ok(None) };
            found = Some(next);
        }
        Ok(found)
    }

    /// What is in the directory at this path, in the image's order. Empty where there is no such
    /// tree or directory.
    pub fn list<R: ReadAt + ?Sized>(
        &self,
        src: &R,
        kind: TreeKind,
        path: &str,
    ) -> Result<Vec<Entry>, IsoError> {
        let Some(tree) = self.tree(kind) else { return Ok(Vec::new()) };
        if path.chars().all(|c| c == '/') {
            return list_extent(src, tree, &tree.root, "");
        }
        match self.find(src, kind, path)? {
            Some(dir) if dir.is_dir => list_extent(src, tree, &dir.extent, &dir.path),
            _ => Ok(Vec::new()),
        }
    }

    /// Everything below the root, each directory before what is in it.
    pub fn walk<R: ReadAt + ?Sized>(&self, src: &R, kind: TreeKind) -> Result<Vec<Entry>, IsoError> {
        let Some(tree) = self.tree(kind) else { return Ok(Vec::new()) };
        let mut walk = Walk { entered: BTreeSet::from([tree.root.start]), ..Walk::default() };
        let mut entries = list_extent(src, tree, &tree.root, "")?;
        let mut next = 0;
        while let Some(entry) = entries.get(next) {
            next += 1;
            if entry.is_dir {
                walk.enter(entry)?;
                let inside = list_extent(src, tree, &entry.extent, &entry.path)?;
                walk.count(&inside)?;
                entries.extend(inside);
            }
        }
        Ok(entries)
    }

    /// The content of a file of at most `bytes_max` bytes.
    pub fn read<R: ReadAt + ?Sized>(
        &self,
        src: &R,
        entry: &Entry,
        bytes_max: u64,
    ) -> Result<Vec<u8>, IsoError> {
        let unsupported = |what| Err(IsoError::Unsupported { path: entry.path.clone(), what });
        match (entry.is_dir, entry.is_split) {
            (true, _) => unsupported("is a directory"),
            (_, true) => unsupported("lies in several extents"),
            _ => read_range(src, &entry.extent, bytes_max, "the file"),
        }
    }
}

/// What a walk has seen so far, held against the limits.
#[derive(Default)]
struct Walk {
    entered: BTreeSet<u64>,
    entries: u64,
    path_bytes: u64,
    directory_bytes: u64,
}

impl Walk {
    fn enter(&mut self, dir: &Entry) -> Result<(), IsoError> {
        let depth = dir.path.bytes().filter(|byte| *byte == b'/').count() as u64;
        limit("levels of directories", depth, DEPTH_MAX)?;
        self.directory_bytes += dir.size();
        limit("bytes of directories", self.directory_bytes, DIRECTORIES_BYTES_MAX)?;
        if !self.entered.insert(dir.extent.start) {
            return Err(IsoError::Loop { path: dir.path.clone(), offset: dir.extent.start });
        }
        Ok(())
    }

    fn count(&mut self, inside: &[Entry]) -> Result<(), IsoError> {
        self.entries += inside.len() as u64;
        limit("files and directories", self.entries, ENTRIES_MAX)?;
        self.path_bytes += inside.iter().map(|entry| entry.path.len() as u64).sum::<u64>();
        limit("bytes of paths", self.path_bytes, PATH_BYTES_MAX)
    }
}

fn limit(what: &'static str, found: u64, limit: u64) -> Result<(), IsoError> {
    if found > limit { Err(IsoError::TooMuch { what, found, limit }) } else { Ok(()) }
}

fn list_extent<R: ReadAt + ?Sized>(
    src: &R,
    tree: &Tree,
    extent: &std::ops::Range<u64>,
    parent: &str,
) -> Result<Vec<Entry>, IsoError> {
    let records = read_records(src, extent)?;
    // Before they are made: a long path above many names would be many long paths.
    limit("bytes of paths", parent.len() as u64 * records.len() as u64, PATH_BYTES_MAX)?;
    let shown = records.iter().filter(|record| is_shown(record));
    shown
        .map(|record| Ok(Entry::new(parent, name_of(src, tree.kind, record, tree.susp_skip)?, record)))
        .collect()
}

fn is_shown(record: &Record) -> bool {
    !record.is_dot() && !record.is_associated()
}

#[cfg(test)]
mod tests {
    use super::super::record::{Extent, lay_out};
    use super::super::volume::PathTables;
    use super::*;

    /// Thirty thousand names below a path of twenty thousand letters would take 600 MB.
    #[test]
    fn a_long_path_above_many_names_is_refused_before_they_are_made() {
        let record = Record::new(b"A", &Extent { block: 0, size: 0 }, [0; 7], false, &[]);
        let image = lay_out(&vec![record; 20_000]);
        let extent = 0..image.len() as u64;
        let tree = Tree {
            kind: TreeKind::Primary,
            descriptor: 0,
            root: extent.clone(),
            path_tables: PathTables::default(),
            susp_skip: 0,
        };
        let list = |parent: usize| list_extent(&image, &tree, &extent, &"x".repeat(parent));
        assert_eq!(list(400).unwrap().len(), 20_000);
        assert!(matches!(list(500), Err(IsoError::TooMuch { what: "bytes of paths", .. })));
    }
}
