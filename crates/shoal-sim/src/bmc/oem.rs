//! What a BMC keeps for the resources that only its maker has.
//!
//! The resources are in `redfish::oem`. Invariant: a persona without such a resource leaves its part
//! of this as it began.

use jiff::Timestamp;

/// What a BMC keeps for its maker's own resources.
#[derive(Default)]
pub struct OemState {
    /// The address in the configuration, as it was written.
    pub iso_host: String,
    pub iso_path: String,
    /// What was added to the map.
    pub map_images: Vec<String>,
    /// When the media that were switched on are there.
    pub media_at: Option<Timestamp>,
    /// CD drives that were asked for.
    pub instances: usize,
    /// The word of the override that is armed.
    pub boot_word: Option<&'static str>,
    /// When the host was forced off.
    pub forced_off_at: Option<Timestamp>,
    /// A connection is open that must not be used again.
    pub kept_alive: bool,
}
