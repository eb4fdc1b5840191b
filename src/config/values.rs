//! Where each value came from: flag before environment before file before default.
//!
//! It knows texts only; what they mean is `config`'s. Invariant: every error names its setting, and
//! none quotes a value, which may be a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::settings::{self, setting};
use shoal_base::Password;

/// What stops the start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{name} ({origin}): {problem}")]
    Invalid { name: &'static str, origin: SettingOrigin, problem: String },
    #[error("{name} contradicts {other}: {problem}")]
    Contradiction { name: &'static str, other: &'static str, problem: String },
    #[error("{name}: cannot read {}", .path.display())]
    Unreadable {
        name: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}:{line}: {problem}", .path.display())]
    File { path: PathBuf, line: usize, problem: String },
    #[error("{}: unknown setting `{key}`; the nearest known one is `{nearest}`", .path.display())]
    UnknownKey { path: PathBuf, key: String, nearest: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingOrigin {
    Flag,
    Environment,
    File(PathBuf),
    Default,
}

impl fmt::Display for SettingOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingOrigin::Flag => f.write_str("from the command line"),
            SettingOrigin::Environment => f.write_str("from the environment"),
            SettingOrigin::File(path) => write!(f, "from {}", path.display()),
            SettingOrigin::Default => f.write_str("by default"),
        }
    }
}

/// The arguments of `shoal serve` as typed, the environment included.
#[derive(Clone, Default)]
pub struct ServeArgs {
    file: Option<PathBuf>,
    values: BTreeMap<&'static str, (String, SettingOrigin)>,
}

impl fmt::Debug for ServeArgs {
    /// Without the values: some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeArgs").field("file", &self.file).finish_non_exhaustive()
    }
}

const CONFIG_FLAG: &str = "config";

impl ServeArgs {
    pub fn config_arg() -> Arg {
        Arg::new(CONFIG_FLAG)
            .long(CONFIG_FLAG)
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("TOML file with settings, each under its name in lower case; flags and environment win")
    }

    /// Without flags: the environment, and the defaults.
    #[expect(clippy::disallowed_methods, reason = "config reads the environment")]
    pub fn of_environment(file: Option<PathBuf>) -> ServeArgs {
        let value = |setting: &settings::Setting| match std::env::var(setting.name) {
            Ok(text) => Some((setting.name, (text, SettingOrigin::Environment))),
            Err(_) => Some((setting.name, (setting.default?.to_owned(), SettingOrigin::Default))),
        };
        ServeArgs { file, values: settings::all().filter_map(value).collect() }
    }

    /// Those of the settings that are `wanted`; a command has no others.
    pub fn read(matches: &ArgMatches, wanted: impl Fn(&settings::Setting) -> bool) -> ServeArgs {
        let value = |name: &'static str| {
            let text = matches.get_one::<String>(name)?.clone();
            let origin = match matches.value_source(name)? {
                ValueSource::CommandLine => SettingOrigin::Flag,
                ValueSource::EnvVariable => SettingOrigin::Environment,
                _ => SettingOrigin::Default,
            };
            Some((name, (text, origin)))
        };
        let wanted = settings::all().filter(|setting| wanted(setting));
        ServeArgs {
            file: matches.get_one::<PathBuf>(CONFIG_FLAG).cloned(),
            values: wanted.filter_map(|setting| value(setting.name)).collect(),
        }
    }
}

