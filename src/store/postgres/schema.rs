//! The tables, as a list of migrations.
//!
//! A migration that has been released is never edited: what changes is a new entry at the end, and it only adds, so that
//! a controller of the release before goes on running while its successor starts. All that are missing are applied in one
//! transaction under a lock, so several controllers may start at the same time. Invariant: a crash leaves the schema as
//! it was or as this release needs it.
//!
//! Times are milliseconds since 1970, enums the words of their serde form, JSON is text, and what must stay secret is a
//! sealed `bytea`. Texts sort by their bytes, as in Rust. Leases have a narrow table of their own: they are renewed
//! every few seconds, and each renewal leaves a dead row behind.

use super::fault::PgFault;
use super::row::Count;
use super::writer::PgWriter;
use crate::store::StoreError;

/// Of the database, counted in migrations.
pub const POSTGRES_SCHEMA_VERSION: usize = MIGRATIONS.len();

const MIGRATIONS: [&str; 1] = [include_str!("schema/version_1.sql")];

/// Every table, those first to which others refer.
pub(super) const TABLES: [&str; 25] = [
    "meta",
    "servers",
    "batches",
    "jobs",
    "leases",
    "recipes",
    "job_labels",
    "events",
    "traces",
    "idempotency",
    "hook_reports",
    "bmc_memories",
    "tokens",
    "audit",
    "audit_start",
    "keys",
    "secrets",
    "resealing",
    "task_reports",
    "deliveries",
    "hardware",
    "batch_rows",
    "notifications",
    "ended_sessions",
    "probes",
];

/// Brings the database up to this version's schema; refuses one that is newer.
pub(super) async fn migrate(tx: &PgWriter, database: &str) -> Result<(), PgFault> {
    let found = version(tx).await?;
    let known = MIGRATIONS.len() as u64;
    if found > known {
        let (found, known) = (found as i64, known as i64);
        return Err(StoreError::Newer { database: database.to_owned(), found, known }.into());
    }
    for migration in &MIGRATIONS[found as usize..] {
        tx.batch(migration).await?;
    }
    if found < known {
        tx.batch(&format!("UPDATE schema_version SET version = {known}")).await?;
    }
    Ok(())
}

/// How many migrations were applied; in a database that has none, the table that counts them is made.
async fn version(tx: &PgWriter) -> Result<u64, PgFault> {
    let found = tx.one("SELECT to_regclass('schema_version') IS NOT NULL", &[]).await?;
    if !found.try_get::<_, bool>(0)? {
        tx.batch(
            "CREATE TABLE schema_version (version bigint NOT NULL); INSERT INTO schema_version VALUES (0)",
        )
        .await?;
    }
    let row = tx.one("SELECT version FROM schema_version", &[]).await?;
    Ok(row.try_get::<_, Count>(0)?.0)
}
