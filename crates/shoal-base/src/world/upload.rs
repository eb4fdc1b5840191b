//! A request's body that is sent as it comes, for files that memory should not hold.
//!
//! It has no file: the sender reads one and hands over its pieces. Invariant: as many bytes are sent as were announced,
//! or the request fails.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc::Receiver;

/// In a request's extensions: what is sent in place of the request's own body, once.
#[derive(Clone)]
pub struct StreamedBody(Arc<Mutex<Option<UploadStream>>>);

/// The pieces on their way.
pub(super) struct UploadStream {
    left: u64,
    pieces: Receiver<io::Result<Bytes>>,
}

impl StreamedBody {
    /// `size` bytes, which come through `pieces`.
    pub fn new(size: u64, pieces: Receiver<io::Result<Bytes>>) -> StreamedBody {
        StreamedBody(Arc::new(Mutex::new(Some(UploadStream { left: size, pieces }))))
    }

    pub(super) fn take(&self) -> Option<UploadStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Body for UploadStream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = ready!(self.pieces.poll_recv(cx));
        let wrong = |message: &str| Poll::Ready(Some(Err(io::Error::other(message.to_owned()))));
        match piece {
            None if self.left == 0 => Poll::Ready(None),
            None => wrong("the file became shorter while it was sent"),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            Some(Ok(piece)) if piece.len() as u64 > self.left => {
                wrong("the file became longer while it was sent")
            }
            Some(Ok(piece)) => {
                self.left -= piece.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn send(size: u64, pieces: Vec<io::Result<Bytes>>) -> io::Result<u64> {
        let (sender, receiver) = tokio::sync::mpsc::channel(8);
        for piece in pieces {
            sender.send(piece).await.unwrap();
        }
        drop(sender);
        let mut stream = StreamedBody::new(size, receiver).take().unwrap();
        let mut sent = 0;
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut stream).poll_frame(cx)).await {
            sent += frame?.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok(sent)
    }

    #[tokio::test]
    async fn as_many_bytes_are_sent_as_were_announced_or_none() {
        let piece = || Ok(Bytes::from_static(b"abc"));
        assert_eq!(send(6, vec![piece(), piece()]).await.unwrap(), 6);
        assert_eq!(send(0, vec![]).await.unwrap(), 0);
        for (size, pieces) in [
            (7, vec![piece(), piece()]),
            (5, vec![piece(), piece()]),
            (6, vec![piece(), Err(io::Error::other("x"))]),
        ] {
            assert!(send(size, pieces).await.is_err(), "{size}");
        }
    }
}
