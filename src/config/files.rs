//! The settings of commands that work on a controller's files: which database, and which key.
//!
//! The same names, flags and file as those of `shoal serve`, so that both mean the same database.
//! Invariant: a setting that these commands do not need is neither required nor refused.

use clap::{ArgMatches, Args, Command, FromArgMatches};

use rustls::pki_types::CertificateDer;

use super::database::{DATABASE_SETTINGS, database};
use super::settings::{self, Setting};
use super::values::{ServeArgs, Values};
use super::{ConfigError, extra_roots, master_key};
use crate::seal::KeySource;
use crate::store::DatabaseAddress;

/// As typed, the environment included.
#[derive(Clone, Debug, Default)]
pub struct FileArgs(ServeArgs);

/// Where a controller's database and its key are.
#[derive(Clone, Debug)]
pub struct FileSettings {
    pub database: DatabaseAddress,
    pub master_key: KeySource,
    /// Trusted beside the system's roots.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

impl FileSettings {
    /// Reads the file that `args` name, if they name one.
    pub fn load(args: FileArgs) -> Result<FileSettings, ConfigError> {
        let values = Values::gather(args.0)?;
        Ok(FileSettings {
            database: database(&values)?,
            master_key: master_key(&values)?,
            extra_roots: extra_roots(&values)?,
        })
    }
}

fn is_used(setting: &Setting) -> bool {
    let is_key = matches!(setting.name, "MASTER_KEY_FILE" | "MASTER_KEY" | "MASTER_KEY_OLD");
    is_key || setting.name == "CA_FILE" || DATABASE_SETTINGS.contains(&setting.name)
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
