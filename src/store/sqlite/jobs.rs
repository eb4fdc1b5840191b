//! The table `jobs`: adding, finding and cancelling.
//!
//! Invariant: of the jobs of one server at most one is active, which a partial unique index keeps whatever the code
//! does.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::types::ToSql;
use rusqlite::{OptionalExtension as _, named_params, params};
use serde_json::Value;
use strum::VariantArray as _;
use tokio::sync::Notify;

use super::fault::Fault;
use super::job_rows::{JOBS, check_idle, load, parse};
use super::row::{Count, Json, Millis, Stored, Word};
use super::{Reader, Sqlite, Writer, events, idempotency, recipes, servers, unreadable};
use crate::domain::{BatchId, Cancel, Counts, Facts, Job, JobId, NewEvent, Serial, Status};
use crate::store::bounds::{TEXT_CHARS_MAX, clipped};
use crate::store::jobs::{FirstState, NewJobRow};
use crate::store::recipes::SealedRecipe;
use crate::store::{
    CancelOutcome, IdempotencyKey, Inserted, JobFilter, JobStore, NewJob, PAGE_MAX, RefusedJob, StoreError,
    StoreFuture, StoredJob,
};

impl JobStore for Sqlite {
    fn insert_job(&self, new: NewJob, key: Option<IdempotencyKey>) -> StoreFuture<Inserted> {
        let recipe = SealedRecipe::accepted(&self.sealer, new.id, &new.recipe, &new.spec);
        let row = NewJobRow::accepted(&new, None);
        self.write("adding a job", move |writer| insert(writer, row, recipe, &new.events, key))
    }

    fn insert_refused_job(
        &self,
        refused: RefusedJob,
        events: Vec<NewEvent>,
        key: Option<IdempotencyKey>,
    ) -> StoreFuture<Inserted> {
        let row = NewJobRow::refused(&refused);
        let recipe = SealedRecipe::refused(&self.sealer, refused.id, &refused.recipe, refused.errors);
        self.write("adding a refused job", move |writer| insert(writer, row, recipe, &events, key))
    }

    fn job(&self, id: JobId) -> StoreFuture<Option<Job>> {
        self.read("reading a job", move |reader| load(reader, id))
    }

    fn active_job(&self, server: &Serial) -> StoreFuture<Option<JobId>> {
        let server = server.clone();
        self.read("looking for a server's active job", move |reader| {
            let sql = "SELECT id FROM jobs WHERE server = ?1 AND phase <> 'done'";
            let id = reader.prepare_cached(sql)?.query_row([Word(&server)], |row| row.get::<_, Word<_>>(0));
            let id = id.optional().map_err(|error| Fault::in_row("a job's id", error))?;
            Ok(id.map(|Word(id)| id))
        })
    }

    fn jobs(&self, filter: &JobFilter) -> StoreFuture<Vec<StoredJob>> {
        let filter = filter.clone();
        self.read("reading jobs", move |reader| page(reader, &filter))
    }

