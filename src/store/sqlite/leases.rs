//! Who goes on with a job: claims, leases, and saving how the job goes forward.
//!
//! A lease is a generation that rises with every claim. Invariant: a save names its generation and
//! is checked in the transaction that writes it, so a controller that was away for too long, while
//! another took its job over, writes nothing more of it.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, named_params, params};

use super::fault::Fault;
use super::row::{Count, Json, Millis, SENTENCE_CHARS_MAX, Stored, Word, clipped, json};
use super::{Reader, Store, Writer, events, unreadable};
use crate::domain::{Job, JobId, JobIdError, NewEvent, Phase, Status};
use crate::store::{Lease, PAGE_MAX, StoreError};
use shoal_base::world::after;

impl Store {
    /// Leases to `owner`, until `now + ttl`, up to `limit` active jobs that are due (their time to
    /// wake has come, or they were cancelled) and that nobody holds, oldest first. Jobs that this release
    /// cannot read are left as they are.
    pub async fn claim(
        &self,
        owner: &str,
        now: Timestamp,
        ttl: Duration,
        limit: usize,
    ) -> Result<Vec<(Lease, Job)>, StoreError> {
        let owner = owner.to_owned();
        self.write("claiming jobs", move |writer| {
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
        .await
    }

    /// Extends `leases` to `now + ttl`; returns those that `owner` still holds.
    pub async fn renew(
        &self,
        owner: &str,
        leases: &[Lease],
        now: Timestamp,
        ttl: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
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
        .await
    }

    /// Writes, together with its events, what changes in a job as it goes forward: status, cursor, facts, verdict,
    /// reason and times.
    ///
    /// [`StoreError::LeaseLost`] where somebody else has claimed the job since, and
    /// [`StoreError::Decided`] where a verdict or a decided status would change.
    pub async fn save(&self, lease: &Lease, job: &Job, events: Vec<NewEvent>) -> Result<(), StoreError> {
        let (lease, job) = (*lease, job.clone());
        self.write("saving a job", move |writer| {
            write(writer, &lease, &job)?;
            events::append(writer, lease.job, &events)
        })
        .await
    }

    /// Gives the job back: whoever comes may claim it at once. Nothing where the lease is lost.
    pub async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let lease = *lease;
        self.write("releasing a job", move |writer| {
            let sql = "UPDATE jobs SET lease_owner = NULL, lease_until = NULL
                WHERE id = ?1 AND lease_generation = ?2 AND lease_owner IS NOT NULL";
            let released = writer.execute(sql, params![Word(lease.job), Count(lease.generation)])?;
            writer.jobs_changed.set(released > 0);
            Ok(())
        })
        .await
    }

    /// When the next job can be claimed if nothing changes until then: when it is due and nobody
    /// holds it any more. Never before `now`; `None` without active jobs.
    pub async fn next_wake(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.read("looking for the next job", move |reader| {
            let at = next_claimable(reader)?;
            Ok(at.map(|at| at.max(now)))
        })
        .await
    }
}

/// SQL for "due, whatever the time to wake says".
const AT_ONCE: &str = "(nudged OR (cancel IS NOT NULL AND phase = 'forward'))";

/// SQL for "not met as unreadable yet".
const READABLE: &str = "id NOT IN (SELECT id FROM temp.unreadable_jobs)";

/// Ids of due jobs, as they stand in the database: one that cannot be read must not hold up others.
fn due(writer: &Writer<'_>, now: Timestamp, limit: usize) -> Result<Vec<String>, Fault> {
    let sql = format!(
        "SELECT id FROM jobs WHERE phase <> 'done' AND {READABLE} AND coalesce(lease_until, 0) <= ?1
            AND (wake_at <= ?1 OR {AT_ONCE}) ORDER BY id LIMIT ?2"
    );
    let mut statement = writer.prepare_cached(&sql)?;
    let ids = statement.query_map(params![Millis(now), Count(limit as u64)], |row| row.get(0))?;
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}

fn read(writer: &Writer<'_>, id: &str) -> Result<Job, Fault> {
    let id: JobId = id.parse().map_err(|error: JobIdError| Fault::row(format!("job {id:?}"), error))?;
    unreadable::load_whole(&writer.reader(), id)
}

/// Returns the lease's generation.
fn lease(writer: &Writer<'_>, id: &str, owner: &str, until: Timestamp) -> Result<u64, Fault> {
    let sql = "UPDATE jobs SET lease_owner = ?2, lease_until = ?3, nudged = 0,
        lease_generation = lease_generation + 1 WHERE id = ?1 RETURNING lease_generation";
    let mut statement = writer.prepare_cached(sql)?;
    let generation = statement.query_row(params![id, owner, Millis(until)], |row| row.get(0));
    let Count(generation) = generation?;
    Ok(generation)
}

/// What is written once, as it stands.
struct Standing {
    status: Status,
    phase: Phase,
    verdict: Option<String>,
}

fn held(writer: &Writer<'_>, lease: &Lease) -> Result<Standing, Fault> {
    let sql = "SELECT status, phase, verdict FROM jobs
        WHERE id = ?1 AND lease_generation = ?2 AND lease_owner IS NOT NULL";
    let mut statement = writer.prepare_cached(sql)?;
    let standing = statement
        .query_row(params![Word(lease.job), Count(lease.generation)], |row| {
            Ok(Standing {
                status: row.get::<_, Word<_>>(0)?.0,
                phase: row.get::<_, Word<_>>(1)?.0,
                verdict: row.get(2)?,
            })
        })
        .optional()
        .map_err(|error| Fault::in_row(format!("job {}", lease.job), error))?;
    Ok(standing.ok_or(StoreError::LeaseLost { job: lease.job })?)
}

/// The schema's triggers refuse the same; this says which job and status it is about.
fn check_final(standing: &Standing, job: &Job) -> Result<(), StoreError> {
    let verdict_changes = standing.verdict.is_some() && standing.verdict != job.verdict.as_ref().map(json);
    let status_changes = standing.status.is_decided() && standing.status != job.status;
    let goes_back = rank(job.cursor.phase) < rank(standing.phase);
    if verdict_changes || status_changes || goes_back {
        return Err(StoreError::Decided { job: job.id, status: standing.status });
    }
    Ok(())
}

fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Forward => 0,
        Phase::Cleanup => 1,
        Phase::Done => 2,
    }
}

