//! The tables `audit` and `audit_start`: entries, read and appended.
//!
//! Invariant: a trigger refuses every UPDATE, an entry that is not the next one, and a DELETE but for those before the
//! sealed start; what gets around it does not get around the chain. Entries are appended under the lock that events are
//! numbered under, at the end of a transaction (`calls`).

use futures_util::FutureExt as _;
use tokio_postgres::Row;

use super::Postgres;
use super::fault::PgFault;
use super::row::{Count, Fixed, IntoPgValue as _, Millis, PgValue, values};
use super::writer::{PgReader, PgWriter};
use crate::access::{Act, ChainCheck, ChainStart, Entry};
use crate::store::audit::{begin, check_page};
use crate::store::{AuditFilter, AuditReport, AuditStore, PAGE_MAX, Store, StoreFuture};

const END: &str = "audit_end";

impl AuditStore for Postgres {
    fn with_audit(&self, act: Act) -> Store {
        Store::from(Postgres { act: Some(act), ..self.clone() })
    }

    fn record(&self, act: Act) -> StoreFuture<()> {
        self.write("writing the audit", act, |tx, act| {
            async move {
                tx.audit(act.clone());
                Ok(())
            }
            .boxed()
        })
    }

    fn audit(&self, filter: &AuditFilter) -> StoreFuture<Vec<Entry>> {
        self.read("reading the audit", filter.clone(), |reader, filter| page(reader, filter).boxed())
    }

    fn verify_audit(&self) -> StoreFuture<AuditReport> {
        let store = self.clone();
        Box::pin(async move {
            let start = store.read("reading the start of the audit", (), |reader, ()| start(reader).boxed());
            let mut check = ChainCheck::new(store.chain_key.clone());
            if let Err(report) = begin(&mut check, start.await?) {
                return Ok(report);
            }
            loop {
                let reading = store.read_snapshot("checking the audit", check.last(), |reader, last| {
                    entries_after(reader, *last).boxed()
                });
                let (entries, end) = reading.await?;
                if let Some(report) = check_page(&mut check, &entries, end) {
                    return Ok(report);
                }
            }
        })
    }
}

/// The entries after number `last`, a page at most, and the seal of the end as it is at that moment.
pub(super) async fn entries_after(
    reader: &PgReader,
    last: u64,
) -> Result<(Vec<Entry>, Option<[u8; 32]>), PgFault> {
    let sql = format!("SELECT * FROM audit WHERE seq > $1 ORDER BY seq LIMIT {PAGE_MAX}");
    let entries = reader.query(&sql, values![Count(last)]).await?;
    let entries = entries.iter().map(parse).collect::<Result<Vec<Entry>, PgFault>>()?;
    let end = reader.optional("SELECT value FROM meta WHERE name = $1", values![END]).await?;
    let end = end.map(|row| row.try_get::<_, Fixed<32>>(0)).transpose();
    let end = end.map_err(|error| PgFault::in_row("the end of the audit", error))?;
    Ok((entries, end.map(|Fixed(seal)| seal)))
}

/// Where the chain begins, if it was shortened.
async fn start(reader: &PgReader) -> Result<Option<ChainStart>, PgFault> {
    let Some(row) = reader.optional("SELECT seq, hash, seal FROM audit_start", &[]).await? else {
        return Ok(None);
    };
    let read = || {
        Ok(ChainStart {
            seq: row.try_get::<_, Count>(0)?.0,
            hash: row.try_get::<_, Fixed<32>>(1)?.0,
            seal: row.try_get::<_, Fixed<32>>(2)?.0,
        })
    };
    read().map(Some).map_err(|error| PgFault::in_row("the start of the audit", error))
}

/// Seals the entry `last` as what the chain follows, and removes all up to it.
pub(super) async fn start_after(tx: &PgWriter, last: u64, hash: &[u8; 32]) -> Result<(), PgFault> {
    let ChainStart { seq, hash, seal } = tx.chain_key.start(last, hash);
    let sql = "INSERT INTO audit_start (id, seq, hash, seal) VALUES (1, $1, $2, $3)
        ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, seal = excluded.seal";
    tx.execute(sql, values![Count(seq), hash, seal]).await?;
    tx.execute("DELETE FROM audit WHERE seq <= $1", values![Count(last)]).await.map(drop)
}

/// Writes the next entries and seals the new end. The lock is held.
pub(super) async fn append(tx: &PgWriter, acts: Vec<Act>) -> Result<(), PgFault> {
    let row = tx.optional("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", &[]).await?;
    let last = row.map(|row| Ok((row.try_get::<_, Count>(0)?.0, row.try_get::<_, Fixed<32>>(1)?.0)));
    let last = last.transpose().map_err(|error| PgFault::in_row("the last entry of the audit", error))?;
    let (mut last, mut previous): (u64, [u8; 32]) = last.unwrap_or_default();
    for act in acts {
        let entry = tx.chain_key.entry(act, last, &previous);
        (last, previous) = (entry.seq, entry.hash);
        insert(tx, &entry).await?;
    }
    tx.put_meta(END, &tx.chain_key.end(last, &previous)).await
}

async fn insert(tx: &PgWriter, entry: &Entry) -> Result<(), PgFault> {
    let sql = "INSERT INTO audit
        (seq, at, actor, actor_name, role, source, action, server, job, detail, hash)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let values = values![
        Count(entry.seq),
        Millis(entry.at),
        &entry.actor,
        &entry.actor_name,
        &entry.role,
        entry.source.as_ref(),
        &entry.action,
        entry.server.as_ref(),
        entry.job.as_ref(),
        &entry.detail,
        entry.hash,
    ];
    tx.execute(sql, values).await.map(drop)
}

async fn page(reader: &PgReader, filter: &AuditFilter) -> Result<Vec<Entry>, PgFault> {
    let mut sql = "SELECT * FROM audit WHERE true".to_owned();
    let mut values: Vec<PgValue> = Vec::new();
    if let Some(actor) = &filter.actor {
        values.push(actor.into_value());
        sql += " AND (actor = $1 OR actor_name = $1)";
    }
    for (column, value) in [("action", &filter.action), ("server", &filter.server), ("job", &filter.job)] {
        if let Some(value) = value {
            values.push(value.into_value());
            sql += &format!(" AND {column} = ${}", values.len());
        }
    }
    if let Some(before) = filter.before {
        values.push(Count(before).into_value());
        sql += &format!(" AND seq < ${}", values.len());
    }
    sql += &format!(" ORDER BY seq DESC LIMIT {}", filter.limit.min(PAGE_MAX));
    reader.query(&sql, &values).await?.iter().map(parse).collect()
}

fn parse(row: &Row) -> Result<Entry, PgFault> {
    columns(row).map_err(|error| PgFault::in_row("an entry of the audit", error))
}

fn columns(row: &Row) -> Result<Entry, tokio_postgres::Error> {
    Ok(Entry {
        seq: row.try_get::<_, Count>("seq")?.0,
        at: row.try_get::<_, Millis>("at")?.0,
        actor: row.try_get("actor")?,
        actor_name: row.try_get("actor_name")?,
        role: row.try_get("role")?,
        source: row.try_get("source")?,
        action: row.try_get("action")?,
        server: row.try_get("server")?,
        job: row.try_get("job")?,
        detail: row.try_get("detail")?,
        hash: row.try_get::<_, Fixed<32>>("hash")?.0,
    })
}
