//! The settings of commands that work on a controller's files: which database, and which key.
//!
//! The same names, flags and file as those of `shoal serve`, so that both mean the same database.
//! Invariant: a setting that these commands do not need is neither required nor refused.

use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::settings::{self, Setting};
use super::values::{ServeArgs, Values};
use super::{ConfigError, master_key, parse};
use crate::seal::KeySource;

/// As typed, the environment included.
#[derive(Clone, Debug, Default)]
pub struct FileArgs(ServeArgs);

/// Where a controller's database and its key are.
#[derive(Clone, Debug)]
pub struct FileSettings {
    pub database: PathBuf,
    pub master_key: KeySource,
}

impl FileSettings {
    /// Reads the file that `args` name, if they name one.
    pub fn load(args: FileArgs) -> Result<FileSettings, ConfigError> {
        let values = Values::gather(args.0)?;
        Ok(FileSettings {
            database: values.required("DB_URL", parse::database)?,
            master_key: master_key(&values)?,
        })
    }
}

fn is_used(setting: &Setting) -> bool {
    matches!(setting.name, "DB_URL" | "MASTER_KEY_FILE" | "MASTER_KEY" | "MASTER_KEY_OLD")
}

impl Args for FileArgs {
    fn augment_args(command: Command) -> Command {
        let used = settings::all().filter(|setting| is_used(setting));
        command.arg(ServeArgs::config_arg()).args(used.map(Setting::arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FileArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(FileArgs(ServeArgs::read(matches, is_used)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
