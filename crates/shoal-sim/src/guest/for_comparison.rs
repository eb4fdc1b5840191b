//! What the simulated guest makes of texts and disks, for tests that compare our readers with it.
//!
//! For tests and fuzz targets alone. Invariant: nothing here is shared with what it is compared with.

use std::collections::BTreeMap;

use shoal_image::iso::{PartialImage, ReadAt, SparseImage};

use super::boot_cfg::parse_boot_cfg;
use super::fat::FatVolume;
use super::kickstart::{InstallEnding, KickstartSource, Parsed, parse_kickstart};
use crate::machine::Disk;

/// What the last `ks=` of a BOOT.CFG names.
pub fn boot_options(boot_cfg: &[u8]) -> Option<String> {
    parse_boot_cfg(boot_cfg).kickstart_option().map(str::to_owned)
}

/// The `%post` sections of a kickstart, where it is accepted.
pub fn posts(kickstart: &str) -> Option<Vec<String>> {
    let (text, files) = (kickstart.as_bytes(), BTreeMap::new());
    let source = KickstartSource { text, path: "/KS.CFG", files: &files, strict: false, disk: &Disk::Blank };
    match parse_kickstart(&source) {
        Parsed::Accepted(script) => Some(script.posts.into_iter().map(|section| section.text).collect()),
        Parsed::Refused(_) | Parsed::Wants(_) => None,
    }
}

/// Why a strict installer with a blank disk stops permanently, if it does: a dialog, a section that fails, a
/// dry run, or the key that it waits for at its end.
pub fn hangs(kickstart: &[u8]) -> Option<String> {
    let mut files = BTreeMap::new();
    let script = loop {
        let source = KickstartSource {
            text: kickstart,
            path: "/KS.CFG",
            files: &files,
            strict: true,
            disk: &Disk::Blank,
        };
        match parse_kickstart(&source) {
            Parsed::Accepted(script) => break script,
            Parsed::Refused(dialog) => return Some(dialog),
            Parsed::Wants(path) => files.insert(path, None),
        };
    };
    let failed = script.posts.iter().find_map(|post| post.failure.clone());
    let leaves = script.posts.iter().any(|post| leaves(&post.text));
    match script.ending {
        _ if script.is_dry_run => Some("a dry run installs nothing".to_owned()),
        _ if failed.is_some() => failed,
        InstallEnding::Wait if !leaves => Some("a key is waited for at the end".to_owned()),
        _ => None,
    }
}

/// Whether the host goes off or reboots in a `%post`.
fn leaves(post: &str) -> bool {
    let mut words = post.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| matches!(word, "poweroff" | "halt" | "reboot" | "shutdown"))
}

/// Any bytes have an answer, of a strict installer too.
pub fn judge(kickstart: &[u8]) {
    let files = BTreeMap::from([("/MORE.CFG".to_owned(), Some(kickstart.to_vec()))]);
    for strict in [false, true] {
        let source =
            KickstartSource { text: kickstart, path: "/KS.CFG", files: &files, strict, disk: &Disk::Blank };
        parse_kickstart(&source);
    }
}

/// A file at the root of a stick.
pub fn file_of_stick(stick: &SparseImage, path: &str) -> Option<Vec<u8>> {
    const PIECE_BYTES: usize = 64 << 10;
    let mut image = PartialImage::new(stick.size, PIECE_BYTES);
    loop {
        let read = FatVolume::open(&image).and_then(|volume| volume.read(&image, path));
        let Some(range) = image.take_wanted() else { return read.ok().flatten() };
        let mut piece = vec![0; (range.end - range.start) as usize];
        stick.read_at(range.start, &mut piece).ok()?;
        image.insert(range.start, piece.into());
    }
}
