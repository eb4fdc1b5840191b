//! The connection limits of a listener: in total, and per peer.
//!
//! It knows no HTTP; the deadlines of requests are the listener's. Invariant: a connection has a seat
//! from before its TLS handshake until its stream is dropped, and one without a seat costs nothing more.

use std::future::{Future as _, Ready, ready};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use shoal_base::{NoSeat, Seat, Seats};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::sendfile::{self, Stream};

/// Of one listener.
const CONNECTIONS_MAX: usize = 16_384;
/// Of one address that is not loopback, where proxies are: so that one peer cannot take them all.
const OF_ONE_PEER_MAX: usize = 1_024;

/// A peer that takes not one byte for so long is gone, or never meant to read. A BMC may take pieces for hours.
const SEND_TIMEOUT: Duration = Duration::from_secs(600);

const REFUSED: &str = "shoal_provisioner_connections_refused_total";

/// The seats of one listener, by peer.
#[derive(Clone)]
pub(super) struct Connections(Seats<IpAddr>);

/// Why a connection got no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum SeatRefusal {
    #[error("{CONNECTIONS_MAX} connections are open")]
    Full,
    #[error("{OF_ONE_PEER_MAX} connections of this address are open")]
    Peer,
}

impl Default for Connections {
    fn default() -> Connections {
        Connections(Seats::new(CONNECTIONS_MAX))
    }
}

impl Connections {
    /// Whether a connection came to nothing for want of a seat.
    pub fn is_refusal(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<SeatRefusal>())
    }

    fn take_seat(&self, peer: IpAddr) -> Result<Seat<IpAddr>, SeatRefusal> {
        let of_one_max = if peer.is_loopback() { usize::MAX } else { OF_ONE_PEER_MAX };
        self.0.take(peer, of_one_max).map_err(|refused| match refused {
            NoSeat::Full => SeatRefusal::Full,
            NoSeat::Holder => SeatRefusal::Peer,
        })
    }
}

/// Gives each accepted connection its seat, and disables Nagle's algorithm: with it, the last
/// part of a range waits for the BMC's delayed acknowledgement.
#[derive(Clone, Default)]
pub struct SeatAcceptor(Connections);

impl SeatAcceptor {
    fn seat(&self, stream: Stream) -> io::Result<Seated> {
        let seat = self.0.take_seat(stream.peer_addr()?.ip()).map_err(|refusal| {
            metrics::counter!(REFUSED).increment(1);
            io::Error::other(refusal)
        })?;
        stream.set_nodelay(true)?;
        Ok(Seated { stream, stalled: None, _seat: seat })
    }
}

impl<S> Accept<Stream, S> for SeatAcceptor {
    type Stream = Seated;
    type Service = S;
    type Future = Ready<io::Result<(Seated, S)>>;

    fn accept(&self, stream: Stream, service: S) -> Self::Future {
        ready(self.seat(stream).map(|seated| (seated, service)))
    }
}

/// A connection that has a seat, until its peer takes nothing of what it is sent for [`SEND_TIMEOUT`].
pub struct Seated {
    stream: Stream,
    /// Runs while a write waits for the peer.
    stalled: Option<Pin<Box<Sleep>>>,
    _seat: Seat<IpAddr>,
}

impl Seated {
    /// What `write` came to, unless the peer has taken nothing for too long.
    fn watched<T>(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.stalled = None;
            return write;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(SEND_TIMEOUT)));
        match stalled.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl AsyncRead for Seated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Seated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watched(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = sendfile::poll_write(&self.stream, cx, bufs);
        self.watched(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> IpAddr {
        IpAddr::from(std::net::Ipv4Addr::from(0x0A00_0000 + n))
    }

    #[test]
    fn one_peer_leaves_seats_to_the_others() {
        let connections = Connections::default();
        let mut seats: Vec<Seat<IpAddr>> =
            (0..OF_ONE_PEER_MAX).map(|_| connections.take_seat(peer(1)).ok().unwrap()).collect();
        assert_eq!(connections.take_seat(peer(1)).err(), Some(SeatRefusal::Peer));
        seats.push(connections.take_seat(peer(2)).ok().unwrap());
        seats.remove(0);
        seats.push(connections.take_seat(peer(1)).ok().unwrap());
    }

    #[test]
    fn all_peers_together_have_a_bound_too_and_loopback_no_other() {
        let connections = Connections::default();
        let home = IpAddr::from([127, 0, 0, 1]);
        let seats: Vec<Seat<IpAddr>> =
            (0..CONNECTIONS_MAX).map(|_| connections.take_seat(home).ok().unwrap()).collect();
        for other in [home, peer(1)] {
            assert_eq!(connections.take_seat(other).err(), Some(SeatRefusal::Full));
        }
        assert_eq!(seats.len(), CONNECTIONS_MAX);
        assert!(Connections::is_refusal(&io::Error::other(SeatRefusal::Full)));
        assert!(!Connections::is_refusal(&io::Error::other("handshake")));
    }
}
