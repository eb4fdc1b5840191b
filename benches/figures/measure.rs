//! Stopwatch, medians and the lines that figures are printed as.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

/// How long `act` takes.
pub fn time(act: impl FnOnce()) -> Duration {
    let start = Instant::now();
    act();
    start.elapsed()
}

/// The middle one; none of nothing.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Runs both sides by turns: `ours` and then `peer`, `rounds` times. Gives both medians.
pub fn by_turns(rounds: u32, mut ours: impl FnMut(), mut peer: impl FnMut()) -> (Duration, Duration) {
    let pairs = (0..rounds).map(|_| (time(&mut ours), time(&mut peer)));
    let (ours, peer): (Vec<_>, Vec<_>) = pairs.unzip();
    (median(ours), median(peer))
}

/// Prints one figure: a time of ours beside a peer's, and what is aimed at.
pub fn print(what: &str, ours: Duration, peer_name: &str, peer: Duration, aim: &str) {
    let ratio = peer.as_secs_f64() / ours.as_secs_f64();
    println!("{what}: {} ms; {peer_name}: {} ms; {ratio:.1} times as fast (aim: {aim})", ms(ours), ms(peer));
}

pub fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.3}") } else { format!("{ms:.0}") }
}

/// What these processes have used of the processors.
pub fn cpu_seconds(pids: &[u32]) -> f64 {
    let ticks = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
        let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
        // User and system time are fields 14 and 15.
        fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<f64>().expect("a number"))
            .sum::<f64>()
    };
    pids.iter().map(ticks).sum::<f64>() / rustix::param::clock_ticks_per_second() as f64
}

/// The memory that these processes have now, without what they map of files.
pub fn resident_mib(pids: &[u32]) -> f64 {
    let kib = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("of every process");
        line.trim_end_matches("kB").trim().parse::<f64>().expect("a number")
    };
    pids.iter().map(kib).sum::<f64>() / 1024.0
}

/// Runs a peer's program in a folder, without its chatter; it must succeed.
pub fn run(program: &str, arguments: &[&str], folder: &Path) {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program} {} ends with {status}", arguments.join(" "));
}

/// Writes a file of a peer's input.
pub fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    let parent = path.parent().expect("a file has a folder");
    std::fs::create_dir_all(parent).expect("the folder can be made");
    std::fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
