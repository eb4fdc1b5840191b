//! The reader against images that lie.

use proptest::prelude::*;

use super::field::both32;
use super::*;

fn sample() -> Vec<u8> {
    let mut writer = IsoWriter::new("SAMPLE");
    for path in ["/a.txt", "/dir/b.txt", "/dir/sub/c.txt", "/boot.img"] {
        writer.file(path, path.as_bytes().to_vec());
    }
    writer.boot(BootPlatform::Bios, "/boot.img", 4);
    writer.write().unwrap().image.to_vec()
}

/// Everything that the reader can do with an image.
fn use_all<R: ReadAt + ?Sized>(image: &R) -> Result<usize, IsoError> {
    let volume = Volume::open(image)?;
    let mut seen = 0;
    for tree in &volume.trees {
        for entry in volume.walk(image, tree.kind)? {
            let _ = volume.read(image, &entry, 1 << 20);
            let _ = volume.list(image, tree.kind, &entry.path);
            seen += 1;
        }
    }
    let mut edit = Edit::new(image);
    set_root_file(&mut edit, "KS.CFG", Some(Extent { block: 1, size: 1 }))?;
    edit.finish()?;
    Ok(seen)
}

#[test]
fn a_directory_that_contains_itself_is_a_loop() {
    let mut image = sample();
    let volume = Volume::open(&image).unwrap();
    let dir = volume.find(&image, TreeKind::Primary, "/DIR").unwrap().unwrap();
    let sub = volume.find(&image, TreeKind::Primary, "/DIR/SUB").unwrap().unwrap();
    let at = sub.record_offset as usize;
    image[at + 2..at + 10].copy_from_slice(&both32((dir.extent.start / BLOCK) as u32));
    let error = volume.walk(&image, TreeKind::Primary).unwrap_err();
    assert!(matches!(error, IsoError::Loop { .. }), "{error}");
    assert!(error.to_string().contains("/DIR/SUB"), "{error}");
}

#[test]
fn an_image_that_ends_too_early_says_what_is_missing() {
    let image = sample();
    let check = |len: usize, text: &str| {
        let error = use_all(&image[..len]).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    check(1000, "too short");
    check(16 * 2048 + 2048, "the volume descriptors reaches");
    check(20 * 2048, "reaches from byte");
}

#[test]
fn no_iso_differs_from_a_damaged_one() {
    let mut image = sample();
    assert!(matches!(Volume::open(&vec![0; 100_000]), Err(IsoError::NotIso { .. })));
    image[17 * 2048 + 1] = b'X';
    let error = Volume::open(&image).unwrap_err();
    assert!(matches!(error, IsoError::Malformed { offset: 34816, .. }), "{error}");
}

#[test]
fn a_volume_without_end_is_refused() {
    let mut image = sample();
    for block in 17..60 {
        image.resize(image.len().max((block + 1) * 2048), 0);
        image.copy_within(16 * 2048..17 * 2048, block * 2048);
    }
    assert!(matches!(Volume::open(&image), Err(IsoError::TooMuch { .. })));
}

#[test]
fn sizes_are_checked_before_anything_is_read() {
    let mut image = sample();
    let volume = Volume::open(&image).unwrap();
    let file = volume.find(&image, TreeKind::Primary, "/A.TXT").unwrap().unwrap();
    let at = file.record_offset as usize;
    image[at + 10..at + 18].copy_from_slice(&both32(u32::MAX));
    let file = volume.find(&image, TreeKind::Primary, "/A.TXT").unwrap().unwrap();
    assert!(matches!(volume.read(&image, &file, 1000), Err(IsoError::TooMuch { .. })));
    assert!(matches!(volume.read(&image, &file, u64::MAX), Err(IsoError::Truncated { .. })));
}

/// The sample with a root that says where the Rock Ridge entries of a record begin.
fn rock_ridge_after(skip: u8) -> Vec<u8> {
    let mut image = sample();
    let root = Volume::open(&image).unwrap().primary().root.clone();
    let mut records = record::read_records(&image, &root).unwrap();
    let own = record::Extent { block: (root.start / BLOCK) as u32, size: BLOCK as u32 };
    let says = [b"SP\x07\x01\xBE\xEF", &[skip][..], b"PX\x04\x01"].concat();
    records[0] = record::Record::new(&[0], &own, [0; 7], true, &says);
    let bytes = record::lay_out(&records);
    image[root.start as usize..][..bytes.len()].copy_from_slice(&bytes);
    image
}

#[test]
fn rock_ridge_entries_that_begin_nowhere_are_refused() {
    let image = rock_ridge_after(14);
    assert!(Volume::open(&image).unwrap().tree(TreeKind::RockRidge).is_some());
    let error = Volume::open(&rock_ridge_after(200)).unwrap_err();
    assert!(matches!(error, IsoError::Malformed { what: "the root directory", .. }), "{error}");
}

#[test]
fn an_image_may_be_read_piece_by_piece_as_it_comes() {
    let whole = sample();
    let mut image = PartialImage::new(whole.len() as u64, 4096);
    let mut fetched = 0;
    let seen = loop {
        match use_all(&image) {
            Ok(seen) => break seen,
            Err(error) => {
                let range = image.take_wanted().unwrap_or_else(|| panic!("{error}"));
                let piece = whole[range.start as usize..range.end as usize].to_vec();
                image.insert(range.start, piece.into());
                fetched += 1;
            }
        }
    };
    assert_eq!(seen, use_all(&whole).unwrap());
    assert!(fetched < 15, "{fetched}");
}

proptest! {
    #[test]
    fn no_image_makes_the_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in prop::option::of(0_usize..60 * 2048),
    ) {
        let mut image = sample();
        let meant: Vec<usize> = (0..image.len()).filter(|at| image[*at] != 0).collect();
        for (index, value) in changes {
            image[*index.get(&meant)] = value;
        }
        image.truncate(cut.unwrap_or(image.len()));
        let _ = use_all(&image);
    }

    #[test]
    fn no_bytes_after_a_descriptor_make_the_reader_panic(
        tail in prop::collection::vec(any::<u8>(), 0..8 * 2048),
    ) {
        let mut image = sample();
        image.truncate(19 * 2048);
        image.extend(tail);
        let _ = use_all(&image);
    }
}
