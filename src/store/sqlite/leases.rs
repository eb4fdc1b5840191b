//! The lease columns of `jobs`: claims, renewals, and saves that a lease fences.
//!
//! Times are the caller's: one controller uses the file at a time, so there is one clock.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, named_params, params};

use super::fault::Fault;
use super::row::{Count, Json, Millis, Stored, Word};
use super::{Reader, Sqlite, Writer, batches, events, hosts, notifications, unreadable};
use crate::domain::{HostId, Job, JobId, JobIdError, NewEvent, Phase, Serial};
use crate::store::bounds::{TEXT_CHARS_MAX, clipped};
use crate::store::leases::Standing;
use crate::store::{HostHolder, Lease, LeaseStore, NotificationSubject, PAGE_MAX, StoreError, StoreFuture};
use shoal_base::world::after;

impl LeaseStore for Sqlite {
    fn claim(
        &self,
        owner: &str,
        now: Timestamp,
        ttl: Duration,
        limit: usize,
    ) -> StoreFuture<Vec<(Lease, Job)>> {
        let owner = owner.to_owned();
        self.write("claiming jobs", move |writer| {
            batches::release_due(writer, now)?;
            let (limit, mut claimed) = (limit.min(PAGE_MAX), Vec::new());
            while claimed.len() < limit {
                let due = due(writer, now, limit - claimed.len())?;
                if due.is_empty() {
                    break;
                }
                for id in due {
                    match read(writer, &id) {
                        Ok(job) => {
                            let generation = lease(writer, &id, &owner, after(now, ttl))?;
                            claimed.push((Lease { job: job.id, generation }, job));
                        }
                        Err(Fault::Row { row, source }) => {
                            unreadable::set_aside(writer, &id, &row, &*source)?;
                        }
                        Err(fault) => return Err(fault),
                    }
                }
            }
            Ok(claimed)
        })
    }

    fn renew(&self, owner: &str, leases: &[Lease], now: Timestamp, ttl: Duration) -> StoreFuture<Vec<Lease>> {
        let (owner, leases) = (owner.to_owned(), leases.to_vec());
        self.write("renewing leases", move |writer| {
            let sql = "UPDATE jobs SET lease_until = ?4
                WHERE id = ?1 AND lease_generation = ?2 AND lease_owner = ?3";
            let mut statement = writer.prepare_cached(sql)?;
            let mut held = Vec::new();
            for lease in leases {
                let until = Millis(after(now, ttl));
                if statement.execute(params![Word(lease.job), Count(lease.generation), owner, until])? > 0 {
                    held.push(lease);
                }
            }
            Ok(held)
        })
    }

    fn save(&self, lease: &Lease, job: &Job, events: Vec<NewEvent>) -> StoreFuture<()> {
        let (lease, job) = (*lease, job.clone());
        self.write("saving a job", move |writer| {
            write(writer, &lease, &job)?;
            events::append(writer, lease.job, &events)
        })
    }

    fn take_host(&self, lease: &Lease, job: &Job) -> StoreFuture<Option<HostHolder>> {
        let (lease, job) = (*lease, job.clone());
        self.write("taking a host", move |writer| {
            let host = job.facts.system.as_ref().and_then(|system| system.host.as_ref());
            let others = |other: JobId, _: &Serial| other != lease.job;
            if let Some(host) = host
                && let Some(holder) = hosts::holder(&writer.reader(), host, others)?
            {
                return Ok(Some(holder));
            }
            write(writer, &lease, &job)?;
            if let Some(host) = host {
                hosts::note(writer, lease.job, host)?;
            }
            Ok(None)
        })
    }

    fn host_holder(&self, host: &HostId, than: &Serial) -> StoreFuture<Option<HostHolder>> {
        let (host, than) = (host.clone(), than.clone());
        self.read("looking for the holder of a host", move |reader| {
            hosts::holder(reader, &host, |_, server| *server != than)
        })
    }

    fn release(&self, lease: &Lease) -> StoreFuture<()> {
        let lease = *lease;
        self.write("releasing a job", move |writer| {
            let sql = "UPDATE jobs SET lease_owner = NULL, lease_until = NULL
                WHERE id = ?1 AND lease_generation = ?2 AND lease_owner IS NOT NULL";
            let released = writer.execute(sql, params![Word(lease.job), Count(lease.generation)])?;
            writer.jobs_changed.set(released > 0);
            Ok(())
        })
    }

    fn next_wake(&self, now: Timestamp) -> StoreFuture<Option<Timestamp>> {
        self.read("looking for the next job", move |reader| {
            let at = [next_claimable(reader, now)?, batches::next_look(reader)?].into_iter().flatten().min();
            Ok(at.map(|at| at.max(now)))
        })
    }
}

/// SQL for "due, whatever its time to wake".
const DUE_NOW: &str = "(wake_now OR (cancel IS NOT NULL AND phase = 'forward'))";

/// SQL for "its batch has released it, or it is to end".
const RELEASED: &str = "(NOT held OR cancel IS NOT NULL)";

/// SQL for "not met as unreadable yet".
const READABLE: &str = "id NOT IN (SELECT id FROM temp.unreadable_jobs)";

/// SQL for jobs without a lease, and for those whose lease has run out by ?1. By an index each: the jobs that are being
/// driven, and what is held of them, are not read.
const FREE: [&str; 2] = [
    "jobs INDEXED BY waiting_jobs WHERE lease_until IS NULL",
    "jobs INDEXED BY leased_jobs WHERE lease_until <= ?1",
];

