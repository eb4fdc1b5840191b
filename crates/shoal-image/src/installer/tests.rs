//! Installers made by our own writer, changed and read back. Those made by other tools:
//! `tests/it/iso_tools.rs`.

use proptest::prelude::*;

use super::*;
use crate::iso::{
    BLOCK, BootPlatform, ChangeError, IsoWriter, Overlaid, Overlay, ReadAt, SparseImage, TreeKind, Volume,
};

const KS: &[u8] = b"vmaccepteula\nreboot\n";

fn boot_cfg(kernelopt: &str) -> String {
    format!(
        "bootstate=0\ntitle=Loading ESXi installer\ntimeout=5\nprefix=\nkernel=/b.b00\nkernelopt={kernelopt}\n\
         modules=/jumpstrt.gz --- /useropts.gz\nbuild=8.0.3-0.0.24022510\nupdated=0\n"
    )
}

/// A small installer, before it is written: tests change it first.
fn writer() -> IsoWriter {
    let mut writer = IsoWriter::new("ESXI-8.0U3-24022510-STANDARD");
    writer.application_id = "ESXIMAGE".to_owned();
    writer.joliet = false;
    for path in ["/BOOT.CFG", "/EFI/BOOT/BOOT.CFG"] {
        writer.file(path, boot_cfg("runweasel cdromBoot"));
    }
    for (path, size) in [("/B.B00", 5000), ("/JUMPSTRT.GZ", 100), ("/USEROPTS.GZ", 4096), ("/README.TXT", 10)]
    {
        writer.file(path, vec![b'x'; size]);
    }
    writer.file("/ISOLINUX.BIN", vec![1; 2048]).file("/EFIBOOT.IMG", vec![2; 4096]);
    writer.boot(BootPlatform::Bios, "/ISOLINUX.BIN", 4).boot(BootPlatform::Uefi, "/EFIBOOT.IMG", 1);
    writer
}

/// As the extent of a directory record is written.
fn both_orders(block: u32) -> Vec<u8> {
    [block.to_le_bytes(), block.to_be_bytes()].concat()
}

fn image(writer: &IsoWriter) -> SparseImage {
    writer.write().unwrap().image
}

fn read(image: &impl ReadAt, kind: TreeKind, path: &str) -> Option<Vec<u8>> {
    let volume = Volume::open(image).unwrap();
    let entry = volume.find(image, kind, path).unwrap()?;
    Some(volume.read(image, &entry, 1 << 20).unwrap())
}

fn patched(image: &SparseImage) -> Overlay {
    overlay(image, &recognise(image).unwrap(), KickstartOn::Cd).unwrap()
}

