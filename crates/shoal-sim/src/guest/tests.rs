//! The guest on an imaginary bench: media in memory, time that jumps.
//!
//! Not the BMC and not HTTP (those are in `tests/it/sim.rs`). Invariant: a test drives the computer
//! by [`GuestNeed`] alone, as the host task does.

mod post;
mod strict;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::*;
use crate::computer::Computer;
use crate::machine::{Board, BootMode, BootTarget, DriveKind, InstalledSystem, OverrideEnabled, ResetType};
use shoal_image::fat::build_task_stick;
use shoal_image::iso::{BootPlatform, IsoWriter, ReadAt, build_task_iso};

const KS: &str = "vmaccepteula\ninstall --firstdisk --overwritevmfs\nreboot\n";

/// A computer with its media and the time, driven without any I/O.
struct GuestBench {
    computer: Computer,
    images: BTreeMap<usize, Vec<u8>>,
    /// Reads so far: drive, offset, length.
    reads: Vec<ReadRequest>,
    /// Calls so far; all but those to `nowhere` succeed.
    calls: Vec<String>,
    now: Timestamp,
}

impl GuestBench {
    fn new(change: impl FnOnce(&mut Board, &mut Software)) -> GuestBench {
        let mut board = Board {
            post: Duration::from_secs(4),
            drives: vec![DriveKind::Cd; 2],
            override_ignored: false,
            override_continuous: false,
            guest_eject_ignored: false,
            media_lost_at_start: false,
            cd_first: false,
        };
        let mut software = Software {
            boot_load: Duration::from_secs(1),
            install: Duration::from_secs(100),
            first_boot: Duration::from_secs(5),
            shutdown: Duration::from_secs(3),
            reads_media: false,
            strict_kickstart: false,
            cdrom_boot_skips_ks: false,
            ignores_acpi: false,
            os_running_early: false,
            hangs: false,
            fails: false,
            crashes: false,
            ejects_early: false,
            pre_copies_media: false,
            post_skipped: false,
            post_cannot_read: false,
            hook_fails: false,
            no_network: false,
            api_start: Duration::from_secs(7),
            maintenance: MaintenanceManners::default(),
        };
        change(&mut board, &mut software);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let machine = Machine::new(board, Disk::Blank, BootMode::Uefi, now);
        GuestBench {
            computer: Computer::new(machine, software),
            images: BTreeMap::new(),
            reads: vec![],
            calls: vec![],
            now,
        }
    }

    /// Both media in, Once and Cd armed, power on.
    fn install(kernelopt: &str, ks: &str) -> GuestBench {
        let mut bench = GuestBench::new(|_, _| {});
        bench.insert(0, installer(kernelopt));
        bench.insert(1, task_iso(ks));
        bench.arm(OverrideEnabled::Once, BootTarget::Cd);
        bench.reset(ResetType::On);
        bench
    }

    fn insert(&mut self, drive: usize, image: Vec<u8>) {
        self.computer.machine.insert(drive, format!("http://media/{drive}.iso"));
        self.images.insert(drive, image);
    }

    fn arm(&mut self, enabled: OverrideEnabled, target: BootTarget) {
        self.computer.machine.boot.enabled = enabled;
        self.computer.machine.boot.target = target;
    }

    fn reset(&mut self, reset: ResetType) {
        self.computer.request_reset(reset, self.now).unwrap();
    }

    /// Lets `secs` pass, answering every read from the images.
    fn run(&mut self, secs: i64) -> &mut GuestBench {
        let end = self.now + jiff::SignedDuration::from_secs(secs);
        loop {
            match self.computer.step(self.now) {
                GuestNeed::Until(time) if time <= end => self.now = time,
                GuestNeed::Until(_) | GuestNeed::Event => break,
                GuestNeed::Read(request) => {
                    self.reads.push(request);
                    let answer = self.read(request);
                    self.computer.answer(answer);
                }
                GuestNeed::Call(call) => {
                    let is_lost = call.url.contains("nowhere");
                    self.computer.end_call(if is_lost { CallEnd::Lost } else { CallEnd::Accepted });
                    self.calls.push(call.url);
                }
            }
        }
        self.now = end;
        self
    }

