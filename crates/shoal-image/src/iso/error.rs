//! What can be wrong with an image, and where in it.

use std::io;

/// Why an image cannot be read or changed. Offsets are bytes from its start.
#[derive(Debug, thiserror::Error)]
pub enum IsoError {
    #[error("cannot read {what} at byte {offset}")]
    Read {
        what: &'static str,
        offset: u64,
        #[source]
        source: io::Error,
    },
    #[error("the image ends at byte {size}, but {what} reaches from byte {start} to {end}")]
    Truncated { what: &'static str, start: u64, end: u64, size: u64 },
    #[error("it is no ISO 9660 image: {reason}")]
    NotIso { reason: &'static str },
    #[error("{what} at byte {offset} is malformed: {reason}")]
    Malformed { what: &'static str, offset: u64, reason: &'static str },
    #[error("{what}: {found}, and the limit is {limit}")]
    TooMuch { what: &'static str, found: u64, limit: u64 },
    #[error("the directories form a loop: {path} (at byte {offset}) has been entered before")]
    Loop { path: String, offset: u64 },
    #[error("{path} {what}, which is not supported")]
    Unsupported { path: String, what: &'static str },
}