/// Every volume size is the image's, and every number in both orders is the same in both.
fn check_numbers(image: &impl ReadAt) {
    let both = |offset: u64| {
        let mut bytes = [0; 8];
        image.read_at(offset, &mut bytes).unwrap();
        let (little, big) = bytes.split_at(4);
        assert!(little.iter().eq(big.iter().rev()), "at byte {offset}");
        u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let volume = Volume::open(image).unwrap();
    for tree in &volume.trees {
        assert_eq!(both(tree.descriptor + 80) * BLOCK, image.size());
        assert_eq!(both(tree.descriptor + 156 + 2) * BLOCK, tree.root.start);
        both(tree.descriptor + 156 + 10);
        for entry in volume.walk(image, tree.kind).unwrap() {
            assert_eq!(both(entry.record_offset + 2) * BLOCK, entry.extent.start);
            assert_eq!(both(entry.record_offset + 10), entry.size());
        }
    }
}

/// The boot files of the result say what they should, in every tree.
fn check_boot_files(image: &impl ReadAt) {
    check_numbers(image);
    for tree in Volume::open(image).unwrap().trees {
        for path in ["/BOOT.CFG", "/EFI/BOOT/BOOT.CFG"] {
            let config = parse_boot_config(&read(image, tree.kind, path).unwrap());
            assert_eq!(config.kernelopt.as_deref(), Some("runweasel ks=cdrom:/KS.CFG"), "{path}");
        }
    }
}

#[test]
fn a_vendor_image_is_recognised() {
    let mut writer = writer();
    let installer = recognise(&image(&writer)).unwrap();
    assert_eq!(installer.version.as_deref(), Some("8.0.3"));
    assert_eq!(installer.build.as_deref(), Some("24022510"));
    assert!(installer.uefi && installer.bios && !installer.has_ks_cfg);
    assert_eq!(installer.warnings, Vec::<String>::new());
    let file = &installer.boot_files[0];
    assert_eq!((file.kernelopt.as_str(), file.payload_files), ("runweasel cdromBoot", 3));
    writer.volume_id = "SOMETHING".to_owned();
    writer.application_id = String::new();
    assert_eq!(recognise(&image(&writer)).unwrap().warnings.len(), 2);
}

#[test]
fn the_volume_id_names_the_version_where_the_build_line_does_not() {
    let mut writer = writer();
    for path in ["/BOOT.CFG", "/EFI/BOOT/BOOT.CFG"] {
        writer.file(path, boot_cfg("x").replace("build=", "built="));
    }
    let installer = recognise(&image(&writer)).unwrap();
    assert_eq!(installer.version.as_deref(), Some("8.0U3"));
    assert_eq!(installer.build.as_deref(), Some("24022510"));
}

#[test]
fn landmarks_are_the_files_that_the_boot_loader_loads() {
    let written = writer().write().unwrap();
    let landmarks = recognise(&written.image).unwrap().landmarks;
    let lies_in_payload = |path: &str| {
        let extent = &written.extents[path];
        landmarks.payload.iter().any(|range| range.start <= extent.start && extent.end <= range.end)
    };
    for path in ["/B.B00", "/JUMPSTRT.GZ", "/USEROPTS.GZ"] {
        assert!(lies_in_payload(path), "{path}");
    }
    assert!(!lies_in_payload("/README.TXT") && !lies_in_payload("/BOOT.CFG"));
    assert_eq!(landmarks.descriptors, 16 * BLOCK..19 * BLOCK);
    assert_eq!(landmarks.boot_catalog, Some(written.extents["/BOOT.CAT"].clone()));
    assert!(landmarks.payload.windows(2).all(|pair| pair[0].end + BLOCK <= pair[1].start));
}

#[test]
fn other_images_are_refused_by_their_ids_and_the_reason() {
    let check = |change: &dyn Fn(&mut IsoWriter), reason: &str| {
        let mut writer = writer();
        change(&mut writer);
        let error = recognise(&image(&writer)).unwrap_err().to_string();
        assert!(error.contains("ESXI-8.0U3-24022510-STANDARD") && error.contains(reason), "{error}");
    };
    let without = |key: &'static str| {
        move |writer: &mut IsoWriter| {
            writer.file("/EFI/BOOT/BOOT.CFG", boot_cfg("x").replace(key, "nothing="));
        }
    };
    check(&without("\nkernel="), "its /EFI/BOOT/BOOT.CFG has no kernel=");
    check(&without("modules="), "has no modules=");
    check(&without("kernelopt="), "has no kernelopt=");
    let too_long = |writer: &mut IsoWriter| {
        writer.file("/BOOT.CFG", vec![b'\n'; 300_000]);
    };
    check(&too_long, "its /BOOT.CFG is no small plain file");
    let mut task = IsoWriter::new("TASK");
    task.file("/KS.CFG", KS);
    assert!(recognise(&image(&task)).unwrap_err().to_string().contains("it has no /BOOT.CFG"));
    assert!(matches!(recognise(&vec![0; 100_000]), Err(NotAnInstaller::NotIso(_))));
    let mut cut = image(&writer()).to_vec();
    cut.truncate(cut.len() - 2048);
    assert!(matches!(recognise(&cut), Err(NotAnInstaller::CutOff { .. })));
}

#[test]
fn an_image_that_asks_for_the_kickstart_needs_no_change() {
    let with = |kernelopt: &str, ks_cfg: bool| {
        let mut writer = writer();
        for path in ["/BOOT.CFG", "/EFI/BOOT/BOOT.CFG"] {
            writer.file(path, boot_cfg(kernelopt));
        }
        if ks_cfg {
            writer.file("/KS.CFG", KS);
        }
        image(&writer)
    };
    let boots = |image: &dyn ReadAt| recognise(image).unwrap().boots_unattended();
    let prepared = with("runweasel ks=cdrom:/KS.CFG", false);
    assert!(boots(&prepared));
    assert_eq!(patched(&prepared), Overlay { size: prepared.size, patches: Vec::new() });
    assert!(!boots(&with("runweasel cdromBoot", false)));
    assert!(!boots(&with("ks=cdrom:/KS.CFG ks=usb", false)));
    assert!(!boots(&with("ks=cdrom:/KS.CFG", true)));
    assert!(!boots(&with("ks=cdrom:/ks.cfg", false)));
    for word in ["cdromBoot", "CDROMBOOT", "cdromboot", "cdromBoot=1", "'cdromBoot'"] {
        let image = with(&format!("{word} ks=cdrom:/KS.CFG"), false);
        assert!(!boots(&image), "{word}");
        assert!(boots(&applied(&image, &patched(&image))), "{word} is dropped when it is served");
    }
    assert!(boots(&with("xcdromBoot ks=cdrom:/KS.CFG", false)), "another option");
    for path in ["/BOOT.CFG", "/EFI/BOOT/BOOT.CFG"] {
        let mut writer = writer();
        for each in ["/BOOT.CFG", "/EFI/BOOT/BOOT.CFG"] {
            let options = if each == path { "ks=cdrom:/KS.CFG cdromBoot" } else { "ks=cdrom:/KS.CFG" };
            writer.file(each, boot_cfg(options));
        }
        assert!(!boots(&image(&writer)), "one of both is enough: {path}");
    }
}