    fn read(&self, request: ReadRequest) -> ReadAnswer {
        if self.computer.machine.medium(request.drive).is_none() {
            return ReadAnswer::NoMedium;
        }
        let image = &self.images[&request.drive];
        let mut bytes = vec![0; request.len];
        match image.read_at(request.offset, &mut bytes) {
            Ok(()) => ReadAnswer::Data { bytes: bytes.into(), capacity: image.size() },
            Err(_) => ReadAnswer::Failed,
        }
    }

    fn guest(&self) -> &'static str {
        self.computer.guest_name()
    }

    fn installs(&self) -> (u64, u64) {
        let counters = &self.computer.machine.counters;
        (counters.installs, counters.interrupted_installs)
    }
}

fn bytes_of(image: &shoal_image::iso::SparseImage) -> Vec<u8> {
    let mut bytes = vec![0; image.size as usize];
    image.read_at(0, &mut bytes).unwrap();
    bytes
}

/// Laid out like VMware's: both boot files, kernel and modules, an El Torito entry a firmware.
fn installer(kernelopt: &str) -> Vec<u8> {
    writer(kernelopt, &[BootPlatform::Bios, BootPlatform::Uefi])
}

fn writer(kernelopt: &str, platforms: &[BootPlatform]) -> Vec<u8> {
    let cfg = format!(
        "kernel=/B.B00\nkernelopt={kernelopt}\nmodules=/K.B00 --- /S.V00\nbuild=8.0.3-0.0.24022510\n"
    );
    let mut iso = IsoWriter::new("ESXI-8.0");
    iso.file("/BOOT.CFG", cfg.clone()).file("/EFI/BOOT/BOOT.CFG", cfg);
    iso.file("/B.B00", vec![1; 200_000]).file("/K.B00", vec![2; 70_000]).file("/S.V00", vec![3; 100]);
    iso.file("/ISOLINUX.BIN", vec![4; 2048]);
    for platform in platforms {
        iso.boot(*platform, "/ISOLINUX.BIN", 4);
    }
    bytes_of(&iso.write().unwrap().image)
}

fn task_iso(ks: &str) -> Vec<u8> {
    bytes_of(&build_task_iso(ks.as_bytes(), b"{}", None).image)
}

fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text))
}

#[test]
fn an_install_ends_with_the_system_running_from_disk() {
    let mut bench = GuestBench::install("runweasel ks=cdrom:/KS.CFG", KS);
    assert_eq!(bench.guest(), "firmware");
    assert_eq!(bench.run(10).guest(), "installing");
    assert_eq!(bench.computer.machine.boot.enabled, OverrideEnabled::Disabled, "Once is spent");
    assert_eq!(bench.run(110).guest(), "installed");
    let machine = &bench.computer.machine;
    let esxi = InstalledSystem { version: "8.0.3".to_owned(), build: "24022510".to_owned() };
    assert_eq!(machine.disk, Disk::Installed { ks_sha256: sha256(KS), esxi });
    assert_eq!(machine.progress().0, BootProgress::OsRunning);
    assert_eq!((machine.counters.starts, machine.counters.boots), (1, 2));
    assert_eq!((machine.medium(0), machine.medium(1)), (None, None), "`reboot` ejects");
    assert_eq!(bench.installs(), (1, 0));
}

#[test]
fn no_drive_is_read_between_the_kickstart_and_the_reboot() {
    let mut bench = GuestBench::install("ks=cdrom:/KS.CFG", KS);
    bench.run(10);
    let reads = bench.reads.len();
    assert!(reads > 0 && bench.guest() == "installing");
    bench.run(90);
    assert_eq!(bench.reads.len(), reads);
}

#[test]
fn kernel_and_modules_are_read_whole_and_once() {
    let mut bench = GuestBench::install("ks=cdrom:/KS.CFG", KS);
    bench.run(10);
    let loaded: usize =
        bench.reads.iter().filter(|read| read.len > 2048 || read.len == 100).map(|r| r.len).sum();
    assert!((268_000..=270_100).contains(&loaded), "{loaded}");
    assert!(bench.reads.iter().all(|read| read.len <= 64 << 10));
}

