//! What is logged and how: `LOG_LEVEL` and `LOG_FORMAT`, common to all commands.
//!
//! It sets nothing up (that is `cli`). Invariant: a [`LogLevel`] is a list that the log's filter
//! accepts and understands as it was meant.

use std::fmt;
use std::str::FromStr;

use clap::{Args, ValueEnum};

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// error, warn, info, debug, trace or off; finer by module, such as info,shoal_redfish=debug.
    /// [default: info]
    #[arg(long, global = true, env = "LOG_LEVEL", hide_env_values = true, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
    /// [default: text]
    #[arg(long, global = true, env = "LOG_FORMAT", hide_env_values = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

impl LogArgs {
    /// The given settings, else warnings alone: for a command that reports its own progress.
    pub fn or_quiet(self) -> LogSettings {
        let log_level = self.log_level.or_else(|| Some(LogLevel("warn".to_owned())));
        LogArgs { log_level, ..self }.or_default()
    }

    /// What was given, the rest by default.
    pub fn or_default(self) -> LogSettings {
        LogSettings {
            level: self.log_level.unwrap_or_default(),
            format: self.log_format.unwrap_or(LogFormat::Text),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    /// One object a line.
    Json,
}

/// A list of levels, each for everything or for one module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(String);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a log level: use error, warn, info, debug, trace or off, or MODULE=LEVEL")]
pub struct LogLevelError(String);

impl LogLevel {
    /// In the words of the log's filter.
    pub fn directives(&self) -> &str {
        &self.0
    }
}

impl Default for LogLevel {
    fn default() -> LogLevel {
        LogLevel("info".to_owned())
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LogLevel {
    type Err = LogLevelError;

    /// Stricter than the filter itself, which takes a misspelt level for the name of a module.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.trim().to_ascii_lowercase();
        for part in lower.split(',') {
            let (module, level) = part.rsplit_once('=').unwrap_or(("shoal", part));
            let module_ok = module
                .split("::")
                .all(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
            if !module_ok || !["error", "warn", "info", "debug", "trace", "off"].contains(&level) {
                return Err(LogLevelError(part.to_owned()));
            }
        }
        Ok(LogLevel(lower))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_refused() {
        for good in ["info", "DEBUG", "info,shoal_redfish=trace", "off"] {
            assert!(good.parse::<LogLevel>().is_ok(), "{good}");
        }
        for bad in ["", "infoo", "info,", "shoal=verbose", "=info", "a b=info"] {
            assert!(bad.parse::<LogLevel>().is_err(), "{bad}");
        }
    }
}
