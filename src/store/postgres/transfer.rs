//! The whole database as rows, given to another engine or taken from one (`store::transfer`).

use std::sync::Arc;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::fault::PgFault;
use super::row::{IntoPgValue as _, Json, PgValue, Stored, Word, values};
use super::writer::{DatabaseLock, PgReader, PgWriter};
use super::{DATABASE_NOW, Postgres};
use crate::access::{Act, Actor};
use crate::domain::{Facts, JobId};
use crate::store::transfer::{
    Cell, CellKind, CellRow, MOVED_TO, RowDigest, TABLES_OF_CONTENT, TABLES_OF_OPENING, TRANSFER_ROWS,
    TRANSFER_TABLES, TransferSource, TransferTable, TransferredTable,
};
use crate::store::{StoreError, StoreFuture, versions};

/// The numbers that are drawn from sequences: table and column.
const SEQUENCES: [(&str, &str); 3] = [("events", "id"), ("notifications", "id"), ("keys", "number")];

impl TransferSource for Postgres {
    fn page(&self, table: &'static TransferTable, after: Option<CellRow>) -> StoreFuture<Vec<CellRow>> {
        self.read("reading a table", (table, after), |reader, (table, after)| {
            page(reader, table, after.as_ref()).boxed()
        })
    }
}

impl Postgres {
    /// Takes the whole content of another database, in one transaction.
    pub fn receive(&self, source: Arc<dyn TransferSource>) -> StoreFuture<Vec<TransferredTable>> {
        self.write("receiving a database", source, |tx, source| receive(tx, &**source).boxed())
    }

    /// How many jobs are leased by a controller now.
    pub fn living_leases(&self) -> StoreFuture<u64> {
        self.read("looking for leases", (), |reader, ()| {
            async move {
                let sql =
                    format!("SELECT count(*) FROM leases WHERE owner IS NOT NULL AND until > {DATABASE_NOW}");
                let row = reader.one(&sql, &[]).await?;
                Ok(row.try_get::<_, i64>(0)?.unsigned_abs())
            }
            .boxed()
        })
    }

    /// Notes where the content was transferred to, or that it is in use here (`None`).
    pub fn set_moved(&self, to: Option<String>) -> StoreFuture<()> {
        self.write("noting where the database was transferred to", to, |tx, to| {
            async move {
                match to {
                    Some(to) => tx.put_meta(MOVED_TO, to.as_bytes()).await,
                    None => tx.execute("DELETE FROM meta WHERE name = $1", values![MOVED_TO]).await.map(drop),
                }
            }
            .boxed()
        })
    }

    /// Marks a database that was restored by other means than this program: its active jobs start no host any more, unless
    /// they are to `resume`. Returns them.
    pub fn mark_restored(&self, resume: bool, now: Timestamp) -> StoreFuture<Vec<JobId>> {
        self.write("marking the jobs of a restored database", (resume, now), |tx, (resume, now)| {
            mark_restored(tx, *resume, *now).boxed()
        })
    }
}

/// Refuses a database whose jobs are elsewhere.
pub(super) async fn check_not_moved(reader: &PgReader, database: &str) -> Result<(), PgFault> {
    let row = reader.optional("SELECT value FROM meta WHERE name = $1", values![MOVED_TO]).await?;
    let Some(row) = row else { return Ok(()) };
    let to = String::from_utf8_lossy(&row.try_get::<_, Vec<u8>>(0)?).into_owned();
    Err(StoreError::Moved { database: database.to_owned(), to }.into())
}

/// Where the rows of a table are.
fn place(table: &TransferTable) -> String {
    match table.name {
        "meta" => format!("(SELECT * FROM meta WHERE name NOT IN ('probe', 'server', '{MOVED_TO}')) AS meta"),
        "counters" => {
            let counter = |(table, column): &(&str, &str)| {
                let sequence = format!("pg_get_serial_sequence('{table}', '{column}')");
                format!(
                    "SELECT '{table}' COLLATE \"C\" AS name, pg_sequence_last_value({sequence}::regclass) AS value"
                )
            };
            let counters: Vec<String> = SEQUENCES.iter().map(counter).collect();
            format!("(SELECT * FROM ({}) AS last WHERE value > 0) AS counters", counters.join(" UNION ALL "))
        }
        name => name.to_owned(),
    }
}