#[test]
fn the_second_boot_looks_at_media_that_are_still_there() {
    let ks = "accepteula\ninstall --disk=mpx.1\nreboot --noeject\n";
    let mut bench = GuestBench::install("ks=cdrom:/KS.CFG", ks);
    bench.run(10);
    let before = bench.reads.len();
    assert_eq!(bench.run(110).guest(), "installed");
    let again = &bench.reads[before..];
    assert!(again.iter().any(|read| read.drive == 0 && read.offset == 32_768), "descriptors of CD1");
    assert!(again.iter().any(|read| read.drive == 1 && read.offset == 32_768), "descriptors of CD2");
    assert!(again.len() < 24 && again.iter().all(|read| read.len == 2048), "metadata only: {again:?}");
}

#[test]
fn without_ks_the_installer_waits_at_its_prompt() {
    let mut bench = GuestBench::install("runweasel cdromBoot", KS);
    assert_eq!(bench.run(100_000).guest(), "installer_prompt");
    assert_eq!(bench.installs(), (0, 0));
}

#[test]
fn an_installer_that_obeys_cdrom_boot_passes_over_ks() {
    let run = |skips, kernelopt: &str| {
        let mut bench = GuestBench::new(|_, software| software.cdrom_boot_skips_ks = skips);
        bench.insert(0, installer(kernelopt));
        bench.insert(1, task_iso(KS));
        bench.arm(OverrideEnabled::Once, BootTarget::Cd);
        bench.reset(ResetType::On);
        bench.run(10).guest()
    };
    assert_eq!(run(true, "cdromBoot runweasel ks=cdrom:/KS.CFG"), "installer_prompt");
    assert_eq!(run(true, "runweasel ks=cdrom:/KS.CFG"), "installing");
    assert_eq!(run(false, "cdromBoot runweasel ks=cdrom:/KS.CFG"), "installing");
}

#[test]
fn a_kickstart_is_found_on_any_cd_by_its_exact_path_only() {
    assert_eq!(GuestBench::install("ks=cdrom:/KS.CFG", KS).run(10).guest(), "installing");
    let mut bench = GuestBench::install("ks=cdrom:/ks.cfg", KS);
    assert_eq!(bench.run(10).guest(), "installer_error");
    assert!(bench.computer.console().unwrap().contains("/ks.cfg"));
    assert_eq!(GuestBench::install("ks=usb:/KS.CFG", KS).run(60).guest(), "installer_error");
    assert_eq!(GuestBench::install("ks=cdrom:/KS.CFG ks=http://a/b", KS).run(10).guest(), "installer_error");
}

/// A CD with the installer, a drive for sticks, and nothing in that yet.
fn by_stick(kernelopt: &str) -> GuestBench {
    let mut bench = GuestBench::new(|board, _| board.drives = vec![DriveKind::Cd, DriveKind::Usb]);
    bench.insert(0, installer(kernelopt));
    bench.arm(OverrideEnabled::Once, BootTarget::Cd);
    bench
}

fn stick(ks: &str) -> Vec<u8> {
    build_task_stick(ks.as_bytes(), b"{}", None).image.to_vec()
}

#[test]
fn a_kickstart_is_found_on_a_stick_whatever_the_case_of_its_name() {
    for path in ["/KS.CFG", "/ks.cfg"] {
        let mut bench = by_stick(&format!("ks=usb:{path}"));
        bench.insert(1, stick(KS));
        bench.reset(ResetType::On);
        assert_eq!(bench.run(120).guest(), "installed");
        assert!(bench.computer.machine.medium(1).is_some(), "no stick is ejected by a reboot");
    }
    let mut long = KS.to_owned();
    long.push_str(&"# a comment\n".repeat(1000));
    let mut bench = by_stick("ks=usb:/KS.CFG");
    bench.insert(1, stick(&long));
    bench.reset(ResetType::On);
    bench.run(120);
    let shown = matches!(&bench.computer.machine.disk, Disk::Installed { ks_sha256, .. } if *ks_sha256 == sha256(&long));
    assert!(shown, "every cluster of it was read");
}

#[test]
fn sticks_are_searched_five_times_ten_seconds_apart() {
    let mut bench = by_stick("ks=usb:/KS.CFG");
    bench.reset(ResetType::On);
    assert_eq!(bench.run(5 + 39).guest(), "installer_starting");
    assert_eq!(bench.run(3).guest(), "installer_error");
    let console = bench.computer.console().unwrap();
    assert!(console.contains("cannot find kickstart file on usb with path -- /KS.CFG"), "{console}");

    let mut late = by_stick("ks=usb:/KS.CFG");
    late.reset(ResetType::On);
    late.run(5 + 25);
    late.insert(1, stick(KS));
    assert_eq!(late.run(20).guest(), "installing");
}

