//! The table `leases`: claims, renewals, and saves that a lease fences.
//!
//! Leases and times to wake are the database's (`clock_timestamp()`), so that two controllers whose clocks differ agree
//! on them. A caller's time to wake is stored as the database's time plus the wait that it means.

use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::Timestamp;

use super::fault::PgFault;
use super::row::{Count, Json, Millis, PgValue, Stored, Word, values};
use super::writer::{DatabaseLock, PgReader, PgWriter};
use super::{DATABASE_NOW, Postgres, batches, beside, events, notifications, unreadable};
use crate::domain::{HostId, Job, JobId, NewEvent, Serial};
use crate::store::bounds::{TEXT_CHARS_MAX, clipped};
use crate::store::events::EventCount;
use crate::store::leases::Standing;
use crate::store::{HostHolder, Lease, LeaseStore, NotificationSubject, PAGE_MAX, StoreError, StoreFuture};
use shoal_base::world::{after, elapsed};

/// SQL for "due, whatever its time to wake".
const DUE_NOW: &str = "(leases.wake_now OR (jobs.cancel IS NOT NULL AND jobs.phase = 'forward'))";

/// SQL for "its batch has released it, or it is to end; and it is not over, nor met as unreadable ($2)".
const CLAIMABLE: &str =
    "jobs.phase <> 'done' AND (NOT jobs.held OR jobs.cancel IS NOT NULL) AND jobs.id <> ALL ($2)";

/// SQL for a job that can be claimed at $1, the database's time if that is `NULL`. The time is that of a subquery, which is
/// evaluated once and not for each row.
pub(super) const DUE: &str =
    "jobs.phase <> 'done' AND (NOT jobs.held OR jobs.cancel IS NOT NULL) AND jobs.id <> ALL ($2)
    AND leases.until <= (SELECT coalesce($1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint))
    AND (jobs.wake_at <= (SELECT coalesce($1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint))
        OR leases.wake_now OR (jobs.cancel IS NOT NULL AND jobs.phase = 'forward'))";

impl LeaseStore for Postgres {
    fn claim(
        &self,
        owner: &str,
        now: Timestamp,
        ttl: Duration,
        limit: usize,
    ) -> StoreFuture<Vec<(Lease, Job)>> {
        let store = self.clone();
        let terms = ClaimTerms { owner: owner.to_owned(), now, ttl, limit: limit.min(PAGE_MAX) };
        Box::pin(async move {
            // Most of the time nothing is due, and nothing is written then.
            let given = (store.clone(), now);
            let is_any = store.read("looking for due jobs", given, |reader, (store, now)| {
                is_any_due(reader, store, *now).boxed()
            });
            if !is_any.await? {
                return Ok(Vec::new());
            }
            let given = (store.clone(), terms);
            store.write("claiming jobs", given, |tx, (store, terms)| claim(tx, store, terms).boxed()).await
        })
    }

