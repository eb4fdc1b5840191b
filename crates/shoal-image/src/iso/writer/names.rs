//! The directories of an image under construction, and the identifiers of what is in them.
//!
//! No places yet. Invariant: directories are in the order that a path table wants (ECMA-119 §6.9.1:
//! level by level, then by parent, then by identifier), and the entries of each are in the order
//! of its records.

use std::collections::BTreeMap;

use super::WriteError;
use crate::iso::level1::{level1_name, unique_level1_name};
use crate::iso::rock_ridge;
use crate::iso::root::compare_identifiers;

/// ECMA-119 §6.8.2.1.
const LEVELS_MAX: usize = 8;
/// Joliet specification, "Joliet directory depth and name length".
const JOLIET_NAME_MAX: usize = 64;

/// A directory. The root comes first and is its own parent.
#[derive(Debug)]
pub struct Dir {
    pub identifier: Vec<u8>,
    pub parent: usize,
    pub entries: Vec<DirEntry>,
    /// Of its own record.
    pub own_system_use: Vec<u8>,
    /// Of its parent's record.
    pub parent_system_use: Vec<u8>,
}

#[derive(Debug)]
pub struct DirEntry {
    pub identifier: Vec<u8>,
    pub target: Target,
    pub system_use: Vec<u8>,
}

#[derive(Debug)]
pub enum Target {
    /// Index of the directory.
    Dir(usize),
    /// Path as given.
    File(String),
}

/// How a tree names things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    Level1,
    /// Level 1 names, made unique, with the names as given beside them.
    RockRidge,
    Joliet,
}

/// The directories that these files need.
pub fn directories<'a>(
    paths: impl Iterator<Item = &'a String>,
    naming: Naming,
) -> Result<Vec<Dir>, WriteError> {
    let mut root = Node::default();
    for path in paths {
        root.insert(path, path.trim_start_matches('/'), 1)?;
    }
    let mut dirs = vec![Dir::new(vec![0], 0, naming)];
    let mut nodes = vec![root];
    let mut next = 0;
    while next < nodes.len() {
        for (shown, name, child) in nodes[next].take_named(naming)? {
            let (identifier, target) = match child {
                Child::File(path) => (naming.versioned(shown), Target::File(path)),
                Child::Dir(node, _) => {
                    dirs.push(Dir::new(shown.clone(), next, naming));
                    nodes.push(node);
                    (shown, Target::Dir(dirs.len() - 1))
                }
            };
            let system_use = naming.system_use(&name, matches!(target, Target::Dir(_)));
            dirs[next].entries.push(DirEntry { identifier, target, system_use });
        }
        next += 1;
    }
    Ok(dirs)
}

impl Dir {
    fn new(identifier: Vec<u8>, parent: usize, naming: Naming) -> Dir {
        let attributes = match naming {
            Naming::RockRidge => rock_ridge::attributes(true),
            Naming::Level1 | Naming::Joliet => Vec::new(),
        };
        Dir {
            identifier,
            parent,
            entries: Vec::new(),
            own_system_use: attributes.clone(),
            parent_system_use: attributes,
        }
    }
}

/// A directory while its files come in.
#[derive(Default)]
struct Node {
    /// By the name as given.
    children: BTreeMap<String, Child>,
}

enum Child {
    /// Path as given.
    File(String),
    /// With the path, as given, of a file in it.
    Dir(Node, String),
}

impl Child {
    fn path(&self) -> &str {
        match self {
            Child::File(path) | Child::Dir(_, path) => path,
        }
    }
}

impl Node {
    fn insert(&mut self, path: &str, rest: &str, level: usize) -> Result<(), WriteError> {
        let wrong = |reason| WriteError::Path { path: path.to_owned(), reason };
        if level >= LEVELS_MAX {
            return Err(wrong("it has more than 7 directories"));
        }
        let (name, below) = rest.split_once('/').map_or((rest, None), |(name, below)| (name, Some(below)));
        if matches!(name, "" | "." | "..") {
            return Err(wrong("a part of it is empty or dots"));
        }
        match (self.children.get_mut(name), below) {
            (None, None) => {
                self.children.insert(name.to_owned(), Child::File(path.to_owned()));
                Ok(())
            }
            (None, Some(below)) => {
                let mut node = Node::default();
                node.insert(path, below, level + 1)?;
                self.children.insert(name.to_owned(), Child::Dir(node, path.to_owned()));
                Ok(())
            }
            (Some(Child::Dir(node, _)), Some(below)) => node.insert(path, below, level + 1),
            (Some(other), _) => {
                Err(WriteError::Collision { path: path.to_owned(), other: other.path().to_owned() })
            }
        }
    }

    /// The children in the order of their records: the name that readers see, without version; the name as given.
    fn take_named(&mut self, naming: Naming) -> Result<Vec<(Vec<u8>, String, Child)>, WriteError> {
        let mut taken: BTreeMap<Vec<u8>, String> = BTreeMap::new();
        let mut named = Vec::new();
        for (name, child) in std::mem::take(&mut self.children) {
            let path = child.path().to_owned();
            let is_taken = |shown: &[u8]| taken.contains_key(shown);
            let shown = naming
                .shown_name(&name, matches!(child, Child::Dir(..)), is_taken)
                .map_err(|reason| WriteError::Path { path: path.clone(), reason })?;
            if let Some(other) = taken.insert(shown.clone(), path.clone()) {
                return Err(WriteError::Collision { path, other });
            }
            named.push((shown, name, child));
        }
        match naming {
            Naming::Joliet => named.sort_by(|a, b| a.0.cmp(&b.0)),
            Naming::Level1 | Naming::RockRidge => named.sort_by(|a, b| compare_identifiers(&a.0, &b.0)),
        }
        Ok(named)
    }
}

impl Naming {
    /// The name without version: what must be unique in a directory.
    fn shown_name(
        self,
        name: &str,
        is_dir: bool,
        is_taken: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, &'static str> {
        match self {
            Naming::Level1 => level1_name(name, is_dir),
            Naming::RockRidge if name.len() > rock_ridge::NAME_BYTES_MAX => {
                Err("a part of it is longer than 150 bytes")
            }
            Naming::RockRidge => unique_level1_name(name, is_dir, is_taken),
            Naming::Joliet => joliet_name(name),
        }
    }

    fn system_use(self, name: &str, is_dir: bool) -> Vec<u8> {
        match self {
            Naming::RockRidge => rock_ridge::named(name, is_dir),
            Naming::Level1 | Naming::Joliet => Vec::new(),
        }
    }

    /// The identifier of a file. ECMA-119 §7.5.1 asks for a dot and a version; in Joliet no writer
    /// gives one (xorriso, genisoimage), and readers look for names without.
    fn versioned(self, mut name: Vec<u8>) -> Vec<u8> {
        match self {
            Naming::Level1 | Naming::RockRidge if name.contains(&b'.') => name.extend(b";1"),
            Naming::Level1 | Naming::RockRidge => name.extend(b".;1"),
            Naming::Joliet => {}
        }
        name
    }
}

/// UCS-2, most significant byte first.
fn joliet_name(name: &str) -> Result<Vec<u8>, &'static str> {
    if name.encode_utf16().count() > JOLIET_NAME_MAX {
        return Err("a part of it is longer than 64 characters");
    }
    if name.chars().any(|c| c.is_control() || matches!(c, '*' | ':' | ';' | '?' | '\\')) {
        return Err("Joliet has no control characters and none of * : ; ? \\ in names");
    }
    Ok(name.encode_utf16().flat_map(u16::to_be_bytes).collect())
}
