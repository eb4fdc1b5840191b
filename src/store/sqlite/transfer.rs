//! The whole database as rows, given to another engine or taken from one (`store::transfer`).

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};
use tokio::sync::mpsc;

use super::fault::Fault;
use super::{Sqlite, Writer, backup};
use crate::domain::JobId;
use crate::store::transfer::{
    Cell, CellRow, MOVED_TO, RowDigest, TABLES_OF_CONTENT, TABLES_OF_OPENING, TRANSFER_ROWS, TRANSFER_TABLES,
    TransferSource, TransferTable, TransferredTable,
};
use crate::store::{StoreError, StoreFuture};

impl TransferSource for Sqlite {
    fn page(&self, table: &'static TransferTable, after: Option<CellRow>) -> StoreFuture<Vec<CellRow>> {
        self.read("reading a table", move |reader| page(reader, table, after.as_deref()))
    }
}

/// A page of the table with that index.
type Passed = (usize, Vec<CellRow>);

impl Sqlite {
    /// Takes the whole content of another database, in one transaction. Not in memory, where calls run inline.
    pub fn receive(&self, source: Arc<dyn TransferSource>) -> StoreFuture<Vec<TransferredTable>> {
        let (pass, passed) = mpsc::channel(2);
        let receiving = self.write("receiving a database", move |writer| receive(writer, passed));
        Box::pin(async move {
            let (received, read) = tokio::join!(receiving, pass_on(&*source, pass));
            read?;
            received
        })
    }

    /// Notes where the content was transferred to, or that it is in use here (`None`).
    pub fn set_moved(&self, to: Option<String>) -> StoreFuture<()> {
        self.write("noting where the database was transferred to", move |writer| {
            let sql = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)";
            match to {
                Some(to) => writer.execute(sql, (MOVED_TO, to.into_bytes()))?,
                None => writer.execute("DELETE FROM meta WHERE name = ?1", [MOVED_TO])?,
            };
            Ok(())
        })
    }

    /// Marks a database that is used again after its content was transferred: its active jobs start no host any more, unless
    /// they are to `resume`. Returns them.
    pub fn mark_restored(&self, resume: bool, now: Timestamp) -> StoreFuture<Vec<JobId>> {
        let store = Sqlite { act: Some(backup::restored(None, resume, now)), ..self.clone() };
        store.write("marking the jobs of a restored database", move |writer| {
            writer.execute("DELETE FROM meta WHERE name = ?1", [MOVED_TO])?;
            backup::mark(writer, resume, now)
        })
    }

    /// Refuses a database whose jobs are elsewhere.
    pub(super) fn check_not_moved(self) -> Result<Sqlite, StoreError> {
        let found: rusqlite::Result<Option<Vec<u8>>> = {
            let connection = self.database.lock();
            connection
                .query_row("SELECT value FROM meta WHERE name = ?1", [MOVED_TO], |row| row.get(0))
                .optional()
        };
        let database = self.database.name.clone();
        match found.map_err(|error| Fault::from(error).at("opening", &database))? {
            Some(to) => Err(StoreError::Moved { database, to: String::from_utf8_lossy(&to).into_owned() }),
            None => Ok(self),
        }
    }
}

