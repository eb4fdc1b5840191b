//! What a server is loaded with: `wrk` with random ranges, and readers that take their time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use url::Url;

use super::Rate;
use crate::measure::{cpu_seconds, resident_mib, time, write};

const FLAGS: [&str; 3] = ["--threads=1", "--connections=64", "--duration=3s"];
const SLOW_READERS: usize = 1000;
const SLOW_SECONDS: u64 = 10;
/// Each reader's piece, ten times a second: 320 KiB/s, as a BMC on a slow line.
const SLOW_PIECE: usize = 32 << 10;

pub struct Load {
    folder: PathBuf,
}

impl Load {
    /// Random aligned ranges of a file of that size.
    pub fn new(folder: &Path, size: u64) -> Load {
        let script = format!(
            "request = function()\n\
             \x20 local first = math.random(0, {}) * 65536\n\
             \x20 return wrk.format('GET', nil, {{['Range'] = 'bytes=' .. first .. '-' .. first + 65535}})\n\
             end\n",
            size / 65536 - 1
        );
        write(folder, "range.lua", script.as_bytes());
        Load { folder: folder.to_owned() }
    }

    pub fn run(&self, url: &str, server: &[u32]) -> Rate {
        let before = cpu_seconds(server);
        let mut wrk = Command::new("wrk");
        let output = wrk.args(FLAGS).args(["--script", "range.lua", url]).current_dir(&self.folder).output();
        let said = output.unwrap_or_else(|error| panic!("wrk: {error}")).stdout;
        let cpu = cpu_seconds(server) - before;
        let said = String::from_utf8_lossy(&said);
        assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
        let number = |line: &str, word: usize| line.split_whitespace().nth(word)?.parse::<f64>().ok();
        let per_second =
            said.lines().find(|line| line.starts_with("Requests/sec:")).and_then(|line| number(line, 1));
        let requests =
            said.lines().find(|line| line.contains(" requests in ")).and_then(|line| number(line, 0));
        let (Some(per_second), Some(requests)) = (per_second, requests) else {
            panic!("wrk counted nothing: {said}")
        };
        Rate { per_second, cpu_per_request: cpu * 1e6 / requests }
    }
}

/// Reads a whole file, and says how many bytes it has and how long it took.
pub fn read_whole(url: &str) -> (u64, Duration) {
    let (mut stream, path) = connect(url);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: media\r\nConnection: close\r\n\r\n")
        .expect("a request fits");
    let mut read = 0;
    let took = time(|| read = std::io::copy(&mut stream, &mut std::io::sink()).expect("the server goes on"));
    (read, took)
}

fn connect(url: &str) -> (TcpStream, String) {
    let url: Url = url.parse().expect("a URL");
    let address = url.socket_addrs(|| None).expect("an address")[0];
    (TcpStream::connect(address).expect("the server accepts"), url.path().to_owned())
}

/// A thousand readers of the whole file, in a program of their own.
#[expect(clippy::disallowed_methods, reason = "the readers are a real program")]
pub fn slow_readers(name: &str, url: &str, server: &[u32]) {
    let (cpu, memory) = (cpu_seconds(server), resident_mib(server));
    let program = std::env::current_exe().expect("this program has a path");
    let mut readers =
        Command::new(program).args(["read-slowly", url]).spawn().expect("this program runs again");
    std::thread::sleep(Duration::from_secs(SLOW_SECONDS - 1));
    let grown = resident_mib(server) - memory;
    assert!(readers.wait().expect("it was started").success(), "the slow readers of {name} failed");
    let cpu = cpu_seconds(server) - cpu;
    println!(
        "{SLOW_READERS} slow readers, {name}: {grown:.0} MiB more memory, {cpu:.2} CPU seconds in {SLOW_SECONDS} s"
    );
}

/// The program of [`slow_readers`].
#[expect(clippy::disallowed_methods, reason = "it takes its time")]
pub fn read_slowly(url: &str) {
    let mut readers: Vec<TcpStream> = (0..SLOW_READERS)
        .map(|_| {
            let (mut stream, path) = connect(url);
            write!(stream, "GET {path} HTTP/1.1\r\nHost: media\r\n\r\n").expect("a request fits");
            stream
        })
        .collect();
    let mut piece = vec![0; SLOW_PIECE];
    for _ in 0..SLOW_SECONDS * 10 {
        for reader in &mut readers {
            reader.read_exact(&mut piece).expect("the server goes on");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