async fn page(
    reader: &PgReader,
    table: &TransferTable,
    after: Option<&CellRow>,
) -> Result<Vec<CellRow>, PgFault> {
    let key = table.key_names();
    let mut sql = format!("SELECT {} FROM {}", table.column_names(), place(table));
    let mut values = Vec::new();
    if let Some(after) = after {
        let parameters: Vec<String> = (1..=after.len()).map(|number| format!("${number}")).collect();
        sql += &format!(" WHERE ({key}) > ({})", parameters.join(", "));
        values.extend(after.iter().map(key_value));
    }
    sql += &format!(" ORDER BY {key} LIMIT {TRANSFER_ROWS}");
    let rows = reader.query(&sql, &values).await?;
    rows.iter().map(|row| cells(table, row)).collect()
}

fn key_value(cell: &Cell) -> PgValue {
    match cell {
        Cell::Int(number) => number.into_value(),
        Cell::Text(text) => text.into_value(),
        Cell::Null | Cell::Bytes(_) => PgValue::Text(None),
    }
}

fn cells(table: &TransferTable, row: &Row) -> Result<CellRow, PgFault> {
    let cell = |(index, (_, kind)): (usize, &(&str, CellKind))| {
        Ok(match kind {
            CellKind::Text => row.try_get::<_, Option<String>>(index)?.map_or(Cell::Null, Cell::Text),
            CellKind::Int => row.try_get::<_, Option<i64>>(index)?.map_or(Cell::Null, Cell::Int),
            CellKind::Bytes => row.try_get::<_, Option<Vec<u8>>>(index)?.map_or(Cell::Null, Cell::Bytes),
            CellKind::Bool => Cell::Int(row.try_get::<_, bool>(index)?.into()),
        })
    };
    let cells =
        table.columns.iter().enumerate().map(cell).collect::<Result<CellRow, tokio_postgres::Error>>();
    cells.map_err(|error| PgFault::in_row(format!("a row of {}", table.name), error))
}

async fn receive(tx: &PgWriter, source: &dyn TransferSource) -> Result<Vec<TransferredTable>, PgFault> {
    tx.lock(DatabaseLock::Migration).await?;
    for table in TABLES_OF_CONTENT {
        if tx.exists(&format!("SELECT 1 FROM {table} LIMIT 1"), &[]).await? {
            return Err(PgFault::row(
                "the target",
                format!("it is not empty (table {table}): name another database"),
            ));
        }
    }
    for table in TABLES_OF_OPENING {
        tx.execute(&format!("DELETE FROM {table}"), &[]).await?;
    }
    let mut received = Vec::new();
    for table in &TRANSFER_TABLES {
        let (mut digest, mut after) = (RowDigest::new(), None);
        loop {
            let rows = source.page(table, after).await?;
            insert(tx, table, &rows).await?;
            digest.add(&rows);
            after = table.last_key(&rows);
            if rows.len() < TRANSFER_ROWS {
                break;
            }
        }
        received.push(digest.finish(table.name));
    }
    identify_hosts(tx).await?;
    for (table, received) in TRANSFER_TABLES.iter().zip(&received) {
        let stored = stored(tx, table).await?;
        if stored != *received {
            let what = format!("table {}", table.name);
            let counts =
                format!("{} rows came and {} were stored, or they differ", received.rows, stored.rows);
            return Err(PgFault::row(what, counts));
        }
    }
    // Plans of the first minutes rest on it.
    tx.batch(&format!("ANALYZE {}", super::schema::TABLES.join(", "))).await?;
    Ok(received)
}

/// The table as it is in this transaction.
async fn stored(reader: &PgReader, table: &'static TransferTable) -> Result<TransferredTable, PgFault> {
    let (mut digest, mut after) = (RowDigest::new(), None);
    loop {
        let rows = page(reader, table, after.as_ref()).await?;
        digest.add(&rows);
        after = table.last_key(&rows);
        if rows.len() < TRANSFER_ROWS {
            return Ok(digest.finish(table.name));
        }
    }
}

