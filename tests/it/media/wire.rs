//! Readers over real connections: as BMCs write their requests, slow, and gone in the middle.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use bytes::Bytes;
use shoal::api;
use shoal::cli::serve::{self, OnRefused};
use shoal::domain::{Drive, JobId, Medium};
use shoal::media::SLICE_BYTES_MAX;

use super::bench::{Bench, INSTALLER_BYTES, at, installer, installer_bytes, job};

/// Longest wait for something that must come.
const WAIT_MAX: Duration = Duration::from_secs(20);

async fn served(bench: &Bench) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let service = api::media_first(&bench.media, false, bench.router.clone());
    let refused: OnRefused = Arc::new(|_, _| {});
    tokio::spawn(serve::serve(listener, None, service, refused, Handle::new()));
    address
}

/// One HTTP/1.1 connection of a BMC.
struct Reader(TcpStream);

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let wanted = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(wanted.as_str()))
    }
}

impl Reader {
    fn connect(address: SocketAddr) -> Reader {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        stream.set_nodelay(true).unwrap();
        Reader(stream)
    }

    fn write(&mut self, method: &str, path: &str, lines: &[&str]) {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: controller\r\n{lines}\r\n");
        self.0.write_all(request.as_bytes()).unwrap();
    }

    fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    fn ask(&mut self, method: &str, path: &str, lines: &[&str]) -> Answer {
        self.write(method, path, lines);
        let head = self.read_head();
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        if method != "HEAD" && status != 304 {
            answer.body = vec![0; length];
            self.0.read_exact(&mut answer.body).unwrap();
        }
        answer
    }
}

