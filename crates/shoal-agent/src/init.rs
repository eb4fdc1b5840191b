//! What the first process of a system owes it: file systems, drivers, consoles, and the end.
//!
//! Only for a kernel that started the agent as `/init`. Invariant: it never returns control to a kernel that would
//! panic, so it ends by powering off or by waiting.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};

use crate::machine::{Machine, trimmed};

const CONSOLES: [&str; 3] = ["/dev/tty0", "/dev/ttyS0", "/dev/ttyS1"];
/// What no device asks for by its name.
const MODULES: [&str; 12] = [
    "sd_mod",
    "sr_mod",
    "isofs",
    "usb_storage",
    "uas",
    "nvme",
    "virtio_blk",
    "virtio_scsi",
    "loop",
    "fuse",
    "efivarfs",
    "8021q",
];
const ALIASES_A_CALL: usize = 64;
const FOLDERS_MAX: usize = 100_000;

/// Whether the kernel started this process as the first one, by `program`. A container has a first process too, but
/// calls it by another name.
pub fn is_first_process(program: &str) -> bool {
    rustix::process::getpid().is_init() && program.ends_with("/init")
}

/// Mounts what a system needs. What is mounted already, or not there, stays so.
pub fn mount_all() {
    let mounts = [
        ("proc", "/proc", "proc"),
        ("sysfs", "/sys", "sysfs"),
        ("devtmpfs", "/dev", "devtmpfs"),
        ("tmpfs", "/run", "tmpfs"),
        ("tmpfs", "/tmp", "tmpfs"),
    ];
    for (source, target, kind) in mounts {
        fs::create_dir_all(target).ok();
        mount(source, target, kind, MountFlags::NOSUID, None).ok();
    }
}

/// Mounts the firmware's variables, once their driver is there.
pub fn mount_efivars() {
    let target = "/sys/firmware/efi/efivars";
    if Path::new(target).exists() && crate::machine::names(Path::new(target)).is_empty() {
        mount("efivarfs", target, "efivarfs", MountFlags::NOSUID | MountFlags::NOEXEC, None).ok();
    }
}

/// The consoles that there are. A serial line without a reader must not stop the agent, so writes do not wait.
pub fn consoles() -> Vec<Box<dyn Write + Send>> {
    let mut found: Vec<Box<dyn Write + Send>> = Vec::new();
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let Ok(flags) = i32::try_from(flags) else { return found };
    for console in CONSOLES {
        if let Ok(console) = OpenOptions::new().write(true).custom_flags(flags).open(console) {
            found.push(Box::new(console));
        }
    }
    found
}

/// Loads drivers for the devices that there are, each once.
#[derive(Default)]
pub struct Drivers {
    asked: BTreeSet<String>,
}

impl Drivers {
    /// For the devices that appeared since the last call.
    pub fn load(&mut self, machine: &Machine) {
        let mut new: Vec<String> = Vec::new();
        if self.asked.is_empty() {
            new.extend(MODULES.map(str::to_owned));
        }
        new.extend(aliases(&machine.path("/sys/devices")));
        new.retain(|alias| self.asked.insert(alias.clone()));
        for aliases in new.chunks(ALIASES_A_CALL) {
            let args = ["-a", "-q", "-b"].into_iter().chain(aliases.iter().map(String::as_str));
            // Most devices have no driver here; the rest is found missing where it is needed.
            machine.run("modprobe", &args.collect::<Vec<_>>()).ok();
        }
    }
}

/// What the devices below a folder of sysfs are called by their buses.
fn aliases(devices: &Path) -> BTreeSet<String> {
    let (mut found, mut folders, mut seen) = (BTreeSet::new(), vec![devices.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        seen += 1;
        if seen > FOLDERS_MAX {
            break;
        }
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            // Not through links: they lead in circles.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() && entry.file_name() == "modalias" => {
                    found.extend(trimmed(&entry.path()));
                }
                _ => {}
            }
        }
    }
    found
}

/// Writes everything to the disks and powers the machine off.
pub fn power_off(machine: &Machine) -> io::Error {
    rustix::fs::sync();
    if !rustix::process::getpid().is_init() && machine.run("systemctl", &["poweroff"]).is_ok() {
        wait(machine);
    }
    match reboot(RebootCommand::PowerOff) {
        Ok(()) => io::Error::other("the machine is still on"),
        Err(error) => error.into(),
    }
}

/// Waits, for an operator or the controller to end this.
pub fn wait(machine: &Machine) -> ! {
    loop {
        machine.sleep(Duration::from_secs(3600));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestMachine;

    #[test]
    fn each_device_asks_for_its_driver_once() {
        let test = TestMachine::new();
        test.file("/sys/devices/pci0000:00/0000:00:05.0/modalias", "pci:v00001AF4d00001001\n");
        test.file("/sys/devices/pci0000:00/0000:00:05.0/virtio2/modalias", "virtio:d00000002v00001AF4\n");
        std::os::unix::fs::symlink(test.path("/sys/devices"), test.path("/sys/devices/loop")).unwrap();
        test.programs.on("modprobe", |_| (true, String::new()));
        let (machine, mut drivers) = (test.machine(), Drivers::default());
        drivers.load(&machine);
        drivers.load(&machine);
        test.file("/sys/devices/usb1/modalias", "usb:v1\n");
        drivers.load(&machine);
        let calls = test.programs.calls();
        assert_eq!(calls.len(), 2);
        assert!(
            calls[0].contains("sd_mod")
                && calls[0].contains("pci:v00001AF4d00001001 virtio:d00000002v00001AF4")
        );
        assert_eq!(calls[1], "modprobe -a -q -b usb:v1");
    }
}
