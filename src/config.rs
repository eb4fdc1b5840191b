//! Settings: flags, environment and file become one validated value.
//!
//! The only module that reads the environment. Invariant: a value that cannot be parsed, or that
//! contradicts another, is an error that names its setting; nothing falls back silently.

mod log;

pub use log::{LogArgs, LogFormat, LogLevel, LogLevelError, LogSettings};