async fn pass_on(source: &dyn TransferSource, pass: mpsc::Sender<Passed>) -> Result<(), StoreError> {
    for (index, table) in TRANSFER_TABLES.iter().enumerate() {
        let mut after = None;
        loop {
            let rows = source.page(table, after).await?;
            let (is_last, last) = (rows.len() < TRANSFER_ROWS, table.last_key(&rows));
            // The receiver has failed, and reports why.
            if pass.send((index, rows)).await.is_err() {
                return Ok(());
            }
            if is_last {
                break;
            }
            after = last;
        }
    }
    Ok(())
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Cell::Null => ToSqlOutput::Owned(Value::Null),
            Cell::Int(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            Cell::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Cell::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

/// Where the rows of a table are.
fn place(table: &TransferTable) -> String {
    match table.name {
        "meta" => format!("(SELECT * FROM meta WHERE name NOT IN ('probe', 'server', '{MOVED_TO}'))"),
        "leases" => "(SELECT id AS job, lease_generation AS generation, wake_now FROM jobs)".to_owned(),
        "counters" => "(SELECT name, seq AS value FROM sqlite_sequence
            WHERE name IN ('events', 'notifications', 'keys') AND seq > 0)"
            .to_owned(),
        name => name.to_owned(),
    }
}

fn page(
    connection: &Connection,
    table: &TransferTable,
    after: Option<&[Cell]>,
) -> Result<Vec<CellRow>, Fault> {
    let key = table.key_names();
    let mut sql = format!("SELECT {} FROM {}", table.column_names(), place(table));
    if let Some(after) = after {
        sql += &format!(" WHERE ({key}) > ({})", vec!["?"; after.len()].join(", "));
    }
    sql += &format!(" ORDER BY {key} LIMIT {TRANSFER_ROWS}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(after.unwrap_or_default()))?;
    let mut page = Vec::new();
    while let Some(row) = rows.next()? {
        let cell = |index: usize| match row.get_ref(index)? {
            ValueRef::Null => Ok(Cell::Null),
            ValueRef::Integer(number) => Ok(Cell::Int(number)),
            // PostgreSQL has no NUL in a text.
            ValueRef::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => Ok(Cell::Text(text.replace('\0', "\u{fffd}"))),
                Err(error) => Err(Fault::row(format!("a row of {}", table.name), error)),
            },
            ValueRef::Blob(bytes) => Ok(Cell::Bytes(bytes.to_vec())),
            ValueRef::Real(_) => Err(Fault::row(format!("a row of {}", table.name), "it holds a fraction")),
        };
        page.push((0..table.columns.len()).map(cell).collect::<Result<CellRow, Fault>>()?);
    }
    Ok(page)
}

/// The order of the audit's entries is checked against those that are there, which a shortened audit does not begin with.
const NO_GAP: &str = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = 'the_audit_has_no_gap'";

fn receive(writer: &Writer<'_>, mut passed: mpsc::Receiver<Passed>) -> Result<Vec<TransferredTable>, Fault> {
    for table in TABLES_OF_CONTENT {
        if writer.prepare(&format!("SELECT 1 FROM {table} LIMIT 1"))?.exists([])? {
            return Err(Fault::row(
                "the target",
                format!("it is not empty (table {table}): name another file"),
            ));
        }
    }
    for table in TABLES_OF_OPENING {
        writer.execute(&format!("DELETE FROM {table}"), [])?;
    }
    let no_gap: String = writer.query_row(NO_GAP, [], |row| row.get(0))?;
    writer.execute_batch("DROP TRIGGER the_audit_has_no_gap")?;
    let mut digests: Vec<RowDigest> = TRANSFER_TABLES.iter().map(|_| RowDigest::new()).collect();
    let mut is_whole = false;
    while let Some((index, rows)) = passed.blocking_recv() {
        insert(writer, &TRANSFER_TABLES[index], &rows)?;
        digests[index].add(&rows);
        is_whole = index + 1 == TRANSFER_TABLES.len() && rows.len() < TRANSFER_ROWS;
    }
    if !is_whole {
        return Err(Fault::row("the source", "it could not be read to its end"));
    }
    writer.execute_batch(&no_gap)?;
    let digests = digests.into_iter().zip(&TRANSFER_TABLES);
    let received: Vec<TransferredTable> = digests.map(|(digest, table)| digest.finish(table.name)).collect();
    for (table, received) in TRANSFER_TABLES.iter().zip(&received) {
        let stored = stored(writer, table)?;
        if stored != *received {
            let counts =
                format!("{} rows came and {} were stored, or they differ", received.rows, stored.rows);
            return Err(Fault::row(format!("table {}", table.name), counts));
        }
    }
    Ok(received)
}

/// The table as it is in this transaction.
fn stored(writer: &Writer<'_>, table: &'static TransferTable) -> Result<TransferredTable, Fault> {
    let (mut digest, mut after) = (RowDigest::new(), None::<CellRow>);
    loop {
        let rows = page(writer, table, after.as_deref())?;
        digest.add(&rows);
        after = table.last_key(&rows);
        if rows.len() < TRANSFER_ROWS {
            return Ok(digest.finish(table.name));
        }
    }
}

fn insert(writer: &Writer<'_>, table: &TransferTable, rows: &[CellRow]) -> Result<(), Fault> {
    let sql = match table.name {
        "leases" => "UPDATE jobs SET lease_generation = ?2, wake_now = ?3 WHERE id = ?1".to_owned(),
        "counters" => {
            // Rows with explicit numbers have made entries for themselves.
            for row in rows {
                writer.execute("DELETE FROM sqlite_sequence WHERE name = ?1", [&row[0]])?;
            }
            "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)".to_owned()
        }
        name => {
            let parameters = vec!["?"; table.columns.len()].join(", ");
            format!("INSERT INTO {name} ({}) VALUES ({parameters})", table.column_names())
        }
    };
    let mut statement = writer.prepare_cached(&sql)?;
    for row in rows {
        statement.execute(params_from_iter(row))?;
    }
    Ok(())
}