    fn status_counts(&self) -> StoreFuture<Counts> {
        self.read("counting jobs", |reader| {
            let mut counts = Counts::default();
            let mut statement = reader.prepare_cached("SELECT status, count(*) FROM jobs GROUP BY status")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let read = || Ok((row.get::<_, Word<Status>>(0)?.0, row.get::<_, Count>(1)?.0));
                let (status, count) = read().map_err(|error| Fault::in_row("the status of a job", error))?;
                let place = Status::VARIANTS.iter().position(|known| *known == status);
                counts[place.expect("it holds every status")] = count;
            }
            Ok(counts)
        })
    }

    fn request_cancel(&self, id: JobId, cancel: Cancel) -> StoreFuture<CancelOutcome> {
        self.write("cancelling a job", move |writer| {
            let job = load(&writer.reader(), id)?.ok_or(StoreError::UnknownJob { job: id })?;
            if !job.is_active() || (job.status.is_decided() && !cancel.force) {
                return Ok(CancelOutcome::Refused(job));
            }
            let cancel = Cancel { force: cancel.force || job.cancel.is_some_and(|before| before.force) };
            cancel_row(writer, id, cancel)?;
            Ok(CancelOutcome::Recorded(Job { cancel: Some(cancel), ..job }))
        })
    }

    fn active_jobs(&self) -> StoreFuture<Vec<JobId>> {
        self.read("listing the active jobs", move |reader| {
            let sql = "SELECT id FROM jobs WHERE phase <> 'done' ORDER BY id";
            let mut statement = reader.prepare_cached(sql)?;
            let ids = statement.query_map([], |row| row.get::<_, Word<JobId>>(0))?;
            ids.map(|id| Ok(id?.0)).collect()
        })
    }

    fn pending_cancels(&self) -> StoreFuture<Vec<(JobId, Cancel)>> {
        self.read("looking for cancels", move |reader| {
            let sql = "SELECT id, cancel FROM jobs INDEXED BY cancelled_jobs
                WHERE phase <> 'done' AND cancel IS NOT NULL";
            let mut statement = reader.prepare_cached(sql)?;
            let mut rows = statement.query([])?;
            let mut cancels = Vec::new();
            while let Some(row) = rows.next()? {
                if let (Ok(Word(id)), Ok(Json(cancel))) = (row.get(0), row.get(1)) {
                    cancels.push((id, cancel));
                }
            }
            Ok(cancels)
        })
    }

    fn repeated(&self, key: &IdempotencyKey, now: Timestamp) -> StoreFuture<Option<Inserted>> {
        let key = key.clone();
        self.read("looking for an Idempotency-Key", move |reader| idempotency::find(reader, &key, now))
    }

    fn stored_job(&self, id: JobId) -> StoreFuture<Option<StoredJob>> {
        self.read("reading a job", move |reader| unreadable::load(reader, id))
    }

    fn job_recipe(&self, job: JobId) -> StoreFuture<Option<Value>> {
        self.read("reading a recipe", move |reader| recipes::recipe(reader, job))
    }

    fn end_unreadable_job(&self, id: JobId, now: Timestamp) -> StoreFuture<bool> {
        self.write("ending a job that cannot be read", move |writer| unreadable::end(writer, id, now))
    }

    fn jobs_changed(&self) -> Arc<Notify> {
        self.jobs_changed.clone()
    }
}

/// Records that an active job is to end.
pub(super) fn cancel_row(writer: &Writer<'_>, id: JobId, cancel: Cancel) -> Result<(), Fault> {
    let sql = "UPDATE jobs SET cancel = ?2, wake_now = 1 WHERE id = ?1";
    writer.prepare_cached(sql)?.execute(params![Word(id), Json(cancel)])?;
    writer.jobs_changed.set(true);
    Ok(())
}

fn insert(
    writer: &Writer<'_>,
    new: NewJobRow,
    recipe: SealedRecipe,
    events: &[NewEvent],
    key: Option<IdempotencyKey>,
) -> Result<Inserted, Fault> {
    if let Some(key) = &key
        && let Some(repeated) = idempotency::find(&writer.reader(), key, new.created_at)?
    {
        return Ok(repeated);
    }
    add(writer, &new, recipe, events)?;
    if let Some(key) = &key {
        idempotency::remember(writer, key, new.id, new.created_at)?;
    }
    let job = load(&writer.reader(), new.id)?.ok_or(StoreError::UnknownJob { job: new.id })?;
    Ok(Inserted::New(job))
}

/// Adds the job of a batch, and returns the labels of its server.
pub(super) fn insert_held(
    writer: &Writer<'_>,
    batch: BatchId,
    new: NewJob,
    recipe: SealedRecipe,
) -> Result<BTreeMap<String, String>, Fault> {
    let row = NewJobRow::accepted(&new, Some(batch));
    add(writer, &row, recipe, &new.events)
}

