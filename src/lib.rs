//! Shoal installs VMware ESXi on bare-metal servers, unattended, through nothing but their BMCs.
//!
//! The modules, in reading order:
//!
//! - [`world`]: the three doors, clock, randomness and outbound HTTP.
//! - [`job`]: the domain. What an operator asks for, what a job is, what became of it. Pure.
//! - [`workflow`]: how one job goes forward, step by step.

pub mod job;
pub mod workflow;
pub mod world;
