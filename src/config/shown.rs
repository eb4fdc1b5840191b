//! Settings as they may be shown to others: for `shoal support-bundle`.
//!
//! Read from the same file and variables as those of `shoal serve`. Invariant: of a secret no more is shown than that it
//! is set.

use std::path::PathBuf;

use clap::Args;

use super::ConfigError;
use super::values::{ServeArgs, Values};
use super::{database, settings};

/// Where the settings of this machine's controller are, beside the environment.
#[derive(Clone, Debug, Args)]
pub struct ShownArgs {
    /// The controller's settings, as `shoal serve --config` has them.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A setting that has a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSetting {
    pub name: &'static str,
    pub value: String,
    /// Where it is set.
    pub origin: String,
}

const HIDDEN: &str = "(set)";

impl ShownArgs {
    /// The settings in the order of the table. Values are not validated.
    pub fn settings(self) -> Result<Vec<ShownSetting>, ConfigError> {
        let values = Values::gather(ServeArgs::of_environment(self.config))?;
        let shown = settings::all().filter_map(|setting| {
            let (text, origin) = values.raw(setting.name)?;
            let value = match setting.name {
                _ if setting.is_secret() => HIDDEN.to_owned(),
                "DB_URL" => database::shown(text),
                _ => text.to_owned(),
            };
            Some(ShownSetting { name: setting.name, value, origin: origin.to_string() })
        });
        Ok(shown.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_like_a_secret_is_one_or_a_place() {
        for setting in settings::all() {
            let is_named_so =
                ["SECRET", "TOKEN", "MASTER_KEY", "PASSWORD"].iter().any(|part| setting.name.contains(part));
            let is_place = ["FILE", "DIR", "HOST[:PORT],…"].contains(&setting.value);
            assert_eq!(setting.is_secret(), is_named_so && !is_place, "{}", setting.name);
        }
    }
}
