//! What the binaries of all targets share: a corpus to begin with, where the chore asks for one.
//!
//! No target is here. Invariant: without the chore's word nothing is written.

use std::path::PathBuf;

use shoal::fuzz::{SeedSources, write_seeds};

/// Writes every target's seeds into `SHOAL_FUZZ_SEEDS` and ends, where that is set.
pub fn write_seeds_if_asked() {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let Some(seeds) = folder("SHOAL_FUZZ_SEEDS") else { return };
    let (images, captures) = (folder("SHOAL_FUZZ_IMAGES"), folder("SHOAL_CAPTURES"));
    let found = SeedSources { images: images.unwrap_or_default(), captures: captures.unwrap_or_default() };
    write_seeds(&seeds, Some(&found)).expect("the folder of the seeds can be written");
    std::process::exit(0);
}