fn applied(image: &SparseImage, overlay: &Overlay) -> Vec<u8> {
    let mut bytes = vec![0; overlay.size as usize];
    Overlaid::new(image, overlay).read_at(0, &mut bytes).unwrap();
    bytes
}

/// A block of the volume recognition sequence (ECMA-167).
fn recognition_block(id: &[u8; 5]) -> Vec<u8> {
    let mut block = vec![0; BLOCK as usize];
    block[1..6].copy_from_slice(id);
    block[6] = 1;
    block
}

#[test]
fn an_image_with_a_udf_tree_is_refused_with_the_remedy() {
    let plain = image(&writer()).to_vec();
    let tables = Volume::open(&plain).unwrap().primary().path_tables.clone();
    for (id, place) in [(b"NSR02", tables.little[0]), (b"NSR03", tables.big[0])] {
        // The reader uses no path tables, so they may be overwritten.
        let mut bytes = plain.clone();
        bytes[place as usize..][..BLOCK as usize].copy_from_slice(&recognition_block(id));
        let error = recognise(&bytes).unwrap_err().to_string();
        assert!(error.contains("UDF bridge") && error.contains("without -udf"), "{error}");
    }
    let mut pure = vec![0; 400 * BLOCK as usize];
    for (block, id) in [(16, b"BEA01"), (17, b"NSR03"), (18, b"TEA01")] {
        pure[block * BLOCK as usize..][..BLOCK as usize].copy_from_slice(&recognition_block(id));
    }
    let error = recognise(&pure).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("UDF image without an ISO 9660 tree"), "{source}");
}

#[test]
fn a_title_gives_way_so_that_nothing_but_the_boot_files_changes() {
    let mut writer = writer();
    writer.joliet = true;
    let written = writer.write().unwrap();
    let overlay = patched(&written.image);
    assert_eq!(overlay.size, written.image.size);
    assert_eq!(overlay.patches.len(), 2);
    for (patch, path) in overlay.patches.iter().zip(["/BOOT.CFG", "/EFI/BOOT/BOOT.CFG"]) {
        let extent = &written.extents[path];
        assert!(extent.start <= patch.offset && patch.end() <= extent.end);
    }
    check_boot_files(&Overlaid::new(&written.image, &overlay));
}

/// A boot file without a title to give way, of exactly this length.
fn boot_cfg_of(len: usize) -> String {
    let text = boot_cfg("runweasel cdromBoot").replace("title=Loading ESXi installer\n", "");
    let filler = "#".repeat(len - text.len());
    text + &filler
}

#[test]
fn a_boot_file_grows_in_its_block_or_moves_behind_the_image() {
    for (len, is_moved) in
        [(1000, false), (2041, false), (2042, true), (2048, true), (4089, false), (4090, true)]
    {
        for joliet in [false, true] {
            let mut writer = writer();
            writer.joliet = joliet;
            for path in ["/BOOT.CFG", "/EFI/BOOT/BOOT.CFG"] {
                writer.file(path, boot_cfg_of(len));
            }
            let base = image(&writer);
            let overlay = patched(&base);
            let result = Overlaid::new(&base, &overlay);
            check_boot_files(&result);
            assert_eq!(read(&result, TreeKind::Primary, "/BOOT.CFG").unwrap().len(), len + 7);
            assert_eq!(overlay.size > base.size, is_moved, "{len}");
            let volume = Volume::open(&result).unwrap();
            assert_eq!(volume.size_blocks * BLOCK, overlay.size);
        }
    }
}

