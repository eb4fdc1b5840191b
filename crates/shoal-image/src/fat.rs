//! The task stick: a job's kickstart as a disk image, for a virtual USB drive.
//!
//! One partition with FAT16, which ESXi takes of a stick (`ks=usb:` looks at FAT16 and FAT32 alone).
//! It writes this one image and reads none. Pure over bytes. Invariants: the same input gives the same
//! bytes; a host that looks for partitions, mounts the volume, lists it or reads the recipe comes no nearer
//! than 4 MiB to the kickstart, and one that reads the kickstart no nearer than 4 MiB to the nonce, as on a task
//! ISO, so that a read of each is one.
//!
//! ```text
//! 0       MBR: one partition              boot sector, two FATs, the root directory, the recipe,
//! 1 MiB   the volume ─────────────────►   4 MiB of zeros, the kickstart, 4 MiB of zeros,
//! 34 MiB  the end                         the nonce, zeros to the end
//! ```

mod volume;

use std::ops::Range;

use crate::iso::{KICKSTART_GAP_BYTES, SparseImage};
use volume::FatVolume;

/// A task stick, and what is where in it, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStick {
    pub image: SparseImage,
    pub kickstart: Range<u64>,
    /// What a hook reads, where there is one.
    pub nonce: Option<Range<u64>>,
    /// Byte after the tables, the directory and the recipe.
    pub metadata_end: u64,
}

/// The same bytes for the same input, whenever and wherever it is built. Together the files may have
/// 64 MiB. The names are those of the task ISO's plain tree, at the root.
pub fn build_task_stick(kickstart: &[u8], recipe_json: &[u8], nonce: Option<&[u8]>) -> TaskStick {
    let mut volume = FatVolume::new("SHOAL_TASK");
    let metadata_end = volume.add("RECIPE.JSO", recipe_json, 0).end;
    let kickstart = volume.add("KS.CFG", kickstart, KICKSTART_GAP_BYTES);
    let nonce = nonce.map(|nonce| volume.add(crate::iso::NONCE_NAME, nonce, KICKSTART_GAP_BYTES));
    let image = volume.write(KICKSTART_GAP_BYTES);
    TaskStick { image, kickstart, nonce, metadata_end }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iso::ReadAt;

    fn check(kickstart: &[u8], nonce: Option<&[u8]>) -> TaskStick {
        let stick = build_task_stick(kickstart, b"{}", nonce);
        let places = [Some(stick.kickstart.clone()), stick.nonce.clone()];
        let mut before = stick.metadata_end;
        for (place, content) in
            places.into_iter().flatten().zip([Some(kickstart), nonce].into_iter().flatten())
        {
            assert!(place.start - before >= KICKSTART_GAP_BYTES);
            let mut bytes = vec![0; (place.end - place.start) as usize];
            stick.image.read_at(place.start, &mut bytes).unwrap();
            assert_eq!(bytes, content);
            before = place.end;
        }
        assert!(stick.image.size - before >= KICKSTART_GAP_BYTES);
        let ends = stick.image.pieces.windows(2).all(|pair| pair[0].end() <= pair[1].offset);
        assert!(ends && stick.image.pieces.iter().all(|piece| !piece.bytes.is_empty()));
        let is_ours = |range: &Range<u64>, offset: u64| range.contains(&offset);
        let far = [Some(&stick.kickstart), stick.nonce.as_ref()];
        let near = stick
            .image
            .pieces
            .iter()
            .filter(|piece| !far.into_iter().flatten().any(|range| is_ours(range, piece.offset)));
        assert!(near.into_iter().all(|piece| piece.end() <= stick.metadata_end), "the gaps are zeros");
        stick
    }

    #[test]
    fn kickstart_and_nonce_lie_alone() {
        for size in [1, 2047, 2048, 2049, 65_536, 5_000_000, 30_000_000] {
            check(&vec![b'k'; size], None);
            check(&vec![b'k'; size], Some(b"nonce"));
        }
    }

    #[test]
    fn little_is_held_of_it() {
        let stick = check(b"vmaccepteula\n", Some(b"nonce"));
        let held: usize = stick.image.pieces.iter().map(|piece| piece.bytes.len()).sum();
        assert!(held < 16 * 1024 && stick.image.size < 40 << 20, "{held} of {}", stick.image.size);
    }

    #[test]
    fn the_same_recipe_gives_the_same_bytes() {
        assert_eq!(check(b"a", None), check(b"a", None));
        assert_ne!(check(b"a", None), check(b"b", None));
        assert_ne!(check(b"a", Some(b"n")), check(b"a", None));
    }
}