#[test]
fn no_cd_is_a_stick_and_no_stick_a_cd() {
    for (option, image) in [("ks=usb:/KS.CFG", task_iso(KS)), ("ks=cdrom:/KS.CFG", stick(KS))] {
        let mut bench = by_stick(option);
        bench.insert(1, image);
        bench.reset(ResetType::On);
        assert_eq!(bench.run(60).guest(), "installer_error", "{option}");
    }
}

#[test]
fn the_firmware_looks_at_a_stick_too() {
    let mut bench = by_stick("ks=usb:/KS.CFG");
    bench.insert(1, stick(KS));
    bench.reset(ResetType::On);
    bench.run(4);
    let offsets: Vec<u64> =
        bench.reads.iter().filter(|read| read.drive == 1).map(|read| read.offset).collect();
    assert_eq!(offsets, [0, 1 << 20], "partition table and boot sector");
}

#[test]
fn a_kickstart_without_eula_is_a_dialog() {
    let mut bench = GuestBench::install("ks=cdrom:/KS.CFG", "install --firstdisk\nreboot\n");
    assert_eq!(bench.run(1000).guest(), "installer_error");
    assert_eq!(bench.computer.machine.disk, Disk::Blank);
}

#[test]
fn a_post_section_can_power_the_host_off() {
    let mut bench = GuestBench::install("ks=cdrom:/KS.CFG", &format!("{KS}%post\nsync\npoweroff\n"));
    assert_eq!(bench.run(200).guest(), "off");
    assert_eq!(bench.installs(), (1, 0));
    assert!(bench.computer.machine.medium(1).is_some());
}

#[test]
fn a_reset_while_installing_leaves_a_broken_disk() {
    for reset in [ResetType::ForceOff, ResetType::ForceRestart] {
        let mut bench = GuestBench::install("ks=cdrom:/KS.CFG", KS);
        bench.run(50);
        bench.reset(reset);
        assert_eq!(bench.installs(), (0, 1), "{reset:?}");
        assert_eq!(bench.computer.machine.disk, Disk::Broken);
    }
}

#[test]
fn a_graceful_request_while_installing_is_ignored() {
    let mut bench = GuestBench::install("ks=cdrom:/KS.CFG", KS);
    bench.run(50);
    bench.reset(ResetType::GracefulShutdown);
    assert_eq!(bench.run(100).guest(), "installed", "the press is forgotten by then");
    bench.reset(ResetType::GracefulShutdown);
    assert_eq!(bench.run(2).guest(), "installed");
    assert_eq!(bench.run(2).guest(), "off");
}

#[test]
fn the_menus_of_firmware_obey_a_restart_and_no_shutdown() {
    let mut bench = GuestBench::new(|_, _| {});
    bench.arm(OverrideEnabled::Once, BootTarget::BiosSetup);
    bench.reset(ResetType::On);
    bench.run(10);
    bench.reset(ResetType::GracefulShutdown);
    bench.run(100);
    assert_eq!((bench.guest(), bench.computer.machine.counters.boots), ("firmware", 1));
    bench.reset(ResetType::GracefulRestart);
    bench.run(100);
    assert_eq!(bench.computer.machine.counters.boots, 2);
}

#[test]
fn an_eject_while_installing_destroys_the_install() {
    let mut bench = GuestBench::install("ks=cdrom:/KS.CFG", KS);
    bench.run(50);
    bench.computer.eject(0);
    assert_eq!(bench.run(500).guest(), "installer_error");
    assert_eq!(bench.installs(), (0, 1));
    bench.computer.eject(1);
    assert_eq!(bench.installs(), (0, 1), "it can be destroyed once");
}

#[test]
fn an_override_that_is_never_spent_installs_again_and_again() {
    let mut bench = GuestBench::new(|board, _| board.override_continuous = true);
    bench.insert(0, installer("ks=cdrom:/KS.CFG"));
    bench.insert(1, task_iso("accepteula\ninstall --firstdisk\nreboot --noeject\n"));
    bench.arm(OverrideEnabled::Once, BootTarget::Cd);
    bench.reset(ResetType::On);
    assert_eq!(bench.run(350).installs(), (3, 0));
}

