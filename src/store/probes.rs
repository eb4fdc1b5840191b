//! Probes that are shown to BMCs now, so that any controller serves each and the doctor sees what all of them were
//! asked for.
//!
//! Not the image, which is the same for all. Invariant: a probe that was removed takes no more requests, and one that
//! its controller left behind is removed with the next one after [`PROBE_LEFT_AFTER`].

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::StoreFuture;
use crate::domain::{ProbeFetch, ProbeReads};

/// Far longer than a check takes, and than clocks differ.
pub(super) const PROBE_LEFT_AFTER: Duration = Duration::from_secs(3600);

pub trait ProbeStore {
    /// Adds a probe that is shown to the BMC at `peer`, where its address is known.
    fn insert_probe(&self, id: &str, peer: Option<IpAddr>, now: Timestamp) -> StoreFuture<()>;

    /// Adds a request for the probe's image. `false`: there is no such probe.
    fn note_probe_fetch(&self, id: &str, fetch: ProbeFetch) -> StoreFuture<bool>;

    /// Adds a connection of `peer` that ended without a request, to each probe that is shown to that address.
    fn note_probe_refused(&self, peer: IpAddr, why: &str) -> StoreFuture<()>;

    fn probe_reads(&self, id: &str) -> StoreFuture<Option<ProbeReads>>;

    fn remove_probe(&self, id: &str) -> StoreFuture<()>;
}

/// An address as it is stored and looked for: an IPv4 address may come mapped into IPv6.
pub(super) fn peer_text(peer: IpAddr) -> String {
    peer.to_canonical().to_string()
}
