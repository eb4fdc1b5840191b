//! The table `idempotency`: which request added which job.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use super::fault::Fault;
use super::job_rows;
use super::row::{Millis, Word};
use super::{Reader, Writer};
use crate::domain::JobId;
use crate::store::{IDEMPOTENCY_TTL, IdempotencyKey, Inserted, StoreError};
use shoal_base::world::after;

pub(super) fn find(
    reader: &Reader<'_>,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<Option<Inserted>, Fault> {
    let mut statement =
        reader.prepare_cached("SELECT body_sha256, job, at FROM idempotency WHERE key = ?1")?;
    let found = statement
        .query_row([&key.key], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Word<JobId>>(1)?.0, row.get::<_, Millis>(2)?.0))
        })
        .optional()?;
    match found {
        Some((_, _, at)) if after(at, IDEMPOTENCY_TTL) <= now => Ok(None),
        Some((body, _, _)) if body != key.body_sha256 => Err(StoreError::IdempotencyConflict.into()),
        Some((_, job, _)) => job_rows::repeated(reader, job).map(Some),
        None => Ok(None),
    }
}

/// Remembers the key, and forgets those that are older than a day.
pub(super) fn remember(
    writer: &Writer<'_>,
    key: &IdempotencyKey,
    job: JobId,
    now: Timestamp,
) -> Result<(), Fault> {
    let oldest = now.as_millisecond() - IDEMPOTENCY_TTL.as_millis() as i64;
    writer.prepare_cached("DELETE FROM idempotency WHERE at <= ?1")?.execute([oldest])?;
    let sql = "INSERT INTO idempotency (key, body_sha256, job, at) VALUES (?1, ?2, ?3, ?4)";
    writer.prepare_cached(sql)?.execute(params![key.key, key.body_sha256, Word(job), Millis(now)])?;
    Ok(())
}