async fn insert(tx: &PgWriter, table: &TransferTable, rows: &[CellRow]) -> Result<(), PgFault> {
    if rows.is_empty() {
        return Ok(());
    }
    if table.name == "counters" {
        for row in rows {
            let [Cell::Text(name), Cell::Int(value)] = row.as_slice() else { continue };
            let Some((table, column)) = SEQUENCES.iter().find(|(table, _)| table == name) else { continue };
            let sql = format!("SELECT setval(pg_get_serial_sequence('{table}', '{column}'), $1)");
            tx.query(&sql, values![*value]).await?;
        }
        return Ok(());
    }
    let (mut types, mut selected) = (Vec::new(), Vec::new());
    for (index, (name, kind)) in table.columns.iter().enumerate() {
        let (array, column) = match kind {
            CellKind::Text => ("text[]", (*name).to_owned()),
            CellKind::Int => ("bigint[]", (*name).to_owned()),
            CellKind::Bytes => ("bytea[]", (*name).to_owned()),
            CellKind::Bool => ("bigint[]", format!("{name} <> 0")),
        };
        types.push(format!("${}::{array}", index + 1));
        selected.push(column);
    }
    let names = table.column_names();
    let sql = format!(
        "INSERT INTO {} ({names}) SELECT {} FROM unnest({}) WITH ORDINALITY AS given ({names}, row_number)
            ORDER BY row_number",
        table.name,
        selected.join(", "),
        types.join(", ")
    );
    let column = |(index, (_, kind)): (usize, &(&str, CellKind))| column(rows, index, *kind);
    let values: Vec<PgValue> = table.columns.iter().enumerate().map(column).collect();
    tx.execute(&sql, &values).await.map(drop)
}

/// One column of many rows.
fn column(rows: &[CellRow], index: usize, kind: CellKind) -> PgValue {
    let cells = rows.iter().map(|row| &row[index]);
    match kind {
        CellKind::Text => PgValue::OptionalTexts(
            cells.map(|cell| if let Cell::Text(text) = cell { Some(text.clone()) } else { None }).collect(),
        ),
        CellKind::Int | CellKind::Bool => PgValue::Ints(
            cells.map(|cell| if let Cell::Int(number) = cell { Some(*number) } else { None }).collect(),
        ),
        CellKind::Bytes => PgValue::OptionalBytes(
            cells
                .map(|cell| if let Cell::Bytes(bytes) = cell { Some(bytes.clone()) } else { None })
                .collect(),
        ),
    }
}

/// Fills the column by which hosts are looked for. A job that cannot be read holds none.
async fn identify_hosts(tx: &PgWriter) -> Result<(), PgFault> {
    for row in tx.query("SELECT id, facts FROM jobs WHERE phase <> 'done'", &[]).await? {
        let id: String = row.try_get(0)?;
        let Ok(facts) = versions::decode::<Facts>(row.try_get::<_, &str>(1)?.as_bytes()) else { continue };
        if let Some(system) = &facts.system {
            tx.execute("UPDATE jobs SET system = $2 WHERE id = $1", values![id, Json(system)]).await?;
        }
    }
    Ok(())
}

async fn mark_restored(tx: &PgWriter, resume: bool, now: Timestamp) -> Result<Vec<JobId>, PgFault> {
    tx.put_meta("restored_at", now.to_string().as_bytes()).await?;
    tx.execute("DELETE FROM meta WHERE name IN ($1, $2)", values![MOVED_TO, super::connect::SERVER]).await?;
    tx.execute("UPDATE leases SET owner = NULL, until = 0", &[]).await?;
    let mut jobs = Vec::new();
    for row in tx.query("SELECT id, facts FROM jobs WHERE phase <> 'done' ORDER BY id", &[]).await? {
        let Word(id): Word<JobId> = row.try_get(0)?;
        jobs.push(id);
        if resume {
            continue;
        }
        // One that cannot be read is not driven by this release, and says what it is to the release that can.
        let text: &str = row.try_get(1)?;
        let Ok(mut facts) = versions::decode::<Facts>(text.as_bytes()) else { continue };
        facts.restored_at = Some(now);
        tx.execute("UPDATE jobs SET facts = $2 WHERE id = $1", values![Word(id), Stored(&facts)]).await?;
    }
    tx.audit(Act {
        at: now,
        actor: Actor::controller(),
        source: None,
        action: "controller.restore".to_owned(),
        server: None,
        job: None,
        detail: serde_json::json!({ "taken_at": null, "resumed": resume }),
    });
    Ok(jobs)
}
