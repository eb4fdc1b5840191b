//! The tables `batches` and `batch_rows`.
//!
//! A transaction that plans or changes a batch locks its row; a claim passes over a batch that another controller is planning.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::fault::PgFault;
use super::row::{Count, Json, Millis, Stored, Word, values};
use super::writer::{DatabaseLock, PgReader, PgWriter};
use super::{Postgres, jobs, notifications};
use crate::domain::{
    BatchEnd, BatchId, BatchLimits, BatchPlan, BatchStatus, Cancel, Cursor, Facts, JobId, PlannedRow,
    RowState, Status, plan_batch,
};
use crate::store::recipes::SealedRecipe;
use crate::store::{
    BATCH_ROWS_MAX, Batch, BatchChange, BatchOutcome, BatchRow, BatchStore, IDEMPOTENCY_TTL, IdempotencyKey,
    InsertedBatch, NewBatch, NewJob, NotificationSubject, PAGE_MAX, RowCounts, StoreError, StoreFuture,
};
use shoal_base::world::after;

impl BatchStore for Postgres {
    fn insert_batch(&self, new: NewBatch, key: Option<IdempotencyKey>) -> StoreFuture<InsertedBatch> {
        let recipes = self.sealed(&new.jobs);
        let given = (self.clone(), new, recipes, key);
        self.write("adding a batch", given, |tx, (store, new, recipes, key)| {
            async move {
                if let Some(key) = key {
                    tx.lock_named(DatabaseLock::Requests, &key.key).await?;
                    if let Some(batch) = repeated(tx, key, new.created_at).await? {
                        return Ok(InsertedBatch::Repeated(batch));
                    }
                }
                insert(tx, new, key.as_ref()).await?;
                for (number, (job, recipe)) in new.jobs.iter().zip(recipes).enumerate() {
                    let mut labels = jobs::insert_held(tx, store, new.id, job, recipe).await?;
                    labels.retain(|name, _| new.limits.labels().any(|known| known == name));
                    let sql = "INSERT INTO batch_rows (batch, number, server, job, attempts, labels)
                        VALUES ($1, $2, $3, $4, 1, $5)";
                    let number = Count(number as u64);
                    let values = values![Word(new.id), number, Word(&job.server), Word(job.id), Json(labels)];
                    tx.execute(sql, values).await?;
                }
                Ok(InsertedBatch::New(existing(tx, new.id).await?))
            }
            .boxed()
        })
    }

    fn repeated_batch(&self, key: &IdempotencyKey, now: Timestamp) -> StoreFuture<Option<Batch>> {
        self.read("looking for an Idempotency-Key", (key.clone(), now), |reader, (key, now)| {
            repeated(reader, key, *now).boxed()
        })
    }

    fn batch(&self, id: BatchId) -> StoreFuture<Option<Batch>> {
        self.read_snapshot("reading a batch", id, |reader, id| load(reader, *id).boxed())
    }

    fn batch_rows(&self, id: BatchId) -> StoreFuture<Vec<BatchRow>> {
        self.read("reading the rows of a batch", id, |reader, id| rows(reader, *id).boxed())
    }

    fn batches(&self, before: Option<BatchId>, limit: usize) -> StoreFuture<Vec<Batch>> {
        self.read_snapshot("reading batches", (before, limit), |reader, (before, limit)| {
            async move {
                let sql = format!(
                    "SELECT * FROM batches WHERE $1::text IS NULL OR id < $1 ORDER BY id DESC LIMIT {}",
                    limit.min(&PAGE_MAX)
                );
                let mut batches = Vec::new();
                for row in reader.query(&sql, values![before.map(Word)]).await? {
                    batches.push(counted(reader, parse(&row)?).await?);
                }
                Ok(batches)
            }
            .boxed()
        })
    }

    fn change_batch(&self, id: BatchId, change: BatchChange, now: Timestamp) -> StoreFuture<BatchOutcome> {
        self.write("changing a batch", (id, change, now), |tx, (id, change, now)| {
            apply(tx, *id, change, *now).boxed()
        })
    }

