//! Whole installations on machines made of files.

use std::fs;
use std::io::Cursor;

use sha2::Digest;
use shoal_recipe::{DiskHints, DiskSelector, ReportStatus, Target};

use super::*;
use crate::esp::tests::volume;
use crate::table::{BASIC_DATA, BIOS_BOOT, ESP, LINUX, samples};
use crate::testing::{FakeWeb, TestMachine, recipe, task_iso};

mod unpacked;

const MIB: u64 = 1 << 20;
const DISK: u64 = 64 * MIB;
const PCI: &str = "/sys/devices/pci0000:00/0000:00:1f.0";

/// A UEFI machine with one disk, the image in the web, and a medium with the recipe.
struct Site {
    test: TestMachine,
    web: std::sync::Arc<FakeWeb>,
    recipe: TaskRecipe,
    image: Vec<u8>,
    medium: Vec<(&'static str, Vec<u8>)>,
    /// Called with each line of the log: what happens at that moment.
    on_line: OnLine,
}

type OnLine = std::sync::Arc<dyn Fn(&str) + Send + Sync>;

/// A console that remembers every line.
#[derive(Clone)]
struct Console {
    text: std::sync::Arc<std::sync::Mutex<String>>,
    on_line: OnLine,
}

impl std::io::Write for Console {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let line = String::from_utf8_lossy(bytes).into_owned();
        (self.on_line)(&line);
        self.text.lock().unwrap().push_str(&line);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The web of a site, as [`run`] makes one.
struct Shared(std::sync::Arc<FakeWeb>);

impl Web for Shared {
    fn post(&self, url: &url::Url, body: &[u8]) -> Result<u16, String> {
        self.0.post(url, body)
    }

    fn open(&self, url: &url::Url) -> Result<(Box<dyn Read + Send>, Option<u64>), String> {
        self.0.open(url)
    }
}

fn uefi_image() -> Vec<u8> {
    let mut image = samples::gpt_image(16 * MIB, 512, &[(ESP, MIB, 2 * MIB), (LINUX, 3 * MIB, 12 * MIB)]);
    image[0] = 0xeb;
    let esp = volume(2 << 20, &["EFI/BOOT/BOOTX64.EFI", "EFI/debian/shimx64.efi"]);
    image[1 << 20..3 << 20].copy_from_slice(&esp);
    image[3 << 20..15 << 20].fill(0x77);
    image
}

impl Site {
    fn new(image: Vec<u8>) -> Site {
        let test = TestMachine::new();
        let scsi = format!("{PCI}/host0/target0:0:0/0:0:0:0/block/sda");
        test.block("sda", &scsi, DISK, &[("device/serial", "D1"), ("device/model", "QEMU HARDDISK")]);
        test.bytes("/dev/sda", &vec![0; DISK as usize]);
        test.file("/sys/block/sr0/size", "8");
        test.file("/sys/class/dmi/id/product_serial", "ABC123");
        test.file("/proc/sys/kernel/random/uuid", "0b00dead-0000-4000-8000-000000000001\n");
        test.file("/sys/firmware/efi/efivars/x", "");
        for (file, text) in
            [("type", "1"), ("address", "aa:00:00:00:00:01"), ("carrier", "1"), ("device/x", "")]
        {
            test.file(&format!("/sys/class/net/eth0/{file}"), text);
        }
        test.programs.on("ip", |_| (true, String::new()));
        test.programs.on("udhcpc", |_| (true, String::new()));
        let mut recipe = recipe();
        let packed = zstd::encode_all(&image[..], 1).unwrap();
        recipe.image.sha256 = shoal_recipe::Sha256(sha2::Sha256::digest(&packed).into());
        let web = std::sync::Arc::new(FakeWeb::default());
        *web.image.lock().unwrap() = Ok(packed);
        let medium = vec![
            ("/user-data", b"#cloud-config\n".to_vec()),
            ("/success", vec![1]),
            ("/failure", vec![2]),
            ("/started", vec![3]),
        ];
        Site { test, web, recipe, image, medium, on_line: std::sync::Arc::new(|_| ()) }
    }

    fn run(&self) -> Result<(), Failure> {
        self.run_logged(&mut || {}).0
    }

    /// Runs, with devices that `on_wait` adds.
    fn run_while(&self, on_wait: &mut dyn FnMut()) -> Result<(), Failure> {
        self.run_logged(on_wait).0
    }

