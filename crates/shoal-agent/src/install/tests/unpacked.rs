//! Root file systems, on a machine whose programs only note what they were asked for.

use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;
use shoal_recipe::{Layout, Recipe};

use super::*;

const ROOT: &str = "/run/shoal-root";
/// What the archive holds, beside what a test adds.
const ARCHIVE: [&str; 4] =
    ["usr/sbin/grub-install", "usr/sbin/grub-mkconfig", "usr/lib/grub/x86_64-efi/normal.mod", "etc/hostname"];

fn layout() -> Layout {
    let recipe = json!({
        "task_target": "install-linux.target", "target_disk": "/dev/sda",
        "image": { "url": "https://ctl/root.tar.zst", "sha256": "00".repeat(32) },
        "partition_layout": [
            { "size": "4M", "type_guid": "ef00", "format": "vfat", "mountpoint": "/boot/efi", "label": "ESP" },
            { "size": "100%", "format": "ext4", "mountpoint": "/" },
            { "size": "16M", "format": "xfs", "mountpoint": "/boot" },
            { "size": "10%", "format": "swap", "label": "swap" },
        ],
    });
    Recipe::parse(recipe.as_object().unwrap()).unwrap().partition_layout.unwrap()
}

fn archive() -> Vec<u8> {
    let mut archive = vec![0; 10_240];
    archive[257..262].copy_from_slice(b"ustar");
    archive
}

fn site(files: &[&str]) -> Site {
    let mut site = Site::new(archive());
    site.recipe.partition_layout = Some(layout());
    let nodes: Vec<_> = (1..=4).map(|number| site.test.path(&format!("/dev/sda{number}"))).collect();
    let programs = &site.test.programs;
    programs.on("blockdev", move |_| {
        nodes.iter().for_each(|node| fs::write(node, "").unwrap());
        (true, String::new())
    });
    for program in
        ["mkfs.vfat", "mkfs.ext4", "mkfs.xfs", "mount", "umount", "e2fsck", "xfs_repair", "fsck.vfat"]
    {
        programs.on(program, |_| (true, String::new()));
    }
    let root = site.test.path(ROOT);
    let files: Vec<_> = files.iter().map(|file| root.join(file)).collect();
    programs.on("tar", move |_| {
        for file in &files {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "packed").unwrap();
        }
        symlink("/outside", root.join("etc/fstab")).unwrap();
        (true, String::new())
    });
    let disk = site.test.path("/dev/sda");
    programs.on("chroot", move |args| {
        if args.iter().any(|arg| arg.ends_with("grub-install")) {
            let disk = fs::OpenOptions::new().write(true).open(&disk).unwrap();
            let esp = volume(4 << 20, &["EFI/BOOT/BOOTX64.EFI"]);
            std::os::unix::fs::FileExt::write_all_at(&disk, &esp, MIB).unwrap();
        }
        (true, String::new())
    });
    site
}

/// The calls of programs, with the machine's folder taken out of their arguments.
fn calls(site: &Site) -> Vec<String> {
    let folder = site.test.path("/").display().to_string();
    let calls = site.test.programs.calls().into_iter().map(|call| call.replace(&folder, "/"));
    calls.filter(|call| !call.starts_with("ip ") && !call.starts_with("udhcpc")).collect()
}

