//! How one job goes forward.

pub mod policy;
