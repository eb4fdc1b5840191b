//! A root file system as a tar archive, unpacked onto partitions of its own.
//!
//! - [`plan()`]: where the partitions lie.
//! - `volumes`: the disk's new partitions with their file systems.
//! - `tree`: the mounted tree, from the first mount to the last unmount.
//! - `boot`: what makes it start, last of all.
//!
//! The partition table is on the disk from the start, since the kernel mounts partitions of it. Invariant: the EFI
//! system partition stays empty until everything else is complete and on the medium, so no firmware starts half a
//! system.

mod boot;
mod plan;
mod tree;
mod volumes;

pub use boot::{install_loader, require_loader};
pub use plan::plan;
pub use tree::Tree;
pub use volumes::Volumes;

/// A UUID as file systems show it.
fn uuid_text(uuid: [u8; 16]) -> String {
    let digits = shoal_base::hex(&uuid);
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}
