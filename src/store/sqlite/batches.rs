//! The tables `batches` and `batch_rows`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, named_params, params};

use super::fault::Fault;
use super::row::{Count, Json, Millis, Stored, Word};
use super::{Reader, Sqlite, Writer, jobs, notifications};
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

impl BatchStore for Sqlite {
    fn insert_batch(&self, new: NewBatch, key: Option<IdempotencyKey>) -> StoreFuture<InsertedBatch> {
        let recipes = self.sealed(&new.jobs);
        self.write("adding a batch", move |writer| {
            if let Some(key) = &key
                && let Some(batch) = repeated(&writer.reader(), key, new.created_at)?
            {
                return Ok(InsertedBatch::Repeated(batch));
            }
            let id = new.id;
            insert(writer, &new, key)?;
            for (number, (job, recipe)) in new.jobs.into_iter().zip(recipes).enumerate() {
                let (server, job_id) = (job.server.clone(), job.id);
                let mut labels = jobs::insert_held(writer, id, job, recipe)?;
                labels.retain(|name, _| new.limits.labels().any(|known| known == name));
                let sql = "INSERT INTO batch_rows (batch, number, server, job, attempts, labels)
                    VALUES (?1, ?2, ?3, ?4, 1, ?5)";
                let number = Count(number as u64);
                let values = params![Word(id), number, Word(server), Word(job_id), Json(labels)];
                writer.prepare_cached(sql)?.execute(values)?;
            }
            Ok(InsertedBatch::New(existing(&writer.reader(), id)?))
        })
    }

    fn repeated_batch(&self, key: &IdempotencyKey, now: Timestamp) -> StoreFuture<Option<Batch>> {
        let key = key.clone();
        self.read("looking for an Idempotency-Key", move |reader| repeated(reader, &key, now))
    }

    fn batch(&self, id: BatchId) -> StoreFuture<Option<Batch>> {
        self.read("reading a batch", move |reader| load(reader, id))
    }

    fn batch_rows(&self, id: BatchId) -> StoreFuture<Vec<BatchRow>> {
        self.read("reading the rows of a batch", move |reader| rows(reader, id))
    }

    fn batches(&self, before: Option<BatchId>, limit: usize) -> StoreFuture<Vec<Batch>> {
        self.read("reading batches", move |reader| {
            let sql = "SELECT * FROM batches WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2";
            let values = params![before.map(Word), Count(limit.min(PAGE_MAX) as u64)];
            reader.prepare_cached(sql)?.query_and_then(values, |row| parse(reader, row))?.collect()
        })
    }

    fn change_batch(&self, id: BatchId, change: BatchChange, now: Timestamp) -> StoreFuture<BatchOutcome> {
        self.write("changing a batch", move |writer| {
            let batch = existing(&writer.reader(), id)?;
            if !batch.allows(&change) {
                return Ok(BatchOutcome::Refused(batch));
            }
            match change {
                BatchChange::Pause => set_status(writer, id, BatchStatus::Paused, None, now)?,
                BatchChange::Resume { not_before, not_after } => {
                    let limits = BatchLimits {
                        not_before: not_before.over(batch.limits.not_before),
                        not_after: not_after.over(batch.limits.not_after),
                        ..batch.limits
                    };
                    resume(writer, id, &limits, now)?;
                }
                BatchChange::Cancel { running } => cancel(writer, id, running, now)?,
            }
            writer.jobs_changed.set(true);
            Ok(BatchOutcome::Changed(existing(&writer.reader(), id)?))
        })
    }

    fn retry_rows(&self, id: BatchId, jobs: Vec<NewJob>, now: Timestamp) -> StoreFuture<BatchOutcome> {
        let recipes = self.sealed(&jobs);
        self.write("retrying rows of a batch", move |writer| {
            let batch = existing(&writer.reader(), id)?;
            let rows = rows(&writer.reader(), id)?;
            let is_rows = |job: &NewJob| {
                rows.iter().any(|row| {
                    Some(row.job) == job.retry_of
                        && matches!(row.state(), RowState::Failed | RowState::Cancelled)
                })
            };
            if batch.status == BatchStatus::Cancelled || !jobs.iter().all(is_rows) {
                return Ok(BatchOutcome::Refused(batch));
            }
            for (job, recipe) in jobs.into_iter().zip(recipes) {
                let (job_id, before) = (job.id, job.retry_of);
                jobs::insert_held(writer, id, job, recipe)?;
                let sql = "UPDATE batch_rows SET job = ?2, attempts = attempts + 1, released_at = NULL,
                    acknowledged = 0 WHERE job = ?1";
                writer.prepare_cached(sql)?.execute(params![before.map(Word), Word(job_id)])?;
            }
            if batch.status == BatchStatus::Finished {
                set_status(writer, id, BatchStatus::Running, None, now)?;
            }
            Ok(BatchOutcome::Changed(existing(&writer.reader(), id)?))
        })
    }
}

