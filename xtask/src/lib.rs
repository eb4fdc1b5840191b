//! What the chores share with the project's tests: the source as rules see it.
//!
//! The chores themselves are the binary's own modules.

pub mod source;