#[test]
fn a_boot_file_that_shares_its_place_with_another_file_leaves_it() {
    let mut writer = writer();
    writer.file("/UPGRADE.CFG", boot_cfg("runweasel cdromBoot"));
    let written = writer.write().unwrap();
    let mut base = written.image.to_vec();
    // As deduplicating writers do: /UPGRADE.CFG is a second name of the extent of /BOOT.CFG.
    let volume = Volume::open(&base).unwrap();
    let record =
        volume.find(&base, TreeKind::Primary, "/UPGRADE.CFG").unwrap().unwrap().record_offset as usize;
    let block = (written.extents["/BOOT.CFG"].start / BLOCK) as u32;
    base[record + 2..record + 10].copy_from_slice(&both_orders(block));
    let overlay = overlay(&base, &recognise(&base).unwrap(), KickstartOn::Cd).unwrap();
    let result = Overlaid::new(&base, &overlay);
    check_boot_files(&result);
    let upgrade = read(&result, TreeKind::Primary, "/UPGRADE.CFG").unwrap();
    assert_eq!(upgrade, boot_cfg("runweasel cdromBoot").into_bytes());
}

#[test]
fn both_boot_files_may_be_one() {
    let written = writer().write().unwrap();
    let mut base = written.image.to_vec();
    let volume = Volume::open(&base).unwrap();
    let efi =
        volume.find(&base, TreeKind::Primary, "/EFI/BOOT/BOOT.CFG").unwrap().unwrap().record_offset as usize;
    let block = (written.extents["/BOOT.CFG"].start / BLOCK) as u32;
    base[efi + 2..efi + 10].copy_from_slice(&both_orders(block));
    let overlay = overlay(&base, &recognise(&base).unwrap(), KickstartOn::Cd).unwrap();
    assert_eq!((overlay.patches.len(), overlay.size), (1, base.len() as u64));
    check_boot_files(&Overlaid::new(&base, &overlay));
}

/// Each of the two Joliet trees would have to change, and the second one is never seen.
#[test]
fn an_image_with_two_trees_of_a_kind_is_not_changed() {
    let mut writer = writer();
    writer.joliet = true;
    let mut base = image(&writer).to_vec();
    let volume = Volume::open(&base).unwrap();
    let joliet = volume.tree(TreeKind::Joliet).unwrap().descriptor as usize;
    // In place of the boot record.
    base.copy_within(joliet..joliet + BLOCK as usize, 17 * BLOCK as usize);
    let installer = recognise(&base).unwrap();
    let changed = overlay(&base, &installer, KickstartOn::Cd);
    assert!(matches!(changed, Err(PatchError::Change(ChangeError::Twins { tree: "Joliet" }))), "{changed:?}");
    let changed = overlay_single_cd(&base, &installer, KS, None);
    assert!(matches!(changed, Err(PatchError::Change(ChangeError::Twins { .. }))), "{changed:?}");
}

/// A boot file of 256 KiB may name a hundred thousand files, below a prefix that fills the rest.
#[test]
fn of_the_files_that_a_boot_file_names_a_bounded_number_is_looked_for() {
    let modules = |count: usize| vec!["/b.b00"; count].join(" --- ");
    let mut writer = writer();
    let text = boot_cfg("x").replace("modules=/jumpstrt.gz", &format!("modules={}", modules(20_000)));
    writer.file("/BOOT.CFG", text);
    let long = format!("prefix={}\n", "x".repeat(2000));
    writer.file("/EFI/BOOT/BOOT.CFG", boot_cfg("x").replace("prefix=\n", &long).replace("/b.b00", "b.b00"));
    let installer = recognise(&image(&writer)).unwrap();
    assert_eq!(installer.boot_files[0].payload_files, 20_002);
    let absent = |path: &str| installer.warnings.iter().find(|text| text.contains(path)).unwrap().clone();
    assert!(absent("in /BOOT.CFG").starts_with("17954 of the 20002"), "{}", absent("in /BOOT.CFG"));
    assert!(absent("/EFI").starts_with("1 of the 3"), "{}", absent("/EFI"));
}

#[test]
fn a_kickstart_of_the_image_is_hidden_or_replaced() {
    for joliet in [false, true] {
        let mut writer = writer();
        writer.joliet = joliet;
        writer.file("/KS.CFG", &b"rootpw another's\n"[..]);
        let base = image(&writer);
        let installer = recognise(&base).unwrap();
        assert!(installer.has_ks_cfg);
        let two_cds = patched(&base);
        let single = overlay_single_cd(&base, &installer, KS, None).unwrap();
        for tree in Volume::open(&base).unwrap().trees {
            assert_eq!(read(&Overlaid::new(&base, &two_cds), tree.kind, "/KS.CFG"), None);
            assert_eq!(read(&Overlaid::new(&base, &single.overlay), tree.kind, "/KS.CFG").unwrap(), KS);
        }
        assert_eq!(two_cds.size, base.size);
    }
}

