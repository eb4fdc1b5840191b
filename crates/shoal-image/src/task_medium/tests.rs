//! Both forms, read back by our reader. Other readers: `tests/it/iso_tools/task_medium.rs`.

use std::cmp::Reverse;

use proptest::prelude::*;

use super::*;
use crate::iso::{BLOCK, BootPlatform, IsoWriter, KICKSTART_GAP_BYTES, Overlaid, ReadAt, TreeKind, Volume};

fn job() -> Vec<TaskFile> {
    vec![
        TaskFile::alone("recipe.json", "{}"),
        TaskFile::shared("user-data", "#cloud-config\n"),
        TaskFile::shared("network-config", ""),
        TaskFile::alone("success", "yes"),
        TaskFile::alone("failure", "no"),
    ]
}

/// A small maintenance system with so many files at its root.
fn system(joliet: bool, rock_ridge: bool, files: usize) -> SparseImage {
    let mut writer = IsoWriter::new("MAINTENANCE");
    (writer.joliet, writer.rock_ridge) = (joliet, rock_ridge);
    writer.file("/boot/vmlinuz", vec![7; 5000]).file("/boot.img", vec![1; 2048]);
    writer.boot(BootPlatform::Bios, "/boot.img", 4);
    for index in 0..files {
        writer.file(&format!("/F{index:07}.TXT"), vec![index as u8]);
    }
    writer.write().unwrap().image
}

/// Every tree with long names shows the files under theirs, the others have as many.
fn check_files_of(image: &impl ReadAt, files: &[TaskFile], places: &TaskPlaces) {
    let volume = Volume::open(image).unwrap();
    assert_eq!(volume.size_blocks * BLOCK, image.size());
    for tree in &volume.trees {
        for file in files {
            let path = format!("/{}", file.name);
            let place = &places.files[&file.name];
            let entry = match tree.kind {
                TreeKind::RockRidge | TreeKind::Joliet => {
                    volume.find_exact(image, tree.kind, &path).unwrap().unwrap()
                }
                _ => {
                    let mut all = volume.list(image, tree.kind, "/").unwrap().into_iter();
                    all.find(|entry| entry.extent == *place).unwrap()
                }
            };
            assert_eq!(entry.extent, *place, "{path}");
            if let TaskContent::Shared(bytes) | TaskContent::Alone(bytes) = &file.content {
                assert_eq!(volume.read(image, &entry, 1 << 24).unwrap(), *bytes, "{path}");
            }
        }
        let names = volume.list(image, tree.kind, "/").unwrap();
        let unique: BTreeSet<_> = names.iter().map(|entry| entry.name.to_ascii_lowercase()).collect();
        assert_eq!(unique.len(), names.len(), "{:?}", tree.kind);
    }
}

/// Those that are alone have the gap on both sides, and lie in the order given.
fn check_gaps(size: u64, files: &[TaskFile], places: &TaskPlaces) {
    let alone = files.iter().filter(|file| matches!(file.content, TaskContent::Alone(_)));
    let mut end = places.shared_end;
    for file in alone.clone() {
        let place = &places.files[&file.name];
        assert!(place.start - end >= KICKSTART_GAP_BYTES, "{}", file.name);
        end = place.end;
    }
    let elsewhere = files.iter().filter(|file| matches!(file.content, TaskContent::Elsewhere(_)));
    let first = elsewhere.map(|file| places.files[&file.name].start).min().unwrap_or(size);
    assert!(alone.count() == 0 || first - end >= KICKSTART_GAP_BYTES);
}

