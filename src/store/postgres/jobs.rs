//! The table `jobs`, with `recipes` and `job_labels`: adding, finding and cancelling.
//!
//! Invariant: of the jobs of one server at most one is active, which a partial unique index keeps whatever the code
//! does. Where two controllers add a job at the same time, the index refuses one, which looks again and finds the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use serde_json::Value;
use strum::VariantArray as _;
use tokio::sync::Notify;

use super::fault::PgFault;
use super::job_rows::{JOBS, check_idle, load};
use super::row::{Count, IntoPgValue as _, Json, Millis, PgValue, Stored, Word, values};
use super::writer::{DatabaseLock, PgReader, PgWriter};
use super::{DATABASE_NOW, Postgres, events, idempotency, unreadable};
use crate::domain::{BatchId, Cancel, Counts, Facts, Job, JobId, NewEvent, Serial, Status};
use crate::store::bounds::{TEXT_CHARS_MAX, clipped};
use crate::store::events::EventCount;
use crate::store::jobs::{FirstState, NewJobRow};
use crate::store::recipes::{SealedRecipe, open_recipe};
use crate::store::{
    CancelOutcome, IdempotencyKey, Inserted, JobFilter, JobStore, NewJob, PAGE_MAX, RefusedJob, StoreError,
    StoreFuture, StoredJob,
};

/// A job to add, and the key of its request.
type NewRequest = (Postgres, NewJobRow, SealedRecipe, Vec<NewEvent>, Option<IdempotencyKey>);

impl JobStore for Postgres {
    fn insert_job(&self, new: NewJob, key: Option<IdempotencyKey>) -> StoreFuture<Inserted> {
        let recipe = SealedRecipe::accepted(&self.sealer, new.id, &new.recipe, &new.spec);
        let given = (self.clone(), NewJobRow::accepted(&new, None), recipe, new.events, key);
        self.write("adding a job", given, |tx, request| insert(tx, request).boxed())
    }

    fn insert_refused_job(
        &self,
        refused: RefusedJob,
        events: Vec<NewEvent>,
        key: Option<IdempotencyKey>,
    ) -> StoreFuture<Inserted> {
        let row = NewJobRow::refused(&refused);
        let recipe = SealedRecipe::refused(&self.sealer, refused.id, &refused.recipe, refused.errors);
        let given = (self.clone(), row, recipe, events, key);
        self.write("adding a refused job", given, |tx, request| insert(tx, request).boxed())
    }

    fn job(&self, id: JobId) -> StoreFuture<Option<Job>> {
        self.read("reading a job", id, |reader, id| load(reader, *id).boxed())
    }

    fn active_job(&self, server: &Serial) -> StoreFuture<Option<JobId>> {
        self.read("looking for a server's active job", server.clone(), |reader, server| {
            async move {
                let sql = "SELECT id FROM jobs WHERE server = $1 AND phase <> 'done'";
                let Some(row) = reader.optional(sql, values![server.as_str()]).await? else {
                    return Ok(None);
                };
                let id = row.try_get::<_, Word<_>>(0);
                let Word(id) = id.map_err(|error| PgFault::in_row("a job's id", error))?;
                Ok(Some(id))
            }
            .boxed()
        })
    }

    fn jobs(&self, filter: &JobFilter) -> StoreFuture<Vec<StoredJob>> {
        self.read("reading jobs", filter.clone(), |reader, filter| page(reader, filter).boxed())
    }

    fn status_counts(&self) -> StoreFuture<Counts> {
        self.read("counting jobs", (), |reader, ()| {
            async move {
                let mut counts = Counts::default();
                for row in reader.query("SELECT status, count(*) FROM jobs GROUP BY status", &[]).await? {
                    let read = || Ok((row.try_get::<_, Word<Status>>(0)?.0, row.try_get::<_, Count>(1)?.0));
                    let (status, count) =
                        read().map_err(|error| PgFault::in_row("the status of a job", error))?;
                    let place = Status::VARIANTS.iter().position(|known| *known == status);
                    counts[place.expect("it holds every status")] = count;
                }
                Ok(counts)
            }
            .boxed()
        })
    }

