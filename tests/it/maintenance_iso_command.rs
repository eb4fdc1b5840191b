//! `shoal maintenance-iso build` as an operator uses it, with an apt and a dpkg of the test's own.
//!
//! That the image boots is proved in the lab. Invariant: after every failure the directory is as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use shoal_image::iso::{BootPlatform, Volume};

/// Drivers without which a kernel is refused, here built into it.
const DRIVERS: &str = "sd_mod sr_mod isofs usb-storage xhci-pci ahci nvme virtio_blk loop efivarfs";
/// Every package depends on all of these.
const APT_CACHE: &str = r#"
echo "$3"
for package in linux-image-6.1.0-1-amd64 libntfs-3g89 libacl1 libselinux1 libpcre2-8-0 libblkid1 libcom-err2 libuuid1 \
    libinih1 liburcu8; do
    echo "  Depends: $package"
done
echo '  PreDepends: libext2fs2'
"#;
/// Knows one package, whose hash is that of the file that it downloads.
const APT_GET: &str = r#"
sum=$(printf content | sha256sum | cut -d' ' -f1)
case "$*" in
    *--print-uris*) echo "'http://mirror/all_1_amd64.deb' all_1_amd64.deb 7 SHA256:$sum" ;;
    *) printf content >all_1_amd64.deb ;;
esac
"#;
const DPKG_DEB: &str = r#"
mkdir -p bin sbin boot etc lib64 lib/modules/6.1 lib/x86_64-linux-gnu usr/lib/shim usr/lib/ISOLINUX
mkdir -p usr/lib/grub/x86_64-efi-signed usr/lib/syslinux/modules/bios
for library in acl.so.1 blkid.so.1 com_err.so.2 e2p.so.2 ext2fs.so.2 inih.so.1 pcre2-8.so.0 selinux.so.1 urcu.so.8 \
    urcu-bp.so.8 uuid.so.1; do
    echo "$library" >lib/x86_64-linux-gnu/lib$library
done
for file in bin/tar etc/mke2fs.conf sbin/mkfs.fat sbin/fsck.fat sbin/mke2fs sbin/e2fsck sbin/mkfs.xfs sbin/xfs_repair \
    bin/busybox bin/ntfs-3g boot/vmlinuz-6.1 lib64/ld-linux-x86-64.so.2 lib/x86_64-linux-gnu/libc.so.6 \
    lib/x86_64-linux-gnu/libntfs-3g.so.89 usr/lib/shim/shimx64.efi.signed usr/lib/ISOLINUX/isolinux.bin \
    usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed usr/lib/syslinux/modules/bios/ldlinux.c32; do
    echo "$file" >$file
done
touch lib/modules/6.1/modules.order lib/modules/6.1/modules.builtin.modinfo
for driver in $(cat "$DRIVERS_FILE"); do echo kernel/$driver.ko; done >lib/modules/6.1/modules.builtin
"#;

struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Site {
        let site = Site { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(site.path("bin")).unwrap();
        fs::create_dir(site.path("out")).unwrap();
        fs::write(site.path("drivers"), DRIVERS).unwrap();
        site.program("apt-cache", APT_CACHE);
        site.program("apt-get", APT_GET);
        site.program("dpkg-deb", DPKG_DEB);
        let mut agent = vec![0; 64];
        agent[..6].copy_from_slice(b"\x7fELF\x02\x01");
        agent[18] = 62;
        fs::write(site.path("agent"), agent).unwrap();
        site
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn build(&self, arguments: &[&str]) -> Output {
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
        command.args(["maintenance-iso", "build"]).args(arguments).current_dir(self.path("out"));
        command.env("PATH", path).env("DRIVERS_FILE", self.path("drivers")).output().unwrap()
    }

    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("out")).unwrap().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[track_caller]
    fn fails(&self, part: &str) {
        let output = self.build(&["image.iso", "--agent", &self.path("agent").to_string_lossy()]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(part), "{said}");
        assert_eq!(self.left(), Vec::<String>::new(), "{said}");
    }
}

fn platforms(image: &Path) -> Vec<BootPlatform> {
    let volume = Volume::open(&fs::File::open(image).unwrap()).unwrap();
    volume.boot.unwrap().entries.iter().map(|entry| entry.platform).collect()
}

