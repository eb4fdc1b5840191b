//! The directories of an image under construction, and the identifiers of what is in them.
//!
//! No places yet. Invariant: directories are in the order that a path table wants (ECMA-119 §6.9.1:
//! level by level, then by parent, then by identifier), and the entries of each are in the order
//! of its records.

use std::collections::BTreeMap;

use super::WriteError;
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
}

#[derive(Debug)]
pub struct DirEntry {
    pub identifier: Vec<u8>,
    pub target: Target,
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
    Joliet,
}

/// The directories that these files need.
pub fn directories<'a>(
    paths: impl Iterator<Item = &'a String>,
    naming: Naming,
) -> Result<Vec<Dir>, WriteError> {
    let mut root = Node::default();
    for path in paths {
        root.insert(path, path.trim_start_matches('/'), 1, naming)?;
    }
    let mut dirs = vec![Dir { identifier: vec![0], parent: 0, entries: Vec::new() }];
    let mut nodes = vec![root];
    let mut next = 0;
    while next < nodes.len() {
        let mut children: Vec<_> = std::mem::take(&mut nodes[next].children).into_iter().collect();
        if naming == Naming::Level1 {
            children.sort_by(|a, b| compare_identifiers(&a.0, &b.0));
        }
        for (name, child) in children {
            let target = match child {
                Child::File(path) => Target::File(path),
                Child::Dir(node, _) => {
                    dirs.push(Dir { identifier: name.clone(), parent: next, entries: Vec::new() });
                    nodes.push(node);
                    Target::Dir(dirs.len() - 1)
                }
            };
            let identifier = if matches!(target, Target::File(_)) { naming.versioned(name) } else { name };
            dirs[next].entries.push(DirEntry { identifier, target });
        }
        next += 1;
    }
    Ok(dirs)
}

/// A directory while its files come in.
#[derive(Default)]
struct Node {
    /// By the name that readers see.
    children: BTreeMap<Vec<u8>, Child>,
}

enum Child {
    /// Path as given.
    File(String),
    /// With the name as given.
    Dir(Node, String),
}

impl Node {
    fn insert(&mut self, path: &str, rest: &str, level: usize, naming: Naming) -> Result<(), WriteError> {
        let wrong = |reason| WriteError::Path { path: path.to_owned(), reason };
        if level >= LEVELS_MAX {
            return Err(wrong("it has more than 7 directories"));
        }
        let (name, below) = rest.split_once('/').map_or((rest, None), |(name, below)| (name, Some(below)));
        if matches!(name, "" | "." | "..") {
            return Err(wrong("a part of it is empty or dots"));
        }
        let shown = naming.shown_name(name, below.is_some()).map_err(wrong)?;
        let collision =
            |other: &str| Err(WriteError::Collision { path: path.to_owned(), other: other.to_owned() });
        match (self.children.get_mut(&shown), below) {
            (None, None) => {
                self.children.insert(shown, Child::File(path.to_owned()));
                Ok(())
            }
            (None, Some(below)) => {
                let mut node = Node::default();
                node.insert(path, below, level + 1, naming)?;
                self.children.insert(shown, Child::Dir(node, name.to_owned()));
                Ok(())
            }
            (Some(Child::Dir(node, same)), Some(below)) if same == name => {
                node.insert(path, below, level + 1, naming)
            }
            (Some(Child::File(other) | Child::Dir(_, other)), _) => collision(other),
        }
    }
}

impl Naming {
    /// The name without version: what must be unique in a directory.
    fn shown_name(self, name: &str, is_dir: bool) -> Result<Vec<u8>, &'static str> {
        match self {
            Naming::Level1 => level1_name(name, is_dir),
            Naming::Joliet => joliet_name(name),
        }
    }

    /// The identifier of a file. ECMA-119 §7.5.1 asks for a dot and a version; in Joliet no writer
    /// gives one (xorriso, genisoimage), and readers look for names without.
    fn versioned(self, mut name: Vec<u8>) -> Vec<u8> {
        match self {
            Naming::Level1 if name.contains(&b'.') => name.extend(b";1"),
            Naming::Level1 => name.extend(b".;1"),
            Naming::Joliet => {}
        }
        name
    }
}

/// `recipe.json` is `RECIPE.JSO`: upper case, 8.3, anything but letters, digits and underscores
/// replaced.
fn level1_name(name: &str, is_dir: bool) -> Result<Vec<u8>, &'static str> {
    let clean = |text: &str, max: usize| -> String {
        let allowed = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        text.chars().map(allowed).take(max).collect()
    };
    match name.rsplit_once('.').filter(|_| !is_dir) {
        Some(("", "")) => Err("a part of it is nothing but a dot"),
        Some((stem, "")) => Ok(clean(stem, 8).into_bytes()),
        Some((stem, extension)) => Ok(format!("{}.{}", clean(stem, 8), clean(extension, 3)).into_bytes()),
        None => Ok(clean(name, 8).into_bytes()),
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
