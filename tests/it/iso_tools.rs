//! Other people's tools read what we write and change: isoinfo (genisoimage), xorriso, pycdlib; of the
//! task stick fsck.vfat (dosfstools), mtools, and partx and blkid (util-linux).
//!
//! Not a test of our reader, which has its own. Invariant: a missing tool fails the test with the
//! name of the Debian package that has it.

mod stick;
mod task_medium;
mod tools;
mod vendor;

use std::collections::BTreeMap;

use shoal_image::installer::{
    Installer, KickstartOn, NotAnInstaller, overlay, overlay_single_cd, parse_boot_config, recognise,
};
use shoal_image::iso::{ReadAt, TreeKind, Volume, build_task_iso};

use tools::{Tools, write_overlaid};
use vendor::{BOOT_FILES, BootFileKind, Maker, Recipe, Trees, VendorImage};

const KICKSTART: &[u8] =
    b"vmaccepteula\nrootpw secret-of-the-test\ninstall --firstdisk --overwritevmfs\nreboot\n";

#[test]
fn the_task_iso_is_read_by_isoinfo() {
    let tools = Tools::new();
    let path = tools.write("task.iso", |file| build_task_iso(KICKSTART, b"{}", None).image.write_to(file));
    let summary = tools.isoinfo(&["-d"], &path);
    for line in ["Volume id: SHOAL_TASK", "Joliet with UCS level 3 found", "NO Rock Ridge present"] {
        assert!(summary.contains(line), "{summary}");
    }
    let listing = tools.isoinfo(&["-l"], &path);
    assert!(listing.contains(" KS.CFG;1 ") && listing.contains(" RECIPE.JSO;1 "), "{listing}");
    let listing = tools.isoinfo(&["-J", "-l"], &path);
    assert!(listing.contains(" ks.cfg ") && listing.contains(" recipe.json "), "{listing}");
    assert_eq!(tools.isoinfo_bytes(&["-x", "/KS.CFG;1"], &path), KICKSTART);
    assert_eq!(tools.isoinfo_bytes(&["-J", "-x", "/ks.cfg"], &path), KICKSTART);
    assert_eq!(tools.isoinfo_bytes(&["-J", "-x", "/recipe.json"], &path), b"{}");
}

#[test]
fn the_task_iso_is_read_by_xorriso_to_its_last_block() {
    let tools = Tools::new();
    for size in [1, 2048, 65_536] {
        let kickstart = vec![b'#'; size];
        let path =
            tools.write("task.iso", |file| build_task_iso(&kickstart, b"{}", None).image.write_to(file));
        let blocks = std::fs::metadata(&path).unwrap().len() / 2048;
        let report = tools.xorriso_check(&path);
        assert!(report.contains(&format!("0 , {blocks:>10} , + good")), "{report}");
        let files = tools.extract(&path, "ecma119");
        assert_eq!(files["KS.CFG"], kickstart, "by plain ISO 9660 names");
        assert_eq!(tools.extract(&path, "any")["ks.cfg"], kickstart, "by Joliet names");
    }
}

#[test]
fn the_task_iso_is_read_by_pycdlib() {
    let tools = Tools::new();
    let path = tools.write("task.iso", |file| build_task_iso(KICKSTART, b"{}", None).image.write_to(file));
    assert_eq!(tools.pycdlib_read(&path, "iso_path", "/KS.CFG;1"), KICKSTART);
    assert_eq!(tools.pycdlib_read(&path, "joliet_path", "/ks.cfg"), KICKSTART);
}

#[test]
fn two_task_isos_of_one_recipe_are_the_same_file() {
    let tools = Tools::new();
    let build = |name: &str| {
        let path = tools.write(name, |file| build_task_iso(KICKSTART, b"{}", None).image.write_to(file));
        std::fs::read(path).unwrap()
    };
    assert_eq!(build("one.iso"), build("two.iso"));
}

/// Every image that these tests make, its changed copy handed to `check`.
fn each_image(maker: Maker, check: impl Fn(&Tools, &VendorImage, &Installer)) {
    for trees in Trees::ALL {
        for kind in BootFileKind::ALL {
            let tools = Tools::new();
            let image = VendorImage::make(&tools, Recipe::new(maker, trees, kind));
            let installer = recognise(&image.bytes).unwrap();
            assert!(installer.bios && installer.uefi, "{:?}", image.recipe);
            check(&tools, &image, &installer);
        }
    }
}