/// Ids of due jobs, as they stand in the database: one that cannot be read must not hold up others.
fn due(writer: &Writer<'_>, now: Timestamp, limit: usize) -> Result<Vec<String>, Fault> {
    let mut statement = writer.prepare_cached(&due_sql())?;
    let ids = statement.query_map(params![Millis(now), Count(limit as u64)], |row| row.get(0))?;
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn due_sql() -> String {
    let free = FREE.map(|jobs| {
        format!(
            "SELECT id FROM {jobs} AND phase <> 'done' AND {READABLE} AND {RELEASED}
                AND (wake_at <= ?1 OR {DUE_NOW})"
        )
    });
    format!("{} ORDER BY id LIMIT ?2", free.join(" UNION ALL "))
}

fn read(writer: &Writer<'_>, id: &str) -> Result<Job, Fault> {
    let id: JobId = id.parse().map_err(|error: JobIdError| Fault::row(format!("job {id:?}"), error))?;
    unreadable::load_whole(&writer.reader(), id)
}

/// Returns the lease's generation.
fn lease(writer: &Writer<'_>, id: &str, owner: &str, until: Timestamp) -> Result<u64, Fault> {
    let sql = "UPDATE jobs SET lease_owner = ?2, lease_until = ?3, wake_now = 0,
        lease_generation = lease_generation + 1 WHERE id = ?1 RETURNING lease_generation";
    let mut statement = writer.prepare_cached(sql)?;
    let generation = statement.query_row(params![id, owner, Millis(until)], |row| row.get(0));
    let Count(generation) = generation?;
    Ok(generation)
}

/// What is written once of a job whose lease this is.
fn held(writer: &Writer<'_>, lease: &Lease) -> Result<Standing, Fault> {
    let sql = "SELECT status, phase, verdict FROM jobs
        WHERE id = ?1 AND lease_generation = ?2 AND lease_owner IS NOT NULL";
    let mut statement = writer.prepare_cached(sql)?;
    let standing = statement
        .query_row(params![Word(lease.job), Count(lease.generation)], |row| {
            Ok(Standing {
                status: row.get::<_, Word<_>>(0)?.0,
                phase: row.get::<_, Word<_>>(1)?.0,
                verdict: row.get::<_, Option<Json<_>>>(2)?.map(|Json(verdict)| verdict),
            })
        })
        .optional()
        .map_err(|error| Fault::in_row(format!("job {}", lease.job), error))?;
    Ok(standing.ok_or(StoreError::LeaseLost { job: lease.job })?)
}

/// Writes the job as it stands now, if the lease holds and nothing final changes. Columns that lists and claims go by are
/// written only where they change: each costs its indexes.
fn write(writer: &Writer<'_>, lease: &Lease, job: &Job) -> Result<(), Fault> {
    let before = held(writer, lease)?;
    before.check(job)?;
    if job.status.is_decided() && !before.status.is_decided() {
        notifications::add(writer, NotificationSubject::JobEnded(lease.job), job.last_update)?;
    }
    let is_over = job.cursor.phase == Phase::Done;
    if before.status != job.status || before.phase != job.cursor.phase || is_over {
        let sql = "UPDATE jobs SET status = ?2, phase = ?3, finished_at = ?4 WHERE id = ?1";
        let finished_at = job.finished_at.map(Millis);
        let standing = params![Word(lease.job), Word(job.status), Word(job.cursor.phase), finished_at];
        writer.prepare_cached(sql)?.execute(standing)?;
    }
    if is_over {
        hosts::forget(writer, lease.job)?;
    }
    let sql = "UPDATE jobs SET wake_at = :wake_at, cursor = :cursor, facts = :facts, verdict = :verdict,
        failed_step = :failed_step, failure_code = :failure_code, reason = :reason, last_update = :now
        WHERE id = :id";
    writer.prepare_cached(sql)?.execute(named_params! {
        ":id": Word(lease.job),
        ":wake_at": Millis(job.cursor.wake_at),
        ":cursor": Stored(&job.cursor),
        ":facts": Stored(&job.facts),
        ":verdict": job.verdict.as_ref().map(Json),
        ":failed_step": job.failed_step.map(Word),
        ":failure_code": job.failure_code.map(Word),
        ":reason": job.reason.as_deref().map(|reason| clipped(reason, TEXT_CHARS_MAX)),
        ":now": Millis(job.last_update),
    })?;
    Ok(())
}

fn next_claimable(reader: &Reader<'_>, now: Timestamp) -> Result<Option<Timestamp>, Fault> {
    let mut statement = reader.prepare_cached(&next_sql())?;
    let at = statement.query_row([Millis(now)], |row| row.get::<_, Option<Millis>>(0));
    Ok(at.map_err(|error| Fault::in_row("a job's time to wake", error))?.map(|Millis(at)| at))
}

pub(super) fn next_sql() -> String {
    let free = FREE.map(|jobs| {
        format!(
            "SELECT min(iif({DUE_NOW}, 0, wake_at)) AS at FROM {jobs} AND phase <> 'done'
                AND {READABLE} AND {RELEASED}"
        )
    });
    format!(
        "SELECT min(at) FROM ({} UNION ALL
            SELECT min(lease_until) FROM jobs INDEXED BY leased_jobs WHERE lease_until > ?1 AND phase <> 'done')",
        free.join(" UNION ALL ")
    )
}

/// Only one controller lives (the lock proves it), so no lease of an earlier run is anybody's.
pub(super) fn release_all_of_previous_run(connection: &Connection) -> Result<(), Fault> {
    // Due now, whatever the clock says: it may have been wrong when they were to wake.
    let sql = "UPDATE jobs SET lease_owner = NULL, lease_until = NULL, wake_now = 1 WHERE phase <> 'done'";
    connection.execute(sql, [])?;
    unreadable::forget_all(connection)
}