/// Runs blocking readers beside the server.
async fn reading<T: Send + 'static>(readers: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(readers).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_a_range_over_one_connection() {
    let bench = Bench::new().await;
    let address = served(&bench).await;
    let path = bench.media.path(job(1), Medium::Boot, Drive::Cd, 1);
    let etag = installer().etag().to_str().unwrap().to_owned();
    reading(move || {
        let whole = installer_bytes();
        let size = INSTALLER_BYTES;
        let mut reader = Reader::connect(address);
        let fresh = format!("If-Range: {etag}");
        let known = format!("If-None-Match: {etag}");
        let cases: &[(&[&str], u16, std::ops::Range<u64>)] = &[
            (&[], 200, 0..size),
            (&["Range: bytes=0-0"], 206, 0..1),
            (&["Range: bytes=990-1020"], 206, 990..1021),
            (&["range: bytes=1000-1000"], 206, 1000..1001),
            (&["Range: bytes=3145000-"], 206, 3_145_000..size),
            (&["Range: bytes=-512"], 206, size - 512..size),
            (&["Range: bytes=-99999999"], 206, 0..size),
            (&["Range: bytes=0-99999999"], 206, 0..size),
            (&["Range: bytes=0-1,10-20"], 200, 0..size),
            (&["Range: items=0-1"], 200, 0..size),
            (&["Range: bytes=9-1"], 200, 0..size),
            (&["Range: bytes=5-9", &fresh], 206, 5..10),
            (&["Range: bytes=5-9", "If-Range: \"stale\""], 200, 0..size),
            (&["Range: bytes=5-9", "If-Range: Sun, 22 Nov 2026 08:00:00 GMT"], 200, 0..size),
            (&[&known], 304, 0..0),
            (&["Range: bytes=3145728-"], 416, 0..0),
            (&["Range: bytes=-0"], 416, 0..0),
            (&["If-Match: \"stale\""], 412, 0..0),
        ];
        for (lines, status, range) in cases {
            let answer = reader.ask("GET", &path, lines);
            assert_eq!(answer.status, *status, "{lines:?}");
            assert_eq!(answer.header("etag"), Some(etag.as_str()), "{lines:?}");
            assert_eq!(answer.header("accept-ranges"), Some("bytes"), "{lines:?}");
            let content_range = match status {
                206 => Some(format!("bytes {}-{}/{size}", range.start, range.end - 1)),
                416 => Some(format!("bytes */{size}")),
                _ => None,
            };
            assert_eq!(answer.header("content-range"), content_range.as_deref(), "{lines:?}");
            if *status < 300 {
                assert_eq!(answer.header("content-type"), Some("application/x-iso9660-image"));
                assert!(answer.body == whole[range.start as usize..range.end as usize], "{lines:?}");
            }
        }
        let head = reader.ask("HEAD", &path, &["Range: bytes=5-9"]);
        assert_eq!((head.status, head.header("content-length")), (200, Some("3145728")));
        assert_eq!(head.header("accept-ranges"), Some("bytes"));
        assert_eq!(reader.ask("GET", &path, &["Range: bytes=7-7"]).body, &whole[7..8], "still in step");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_small_reads_give_the_right_bytes_and_count_each_byte_once() {
    let bench = Bench::new().await;
    bench.media.start_trace(job(1), at(10));
    let address = served(&bench).await;
    let path = bench.media.path(job(1), Medium::Boot, Drive::Cd, 1);
    reading(move || {
        let whole = installer_bytes();
        let mut reader = Reader::connect(address);
        let mut state = 1u64;
        for _ in 0..5000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let start = (state >> 33) % (INSTALLER_BYTES / 2048) * 2048;
            let line = format!("Range: bytes={start}-{}", start + 2047);
            let answer = reader.ask("GET", &path, &[&line]);
            assert_eq!(answer.status, 206);
            assert!(answer.body == whole[start as usize..start as usize + 2048], "{line}");
        }
    })
    .await;
    let fetched = bench.media.fetched(job(1), Medium::Boot);
    assert_eq!((fetched.requests, fetched.bytes, fetched.last_fault), (5000, 5000 * 2048, None));
    let read = bench.media.trace(job(1)).installer.read;
    assert!(read <= INSTALLER_BYTES && read > INSTALLER_BYTES / 2, "{read}");
}

/// Waits until the last fault of a job's installer is known.
async fn fault(bench: &Bench, job: JobId) -> String {
    let known = async {
        loop {
            match bench.media.fetched(job, Medium::Boot).last_fault {
                Some(fault) => return fault,
                None => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(WAIT_MAX, known).await.expect("the server notices that its reader is gone")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_goes_away_is_noted_and_disturbs_no_other() {
    let bench = Bench::new().await;
    bench.publish_large(job(2), 256 << 20).await;
    bench.media.start_trace(job(2), at(10));
    let address = served(&bench).await;
    let path = bench.media.path(job(2), Medium::Boot, Drive::Cd, 1);
    let again = path.clone();
    reading(move || {
        let mut reader = Reader::connect(address);
        reader.write("GET", &path, &[]);
        reader.read_head();
        reader.0.read_exact(&mut vec![0; 100_000]).unwrap();
    })
    .await;
    let reason = fault(&bench, job(2)).await;
    assert!(reason.starts_with("aborted after ") && reason.ends_with(" of 268435456 bytes"), "{reason}");
    assert_eq!(bench.media.trace(job(2)).installer.fault, Some(reason));
    let answer = reading(move || Reader::connect(address).ask("GET", &again, &["Range: bytes=0-9"])).await;
    assert_eq!(answer.status, 206);
    assert_eq!(bench.media.trace(job(2)).installer.fault, None, "it went well since");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_holds_one_slice() {
    let bench = Bench::new().await;
    bench.publish_large(job(2), 256 << 20).await;
    let address = served(&bench).await;
    let path = bench.media.path(job(2), Medium::Boot, Drive::Cd, 1);
    let other = bench.media.path(job(1), Medium::Boot, Drive::Cd, 1);
    let stalled = reading(move || {
        let mut reader = Reader::connect(address);
        reader.write("GET", &path, &[]);
        reader.read_head();
        for _ in 0..100 {
            assert_eq!(Reader::connect(address).ask("GET", &other, &[]).status, 200);
        }
        reader
    })
    .await;
    let handed = bench.media.fetched(job(2), Medium::Boot).bytes;
    let buffers_of_the_kernel = 32 << 20;
    assert!(handed < buffers_of_the_kernel + SLICE_BYTES_MAX as u64, "{handed} bytes wait for no reader");
    drop(stalled);
}

impl Bench {
    /// Replaces a job's installer by a large one, which costs nothing but its name.
    async fn publish_large(&self, job: JobId, size: u64) {
        use shoal::media::{Image, MediumLandmarks, Watched};
        use shoal_image::installer::Landmarks;
        use shoal_image::iso::Overlay;
        let image = Image::in_memory(Bytes::new(), "large", Overlay { size, patches: Vec::new() });
        let marks = Landmarks { descriptors: 0..1, boot_catalog: None, payload: Vec::new() };
        let watched =
            Watched { image: image.into(), drive: Drive::Cd, landmarks: MediumLandmarks::installer(marks) };
        self.media.publish(job, Medium::Boot, watched, None).await.unwrap();
    }
}
