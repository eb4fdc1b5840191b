//! The task ISO: the medium that carries a job's kickstart.
//!
//! It knows the kickstart as bytes only. Invariant: a host that mounts the image, looks at its
//! directories or reads the recipe comes no nearer than 4 MiB to the kickstart, so that a read of
//! the kickstart is one; and one that reads the kickstart comes no nearer than that to the nonce.
//!
//! Both trees hold both files. ESXi reads the primary one, where a second file does no harm, and a
//! reader without Joliet finds the recipe too.

use std::ops::Range;

use bytes::Bytes;

use super::{IsoWriter, SparseImage};

/// Zeros before and after the kickstart, and the nonce. Read-ahead of drives and kernels is below 1 MiB. The
/// zeros after it keep it away from the image's end, where firmware and kernels look for UDF
/// (last block, and 256 and 512 blocks before it), partition tables and RAID.
pub const KICKSTART_GAP_BYTES: u64 = 4 * 1024 * 1024;

/// A task ISO, and what is where in it, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskIso {
    pub image: SparseImage,
    pub kickstart: Range<u64>,
    /// What a hook reads, where there is one.
    pub nonce: Option<Range<u64>>,
    /// Byte after the directories and the recipe.
    pub metadata_end: u64,
}

/// The nonce's name at the root of the primary tree. It sorts behind the kickstart's, and so lies.
pub const NONCE_NAME: &str = "NONCE.TXT";

/// The same bytes for the same input, whenever and wherever it is built. None may have 4 GiB.
pub fn build_task_iso(kickstart: &[u8], recipe_json: &[u8], nonce: Option<&[u8]>) -> TaskIso {
    let mut writer = IsoWriter::new("SHOAL_TASK");
    writer.application_id = "SHOAL".to_owned();
    writer.gap_bytes = KICKSTART_GAP_BYTES;
    writer.far_file("/ks.cfg", Bytes::copy_from_slice(kickstart));
    writer.file("/recipe.json", Bytes::copy_from_slice(recipe_json));
    if let Some(nonce) = nonce {
        writer.far_file("/nonce.txt", Bytes::copy_from_slice(nonce));
    }
    let mut written = writer.write().expect("three files of limited size and with valid names fit");
    let kickstart = written.extents.remove("/ks.cfg").expect("the file has just been placed");
    let nonce = written.extents.remove("/nonce.txt");
    TaskIso { image: written.image, kickstart, nonce, metadata_end: written.near_end }
}

#[cfg(test)]
mod tests {
    use super::super::{BLOCK, TreeKind, Volume};
    use super::*;

    fn check(kickstart: &[u8]) -> TaskIso {
        let task = build_task_iso(kickstart, b"{}", None);
        let volume = Volume::open(&task.image).unwrap();
        let kinds: Vec<_> = volume.trees.iter().map(|tree| tree.kind).collect();
        assert_eq!(kinds, [TreeKind::Primary, TreeKind::Joliet]);
        assert_eq!(volume.size_blocks * BLOCK, task.image.size);
        for (kind, name, recipe) in
            [(TreeKind::Primary, "/KS.CFG", "/RECIPE.JSO"), (TreeKind::Joliet, "/ks.cfg", "/recipe.json")]
        {
            let find = |path| volume.find_exact(&task.image, kind, path).unwrap().unwrap();
            let entry = find(name);
            assert_eq!(entry.extent, task.kickstart);
            assert_eq!(volume.read(&task.image, &entry, 1 << 20).unwrap(), kickstart);
            assert_eq!(volume.read(&task.image, &find(recipe), 1 << 20).unwrap(), b"{}");
            assert!(find(recipe).extent.end <= task.metadata_end);
        }
        task
    }

    #[test]
    fn the_kickstart_is_at_the_root_of_both_trees_byte_for_byte() {
        for size in [1, 2047, 2048, 2049, 65_536] {
            check(&vec![b'k'; size]);
        }
    }

    #[test]
    fn the_kickstart_lies_alone() {
        let task = check(b"vmaccepteula\n");
        assert!(task.kickstart.start - task.metadata_end >= KICKSTART_GAP_BYTES);
        assert!(task.image.size - task.kickstart.end >= KICKSTART_GAP_BYTES);
        let pieces = &task.image.pieces;
        assert!(pieces.iter().rev().skip(1).all(|piece| piece.end() <= task.metadata_end));
        assert!(pieces.iter().map(|piece| piece.bytes.len()).sum::<usize>() < 32 * 1024);
    }

    #[test]
    fn the_same_recipe_gives_the_same_bytes() {
        let build = |kickstart, nonce| build_task_iso(kickstart, b"{}", nonce);
        assert_eq!(build(b"a", None), build(b"a", None));
        assert_ne!(build(b"a", None), build(b"b", None));
        assert_ne!(build(b"a", Some(b"n")), build(b"a", None));
    }

    #[test]
    fn the_nonce_lies_as_far_from_the_kickstart_as_that_from_all_else() {
        let task = build_task_iso(&vec![b'k'; 65_536], b"{}", Some(b"nonce"));
        let nonce = task.nonce.clone().unwrap();
        assert!(task.kickstart.start - task.metadata_end >= KICKSTART_GAP_BYTES);
        assert!(nonce.start - task.kickstart.end >= KICKSTART_GAP_BYTES);
        assert!(task.image.size - nonce.end >= KICKSTART_GAP_BYTES);
        let volume = Volume::open(&task.image).unwrap();
        let path = format!("/{NONCE_NAME}");
        let entry = volume.find_exact(&task.image, TreeKind::Primary, &path).unwrap().unwrap();
        assert_eq!(entry.extent, nonce);
    }
}
