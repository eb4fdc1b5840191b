//! What every other crate of the project stands on.
//!
//! - [`world`]: the three doors, clock, randomness and outbound HTTP; how a peer's TLS certificate is judged.
//! - [`Password`]: a secret that cannot be printed; [`UrlSecrets`]: secrets within URLs, hidden from texts.
//! - [`UrlPrefixes`]: which URLs may be named; [`is_loopback`]: which stay on this machine.
//! - [`with_causes()`]: an error and what is behind it, as a sentence.
//! - [`visible()`]: text of others, made safe to print; [`hex()`]: bytes as digits.
//! - [`Seats`]: limits how many of something are open, in total and per holder.
//! - [`nearest()`]: which of several names was most likely meant.
//!
//! Nothing here knows servers, jobs, images or Redfish.

mod causes;
mod hex;
mod loopback;
mod nearest;
mod prefixes;
mod redact;
mod seats;
mod secret;
mod visible;
pub mod world;

pub use causes::{root_cause, with_causes};
pub use hex::{hex, unhex};
pub use loopback::is_loopback;
pub use nearest::nearest;
pub use prefixes::{UrlPrefixError, UrlPrefixes};
pub use redact::{UrlSecrets, hide_media_tokens, hide_url_secrets};
pub use seats::{NoSeat, Seat, Seats};
pub use secret::Password;
pub use visible::{is_visible, visible, visible_lines};