fn add(
    writer: &Writer<'_>,
    new: &NewJobRow,
    recipe: SealedRecipe,
    events: &[NewEvent],
) -> Result<BTreeMap<String, String>, Fault> {
    let server = servers::load(&writer.reader(), &new.server)?;
    let server = server.ok_or_else(|| StoreError::UnknownServer { serial: new.server.clone() })?;
    if new.refusal.is_none() {
        check_idle(writer, &new.server)?;
    }
    insert_row(writer, new)?;
    recipes::put(writer, new.id, recipe)?;
    let mut statement =
        writer.prepare_cached("INSERT INTO job_labels (name, value, job) VALUES (?1, ?2, ?3)")?;
    for (name, value) in &server.labels {
        statement.execute(params![name, value, Word(new.id)])?;
    }
    events::append(writer, new.id, events)?;
    writer.jobs_changed.set(true);
    Ok(server.labels)
}

fn insert_row(writer: &Writer<'_>, new: &NewJobRow) -> Result<(), Fault> {
    let FirstState { status, cursor, verdict, failed_step, finished_at } = new.first_state();
    let sql = "INSERT INTO jobs
        (id, server, task_target, status, phase, wake_at, retry_of, created_at, last_update,
         finished_at, failed_step, failure_code, reason, verdict, cursor, facts, batch, held)
        VALUES (:id, :server, :task_target, :status, :phase, :created_at, :retry_of, :created_at, :created_at,
         :finished_at, :failed_step, :failure_code, :reason, :verdict, :cursor, :facts, :batch, :batch IS NOT NULL)";
    writer.prepare_cached(sql)?.execute(named_params! {
        ":id": Word(new.id),
        ":server": Word(&new.server),
        ":task_target": new.kept_task_target(),
        ":status": Word(status),
        ":phase": Word(cursor.phase),
        ":retry_of": new.retry_of.map(Word),
        ":created_at": Millis(new.created_at),
        ":finished_at": finished_at.map(Millis),
        ":failed_step": failed_step.map(Word),
        ":failure_code": new.refusal.as_ref().map(|(code, _)| Word(*code)),
        ":reason": new.refusal.as_ref().map(|(_, reason)| clipped(reason, TEXT_CHARS_MAX)),
        ":verdict": verdict.map(Json),
        ":cursor": Stored(&cursor),
        ":facts": Stored(&Facts::default()),
        ":batch": new.batch.map(Word),
    })?;
    Ok(())
}

fn page(reader: &Reader<'_>, filter: &JobFilter) -> Result<Vec<StoredJob>, Fault> {
    // Only the conditions that are asked for, so that SQLite chooses the index made for them.
    let mut sql = format!("{JOBS} WHERE true");
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    if let Some(status) = filter.status {
        sql += " AND jobs.status = ?";
        values.push(Box::new(Word(status)));
    }
    if let Some(server) = &filter.server {
        sql += " AND jobs.server = ?";
        values.push(Box::new(Word(server)));
    }
    if let Some((name, value)) = &filter.label {
        sql += " AND jobs.id IN (SELECT job FROM job_labels WHERE name = ? AND value = ?)";
        values.push(Box::new(name));
        values.push(Box::new(value));
    }
    if !filter.refused {
        sql += " AND recipes.spec IS NOT NULL";
    }
    if let Some(batch) = filter.batch {
        sql += " AND jobs.batch = ?";
        values.push(Box::new(Word(batch)));
    }
    if let Some(before) = filter.before {
        sql += " AND jobs.id < ?";
        values.push(Box::new(Word(before)));
    }
    sql += " ORDER BY jobs.id DESC LIMIT ?";
    values.push(Box::new(Count(filter.limit.min(PAGE_MAX) as u64)));
    let mut statement = reader.prepare_cached(&sql)?;
    let jobs =
        statement.query_and_then(rusqlite::params_from_iter(&values), |row| match parse(reader, row) {
            Ok(job) => Ok(StoredJob::Readable(Box::new(job))),
            Err(fault) => unreadable::of_row(row, fault).map(StoredJob::Unreadable),
        })?;
    jobs.collect()
}
