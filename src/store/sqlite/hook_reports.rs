//! What the hooks of installers reported, one report a job.
//!
//! Invariant: the first report stays.

use rusqlite::{OptionalExtension as _, params};

use super::fault::Fault;
use super::row::{Stored, Word};
use super::{Reader, Store, job_rows};
use crate::domain::{HookReport, JobId};
use crate::store::StoreError;

impl Store {
    /// Keeps the report; says whether it is the job's first one.
    pub async fn save_hook_report(&self, job: JobId, report: HookReport) -> Result<bool, StoreError> {
        self.write("saving the report of a hook", move |writer| {
            job_rows::check_exists(writer, job)?;
            let sql = "INSERT INTO hook_reports (job, report) VALUES (?1, ?2) ON CONFLICT (job) DO NOTHING";
            let rows = writer.prepare_cached(sql)?.execute(params![Word(job), Stored(&report)])?;
            Ok(rows > 0)
        })
        .await
    }

    pub async fn load_hook_report(&self, job: JobId) -> Result<Option<HookReport>, StoreError> {
        self.read("reading the report of a hook", move |reader| load(reader, job)).await
    }
}

pub(super) fn load(reader: &Reader<'_>, job: JobId) -> Result<Option<HookReport>, Fault> {
    let mut statement = reader.prepare_cached("SELECT report FROM hook_reports WHERE job = ?1")?;
    let report = statement.query_row(params![Word(job)], |row| row.get::<_, Stored<_>>(0)).optional();
    let report = report.map_err(|error| Fault::in_row(format!("the hook's report of job {job}"), error))?;
    Ok(report.map(|Stored(report)| report))
}
