//! What the writer writes, read back by the reader. Other readers: `tests/it/iso_tools.rs`.

use super::super::{BLOCK, Entry, ReadAt, TreeKind, Volume};
use super::*;

fn write(paths: &[&str]) -> Result<Written, WriteError> {
    let mut writer = IsoWriter::new("TEST");
    for path in paths {
        writer.file(path, path.as_bytes().to_vec());
    }
    writer.write()
}

fn walk(image: &SparseImage, kind: TreeKind) -> Vec<Entry> {
    Volume::open(image).unwrap().walk(image, kind).unwrap()
}

#[test]
fn every_file_is_in_both_trees_with_its_content() {
    let paths: Vec<String> = (0..200).map(|i| format!("/dir{}/sub/file{i}.bin", i % 7)).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let written = write(&paths).unwrap();
    for kind in [TreeKind::Primary, TreeKind::Joliet] {
        let entries = walk(&written.image, kind);
        let files: Vec<_> = entries.iter().filter(|entry| !entry.is_dir).collect();
        assert_eq!((files.len(), entries.len()), (200, 214));
        for entry in files {
            let mut content = vec![0; entry.size() as usize];
            written.image.read_at(entry.extent.start, &mut content).unwrap();
            assert!(
                entry.path.eq_ignore_ascii_case(std::str::from_utf8(&content).unwrap()),
                "{}",
                entry.path
            );
        }
    }
}

#[test]
fn a_directory_may_need_several_blocks() {
    let paths: Vec<String> = (0..100).map(|i| format!("/file{i:03}.bin")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let written = write(&paths).unwrap();
    let volume = Volume::open(&written.image).unwrap();
    assert!(volume.trees.iter().all(|tree| tree.root.end - tree.root.start >= 2 * BLOCK));
    assert_eq!(walk(&written.image, TreeKind::Primary).len(), 100);
}

#[test]
fn the_boot_catalogue_reads_back_as_written() {
    let mut writer = IsoWriter::new("TEST");
    writer.file("/BIOS.IMG", vec![1; 100]).file("/UEFI.IMG", vec![2; 5000]);
    writer.boot(BootPlatform::Bios, "/BIOS.IMG", 4).boot(BootPlatform::Uefi, "/UEFI.IMG", 10);
    let written = writer.write().unwrap();
    let boot = Volume::open(&written.image).unwrap().boot.unwrap();
    assert_eq!(boot.extent, written.extents["/BOOT.CAT"]);
    let seen: Vec<_> =
        boot.entries.iter().map(|e| (e.platform, e.bootable, e.offset, e.load_sectors)).collect();
    let at = |path: &str| written.extents[path].start;
    assert_eq!(
        seen,
        [(BootPlatform::Bios, true, at("/BIOS.IMG"), 4), (BootPlatform::Uefi, true, at("/UEFI.IMG"), 10)]
    );
}

#[test]
fn what_cannot_be_named_is_refused() {
    let wrong = |paths: &[&str]| write(paths).unwrap_err().to_string();
    assert!(wrong(&["/a//b"]).contains("empty"));
    assert!(wrong(&["/../b"]).contains("dots"));
    assert!(wrong(&["/a/b/c/d/e/f/g/h"]).contains("7 directories"));
    assert!(wrong(&["/longname1.txt", "/longname2.txt"]).contains("same name"));
    assert!(wrong(&["/a", "/a/b"]).contains("same name"));
    assert!(wrong(&["/a?b"]).contains("Joliet"));
    let mut writer = IsoWriter::new("TEST");
    let missing = writer.boot(BootPlatform::Bios, "/NONE", 4).write().unwrap_err();
    assert_eq!(missing, WriteError::NoBootImage { path: "/NONE".to_owned() });
}
