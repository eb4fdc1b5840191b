//! The table `servers`.
//!
//! Serial numbers are compared with each other before one is added, so additions hold a lock; a deletion locks the row
//! that new jobs of the server lock too.

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::fault::PgFault;
use super::row::{Count, IntoPgValue as _, Json, Millis, PgValue, Word, json, values};
use super::writer::{DatabaseLock, PgReader, PgWriter};
use super::{Postgres, beside, job_rows, jobs};
use crate::domain::{Serial, Server, Variables, likeness};
use crate::store::{
    LastJob, PAGE_MAX, SERVERS_MAX, ServerFilter, ServerPut, ServerRecord, ServerStore, StoreError,
    StoreFuture,
};
use shoal_base::Password;
use shoal_redfish::{BmcMemory, Hardware};

impl ServerStore for Postgres {
    fn insert_server(&self, server: &Server) -> StoreFuture<()> {
        let given = (server.clone(), self.act.as_ref().map(|act| act.at));
        self.write("adding a server", given, |tx, (server, at)| {
            async move {
                tx.lock(DatabaseLock::Servers).await?;
                if exists(tx, &server.serial).await? {
                    return Err(StoreError::ServerExists { serial: server.serial.clone() }.into());
                }
                add(tx, server, *at).await
            }
            .boxed()
        })
    }

    fn put_servers(&self, records: Vec<ServerPut>) -> StoreFuture<()> {
        self.write("changing servers", records, |tx, records| {
            async move {
                tx.lock(DatabaseLock::Servers).await?;
                for ServerPut { server, revision, act } in records {
                    match (locked(tx, &server.serial).await?, revision) {
                        (Some((before, now)), Some(revision)) if now == *revision => {
                            change(tx, &before, server, Some(act.at)).await?;
                        }
                        (None, None) => add(tx, server, Some(act.at)).await?,
                        _ => {
                            return Err(StoreError::ServerChanged { serial: server.serial.clone() }.into());
                        }
                    }
                    tx.audit(act.clone());
                }
                Ok(())
            }
            .boxed()
        })
    }

    fn server_like(&self, text: &str) -> StoreFuture<Option<Serial>> {
        self.read("looking for a server", likeness(text), |reader, likeness| alike(reader, likeness).boxed())
    }

    fn server_record(&self, serial: &Serial) -> StoreFuture<Option<ServerRecord>> {
        self.read_snapshot("reading a server", serial.clone(), |reader, serial| {
            async move {
                let sql = "SELECT * FROM servers WHERE serial = $1";
                let rows = reader.query(sql, values![serial.as_str()]).await?;
                Ok(records(reader, &rows).await?.pop())
            }
            .boxed()
        })
    }

    fn other_server_at(&self, management_address: &str, than: &Serial) -> StoreFuture<Option<Serial>> {
        let given = (management_address.to_owned(), than.clone());
        self.read("looking for a management address", given, |reader, (address, than)| {
            async move {
                let sql = "SELECT serial FROM servers
                    WHERE lower(management_address) = lower($1) AND serial <> $2 ORDER BY serial LIMIT 1";
                let row = reader.optional(sql, values![address, than.as_str()]).await?;
                Ok(row.map(|row| row.try_get(0)).transpose()?.map(|Word(serial)| serial))
            }
            .boxed()
        })
    }

    fn update_server(&self, server: &Server, revision: Option<u64>) -> StoreFuture<()> {
        let given = (server.clone(), revision, self.act.as_ref().map(|act| act.at));
        self.write("changing a server", given, |tx, (server, revision, at)| {
            async move {
                let before = at_revision(tx, &server.serial, *revision).await?;
                change(tx, &before, server, *at).await
            }
            .boxed()
        })
    }

    fn server(&self, serial: &Serial) -> StoreFuture<Option<Server>> {
        self.read("reading a server", serial.clone(), |reader, serial| {
            async move {
                let sql = "SELECT * FROM servers WHERE serial = $1";
                let row = reader.optional(sql, values![serial.as_str()]).await?;
                row.map(|row| parse(reader, &row)).transpose()
            }
            .boxed()
        })
    }