impl Sqlite {
    fn sealed(&self, jobs: &[NewJob]) -> Vec<SealedRecipe> {
        let sealed = |job: &NewJob| SealedRecipe::accepted(&self.sealer, job.id, &job.recipe, &job.spec);
        jobs.iter().map(sealed).collect()
    }
}

/// Asks the plan of every open batch, and releases the jobs that may start.
pub(super) fn release_due(writer: &Writer<'_>, now: Timestamp) -> Result<(), Fault> {
    let sql = "SELECT id FROM batches WHERE finished_at IS NULL ORDER BY id";
    let mut statement = writer.prepare_cached(sql)?;
    let ids = statement.query_map([], |row| row.get::<_, Word<BatchId>>(0))?;
    for id in ids.collect::<rusqlite::Result<Vec<_>>>()? {
        advance(writer, id.0, now)?;
    }
    Ok(())
}

/// When the plan of a batch may change although no job does.
pub(super) fn next_look(reader: &Reader<'_>) -> Result<Option<Timestamp>, Fault> {
    let sql = "SELECT min(look_at) FROM batches WHERE finished_at IS NULL AND status = 'running'";
    let at = reader.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<Millis>>(0));
    Ok(at.map_err(|error| Fault::in_row("a batch's next look", error))?.map(|Millis(at)| at))
}

fn advance(writer: &Writer<'_>, id: BatchId, now: Timestamp) -> Result<(), Fault> {
    let batch = load_row(&writer.reader(), id)?.ok_or(StoreError::UnknownBatch { batch: id })?;
    let rows = planned(writer, id)?;
    let states = rows.iter().map(|(_, row)| row.state);
    let is_open = |state| matches!(state, RowState::Waiting | RowState::Running { .. });
    let is_over = !states.clone().any(is_open);
    if batch.status != BatchStatus::Running {
        let status =
            if batch.status == BatchStatus::Cancelled { batch.status } else { BatchStatus::Finished };
        return if is_over { finish(writer, id, status, now) } else { Ok(()) };
    }
    let (jobs, rows): (Vec<JobId>, Vec<PlannedRow>) = rows.into_iter().unzip();
    let BatchPlan { start, end, look_at, .. } = plan_batch(&batch.limits, &rows, now);
    for index in start {
        let sql = "UPDATE batch_rows SET released_at = ?2 WHERE job = ?1";
        writer.prepare_cached(sql)?.execute(params![Word(jobs[index]), Millis(now)])?;
        writer.prepare_cached("UPDATE jobs SET held = 0 WHERE id = ?1")?.execute([Word(jobs[index])])?;
    }
    let sql = "UPDATE batches SET look_at = ?2 WHERE id = ?1 AND look_at IS NOT ?2";
    writer.prepare_cached(sql)?.execute(params![Word(id), look_at.map(Millis)])?;
    match end {
        Some(BatchEnd::Finished) => finish(writer, id, BatchStatus::Finished, now),
        Some(BatchEnd::Halted(why)) => {
            tracing::warn!(batch = %id, why, "a batch is halted");
            notifications::add(writer, NotificationSubject::BatchHalted(id), now)?;
            set_status(writer, id, BatchStatus::Halted, Some(&why), now)
        }
        None => Ok(()),
    }
}

/// The rows as the plan sees them, in their order.
fn planned(writer: &Writer<'_>, id: BatchId) -> Result<Vec<(JobId, PlannedRow)>, Fault> {
    let sql = "SELECT batch_rows.job, batch_rows.labels, batch_rows.released_at, batch_rows.acknowledged, jobs.status
        FROM batch_rows JOIN jobs ON jobs.id = batch_rows.job WHERE batch_rows.batch = ?1 ORDER BY number";
    let mut statement = writer.prepare_cached(sql)?;
    let rows = statement.query_map([Word(id)], |row| {
        let Word(status): Word<Status> = row.get(4)?;
        let released_at = row.get::<_, Option<Millis>>(2)?.map(|Millis(at)| at);
        let Json(labels): Json<BTreeMap<String, String>> = row.get(1)?;
        let planned =
            PlannedRow { state: RowState::of(status, released_at), labels, acknowledged: row.get(3)? };
        Ok((row.get::<_, Word<JobId>>(0)?.0, planned))
    })?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>();
    rows.map_err(|error| Fault::in_row(format!("a row of batch {id}"), error))
}

