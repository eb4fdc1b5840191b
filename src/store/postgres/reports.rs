//! The tables `traces`, `hook_reports`, `task_reports` and `deliveries`.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;

use super::Postgres;
use super::fault::PgFault;
use super::job_rows::check_exists;
use super::row::{Stored, Word, values};
use super::writer::{DatabaseLock, PgReader, PgWriter};
use crate::domain::{HookReport, JobId, MediumTrace, Status, TaskProgress, TaskResult};
use crate::store::reports::{DELIVERIES_MAX, delivery_of_secret, follows, replaces};
use crate::store::{ReportStore, StoreError, StoreFuture, TaskReports};

impl ReportStore for Postgres {
    fn save_trace(&self, job: JobId, medium: &str, trace: &MediumTrace) -> StoreFuture<()> {
        let given = (job, medium.to_owned(), trace.clone());
        self.write("saving a read trace", given, |tx, (job, medium, trace)| {
            save_trace(tx, *job, medium, trace).boxed()
        })
    }

    fn load_trace(&self, job: JobId, medium: &str) -> StoreFuture<Option<MediumTrace>> {
        self.read("reading a read trace", (job, medium.to_owned()), |reader, (job, medium)| {
            async move {
                let sql = "SELECT trace FROM traces WHERE job = $1 AND medium = $2";
                trace_of(reader, sql, *job, medium).await
            }
            .boxed()
        })
    }

    fn load_traces(&self, job: JobId) -> StoreFuture<BTreeMap<String, MediumTrace>> {
        self.read("reading the read traces of a job", job, |reader, job| {
            async move {
                let rows = reader
                    .query("SELECT medium, trace FROM traces WHERE job = $1", values![Word(job)])
                    .await?;
                let traces = rows.iter().map(|row| {
                    let Stored(trace) = row.try_get::<_, Stored<_>>(1)?;
                    Ok((row.try_get(0)?, trace))
                });
                let read: Result<_, tokio_postgres::Error> = traces.collect();
                read.map_err(|error| PgFault::in_row(format!("the read trace of job {job}"), error))
            }
            .boxed()
        })
    }

    fn save_hook_report(&self, job: JobId, report: HookReport) -> StoreFuture<bool> {
        self.write("saving the report of a hook", (job, report), |tx, (job, report)| {
            async move {
                check_exists(tx, *job).await?;
                let sql =
                    "INSERT INTO hook_reports (job, report) VALUES ($1, $2) ON CONFLICT (job) DO NOTHING";
                Ok(tx.execute(sql, values![Word(job), Stored(report)]).await? > 0)
            }
            .boxed()
        })
    }

    fn load_hook_report(&self, job: JobId) -> StoreFuture<Option<HookReport>> {
        self.read("reading the report of a hook", job, |reader, job| {
            async move {
                let sql = "SELECT report FROM hook_reports WHERE job = $1";
                let row = reader.optional(sql, values![Word(job)]).await?;
                let report = row.map(|row| row.try_get::<_, Stored<_>>(0)).transpose();
                let report =
                    report.map_err(|error| PgFault::in_row(format!("the hook's report of job {job}"), error));
                Ok(report?.map(|Stored(report)| report))
            }
            .boxed()
        })
    }

    fn save_task_result(&self, job: JobId, result: TaskResult) -> StoreFuture<bool> {
        let given = (job, result);
        self.write("saving the result of a maintenance system", given, |tx, (job, result)| {
            async move {
                let status = lock_job(tx, *job).await?;
                let kept = load_task_reports(tx, *job).await?.result;
                if !replaces(result, kept.as_ref(), status.is_decided()) {
                    return Ok(false);
                }
                if let Some(delivery) = delivery_of_secret(result)
                    && !keep_delivery(tx, *job, delivery).await?
                {
                    return Ok(false);
                }
                let sql = "INSERT INTO task_reports (job, result) VALUES ($1, $2)
                    ON CONFLICT (job) DO UPDATE SET result = excluded.result";
                tx.execute(sql, values![Word(job), Stored(result)]).await?;
                Ok(true)
            }
            .boxed()
        })
    }

    fn refuse_delivery(&self, job: JobId, delivery_id: &str) -> StoreFuture<()> {
        let given = (job, delivery_id.to_owned());
        self.write("saving the id of a delivery", given, |tx, (job, delivery_id)| {
            async move {
                lock_job(tx, *job).await?;
                keep_delivery(tx, *job, delivery_id).await.map(drop)
            }
            .boxed()
        })
    }