    fn inventory(&self) -> StoreFuture<Vec<(Server, u64)>> {
        self.read("reading the servers", (), |reader, ()| {
            async move {
                let rows = reader.query("SELECT * FROM servers ORDER BY serial", &[]).await?;
                rows.iter().map(|row| parse_with_revision(reader, row)).collect()
            }
            .boxed()
        })
    }

    fn server_page(&self, filter: &ServerFilter) -> StoreFuture<Vec<ServerRecord>> {
        self.read_snapshot("reading servers", filter.clone(), |reader, filter| page(reader, filter).boxed())
    }

    fn delete_server(&self, serial: &Serial, revision: Option<u64>) -> StoreFuture<()> {
        self.write("deleting a server", (serial.clone(), revision), |tx, (serial, revision)| {
            async move {
                // A job that is being added at this moment is waited for.
                at_revision(tx, serial, *revision).await?;
                job_rows::check_idle(tx, serial).await?;
                beside::forget(tx, serial, None).await?;
                let sql = "DELETE FROM servers WHERE serial = $1";
                tx.execute(sql, values![serial.as_str()]).await.map(drop)
            }
            .boxed()
        })
    }

    fn save_hardware(&self, server: &Server, hardware: Hardware, read_at: Timestamp) -> StoreFuture<()> {
        let given = (server.serial.clone(), server.bmc_address.clone(), hardware, read_at);
        let doing = "saving the hardware of a server";
        self.write(doing, given, |tx, (serial, address, hardware, read_at)| {
            beside::save_hardware(tx, serial, address, hardware, *read_at).boxed()
        })
    }

    fn load_hardware(&self, server: &Server) -> StoreFuture<Option<(Timestamp, Hardware)>> {
        let given = (server.serial.clone(), server.bmc_address.clone());
        self.read("reading the hardware of a server", given, |reader, (serial, address)| {
            beside::load_hardware(reader, serial, address).boxed()
        })
    }

    fn save_bmc_memory(&self, server: &Server, memory: BmcMemory) -> StoreFuture<()> {
        let given = (server.serial.clone(), server.bmc_address.clone(), memory);
        self.write("saving what a BMC agreed to", given, |tx, (serial, address, memory)| {
            beside::save_memory(tx, serial, address, memory).boxed()
        })
    }

    fn load_bmc_memory(&self, server: &Server) -> StoreFuture<BmcMemory> {
        let given = (server.serial.clone(), server.bmc_address.clone());
        self.read("reading what a BMC agreed to", given, |reader, (serial, address)| {
            beside::load_memory(reader, serial, address).boxed()
        })
    }
}

const LAST_JOB: &str = "(SELECT id FROM jobs WHERE server = servers.serial ORDER BY id DESC LIMIT 1)";

async fn page(reader: &PgReader, filter: &ServerFilter) -> Result<Vec<ServerRecord>, PgFault> {
    let mut sql = "SELECT * FROM servers WHERE true".to_owned();
    let mut values: Vec<PgValue> = Vec::new();
    let mut only = |condition: &str, value: PgValue| {
        values.push(value);
        sql += &format!(" AND {condition} ${}", values.len());
    };
    if let Some(serial) = &filter.serial {
        only("lower(replace(serial, ' ', '')) =", likeness(serial).into_value());
    }
    if let Some((name, value)) = &filter.label {
        let label = serde_json::json!({ name: value }).to_string();
        only("labels::jsonb @> (", label.into_value());
        sql += "::text)::jsonb";
    }
    if let Some(LastJob::Is(status)) = filter.last_job {
        values.push(Word(status).into_value());
        sql += &format!(" AND (SELECT status FROM jobs WHERE id = {LAST_JOB}) = ${}", values.len());
    }
    if let Some(LastJob::Absent) = filter.last_job {
        sql += &format!(" AND {LAST_JOB} IS NULL");
    }
    if let Some(after) = &filter.after {
        values.push(after.as_str().into_value());
        sql += &format!(" AND serial > ${}", values.len());
    }
    sql += &format!(" ORDER BY serial LIMIT {}", filter.limit.min(PAGE_MAX));
    let rows = reader.query(&sql, &values).await?;
    records(reader, &rows).await
}

