//! The image as it arrives: how it is compressed, what it is, and whether it suits the machine.
//!
//! - [`Compression`]: recognized by magic numbers, never by a name.
//! - [`decode`]: the plain bytes, in bounded memory.
//! - [`inspect()`]: whether the first MiB is that of a disk that this machine can start from; pure.

mod compression;
mod inspect;

pub use compression::{Compression, decode};
pub use inspect::{Firmware, Host, inspect, is_archive, refuse_tail, too_large};
