//! The tables `traces`, `hook_reports`, `task_reports` and `deliveries`.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, params};

use super::fault::Fault;
use super::row::{Stored, Word};
use super::{Reader, Sqlite, Writer, job_rows};
use crate::domain::{HookReport, JobId, MediumTrace, TaskProgress, TaskResult};
use crate::store::reports::{DELIVERIES_MAX, delivery_of_secret, follows, replaces};
use crate::store::{ReportStore, StoreFuture, TaskReports};

impl ReportStore for Sqlite {
    fn save_trace(&self, job: JobId, medium: &str, trace: &MediumTrace) -> StoreFuture<()> {
        let (medium, trace) = (medium.to_owned(), trace.clone());
        self.write("saving a read trace", move |writer| {
            job_rows::check_exists(writer, job)?;
            let trace = match load_trace(&writer.reader(), job, &medium)? {
                Some(saved) => saved.joined(trace),
                None => trace,
            };
            let sql = "INSERT INTO traces (job, medium, trace) VALUES (?1, ?2, ?3)
                ON CONFLICT (job, medium) DO UPDATE SET trace = excluded.trace";
            writer.prepare_cached(sql)?.execute(params![Word(job), medium, Stored(&trace)])?;
            Ok(())
        })
    }

    fn load_trace(&self, job: JobId, medium: &str) -> StoreFuture<Option<MediumTrace>> {
        let medium = medium.to_owned();
        self.read("reading a read trace", move |reader| load_trace(reader, job, &medium))
    }

    fn load_traces(&self, job: JobId) -> StoreFuture<BTreeMap<String, MediumTrace>> {
        self.read("reading the read traces of a job", move |reader| load_traces(reader, job))
    }

    fn save_hook_report(&self, job: JobId, report: HookReport) -> StoreFuture<bool> {
        self.write("saving the report of a hook", move |writer| {
            job_rows::check_exists(writer, job)?;
            let sql = "INSERT INTO hook_reports (job, report) VALUES (?1, ?2) ON CONFLICT (job) DO NOTHING";
            let rows = writer.prepare_cached(sql)?.execute(params![Word(job), Stored(&report)])?;
            Ok(rows > 0)
        })
    }

    fn load_hook_report(&self, job: JobId) -> StoreFuture<Option<HookReport>> {
        self.read("reading the report of a hook", move |reader| load_hook_report(reader, job))
    }

    fn save_task_result(&self, job: JobId, result: TaskResult) -> StoreFuture<bool> {
        self.write("saving the result of a maintenance system", move |writer| {
            job_rows::check_exists(writer, job)?;
            let kept = load_task_reports(&writer.reader(), job)?.result;
            let is_decided = job_rows::status(&writer.reader(), job)?.is_decided();
            if !replaces(&result, kept.as_ref(), is_decided) {
                return Ok(false);
            }
            if let Some(delivery) = delivery_of_secret(&result)
                && !keep_delivery(writer, job, delivery)?
            {
                return Ok(false);
            }
            let sql = "INSERT INTO task_reports (job, result) VALUES (?1, ?2)
                ON CONFLICT (job) DO UPDATE SET result = excluded.result";
            writer.prepare_cached(sql)?.execute(params![Word(job), Stored(&result)])?;
            Ok(true)
        })
    }

    fn refuse_delivery(&self, job: JobId, delivery_id: &str) -> StoreFuture<()> {
        let delivery_id = delivery_id.to_owned();
        self.write("saving the id of a delivery", move |writer| {
            job_rows::check_exists(writer, job)?;
            keep_delivery(writer, job, &delivery_id).map(drop)
        })
    }

    fn save_task_progress(&self, job: JobId, progress: TaskProgress) -> StoreFuture<()> {
        self.write("saving the progress of a maintenance system", move |writer| {
            job_rows::check_exists(writer, job)?;
            let before = load_task_reports(&writer.reader(), job)?.progress;
            if !follows(&progress, before.as_ref()) {
                return Ok(());
            }
            let sql = "INSERT INTO task_reports (job, progress) VALUES (?1, ?2)
                ON CONFLICT (job) DO UPDATE SET progress = excluded.progress";
            writer.prepare_cached(sql)?.execute(params![Word(job), Stored(&progress)])?;
            Ok(())
        })
    }