impl Args for ServeArgs {
    fn augment_args(command: Command) -> Command {
        command.arg(ServeArgs::config_arg()).args(settings::all().map(settings::Setting::arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ServeArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(ServeArgs::read(matches, |_| true))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The texts of all settings, each from the highest place that gives one.
pub struct Values {
    values: BTreeMap<&'static str, (String, SettingOrigin)>,
    /// From the file: `log_level` and `log_format`, which are not in the table.
    pub log: BTreeMap<&'static str, (String, SettingOrigin)>,
    /// Where systemd put the credentials of this service, if it did.
    pub credentials: Option<PathBuf>,
    /// The variables that passwords of BMCs may be in.
    pub secrets: BTreeMap<String, Password>,
}

pub const LOG_NAMES: [&str; 2] = ["LOG_LEVEL", "LOG_FORMAT"];

impl Values {
    /// Reads the file that `args` name, and puts its values below theirs.
    pub fn gather(args: ServeArgs) -> Result<Values, ConfigError> {
        let credentials = super::credentials_directory();
        let mut values = Values {
            values: args.values,
            log: BTreeMap::new(),
            credentials,
            secrets: super::secret_variables(),
        };
        if let Some(path) = args.file {
            let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Unreadable {
                name: "--config",
                path: path.clone(),
                source,
            })?;
            values.add_file(&path, &text)?;
        }
        Ok(values)
    }

    /// The defaults, and what `given` says instead.
    pub fn given(given: &[(&'static str, String)]) -> Values {
        let default = |setting: &'static settings::Setting| {
            Some((setting.name, (setting.default?.to_owned(), SettingOrigin::Default)))
        };
        let mut values: BTreeMap<_, _> = settings::all().filter_map(default).collect();
        for (name, text) in given {
            values.insert(setting(name).name, (text.clone(), SettingOrigin::Flag));
        }
        Values { values, log: BTreeMap::new(), credentials: None, secrets: BTreeMap::new() }
    }

    fn add_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = text.parse().map_err(|error| unparsable(path, text, &error))?;
        for (key, value) in &table {
            let name = known_name(path, key)?;
            let origin = SettingOrigin::File(path.to_owned());
            let text = value_text(value).ok_or_else(|| ConfigError::Invalid {
                name,
                origin: origin.clone(),
                problem: "must be a string, a number, true, false, or a list of strings".to_owned(),
            })?;
            if LOG_NAMES.contains(&name) {
                self.log.insert(name, (text, origin));
            } else if self.values.get(name).is_none_or(|(_, origin)| *origin == SettingOrigin::Default) {
                self.values.insert(name, (text, origin));
            }
        }
        Ok(())
    }

    /// The text of a setting as it was given, and where.
    pub fn raw(&self, name: &'static str) -> Option<&(String, SettingOrigin)> {
        self.values.get(name)
    }

    /// The text of a setting, if there is one. A value that is there but empty is refused, since it
    /// is more often a variable that failed to expand than a wish.
    pub fn text(&self, name: &'static str) -> Result<Option<&str>, ConfigError> {
        match self.values.get(setting(name).name) {
            Some((text, _)) if text.trim().is_empty() => {
                Err(self.invalid(name, "is empty: give a value, or unset it"))
            }
            Some((text, _)) => Ok(Some(text.as_str())),
            None => Ok(None),
        }
    }

    /// The value of a setting, if there is one, read by `parse`.
    pub fn optional<T, E: fmt::Display>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ConfigError> {
        let text = self.text(name)?;
        text.map(|text| parse(text).map_err(|error| self.invalid(name, error.to_string()))).transpose()
    }

    /// The value of a setting that has a default.
    pub fn required<T, E: fmt::Display>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, ConfigError> {
        let value = self.optional(name, parse)?;
        value.ok_or_else(|| self.invalid(name, "is missing"))
    }

    /// Whether an operator gave this setting, rather than the table.
    pub fn is_given(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|(_, origin)| *origin != SettingOrigin::Default)
    }

    pub fn invalid(&self, name: &'static str, problem: impl Into<String>) -> ConfigError {
        let origin = self.values.get(name).map_or(SettingOrigin::Default, |(_, origin)| origin.clone());
        ConfigError::Invalid { name, origin, problem: problem.into() }
    }
}

/// The parser's own message would quote the line, and the line may hold a secret.
fn unparsable(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().map_or(0, |span| span.start).min(text.len());
    let line = text.as_bytes()[..before].iter().filter(|byte| **byte == b'\n').count() + 1;
    ConfigError::File { path: path.to_owned(), line, problem: error.message().to_owned() }
}

fn known_name(path: &Path, key: &str) -> Result<&'static str, ConfigError> {
    let names = || settings::all().map(|setting| setting.name).chain(LOG_NAMES);
    let of_key = |name: &&str| name.to_ascii_lowercase() == key;
    names().find(of_key).ok_or_else(|| {
        let keys: Vec<String> = names().map(str::to_ascii_lowercase).collect();
        let nearest = shoal_base::nearest(key, keys.iter().map(String::as_str)).unwrap_or_default();
        ConfigError::UnknownKey {
            path: path.to_owned(),
            key: key.chars().take(40).collect(),
            nearest: nearest.to_owned(),
        }
    })
}

/// The text that a flag would have had.
fn value_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(value) => Some(value.to_string()),
        toml::Value::Array(items) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            Some(texts.collect::<Option<Vec<_>>>()?.join(","))
        }
        _ => None,
    }
}
