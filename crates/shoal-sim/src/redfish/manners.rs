//! How a persona wants to be spoken to, and what it does to those who do not.
//!
//! Invariant: a request that is answered by silence or a reset here has done nothing.

use std::io::Write as _;
use std::time::Duration;

use axum::body::Body;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderValue, Response, header};
use jiff::Timestamp;

use super::super::bmc::Bmc;
use super::super::machine::ResetType;
use super::Call;
use shoal_base::world::elapsed;

/// How long a host of [`hangs_when_hurried`](super::super::personas::Manners) has to stay off.
const REST: Duration = Duration::from_secs(10);

impl Bmc {
    /// Whether the request came on a connection that must not be used again: its predecessor did not
    /// ask for the end of that.
    pub fn is_reused(&mut self, call: &Call) -> bool {
        if !self.config.persona.manners.no_keep_alive {
            return false;
        }
        let closes = call.headers.get(header::CONNECTION).is_some_and(|value| value == "close");
        let was_open = std::mem::replace(&mut self.oem.kept_alive, !closes);
        // The client has to connect anew after the reset.
        self.oem.kept_alive &= !was_open;
        was_open
    }

    /// A host that is switched on too soon after it was forced off hangs in its self test.
    pub fn hurry(&mut self, reset: ResetType, now: Timestamp) {
        if !self.config.persona.manners.hangs_when_hurried {
            return;
        }
        if reset == ResetType::ForceOff {
            self.oem.forced_off_at = Some(now);
        } else if matches!(reset, ResetType::On | ResetType::ForceOn)
            && self.oem.forced_off_at.take().is_some_and(|off_at| elapsed(off_at, now) < REST)
        {
            self.computer.machine.hang();
        }
    }

    pub fn compresses(&self, call: &Call) -> bool {
        self.config.persona.manners.compresses && call.path.contains("/Managers")
    }
}

/// The same answer, compressed.
pub async fn compress(answer: Response<Body>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    if body.is_empty() {
        return Response::from_parts(head, Body::empty());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = encoder.write_all(&body).and_then(|()| encoder.finish()).unwrap_or_default();
    head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(head, Body::from(packed))
}
