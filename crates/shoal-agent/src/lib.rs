//! The agent of the maintenance system: writes a disk image to a server's disk and reports.
//!
//! In the order in which an installation meets them:
//!
//! - [`init`]: what the first process of a system owes it: file systems, drivers, consoles, the end.
//! - [`run`]: one installation, step by step; everything else serves it.
//! - `medium`, `identity`: the task medium, and whether it is for this machine.
//! - `devices`: waits for disks and network cards.
//! - `network`, `http`, `report`: the way to the controller.
//! - `disk`: the machine's disks, the choice of one, what is on it.
//! - `image`, `pipeline`: what an image is, and its plain bytes in constant memory.
//! - `table`, `esp`, `nvram`: partition table, boot loaders, boot entries.
//! - `writer`: writes so that the disk starts the whole image or nothing.
//! - `seed`, `windows`: data for the first boot.
//! - `rootfs`: a root file system in place of an image of a disk.
//!
//! It knows no Redfish and no controller, only the recipe and the report of `shoal_recipe`. What it touches of the
//! system goes through [`Machine`]. Threads and sleeps are real: there is no simulated time in here.

mod block;
mod devices;
mod disk;
mod esp;
mod failure;
mod http;
mod identity;
mod image;
pub mod init;
mod install;
mod log;
mod machine;
mod medium;
mod network;
mod nvram;
mod pipeline;
mod report;
mod rootfs;
mod seed;
mod table;
#[cfg(test)]
mod testing;
mod windows;
mod writer;

pub use failure::{Failure, panic_text};
pub use http::{Client, Web};
pub use install::run;
pub use log::Log;
pub use machine::{Machine, Programs};