/// The changed image as a file, its boot files as isoinfo reads them, and all other files as xorriso
/// does, in each tree.
fn check_changed(tools: &Tools, image: &VendorImage, installer: &Installer) {
    let recipe = image.recipe;
    let overlay = overlay(&image.bytes, installer, KickstartOn::Cd).unwrap();
    let changed = write_overlaid(tools, &image.bytes, &overlay);
    for path in BOOT_FILES {
        check_boot_file(image, &tools.isoinfo_bytes(&["-x", &format!("{path};1")], &changed));
        if image.recipe.trees.has_joliet() {
            check_boot_file(image, &tools.isoinfo_bytes(&["-J", "-x", path], &changed));
        }
        if image.recipe.trees.has_rock_ridge() {
            check_boot_file(image, &tools.isoinfo_bytes(&["-R", "-x", path], &changed));
        }
    }
    for mode in image.recipe.trees.xorriso_modes() {
        let (mut before, mut after) = (tools.extract(&image.path, mode), tools.extract(&changed, mode));
        for path in BOOT_FILES {
            check_boot_file(image, &take(&mut after, path));
            take(&mut before, path);
        }
        assert!(before.len() > 20, "{recipe:?} {mode}");
        assert!(before == after, "{recipe:?} {mode}: a file has changed");
    }
    let report = tools.xorriso_check(&changed);
    assert!(report.contains("+ good") && !report.contains("- "), "{recipe:?} {report}");
}

fn take(files: &mut BTreeMap<String, Vec<u8>>, path: &str) -> Vec<u8> {
    let key = files.keys().find(|key| key.eq_ignore_ascii_case(path.trim_start_matches('/'))).cloned();
    files.remove(&key.unwrap_or_else(|| panic!("{path} is not among {:?}", files.keys()))).unwrap()
}

fn check_boot_file(image: &VendorImage, bytes: &[u8]) {
    let recipe = image.recipe;
    let (before, after) = (parse_boot_config(&image.boot_file), parse_boot_config(bytes));
    assert_eq!(after.kernelopt.as_deref(), Some("runweasel logPort=com1 ks=cdrom:/KS.CFG"), "{recipe:?}");
    assert_eq!((after.kernel, after.modules, after.build), (before.kernel, before.modules, before.build));
}

#[test]
fn a_changed_image_of_xorriso_is_read_by_isoinfo_and_xorriso() {
    each_image(Maker::Xorriso, check_changed);
}

#[test]
fn a_changed_image_of_genisoimage_is_read_by_isoinfo_and_xorriso() {
    each_image(Maker::Genisoimage, check_changed);
}