/// The server whose serial number has this likeness.
async fn alike(reader: &PgReader, likeness: &str) -> Result<Option<Serial>, PgFault> {
    let sql = "SELECT serial FROM servers WHERE lower(replace(serial, ' ', '')) = $1 ORDER BY serial LIMIT 1";
    let Some(row) = reader.optional(sql, values![likeness]).await? else { return Ok(None) };
    let found = row.try_get(0).map_err(|error| PgFault::in_row("the serial number of a server", error));
    found.map(|Word(serial)| Some(serial))
}

/// Whether there is the server, whose row is locked then.
async fn exists(tx: &PgWriter, serial: &Serial) -> Result<bool, PgFault> {
    tx.exists("SELECT 1 FROM servers WHERE serial = $1 FOR UPDATE", values![serial.as_str()]).await
}

/// Adds a record of a serial number that has none.
async fn add(tx: &PgWriter, server: &Server, at: Option<Timestamp>) -> Result<(), PgFault> {
    if let Some(existing) = alike(tx, &server.serial.likeness()).await? {
        return Err(StoreError::SimilarServer { serial: server.serial.clone(), existing }.into());
    }
    let row = tx.one("SELECT count(*) FROM servers", &[]).await?;
    if row.try_get::<_, Count>(0)?.0 >= SERVERS_MAX {
        return Err(StoreError::InventoryFull { max: SERVERS_MAX }.into());
    }
    put(tx, server, at).await
}

/// A record with its revision, whose row is locked then.
async fn locked(tx: &PgWriter, serial: &Serial) -> Result<Option<(Server, u64)>, PgFault> {
    let row =
        tx.optional("SELECT * FROM servers WHERE serial = $1 FOR UPDATE", values![serial.as_str()]).await?;
    row.map(|row| parse_with_revision(tx, &row)).transpose()
}

/// The record, locked, where it has this revision or any is right.
async fn at_revision(tx: &PgWriter, serial: &Serial, revision: Option<u64>) -> Result<Server, PgFault> {
    match locked(tx, serial).await? {
        None => Err(StoreError::UnknownServer { serial: serial.clone() }.into()),
        Some((_, now)) if revision.is_some_and(|revision| revision != now) => {
            Err(StoreError::ServerChanged { serial: serial.clone() }.into())
        }
        Some((server, _)) => Ok(server),
    }
}

/// Replaces a record.
async fn change(
    tx: &PgWriter,
    before: &Server,
    server: &Server,
    at: Option<Timestamp>,
) -> Result<(), PgFault> {
    if before.leads_elsewhere(server) {
        job_rows::check_idle(tx, &server.serial).await?;
    }
    beside::forget(tx, &server.serial, Some(&server.bmc_address)).await?;
    put(tx, server, at).await
}

async fn put(tx: &PgWriter, server: &Server, at: Option<Timestamp>) -> Result<(), PgFault> {
    let password = server.bmc_password.expose().as_bytes();
    let variables = (!server.variables.is_empty())
        .then(|| tx.sealer.seal(&variables_context(&server.serial), json(&server.variables).as_bytes()));
    let sql = "INSERT INTO servers
        (serial, bmc_address, bmc_username, bmc_password, tls, system_id, system_uuid,
         management_address, protected, labels, variables, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)
        ON CONFLICT (serial) DO UPDATE SET
         bmc_address = excluded.bmc_address, bmc_username = excluded.bmc_username,
         bmc_password = excluded.bmc_password, tls = excluded.tls, system_id = excluded.system_id,
         system_uuid = excluded.system_uuid, management_address = excluded.management_address,
         protected = excluded.protected, labels = excluded.labels, variables = excluded.variables,
         updated_at = excluded.updated_at, revision = servers.revision + 1";
    let values = values![
        server.serial.as_str(),
        server.bmc_address.as_str(),
        server.bmc_username.as_str(),
        tx.sealer.seal(&password_context(&server.serial), password),
        Word(&server.tls),
        server.system_id.as_ref(),
        server.system_uuid.as_ref(),
        server.management_address.as_ref(),
        server.protected,
        Json(&server.labels),
        variables,
        at.map(Millis),
    ];
    tx.execute(sql, values).await.map(drop)
}