#[test]
fn the_same_packages_give_the_same_image_for_both_firmwares() {
    let site = Site::new();
    let agent = site.path("agent");
    for name in ["one.iso", "two.iso"] {
        let output = site.build(&[name, "--agent", &agent.to_string_lossy(), "--packages", "packages"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(&format!("{name}: ")) && said.contains("kernel 6.1"), "{said}");
        // The second time there is nothing to download.
        site.program("apt-get", &APT_GET.replace("printf content >", "exit 1 #"));
    }
    let out = site.path("out");
    assert!(fs::read(out.join("one.iso")).unwrap() == fs::read(out.join("two.iso")).unwrap());
    assert_eq!(platforms(&out.join("one.iso")), [BootPlatform::Bios, BootPlatform::Uefi]);
    assert_eq!(site.left(), ["one.iso", "packages", "two.iso"]);
}

#[test]
fn every_failure_has_a_remedy_and_leaves_nothing() {
    let site = Site::new();
    site.program("apt-cache", "echo 'E: No packages found' >&2; exit 100");
    site.fails("apt knows no package linux-image-amd64: run `apt-get update`");
    site.program("apt-cache", APT_CACHE);
    site.program(
        "apt-get",
        &APT_GET.replace("printf content >", "echo 'E: Failed to fetch' >&2; exit 100 #"),
    );
    site.fails("cannot be downloaded: E: Failed to fetch");
    site.program("apt-get", &APT_GET.replace("printf content >", "printf other >"));
    site.fails("all_1_amd64.deb is not what apt's lists say");
    site.program("apt-get", APT_GET);
    site.program("dpkg-deb", "echo 'dpkg-deb: error: No space left on device' >&2; exit 2");
    site.fails("dpkg-deb failed: dpkg-deb: error: No space left on device");
    site.program("dpkg-deb", &DPKG_DEB.replace("usr/lib/shim/shimx64.efi.signed", ""));
    site.fails("package shim-signed has no lib/shim/shimx64.efi.signed");
    site.program("dpkg-deb", DPKG_DEB);
    fs::write(site.path("drivers"), DRIVERS.replace("usb-storage", "")).unwrap();
    site.fails("has no driver usb_storage: linux-image-amd64 is needed, not the cloud kernel");
    fs::write(site.path("agent"), "#!/bin/sh\n").unwrap();
    site.fails("is not an x86-64 program");
    fs::remove_file(site.path("agent")).unwrap();
    site.fails("name the file by --agent");
}

#[test]
fn an_output_that_cannot_be_written_is_named_before_anything_is_downloaded() {
    let site = Site::new();
    site.program("apt-get", "exit 7");
    let output = site.build(&["absent/image.iso", "--agent", &site.path("agent").to_string_lossy()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot create absent/image.iso") && output.status.code() == Some(1), "{said}");
    fs::write(site.path("out/old.iso"), "old").unwrap();
    let output = site.build(&["old.iso", "--agent", &site.path("agent").to_string_lossy()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        (fs::read(site.path("out/old.iso")).unwrap(), site.left()),
        (b"old".to_vec(), vec!["old.iso".to_owned()])
    );
}

/// A download that takes long, and an operator who stops waiting.
#[test]
fn an_interrupted_build_ends_its_programs_and_leaves_nothing() {
    let site = Site::new();
    let started = site.path("started");
    let script =
        APT_GET.replace("printf content >", &format!("echo $$ >{}; exec sleep 60 #", started.display()));
    site.program("apt-get", &script);
    let path = format!("{}:/usr/bin:/bin", site.path("bin").display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
    command.args(["maintenance-iso", "build", "image.iso", "--agent"]).arg(site.path("agent"));
    let mut child = command.current_dir(site.path("out")).env("PATH", path).spawn().unwrap();
    while !fs::read_to_string(&started).is_ok_and(|text| text.ends_with('\n')) {
        std::thread::yield_now();
    }
    let program = fs::read_to_string(&started).unwrap();
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(site.left(), Vec::<String>::new());
    // It is killed, and gone a moment later.
    let state = || fs::read_to_string(format!("/proc/{}/stat", program.trim())).unwrap_or_default();
    while !(state().is_empty() || state().contains(") Z ")) {
        std::thread::yield_now();
    }
}