    fn save_task_progress(&self, job: JobId, progress: TaskProgress) -> StoreFuture<()> {
        let given = (job, progress);
        self.write("saving the progress of a maintenance system", given, |tx, (job, progress)| {
            async move {
                lock_job(tx, *job).await?;
                let before = load_task_reports(tx, *job).await?.progress;
                if !follows(progress, before.as_ref()) {
                    return Ok(());
                }
                let sql = "INSERT INTO task_reports (job, progress) VALUES ($1, $2)
                    ON CONFLICT (job) DO UPDATE SET progress = excluded.progress";
                tx.execute(sql, values![Word(job), Stored(progress)]).await.map(drop)
            }
            .boxed()
        })
    }

    fn load_task_reports(&self, job: JobId) -> StoreFuture<TaskReports> {
        self.read("reading the reports of a maintenance system", job, |reader, job| {
            load_task_reports(reader, *job).boxed()
        })
    }
}

/// Keeps the reports of one job apart until the end of the transaction; returns its status.
async fn lock_job(tx: &PgWriter, job: JobId) -> Result<Status, PgFault> {
    let row =
        tx.optional("SELECT status FROM jobs WHERE id = $1 FOR NO KEY UPDATE", values![Word(job)]).await?;
    let row = row.ok_or(StoreError::UnknownJob { job })?;
    let status = row.try_get::<_, Word<_>>(0).map_err(|error| PgFault::in_row(format!("job {job}"), error));
    Ok(status?.0)
}

/// Joined with what any controller has saved of it before, whose row is locked.
async fn save_trace(tx: &PgWriter, job: JobId, medium: &str, trace: &MediumTrace) -> Result<(), PgFault> {
    check_exists(tx, job).await?;
    let sql = "SELECT trace FROM traces WHERE job = $1 AND medium = $2 FOR UPDATE";
    match trace_of(tx, sql, job, medium).await? {
        Some(saved) => {
            let sql = "UPDATE traces SET trace = $3 WHERE job = $1 AND medium = $2";
            let trace = saved.joined(trace.clone());
            tx.execute(sql, values![Word(job), medium, Stored(&trace)]).await.map(drop)
        }
        // Where another controller does the same, one of them is refused and looks again.
        None => {
            let sql = "INSERT INTO traces (job, medium, trace) VALUES ($1, $2, $3)";
            tx.execute(sql, values![Word(job), medium, Stored(trace)]).await.map(drop)
        }
    }
}

async fn trace_of(
    reader: &PgReader,
    sql: &str,
    job: JobId,
    medium: &str,
) -> Result<Option<MediumTrace>, PgFault> {
    let row = reader.optional(sql, values![Word(job), medium]).await?;
    let trace = row.map(|row| row.try_get::<_, Stored<_>>(0)).transpose();
    let trace = trace.map_err(|error| PgFault::in_row(format!("the read trace of job {job}"), error))?;
    Ok(trace.map(|Stored(trace)| trace))
}

/// Keeps the id of a delivery; returns whether no job of that server has it yet.
async fn keep_delivery(tx: &PgWriter, job: JobId, delivery_id: &str) -> Result<bool, PgFault> {
    // Jobs of one server are served by one key, whichever controllers they came to.
    tx.lock_named(DatabaseLock::Deliveries, delivery_id).await?;
    let known = "SELECT 1 FROM deliveries JOIN jobs ON jobs.id = deliveries.job
        WHERE delivery_id = $2 AND jobs.server = (SELECT server FROM jobs WHERE id = $1)";
    if tx.exists(known, values![Word(job), delivery_id]).await? {
        return Ok(false);
    }
    let keep = "INSERT INTO deliveries (job, delivery_id) SELECT $1, $2
        WHERE (SELECT count(*) FROM deliveries WHERE job = $1) < $3";
    tx.execute(keep, values![Word(job), delivery_id, DELIVERIES_MAX]).await?;
    Ok(true)
}

async fn load_task_reports(reader: &PgReader, job: JobId) -> Result<TaskReports, PgFault> {
    let sql = "SELECT result, progress FROM task_reports WHERE job = $1";
    let Some(row) = reader.optional(sql, values![Word(job)]).await? else {
        return Ok(TaskReports::default());
    };
    let read = || {
        let result: Option<Stored<TaskResult>> = row.try_get(0)?;
        let progress: Option<Stored<TaskProgress>> = row.try_get(1)?;
        Ok(TaskReports {
            result: result.map(|Stored(value)| value),
            progress: progress.map(|Stored(value)| value),
        })
    };
    read().map_err(|error| PgFault::in_row(format!("the reports of job {job}"), error))
}