fn parse(reader: &PgReader, row: &Row) -> Result<Server, PgFault> {
    let name = || match row.try_get::<_, String>("serial") {
        Ok(serial) => format!("server {serial:?}"),
        Err(_) => "a server".to_owned(),
    };
    columns(reader, row).map_err(|error| PgFault::row(name(), error))
}

fn parse_with_revision(reader: &PgReader, row: &Row) -> Result<(Server, u64), PgFault> {
    let server = parse(reader, row)?;
    let Count(revision) = row
        .try_get("revision")
        .map_err(|error| PgFault::in_row(format!("server {}", server.serial), error))?;
    Ok((server, revision))
}

/// The records of rows, each with its last job.
async fn records(reader: &PgReader, rows: &[Row]) -> Result<Vec<ServerRecord>, PgFault> {
    let servers = rows.iter().map(|row| parse(reader, row)).collect::<Result<Vec<Server>, _>>()?;
    let serials = servers.iter().map(|server| server.serial.to_string()).collect();
    let mut last_jobs = jobs::last_jobs(reader, serials).await?;
    let mut records = Vec::new();
    for (server, row) in servers.into_iter().zip(rows) {
        let read = || {
            let time = |column| {
                Ok::<_, tokio_postgres::Error>(row.try_get::<_, Option<Millis>>(column)?.map(|Millis(at)| at))
            };
            Ok((time("created_at")?, time("updated_at")?, row.try_get::<_, Count>("revision")?.0))
        };
        let (created_at, updated_at, revision) =
            read().map_err(|error| PgFault::in_row(format!("server {}", server.serial), error))?;
        let last_job = last_jobs.remove(server.serial.as_str());
        records.push(ServerRecord { server, created_at, updated_at, revision, last_job });
    }
    Ok(records)
}

fn columns(reader: &PgReader, row: &Row) -> Result<Server, Box<dyn std::error::Error + Send + Sync>> {
    let Word(serial): Word<Serial> = row.try_get("serial")?;
    let sealed: Vec<u8> = row.try_get("bmc_password")?;
    let password = reader.sealer.open(&password_context(&serial), &sealed)?;
    Ok(Server {
        bmc_address: row.try_get::<_, Word<_>>("bmc_address")?.0,
        bmc_username: row.try_get("bmc_username")?,
        bmc_password: Password::new(
            std::str::from_utf8(&password).map_err(|_| "its password is not text")?.to_owned(),
        ),
        tls: row.try_get::<_, Word<_>>("tls")?.0,
        system_id: row.try_get("system_id")?,
        system_uuid: row.try_get("system_uuid")?,
        management_address: row.try_get("management_address")?,
        protected: row.try_get("protected")?,
        labels: row.try_get::<_, Json<_>>("labels")?.0,
        variables: variables(reader, row, &serial)?,
        serial,
    })
}

fn variables(
    reader: &PgReader,
    row: &Row,
    serial: &Serial,
) -> Result<Variables, Box<dyn std::error::Error + Send + Sync>> {
    let Some(sealed) = row.try_get::<_, Option<Vec<u8>>>("variables")? else {
        return Ok(Variables::default());
    };
    let plain = reader.sealer.open(&variables_context(serial), &sealed)?;
    // The parser's message may quote what stands there.
    serde_json::from_slice(&plain).map_err(|_| "its variables are not JSON".into())
}

fn variables_context(serial: &Serial) -> String {
    format!("servers.variables/{serial}")
}

fn password_context(serial: &Serial) -> String {
    format!("servers.bmc_password/{serial}")
}
