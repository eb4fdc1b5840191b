//! `%post` on the bench: what the hooks of a controller do, and what may go wrong with them.
//!
//! Not how a script is read (that is in `post.rs` and `shell.rs`).

use super::*;

const POWER_OFF: &str = "%post --interpreter=busybox --ignorefailure=true\n\
    for nonce in /vmfs/volumes/*/NONCE.TXT; do cat \"$nonce\" >/dev/null 2>&1; done\n\
    /bin/poweroff -n || /bin/poweroff -f || /bin/halt\n";
const WEBHOOK: &str = "%post --interpreter=busybox --ignorefailure=true\n\
    url='http://controller.test/hook'\n\
    python -c 'import urllib.request' \"$url\" >/dev/null 2>&1 || wget -q -O /dev/null \"$url\"\n";

impl GuestBench {
    /// As [`GuestBench::install`], with a nonce beside the kickstart.
    fn install_with(post: &str, change: impl FnOnce(&mut Board, &mut Software)) -> GuestBench {
        let mut bench = GuestBench::new(change);
        let mut task = IsoWriter::new("TASK");
        task.joliet = false;
        task.file("/KS.CFG", format!("{KS}{post}")).file("/NONCE.TXT", "0123456789abcdef");
        bench.insert(0, installer("ks=cdrom:/KS.CFG"));
        bench.insert(1, bytes_of(&task.write().unwrap().image));
        bench.arm(OverrideEnabled::Once, BootTarget::Cd);
        bench.reset(ResetType::On);
        bench.run(10);
        assert_eq!(bench.guest(), "installing");
        bench.reads.clear();
        bench
    }

    /// Goes on until `%post` wants something.
    fn run_to_post(&mut self) -> GuestNeed {
        for _ in 0..1000 {
            match self.computer.step(self.now) {
                GuestNeed::Until(time) => self.now = time,
                need if self.guest() == "installer_post" => return need,
                need => panic!("{need:?}"),
            }
        }
        panic!("no %post");
    }

    fn nonce_at(&self) -> u64 {
        let image = &self.images[&1];
        image.windows(16).position(|bytes| bytes == b"0123456789abcdef").unwrap() as u64
    }
}

#[test]
fn the_hook_reads_its_nonce_of_the_kickstarts_cd_and_powers_off() {
    let mut bench = GuestBench::install_with(POWER_OFF, |_, _| {});
    assert_eq!(bench.run(200).guest(), "off");
    assert_eq!(bench.reads, [ReadRequest { drive: 1, offset: bench.nonce_at(), len: 2048 }]);
    assert_eq!(bench.installs(), (1, 0));
    assert!(bench.computer.machine.medium(1).is_some(), "it was not ejected");
    bench.reset(ResetType::On);
    assert_eq!(bench.run(100).guest(), "installed");
}

#[test]
fn the_hook_calls_its_url_once_and_the_reboot_follows() {
    let mut bench = GuestBench::install_with(WEBHOOK, |_, _| {});
    assert_eq!(bench.run(200).guest(), "installed");
    assert_eq!(bench.calls, ["http://controller.test/hook"]);
    let mut bench = GuestBench::install_with(&WEBHOOK.replace("controller", "nowhere"), |_, _| {});
    assert_eq!(bench.run(200).guest(), "installed", "a call that fails stops nothing");
    assert_eq!(bench.calls, ["http://nowhere.test/hook", "http://nowhere.test/hook"], "by Python, then wget");
    let mut bench = GuestBench::install_with(WEBHOOK, |_, software| software.no_network = true);
    assert_eq!((bench.run(200).guest(), bench.calls.len()), ("installed", 0));
}

#[test]
fn a_hook_that_fails_leaves_the_end_to_the_kickstart() {
    let run = |change: fn(&mut Software)| {
        let mut bench = GuestBench::install_with(POWER_OFF, |_, software| change(software));
        bench.run(300);
        let nonce_at = bench.nonce_at();
        (bench.guest(), bench.reads.iter().any(|read| read.offset == nonce_at), bench.installs())
    };
    assert_eq!(run(|software| software.hook_fails = true), ("installed", true, (1, 0)));
    assert_eq!(run(|software| software.post_skipped = true), ("installed", false, (1, 0)));
    assert_eq!(run(|software| software.post_cannot_read = true), ("off", false, (1, 0)));
}

#[test]
fn sections_run_in_their_order_and_the_first_end_is_the_end() {
    let post = "%post\nwget http://a.test/1\nreboot\n%post\nwget http://a.test/2\n";
    let mut bench = GuestBench::install_with(post, |_, _| {});
    assert_eq!(bench.run(200).guest(), "installed");
    assert_eq!(bench.calls, ["http://a.test/1"]);
    assert!(bench.computer.machine.medium(0).is_some(), "a script's `reboot` ejects nothing");
}

#[test]
fn a_reset_or_an_eject_during_post_destroys_nothing() {
    let mut bench = GuestBench::install_with(POWER_OFF, |_, _| {});
    assert!(matches!(bench.run_to_post(), GuestNeed::Read(_)));
    bench.reset(ResetType::ForceRestart);
    assert_eq!(bench.installs(), (1, 0));
    assert_eq!(bench.run(100).guest(), "installed");

    let mut bench = GuestBench::install_with(POWER_OFF, |_, _| {});
    bench.run_to_post();
    bench.computer.eject(1);
    assert_eq!(bench.run(1).guest(), "off", "a nonce that cannot be read stops nothing");
    assert_eq!(bench.installs(), (1, 0));
}

#[test]
fn another_medium_in_the_drive_is_not_the_mounted_one() {
    let mut bench = GuestBench::install_with(POWER_OFF, |_, _| {});
    bench.run_to_post();
    let image = bench.images[&1].clone();
    bench.computer.machine.eject(1);
    bench.insert(1, image);
    assert_eq!(bench.run(1).guest(), "off");
    assert_eq!(bench.reads, [], "its file system is gone");
}
