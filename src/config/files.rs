//! The settings of commands that work on a controller's files: which database, and which key.
//!
//! The same names, flags and file as those of `shoal serve`, so that both mean the same database.
//! Invariant: a setting that these commands do not need is neither required nor refused.

use clap::{ArgMatches, Args, Command, FromArgMatches};

use rustls::pki_types::CertificateDer;

use super::database::{database, named_database};
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

/// The same of a command that is given two databases.
#[derive(Clone, Debug, Default)]
pub struct TwoDatabasesArgs(ServeArgs);

/// Two databases with one key.
#[derive(Clone, Debug)]
pub struct TwoDatabases {
    pub from: DatabaseAddress,
    pub to: DatabaseAddress,
    pub master_key: KeySource,
    /// Trusted beside the system's roots.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

impl TwoDatabases {
    /// Each database as in `DB_URL`, or as `@FILE`, which holds that.
    pub fn load(args: TwoDatabasesArgs, from: &str, to: &str) -> Result<TwoDatabases, ConfigError> {
        let values = Values::gather(args.0)?;
        Ok(TwoDatabases {
            from: named_database(&values, "--from", from)?,
            to: named_database(&values, "--to", to)?,
            master_key: master_key(&values)?,
            extra_roots: extra_roots(&values)?,
        })
    }
}

fn is_used(setting: &Setting) -> bool {
    is_used_twice(setting) || matches!(setting.name, "DB_URL" | "DB_URL_FILE")
}

fn is_used_twice(setting: &Setting) -> bool {
    matches!(setting.name, "MASTER_KEY_FILE" | "MASTER_KEY" | "MASTER_KEY_OLD" | "CA_FILE" | "DB_TLS")
}

/// The arguments of a command that has these settings.
macro_rules! settings_args {
    ($args:ident, $is_used:ident) => {
        impl Args for $args {
            fn augment_args(command: Command) -> Command {
                let used = settings::all().filter(|setting| $is_used(setting));
                command.arg(ServeArgs::config_arg()).args(used.map(Setting::arg))
            }

            fn augment_args_for_update(command: Command) -> Command {
                Self::augment_args(command)
            }
        }

        impl FromArgMatches for $args {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok($args(ServeArgs::read(matches, $is_used)))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }
    };
}

settings_args!(FileArgs, is_used);
settings_args!(TwoDatabasesArgs, is_used_twice);
