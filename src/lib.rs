//! Shoal installs VMware ESXi on bare-metal servers, unattended, through nothing but their BMCs.
//!
//! The modules, in reading order:
//!
//! - [`cli`]: one file a subcommand; the only opener of listeners.
//! - [`config`]: flags, environment and file become one validated value.
//! - [`api`]: routes and public JSON, one resource a file.
//! - [`ui`]: the web interface: pages over the API's own routes.
//! - [`access`]: who may do what: roles and tokens. Pure.
//! - [`oidc`]: signed tokens of an identity provider.
//! - [`domain`]: what an operator requests, what a job is, what became of it. Pure.
//! - [`store`]: the database: servers, jobs, events, leases. The only module that knows SQL.
//! - [`flow`]: how one job goes forward: the steps that all paths share, and what drives them.
//! - [`paths`]: what each way of installing adds: ESXi's media, its watch over the installer, its judge.
//! - [`engine`]: claims due jobs and drives them; knows no step.
//! - [`doctor`]: can a server be installed through its BMC, and what stands in the way?
//! - [`release`]: frees a server's virtual drives and boot override, without a job.
//! - [`media`]: the images that BMCs read: an installer cache, a server of byte ranges, and what the reads
//!   show of the host.
//! - [`registry`]: images in OCI registries: what a reference stands for, and the bytes of its one layer.
//! - [`seal`]: secrets at rest; [`token`]: unguessable tokens in URLs.
//!
//! The crates beside this one, of which none knows a job:
//!
//! - [`shoal_base`]: the three doors (clock, randomness, outbound HTTP), secrets, URLs.
//! - [`shoal_image`]: ISO 9660 and FAT images as bytes, and the vendor's ESXi installer. Pure.
//! - [`shoal_kickstart`]: kickstarts as text: reads and judges them. Pure.
//! - [`shoal_redfish`]: a lenient Redfish client for what an installation needs.
//! - [`shoal_sim`]: simulated servers, whose guests boot and install from what their BMCs were given.

pub mod access;
pub mod api;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod domain;
pub mod engine;
pub mod flow;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod media;
pub mod oidc;
pub mod paths;
pub mod problem;
pub mod registry;
pub mod release;
pub mod seal;
pub mod store;
pub mod token;
pub mod ui;