#[test]
fn an_ignored_override_boots_the_disk() {
    let mut bench = GuestBench::new(|board, _| board.override_ignored = true);
    bench.computer.machine.disk = Disk::OtherSystem(None);
    bench.insert(0, installer("ks=cdrom:/KS.CFG"));
    bench.arm(OverrideEnabled::Once, BootTarget::Cd);
    bench.reset(ResetType::On);
    assert_eq!(bench.run(100).guest(), "other_system");
}

#[test]
fn only_a_medium_with_a_boot_entry_for_the_firmware_boots() {
    let boot = |platforms: &[BootPlatform], mode| {
        let mut bench = GuestBench::new(|_, _| {});
        bench.computer.machine.boot.mode = mode;
        bench.insert(0, writer("a", platforms));
        bench.reset(ResetType::On);
        bench.run(30).guest()
    };
    assert_eq!(boot(&[], BootMode::Uefi), "firmware");
    assert_eq!(boot(&[BootPlatform::Uefi], BootMode::Uefi), "installer_prompt");
    assert_eq!(boot(&[BootPlatform::Uefi], BootMode::Legacy), "firmware");
    assert_eq!(boot(&[BootPlatform::Bios], BootMode::Legacy), "installer_prompt");
    assert_eq!(boot(&[BootPlatform::Bios], BootMode::Uefi), "installer_prompt", "compatibility module");
}

#[test]
fn a_medium_that_goes_away_hangs_the_loader() {
    let mut bench = GuestBench::install("ks=cdrom:/KS.CFG", KS);
    while !matches!(bench.computer.step(bench.now), GuestNeed::Read(read) if read.len > 2048) {
        bench.now += jiff::SignedDuration::from_millis(100);
        if let GuestNeed::Read(request) = bench.computer.step(bench.now) {
            let answer = bench.read(request);
            bench.computer.answer(answer);
        }
    }
    bench.computer.eject(0);
    assert_eq!(bench.run(100).guest(), "boot_error");
    assert_eq!(bench.installs(), (0, 0));
}

#[test]
fn a_file_that_boot_cfg_names_and_no_drive_has_hangs_the_loader() {
    let mut iso = IsoWriter::new("X");
    iso.file("/EFI/BOOT/BOOT.CFG", "kernel=/NONE.B00\n").file("/A.BIN", vec![1; 2048]);
    iso.boot(BootPlatform::Uefi, "/A.BIN", 4);
    let mut bench = GuestBench::new(|_, _| {});
    bench.insert(0, bytes_of(&iso.write().unwrap().image));
    bench.reset(ResetType::On);
    assert_eq!(bench.run(30).guest(), "boot_error");
    assert!(bench.computer.console().unwrap().contains("/NONE.B00"));
}

#[test]
fn faulty_guests_hang_fail_and_crash() {
    let run = |change: fn(&mut Software)| {
        let mut bench = GuestBench::new(|_, software| change(software));
        bench.insert(0, installer("ks=cdrom:/KS.CFG"));
        bench.insert(1, task_iso(KS));
        bench.arm(OverrideEnabled::Once, BootTarget::Cd);
        bench.reset(ResetType::On);
        bench.run(100_000);
        (bench.guest(), bench.installs(), bench.computer.machine.counters.boots)
    };
    assert_eq!(run(|software| software.hangs = true), ("installing", (0, 0), 1));
    assert_eq!(run(|software| software.fails = true), ("installer_error", (0, 0), 1));
    // The crash leaves a broken disk, so the second boot falls back to the CD, and installs.
    assert_eq!(run(|software| software.crashes = true), ("installed", (1, 0), 3));
}

#[test]
fn images_of_random_bytes_are_survived() {
    for seed in 0..20u8 {
        let mut bench = GuestBench::install("ks=cdrom:/KS.CFG", KS);
        let image = bench.images.get_mut(&0).unwrap();
        for (at, byte) in image.iter_mut().enumerate().skip(32_768) {
            if (at * 31 + usize::from(seed) * 7).is_multiple_of(97) {
                *byte ^= seed.wrapping_mul(59).wrapping_add(at as u8);
            }
        }
        bench.run(1000);
    }
}
