//! What can go wrong within one call, before it is known what was being done and in which database.
//!
//! It never leaves the engine. Invariant: no error holds a column's content, sealed or not, and none holds the password
//! of the database. Details that the server adds to a message are left out: they quote rows.

use std::error::Error;

use shoal_base::with_causes;
use tokio_postgres::error::SqlState;

use crate::store::{StoreError, StoreErrorKind};

/// An error without the place where it happened.
#[derive(Debug)]
pub(super) enum PgFault {
    /// The server refused a statement.
    Server {
        code: SqlState,
        message: String,
    },
    /// No connection could be made, or it was lost.
    Connection {
        message: String,
    },
    Row {
        row: String,
        source: Box<dyn Error + Send + Sync>,
    },
    Refused(StoreError),
}

/// What the source of a [`StoreError`] says.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct DatabaseMessage(String);

impl PgFault {
    pub fn row(row: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> PgFault {
        PgFault::Row { row: row.into(), source: source.into() }
    }

    /// A column of `row` that does not read, unless it is the server or the connection that failed.
    pub fn in_row(row: impl Into<String>, error: tokio_postgres::Error) -> PgFault {
        match error.source() {
            Some(_) if error.as_db_error().is_none() && is_conversion(&error) => {
                let source: Box<dyn Error + Send + Sync> = match error.into_source() {
                    Some(source) => source,
                    None => "it does not read".into(),
                };
                PgFault::row(row, source)
            }
            _ => error.into(),
        }
    }

    /// Another transaction was in the way: the same again may succeed.
    pub fn is_conflict(&self) -> bool {
        let PgFault::Server { code, .. } = self else { return false };
        [&SqlState::T_R_SERIALIZATION_FAILURE, &SqlState::T_R_DEADLOCK_DETECTED, &SqlState::UNIQUE_VIOLATION]
            .contains(&code)
    }

    /// The server was not reached, or ended the connection: another connection may work.
    pub fn is_lost(&self) -> bool {
        match self {
            PgFault::Connection { .. } => true,
            PgFault::Server { code, .. } => {
                let code = code.code();
                // Connection exceptions, an administrator's or a crash's end, a read-only standby that was promoted
                // over, and a transaction that idled for too long.
                code.starts_with("08")
                    || code.starts_with("57P")
                    || matches!(code, "25006" | "25P03" | "25P04")
            }
            PgFault::Row { .. } | PgFault::Refused(_) => false,
        }
    }

    pub fn at(self, doing: &'static str, database: &str) -> StoreError {
        let database = database.to_owned();
        match self {
            PgFault::Server { code, message } => StoreError::Database {
                doing,
                database,
                kind: server_kind(&code),
                source: DatabaseMessage(explained(&code, message)).into(),
            },
            PgFault::Connection { message } => StoreError::Database {
                doing,
                database,
                kind: StoreErrorKind::Unavailable,
                source: DatabaseMessage(message).into(),
            },
            PgFault::Row { row, source } => StoreError::Row { doing, database, row, source },
            PgFault::Refused(error) => error,
        }
    }
}

/// Whether a column's content is at fault, and not the server or the connection.
fn is_conversion(error: &tokio_postgres::Error) -> bool {
    error.to_string().starts_with("error deserializing column")
}

impl From<tokio_postgres::Error> for PgFault {
    fn from(error: tokio_postgres::Error) -> PgFault {
        if is_conversion(&error) {
            return PgFault::row("a row", error.into_source().unwrap_or_else(|| "it does not read".into()));
        }
        match error.as_db_error() {
            Some(server) => {
                PgFault::Server { code: server.code().clone(), message: server.message().to_owned() }
            }
            None => PgFault::Connection { message: lost_because(&error) },
        }
    }
}

impl From<StoreError> for PgFault {
    fn from(error: StoreError) -> PgFault {
        PgFault::Refused(error)
    }
}

/// What is wrong with a connection, and what to do where that is known.
fn lost_because(error: &tokio_postgres::Error) -> String {
    let mut text = with_causes(error);
    if text.contains("database does not allow writes") {
        text += " (a read-only standby): name the primary in DB_URL, or all servers of the cluster, of which the one \
                 that takes writes is chosen";
    }
    text
}

fn server_kind(code: &SqlState) -> StoreErrorKind {
    match code.code() {
        "53100" => StoreErrorKind::Full,
        "25006" => StoreErrorKind::ReadOnly,
        "XX001" | "XX002" => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Unavailable,
    }
}

/// What the server said, and what to do about it.
fn explained(code: &SqlState, message: String) -> String {
    let remedy = match code.code() {
        "28P01" => "correct the user or the password in DB_URL (or DB_URL_FILE)",
        "28000" => "the server does not admit this user from here: see pg_hba.conf, or correct DB_URL",
        "3D000" => {
            "create it with `CREATE DATABASE … OWNER … ENCODING 'UTF8' TEMPLATE template0`, or correct DB_URL"
        }
        "42501" => "the user needs all rights on the database: make it the owner",
        "53300" => "raise max_connections of the server, or put PgBouncer in front",
        "57P03" => "the server is starting or stopping; it is tried again",
        "25006" => "the server is a read-only standby: name all servers of the cluster in DB_URL",
        "53100" => "free space on the server's disk",
        _ => return format!("{message} (SQLSTATE {})", code.code()),
    };
    format!("{message} (SQLSTATE {}): {remedy}", code.code())
}