#[test]
fn a_single_cd_carries_the_kickstart_far_from_everything() {
    let base = image(&writer());
    let single = overlay_single_cd(&base, &recognise(&base).unwrap(), KS, None).unwrap();
    let result = Overlaid::new(&base, &single.overlay);
    check_boot_files(&result);
    let volume = Volume::open(&result).unwrap();
    let entry = volume.find_exact(&result, TreeKind::Primary, "/KS.CFG").unwrap().unwrap();
    assert_eq!(entry.extent, single.kickstart);
    assert!(single.kickstart.start >= base.size + crate::iso::KICKSTART_GAP_BYTES);
    assert!(single.overlay.size - single.kickstart.end >= crate::iso::KICKSTART_GAP_BYTES);
    assert_eq!(volume.boot, Volume::open(&base).unwrap().boot);
    assert!(single.overlay.patches.iter().map(|patch| patch.bytes.len()).sum::<usize>() < 8192);
}

#[test]
fn a_full_root_directory_moves_with_everything_that_points_to_it() {
    // Sizes of the root directory on both sides of a block's end.
    let relocated: Vec<bool> = (20..60).map(|files| add_to_root_of(files, false)).collect();
    assert!(relocated.contains(&true) && relocated.contains(&false));
    assert!((5..40).any(|files| add_to_root_of(files, true)));
}

/// Adds a kickstart to an image with so many more files in its root; returns whether the root moved.
fn add_to_root_of(files: usize, joliet: bool) -> bool {
    let mut writer = writer();
    writer.joliet = joliet;
    for i in 0..files {
        writer.file(&format!("/MODULE{i:02}.V00"), vec![i as u8; 10]);
    }
    let base = image(&writer);
    let single = overlay_single_cd(&base, &recognise(&base).unwrap(), KS, None).unwrap();
    let result = Overlaid::new(&base, &single.overlay);
    let (before, after) = (Volume::open(&base).unwrap(), Volume::open(&result).unwrap());
    let mut is_moved = false;
    for (old, new) in before.trees.iter().zip(&after.trees) {
        is_moved |= old.root != new.root;
        let names: Vec<_> =
            after.list(&result, new.kind, "/").unwrap().into_iter().map(|entry| entry.name).collect();
        assert!(names.is_sorted(), "{names:?}");
        check_pointers(&result, new);
    }
    is_moved
}

/// Both path tables, `.` and `..` of the root and of its children lead to the root directory.
fn check_pointers(image: &impl ReadAt, tree: &crate::iso::Tree) {
    check_numbers(image);
    let at = |offset: u64| {
        let mut bytes = [0; 4];
        image.read_at(offset, &mut bytes).unwrap();
        u32::from_le_bytes(bytes)
    };
    let root = (tree.root.start / BLOCK) as u32;
    assert!(tree.path_tables.little.iter().all(|table| at(table + 2) == root));
    assert!(tree.path_tables.big.iter().all(|table| at(table + 2).swap_bytes() == root));
    assert_eq!((at(tree.root.start + 2), at(tree.root.start + 34 + 2)), (root, root));
    assert_eq!(u64::from(at(tree.root.start + 10)), tree.root.end - tree.root.start);
    let volume = Volume::open(image).unwrap();
    let efi = volume.find(image, tree.kind, "/EFI").unwrap().unwrap();
    assert_eq!(at(efi.extent.start + 34 + 2), root);
    let below = volume.find(image, tree.kind, "/EFI/BOOT").unwrap().unwrap();
    assert_eq!(at(below.extent.start + 34 + 2), (efi.extent.start / BLOCK) as u32);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_hostile_image_is_refused_or_changed_rightly(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        joliet in any::<bool>(),
    ) {
        let mut writer = writer();
        writer.joliet = joliet;
        let mut bytes = image(&writer).to_vec();
        // Where the meaning is: descriptors, tables and directories, in bytes that are not zero.
        let meant: Vec<usize> = (16 * 2048..30 * 2048).filter(|at| bytes[*at] != 0).collect();
        for (index, value) in changes {
            bytes[*index.get(&meant)] = value;
        }
        let Ok(installer) = recognise(&bytes) else { return Ok(()) };
        // What is handed out has been verified; here only that it can be read.
        if let Ok(overlay) = overlay(&bytes, &installer, KickstartOn::Cd) {
            prop_assert!(recognise(&Overlaid::new(&bytes, &overlay)).is_ok());
        }
        if let Ok(single) = overlay_single_cd(&bytes, &installer, KS, None) {
            let result = Overlaid::new(&bytes, &single.overlay);
            prop_assert_eq!(read(&result, TreeKind::Primary, "/KS.CFG").unwrap(), KS);
        }
    }
}
