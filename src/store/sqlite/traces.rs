//! The read traces: what each job's media were read of.
//!
//! Invariant: a milestone that was saved once stays. Saves of one trace may overtake each other on
//! their way here, and a controller that forgot that the kickstart was read would judge wrongly.
//!
//! A save names no lease. It is no worker's word on how a job goes on but the media server's on what
//! has left, which is true whoever drives the job; and to refuse it would be to withhold the bytes.

use rusqlite::{OptionalExtension as _, params};

use super::fault::Fault;
use super::row::{Stored, Word};
use super::{Reader, Store, job_rows};
use crate::domain::{JobId, MediumTrace};
use crate::store::StoreError;

impl Store {
    /// Saves the trace of one medium, joined with what was saved of it before.
    pub async fn save_trace(&self, job: JobId, medium: &str, trace: &MediumTrace) -> Result<(), StoreError> {
        let (medium, trace) = (medium.to_owned(), trace.clone());
        self.write("saving a read trace", move |writer| {
            job_rows::check_exists(writer, job)?;
            let trace = match load(&writer.reader(), job, &medium)? {
                Some(saved) => joined(saved, trace),
                None => trace,
            };
            let sql = "INSERT INTO traces (job, medium, trace) VALUES (?1, ?2, ?3)
                ON CONFLICT (job, medium) DO UPDATE SET trace = excluded.trace";
            writer.prepare_cached(sql)?.execute(params![Word(job), medium, Stored(&trace)])?;
            Ok(())
        })
        .await
    }

    pub async fn load_trace(&self, job: JobId, medium: &str) -> Result<Option<MediumTrace>, StoreError> {
        let medium = medium.to_owned();
        self.read("reading a read trace", move |reader| load(reader, job, &medium)).await
    }
}

fn load(reader: &Reader<'_>, job: JobId, medium: &str) -> Result<Option<MediumTrace>, Fault> {
    let mut statement = reader.prepare_cached("SELECT trace FROM traces WHERE job = ?1 AND medium = ?2")?;
    let trace = statement.query_row(params![Word(job), medium], |row| row.get::<_, Stored<_>>(0)).optional();
    Ok(trace
        .map_err(|error| Fault::in_row(format!("the read trace of job {job}"), error))?
        .map(|Stored(trace)| trace))
}

/// Fails where one of the job's traces cannot be read.
pub(super) fn check(reader: &Reader<'_>, job: JobId) -> Result<(), Fault> {
    let mut statement = reader.prepare_cached("SELECT trace FROM traces WHERE job = ?1")?;
    let traces = statement.query_and_then([Word(job)], |row| row.get::<_, Stored<MediumTrace>>(0))?;
    let read: rusqlite::Result<Vec<_>> = traces.collect();
    read.map(drop).map_err(|error| Fault::in_row(format!("the read trace of job {job}"), error))
}

/// `new`, with every milestone that only `saved` knows; of two times of a milestone the first one
/// counts, of what happens once in each run of an installer the last.
fn joined(saved: MediumTrace, new: MediumTrace) -> MediumTrace {
    let nonce_copied = saved.nonce_copied || new.nonce_copied;
    MediumTrace {
        read: saved.read.max(new.read),
        first_read_at: saved.first_read_at.or(new.first_read_at),
        last_read_at: saved.last_read_at.max(new.last_read_at),
        last_new_read_at: saved.last_new_read_at.max(new.last_new_read_at),
        read_through_at: saved.read_through_at.or(new.read_through_at),
        ks_read_at: saved.ks_read_at.or(new.ks_read_at),
        nonce_read_at: saved.nonce_read_at.or(new.nonce_read_at).filter(|_| !nonce_copied),
        nonce_copied,
        reenumerated_at: saved.reenumerated_at.max(new.reenumerated_at),
        ks_read_again_at: saved.ks_read_again_at.max(new.ks_read_again_at),
        ..new
    }
}
