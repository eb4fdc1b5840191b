//! The fuzz targets, one function each: parsers of bytes from untrusted peers, and
//! target, and what must hold of each.
//!
//! Compiled for tests and for cargo-fuzz alone. A target ends in a panic where something does not
//! hold, and in nothing else. `fuzz/` feeds these functions (`cargo xtask fuzz`); the tests below feed
//! them what was found before and what is there to begin with. Invariant: a target is a function of its
//! input, so that a finding can always be repeated.

mod blocks;
mod images;
mod lint;
mod media;
mod redfish;
mod seeds;
mod texts;

pub use seeds::{SeedSources, write_seeds};

/// A function that takes any bytes.
pub type FuzzTarget = fn(&[u8]);

/// Every target by its name, which is also that of its folder in `fuzz/regressions`.
pub const TARGETS: [(&str, FuzzTarget); 10] = [
    ("redfish_bodies", redfish::bodies),
    ("redfish_service", redfish::service),
    ("iso", images::iso),
    ("installer", images::installer),
    ("boot_cfg", texts::boot_cfg),
    ("kickstart", texts::kickstart),
    ("kickstart_lint", lint::lint),
    ("recipe", texts::recipe),
    ("range", media::range),
    ("task_media", media::task_media),
];

/// Runs the target of this name.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.expect("a target is called by a name of the list");
    target(data);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use super::*;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// What was found once is kept, and small.
    #[test]
    fn no_finding_comes_back() {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions");
        for folder in files(&kept).iter().filter(|folder| folder.is_dir()) {
            let name = folder.file_name().unwrap().to_str().unwrap();
            for file in files(folder) {
                let data = std::fs::read(&file).unwrap();
                assert!(data.len() <= 8 << 10, "{} is no small input", file.display());
                println!("{}", file.display());
                run(name, &data);
            }
        }
    }

    /// The beginnings of a corpus pass, and each target has some that lead it to its end.
    #[test]
    fn every_target_takes_its_seeds() {
        let folder = tempfile::tempdir().unwrap();
        write_seeds(folder.path(), None).unwrap();
        let mut seen = BTreeMap::new();
        for (name, target) in TARGETS {
            for file in files(&folder.path().join(name)) {
                target(&std::fs::read(file).unwrap());
                *seen.entry(name).or_insert(0) += 1;
            }
        }
        assert_eq!(seen.len(), TARGETS.len(), "{seen:?}");
    }

    #[test]
    fn every_target_has_a_binary() {
        let binaries = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
        let names: Vec<String> =
            files(&binaries).iter().map(|file| file.file_stem().unwrap().to_str().unwrap().into()).collect();
        let mut targets = TARGETS.map(|(name, _)| name.to_owned());
        targets.sort();
        assert_eq!(names, targets);
    }
}
