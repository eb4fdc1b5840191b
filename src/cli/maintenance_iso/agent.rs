//! The agent's program: found, and checked to run where no library is.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use shoal_base::hex;

use crate::cli::new_file::FileError;

const NAME: &str = "shoal-agent";
/// From the program's own folder, where packages have the agent: it is no command of an operator's.
const IN_PACKAGE: &str = "../lib/shoal";
/// A program header that names a loader of libraries (`PT_INTERP`).
const INTERPRETER: u32 = 3;
const X86_64: u16 = 62;

#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("there is no {}: install `shoal-agent` beside this program, or name the file by --agent", path.display())]
    Absent { path: PathBuf },
    #[error("{} is not an x86-64 program", path.display())]
    NoProgram { path: PathBuf },
    #[error(
        "{} needs shared libraries, which the maintenance system does not have: use the static `shoal-agent` of a \
         release, or build it by `RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --target \
         x86_64-unknown-linux-gnu -p shoal-agent`",
        path.display()
    )]
    Dynamic { path: PathBuf },
    #[error(transparent)]
    File(#[from] FileError),
}

pub struct Agent {
    pub bytes: Vec<u8>,
    pub sha256: String,
}

/// The program at `given`, or the one beside this program or in its package.
pub fn load(given: Option<&Path>) -> Result<Agent, AgentError> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => {
            let own = Path::new("/proc/self/exe");
            beside(&fs::read_link(own).map_err(FileError::of("read", own))?)
        }
    };
    if !path.exists() {
        return Err(AgentError::Absent { path });
    }
    let bytes = fs::read(&path).map_err(FileError::of("read", &path))?;
    match is_static(&bytes) {
        Some(true) => Ok(Agent { sha256: hex(&Sha256::digest(&bytes)), bytes }),
        Some(false) => Err(AgentError::Dynamic { path }),
        None => Err(AgentError::NoProgram { path }),
    }
}

/// Where the agent of this program is; the first place is named if it is in none.
fn beside(program: &Path) -> PathBuf {
    let first = program.with_file_name(NAME);
    let packaged = program.with_file_name(IN_PACKAGE).join(NAME);
    if !first.exists() && packaged.exists() { packaged } else { first }
}

/// Whether an ELF program runs without a loader; nothing where it is no program of this processor.
fn is_static(bytes: &[u8]) -> Option<bool> {
    let word = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    // 64 bits, little-endian.
    if !bytes.starts_with(b"\x7fELF\x02\x01") || word(18)? != X86_64 {
        return None;
    }
    let table = usize::try_from(u64::from_le_bytes(bytes.get(32..40)?.try_into().ok()?)).ok()?;
    let (size, count) = (usize::from(word(54)?), usize::from(word(56)?));
    for index in 0..count {
        let at = table.checked_add(size * index)?;
        let kind = u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?);
        if kind == INTERPRETER {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program with headers of these kinds.
    fn program(kinds: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18] = X86_64 as u8;
        (bytes[32], bytes[54], bytes[56]) = (64, 56, kinds.len() as u8);
        for kind in kinds {
            bytes.extend(kind.to_le_bytes());
            bytes.extend([0; 52]);
        }
        bytes
    }

    #[test]
    fn a_program_with_an_interpreter_is_not_static() {
        assert_eq!(is_static(&program(&[1, 2, 6])), Some(true));
        assert_eq!(is_static(&program(&[6, 3, 1])), Some(false));
        assert_eq!(is_static(b"#!/bin/sh\n"), None);
        assert_eq!(is_static(&program(&[1, 1])[..100]), None);
    }

    #[test]
    fn an_agent_is_found_beside_the_program_and_in_its_package() {
        let dir = tempfile::tempdir().unwrap();
        let (own, package) = (dir.path().join("bin"), dir.path().join("lib/shoal"));
        for folder in [&own, &package] {
            fs::create_dir_all(folder).unwrap();
        }
        let found = || beside(&own.join("shoal"));
        assert_eq!(found(), own.join(NAME));
        fs::write(package.join(NAME), "").unwrap();
        assert_eq!(found().canonicalize().unwrap(), package.join(NAME).canonicalize().unwrap());
        fs::write(own.join(NAME), "").unwrap();
        assert_eq!(found(), own.join(NAME));
    }

    #[test]
    fn each_error_names_the_file_and_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent");
        let error = || load(Some(&path)).map(|agent| agent.sha256).unwrap_err().to_string();
        assert!(error().contains("by --agent"), "{}", error());
        fs::write(&path, program(&[3])).unwrap();
        assert!(error().contains("crt-static"), "{}", error());
        fs::write(&path, "text").unwrap();
        assert!(error().contains("not an x86-64 program"), "{}", error());
        fs::write(&path, program(&[1])).unwrap();
        assert!(load(Some(&path)).is_ok());
    }
}
