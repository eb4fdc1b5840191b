//! Which database a controller uses: `DB_URL` or the file that holds it, and `DB_TLS`.
//!
//! Invariant: no error quotes a URL, which may hold a password.

use super::values::Values;
use super::{ConfigError, parse};
use crate::store::{DatabaseAddress, PostgresAddress};

/// The names of the settings here.
pub const DATABASE_SETTINGS: [&str; 3] = ["DB_URL", "DB_URL_FILE", "DB_TLS"];

pub fn database(values: &Values) -> Result<DatabaseAddress, ConfigError> {
    let off = values.required("DB_TLS", parse::word(&[("verify", false), ("off", true)]))?;
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