fn finish(writer: &Writer<'_>, id: BatchId, status: BatchStatus, now: Timestamp) -> Result<(), Fault> {
    tracing::info!(batch = %id, status = status.name(), "all rows of a batch have ended");
    notifications::add(writer, NotificationSubject::BatchEnded(id), now)?;
    let sql = "UPDATE batches SET status = ?2, finished_at = ?3, last_update = ?3, look_at = NULL,
        reason = NULL WHERE id = ?1";
    writer.prepare_cached(sql)?.execute(params![Word(id), Word(status), Millis(now)])?;
    Ok(())
}

fn set_status(
    writer: &Writer<'_>,
    id: BatchId,
    status: BatchStatus,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<(), Fault> {
    let sql =
        "UPDATE batches SET status = ?2, reason = ?3, last_update = ?4, finished_at = NULL WHERE id = ?1";
    writer.prepare_cached(sql)?.execute(params![Word(id), Word(status), reason, Millis(now)])?;
    Ok(())
}

fn resume(writer: &Writer<'_>, id: BatchId, limits: &BatchLimits, now: Timestamp) -> Result<(), Fault> {
    let overdue = now.as_millisecond() - i64::try_from(limits.place_timeout_secs * 1_000).unwrap_or(i64::MAX);
    let sql = "UPDATE batch_rows SET acknowledged = 1 WHERE batch = ?1 AND EXISTS
        (SELECT 1 FROM jobs WHERE jobs.id = batch_rows.job AND
            (jobs.status = 'failed' OR (jobs.status IN ('queued', 'provisioning') AND released_at <= ?2)))";
    writer.execute(sql, params![Word(id), overdue])?;
    let sql = "UPDATE batches SET limits = ?2 WHERE id = ?1";
    writer.execute(sql, params![Word(id), Stored(limits)])?;
    set_status(writer, id, BatchStatus::Running, None, now)
}

fn cancel(writer: &Writer<'_>, id: BatchId, running: bool, now: Timestamp) -> Result<(), Fault> {
    for (job, row) in planned(writer, id)? {
        let ends = match row.state {
            RowState::Waiting => true,
            RowState::Running { .. } => running,
            RowState::Succeeded | RowState::Failed | RowState::Cancelled => false,
        };
        if ends {
            jobs::cancel_row(writer, job, Cancel { force: false })?;
        }
    }
    set_status(writer, id, BatchStatus::Cancelled, None, now)
}

fn insert(writer: &Writer<'_>, new: &NewBatch, key: Option<IdempotencyKey>) -> Result<(), Fault> {
    let (key, body) = key.map(|key| (key.key, key.body_sha256)).unzip();
    // A key that was used more than a day ago may be used again.
    writer.execute("UPDATE batches SET idempotency_key = NULL WHERE idempotency_key = ?1", [&key])?;
    let sql = "INSERT INTO batches
        (id, name, status, limits, created_at, created_by, last_update, idempotency_key, body_sha256)
        VALUES (:id, :name, :status, :limits, :now, :created_by, :now, :key, :body)";
    writer.prepare_cached(sql)?.execute(named_params! {
        ":id": Word(new.id),
        ":name": new.name,
        ":status": Word(BatchStatus::Running),
        ":limits": Stored(&new.limits),
        ":now": Millis(new.created_at),
        ":created_by": new.created_by,
        ":key": key,
        ":body": body,
    })?;
    Ok(())
}

fn repeated(reader: &Reader<'_>, key: &IdempotencyKey, now: Timestamp) -> Result<Option<Batch>, Fault> {
    let sql = "SELECT id, body_sha256, created_at FROM batches WHERE idempotency_key = ?1";
    let mut statement = reader.prepare_cached(sql)?;
    let found = statement.query_row([&key.key], |row| {
        Ok((row.get::<_, Word<BatchId>>(0)?.0, row.get::<_, Vec<u8>>(1)?, row.get::<_, Millis>(2)?.0))
    });
    match found.optional()? {
        Some((_, _, at)) if after(at, IDEMPOTENCY_TTL) <= now => Ok(None),
        Some((_, body, _)) if body != key.body_sha256 => Err(StoreError::IdempotencyConflict.into()),
        Some((id, ..)) => load(reader, id),
        None => Ok(None),
    }
}

fn existing(reader: &Reader<'_>, id: BatchId) -> Result<Batch, Fault> {
    Ok(load(reader, id)?.ok_or(StoreError::UnknownBatch { batch: id })?)
}

fn load(reader: &Reader<'_>, id: BatchId) -> Result<Option<Batch>, Fault> {
    load_row(reader, id)?.map(|batch| counted(reader, batch)).transpose()
}

fn load_row(reader: &Reader<'_>, id: BatchId) -> Result<Option<Batch>, Fault> {
    let mut statement = reader.prepare_cached("SELECT * FROM batches WHERE id = ?1")?;
    let batch = statement.query_row([Word(id)], columns).optional();
    batch.map_err(|error| Fault::in_row(format!("batch {id}"), error))
}

fn parse(reader: &Reader<'_>, row: &Row<'_>) -> Result<Batch, Fault> {
    let Word(id): Word<BatchId> = row.get("id").map_err(|error| Fault::in_row("the id of a batch", error))?;
    let batch = columns(row).map_err(|error| Fault::in_row(format!("batch {id}"), error))?;
    counted(reader, batch)
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Batch> {
    Ok(Batch {
        id: row.get::<_, Word<_>>("id")?.0,
        name: row.get("name")?,
        status: row.get::<_, Word<_>>("status")?.0,
        reason: row.get("reason")?,
        limits: row.get::<_, Stored<_>>("limits")?.0,
        created_by: row.get("created_by")?,
        created_at: row.get::<_, Millis>("created_at")?.0,
        last_update: row.get::<_, Millis>("last_update")?.0,
        finished_at: row.get::<_, Option<Millis>>("finished_at")?.map(|Millis(at)| at),
        counts: RowCounts::default(),
    })
}

fn counted(reader: &Reader<'_>, mut batch: Batch) -> Result<Batch, Fault> {
    let sql = "SELECT jobs.status, batch_rows.released_at IS NOT NULL, count(*) FROM batch_rows
        JOIN jobs ON jobs.id = batch_rows.job WHERE batch_rows.batch = ?1 GROUP BY 1, 2";
    let mut statement = reader.prepare_cached(sql)?;
    let counts = statement.query_map([Word(batch.id)], |row| {
        let released = row.get::<_, bool>(1)?.then_some(Timestamp::UNIX_EPOCH);
        let Word(status): Word<Status> = row.get(0)?;
        Ok((RowState::of(status, released), row.get::<_, Count>(2)?.0))
    })?;
    for count in counts {
        let (state, rows) =
            count.map_err(|error| Fault::in_row(format!("a row of batch {}", batch.id), error))?;
        batch.counts.count(state, rows);
    }
    Ok(batch)
}

fn rows(reader: &Reader<'_>, id: BatchId) -> Result<Vec<BatchRow>, Fault> {
    let sql = "SELECT batch_rows.*, jobs.status, jobs.cursor, jobs.facts, jobs.failed_step, jobs.failure_code, jobs.reason, jobs.verdict
        FROM batch_rows JOIN jobs ON jobs.id = batch_rows.job
        WHERE batch_rows.batch = ?1 ORDER BY number LIMIT ?2";
    let mut statement = reader.prepare_cached(sql)?;
    let rows = statement.query_map(params![Word(id), Count(BATCH_ROWS_MAX as u64)], row_columns)?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>();
    rows.map_err(|error| Fault::in_row(format!("a row of batch {id}"), error))
}

fn row_columns(row: &Row<'_>) -> rusqlite::Result<BatchRow> {
    let cursor: Option<Stored<Cursor>> = row.get("cursor").ok();
    let facts: Option<Stored<Facts>> = row.get("facts").ok();
    Ok(BatchRow {
        server: row.get::<_, Word<_>>("server")?.0,
        job: row.get::<_, Word<_>>("job")?.0,
        attempts: row.get("attempts")?,
        released_at: row.get::<_, Option<Millis>>("released_at")?.map(|Millis(at)| at),
        acknowledged: row.get("acknowledged")?,
        labels: row.get::<_, Json<_>>("labels")?.0,
        status: row.get::<_, Word<_>>("status")?.0,
        step: cursor.map(|Stored(cursor)| cursor.step),
        deadline: facts.and_then(|Stored(facts)| facts.deadline),
        failed_step: row.get::<_, Option<Word<_>>>("failed_step")?.map(|Word(step)| step),
        failure_code: row.get::<_, Option<Word<_>>>("failure_code")?.map(|Word(code)| code),
        reason: row.get("reason")?,
        verdict: row.get::<_, Option<Json<_>>>("verdict")?.map(|Json(verdict)| verdict),
    })
}
