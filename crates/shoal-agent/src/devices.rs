//! Waiting for devices: disks and network cards appear one after the other, seconds after their drivers.
//!
//! Invariant: a choice among devices is made only once two looks have shown the same ones.

use std::time::Duration;

use crate::machine::Machine;

/// Storage controllers may scan for half a minute.
const LOOKS: u32 = 15;
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
const FOLDERS: [&str; 2] = ["/sys/block", "/sys/class/net"];

/// Waits until no device is new and `is_complete`, or for half a minute. `on_wait` loads drivers.
pub fn settle(machine: &Machine, on_wait: &mut dyn FnMut(), is_complete: impl Fn() -> bool) {
    let look = || FOLDERS.map(|folder| machine.names(folder));
    let mut before = look();
    for _ in 0..LOOKS {
        on_wait();
        machine.sleep(BETWEEN_LOOKS);
        let now = look();
        if now == before && is_complete() {
            return;
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::testing::TestMachine;

    /// How often drivers are loaded while devices appear at these calls.
    fn looks(appear: &[(u32, &str)], is_complete: impl Fn(&Machine) -> bool) -> u32 {
        let test = TestMachine::new();
        let (machine, count) = (test.machine(), Cell::new(0));
        let mut on_wait = || {
            count.set(count.get() + 1);
            for (_, path) in appear.iter().filter(|(at, _)| *at == count.get()) {
                test.file(&format!("{path}/size"), "8");
            }
        };
        settle(&machine, &mut on_wait, || is_complete(&machine));
        count.get()
    }

    #[test]
    fn devices_that_appear_one_after_the_other_are_waited_for() {
        let has_card = |machine: &Machine| machine.path("/sys/class/net/eth0").exists();
        assert_eq!(looks(&[], |_| true), 1);
        assert_eq!(
            looks(&[(1, "/sys/block/sda"), (2, "/sys/class/net/eth0"), (3, "/sys/block/sdb")], has_card),
            4
        );
        assert_eq!(looks(&[(9, "/sys/class/net/eth0")], has_card), 10);
        assert_eq!(looks(&[(1, "/sys/block/sda")], has_card), LOOKS);
    }
}
