//! The table `events`.
//!
//! SQLite has one writer at a time, so its row ids rise in the order of commits.

use rusqlite::types::ToSql;
use rusqlite::{Connection, Row, params};
use tokio::sync::watch;

use super::fault::Fault;
use super::row::{Count, Json, Millis, Word};
use super::{Reader, Sqlite, Writer};
use crate::domain::{Event, JobId, Level, NewEvent};
use crate::store::events::EventCount;
use crate::store::{EventFilter, EventStore, PAGE_MAX, StoreFuture};

impl EventStore for Sqlite {
    fn events(&self, filter: &EventFilter) -> StoreFuture<Vec<Event>> {
        let filter = filter.clone();
        self.read("reading events", move |reader| page(reader, &filter))
    }

    fn latest_event(&self) -> watch::Receiver<u64> {
        self.latest_event.subscribe()
    }
}

fn page(reader: &Reader<'_>, filter: &EventFilter) -> Result<Vec<Event>, Fault> {
    let mut sql = String::from(
        "SELECT events.*, jobs.server FROM events JOIN jobs ON jobs.id = events.job WHERE events.id > ?",
    );
    let after = i64::try_from(filter.after).unwrap_or(i64::MAX);
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(after)];
    if let Some(job) = filter.job {
        sql += " AND events.job = ?";
        values.push(Box::new(Word(job)));
    }
    if let Some(server) = &filter.server {
        sql += " AND jobs.server = ?";
        values.push(Box::new(Word(server)));
    }
    if let Some(batch) = filter.batch {
        sql += " AND jobs.batch = ?";
        values.push(Box::new(Word(batch)));
    }
    sql += match filter.level {
        None | Some(Level::Info) => "",
        // Said twice, because the index is of those that are not `info`.
        Some(Level::Warning) => " AND events.level <> 'info' AND events.level IN ('warning', 'error')",
        Some(Level::Error) => " AND events.level <> 'info' AND events.level = 'error'",
    };
    // By `seq` where there is a job, so that its index gives the order; ids rise with it.
    sql += if filter.job.is_some() { " ORDER BY events.seq LIMIT ?" } else { " ORDER BY events.id LIMIT ?" };
    values.push(Box::new(Count(filter.limit.min(PAGE_MAX) as u64)));
    let mut statement = reader.prepare_cached(&sql)?;
    let events = statement.query_and_then(rusqlite::params_from_iter(&values), |row| {
        let id: i64 = row.get("id")?;
        columns(row).map_err(|error| Fault::in_row(format!("event {id}"), error))
    })?;
    events.collect()
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        id: row.get::<_, Count>("id")?.0,
        seq: row.get::<_, Count>("seq")?.0,
        job: row.get::<_, Word<_>>("job")?.0,
        server: row.get::<_, Word<_>>("server")?.0,
        event: NewEvent {
            time: row.get::<_, Millis>("time")?.0,
            level: row.get::<_, Word<_>>("level")?.0,
            step: row.get::<_, Word<_>>("step")?.0,
            op: row.get("op")?,
            status: row.get::<_, Word<_>>("status")?.0,
            attempt: row.get("attempt")?,
            duration_ms: row.get::<_, Option<Count>>("duration_ms")?.map(|count| count.0),
            message: row.get("message")?,
            detail: row.get::<_, Json<_>>("detail")?.0,
        },
    })
}

/// Numbers and writes the events of one job, except those beyond its bound.
pub(super) fn append(writer: &Writer<'_>, job: JobId, events: &[NewEvent]) -> Result<(), Fault> {
    if events.is_empty() {
        return Ok(());
    }
    let sql = "SELECT event_seq, events_dropped FROM jobs WHERE id = ?1";
    let (Count(seq), Count(dropped)) =
        writer.prepare_cached(sql)?.query_row([Word(job)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut count = EventCount { seq, dropped };
    for event in events {
        if let Some((seq, event)) = count.next(event) {
            insert(writer, job, seq, &event)?;
        }
    }
    let sql = "UPDATE jobs SET event_seq = ?2, events_dropped = ?3 WHERE id = ?1";
    writer.prepare_cached(sql)?.execute(params![Word(job), Count(count.seq), Count(count.dropped)])?;
    Ok(())
}

fn insert(writer: &Writer<'_>, job: JobId, seq: u64, event: &NewEvent) -> Result<(), Fault> {
    let sql = "INSERT INTO events
        (job, seq, time, level, step, op, status, attempt, duration_ms, message, detail)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    writer.prepare_cached(sql)?.execute(params![
        Word(job),
        Count(seq),
        Millis(event.time),
        Word(event.level),
        Word(event.step),
        event.op,
        Word(event.status),
        event.attempt,
        event.duration_ms.map(Count),
        event.message,
        Json(&event.detail),
    ])?;
    writer.last_event.set(u64::try_from(writer.last_insert_rowid()).ok());
    Ok(())
}

/// The id of the last event, 0 before the first.
pub(super) fn latest(connection: &Connection) -> Result<u64, Fault> {
    let sql = "SELECT coalesce(max(id), 0) FROM events";
    Ok(connection.query_row(sql, [], |row| row.get::<_, Count>(0))?.0)
}