    fn retry_rows(&self, id: BatchId, jobs: Vec<NewJob>, now: Timestamp) -> StoreFuture<BatchOutcome> {
        let recipes = self.sealed(&jobs);
        let given = (self.clone(), id, jobs, recipes, now);
        self.write("retrying rows of a batch", given, |tx, (store, id, jobs, recipes, now)| {
            async move {
                let batch = locked(tx, *id).await?;
                let rows = rows(tx, *id).await?;
                let is_rows = |job: &NewJob| {
                    rows.iter().any(|row| {
                        Some(row.job) == job.retry_of
                            && matches!(row.state(), RowState::Failed | RowState::Cancelled)
                    })
                };
                if batch.status == BatchStatus::Cancelled || !jobs.iter().all(is_rows) {
                    return Ok(BatchOutcome::Refused(batch));
                }
                for (job, recipe) in jobs.iter().zip(recipes) {
                    jobs::insert_held(tx, store, *id, job, recipe).await?;
                    let sql = "UPDATE batch_rows SET job = $2, attempts = attempts + 1, released_at = NULL,
                        acknowledged = false WHERE job = $1";
                    tx.execute(sql, values![job.retry_of.map(Word), Word(job.id)]).await?;
                }
                if batch.status == BatchStatus::Finished {
                    set_status(tx, *id, BatchStatus::Running, None, *now).await?;
                }
                Ok(BatchOutcome::Changed(existing(tx, *id).await?))
            }
            .boxed()
        })
    }
}

impl Postgres {
    fn sealed(&self, jobs: &[NewJob]) -> Vec<SealedRecipe> {
        let sealed = |job: &NewJob| SealedRecipe::accepted(&self.sealer, job.id, &job.recipe, &job.spec);
        jobs.iter().map(sealed).collect()
    }
}

/// Asks the plan of every open batch, and releases the jobs that may start.
pub(super) async fn release_due(tx: &PgWriter, now: Timestamp) -> Result<(), PgFault> {
    let sql = "SELECT id FROM batches WHERE finished_at IS NULL ORDER BY id FOR NO KEY UPDATE SKIP LOCKED";
    for row in tx.query(sql, &[]).await? {
        let Word(id) = row.try_get(0)?;
        advance(tx, id, now).await?;
    }
    Ok(())
}

/// When the plan of a batch may change although no job does.
pub(super) async fn next_look(reader: &PgReader) -> Result<Option<Timestamp>, PgFault> {
    let sql = "SELECT min(look_at) FROM batches WHERE finished_at IS NULL AND status = 'running'";
    let at = reader.one(sql, &[]).await?.try_get::<_, Option<Millis>>(0);
    Ok(at.map_err(|error| PgFault::in_row("a batch's next look", error))?.map(|Millis(at)| at))
}

async fn advance(tx: &PgWriter, id: BatchId, now: Timestamp) -> Result<(), PgFault> {
    let batch = load_row(tx, id).await?.ok_or(StoreError::UnknownBatch { batch: id })?;
    let rows = planned(tx, id).await?;
    let mut states = rows.iter().map(|(_, row)| row.state);
    let is_open = |state| matches!(state, RowState::Waiting | RowState::Running { .. });
    let is_over = !states.any(is_open);
    if batch.status != BatchStatus::Running {
        let status =
            if batch.status == BatchStatus::Cancelled { batch.status } else { BatchStatus::Finished };
        return if is_over { finish(tx, id, status, now).await } else { Ok(()) };
    }
    let (jobs, rows): (Vec<JobId>, Vec<PlannedRow>) = rows.into_iter().unzip();
    let BatchPlan { start, end, look_at, .. } = plan_batch(&batch.limits, &rows, now);
    let start: Vec<String> = start.into_iter().map(|index| jobs[index].to_string()).collect();
    if !start.is_empty() {
        let sql = "UPDATE batch_rows SET released_at = $2 WHERE job = ANY ($1)";
        tx.execute(sql, values![start.clone(), Millis(now)]).await?;
        tx.execute("UPDATE jobs SET held = false WHERE id = ANY ($1)", values![start]).await?;
    }
    let sql = "UPDATE batches SET look_at = $2 WHERE id = $1 AND look_at IS DISTINCT FROM $2";
    tx.execute(sql, values![Word(id), look_at.map(Millis)]).await?;
    match end {
        Some(BatchEnd::Finished) => finish(tx, id, BatchStatus::Finished, now).await,
        Some(BatchEnd::Halted(why)) => {
            tracing::warn!(batch = %id, why, "a batch is halted");
            notifications::add(tx, NotificationSubject::BatchHalted(id), now).await?;
            set_status(tx, id, BatchStatus::Halted, Some(&why), now).await
        }
        None => Ok(()),
    }
}