    fn request_cancel(&self, id: JobId, cancel: Cancel) -> StoreFuture<CancelOutcome> {
        self.write("cancelling a job", (id, cancel), |tx, (id, cancel)| {
            async move {
                lock_rows(tx, &[*id]).await?;
                let job = load(tx, *id).await?.ok_or(StoreError::UnknownJob { job: *id })?;
                if !job.is_active() || (job.status.is_decided() && !cancel.force) {
                    return Ok(CancelOutcome::Refused(job));
                }
                let cancel = Cancel { force: cancel.force || job.cancel.is_some_and(|before| before.force) };
                cancel_rows(tx, &[*id], cancel).await?;
                Ok(CancelOutcome::Recorded(Job { cancel: Some(cancel), ..job }))
            }
            .boxed()
        })
    }

    fn active_jobs(&self) -> StoreFuture<Vec<JobId>> {
        self.read("listing the active jobs", (), |reader, ()| {
            async move {
                let rows = reader.query("SELECT id FROM jobs WHERE phase <> 'done' ORDER BY id", &[]).await?;
                rows.iter().map(|row| Ok(row.try_get::<_, Word<JobId>>(0)?.0)).collect()
            }
            .boxed()
        })
    }

    fn pending_cancels(&self) -> StoreFuture<Vec<(JobId, Cancel)>> {
        self.read("looking for cancels", (), |reader, ()| {
            async move {
                let sql = "SELECT id, cancel FROM jobs WHERE phase <> 'done' AND cancel IS NOT NULL";
                let rows = reader.query(sql, &[]).await?;
                let read = |row: &tokio_postgres::Row| match (row.try_get(0), row.try_get(1)) {
                    (Ok(Word(id)), Ok(Json(cancel))) => Some((id, cancel)),
                    _ => None,
                };
                Ok(rows.iter().filter_map(read).collect())
            }
            .boxed()
        })
    }

    fn repeated(&self, key: &IdempotencyKey, now: Timestamp) -> StoreFuture<Option<Inserted>> {
        self.read("looking for an Idempotency-Key", (key.clone(), now), |reader, (key, now)| {
            idempotency::find(reader, key, *now).boxed()
        })
    }

    fn stored_job(&self, id: JobId) -> StoreFuture<Option<StoredJob>> {
        self.read("reading a job", id, |reader, id| unreadable::load(reader, *id).boxed())
    }

    fn job_recipe(&self, job: JobId) -> StoreFuture<Option<Value>> {
        self.read("reading a recipe", job, |reader, job| recipe(reader, *job).boxed())
    }

    fn end_unreadable_job(&self, id: JobId, now: Timestamp) -> StoreFuture<bool> {
        let given = (self.clone(), id, now);
        self.write("ending a job that cannot be read", given, |tx, (store, id, now)| {
            unreadable::end(tx, store, *id, *now).boxed()
        })
    }

    fn jobs_changed(&self) -> Arc<Notify> {
        self.jobs_changed.clone()
    }
}

/// Locks the leases of jobs and then the jobs, as all do that lock both.
pub(super) async fn lock_rows(tx: &PgWriter, ids: &[JobId]) -> Result<(), PgFault> {
    let texts = || ids.iter().map(JobId::to_string).collect::<Vec<String>>();
    let sql = "SELECT 1 FROM leases WHERE job = ANY ($1) ORDER BY job FOR NO KEY UPDATE";
    tx.query(sql, values![texts()]).await?;
    let sql = "SELECT 1 FROM jobs WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE";
    tx.query(sql, values![texts()]).await.map(drop)
}