    fn load_task_reports(&self, job: JobId) -> StoreFuture<TaskReports> {
        self.read("reading the reports of a maintenance system", move |reader| load_task_reports(reader, job))
    }
}

/// Keeps the id of a delivery; returns whether no job of that server has it yet.
fn keep_delivery(writer: &Writer<'_>, job: JobId, delivery_id: &str) -> Result<bool, Fault> {
    let known = "SELECT 1 FROM deliveries JOIN jobs ON jobs.id = deliveries.job
        WHERE delivery_id = ?2 AND jobs.server = (SELECT server FROM jobs WHERE id = ?1)";
    if writer.prepare_cached(known)?.exists(params![Word(job), delivery_id])? {
        return Ok(false);
    }
    let keep = "INSERT INTO deliveries (job, delivery_id) SELECT ?1, ?2
        WHERE (SELECT count(*) FROM deliveries WHERE job = ?1) < ?3";
    writer.prepare_cached(keep)?.execute(params![Word(job), delivery_id, DELIVERIES_MAX])?;
    Ok(true)
}

fn load_task_reports(reader: &Reader<'_>, job: JobId) -> Result<TaskReports, Fault> {
    let mut statement = reader.prepare_cached("SELECT result, progress FROM task_reports WHERE job = ?1")?;
    let found = statement.query_row(params![Word(job)], |row| {
        let result: Option<Stored<TaskResult>> = row.get(0)?;
        let progress: Option<Stored<TaskProgress>> = row.get(1)?;
        Ok(TaskReports {
            result: result.map(|Stored(value)| value),
            progress: progress.map(|Stored(value)| value),
        })
    });
    let found =
        found.optional().map_err(|error| Fault::in_row(format!("the reports of job {job}"), error))?;
    Ok(found.unwrap_or_default())
}

/// Fails where a report about the job cannot be read.
pub(super) fn check(reader: &Reader<'_>, job: JobId) -> Result<(), Fault> {
    load_traces(reader, job)?;
    load_hook_report(reader, job)?;
    load_task_reports(reader, job).map(drop)
}

fn load_trace(reader: &Reader<'_>, job: JobId, medium: &str) -> Result<Option<MediumTrace>, Fault> {
    let mut statement = reader.prepare_cached("SELECT trace FROM traces WHERE job = ?1 AND medium = ?2")?;
    let trace = statement.query_row(params![Word(job), medium], |row| row.get::<_, Stored<_>>(0)).optional();
    Ok(trace
        .map_err(|error| Fault::in_row(format!("the read trace of job {job}"), error))?
        .map(|Stored(trace)| trace))
}

fn load_traces(reader: &Reader<'_>, job: JobId) -> Result<BTreeMap<String, MediumTrace>, Fault> {
    let mut statement = reader.prepare_cached("SELECT medium, trace FROM traces WHERE job = ?1")?;
    let traces = statement.query_and_then([Word(job)], |row| {
        let Stored(trace) = row.get(1)?;
        Ok((row.get(0)?, trace))
    })?;
    let read: rusqlite::Result<_> = traces.collect();
    read.map_err(|error| Fault::in_row(format!("the read trace of job {job}"), error))
}

fn load_hook_report(reader: &Reader<'_>, job: JobId) -> Result<Option<HookReport>, Fault> {
    let mut statement = reader.prepare_cached("SELECT report FROM hook_reports WHERE job = ?1")?;
    let report = statement.query_row(params![Word(job)], |row| row.get::<_, Stored<_>>(0)).optional();
    let report = report.map_err(|error| Fault::in_row(format!("the hook's report of job {job}"), error))?;
    Ok(report.map(|Stored(report)| report))
}