/// The rows as the plan sees them, in their order.
async fn planned(tx: &PgWriter, id: BatchId) -> Result<Vec<(JobId, PlannedRow)>, PgFault> {
    let sql = "SELECT batch_rows.job, batch_rows.labels, batch_rows.released_at, batch_rows.acknowledged, jobs.status
        FROM batch_rows JOIN jobs ON jobs.id = batch_rows.job WHERE batch_rows.batch = $1 ORDER BY number";
    let read = |row: &Row| {
        let Word(status): Word<Status> = row.try_get(4)?;
        let released_at = row.try_get::<_, Option<Millis>>(2)?.map(|Millis(at)| at);
        let Json(labels): Json<BTreeMap<String, String>> = row.try_get(1)?;
        let planned =
            PlannedRow { state: RowState::of(status, released_at), labels, acknowledged: row.try_get(3)? };
        Ok((row.try_get::<_, Word<JobId>>(0)?.0, planned))
    };
    let rows = tx.query(sql, values![Word(id)]).await?;
    let rows = rows.iter().map(read).collect::<Result<Vec<_>, tokio_postgres::Error>>();
    rows.map_err(|error| PgFault::in_row(format!("a row of batch {id}"), error))
}

async fn finish(tx: &PgWriter, id: BatchId, status: BatchStatus, now: Timestamp) -> Result<(), PgFault> {
    tracing::info!(batch = %id, status = status.name(), "all rows of a batch have ended");
    notifications::add(tx, NotificationSubject::BatchEnded(id), now).await?;
    let sql = "UPDATE batches SET status = $2, finished_at = $3, last_update = $3, look_at = NULL,
        reason = NULL WHERE id = $1";
    tx.execute(sql, values![Word(id), Word(status), Millis(now)]).await.map(drop)
}