/// Records that active jobs, whose rows are locked, are to end.
pub(super) async fn cancel_rows(tx: &PgWriter, ids: &[JobId], cancel: Cancel) -> Result<(), PgFault> {
    let texts = || ids.iter().map(JobId::to_string).collect::<Vec<String>>();
    let sql = "UPDATE leases SET wake_now = true WHERE job = ANY ($1)";
    tx.execute(sql, values![texts()]).await?;
    tx.execute("UPDATE jobs SET cancel = $2 WHERE id = ANY ($1)", values![texts(), Json(cancel)]).await?;
    tx.jobs_changed();
    Ok(())
}

async fn insert(tx: &PgWriter, request: &NewRequest) -> Result<Inserted, PgFault> {
    let (store, new, recipe, events, key) = request;
    if let Some(key) = key {
        // Of two requests with one key, the second one finds what the first one added.
        tx.lock_named(DatabaseLock::Requests, &key.key).await?;
        if let Some(repeated) = idempotency::find(tx, key, new.created_at).await? {
            return Ok(repeated);
        }
    }
    add(tx, store, new, recipe, events).await?;
    if let Some(key) = key {
        idempotency::remember(tx, key, new.id, new.created_at).await?;
    }
    let job = load(tx, new.id).await?.ok_or(StoreError::UnknownJob { job: new.id })?;
    Ok(Inserted::New(job))
}

/// Adds the job of a batch, and returns the labels of its server.
pub(super) async fn insert_held(
    tx: &PgWriter,
    store: &Postgres,
    batch: BatchId,
    new: &NewJob,
    recipe: &SealedRecipe,
) -> Result<BTreeMap<String, String>, PgFault> {
    add(tx, store, &NewJobRow::accepted(new, Some(batch)), recipe, &new.events).await
}

async fn add(
    tx: &PgWriter,
    store: &Postgres,
    new: &NewJobRow,
    recipe: &SealedRecipe,
    events: &[NewEvent],
) -> Result<BTreeMap<String, String>, PgFault> {
    // The server stays until the job is there.
    let sql = "SELECT labels FROM servers WHERE serial = $1 FOR SHARE";
    let row = tx.optional(sql, values![new.server.as_str()]).await?;
    let row = row.ok_or_else(|| StoreError::UnknownServer { serial: new.server.clone() })?;
    let Json(labels): Json<BTreeMap<String, String>> = row
        .try_get(0)
        .map_err(|error| PgFault::in_row(format!("server {:?}", new.server.as_str()), error))?;
    if new.refusal.is_none() {
        check_idle(tx, &new.server).await?;
    }
    let mut count = EventCount { seq: 0, dropped: 0 };
    tx.report(events::numbered(new.id, events, &mut count));
    insert_row(tx, store, new, &count).await?;
    tx.execute("INSERT INTO leases (job) VALUES ($1)", values![Word(new.id)]).await?;
    let SealedRecipe { recipe, spec, errors } = recipe;
    let sql = "INSERT INTO recipes (job, recipe, spec, errors) VALUES ($1, $2, $3, $4)";
    tx.execute(sql, values![Word(new.id), recipe.as_slice(), spec.as_deref(), Json(errors)]).await?;
    if !labels.is_empty() {
        let sql = "INSERT INTO job_labels (name, value, job)
            SELECT name, value, $3 FROM unnest($1::text[], $2::text[]) AS label (name, value)";
        let (names, texts): (Vec<String>, Vec<String>) = labels.clone().into_iter().unzip();
        tx.execute(sql, values![names, texts, Word(new.id)]).await?;
    }
    tx.jobs_changed();
    Ok(labels)
}