#[test]
fn the_files_have_their_names_and_places() {
    let medium = build_task_medium("TASK_0123456789ABCDEF", &job()).unwrap();
    let volume = Volume::open(&medium.image).unwrap();
    let kinds: Vec<_> = volume.trees.iter().map(|tree| tree.kind).collect();
    assert_eq!(kinds, [TreeKind::Primary, TreeKind::RockRidge, TreeKind::Joliet]);
    assert_eq!(volume.volume_id, "TASK_0123456789ABCDEF");
    check_files_of(&medium.image, &job(), &medium.places);
    check_gaps(medium.image.size, &job(), &medium.places);
    assert!(medium.image.pieces.iter().map(|piece| piece.bytes.len()).sum::<usize>() < 32 * 1024);
    assert_eq!(build_task_medium("TASK_0123456789ABCDEF", &job()).unwrap(), medium, "the same bytes");
}

#[test]
fn an_image_is_carried_in_parts_without_its_bytes() {
    let whole = 2 * FILE_BYTES_MAX + 5;
    let parts = TaskFile::parts("image", whole);
    let sizes: Vec<_> = parts.iter().map(|part| (part.name.as_str(), part.content.size())).collect();
    assert_eq!(sizes, [("image.000", FILE_BYTES_MAX), ("image.001", FILE_BYTES_MAX), ("image.002", 5)]);
    assert!(TaskFile::parts("image", 0).is_empty());
    let files = [job(), parts].concat();
    let medium = build_task_medium("TASK_1", &files).unwrap();
    check_files_of(&medium.image, &files, &medium.places);
    check_gaps(medium.image.size, &files, &medium.places);
    assert!(medium.image.size > whole);
    let place = |name: &str| &medium.places.files[name];
    assert_eq!(place("image.000").end, place("image.001").start);
    assert_eq!(place("image.001").end, place("image.002").start);
    let system = system(true, true, 3);
    let single = overlay_task_files(&system, &files).unwrap();
    check_gaps(single.overlay.size, &files, &single.places);
    check_files_of(&Overlaid::new(&system, &single.overlay), &files, &single.places);
}

#[test]
fn what_no_medium_can_hold_is_refused() {
    let wrong = |file: TaskFile| {
        let built = build_task_medium("TASK_1", std::slice::from_ref(&file)).unwrap_err().to_string();
        let laid_over = overlay_task_files(&system(true, true, 0), &[file]).unwrap_err().to_string();
        assert_eq!(built, laid_over);
        built
    };
    for name in ["", "a/b", "..", ".a", "a.", "ü", "a b", &"a".repeat(65)] {
        assert!(wrong(TaskFile::shared(name, "x")).contains("its name"), "{name}");
    }
    assert!(wrong(TaskFile::alone("success", "")).contains("empty"));
    assert!(wrong(TaskFile::elsewhere("image.000", 1 << 32)).contains("4 GiB"));
    let twins = [TaskFile::shared("a", "1"), TaskFile::shared("A", "2")];
    assert!(build_task_medium("TASK_1", &twins).unwrap_err().to_string().contains("two of that name"));
    for id in ["", "task_1", "TASK-1", &"T".repeat(33)] {
        let error = build_task_medium(id, &job()).unwrap_err();
        assert!(matches!(error, TaskMediumError::Write(WriteError::VolumeId { .. })), "{id}: {error}");
    }
}

#[test]
fn no_content_is_printed() {
    let medium = build_task_medium("TASK_1", &[TaskFile::shared("user-data", "secret")]).unwrap();
    assert!(!format!("{medium:?} {:?}", TaskFile::alone("a", "secret")).contains("secret"));
}

#[test]
fn a_maintenance_system_with_short_names_only_is_refused() {
    let error = overlay_task_files(&system(false, false, 3), &job()).unwrap_err();
    assert!(matches!(error, TaskMediumError::ShortNames), "{error}");
}

