//! Shoal installs VMware ESXi on bare-metal servers, unattended, through nothing but their BMCs.
//!
//! The modules, in reading order:
//!
//! - [`world`]: the three doors, clock, randomness and outbound HTTP.
//! - [`job`]: the domain. What an operator asks for, what a job is, what became of it. Pure.

pub mod job;
pub mod world;
