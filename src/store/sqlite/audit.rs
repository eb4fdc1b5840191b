//! The table `audit`: entries, read and appended.
//!
//! Invariant: triggers refuse every UPDATE, an entry that is not the next one, and a DELETE but for those before the
//! sealed start; what gets around them does not get around the chain.

use std::path::Path;

use rusqlite::types::ToSql;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, named_params};

use super::fault::Fault;
use super::keys;
use super::row::{Count, Millis};
use super::{Reader, Sqlite, Writer};
use crate::access::{Act, ChainCheck, ChainKey, ChainStart, Entry};
use crate::seal::Sealer;
use crate::store::audit::{begin, check_page};
use crate::store::{
    AuditFilter, AuditReport, AuditStore, OwnSecret, PAGE_MAX, Store, StoreError, StoreFuture,
};

const END: &str = "audit_end";

impl AuditStore for Sqlite {
    fn with_audit(&self, act: Act) -> Store {
        Store::from(Sqlite { act: Some(act), ..self.clone() })
    }

    fn record(&self, act: Act) -> StoreFuture<()> {
        self.write("writing the audit", move |writer| append(writer, act))
    }

    fn audit(&self, filter: &AuditFilter) -> StoreFuture<Vec<Entry>> {
        let filter = filter.clone();
        self.read("reading the audit", move |reader| page(reader, &filter))
    }

    fn verify_audit(&self) -> StoreFuture<AuditReport> {
        let store = self.clone();
        Box::pin(async move {
            let start = store.read("reading the start of the audit", start).await?;
            let mut check = ChainCheck::new(store.chain_key.clone());
            if let Err(report) = begin(&mut check, start) {
                return Ok(report);
            }
            loop {
                let last = check.last();
                let reading = store.read("checking the audit", move |reader| entries_after(reader, last));
                let (entries, end) = reading.await?;
                if let Some(report) = check_page(&mut check, &entries, end) {
                    return Ok(report);
                }
            }
        })
    }
}

/// Checks the chain of a database that may have no controller; nothing is written.
pub fn verify_audit_file(path: &Path, sealer: &Sealer) -> Result<AuditReport, StoreError> {
    let name = path.display().to_string();
    let verified = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let reader = Reader { connection: &connection, sealer };
        let key = keys::own(&connection, &name, sealer, OwnSecret::Audit)?;
        let mut check = ChainCheck::new(ChainKey::new(*key));
        if let Err(report) = begin(&mut check, start(&reader)?) {
            return Ok(report);
        }
        loop {
            let (entries, end) = entries_after(&reader, check.last())?;
            if let Some(report) = check_page(&mut check, &entries, end) {
                return Ok(report);
            }
        }
    };
    verified().map_err(|fault: Fault| fault.at("checking the audit", &name))
}

/// The entries after number `last`, a page at most, and the seal of the end as it is at that moment.
pub(super) fn entries_after(reader: &Reader<'_>, last: u64) -> Result<(Vec<Entry>, Option<[u8; 32]>), Fault> {
    let sql = "SELECT * FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let mut statement = reader.prepare_cached(sql)?;
    let entries = statement.query_and_then([Count(last), Count(PAGE_MAX as u64)], parse)?;
    let entries = entries.collect::<Result<Vec<Entry>, Fault>>()?;
    let sql = "SELECT value FROM meta WHERE name = ?1";
    let end = reader.query_row(sql, [END], |row| row.get(0)).optional();
    Ok((entries, end.map_err(|error| Fault::in_row("the end of the audit", error))?))
}

/// Where the chain begins, if it was shortened.
fn start(reader: &Reader<'_>) -> Result<Option<ChainStart>, Fault> {
    let mut statement = reader.prepare_cached("SELECT seq, hash, seal FROM audit_start")?;
    let start = statement.query_row([], |row| {
        Ok(ChainStart { seq: row.get::<_, Count>(0)?.0, hash: row.get(1)?, seal: row.get(2)? })
    });
    start.optional().map_err(|error| Fault::in_row("the start of the audit", error))
}

/// Seals the entry `last` as what the chain follows, and removes all up to it.
pub(super) fn start_after(writer: &Writer<'_>, last: u64, hash: &[u8; 32]) -> Result<(), Fault> {
    let ChainStart { seq, hash, seal } = writer.chain_key.start(last, hash);
    let sql = "INSERT OR REPLACE INTO audit_start (id, seq, hash, seal) VALUES (1, ?1, ?2, ?3)";
    writer.execute(sql, (Count(seq), hash, seal))?;
    writer.execute("DELETE FROM audit WHERE seq <= ?1", [Count(last)])?;
    Ok(())
}

/// Writes the next entry and seals the new end.
pub(super) fn append(writer: &Writer<'_>, act: Act) -> Result<(), Fault> {
    let sql = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";
    let last = writer.query_row(sql, [], |row| Ok((row.get::<_, Count>(0)?.0, row.get(1)?))).optional();
    let last = last.map_err(|error| Fault::in_row("the last entry of the audit", error))?;
    let (last, previous): (u64, [u8; 32]) = last.unwrap_or_default();
    let entry = writer.chain_key.entry(act, last, &previous);
    let sql = "INSERT INTO audit
        (seq, at, actor, actor_name, role, source, action, server, job, detail, hash)
        VALUES (:seq, :at, :actor, :actor_name, :role, :source, :action, :server, :job, :detail, :hash)";
    writer.prepare_cached(sql)?.execute(named_params! {
        ":seq": Count(entry.seq),
        ":at": Millis(entry.at),
        ":actor": entry.actor,
        ":actor_name": entry.actor_name,
        ":role": entry.role,
        ":source": entry.source,
        ":action": entry.action,
        ":server": entry.server,
        ":job": entry.job,
        ":detail": entry.detail,
        ":hash": entry.hash,
    })?;
    let sql = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)";
    writer.execute(sql, (END, writer.chain_key.end(entry.seq, &entry.hash)))?;
    Ok(())
}

fn page(reader: &Reader<'_>, filter: &AuditFilter) -> Result<Vec<Entry>, Fault> {
    let mut sql = "SELECT * FROM audit WHERE true".to_owned();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    if let Some(actor) = &filter.actor {
        sql += " AND (actor = ? OR actor_name = ?)";
        values.extend([actor, actor].map(|actor| Box::new(actor.clone()) as Box<dyn ToSql>));
    }
    for (condition, value) in
        [("action = ?", &filter.action), ("server = ?", &filter.server), ("job = ?", &filter.job)]
    {
        if let Some(value) = value {
            sql += " AND ";
            sql += condition;
            values.push(Box::new(value.clone()));
        }
    }
    if let Some(before) = filter.before {
        sql += " AND seq < ?";
        values.push(Box::new(Count(before)));
    }
    sql += " ORDER BY seq DESC LIMIT ?";
    values.push(Box::new(Count(filter.limit.min(PAGE_MAX) as u64)));
    let mut statement = reader.prepare_cached(&sql)?;
    statement.query_and_then(rusqlite::params_from_iter(&values), parse)?.collect()
}

fn parse(row: &Row<'_>) -> Result<Entry, Fault> {
    columns(row).map_err(|error| Fault::in_row("an entry of the audit", error))
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        seq: row.get::<_, Count>("seq")?.0,
        at: row.get::<_, Millis>("at")?.0,
        actor: row.get("actor")?,
        actor_name: row.get("actor_name")?,
        role: row.get("role")?,
        source: row.get("source")?,
        action: row.get("action")?,
        server: row.get("server")?,
        job: row.get("job")?,
        detail: row.get("detail")?,
        hash: row.get("hash")?,
    })
}