/// Writes the job as it stands now, if the lease holds and nothing final changes.
pub(super) fn write(writer: &Writer<'_>, lease: &Lease, job: &Job) -> Result<(), Fault> {
    check_final(&held(writer, lease)?, job)?;
    let sql = "UPDATE jobs SET status = :status, phase = :phase, wake_at = :wake_at, cursor = :cursor,
        facts = :facts, verdict = :verdict, failed_step = :failed_step, reason = :reason,
        finished_at = :finished_at, last_update = :now WHERE id = :id";
    writer.prepare_cached(sql)?.execute(named_params! {
        ":id": Word(lease.job),
        ":status": Word(job.status),
        ":phase": Word(job.cursor.phase),
        ":wake_at": Millis(job.cursor.wake_at),
        ":cursor": Stored(&job.cursor),
        ":facts": Stored(&job.facts),
        ":verdict": job.verdict.as_ref().map(Json),
        ":failed_step": job.failed_step.map(Word),
        ":reason": job.reason.as_deref().map(|reason| clipped(reason, SENTENCE_CHARS_MAX)),
        ":finished_at": job.finished_at.map(Millis),
        ":now": Millis(job.last_update),
    })?;
    Ok(())
}

fn next_claimable(reader: &Reader<'_>) -> Result<Option<Timestamp>, Fault> {
    let sql = format!(
        "SELECT min(max(iif({AT_ONCE}, 0, wake_at), coalesce(lease_until, 0))) FROM jobs
            WHERE phase <> 'done' AND {READABLE}"
    );
    let at = reader.prepare_cached(&sql)?.query_row([], |row| row.get::<_, Option<Millis>>(0));
    Ok(at.map_err(|error| Fault::in_row("a job's time to wake", error))?.map(|Millis(at)| at))
}

/// Only one controller lives (the lock proves it), so no lease of an earlier run is anybody's.
pub(super) fn release_all_of_previous_run(connection: &Connection) -> Result<(), Fault> {
    let sql = "UPDATE jobs SET lease_owner = NULL, lease_until = NULL WHERE phase <> 'done'";
    connection.execute(sql, [])?;
    unreadable::forget_all(connection)
}
