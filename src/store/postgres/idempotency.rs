//! The table `idempotency`: which request added which job.

use jiff::Timestamp;

use super::fault::PgFault;
use super::job_rows;
use super::row::{Millis, Word, values};
use super::writer::{PgReader, PgWriter};
use crate::domain::JobId;
use crate::store::{IDEMPOTENCY_TTL, IdempotencyKey, Inserted, StoreError};
use shoal_base::world::after;

pub(super) async fn find(
    reader: &PgReader,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<Option<Inserted>, PgFault> {
    let sql = "SELECT body_sha256, job, at FROM idempotency WHERE key = $1";
    let Some(row) = reader.optional(sql, values![&key.key]).await? else { return Ok(None) };
    let (body, Word(job), Millis(at)): (Vec<u8>, Word<JobId>, Millis) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if after(at, IDEMPOTENCY_TTL) <= now {
        return Ok(None);
    }
    if body != key.body_sha256 {
        return Err(StoreError::IdempotencyConflict.into());
    }
    job_rows::repeated(reader, job).await.map(Some)
}

/// Remembers the key, and forgets those that are older than a day.
pub(super) async fn remember(
    tx: &PgWriter,
    key: &IdempotencyKey,
    job: JobId,
    now: Timestamp,
) -> Result<(), PgFault> {
    let oldest = now.as_millisecond() - IDEMPOTENCY_TTL.as_millis() as i64;
    // One that another controller is removing is left to it.
    let sql = "DELETE FROM idempotency WHERE key IN
        (SELECT key FROM idempotency WHERE at <= $1 FOR UPDATE SKIP LOCKED)";
    tx.execute(sql, values![oldest]).await?;
    let sql = "INSERT INTO idempotency (key, body_sha256, job, at) VALUES ($1, $2, $3, $4)";
    tx.execute(sql, values![&key.key, key.body_sha256, Word(job), Millis(now)]).await.map(drop)
}
