//! The body of an answer, as far as it arrives.
//!
//! It does not parse anything. Invariant: reading a body never takes the status away from an answer. BMCs end a
//! chunked body early, announce a wrong length, or never finish it (iDRAC 8 with a 401: check_redfish#90), and what
//! the status says stands whatever becomes of the body.

use axum_core::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use shoal_base::root_cause;
use tokio::time::Instant;

use super::call::Call;
use super::{RedfishError, RedfishErrorKind};

/// What arrived before the deadline, and why that is not all of it.
pub(super) struct Received {
    pub(super) bytes: Bytes,
    pub(super) defect: Option<RedfishError>,
}

/// Reads up to `bytes_max` bytes; what arrived before a defect is kept.
pub(super) async fn receive(call: &Call<'_>, body: Body, bytes_max: usize, deadline: Instant) -> Received {
    let mut body = Limited::new(body, bytes_max);
    let mut bytes = BytesMut::new();
    let defect = loop {
        let frame = match tokio::time::timeout_at(deadline, body.frame()).await {
            Ok(None) => break None,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) if error.is::<LengthLimitError>() => {
                break Some(call.error(RedfishErrorKind::TooLarge { max_bytes: bytes_max }));
            }
            Ok(Some(Err(error))) => {
                break Some(RedfishError {
                    reason: Some(root_cause(&*error).into()),
                    ..call.error(RedfishErrorKind::Broken)
                });
            }
            Err(_) => break Some(call.error(RedfishErrorKind::TimedOut { after: call.timeout })),
        };
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
    };
    Received { bytes: bytes.freeze(), defect }
}
