//! The log: `tracing` to standard error, as text or as JSON.
//!
//! Invariant: set up once, before a command does anything worth a line.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogSettings};

/// A log is set up already.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the log")]
pub struct LoggingError(#[source] Box<dyn std::error::Error + Send + Sync>);

pub fn init(settings: &LogSettings) -> Result<(), LoggingError> {
    let filter = EnvFilter::new(settings.level.directives());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    }
    .map_err(LoggingError)
}
