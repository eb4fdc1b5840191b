//! The installer cache over the real transport, from a server that breaks in the middle.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use shoal::media::{InstallerCache, InstallerSource};
use shoal_base::world::real_transport;
use shoal_image::iso::IsoWriter;

const SETTINGS: &str =
    "title=x\nkernel=/b.b00\nkernelopt=runweasel cdromBoot\nmodules=/s.v00\nbuild=8.0.3-0.0.1\n";

fn iso() -> Vec<u8> {
    let mut writer = IsoWriter::new("ESXI-8.0U3-1-STANDARD");
    writer.file("/BOOT.CFG", SETTINGS).file("/EFI/BOOT/BOOT.CFG", SETTINGS);
    writer.file("/B.B00", super::bench::pattern(3 << 20)).file("/S.V00", vec![1; 5000]);
    writer.write().unwrap().image.to_vec()
}

fn request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

/// Serves an image on two connections: the first is cut in the middle, the second gets the rest.
fn serve_and_break(listener: &TcpListener, iso: &[u8]) -> String {
    let (mut first, _) = listener.accept().unwrap();
    request(&mut first);
    let length = iso.len();
    write!(first, "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: {length}\r\n\r\n").unwrap();
    first.write_all(&iso[..length / 2]).unwrap();
    drop(first);
    let (mut second, _) = listener.accept().unwrap();
    let asked = request(&mut second);
    let range = asked.lines().find_map(|line| line.strip_prefix("range: bytes=")).unwrap();
    let start: usize = range.strip_suffix('-').unwrap().parse().unwrap();
    let (rest, last) = (length - start, length - 1);
    write!(second, "HTTP/1.1 206 Partial Content\r\nETag: \"a\"\r\nContent-Length: {rest}\r\n").unwrap();
    write!(second, "Content-Range: bytes {start}-{last}/{length}\r\n\r\n").unwrap();
    second.write_all(&iso[start..]).unwrap();
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_breaks_in_the_middle_is_gone_on_with() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/vendor/esxi.iso", listener.local_addr().unwrap());
    let serving = tokio::task::spawn_blocking(move || serve_and_break(&listener, &iso()));
    let dir = tempfile::tempdir().unwrap();
    let cache = InstallerCache::new(dir.path().to_owned(), 1 << 30, real_transport(&[])).unwrap();
    let source: InstallerSource = url.parse().unwrap();
    let opened = cache.open(&source, None, &|_| true).await.unwrap();
    assert!(opened.bytes() == iso());
    let asked = serving.await.unwrap();
    assert!(asked.contains("if-range: \"a\"") && !asked.contains("range: bytes=0-"), "{asked}");
}

#[tokio::test]
async fn the_version_of_a_copy_is_known_without_its_source() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("esxi.iso");
    std::fs::write(&path, iso()).unwrap();
    let source = InstallerSource::File(path.clone());
    let cache = || InstallerCache::new(dir.path().join("cache"), 1 << 30, real_transport(&[])).unwrap();
    let first = cache();
    assert_eq!(first.known_version(&source).await, None);
    first.open(&source, None, &|_| true).await.unwrap();
    assert_eq!(first.known_version(&source).await.as_deref(), Some("8.0.3"));
    drop(first);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(cache().known_version(&source).await.as_deref(), Some("8.0.3"));
}
