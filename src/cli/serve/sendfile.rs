//! Writes to a connection: bytes that are mapped from a file go by `sendfile`, which copies none of them.
//!
//! The HTTP server hands over slices and knows nothing of this; the media server's lie in mapped files, and by
//! their address the file is found again (`media::file_behind`). All else, heads among it, is written as ever.
//! Invariant: what is sent are the bytes of the slices, in their order, since a mapped file never changes.

use std::fs::File;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use rustix::fs::sendfile;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::Interest;

use crate::media::file_behind;

/// What a listener of this kind of address accepts.
pub type Stream = <SocketAddr as axum_server::Address>::Stream;

/// Below it, a second call costs more than the copy.
const BYTES_MIN: usize = 8 << 10;

/// As `AsyncWrite::poll_write_vectored`.
pub fn poll_write(stream: &Stream, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(cx))?;
        match stream.try_io(Interest::WRITABLE, || write(stream, bufs)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return Poll::Ready(written),
        }
    }
}

/// The slices before the first that is mapped, and that one.
fn write(stream: &Stream, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let mapped = bufs.iter().enumerate().filter(|(_, buf)| buf.len() >= BYTES_MIN);
    let mapped = mapped.filter_map(|(number, buf)| Some((number, file_behind(buf)?))).next();
    let Some((number, (file, offset))) = mapped else { return send(stream, bufs, SendFlags::empty()) };
    let (before, buf) = (&bufs[..number], &bufs[number]);
    let head: usize = before.iter().map(|buf| buf.len()).sum();
    if head > 0 {
        // Without MORE, the head would be a packet of its own.
        let sent = send(stream, before, SendFlags::MORE)?;
        if sent < head {
            return Ok(sent);
        }
    }
    match send_file(stream, file.file(), offset, buf) {
        Ok(sent) => Ok(head + sent),
        // The caller learns of the error when it comes with the rest.
        Err(_) if head > 0 => Ok(head),
        Err(error) => Err(error),
    }
}

fn send(stream: &Stream, bufs: &[IoSlice<'_>], flags: SendFlags) -> io::Result<usize> {
    let flags = flags | SendFlags::NOSIGNAL;
    Ok(retry_on_intr(|| sendmsg(stream, bufs, &mut SendAncillaryBuffer::default(), flags))?)
}

fn send_file(stream: &Stream, file: &File, mut offset: u64, bytes: &[u8]) -> io::Result<usize> {
    match retry_on_intr(|| sendfile(stream, file, Some(&mut offset), bytes.len())) {
        // Cut short by someone: the bytes are gone, and reading them would end the process.
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        // Not every file system can.
        Err(Errno::INVAL | Errno::NOSYS) => send(stream, &[IoSlice::new(bytes)], SendFlags::empty()),
        sent => Ok(sent?),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write as _;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::media::Mapping;

    /// More than a socket takes in one go.
    const FILE_BYTES: usize = 12 << 20;

    #[expect(clippy::disallowed_methods, reason = "both ends of a real connection")]
    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    fn mapped() -> (File, Mapping) {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..FILE_BYTES).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        file.write_all(&bytes).unwrap();
        let other = file.try_clone().unwrap();
        (other, Mapping::of_cached(file).unwrap())
    }

    async fn write_all(
        stream: TcpStream,
        slices: Vec<Vec<u8>>,
        mapped: Vec<bytes::Bytes>,
    ) -> io::Result<usize> {
        let mut bufs: Vec<IoSlice> = Vec::new();
        for (slice, mapped) in slices.iter().zip(&mapped) {
            bufs.extend([IoSlice::new(slice), IoSlice::new(mapped)]);
        }
        let (mut rest, mut calls) = (bufs.as_mut_slice(), 0);
        while !rest.is_empty() {
            let sent = poll_fn(|cx| poll_write(&stream, cx, rest)).await?;
            IoSlice::advance_slices(&mut rest, sent);
            calls += 1;
        }
        Ok(calls)
    }

    #[tokio::test]
    async fn slices_of_files_and_of_memory_arrive_in_their_order() {
        let (_file, mapping) = mapped();
        let bytes = mapping.bytes();
        let mapped = vec![
            bytes.slice(3..10_000_003),
            bytes.slice(7..100),
            bytes.slice(FILE_BYTES - BYTES_MIN..),
            bytes.slice(..0),
        ];
        let memory: Vec<Vec<u8>> = [&b"head"[..], b"", b"between", b"end"].map(<[u8]>::to_vec).into();
        let wanted: Vec<u8> =
            memory.iter().zip(&mapped).flat_map(|(memory, mapped)| [memory, &mapped[..]].concat()).collect();
        let (near, mut far) = connected().await;
        let writer = tokio::spawn(write_all(near, memory, mapped));
        let mut arrived = Vec::new();
        far.read_to_end(&mut arrived).await.unwrap();
        assert!(arrived == wanted, "{} of {} bytes", arrived.len(), wanted.len());
        assert!(writer.await.unwrap().unwrap() > 1);
    }

    #[tokio::test]
    async fn a_file_that_was_cut_short_ends_the_connection_and_not_the_process() {
        let (file, mapping) = mapped();
        file.set_len(0).unwrap();
        let (near, mut far) = connected().await;
        let error = write_all(near, vec![b"head".to_vec()], vec![mapping.bytes()]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let mut arrived = Vec::new();
        far.read_to_end(&mut arrived).await.unwrap();
        assert_eq!(arrived, b"head");
    }
}