    /// What became of it, and what its console shows.
    fn run_logged(&self, on_wait: &mut dyn FnMut()) -> (Result<(), Failure>, String) {
        let json = self.recipe.to_json().to_string();
        let mut files = vec![("/recipe.json", json.as_bytes())];
        files.extend(self.medium.iter().map(|(path, bytes)| (*path, &bytes[..])));
        self.test.bytes("/dev/sr0", &task_iso(&files));
        let make_web = |_: &Job| -> Box<dyn Web> { Box::new(Shared(self.web.clone())) };
        let console = Console { text: Default::default(), on_line: self.on_line.clone() };
        let log = Log::new(vec![Box::new(console.clone())]);
        let outcome = run(&self.test.machine(), &log, &make_web, on_wait);
        (outcome, console.text.lock().unwrap().clone())
    }

    fn disk(&self) -> Vec<u8> {
        self.test.device("sda")
    }

    /// Runs, and expects a failure at this step with this text, reported as such. Returns the disk.
    #[track_caller]
    fn fails(&self, step: FailedStep, part: &str) -> Vec<u8> {
        let failure = self.run().unwrap_err();
        assert!(failure.step == step && failure.message.contains(part), "{failure}");
        let reports = self.web.reports();
        let last = reports.last().unwrap();
        assert_eq!((last.status, last.failed_step.as_deref()), (ReportStatus::Failed, Some(step.name())));
        assert!(last.log.as_deref().unwrap().contains("failed: "));
        self.disk()
    }
}

/// Nothing on the disk starts.
fn is_dead(disk: &[u8]) -> bool {
    let tail = &disk[disk.len() - (1 << 20)..];
    disk[..1 << 20].iter().chain(tail).all(|byte| *byte == 0)
}

/// A card whose driver needs another one first, as with virtio.
#[test]
fn a_network_card_that_appears_late_is_used() {
    let site = Site::new(uefi_image());
    let (card, later) = (site.test.path("/sys/class/net/eth0"), site.test.path("/sys/later"));
    fs::rename(&card, &later).unwrap();
    let mut looks = 0;
    let mut on_wait = || {
        looks += 1;
        if looks == 3 {
            fs::rename(&later, &card).unwrap();
        }
    };
    assert_eq!(site.run_while(&mut on_wait), Ok(()));
}

#[test]
fn a_linux_image_is_installed_with_seed_boot_entry_and_report() {
    let site = Site::new(uefi_image());
    assert_eq!(site.run(), Ok(()));
    let disk = site.disk();
    let table = table::read(&disk).unwrap();
    assert_eq!((table.partitions().len(), table.extent()), (3, DISK));
    let (root, seed) = (&table.partitions()[1], &table.partitions()[2]);
    assert!(root.end() == seed.start && root.start == 3 * MIB);
    assert!(disk[MIB as usize..15 << 20] == site.image[MIB as usize..15 << 20]);
    let fat = fatfs::FileSystem::new(
        Cursor::new(disk[seed.start as usize..seed.end() as usize].to_vec()),
        fatfs::FsOptions::new(),
    );
    let fat = fat.unwrap();
    let mut meta = String::new();
    fat.root_dir().open_file("meta-data").unwrap().read_to_string(&mut meta).unwrap();
    assert_eq!(meta, "instance-id: 0192-job\n");
    let entry =
        fs::read(site.test.path("/sys/firmware/efi/efivars/Boot0000-8be4df61-93ca-11d2-aa0d-00e098032b8c"));
    assert!(String::from_utf8_lossy(&entry.unwrap()).replace('\0', "").contains(r"\EFI\debian\shimx64.efi"));
    let reports = site.web.reports();
    let last = reports.last().unwrap();
    assert_eq!((last.status, last.warnings.len()), (ReportStatus::Success, 0));
}

#[test]
fn a_wrong_digest_a_broken_and_a_cut_image_leave_a_disk_that_starts_nothing() {
    let mut site = Site::new(uefi_image());
    let digest = site.recipe.image.sha256;
    site.recipe.image.sha256 = shoal_recipe::Sha256([9; 32]);
    assert!(is_dead(&site.fails(FailedStep::Image, "has the SHA-256")));
    site.recipe.image.sha256 = digest;
    let whole = site.web.image.lock().unwrap().clone().unwrap();
    *site.web.image.lock().unwrap() = Ok(whole[..whole.len() - 9].to_vec());
    assert!(is_dead(&site.fails(FailedStep::Image, "damaged or incomplete")));
    // Plain, and shorter than its table says: only the digest shows it.
    *site.web.image.lock().unwrap() = Ok(site.image[..9 << 20].to_vec());
    assert!(is_dead(&site.fails(FailedStep::Image, "has the SHA-256")));
}

#[test]
fn an_image_of_another_size_than_the_recipes_is_not_begun() {
    let mut site = Site::new(uefi_image());
    site.recipe.image.size = Some(5);
    let disk = site.fails(FailedStep::Image, "and the recipe says 5");
    assert_eq!(disk, vec![0; DISK as usize]);
}

#[test]
fn a_disk_with_data_is_left_alone_without_overwrite() {
    let mut site = Site::new(uefi_image());
    let mut disk = samples::gpt_disk(DISK, 512, &[(MIB, 32 * MIB)]);
    disk[3 << 20..(3 << 20) + 4].copy_from_slice(&[0x5e, 0xf1, 0xab, 0x2f]);
    site.test.bytes("/dev/sda", &disk);
    let after =
        site.fails(FailedStep::Disk, "holds data: GPT partition table with 1 partition: VMFS datastore");
    assert!(after == disk, "untouched");
    site.recipe.overwrite = true;
    assert_eq!(site.run(), Ok(()));
}

#[test]
fn equal_disks_no_disk_and_the_wrong_machine_are_refused_untouched() {
    let mut site = Site::new(uefi_image());
    let second = format!("{PCI}/host1/target1:0:0/1:0:0:0/block/sdb");
    site.test.block("sdb", &second, DISK, &[("device/serial", "D1")]);
    let disk = site.fails(FailedStep::Disk, "2 disks match target_disk");
    site.recipe.target_disk =
        DiskSelector::Hints(DiskHints { serial: Some("D9".to_owned()), ..DiskHints::default() });
    site.fails(FailedStep::Disk, "no disk matches");
    site.test.file("/sys/class/dmi/id/product_serial", "OTHER");
    site.fails(FailedStep::Dispatcher, "this machine has the serial number OTHER");
    assert!(disk == site.disk() && disk == vec![0; DISK as usize]);
}

#[test]
fn images_that_do_not_suit_the_machine_are_refused_untouched() {
    let mut bios = samples::gpt_image(16 * MIB, 512, &[(BIOS_BOOT, MIB, MIB), (LINUX, 3 * MIB, MIB)]);
    bios[0] = 0xeb;
    let mut qcow2 = vec![0; 2 << 20];
    qcow2[..4].copy_from_slice(b"QFI\xfb");
    let large = samples::gpt_image(2 * DISK, 512, &[(ESP, MIB, MIB), (LINUX, 3 * MIB, MIB)]);
    let full = samples::gpt_image(DISK, 512, &[(ESP, MIB, MIB), (LINUX, 3 * MIB, DISK - 4 * MIB)]);
    for (image, step, part) in [
        (bios, FailedStep::Image, "starts by UEFI"),
        (qcow2, FailedStep::Image, "qcow2"),
        (large, FailedStep::Image, "the image needs"),
        (full, FailedStep::Seed, "no room for the first-boot data"),
        (vec![0; 100], FailedStep::Image, "no partition table"),
        (Vec::new(), FailedStep::Image, "the image is empty"),
    ] {
        let disk = Site::new(image).fails(step, part);
        assert!(disk == vec![0; DISK as usize], "{part}");
    }
    let site = Site::new(uefi_image());
    fs::remove_dir_all(site.test.path("/sys/firmware/efi")).unwrap();
    let mut no_code = uefi_image();
    no_code[0] = 0;
    let site = Site { image: no_code, ..site };
    site.fails(FailedStep::Image, "starts by BIOS");
}

/// A bug at any moment, and after the last write too.
#[test]
fn a_panic_leaves_a_disk_that_starts_nothing_and_is_reported() {
    for moment in ["boot entry Boot0000", "the image is written and verified"] {
        let on_line = move |line: &str| assert!(!line.contains(moment), "planted");
        let site = Site { on_line: std::sync::Arc::new(on_line), ..Site::new(uefi_image()) };
        assert!(is_dead(&site.fails(FailedStep::Write, "internal error: planted")), "{moment}");
    }
}

#[test]
fn the_signals_of_the_medium_are_read_at_the_start_and_at_the_end() {
    let mut site = Site::new(uefi_image());
    let (outcome, console) = site.run_logged(&mut || {});
    assert!(outcome.is_ok() && !console.contains("could not be read"), "{console}");
    site.recipe.overwrite = true;
    site.medium.retain(|(name, _)| !["/started", "/success"].contains(name));
    let (outcome, console) = site.run_logged(&mut || {});
    let missing = ["started", "success"].map(|name| format!("the task medium has no file {name}"));
    assert!(outcome.is_ok() && missing.iter().all(|line| console.contains(line)), "{console}");
    site.recipe.job.signals = false;
    assert!(!site.run_logged(&mut || {}).1.contains("could not be read"));
}

/// A medium whose reads fail is served again once its controller is back.
#[test]
fn a_signal_is_tried_again_while_the_medium_cannot_be_read() {
    let mut site = Site::new(uefi_image());
    site.recipe.job.report_url = None;
    let drive = site.test.path("/dev/sr0");
    let whole = std::sync::Mutex::new(Vec::new());
    let (cut, back) = (drive.clone(), drive);
    site.on_line = std::sync::Arc::new(move |line| {
        if line.contains("installed") {
            *whole.lock().unwrap() = fs::read(&cut).unwrap();
            fs::OpenOptions::new().write(true).open(&cut).unwrap().set_len(4096).unwrap();
        } else if line.contains("could not be read") {
            fs::write(&back, &*whole.lock().unwrap()).unwrap();
        }
    });
    let (outcome, console) = site.run_logged(&mut || {});
    assert!(outcome.is_ok());
    assert_eq!(console.matches("the signal success could not be read").count(), 1, "{console}");
}

#[test]
fn a_refused_boot_entry_is_a_warning_only_where_a_fallback_is() {
    let site = Site::new(uefi_image());
    fs::remove_dir_all(site.test.path("/sys/firmware/efi/efivars")).unwrap();
    assert_eq!(site.run(), Ok(()));
    let warnings = site.web.reports().last().unwrap().warnings.clone();
    assert!(warnings.len() == 1 && warnings[0].contains("refuses a boot entry"), "{warnings:?}");
    let mut image = uefi_image();
    image[1 << 20..3 << 20].copy_from_slice(&volume(2 << 20, &["EFI/debian/shimx64.efi"]));
    let site = Site::new(image);
    assert_eq!(site.run(), Ok(()));
    fs::remove_dir_all(site.test.path("/sys/firmware/efi/efivars")).unwrap();
    let site = Site { recipe: TaskRecipe { overwrite: true, ..site.recipe.clone() }, ..site };
    assert!(is_dead(&site.fails(FailedStep::BootEntry, "has no \\EFI\\BOOT\\BOOTX64.EFI")));
    let mut image = uefi_image();
    image[1 << 20..3 << 20].copy_from_slice(&volume(2 << 20, &["EFI/README/x"]));
    assert!(is_dead(&Site::new(image).fails(FailedStep::BootEntry, "no boot loader")));
}

#[test]
fn an_image_on_the_medium_needs_no_network_and_no_webhook() {
    let mut site = Site::new(uefi_image());
    let packed = site.web.image.lock().unwrap().clone().unwrap();
    let half = packed.len() / 2;
    site.medium.extend([("/image.000", packed[..half].to_vec()), ("/image.001", packed[half..].to_vec())]);
    site.recipe.image.location =
        TaskImageLocation::Media(vec!["image.000".to_owned(), "image.001".to_owned()]);
    site.recipe.job.report_url = None;
    assert_eq!(site.run(), Ok(()));
    assert!(site.test.programs.calls().is_empty() && site.web.reports().is_empty());
    assert!(table::read(&site.disk()).unwrap().esp().is_some());
}

#[test]
fn without_a_network_only_an_image_of_the_web_fails() {
    let site = Site::new(uefi_image());
    site.test.programs.on("udhcpc", |_| (false, "no lease\n".to_owned()));
    let failure = site.run().unwrap_err();
    assert!(failure.step == FailedStep::Network && failure.message.contains("no lease"), "{failure}");
    assert!(site.web.reports().is_empty() && site.disk() == vec![0; DISK as usize]);
    *site.web.image.lock().unwrap() = Err("https://10.0.0.5:443 answers with status 401".to_owned());
    site.test.programs.on("udhcpc", |_| (true, String::new()));
    site.fails(FailedStep::Image, "answers with status 401");
}

#[test]
fn windows_gets_its_answer_file_and_no_seed() {
    let mut image = samples::gpt_image(16 * MIB, 512, &[(ESP, MIB, 2 * MIB), (BASIC_DATA, 3 * MIB, 8 * MIB)]);
    let esp = volume(2 << 20, &["EFI/Microsoft/Boot/bootmgfw.efi"]);
    image[1 << 20..3 << 20].copy_from_slice(&esp);
    image[(3 << 20) + 3..(3 << 20) + 11].copy_from_slice(b"NTFS    ");
    let mut site = Site::new(image);
    site.recipe.target = Target::Windows;
    site.medium = vec![("/unattend.xml", b"<unattend/>".to_vec())];
    let programs = &site.test.programs;
    programs.on("losetup", |args| (true, if args == ["-f"] { "/dev/loop0".into() } else { String::new() }));
    programs.on("umount", |_| (true, String::new()));
    let windows = site.test.path("/run/shoal-windows/Windows");
    programs.on("ntfs-3g", move |_| (fs::create_dir_all(&windows).is_ok(), String::new()));
    assert_eq!(site.run(), Ok(()));
    let file = site.test.path("/run/shoal-windows/Windows/Panther/unattend.xml");
    assert_eq!(fs::read(file).unwrap(), b"<unattend/>");
    let table = table::read(&site.disk()).unwrap();
    assert_eq!((table.partitions().len(), table.partitions()[1].size), (2, 8 * MIB));
    site.test.programs.on("ntfs-3g", |_| (false, "hibernated\n".to_owned()));
    site.recipe.overwrite = true;
    assert!(is_dead(&site.fails(FailedStep::Seed, "hibernated")));
}

/// Shells and arguments are no way for an operator's text.
#[test]
fn any_text_of_the_recipe_arrives_byte_for_byte() {
    let text =
        b"#cloud-config\nruncmd:\n - |\n  echo \"it's $(id) `id` ${HOME} \\\n  EOF\n\t%s \xc3\xa9\r\n'\n"
            .to_vec();
    let mut site = Site::new(uefi_image());
    site.medium.retain(|(name, _)| *name != "/user-data");
    site.medium.push(("/user-data", text.clone()));
    assert_eq!(site.run(), Ok(()));
    let disk = site.disk();
    let seed = table::read(&disk).unwrap().partitions()[2].clone();
    let volume = Cursor::new(disk[seed.start as usize..seed.end() as usize].to_vec());
    let volume = fatfs::FileSystem::new(volume, fatfs::FsOptions::new()).unwrap();
    let mut found = Vec::new();
    volume.root_dir().open_file("user-data").unwrap().read_to_end(&mut found).unwrap();
    assert_eq!(found, text);
    let calls = site.test.programs.calls().join("\n");
    assert!(!calls.contains("cloud-config"), "{calls}");
}

#[test]
fn a_program_that_is_missing_is_a_failure() {
    let mut image = samples::gpt_image(16 * MIB, 512, &[(ESP, MIB, 2 * MIB), (BASIC_DATA, 3 * MIB, 8 * MIB)]);
    image[1 << 20..3 << 20].copy_from_slice(&volume(2 << 20, &["EFI/Microsoft/Boot/bootmgfw.efi"]));
    image[(3 << 20) + 3..(3 << 20) + 11].copy_from_slice(b"NTFS    ");
    let mut site = Site::new(image);
    site.recipe.target = Target::Windows;
    site.medium = vec![("/unattend.xml", b"<unattend/>".to_vec())];
    assert!(is_dead(&site.fails(FailedStep::Seed, "losetup cannot be started")));
}

#[test]
fn the_system_of_another_disk_is_a_warning() {
    let site = Site::new(uefi_image());
    let second = format!("{PCI}/host1/target1:0:0/1:0:0:0/block/sdb");
    site.test.block("sdb", &second, 8 * MIB, &[("device/serial", "D2")]);
    site.test.bytes("/dev/sdb", &samples::gpt_image(8 * MIB, 512, &[(ESP, MIB, MIB)]));
    assert_eq!(site.run(), Ok(()));
    let warnings = site.web.reports().last().unwrap().warnings.clone();
    assert!(warnings.len() == 1 && warnings[0].contains("sdb"), "{warnings:?}");
}
