//! The machine's disks, and the choice of one.
//!
//! - [`Disk`]: what is known of one; [`choose()`]: exactly one by the recipe's hints; both pure.
//! - [`list`]: reads them from sysfs.
//! - [`foreign`]: what is on one already.
//!
//! Invariant: a disk that is removable, read-only, in use or the task medium is never chosen.

mod choose;
mod foreign;
mod sysfs;

pub use choose::{choose, has_match};
pub use foreign::find_foreign;
pub use sysfs::list;

use std::fmt;

use shoal_recipe::Transport;

/// One disk of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// The kernel's name, such as `sda`.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// Bytes of a logical sector.
    pub sector: u32,
    pub model: String,
    pub vendor: String,
    pub serial: String,
    pub wwn: String,
    /// As udev names it, without the folder.
    pub by_path: Option<String>,
    pub by_ids: Vec<String>,
    pub hctl: Option<String>,
    pub transport: Option<Transport>,
    pub is_rotational: bool,
    /// Why it cannot be the target, if it cannot.
    pub unusable: Option<String>,
}

impl fmt::Display for Disk {
    /// One line by which an operator recognizes the disk.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} GB", self.name, self.size / 1_000_000_000)?;
        let transport = self.transport.map(Transport::name).unwrap_or_default();
        let by_path = self.by_path.as_deref().unwrap_or_default();
        let parts = [
            ("", transport),
            ("model ", self.model.as_str()),
            ("serial ", self.serial.as_str()),
            ("WWN ", self.wwn.as_str()),
            ("by-path ", by_path),
        ];
        for (label, value) in parts.into_iter().filter(|(_, value)| !value.is_empty()) {
            write!(f, ", {label}{value}")?;
        }
        match &self.unusable {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}