async fn set_status(
    tx: &PgWriter,
    id: BatchId,
    status: BatchStatus,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<(), PgFault> {
    let sql =
        "UPDATE batches SET status = $2, reason = $3, last_update = $4, finished_at = NULL WHERE id = $1";
    tx.execute(sql, values![Word(id), Word(status), reason, Millis(now)]).await.map(drop)
}

async fn apply(
    tx: &PgWriter,
    id: BatchId,
    change: &BatchChange,
    now: Timestamp,
) -> Result<BatchOutcome, PgFault> {
    let batch = locked(tx, id).await?;
    if !batch.allows(change) {
        return Ok(BatchOutcome::Refused(batch));
    }
    match change {
        BatchChange::Pause => set_status(tx, id, BatchStatus::Paused, None, now).await?,
        BatchChange::Resume { not_before, not_after } => {
            let limits = BatchLimits {
                not_before: not_before.clone().over(batch.limits.not_before),
                not_after: not_after.clone().over(batch.limits.not_after),
                ..batch.limits
            };
            resume(tx, id, &limits, now).await?;
        }
        BatchChange::Cancel { running } => cancel(tx, id, *running, now).await?,
    }
    tx.jobs_changed();
    Ok(BatchOutcome::Changed(existing(tx, id).await?))
}

async fn resume(tx: &PgWriter, id: BatchId, limits: &BatchLimits, now: Timestamp) -> Result<(), PgFault> {
    let overdue = now.as_millisecond() - i64::try_from(limits.place_timeout_secs * 1_000).unwrap_or(i64::MAX);
    let sql = "UPDATE batch_rows SET acknowledged = true WHERE batch = $1 AND EXISTS
        (SELECT 1 FROM jobs WHERE jobs.id = batch_rows.job AND
            (jobs.status = 'failed' OR (jobs.status IN ('queued', 'provisioning') AND released_at <= $2)))";
    tx.execute(sql, values![Word(id), overdue]).await?;
    tx.execute("UPDATE batches SET limits = $2 WHERE id = $1", values![Word(id), Stored(limits)]).await?;
    set_status(tx, id, BatchStatus::Running, None, now).await
}

async fn cancel(tx: &PgWriter, id: BatchId, running: bool, now: Timestamp) -> Result<(), PgFault> {
    // Locked before they are looked at: none may be decided in between.
    let jobs: Vec<JobId> = planned(tx, id).await?.into_iter().map(|(job, _)| job).collect();
    jobs::lock_rows(tx, &jobs).await?;
    let ends = |state| match state {
        RowState::Waiting => true,
        RowState::Running { .. } => running,
        RowState::Succeeded | RowState::Failed | RowState::Cancelled => false,
    };
    let rows = planned(tx, id).await?;
    let jobs: Vec<JobId> = rows.iter().filter(|(_, row)| ends(row.state)).map(|(job, _)| *job).collect();
    jobs::cancel_rows(tx, &jobs, Cancel { force: false }).await?;
    set_status(tx, id, BatchStatus::Cancelled, None, now).await
}

async fn insert(tx: &PgWriter, new: &NewBatch, key: Option<&IdempotencyKey>) -> Result<(), PgFault> {
    let (key, body) = key.map(|key| (&key.key, key.body_sha256)).unzip();
    // A key that was used more than a day ago may be used again.
    tx.execute("UPDATE batches SET idempotency_key = NULL WHERE idempotency_key = $1", values![key]).await?;
    let sql = "INSERT INTO batches
        (id, name, status, limits, created_at, created_by, last_update, idempotency_key, body_sha256)
        VALUES ($1, $2, $3, $4, $5, $6, $5, $7, $8)";
    let values = values![
        Word(new.id),
        new.name.as_ref(),
        Word(BatchStatus::Running),
        Stored(&new.limits),
        Millis(new.created_at),
        &new.created_by,
        key,
        body,
    ];
    tx.execute(sql, values).await.map(drop)
}

async fn repeated(reader: &PgReader, key: &IdempotencyKey, now: Timestamp) -> Result<Option<Batch>, PgFault> {
    let sql = "SELECT id, body_sha256, created_at FROM batches WHERE idempotency_key = $1";
    let Some(row) = reader.optional(sql, values![&key.key]).await? else { return Ok(None) };
    let (Word(id), body, Millis(at)): (Word<BatchId>, Vec<u8>, Millis) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if after(at, IDEMPOTENCY_TTL) <= now {
        return Ok(None);
    }
    if body != key.body_sha256 {
        return Err(StoreError::IdempotencyConflict.into());
    }
    load(reader, id).await
}

async fn existing(reader: &PgReader, id: BatchId) -> Result<Batch, PgFault> {
    Ok(load(reader, id).await?.ok_or(StoreError::UnknownBatch { batch: id })?)
}

/// The batch, which no other transaction plans or changes until this one ends.
async fn locked(tx: &PgWriter, id: BatchId) -> Result<Batch, PgFault> {
    tx.query("SELECT 1 FROM batches WHERE id = $1 FOR NO KEY UPDATE", values![Word(id)]).await?;
    existing(tx, id).await
}

async fn load(reader: &PgReader, id: BatchId) -> Result<Option<Batch>, PgFault> {
    match load_row(reader, id).await? {
        Some(batch) => counted(reader, batch).await.map(Some),
        None => Ok(None),
    }
}

async fn load_row(reader: &PgReader, id: BatchId) -> Result<Option<Batch>, PgFault> {
    let row = reader.optional("SELECT * FROM batches WHERE id = $1", values![Word(id)]).await?;
    row.as_ref().map(parse).transpose()
}

fn parse(row: &Row) -> Result<Batch, PgFault> {
    let Word(id): Word<BatchId> =
        row.try_get("id").map_err(|error| PgFault::in_row("the id of a batch", error))?;
    columns(row).map_err(|error| PgFault::in_row(format!("batch {id}"), error))
}

fn columns(row: &Row) -> Result<Batch, tokio_postgres::Error> {
    Ok(Batch {
        id: row.try_get::<_, Word<_>>("id")?.0,
        name: row.try_get("name")?,
        status: row.try_get::<_, Word<_>>("status")?.0,
        reason: row.try_get("reason")?,
        limits: row.try_get::<_, Stored<_>>("limits")?.0,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get::<_, Millis>("created_at")?.0,
        last_update: row.try_get::<_, Millis>("last_update")?.0,
        finished_at: row.try_get::<_, Option<Millis>>("finished_at")?.map(|Millis(at)| at),
        counts: RowCounts::default(),
    })
}

async fn counted(reader: &PgReader, mut batch: Batch) -> Result<Batch, PgFault> {
    let sql = "SELECT jobs.status, batch_rows.released_at IS NOT NULL, count(*) FROM batch_rows
        JOIN jobs ON jobs.id = batch_rows.job WHERE batch_rows.batch = $1 GROUP BY 1, 2";
    for row in reader.query(sql, values![Word(batch.id)]).await? {
        let read = || {
            let released = row.try_get::<_, bool>(1)?.then_some(Timestamp::UNIX_EPOCH);
            let Word(status): Word<Status> = row.try_get(0)?;
            Ok((RowState::of(status, released), row.try_get::<_, Count>(2)?.0))
        };
        let (state, rows) =
            read().map_err(|error| PgFault::in_row(format!("a row of batch {}", batch.id), error))?;
        batch.counts.count(state, rows);
    }
    Ok(batch)
}

async fn rows(reader: &PgReader, id: BatchId) -> Result<Vec<BatchRow>, PgFault> {
    let sql = format!(
        "SELECT batch_rows.*, jobs.status, jobs.cursor, jobs.facts, jobs.failed_step, jobs.failure_code, jobs.reason,
            jobs.verdict
        FROM batch_rows JOIN jobs ON jobs.id = batch_rows.job
        WHERE batch_rows.batch = $1 ORDER BY number LIMIT {BATCH_ROWS_MAX}"
    );
    let rows = reader.query(&sql, values![Word(id)]).await?;
    let rows = rows.iter().map(row_columns).collect::<Result<Vec<_>, tokio_postgres::Error>>();
    rows.map_err(|error| PgFault::in_row(format!("a row of batch {id}"), error))
}

fn row_columns(row: &Row) -> Result<BatchRow, tokio_postgres::Error> {
    let cursor: Option<Stored<Cursor>> = row.try_get("cursor").ok();
    let facts: Option<Stored<Facts>> = row.try_get("facts").ok();
    Ok(BatchRow {
        server: row.try_get::<_, Word<_>>("server")?.0,
        job: row.try_get::<_, Word<_>>("job")?.0,
        attempts: row.try_get::<_, i64>("attempts")?.try_into().unwrap_or(u32::MAX),
        released_at: row.try_get::<_, Option<Millis>>("released_at")?.map(|Millis(at)| at),
        acknowledged: row.try_get("acknowledged")?,
        labels: row.try_get::<_, Json<_>>("labels")?.0,
        status: row.try_get::<_, Word<_>>("status")?.0,
        step: cursor.map(|Stored(cursor)| cursor.step),
        deadline: facts.and_then(|Stored(facts)| facts.deadline),
        failed_step: row.try_get::<_, Option<Word<_>>>("failed_step")?.map(|Word(step)| step),
        failure_code: row.try_get::<_, Option<Word<_>>>("failure_code")?.map(|Word(code)| code),
        reason: row.try_get("reason")?,
        verdict: row.try_get::<_, Option<Json<_>>>("verdict")?.map(|Json(verdict)| verdict),
    })
}