#[test]
fn a_file_of_the_same_name_is_replaced() {
    let mut writer = IsoWriter::new("MAINTENANCE");
    writer.rock_ridge = true;
    writer.file("/Recipe.json", "sample").file("/user-dat", "another file");
    let system = writer.write().unwrap();
    let files = [TaskFile::alone("recipe.json", "{\"a\":1}"), TaskFile::shared("user-data", "ours")];
    let single = overlay_task_files(&system.image, &files).unwrap();
    let image = Overlaid::new(&system.image, &single.overlay);
    check_files_of(&image, &files, &single.places);
    let volume = Volume::open(&image).unwrap();
    for kind in [TreeKind::RockRidge, TreeKind::Joliet] {
        let names: Vec<_> = volume.list(&image, kind, "/").unwrap().into_iter().map(|e| e.name).collect();
        let sorted: BTreeSet<_> = names.iter().map(String::as_str).collect();
        assert_eq!(sorted, BTreeSet::from(["recipe.json", "user-dat", "user-data"]), "{kind:?}");
    }
    let primary = volume.find_exact(&image, TreeKind::Primary, "/USER_DAT").unwrap().unwrap();
    assert_eq!(primary.extent, system.extents["/user-dat"], "the vendor's keeps its name");
}

#[test]
fn a_directory_of_the_same_name_is_refused() {
    let mut writer = IsoWriter::new("MAINTENANCE");
    writer.rock_ridge = true;
    writer.file("/success/a", "b");
    let error = overlay_task_files(&writer.write().unwrap().image, &job()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("/success is a directory"), "{source}");
}

#[test]
fn all_files_of_a_maintenance_system_are_its_landmarks() {
    let system = system(true, true, 2);
    let landmarks = system_landmarks(&system).unwrap();
    let volume = Volume::open(&system).unwrap();
    assert_eq!(landmarks.descriptors, volume.descriptors);
    assert_eq!(landmarks.boot_catalog, Some(volume.boot.as_ref().unwrap().extent.clone()));
    for entry in volume.walk(&system, TreeKind::RockRidge).unwrap() {
        let is_within =
            |range: &Range<u64>| range.start <= entry.extent.start && entry.extent.end <= range.end;
        assert_eq!(landmarks.payload.iter().any(is_within), !entry.is_dir, "{}", entry.path);
    }
}

#[test]
fn a_file_whose_8_3_name_is_the_name_of_another_stays_beside_it() {
    let files = [TaskFile::shared("a-b", "one"), TaskFile::shared("a_b", "two")];
    for (joliet, rock_ridge) in [(true, true), (true, false), (false, true)] {
        let system = system(joliet, rock_ridge, 2);
        let single = overlay_task_files(&system, &files).unwrap();
        check_files_of(&Overlaid::new(&system, &single.overlay), &files, &single.places);
    }
}

fn any_files() -> impl Strategy<Value = Vec<TaskFile>> {
    let content = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..5000).prop_map(|bytes| TaskContent::Shared(bytes.into())),
        prop::collection::vec(any::<u8>(), 1..5000).prop_map(|bytes| TaskContent::Alone(bytes.into())),
        (0..=FILE_BYTES_MAX).prop_map(TaskContent::Elsewhere),
    ];
    // Few letters and long names, so that many are the same in 8.3.
    let name = "[abAB]{1,3}[ab._-]{0,60}[ab]";
    prop::collection::vec((name, content), 0..40).prop_map(|files| {
        let mut seen = BTreeSet::new();
        let mut files: Vec<_> = files
            .into_iter()
            .filter(|(name, _)| seen.insert(name.to_ascii_lowercase()))
            .map(|(name, content)| TaskFile { name, content })
            .collect();
        files.sort_by_key(|file| Reverse(file.content.size()));
        files
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_files_read_back_from_either_form(
        files in any_files(),
        (joliet, rock_ridge) in prop::sample::select(vec![(true, true), (true, false), (false, true)]),
        others in 0_usize..60,
    ) {
        let medium = build_task_medium("TASK_1", &files).unwrap();
        check_files_of(&medium.image, &files, &medium.places);
        check_gaps(medium.image.size, &files, &medium.places);
        let system = system(joliet, rock_ridge, others);
        let single = overlay_task_files(&system, &files).unwrap();
        check_files_of(&Overlaid::new(&system, &single.overlay), &files, &single.places);
        check_gaps(single.overlay.size, &files, &single.places);
    }
}
