//! The way from the drives of BMCs to the controller's media.
//!
//! It can be blocked, as a firewall does it: what is under way stands still. And it tries a read again, in the
//! middle of it too, while the controller is away: a drive does so before its host hears of an error
//! (QEMU's own, which reads the URLs here, does not). It knows as much of HTTP as that takes. Invariant: what
//! reaches the drive is one whole answer, or nothing more.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use crate::process::{Done, fail};

/// How long a read is tried again.
const AWAY: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);

pub struct Gate {
    way: Arc<Way>,
    listener: TcpListener,
    port: u16,
}

#[derive(Default)]
struct Way {
    target: AtomicU16,
    closed: AtomicBool,
}

impl Gate {
    pub fn open() -> Done<Gate> {
        let made = TcpListener::bind("127.0.0.1:0").and_then(|listener| {
            let port = listener.local_addr()?.port();
            Ok(Gate { way: Arc::default(), listener, port })
        });
        made.or_else(|error| fail(format!("the way to the media: {error}")))
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Lets requests through to that port of loopback, until this process ends.
    pub fn lead_to(&self, port: u16) {
        self.way.target.store(port, Ordering::Release);
        let (way, listener) =
            (self.way.clone(), self.listener.try_clone().expect("a listener can be cloned"));
        std::thread::spawn(move || {
            for drive in listener.incoming().flatten() {
                let way = way.clone();
                // A drive that goes is no fault of anybody's.
                std::thread::spawn(move || drop(way.serve(&drive)));
            }
        });
    }

    /// Blocks it for so long.
    pub fn close(&self, time: Duration) {
        self.way.closed.store(true, Ordering::Release);
        std::thread::sleep(time);
        self.way.closed.store(false, Ordering::Release);
    }
}

impl Way {
    /// One request of a drive after another.
    fn serve(&self, drive: &TcpStream) -> io::Result<()> {
        let mut requests = BufReader::new(drive.try_clone()?);
        loop {
            let request = head(&mut requests)?;
            if request.is_empty() {
                return Ok(());
            }
            let (start, mut sent) = (Instant::now(), Sent::default());
            while let Err(error) = self.relay(&request, drive, &mut sent) {
                if start.elapsed() > AWAY || sent.drive_is_gone {
                    return Err(error);
                }
                std::thread::sleep(LOOK);
            }
        }
    }

    /// Asks the controller, and passes on what the drive does not have yet.
    fn relay(&self, request: &[u8], drive: &TcpStream, sent: &mut Sent) -> io::Result<()> {
        let mut controller = TcpStream::connect(("127.0.0.1", self.target.load(Ordering::Acquire)))?;
        self.wait_until_open();
        controller.write_all(request)?;
        let mut answer = BufReader::new(controller);
        let head = head(&mut answer)?;
        let length = match request.starts_with(b"HEAD ") {
            true => 0,
            false => content_length(&head),
        };
        if head.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !sent.head {
            self.pass(&head, drive, sent)?;
            sent.head = true;
        }
        io::copy(&mut (&mut answer).take(sent.body), &mut io::sink())?;
        let mut bytes = [0; 64 * 1024];
        while sent.body < length {
            let read = answer.read(&mut bytes)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.pass(&bytes[..read], drive, sent)?;
            sent.body += read as u64;
        }
        Ok(())
    }

    fn pass(&self, bytes: &[u8], mut drive: &TcpStream, sent: &mut Sent) -> io::Result<()> {
        self.wait_until_open();
        drive.write_all(bytes).inspect_err(|_| sent.drive_is_gone = true)
    }

    fn wait_until_open(&self) {
        while self.closed.load(Ordering::Acquire) {
            std::thread::sleep(LOOK);
        }
    }
}

/// What a drive has of the answer to its request.
#[derive(Default)]
struct Sent {
    head: bool,
    body: u64,
    drive_is_gone: bool,
}

/// A message's first lines up to the empty one; nothing where the other side has ended.
fn head(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if from.read_until(b'\n', &mut head)? == 0 {
            return Ok(Vec::new());
        }
    }
    Ok(head)
}

fn content_length(head: &[u8]) -> u64 {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let values = head.lines().filter_map(|line| line.strip_prefix("content-length:"));
    let is_bodiless = head.starts_with("http/1.1 304");
    values.filter_map(|value| value.trim().parse().ok()).next().filter(|_| !is_bodiless).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each connection with so many bytes of its answer, and hangs up.
    fn controller(cuts: &'static [usize]) -> u16 {
        const ANSWER: &[u8] = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\n\r\n0123456789";
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for cut in cuts {
                let (mut stream, _) = listener.accept().unwrap();
                head(&mut BufReader::new(&stream)).unwrap();
                stream.write_all(&ANSWER[..*cut]).unwrap();
            }
        });
        port
    }

    #[test]
    fn an_answer_that_breaks_off_is_gone_on_with_where_it_was() {
        let gate = Gate::open().unwrap();
        gate.lead_to(controller(&[0, 20, 54, 57, 62]));
        let mut drive = TcpStream::connect(("127.0.0.1", gate.port)).unwrap();
        drive.write_all(b"GET /x HTTP/1.1\r\nRange: bytes=0-9\r\n\r\n").unwrap();
        let mut answer = BufReader::new(drive);
        assert!(head(&mut answer).unwrap().starts_with(b"HTTP/1.1 206"));
        let mut body = [0; 10];
        answer.read_exact(&mut body).unwrap();
        assert_eq!(&body, b"0123456789");
    }

    #[test]
    fn an_answer_has_as_many_bytes_as_it_says() {
        assert_eq!(content_length(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"), 7);
        assert_eq!(content_length(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"), 0);
        assert_eq!(content_length(b"HTTP/1.1 416 Range Not Satisfiable\r\n\r\n"), 0);
    }
}
