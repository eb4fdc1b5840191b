//! What the chores share with the project's tests: the source as rules see it, and a database server.
//!
//! The chores themselves are the binary's own modules.

pub mod postgres;
pub mod source;
