//! The files of a Linux or Windows job, as other people's tools read them: from the task ISO, and from a maintenance
//! ISO that carries them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use shoal_image::iso::{Overlaid, Volume};
use shoal_image::task_medium::{
    TaskContent, TaskFile, TaskMediumError, build_task_medium, overlay_task_files,
};

use super::tools::{Tools, run, write_overlaid};
use super::vendor::{BootFileKind, Maker, Recipe, Trees, VendorImage};

fn job() -> Vec<TaskFile> {
    let mut files = vec![
        TaskFile::alone("recipe.json", "{\"a\":1}"),
        TaskFile::alone("success", "success\n"),
        TaskFile::alone("failure", "failure\n"),
        TaskFile::shared("user-data", "#cloud-config\n"),
        TaskFile::shared("user-data.orig", "the same in 8.3"),
        TaskFile::shared("unattend.xml", "<unattend/>"),
    ];
    files.extend(TaskFile::parts("image", 5000));
    files
}

fn content(file: &TaskFile) -> Vec<u8> {
    match &file.content {
        TaskContent::Shared(bytes) | TaskContent::Alone(bytes) => bytes.to_vec(),
        TaskContent::Elsewhere(bytes) => vec![0; *bytes as usize],
    }
}

/// Each file under its exact name in each of the trees that have such names.
fn check(tools: &Tools, image: &Path, has_joliet: bool, has_rock_ridge: bool) {
    let mut readers = Vec::new();
    if has_rock_ridge {
        readers.push((vec!["-R"], "any", "rr_path"));
    }
    if has_joliet {
        readers.push((vec!["-J"], "norock", "joliet_path"));
    }
    for (isoinfo, xorriso, pycdlib) in readers {
        let listing = tools.isoinfo(&[isoinfo.clone(), vec!["-l"]].concat(), image);
        let files: BTreeMap<_, _> = tools.extract(image, xorriso);
        for file in job() {
            let path = format!("/{}", file.name);
            assert!(
                listing.lines().any(|line| line.trim_end().ends_with(&format!(" {}", file.name))),
                "{listing}"
            );
            assert_eq!(
                tools.isoinfo_bytes(&[isoinfo.clone(), vec!["-x", &path]].concat(), image),
                content(&file)
            );
            assert_eq!(files[&file.name], content(&file), "{path} by xorriso, {xorriso}");
            assert_eq!(tools.pycdlib_read(image, pycdlib, &path), content(&file), "{path} by pycdlib");
        }
    }
    let report = tools.xorriso_check(image);
    assert!(report.contains("+ good") && !report.contains("- "), "{report}");
}

#[test]
fn every_tool_reads_the_files_of_a_task_medium_under_their_names() {
    let tools = Tools::new();
    let medium = build_task_medium("TASK_0123456789ABCDEF", &job()).unwrap();
    let path = tools.write("task.iso", |file| medium.image.write_to(file));
    let summary = tools.isoinfo(&["-d"], &path);
    for line in [
        "Volume id: TASK_0123456789ABCDEF",
        "Joliet with UCS level 3 found",
        "Rock Ridge signatures version 1 found",
    ] {
        assert!(summary.contains(line), "{summary}");
    }
    let listing = tools.isoinfo(&["-R", "-l"], &path);
    assert_eq!(listing.matches("\n-r--r--r--").count(), job().len(), "{listing}");
    check(&tools, &path, true, true);
}

#[test]
fn every_tool_reads_the_files_of_a_single_cd_under_their_names() {
    for maker in [Maker::Xorriso, Maker::Genisoimage] {
        for trees in Trees::ALL {
            let tools = Tools::new();
            let image = VendorImage::make(&tools, Recipe::new(maker, trees, BootFileKind::Titled));
            if !trees.has_joliet() {
                let error = overlay_task_files(&image.bytes, &job()).unwrap_err();
                assert!(matches!(error, TaskMediumError::ShortNames), "{error}");
                continue;
            }
            let single = overlay_task_files(&image.bytes, &job()).unwrap();
            let changed = write_overlaid(&tools, &image.bytes, &single.overlay);
            check(&tools, &changed, trees.has_joliet(), trees.has_rock_ridge());
            for mode in trees.xorriso_modes() {
                check_others(&tools, &image.path, &changed, mode);
            }
        }
    }
}

/// The system's own files are as they were.
fn check_others(tools: &Tools, before: &Path, after: &Path, mode: &str) {
    let (before, after) = (tools.extract(before, mode), tools.extract(after, mode));
    assert_eq!(after.len(), before.len() + job().len(), "{mode}");
    for (path, content) in before {
        assert!(after[&path] == content, "{path} has changed ({mode})");
    }
}

#[test]
fn every_tool_reads_the_files_on_a_hybrid_image() {
    // One of these directories has room in its last block for the files' records, another has none.
    let [mut moved, mut stayed] = [false; 2];
    for files in 40..54 {
        let tools = Tools::new();
        let path = hybrid_image(&tools, files);
        let bytes = std::fs::read(&path).unwrap();
        let single = overlay_task_files(&bytes, &job()).unwrap();
        let overlaid = Overlaid::new(&bytes, &single.overlay);
        let [before, after] = [Volume::open(&bytes).unwrap(), Volume::open(&overlaid).unwrap()];
        let known = if before.primary().root == after.primary().root { &mut stayed } else { &mut moved };
        if std::mem::replace(known, true) {
            continue;
        }
        assert!(before.boot.is_some());
        assert_eq!(before.boot, after.boot);
        let changed = write_overlaid(&tools, &bytes, &single.overlay);
        check(&tools, &changed, true, true);
        for mode in ["any", "norock", "ecma119"] {
            check_others(&tools, &path, &changed, mode);
        }
    }
    assert!(moved && stayed);
}

/// Laid out like those of `grub-mkrescue`: partition tables and an HFS+ tree beside Rock Ridge and Joliet.
fn hybrid_image(tools: &Tools, files: usize) -> PathBuf {
    let root = tools.path("root");
    std::fs::create_dir_all(root.join("boot/grub")).unwrap();
    std::fs::write(root.join("boot/grub/grub.cfg"), "linux /vmlinuz\n").unwrap();
    std::fs::write(root.join("efi.img"), vec![0xFA; 40_000]).unwrap();
    for index in 0..files {
        std::fs::write(root.join(format!("a-rather-long-name-of-a-file-{index}")), [index as u8]).unwrap();
    }
    let path = tools.path("maintenance.iso");
    let options = "-as mkisofs -quiet -r -J -hfsplus -apm-block-size 2048 --protective-msdos-label \
                   --efi-boot efi.img -efi-boot-part --efi-boot-image -o";
    let mut command = Command::new("xorriso");
    run(command.args(options.split_whitespace()).arg(&path).arg(&root), "xorriso");
    path
}