    fn renew(&self, owner: &str, leases: &[Lease], now: Timestamp, ttl: Duration) -> StoreFuture<Vec<Lease>> {
        if leases.is_empty() {
            return Box::pin(async { Ok(Vec::new()) });
        }
        let given = (self.clone(), owner.to_owned(), leases.to_vec(), now, ttl);
        self.write("renewing leases", given, |tx, (store, owner, leases, now, ttl)| {
            async move {
                // Locked in one order, so that no two renewals wait for each other.
                let sql = format!(
                    "WITH held AS (SELECT leases.job, leases.generation FROM leases
                        JOIN unnest($1::text[], $2::bigint[]) AS given (job, generation)
                            ON given.job = leases.job AND given.generation = leases.generation
                        WHERE leases.owner = $3 ORDER BY leases.job FOR NO KEY UPDATE OF leases)
                    UPDATE leases SET until = coalesce($4, {DATABASE_NOW}) + $5 FROM held
                        WHERE leases.job = held.job RETURNING leases.job, leases.generation"
                );
                let jobs: Vec<String> = leases.iter().map(|lease| lease.job.to_string()).collect();
                let generations: Vec<Option<i64>> =
                    leases.iter().map(|lease| i64::try_from(lease.generation).ok()).collect();
                let given = store.database.lease_clock.given(*now);
                let values = [
                    PgValue::Texts(jobs),
                    PgValue::Ints(generations),
                    PgValue::Text(Some(owner.clone())),
                    given,
                    PgValue::Int(Some(ttl.as_millis() as i64)),
                ];
                let mut held = Vec::new();
                for row in tx.query(&sql, &values).await? {
                    let Word(job): Word<JobId> = row.try_get(0)?;
                    held.push(Lease { job, generation: row.try_get::<_, Count>(1)?.0 });
                }
                Ok(leases.iter().filter(|lease| held.contains(lease)).copied().collect())
            }
            .boxed()
        })
    }

    fn save(&self, lease: &Lease, job: &Job, events: Vec<NewEvent>) -> StoreFuture<()> {
        let given = (self.clone(), *lease, job.clone(), events);
        self.write("saving a job", given, |tx, (store, lease, job, events)| {
            write(tx, store, lease, job, events).boxed()
        })
    }

    fn take_host(&self, lease: &Lease, job: &Job) -> StoreFuture<Option<HostHolder>> {
        let given = (self.clone(), *lease, job.clone());
        self.write("taking a host", given, |tx, (store, lease, job)| {
            async move {
                tx.lock(DatabaseLock::Hosts).await?;
                let host = job.facts.system.as_ref().and_then(|system| system.host.as_ref());
                let others = |other: JobId, _: &Serial| other != lease.job;
                if let Some(host) = host
                    && let Some(holder) = beside::host_holder(tx, host, others).await?
                {
                    return Ok(Some(holder));
                }
                write(tx, store, lease, job, &[]).await?;
                Ok(None)
            }
            .boxed()
        })
    }

    fn host_holder(&self, host: &HostId, than: &Serial) -> StoreFuture<Option<HostHolder>> {
        let given = (host.clone(), than.clone());
        self.read("looking for the holder of a host", given, |reader, (host, than)| {
            beside::host_holder(reader, host, move |_, server| server != than).boxed()
        })
    }

    fn release(&self, lease: &Lease) -> StoreFuture<()> {
        self.write("releasing a job", *lease, |tx, lease| {
            async move {
                let sql = "UPDATE leases SET owner = NULL, until = 0
                    WHERE job = $1 AND generation = $2 AND owner IS NOT NULL";
                if tx.execute(sql, values![Word(lease.job), Count(lease.generation)]).await? > 0 {
                    tx.jobs_changed();
                }
                Ok(())
            }
            .boxed()
        })
    }

    fn next_wake(&self, now: Timestamp) -> StoreFuture<Option<Timestamp>> {
        let given = (self.clone(), now);
        self.read("looking for the next job", given, |reader, (store, now)| {
            async move {
                let look = batches::next_look(reader).await?;
                let wait = next_claimable(reader, store, *now).await?;
                let claimable = wait.map(|wait| after(*now, wait));
                Ok([claimable, look].into_iter().flatten().min().map(|at| at.max(*now)))
            }
            .boxed()
        })
    }
}

/// Who claims, and for how long.
struct ClaimTerms {
    owner: String,
    now: Timestamp,
    ttl: Duration,
    limit: usize,
}

async fn is_any_due(reader: &PgReader, store: &Postgres, now: Timestamp) -> Result<bool, PgFault> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM jobs JOIN leases ON leases.job = jobs.id WHERE {DUE})
            OR EXISTS (SELECT 1 FROM batches WHERE finished_at IS NULL)"
    );
    let given = store.database.lease_clock.given(now);
    let values = [given, PgValue::Texts(store.database.unreadable_ids())];
    Ok(reader.one(&sql, &values).await?.try_get(0)?)
}

async fn claim(tx: &PgWriter, store: &Postgres, terms: &ClaimTerms) -> Result<Vec<(Lease, Job)>, PgFault> {
    batches::release_due(tx, terms.now).await?;
    let mut claimed = Vec::new();
    while claimed.len() < terms.limit {
        let leased = lease(tx, store, terms, terms.limit - claimed.len()).await?;
        if leased.is_empty() {
            break;
        }
        let ids: Vec<JobId> = leased.iter().map(|(lease, _)| lease.job).collect();
        let mut read = unreadable::load_whole(tx, &ids).await?;
        for (lease, wake_now) in leased {
            match read.remove(&lease.job) {
                // It ended while it was claimed: its lease has no effect.
                Some(Ok(job)) if !job.is_active() => {}
                Some(Ok(job)) => claimed.push((lease, job)),
                Some(Err(PgFault::Row { row, source })) => {
                    unreadable::set_aside(&store.database, lease.job, &row, &*source);
                    give_back(tx, &lease, wake_now).await?;
                }
                Some(Err(fault)) => return Err(fault),
                None => return Err(StoreError::UnknownJob { job: lease.job }.into()),
            }
        }
    }
    Ok(claimed)
}

/// Leases due jobs, the oldest first. What another controller is claiming or saving is passed over.
async fn lease(
    tx: &PgWriter,
    store: &Postgres,
    terms: &ClaimTerms,
    limit: usize,
) -> Result<Vec<(Lease, bool)>, PgFault> {
    let sql = format!(
        "WITH due AS (SELECT leases.job, leases.wake_now FROM jobs JOIN leases ON leases.job = jobs.id
            WHERE {DUE} ORDER BY jobs.id LIMIT $3 FOR NO KEY UPDATE OF leases SKIP LOCKED)
        UPDATE leases SET owner = $4, until = coalesce($1, {DATABASE_NOW}) + $5, wake_now = false,
            generation = generation + 1 FROM due WHERE leases.job = due.job
            RETURNING leases.job, leases.generation, due.wake_now"
    );
    let values = [
        store.database.lease_clock.given(terms.now),
        PgValue::Texts(store.database.unreadable_ids()),
        PgValue::Int(Some(limit as i64)),
        PgValue::Text(Some(terms.owner.clone())),
        PgValue::Int(Some(terms.ttl.as_millis() as i64)),
    ];
    let mut leased = Vec::new();
    for row in tx.query(&sql, &values).await? {
        let Word(job): Word<JobId> = row.try_get(0)?;
        leased.push((Lease { job, generation: row.try_get::<_, Count>(1)?.0 }, row.try_get(2)?));
    }
    leased.sort_by_key(|(lease, _)| *lease);
    Ok(leased)
}

