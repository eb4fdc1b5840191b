//! The table `events`.
//!
//! Events are numbered within their job while its row is locked, and over all jobs as the last act of the transaction,
//! under a lock (`calls`): a reader that sees an id sees all smaller ones.

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio_postgres::Row;

use super::Postgres;
use super::fault::PgFault;
use super::row::{Count, IntoPgValue as _, Json, Millis, PgValue, Word, json, stored_text, values};
use super::writer::{NumberedEvent, PgReader, PgWriter};
use crate::domain::{Event, JobId, Level, NewEvent};
use crate::store::events::EventCount;
use crate::store::row::word;
use crate::store::{EventFilter, EventStore, PAGE_MAX, StoreFuture};

impl EventStore for Postgres {
    fn events(&self, filter: &EventFilter) -> StoreFuture<Vec<Event>> {
        self.read("reading events", filter.clone(), |reader, filter| page(reader, filter).boxed())
    }

    fn latest_event(&self) -> watch::Receiver<u64> {
        self.latest_event.subscribe()
    }
}

async fn page(reader: &PgReader, filter: &EventFilter) -> Result<Vec<Event>, PgFault> {
    let mut sql = String::from(
        "SELECT events.*, jobs.server FROM events JOIN jobs ON jobs.id = events.job WHERE events.id > $1",
    );
    let mut values: Vec<PgValue> = vec![Count(filter.after).into_value()];
    let mut only = |condition: &str, value: PgValue| {
        values.push(value);
        sql += &format!(" AND {condition} = ${}", values.len());
    };
    if let Some(job) = filter.job {
        only("events.job", Word(job).into_value());
    }
    if let Some(server) = &filter.server {
        only("jobs.server", Word(server).into_value());
    }
    if let Some(batch) = filter.batch {
        only("jobs.batch", Word(batch).into_value());
    }
    sql += match filter.level {
        None | Some(Level::Info) => "",
        // Said twice, because the index is of those that are not `info`.
        Some(Level::Warning) => " AND events.level <> 'info' AND events.level IN ('warning', 'error')",
        Some(Level::Error) => " AND events.level <> 'info' AND events.level = 'error'",
    };
    // By `seq` where there is a job, so that its index gives the order; ids rise with it.
    let order = if filter.job.is_some() { "events.seq" } else { "events.id" };
    sql += &format!(" ORDER BY {order} LIMIT {}", filter.limit.min(PAGE_MAX));
    reader.query(&sql, &values).await?.iter().map(parse).collect()
}

fn parse(row: &Row) -> Result<Event, PgFault> {
    let id: i64 = row.try_get("id")?;
    columns(row).map_err(|error| PgFault::in_row(format!("event {id}"), error))
}

fn columns(row: &Row) -> Result<Event, tokio_postgres::Error> {
    Ok(Event {
        id: row.try_get::<_, Count>("id")?.0,
        seq: row.try_get::<_, Count>("seq")?.0,
        job: row.try_get::<_, Word<_>>("job")?.0,
        server: row.try_get::<_, Word<_>>("server")?.0,
        event: NewEvent {
            time: row.try_get::<_, Millis>("time")?.0,
            level: row.try_get::<_, Word<_>>("level")?.0,
            step: row.try_get::<_, Word<_>>("step")?.0,
            op: row.try_get("op")?,
            status: row.try_get::<_, Word<_>>("status")?.0,
            attempt: row.try_get::<_, i64>("attempt")?.try_into().unwrap_or(u32::MAX),
            duration_ms: row.try_get::<_, Option<Count>>("duration_ms")?.map(|count| count.0),
            message: row.try_get("message")?,
            detail: row.try_get::<_, Json<_>>("detail")?.0,
        },
    })
}

/// The events of a job as they are stored, except those beyond its bound.
pub(super) fn numbered(job: JobId, events: &[NewEvent], count: &mut EventCount) -> Vec<NumberedEvent> {
    let next = |event| count.next(event).map(|(seq, event)| NumberedEvent { job, seq, event });
    events.iter().filter_map(next).collect()
}

/// Keeps how many events the job has.
pub(super) async fn put_count(tx: &PgWriter, job: JobId, count: &EventCount) -> Result<(), PgFault> {
    let sql = "UPDATE jobs SET event_seq = $2, events_dropped = $3 WHERE id = $1";
    tx.execute(sql, values![Word(job), Count(count.seq), Count(count.dropped)]).await.map(drop)
}

/// Draws the ids of the events, and returns the last one.
pub(super) async fn insert(tx: &PgWriter, new: &[NumberedEvent]) -> Result<Option<u64>, PgFault> {
    let texts = |of: &dyn Fn(&NumberedEvent) -> String| {
        PgValue::Texts(new.iter().map(|event| stored_text(of(event))).collect())
    };
    let numbers = |of: &dyn Fn(&NumberedEvent) -> Option<i64>| PgValue::Ints(new.iter().map(of).collect());
    let count = |count: u64| i64::try_from(count).ok();
    let values = [
        texts(&|new| new.job.to_string()),
        numbers(&|new| count(new.seq)),
        numbers(&|new| Some(new.event.time.as_millisecond())),
        texts(&|new| word(&new.event.level)),
        texts(&|new| word(&new.event.step)),
        texts(&|new| new.event.op.clone()),
        texts(&|new| word(&new.event.status)),
        numbers(&|new| Some(new.event.attempt.into())),
        numbers(&|new| new.event.duration_ms.and_then(count)),
        texts(&|new| new.event.message.clone()),
        texts(&|new| json(&new.event.detail)),
    ];
    let sql = "INSERT INTO events
        (job, seq, time, level, step, op, status, attempt, duration_ms, message, detail)
        SELECT job, seq, time, level, step, op, status, attempt, duration_ms, message, detail
        FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::bigint[], $9::bigint[], $10::text[], $11::text[]) WITH ORDINALITY
            AS new (job, seq, time, level, step, op, status, attempt, duration_ms, message, detail, number)
        ORDER BY number RETURNING id";
    let mut last = None;
    for row in tx.query(sql, &values).await? {
        last = last.max(Some(row.try_get::<_, Count>(0)?.0));
    }
    Ok(last)
}

/// The id of the last event, 0 before the first.
pub(super) async fn latest(reader: &PgReader) -> Result<u64, PgFault> {
    let row = reader.one("SELECT coalesce(max(id), 0) FROM events", &[]).await?;
    Ok(row.try_get::<_, Count>(0)?.0)
}
