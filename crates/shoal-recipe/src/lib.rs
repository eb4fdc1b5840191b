//! What the controller and the agent of the maintenance system exchange.
//!
//! - [`Recipe`]: a Linux or Windows installation as an operator submits it.
//! - [`TaskRecipe`]: the same as the controller resolved it, `/recipe.json` of the task medium.
//! - [`Report`]: what the agent posts to the job's webhook.
//!
//! Pure: text in, values out. Parsers are strict and report all faults together, each with a JSON pointer and a
//! remedy. Invariant: no fault quotes user data, answer files, URLs or tokens.

mod disk;
mod fault;
mod hash;
mod image;
mod layout;
mod network;
mod reader;
mod report;
mod size;
mod submitted;
mod target;
mod task;

pub use disk::{DiskHints, DiskSelector, Transport, normalize_wwn};
pub use fault::{Fault, RecipeFaults};
pub use hash::Sha256;
pub use image::{Image, ImageLocation, ImageName, ImageSource, OciReference, OciVersion};
pub use layout::{Layout, LayoutPartition, PartitionFormat, PartitionSize, TypeGuid};
pub use network::{Network, StaticNetwork};
pub use report::{
    FailedStep, REPORT_LOG_BYTES_MAX, REPORT_TRIES, REPORT_TRIES_UNREACHED, Report, ReportStatus,
    report_pause,
};
pub use size::parse_size;
pub use submitted::{Completion, Recipe, TEXT_BYTES_MAX};
pub use target::{Target, Verify};
pub use task::{
    FAILURE_FILE, FIRST_BOOT_FILES, Identity, Job, RECIPE_FILE, STARTED_FILE, SUCCESS_FILE, TaskImage,
    TaskImageLocation, TaskRecipe, UNATTEND_FILE,
};