/// The lease is as it was before the claim.
async fn give_back(tx: &PgWriter, lease: &Lease, wake_now: bool) -> Result<(), PgFault> {
    let sql = "UPDATE leases SET owner = NULL, until = 0, generation = generation - 1, wake_now = $2 WHERE job = $1";
    tx.execute(sql, values![Word(lease.job), wake_now]).await.map(drop)
}

/// What is written once of a job whose lease this is, and how many events it has. Both rows are locked.
async fn held(tx: &PgWriter, lease: &Lease) -> Result<(Standing, EventCount), PgFault> {
    let sql = "SELECT jobs.status, jobs.phase, jobs.verdict, jobs.event_seq, jobs.events_dropped
        FROM leases JOIN jobs ON jobs.id = leases.job
        WHERE leases.job = $1 AND leases.generation = $2 AND leases.owner IS NOT NULL
        FOR NO KEY UPDATE OF leases, jobs";
    let row = tx.optional(sql, values![Word(lease.job), Count(lease.generation)]).await?;
    let row = row.ok_or(StoreError::LeaseLost { job: lease.job })?;
    let read = || {
        let standing = Standing {
            status: row.try_get::<_, Word<_>>(0)?.0,
            phase: row.try_get::<_, Word<_>>(1)?.0,
            verdict: row.try_get::<_, Option<Json<_>>>(2)?.map(|Json(verdict)| verdict),
        };
        let count = EventCount { seq: row.try_get::<_, Count>(3)?.0, dropped: row.try_get::<_, Count>(4)?.0 };
        Ok((standing, count))
    };
    read().map_err(|error| PgFault::in_row(format!("job {}", lease.job), error))
}

/// Writes the job as it stands now, if the lease holds and nothing final changes, and reports the events.
async fn write(
    tx: &PgWriter,
    store: &Postgres,
    lease: &Lease,
    job: &Job,
    new: &[NewEvent],
) -> Result<(), PgFault> {
    let (before, mut count) = held(tx, lease).await?;
    before.check(job)?;
    if job.status.is_decided() && !before.status.is_decided() {
        notifications::add(tx, NotificationSubject::JobEnded(lease.job), job.last_update).await?;
    }
    tx.report(events::numbered(lease.job, new, &mut count));
    let sql = format!(
        "UPDATE jobs SET status = $2, phase = $3, wake_at = coalesce($4, {DATABASE_NOW} + $5), cursor = $6, facts = $7,
            system = $8, verdict = $9, failed_step = $10, failure_code = $11, reason = $12, finished_at = $13,
            last_update = $14, event_seq = $15, events_dropped = $16 WHERE id = $1"
    );
    let wait = elapsed(job.last_update, job.cursor.wake_at);
    let values = values![
        Word(lease.job),
        Word(job.status),
        Word(job.cursor.phase),
        store.database.lease_clock.given_after(job.cursor.wake_at, wait),
        wait.as_millis() as i64,
        Stored(&job.cursor),
        Stored(&job.facts),
        job.facts.system.as_ref().map(Json),
        job.verdict.as_ref().map(Json),
        job.failed_step.map(Word),
        job.failure_code.map(Word),
        job.reason.as_deref().map(|reason| clipped(reason, TEXT_CHARS_MAX)),
        job.finished_at.map(Millis),
        Millis(job.last_update),
        Count(count.seq),
        Count(count.dropped),
    ];
    tx.execute(&sql, values).await.map(drop)
}

/// How long it takes until a job can be claimed.
async fn next_claimable(
    reader: &PgReader,
    store: &Postgres,
    now: Timestamp,
) -> Result<Option<Duration>, PgFault> {
    let sql = format!(
        "SELECT min(greatest(CASE WHEN {DUE_NOW} THEN 0 ELSE jobs.wake_at END, leases.until))
                - coalesce($1, {DATABASE_NOW})
            FROM jobs JOIN leases ON leases.job = jobs.id WHERE {CLAIMABLE}"
    );
    let values = [store.database.lease_clock.given(now), PgValue::Texts(store.database.unreadable_ids())];
    let wait: Option<i64> = reader.one(&sql, &values).await?.try_get(0)?;
    Ok(wait.map(|wait| Duration::from_millis(u64::try_from(wait).unwrap_or(0))))
}
