//! What is told of jobs: numbered here, in the order of commits.
//!
//! Invariants: `id` rises by commit over all jobs, so whoever has read up to one id misses nothing
//! below it; `seq` counts from 1 without gaps within a job; and a job that goes round in circles
//! cannot fill the disk.

use rusqlite::{Connection, Row, named_params, params};
use serde_json::Value;

use super::fault::Fault;
use super::row::{Count, Json, Millis, SENTENCE_CHARS_MAX, Word, clipped};
use super::{Reader, Store, Writer};
use crate::domain::{Event, EventStatus, JobId, Level, NewEvent};
use crate::store::{EVENTS_A_JOB_MAX, EventFilter, PAGE_MAX, StoreError};

const DETAIL_BYTES_MAX: usize = 16 * 1024;

impl Store {
    /// One page of events; go on `after` the last one's id.
    pub async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError> {
        let filter = *filter;
        self.read("reading events", move |reader| page(reader, &filter)).await
    }
}

fn page(reader: &Reader<'_>, filter: &EventFilter) -> Result<Vec<Event>, Fault> {
    // By `seq` where there is a job, so that its index gives the order; ids rise with it.
    let sql = match filter.job {
        Some(_) => {
            "SELECT events.*, jobs.server FROM events JOIN jobs ON jobs.id = events.job
                WHERE events.job = :job AND events.id > :after ORDER BY events.seq LIMIT :limit"
        }
        None => {
            "SELECT events.*, jobs.server FROM events JOIN jobs ON jobs.id = events.job
                WHERE :job IS NULL AND events.id > :after ORDER BY events.id LIMIT :limit"
        }
    };
    let params = named_params! {
        ":job": filter.job.map(Word),
        ":after": i64::try_from(filter.after).unwrap_or(i64::MAX),
        ":limit": Count(filter.limit.min(PAGE_MAX) as u64),
    };
    let mut statement = reader.prepare_cached(sql)?;
    let events = statement.query_and_then(params, |row| {
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

/// Numbers and writes the events of one job, dropping what is beyond its bound.
pub(super) fn append(writer: &Writer<'_>, job: JobId, events: &[NewEvent]) -> Result<(), Fault> {
    if events.is_empty() {
        return Ok(());
    }
    let sql = "SELECT event_seq, events_dropped FROM jobs WHERE id = ?1";
    let (Count(mut seq), Count(mut dropped)) =
        writer.prepare_cached(sql)?.query_row([Word(job)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for event in events {
        let optional = matches!(event.status, EventStatus::Progress | EventStatus::Retrying);
        if seq < EVENTS_A_JOB_MAX || !optional {
            seq += 1;
            insert(writer, job, seq, event)?;
            continue;
        }
        if dropped == 0 {
            seq += 1;
            insert(writer, job, seq, &last_warning(event))?;
        }
        dropped += 1;
    }
    let sql = "UPDATE jobs SET event_seq = ?2, events_dropped = ?3 WHERE id = ?1";
    writer.prepare_cached(sql)?.execute(params![Word(job), Count(seq), Count(dropped)])?;
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
        clipped(&event.message, SENTENCE_CHARS_MAX),
        bounded(&event.detail),
    ])?;
    writer.last_event.set(u64::try_from(writer.last_insert_rowid()).ok());
    Ok(())
}

fn last_warning(dropped: &NewEvent) -> NewEvent {
    NewEvent {
        level: Level::Warning,
        status: EventStatus::Progress,
        duration_ms: None,
        message: format!(
            "This job has written {EVENTS_A_JOB_MAX} events; from here on only the starts and ends of its steps are kept."
        ),
        detail: Value::Null,
        ..dropped.clone()
    }
}

fn bounded(detail: &Value) -> String {
    let text = detail.to_string();
    if text.len() <= DETAIL_BYTES_MAX {
        return text;
    }
    serde_json::json!({ "left_out_bytes": text.len() }).to_string()
}

/// The id of the last event, 0 before the first.
pub(super) fn latest(connection: &Connection) -> Result<u64, Fault> {
    let sql = "SELECT coalesce(max(id), 0) FROM events";
    Ok(connection.query_row(sql, [], |row| row.get::<_, Count>(0))?.0)
}
