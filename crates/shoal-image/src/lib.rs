//! Images of CDs and USB sticks as bytes.
//!
//! - [`iso`]: ISO 9660 images: reads them, changes them without a copy, writes task ISOs.
//! - [`fat`]: the kickstart as the image of a USB stick.
//! - [`task_medium`]: the files of a maintenance system's job, on an ISO of their own or on that system's.
//! - [`installer`]: the vendor's ESXi ISO: recognised, and made to boot unattended.
//!
//! Pure: no file, no clock, no network; the owner of an image implements [`iso::ReadAt`] for it. It knows
//! neither jobs nor BMCs.

pub mod fat;
pub mod installer;
pub mod iso;
pub mod task_medium;
