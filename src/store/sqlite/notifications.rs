//! The table `notifications`.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};

use super::fault::Fault;
use super::row::{Count, Millis, Word};
use super::{Sqlite, Writer};
use crate::store::{Notification, NotificationStore, NotificationSubject, PAGE_MAX, StoreFuture};

/// Its row in `meta` exists while notifications are enabled.
const ENABLED: &str = "notifying";

impl NotificationStore for Sqlite {
    fn set_notifying(&self, enabled: bool) -> StoreFuture<()> {
        self.write("switching notifications", move |writer| {
            match enabled {
                true => writer
                    .execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, x'01')", [ENABLED])?,
                false => {
                    writer.execute("DELETE FROM notifications", [])?;
                    writer.execute("DELETE FROM meta WHERE name = ?1", [ENABLED])?
                }
            };
            Ok(())
        })
    }

    fn take_notifications(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> StoreFuture<Vec<Notification>> {
        self.write("taking due notifications", move |writer| {
            let sql = "UPDATE notifications SET next_try = ?2 WHERE id IN
                (SELECT id FROM notifications WHERE next_try <= ?1 ORDER BY id LIMIT ?3) RETURNING *";
            let mut statement = writer.prepare_cached(sql)?;
            let limit = Count(limit.min(PAGE_MAX) as u64);
            let taken = statement.query_map(params![Millis(now), Millis(until), limit], columns)?;
            let taken = taken.collect::<rusqlite::Result<Vec<Notification>>>();
            let mut taken = taken.map_err(|error| Fault::in_row("a notification", error))?;
            taken.sort_by_key(|notification| notification.id);
            Ok(taken)
        })
    }

    fn next_notification(&self) -> StoreFuture<Option<Timestamp>> {
        self.read("looking for the next notification", |reader| {
            let sql = "SELECT min(next_try) FROM notifications";
            let next = reader.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<Millis>>(0));
            Ok(next.optional()?.flatten().map(|Millis(at)| at))
        })
    }

    fn remove_notification(&self, id: u64) -> StoreFuture<()> {
        self.write("removing a notification", move |writer| {
            writer.prepare_cached("DELETE FROM notifications WHERE id = ?1")?.execute([Count(id)])?;
            Ok(())
        })
    }

    fn put_notification_off(&self, id: u64, next: Timestamp) -> StoreFuture<()> {
        self.write("putting a notification off", move |writer| {
            let sql = "UPDATE notifications SET attempts = attempts + 1, next_try = ?2 WHERE id = ?1";
            writer.prepare_cached(sql)?.execute(params![Count(id), Millis(next)])?;
            Ok(())
        })
    }
}

/// Adds a notification, if they are enabled.
pub(super) fn add(writer: &Writer<'_>, subject: NotificationSubject, at: Timestamp) -> Result<(), Fault> {
    let sql = "INSERT INTO notifications (kind, subject, at, attempts, next_try)
        SELECT ?1, ?2, ?3, 0, ?3 FROM meta WHERE name = ?4";
    let (kind, id) = (subject.kind(), subject.id());
    writer.prepare_cached(sql)?.execute(params![kind, id, Millis(at), ENABLED])?;
    Ok(())
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Notification> {
    let batch = || row.get::<_, Word<_>>("subject").map(|Word(id)| id);
    let subject = match row.get::<_, String>("kind")?.as_str() {
        "batch_halted" => NotificationSubject::BatchHalted(batch()?),
        "batch_ended" => NotificationSubject::BatchEnded(batch()?),
        _ => NotificationSubject::JobEnded(row.get::<_, Word<_>>("subject")?.0),
    };
    Ok(Notification {
        id: row.get::<_, Count>("id")?.0,
        subject,
        at: row.get::<_, Millis>("at")?.0,
        attempts: row.get("attempts")?,
    })
}
