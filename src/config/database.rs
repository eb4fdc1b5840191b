//! Which database a controller uses: `DB_URL` or the file that holds it, and `DB_TLS`.
//!
//! Invariant: no error quotes a URL, which may hold a password.

use std::path::PathBuf;

use super::values::{SettingOrigin, Values};
use super::{ConfigError, parse};
use crate::store::{DatabaseAddress, PostgresAddress};

pub fn database(values: &Values) -> Result<DatabaseAddress, ConfigError> {
    let off = is_clear_allowed(values)?;
    let Some(file) = values.optional("DB_URL_FILE", parse::path)? else {
        return values.required("DB_URL", |text| address(text, off));
    };
    if values.is_given("DB_URL") {
        return Err(ConfigError::Contradiction {
            name: "DB_URL",
            other: "DB_URL_FILE",
            problem: "give the URL itself, or the file that holds it".to_owned(),
        });
    }
    let text = std::fs::read_to_string(&file);
    let text =
        text.map_err(|source| ConfigError::Unreadable { name: "DB_URL_FILE", path: file.clone(), source })?;
    address(text.trim(), off).map_err(|problem| values.invalid("DB_URL_FILE", problem))
}

/// A database that an argument names, itself or by a file that holds it.
pub fn named_database(
    values: &Values,
    name: &'static str,
    text: &str,
) -> Result<DatabaseAddress, ConfigError> {
    let off = is_clear_allowed(values)?;
    let text = match text.strip_prefix('@').map(PathBuf::from) {
        None => text.to_owned(),
        Some(path) => {
            std::fs::read_to_string(&path).map_err(|source| ConfigError::Unreadable { name, path, source })?
        }
    };
    let wrong = |problem| ConfigError::Invalid { name, origin: SettingOrigin::Flag, problem };
    address(text.trim(), off).map_err(wrong)
}

fn is_clear_allowed(values: &Values) -> Result<bool, ConfigError> {
    values.required("DB_TLS", parse::word(&[("verify", false), ("off", true)]))
}

/// The path of an SQLite file, or the URL of a PostgreSQL database.
fn address(text: &str, allow_clear: bool) -> Result<DatabaseAddress, String> {
    if PostgresAddress::is_one(text) {
        let address = PostgresAddress::parse(text, allow_clear).map_err(|error| error.to_string())?;
        return Ok(DatabaseAddress::Postgres(Box::new(address)));
    }
    parse::database_file(text).map(DatabaseAddress::File)
}

/// The same as it may be shown to others.
pub fn shown(text: &str) -> String {
    match PostgresAddress::is_one(text) {
        true => PostgresAddress::parse(text, true).map_or("(set)".to_owned(), |address| address.to_string()),
        false => text.to_owned(),
    }
}
