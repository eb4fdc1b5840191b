//! The way from the drives of BMCs to the controller's media, and of hosts to its reports.
//!
//! It can be blocked, as a firewall does it: what is under way stands still. And it tries a read again, in the
//! middle of it too, while the controller is away: a drive does so before its host hears of an error
//! (QEMU's own, which reads the URLs here, does not). It knows as much of HTTP as that takes. Invariant: what
//! reaches the drive is one whole answer, or nothing more.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::process::{Done, fail};

/// How long a read is tried again.
const AWAY: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);

/// What becomes of the results that hosts report.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Reports {
    #[default]
    Delivered,
    /// No report arrives, of progress neither.
    Lost,
    /// A result arrives, and the host hears of it only when it has sent it again.
    Unanswered,
}

/// In the path of every report.
const REPORT: &str = "/status-webhook/";
/// In every report of a result that is a success.
const SUCCESS: &str = "\"success\"";

pub struct Gate {
    way: Arc<Way>,
    listener: TcpListener,
    address: std::net::SocketAddr,
}

#[derive(Default)]
struct Way {
    reports: Reports,
    /// Results that went through without an answer.
    unanswered: AtomicUsize,
    target: AtomicU16,
    closed: AtomicBool,
}

impl Gate {
    /// On a free port of an address of loopback.
    pub fn open(address: &str, reports: Reports) -> Done<Gate> {
        let made = TcpListener::bind((address, 0)).and_then(|listener| {
            let address = listener.local_addr()?;
            Ok(Gate { way: Arc::new(Way { reports, ..Way::default() }), listener, address })
        });
        made.or_else(|error| fail(format!("the way to the media: {error}")))
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
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
            let mut request = head(&mut requests)?;
            if request.is_empty() {
                return Ok(());
            }
            (&mut requests).take(content_length(&request)).read_to_end(&mut request)?;
            self.hold_up(&request)?;
            let (start, mut sent) = (Instant::now(), Sent::default());
            while let Err(error) = self.relay(&request, drive, &mut sent) {
                if start.elapsed() > AWAY || sent.drive_is_gone {
                    return Err(error);
                }
                std::thread::sleep(LOOK);
            }
        }
    }

    /// Ends the connection where a report is to be lost, or its answer.
    fn hold_up(&self, request: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(request);
        let is_report =
            text.starts_with("POST ") && text.lines().next().is_some_and(|line| line.contains(REPORT));
        let is_lost = match self.reports {
            _ if !is_report => false,
            Reports::Delivered => false,
            Reports::Lost => true,
            Reports::Unanswered => {
                text.contains(SUCCESS) && self.unanswered.fetch_add(1, Ordering::AcqRel) == 0
            }
        };
        if is_lost && self.reports == Reports::Unanswered {
            let mut controller = TcpStream::connect(("127.0.0.1", self.target.load(Ordering::Acquire)))?;
            controller.write_all(request)?;
            head(&mut BufReader::new(controller))?;
        }
        if is_lost { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
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
        let gate = Gate::open("127.0.0.1", Reports::Delivered).unwrap();
        gate.lead_to(controller(&[0, 20, 54, 57, 62]));
        let mut drive = TcpStream::connect(gate.address).unwrap();
        drive.write_all(b"GET /x HTTP/1.1\r\nRange: bytes=0-9\r\n\r\n").unwrap();
        let mut answer = BufReader::new(drive);
        assert!(head(&mut answer).unwrap().starts_with(b"HTTP/1.1 206"));
        let mut body = [0; 10];
        answer.read_exact(&mut body).unwrap();
        assert_eq!(&body, b"0123456789");
    }

    #[test]
    fn a_result_reaches_the_controller_and_its_first_answer_is_lost() {
        let gate = Gate::open("127.0.0.1", Reports::Unanswered).unwrap();
        gate.lead_to(controller(&[62, 62, 62]));
        let answered = |body: &str| {
            let mut host = TcpStream::connect(gate.address).unwrap();
            let head =
                format!("POST /api/v1/status-webhook/A/t HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
            host.write_all((head + body).as_bytes()).unwrap();
            head_of(&mut BufReader::new(host)).starts_with(b"HTTP/1.1 206")
        };
        assert!(answered(r#"{"status":"progress"}"#));
        assert!(!answered(r#"{"status":"success"}"#) && answered(r#"{"status":"success"}"#));
        let lost = Gate::open("127.0.0.1", Reports::Lost).unwrap();
        lost.lead_to(controller(&[62]));
        let mut host = TcpStream::connect(lost.address).unwrap();
        host.write_all(b"POST /api/v1/status-webhook/A/t HTTP/1.1\r\nContent-Length: 0\r\n\r\n").unwrap();
        assert!(head_of(&mut BufReader::new(host)).is_empty());
    }

    fn head_of(from: &mut impl BufRead) -> Vec<u8> {
        head(from).unwrap_or_default()
    }

    #[test]
    fn an_answer_has_as_many_bytes_as_it_says() {
        assert_eq!(content_length(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"), 7);
        assert_eq!(content_length(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"), 0);
        assert_eq!(content_length(b"HTTP/1.1 416 Range Not Satisfiable\r\n\r\n"), 0);
    }
}