async fn insert_row(
    tx: &PgWriter,
    store: &Postgres,
    new: &NewJobRow,
    count: &EventCount,
) -> Result<(), PgFault> {
    let FirstState { status, cursor, verdict, failed_step, finished_at } = new.first_state();
    let sql = format!(
        "INSERT INTO jobs
        (id, server, task_target, status, phase, wake_at, retry_of, created_at, last_update,
         finished_at, failed_step, failure_code, reason, verdict, cursor, facts, batch, held, event_seq, events_dropped)
        VALUES ($1, $2, $3, $4, $5, coalesce($6, {DATABASE_NOW}), $7, $8, $8, $9, $10, $11, $12, $13, $14, $15, $16,
         $16 IS NOT NULL, $17, $18)"
    );
    let values = values![
        Word(new.id),
        Word(&new.server),
        new.kept_task_target(),
        Word(status),
        Word(cursor.phase),
        store.database.lease_clock.given(new.created_at),
        new.retry_of.map(Word),
        Millis(new.created_at),
        finished_at.map(Millis),
        failed_step.map(Word),
        new.refusal.as_ref().map(|(code, _)| Word(*code)),
        new.refusal.as_ref().map(|(_, reason)| clipped(reason, TEXT_CHARS_MAX)),
        verdict.map(Json),
        Stored(&cursor),
        Stored(&Facts::default()),
        new.batch.map(Word),
        Count(count.seq),
        Count(count.dropped),
    ];
    tx.execute(&sql, values).await.map(drop)
}

/// The recipe as typed.
async fn recipe(reader: &PgReader, job: JobId) -> Result<Option<Value>, PgFault> {
    let row = reader.optional("SELECT recipe FROM recipes WHERE job = $1", values![Word(job)]).await?;
    let Some(row) = row else { return Ok(None) };
    let opened = open_recipe(&reader.sealer, job, &row.try_get::<_, Vec<u8>>(0)?);
    opened.map(Some).map_err(|error| PgFault::row(format!("the sealed recipe of job {job}"), error))
}

async fn page(reader: &PgReader, filter: &JobFilter) -> Result<Vec<StoredJob>, PgFault> {
    // Only the conditions that are asked for, so that the index made for them is chosen.
    let mut sql = format!("{JOBS} WHERE true");
    let mut values: Vec<PgValue> = Vec::new();
    let mut only = |condition: &str, value: PgValue| {
        values.push(value);
        sql += &format!(" AND {condition} ${}", values.len());
    };
    if let Some(status) = filter.status {
        only("jobs.status =", Word(status).into_value());
    }
    if let Some(server) = &filter.server {
        only("jobs.server =", Word(server).into_value());
    }
    if let Some(batch) = filter.batch {
        only("jobs.batch =", Word(batch).into_value());
    }
    if let Some(before) = filter.before {
        only("jobs.id <", Word(before).into_value());
    }
    if let Some((name, value)) = &filter.label {
        values.extend([name.into_value(), value.into_value()]);
        let (name, value) = (values.len() - 1, values.len());
        sql += &format!(
            " AND jobs.id IN (SELECT job FROM job_labels WHERE name = ${name} AND value = ${value})"
        );
    }
    if !filter.refused {
        sql += " AND recipes.spec IS NOT NULL";
    }
    sql += &format!(" ORDER BY jobs.id DESC LIMIT {}", filter.limit.min(PAGE_MAX));
    let rows = reader.query(&sql, &values).await?;
    rows.iter().map(|row| unreadable::stored(reader, row)).collect()
}

/// The newest job of each of these servers.
pub(super) async fn last_jobs(
    reader: &PgReader,
    servers: Vec<String>,
) -> Result<BTreeMap<String, StoredJob>, PgFault> {
    let sql = "SELECT last.*, recipes.spec FROM unnest($1::text[]) AS given (serial)
        JOIN LATERAL (SELECT * FROM jobs WHERE jobs.server = given.serial ORDER BY id DESC LIMIT 1) AS last ON true
        JOIN recipes ON recipes.job = last.id";
    let rows = reader.query(sql, values![servers]).await?;
    let job = |row| unreadable::stored(reader, row).map(|job| (job.server().to_owned(), job));
    rows.iter().map(job).collect()
}
