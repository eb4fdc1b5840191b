//! A strict installer on the bench: its dialogs, and the time that they take.
//!
//! Which rule has which dialog is in `kickstart/tests.rs`.

use super::*;

const GOOD: &str = "vmaccepteula\nrootpw VMware1!\nnetwork --bootproto=dhcp\ninstall --firstdisk\nreboot\n";

impl GuestBench {
    /// As [`GuestBench::install`], with a strict installer and a file more beside the kickstart.
    fn strict(ks: &str, more: &str) -> GuestBench {
        let mut bench = GuestBench::new(|_, software| software.strict_kickstart = true);
        let mut task = IsoWriter::new("TASK");
        task.joliet = false;
        task.file("/KS.CFG", ks.to_owned()).file("/MORE.CFG", more.to_owned());
        bench.insert(0, installer("ks=cdrom:/KS.CFG"));
        bench.insert(1, bytes_of(&task.write().unwrap().image));
        bench.arm(OverrideEnabled::Once, BootTarget::Cd);
        bench.reset(ResetType::On);
        bench.run(5);
        bench
    }

    fn console(&self) -> &str {
        self.computer.console().unwrap_or_default()
    }
}

#[test]
fn a_good_kickstart_is_installed_and_its_end_shown_for_half_a_minute() {
    let mut bench = GuestBench::strict(GOOD, "");
    assert_eq!(bench.guest(), "installing");
    assert_eq!(bench.run(101).guest(), "installer_finished");
    assert_eq!(bench.run(28).guest(), "installer_finished");
    assert_eq!(bench.run(20).guest(), "installed");
    assert_eq!(bench.installs(), (1, 0));
}

#[test]
fn each_dialog_of_warnings_takes_half_a_minute() {
    let ks = GOOD.replace("bootproto=dhcp", "bootproto=dhcp --hostname=a") + "timezone UTC\n";
    let mut bench = GuestBench::strict(&ks, "");
    assert_eq!((bench.guest(), bench.console()), ("installer_warning", "timezone is not supported"));
    bench.run(29);
    assert_eq!(bench.console(), "timezone is not supported");
    bench.run(1);
    assert_eq!(bench.console(), "network: --hostname is ignored with --bootproto=dhcp");
    assert_eq!(bench.run(29).guest(), "installer_warning");
    assert_eq!(bench.computer.machine.counters.installs_begun, 0);
    assert_eq!(bench.run(1).guest(), "installing");
    assert_eq!(bench.run(150).installs(), (1, 0));
}

#[test]
fn a_reset_at_a_warning_interrupts_nothing() {
    let mut bench = GuestBench::strict(&(GOOD.to_owned() + "timezone UTC\n"), "");
    assert_eq!(bench.guest(), "installer_warning");
    bench.reset(ResetType::ForceOff);
    assert_eq!((bench.installs(), &bench.computer.machine.disk), ((0, 0), &Disk::Blank));
}

#[test]
fn a_broken_rule_is_a_dialog_and_the_disk_is_not_touched() {
    let mut bench = GuestBench::strict(&GOOD.replace("--firstdisk", "--disk=sda"), "");
    assert_eq!(bench.run(100_000).guest(), "installer_error");
    assert_eq!(bench.console(), "install: the disk \"sda\" was not found");
    assert_eq!(bench.computer.machine.disk, Disk::Blank);
}

#[test]
fn a_dry_run_installs_nothing() {
    let mut bench = GuestBench::strict(&(GOOD.to_owned() + "dryrun\n"), "");
    assert_eq!(bench.run(1000).guest(), "installer_error");
    assert_eq!((bench.computer.machine.counters.installs_begun, bench.installs()), (0, (0, 0)));
}

#[test]
fn a_swallowed_reboot_waits_for_a_person() {
    let ks = GOOD.replace("reboot\n", "  %firstboot --interpreter=busybox\nreboot\n");
    let mut bench = GuestBench::strict(&ks, "");
    assert_eq!(bench.run(100_000).guest(), "installer_finished");
    assert_eq!(bench.installs(), (1, 0));
}

#[test]
fn a_post_that_fails_stops_the_installer_with_the_disk_written() {
    let end = |post: &str| {
        let mut bench = GuestBench::strict(&format!("{GOOD}%post --interpreter=busybox{post}\n"), "");
        let guest = bench.run(300).guest();
        assert_eq!(bench.installs(), (1, 0), "{post}");
        (guest, bench.console().to_owned())
    };
    let (guest, console) = end("\nsync\n%end");
    assert_eq!(
        (guest, console.as_str()),
        ("installer_error", "%post: the script has failed: %end: not found")
    );
    assert_eq!(end("\nwget http://nowhere.test/").0, "installer_error");
    assert_eq!(end("\nwget http://nowhere.test/ || true").0, "installed");
    assert_eq!(end("\nwget http://a.test/").0, "installed");
    assert_eq!(end(" --ignorefailure=true\n%end").0, "installed");
    assert_eq!(end(" --ignorefailure=true\nwget http://nowhere.test/").0, "installed");
    assert_eq!(end("\npoweroff\nfalse").0, "off");
}

#[test]
fn an_include_is_read_of_the_kickstarts_cd_before_the_installation() {
    let ks = GOOD.replace("reboot\n", "%include ./MORE.CFG\n");
    let mut bench = GuestBench::strict(&ks, "reboot --noeject\n");
    assert_eq!(bench.guest(), "installing");
    let at = bench.images[&1].windows(16).position(|bytes| bytes == b"reboot --noeject").unwrap() as u64;
    let last = *bench.reads.last().unwrap();
    assert_eq!(last, ReadRequest { drive: 1, offset: at, len: 2048 });
    assert_eq!(bench.run(200).guest(), "installed");
    assert!(bench.computer.machine.medium(1).is_some(), "what it says is obeyed");

    let mut bench = GuestBench::strict(&ks.replace("MORE", "LESS"), "");
    assert_eq!(bench.run(1).guest(), "installer_error");
    assert_eq!(bench.console(), "include: cannot open the file ./LESS.CFG");
}
