//! The table `notifications`.

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::Postgres;
use super::fault::PgFault;
use super::row::{Count, Millis, Word, values};
use super::writer::{DatabaseLock, PgWriter};
use crate::store::{Notification, NotificationStore, NotificationSubject, PAGE_MAX, StoreFuture};

/// Its row in `meta` exists while notifications are enabled.
const ENABLED: &str = "notifying";

impl NotificationStore for Postgres {
    fn set_notifying(&self, enabled: bool) -> StoreFuture<()> {
        self.write("switching notifications", enabled, |tx, enabled| {
            async move {
                tx.lock(DatabaseLock::Notifications).await?;
                if *enabled {
                    return tx.put_meta(ENABLED, &[1]).await;
                }
                tx.execute("DELETE FROM notifications", &[]).await?;
                tx.execute("DELETE FROM meta WHERE name = $1", values![ENABLED]).await.map(drop)
            }
            .boxed()
        })
    }

    fn take_notifications(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> StoreFuture<Vec<Notification>> {
        let store = self.clone();
        Box::pin(async move {
            // Most of the time nothing is due, and nothing is written then.
            if store.next_notification().await?.is_none_or(|next| next > now) {
                return Ok(Vec::new());
            }
            let given = (now, until, limit.min(PAGE_MAX));
            store.write("taking due notifications", given, |tx, given| take(tx, *given).boxed()).await
        })
    }

    fn next_notification(&self) -> StoreFuture<Option<Timestamp>> {
        self.read("looking for the next notification", (), |reader, ()| {
            async move {
                let row = reader.one("SELECT min(next_try) FROM notifications", &[]).await?;
                Ok(row.try_get::<_, Option<Millis>>(0)?.map(|Millis(at)| at))
            }
            .boxed()
        })
    }

    fn remove_notification(&self, id: u64) -> StoreFuture<()> {
        self.write("removing a notification", id, |tx, id| {
            async move {
                tx.execute("DELETE FROM notifications WHERE id = $1", values![Count(*id)]).await.map(drop)
            }
            .boxed()
        })
    }

    fn put_notification_off(&self, id: u64, next: Timestamp) -> StoreFuture<()> {
        self.write("putting a notification off", (id, next), |tx, (id, next)| {
            async move {
                let sql = "UPDATE notifications SET attempts = attempts + 1, next_try = $2 WHERE id = $1";
                tx.execute(sql, values![Count(*id), Millis(*next)]).await.map(drop)
            }
            .boxed()
        })
    }
}

/// Rows that another controller is taking are left to it.
async fn take(
    tx: &PgWriter,
    (now, until, limit): (Timestamp, Timestamp, usize),
) -> Result<Vec<Notification>, PgFault> {
    let sql = format!(
        "UPDATE notifications SET next_try = $2 WHERE id IN
            (SELECT id FROM notifications WHERE next_try <= $1 ORDER BY id LIMIT {limit} FOR UPDATE SKIP LOCKED)
            RETURNING *"
    );
    let rows = tx.query(&sql, values![Millis(now), Millis(until)]).await?;
    let read = |row| columns(row).map_err(|error| PgFault::in_row("a notification", error));
    let mut taken = rows.iter().map(read).collect::<Result<Vec<Notification>, PgFault>>()?;
    taken.sort_by_key(|notification| notification.id);
    Ok(taken)
}

/// Adds a notification, if they are enabled.
pub(super) async fn add(tx: &PgWriter, subject: NotificationSubject, at: Timestamp) -> Result<(), PgFault> {
    let sql = "INSERT INTO notifications (kind, subject, at, attempts, next_try)
        SELECT $1, $2, $3, 0, $3 FROM meta WHERE name = $4";
    tx.execute(sql, values![subject.kind(), subject.id(), Millis(at), ENABLED]).await.map(drop)
}

fn columns(row: &Row) -> Result<Notification, tokio_postgres::Error> {
    let batch = || row.try_get::<_, Word<_>>("subject").map(|Word(id)| id);
    let subject = match row.try_get::<_, &str>("kind")? {
        "batch_halted" => NotificationSubject::BatchHalted(batch()?),
        "batch_ended" => NotificationSubject::BatchEnded(batch()?),
        _ => NotificationSubject::JobEnded(row.try_get::<_, Word<_>>("subject")?.0),
    };
    Ok(Notification {
        id: row.try_get::<_, Count>("id")?.0,
        subject,
        at: row.try_get::<_, Millis>("at")?.0,
        attempts: row.try_get::<_, i64>("attempts")?.try_into().unwrap_or(u32::MAX),
    })
}