#[test]
fn a_root_file_system_is_unpacked_completed_and_started_last() {
    let site = site(&ARCHIVE);
    assert_eq!(site.run(), Ok(()));
    let uuid = "0b00dead-0000-4000-8000-000000000001";
    let expected = [
        "blockdev --rereadpt /dev/sda".to_owned(),
        "mkfs.vfat -S 512 -i 0B00DEAD -n ESP /dev/sda1".to_owned(),
        format!("mkfs.ext4 -q -F -U {uuid} /dev/sda2"),
        format!("mkfs.xfs -q -f -m uuid={uuid} /dev/sda3"),
        "mount -t ext4 /dev/sda2 /run/shoal-root/".to_owned(),
        "mount -t xfs /dev/sda3 /run/shoal-root/boot".to_owned(),
        "tar -x -p -f - -C /run/shoal-root/ --numeric-owner --same-owner --xattrs --xattrs-include=* --acls"
            .to_owned(),
        "mount -o bind /dev /run/shoal-root/dev".to_owned(),
        "mount -t proc proc /run/shoal-root/proc".to_owned(),
        "mount -t sysfs sysfs /run/shoal-root/sys".to_owned(),
        "chroot /run/shoal-root/ /usr/sbin/grub-mkconfig -o /boot/grub/grub.cfg".to_owned(),
        "mount -t vfat /dev/sda1 /run/shoal-esp".to_owned(),
        "umount /run/shoal-esp".to_owned(),
        "mount -t vfat /dev/sda1 /run/shoal-root/boot/efi".to_owned(),
        "chroot /run/shoal-root/ /usr/sbin/grub-install --target=x86_64-efi --efi-directory=/boot/efi \
         --boot-directory=/boot --removable --no-nvram"
            .to_owned(),
        "umount /run/shoal-root/boot/efi".to_owned(),
        "umount /run/shoal-root/sys".to_owned(),
        "umount /run/shoal-root/proc".to_owned(),
        "umount /run/shoal-root/dev".to_owned(),
        "umount /run/shoal-root/boot".to_owned(),
        "umount /run/shoal-root/".to_owned(),
        "fsck.vfat -n /dev/sda1".to_owned(),
        "e2fsck -fn /dev/sda2".to_owned(),
        "xfs_repair -n /dev/sda3".to_owned(),
    ];
    assert_eq!(calls(&site), expected);
    assert_eq!(*site.test.programs.fed.lock().unwrap(), site.image);

    let fstab = fs::read_to_string(site.test.path(&format!("{ROOT}/etc/fstab"))).unwrap();
    let lines = [
        "# <file system> <mountpoint> <type> <options> <dump> <pass>".to_owned(),
        format!("UUID={uuid} / ext4 errors=remount-ro 0 1"),
        format!("UUID={uuid} /boot xfs defaults 0 0"),
        "UUID=0B00-DEAD /boot/efi vfat umask=0077 0 2".to_owned(),
        format!("UUID={uuid} none swap sw 0 0"),
    ];
    assert_eq!(fstab.lines().collect::<Vec<_>>(), lines, "not through the archive's link");
    let seed = site.test.path(&format!("{ROOT}/var/lib/cloud/seed/nocloud"));
    assert_eq!(fs::read_to_string(seed.join("meta-data")).unwrap(), "instance-id: 0192-job\n");
    let user_data = fs::metadata(seed.join("user-data")).unwrap();
    assert_eq!(user_data.permissions().mode() & 0o777, 0o600, "it may hold passwords");

    let disk = site.disk();
    let table = table::read(&disk).unwrap();
    assert_eq!((table.partitions().len(), table.extent()), (4, DISK));
    let swap = &table.partitions()[3];
    assert_eq!(&disk[swap.start as usize + 4086..][..10], b"SWAPSPACE2");
    let entry =
        fs::read(site.test.path("/sys/firmware/efi/efivars/Boot0000-8be4df61-93ca-11d2-aa0d-00e098032b8c"));
    assert!(String::from_utf8_lossy(&entry.unwrap()).replace('\0', "").contains(r"\EFI\BOOT\BOOTX64.EFI"));
    assert_eq!(site.web.reports().last().unwrap().status, ReportStatus::Success);
}

#[test]
fn what_the_archive_has_for_the_esp_moves_onto_it_and_may_replace_grub() {
    let site = site(&["boot/efi/EFI/Boot/BootX64.efi", "boot/efi/loader/loader.conf", "etc/hostname"]);
    // Nothing here is a mounted FAT volume, so the disk shows no loader at the end.
    let failure = site.run().unwrap_err();
    assert_eq!(failure.step, FailedStep::BootEntry, "{failure}");
    assert!(site.test.path("/run/shoal-esp/EFI/Boot/BootX64.efi").exists());
    assert!(site.test.path("/run/shoal-esp/loader/loader.conf").exists());
    assert_eq!(fs::read_dir(site.test.path(&format!("{ROOT}/boot/efi"))).unwrap().count(), 0);
    assert!(!calls(&site).iter().any(|call| call.starts_with("chroot")), "{:?}", calls(&site));
    assert!(is_dead(&site.disk()));
}

