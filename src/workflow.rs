//! How one job goes forward.

pub mod detect;
pub mod plan;
pub mod policy;