/// The kickstart as each tool reads it, in each tree.
fn check_single_cd(tools: &Tools, image: &VendorImage, installer: &Installer) {
    let recipe = image.recipe;
    let single = overlay_single_cd(&image.bytes, installer, KICKSTART, None).unwrap();
    let changed = write_overlaid(tools, &image.bytes, &single.overlay);
    assert_eq!(tools.isoinfo_bytes(&["-x", "/KS.CFG;1"], &changed), KICKSTART, "{recipe:?}");
    assert_eq!(tools.pycdlib_read(&changed, "iso_path", "/KS.CFG;1"), KICKSTART, "{recipe:?}");
    if image.recipe.trees.has_joliet() {
        assert_eq!(tools.isoinfo_bytes(&["-J", "-x", "/KS.CFG"], &changed), KICKSTART, "{recipe:?}");
        assert_eq!(tools.pycdlib_read(&changed, "joliet_path", "/KS.CFG"), KICKSTART, "{recipe:?}");
    }
    if image.recipe.trees.has_rock_ridge() {
        assert_eq!(tools.pycdlib_read(&changed, "rr_path", "/KS.CFG"), KICKSTART, "{recipe:?}");
    }
    for mode in image.recipe.trees.xorriso_modes() {
        let (mut before, mut after) = (tools.extract(&image.path, mode), tools.extract(&changed, mode));
        assert_eq!(take(&mut after, "/KS.CFG"), KICKSTART, "{recipe:?} {mode}");
        for path in BOOT_FILES {
            check_boot_file(image, &take(&mut after, path));
            take(&mut before, path);
        }
        assert!(before == after, "{recipe:?} {mode}: a file has changed");
    }
    let report = tools.xorriso_check(&changed);
    assert!(report.contains("+ good") && !report.contains("- "), "{recipe:?} {report}");
    let (old, new) = (tools.isoinfo(&["-d"], &image.path), tools.isoinfo(&["-d"], &changed));
    let boot = |summary: &str| {
        summary.lines().skip_while(|line| !line.contains("El Torito")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(boot(&old), boot(&new), "{recipe:?}: the boot catalogue has changed");
}

#[test]
fn a_single_cd_made_of_an_image_of_xorriso_shows_the_kickstart_to_every_tool() {
    each_image(Maker::Xorriso, check_single_cd);
}

#[test]
fn a_single_cd_made_of_an_image_of_genisoimage_shows_the_kickstart_to_every_tool() {
    each_image(Maker::Genisoimage, check_single_cd);
}

#[test]
fn a_full_root_directory_moves_and_every_tool_follows() {
    for maker in [Maker::Xorriso, Maker::Genisoimage] {
        for trees in Trees::ALL {
            // Names of different length fill the directory's last block to different bytes.
            let full = modules_to_fill_root(Recipe::new(maker, trees, BootFileKind::Titled));
            let mut fillings =
                (full - 1..full + 2).flat_map(|modules| (1..=8).map(move |extra| (modules, extra)));
            let is_found = fillings.any(|(modules, extra)| {
                let tools = Tools::new();
                let recipe = Recipe { modules, extra, ..Recipe::new(maker, trees, BootFileKind::Titled) };
                let image = VendorImage::make(&tools, recipe);
                let installer = recognise(&image.bytes).unwrap();
                let single = overlay_single_cd(&image.bytes, &installer, KICKSTART, None).unwrap();
                let is_moved = root_has_moved(&image.bytes, &single.overlay);
                if is_moved {
                    check_single_cd(&tools, &image, &installer);
                }
                is_moved
            });
            assert!(is_found, "{maker:?} {trees:?}: no root directory was full");
        }
    }
}

/// How many modules the last block of the root directory has room for, those in it included.
fn modules_to_fill_root(recipe: Recipe) -> usize {
    let image = VendorImage::make(&Tools::new(), recipe).bytes;
    let entries = Volume::open(&image).unwrap().list(&image, TreeKind::Primary, "/").unwrap();
    let modules: Vec<_> = entries.iter().filter(|entry| entry.name.starts_with("MODULE")).collect();
    let step = modules[1].record_offset - modules[0].record_offset;
    let end = entries.last().unwrap().record_offset + step;
    recipe.modules + ((end.next_multiple_of(2048) - end) / step) as usize
}

fn root_has_moved(base: &Vec<u8>, overlay: &shoal_image::iso::Overlay) -> bool {
    let after = Volume::open(&shoal_image::iso::Overlaid::new(base, overlay)).unwrap();
    Volume::open(base).unwrap().primary().root != after.primary().root
}

#[test]
fn our_reader_sees_what_the_tools_wrote() {
    for maker in [Maker::Xorriso, Maker::Genisoimage] {
        for trees in Trees::ALL {
            let tools = Tools::new();
            let image = VendorImage::make(&tools, Recipe::new(maker, trees, BootFileKind::Titled));
            let recipe = image.recipe;
            let volume = Volume::open(&image.bytes).unwrap();
            let kinds: Vec<TreeKind> = volume.trees.iter().map(|tree| tree.kind).collect();
            assert_eq!(kinds, trees.kinds(), "{recipe:?}");
            assert_eq!(volume.size_blocks * 2048, image.bytes.size(), "{recipe:?}");
            for (kind, mode) in kinds.into_iter().zip(trees.xorriso_modes()) {
                let entries = volume.walk(&image.bytes, kind).unwrap();
                let files = entries.iter().filter(|entry| !entry.is_dir).map(|entry| {
                    let content = volume.read(&image.bytes, entry, 1 << 30).unwrap();
                    (entry.path.trim_start_matches('/').to_owned(), content)
                });
                let ours: BTreeMap<String, Vec<u8>> = files.collect();
                assert!(ours == tools.extract(&image.path, mode), "{recipe:?} {mode}");
            }
        }
    }
}

#[test]
fn a_udf_bridge_of_genisoimage_is_refused_in_each_of_its_forms() {
    for trees in Trees::ALL {
        let tools = Tools::new();
        let recipe = Recipe { udf: true, ..Recipe::new(Maker::Genisoimage, trees, BootFileKind::Titled) };
        let image = VendorImage::make(&tools, recipe);
        assert!(Volume::open(&image.bytes).unwrap().udf, "{recipe:?}");
        let error = recognise(&image.bytes).unwrap_err();
        assert!(matches!(error, NotAnInstaller::UdfBridge { .. }), "{recipe:?}: {error}");
    }
}