#[test]
fn whatever_fails_leaves_no_table_and_nothing_mounted() {
    let full = "tar: etc: Cannot write: No space left on device";
    for (program, output, step, part) in [
        ("blockdev", "device busy", FailedStep::Disk, "blockdev failed: device busy"),
        ("mkfs.xfs", "bad size", FailedStep::Disk, "mkfs.xfs failed: bad size"),
        ("mount", "no driver", FailedStep::Disk, "mount failed: no driver"),
        ("tar", full, FailedStep::Write, "No space left on device"),
        ("chroot", "grub-probe: error", FailedStep::BootEntry, "grub-probe: error"),
        ("umount", "busy", FailedStep::BootEntry, "umount failed: busy"),
        ("e2fsck", "errors found", FailedStep::Verify, "e2fsck failed: errors found"),
    ] {
        let site = site(&ARCHIVE);
        site.test.programs.on(program, move |_| (false, output.to_owned()));
        assert!(is_dead(&site.fails(step, part)), "{program}");
        let calls = calls(&site);
        let count = |start: &str| calls.iter().filter(|call| call.starts_with(start)).count();
        if program != "mount" {
            assert_eq!(count("mount "), count("umount "), "{program} {calls:?}");
        }
        let early = ["blockdev", "mkfs.xfs", "mount", "tar"].contains(&program);
        assert!(!early || count("chroot ") == 0, "{calls:?}");
    }
}

#[test]
fn a_wrong_digest_is_found_before_the_disk_could_start() {
    let mut site = site(&ARCHIVE);
    site.recipe.image.sha256 = shoal_recipe::Sha256([9; 32]);
    assert!(is_dead(&site.fails(FailedStep::Image, "has the SHA-256")));
    assert!(!calls(&site).iter().any(|call| call.contains("grub") || call.contains("vfat /dev/sda1 /run")));
}

#[test]
fn an_archive_without_a_loader_is_refused() {
    let site = site(&["etc/hostname"]);
    assert!(is_dead(&site.fails(FailedStep::BootEntry, "install the package grub-efi-amd64")));
}

#[test]
fn what_cannot_be_done_leaves_the_disk_untouched() {
    let mut plain = site(&ARCHIVE);
    plain.test.bytes("/dev/sda", &samples::gpt_disk(DISK, 512, &[(MIB, MIB)]));
    plain.recipe.overwrite = true;
    let before = plain.disk();
    let packed = zstd::encode_all(&uefi_image()[..], 1).unwrap();
    *plain.web.image.lock().unwrap() = Ok(packed);
    assert!(plain.fails(FailedStep::Image, "is no tar archive") == before);

    let bios = site(&ARCHIVE);
    fs::remove_dir_all(bios.test.path("/sys/firmware/efi")).unwrap();
    assert!(bios.fails(FailedStep::Disk, "set the machine to UEFI").iter().all(|byte| *byte == 0));

    let small = site(&ARCHIVE);
    small.test.bytes("/dev/sda", &vec![0; 16 << 20]);
    small
        .test
        .file(&format!("{PCI}/host0/target0:0:0/0:0:0:0/block/sda/size"), &((16 << 20) / 512).to_string());
    small.fails(FailedStep::Disk, "the partitions need");
}

#[test]
fn an_archive_without_a_layout_is_no_image_of_a_disk() {
    let mut site = site(&ARCHIVE);
    site.recipe.partition_layout = None;
    assert!(site.fails(FailedStep::Image, "give `partition_layout`").iter().all(|byte| *byte == 0));
}
