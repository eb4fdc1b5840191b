//! The table `servers`.

use jiff::Timestamp;
use rusqlite::types::ToSql;
use rusqlite::{OptionalExtension as _, Row, named_params, params};

use super::fault::Fault;
use super::row::{Count, Json, Millis, Word, json};
use super::{Reader, Sqlite, Writer, audit, bmc_memory, hardware, job_rows, unreadable};
use crate::domain::{Serial, Server, Variables, likeness};
use crate::store::{
    LastJob, PAGE_MAX, SERVERS_MAX, ServerFilter, ServerPut, ServerRecord, ServerStore, StoreError,
    StoreFuture, StoredJob,
};
use shoal_base::Password;
use shoal_redfish::{BmcMemory, Hardware};

impl ServerStore for Sqlite {
    fn insert_server(&self, server: &Server) -> StoreFuture<()> {
        let (server, at) = (server.clone(), self.act.as_ref().map(|act| act.at));
        self.write("adding a server", move |writer| {
            if exists(writer, &server.serial)? {
                return Err(StoreError::ServerExists { serial: server.serial }.into());
            }
            add(writer, &server, at)
        })
    }

    fn put_servers(&self, records: Vec<ServerPut>) -> StoreFuture<()> {
        self.write("changing servers", move |writer| {
            for ServerPut { server, revision, act } in records {
                match (stored(writer, &server.serial)?, revision) {
                    (Some((before, now)), Some(revision)) if now == revision => {
                        change(writer, &before, &server, Some(act.at))?;
                    }
                    (None, None) => add(writer, &server, Some(act.at))?,
                    _ => return Err(StoreError::ServerChanged { serial: server.serial }.into()),
                }
                audit::append(writer, act)?;
            }
            Ok(())
        })
    }

    fn server_like(&self, text: &str) -> StoreFuture<Option<Serial>> {
        let likeness = likeness(text);
        self.read("looking for a server", move |reader| alike(reader, &likeness))
    }

    fn server_record(&self, serial: &Serial) -> StoreFuture<Option<ServerRecord>> {
        let serial = serial.clone();
        self.read("reading a server", move |reader| record(reader, &serial))
    }

    fn other_server_at(&self, management_address: &str, than: &Serial) -> StoreFuture<Option<Serial>> {
        let (address, than) = (management_address.to_owned(), than.clone());
        self.read("looking for a management address", move |reader| {
            let sql = "SELECT serial FROM servers
                WHERE lower(management_address) = lower(?1) AND serial <> ?2 ORDER BY serial LIMIT 1";
            let mut statement = reader.prepare_cached(sql)?;
            let found = statement.query_row(params![address, Word(&than)], |row| row.get::<_, Word<_>>(0));
            Ok(found.optional()?.map(|Word(serial)| serial))
        })
    }

    fn update_server(&self, server: &Server, revision: Option<u64>) -> StoreFuture<()> {
        let (server, at) = (server.clone(), self.act.as_ref().map(|act| act.at));
        self.write("changing a server", move |writer| {
            let before = at_revision(writer, &server.serial, revision)?;
            change(writer, &before, &server, at)
        })
    }

    fn server(&self, serial: &Serial) -> StoreFuture<Option<Server>> {
        let serial = serial.clone();
        self.read("reading a server", move |reader| load(reader, &serial))
    }

    fn inventory(&self) -> StoreFuture<Vec<(Server, u64)>> {
        self.read("reading the servers", |reader| {
            let mut statement = reader.prepare_cached("SELECT * FROM servers ORDER BY serial")?;
            statement.query_and_then([], |row| parse_with_revision(reader, row))?.collect()
        })
    }

    fn server_page(&self, filter: &ServerFilter) -> StoreFuture<Vec<ServerRecord>> {
        let filter = filter.clone();
        self.read("reading servers", move |reader| page(reader, &filter))
    }

    fn delete_server(&self, serial: &Serial, revision: Option<u64>) -> StoreFuture<()> {
        let serial = serial.clone();
        self.write("deleting a server", move |writer| {
            job_rows::check_idle(writer, &serial)?;
            at_revision(writer, &serial, revision)?;
            bmc_memory::forget(writer, &serial, None)?;
            hardware::forget(writer, &serial, None)?;
            writer.execute("DELETE FROM servers WHERE serial = ?1", [serial.as_str()])?;
            Ok(())
        })
    }

    fn save_hardware(&self, server: &Server, hardware: Hardware, read_at: Timestamp) -> StoreFuture<()> {
        let (serial, address) = (server.serial.clone(), server.bmc_address.clone());
        self.write("saving the hardware of a server", move |writer| {
            hardware::save(writer, &serial, &address, &hardware, read_at)
        })
    }

    fn load_hardware(&self, server: &Server) -> StoreFuture<Option<(Timestamp, Hardware)>> {
        let (serial, address) = (server.serial.clone(), server.bmc_address.clone());
        self.read("reading the hardware of a server", move |reader| hardware::load(reader, &serial, &address))
    }

    fn save_bmc_memory(&self, server: &Server, memory: BmcMemory) -> StoreFuture<()> {
        let (serial, address) = (server.serial.clone(), server.bmc_address.clone());
        self.write("saving what a BMC agreed to", move |writer| {
            bmc_memory::save(writer, &serial, &address, &memory)
        })
    }

    fn load_bmc_memory(&self, server: &Server) -> StoreFuture<BmcMemory> {
        let (serial, address) = (server.serial.clone(), server.bmc_address.clone());
        self.read("reading what a BMC agreed to", move |reader| bmc_memory::load(reader, &serial, &address))
    }
}

pub(super) fn load(reader: &Reader<'_>, serial: &Serial) -> Result<Option<Server>, Fault> {
    let mut statement = reader.prepare_cached("SELECT * FROM servers WHERE serial = ?1")?;
    let mut rows = statement.query_and_then([serial.as_str()], |row| parse(reader, row))?;
    rows.next().transpose()
}

fn record(reader: &Reader<'_>, serial: &Serial) -> Result<Option<ServerRecord>, Fault> {
    let mut statement = reader.prepare_cached("SELECT * FROM servers WHERE serial = ?1")?;
    let mut rows = statement.query_and_then([serial.as_str()], |row| parse_record(reader, row))?;
    rows.next().transpose()
}

const LAST_JOB: &str = "(SELECT id FROM jobs WHERE server = servers.serial ORDER BY id DESC LIMIT 1)";

fn page(reader: &Reader<'_>, filter: &ServerFilter) -> Result<Vec<ServerRecord>, Fault> {
    let mut sql = "SELECT * FROM servers WHERE true".to_owned();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    if let Some(serial) = &filter.serial {
        sql += " AND lower(replace(serial, ' ', '')) = ?";
        values.push(Box::new(likeness(serial)));
    }
    if let Some((name, value)) = &filter.label {
        sql += " AND EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ? AND value = ?)";
        values.push(Box::new(name));
        values.push(Box::new(value));
    }
    match filter.last_job {
        Some(LastJob::Absent) => sql += &format!(" AND {LAST_JOB} IS NULL"),
        Some(LastJob::Is(status)) => {
            sql += &format!(" AND (SELECT status FROM jobs WHERE id = {LAST_JOB}) = ?");
            values.push(Box::new(Word(status)));
        }
        None => {}
    }
    if let Some(after) = &filter.after {
        sql += " AND serial > ?";
        values.push(Box::new(after.as_str()));
    }
    sql += " ORDER BY serial LIMIT ?";
    values.push(Box::new(Count(filter.limit.min(PAGE_MAX) as u64)));
    let mut statement = reader.prepare_cached(&sql)?;
    let rows =
        statement.query_and_then(rusqlite::params_from_iter(&values), |row| parse_record(reader, row))?;
    rows.collect()
}

/// The server whose serial number has this likeness.
fn alike(reader: &Reader<'_>, likeness: &str) -> Result<Option<Serial>, Fault> {
    let sql = "SELECT serial FROM servers WHERE lower(replace(serial, ' ', '')) = ?1 ORDER BY serial LIMIT 1";
    let found = reader.prepare_cached(sql)?.query_row([likeness], |row| row.get::<_, Word<_>>(0)).optional();
    let found = found.map_err(|error| Fault::in_row("the serial number of a server", error))?;
    Ok(found.map(|Word(serial)| serial))
}

fn exists(writer: &Writer<'_>, serial: &Serial) -> Result<bool, Fault> {
    let sql = "SELECT 1 FROM servers WHERE serial = ?1";
    Ok(writer.query_row(sql, [serial.as_str()], |_| Ok(())).optional()?.is_some())
}

/// Adds a record of a serial number that has none.
fn add(writer: &Writer<'_>, server: &Server, at: Option<Timestamp>) -> Result<(), Fault> {
    if let Some(existing) = alike(&writer.reader(), &server.serial.likeness())? {
        return Err(StoreError::SimilarServer { serial: server.serial.clone(), existing }.into());
    }
    let Count(held) = writer.query_row("SELECT count(*) FROM servers", [], |row| row.get(0))?;
    if held >= SERVERS_MAX {
        return Err(StoreError::InventoryFull { max: SERVERS_MAX }.into());
    }
    put(writer, server, at)
}

/// A record with its revision.
fn stored(writer: &Writer<'_>, serial: &Serial) -> Result<Option<(Server, u64)>, Fault> {
    let reader = writer.reader();
    let mut statement = reader.prepare_cached("SELECT * FROM servers WHERE serial = ?1")?;
    let mut rows = statement.query_and_then([serial.as_str()], |row| parse_with_revision(&reader, row))?;
    rows.next().transpose()
}

/// The record, where it has this revision or any is right.
fn at_revision(writer: &Writer<'_>, serial: &Serial, revision: Option<u64>) -> Result<Server, Fault> {
    match stored(writer, serial)? {
        None => Err(StoreError::UnknownServer { serial: serial.clone() }.into()),
        Some((_, now)) if revision.is_some_and(|revision| revision != now) => {
            Err(StoreError::ServerChanged { serial: serial.clone() }.into())
        }
        Some((server, _)) => Ok(server),
    }
}

/// Replaces a record.
fn change(writer: &Writer<'_>, before: &Server, server: &Server, at: Option<Timestamp>) -> Result<(), Fault> {
    if before.leads_elsewhere(server) {
        job_rows::check_idle(writer, &server.serial)?;
    }
    bmc_memory::forget(writer, &server.serial, Some(&server.bmc_address))?;
    hardware::forget(writer, &server.serial, Some(&server.bmc_address))?;
    put(writer, server, at)
}

fn put(writer: &Writer<'_>, server: &Server, at: Option<Timestamp>) -> Result<(), Fault> {
    let password = server.bmc_password.expose().as_bytes();
    let variables = (!server.variables.is_empty())
        .then(|| writer.sealer.seal(&variables_context(&server.serial), json(&server.variables).as_bytes()));
    let sql = "INSERT INTO servers
        (serial, bmc_address, bmc_username, bmc_password, tls, system_id, system_uuid,
         management_address, protected, labels, variables, created_at, updated_at)
        VALUES (:serial, :bmc_address, :bmc_username, :bmc_password, :tls, :system_id, :system_uuid,
         :management_address, :protected, :labels, :variables, :at, :at)
        ON CONFLICT (serial) DO UPDATE SET
         bmc_address = excluded.bmc_address, bmc_username = excluded.bmc_username,
         bmc_password = excluded.bmc_password, tls = excluded.tls, system_id = excluded.system_id,
         system_uuid = excluded.system_uuid, management_address = excluded.management_address,
         protected = excluded.protected, labels = excluded.labels, variables = excluded.variables,
         updated_at = excluded.updated_at, revision = revision + 1";
    let params = named_params! {
        ":serial": server.serial.as_str(),
        ":bmc_address": server.bmc_address.as_str(),
        ":bmc_username": server.bmc_username,
        ":bmc_password": writer.sealer.seal(&password_context(&server.serial), password),
        ":tls": Word(&server.tls),
        ":system_id": server.system_id,
        ":system_uuid": server.system_uuid,
        ":management_address": server.management_address,
        ":protected": server.protected,
        ":labels": Json(&server.labels),
        ":variables": variables,
        ":at": at.map(Millis),
    };
    writer.prepare_cached(sql)?.execute(params)?;
    Ok(())
}

fn parse(reader: &Reader<'_>, row: &Row<'_>) -> Result<Server, Fault> {
    let name = || match row.get::<_, String>("serial") {
        Ok(serial) => format!("server {serial:?}"),
        Err(_) => "a server".to_owned(),
    };
    columns(reader, row).map_err(|error| Fault::row(name(), error))
}

fn parse_with_revision(reader: &Reader<'_>, row: &Row<'_>) -> Result<(Server, u64), Fault> {
    let server = parse(reader, row)?;
    let Count(revision) =
        row.get("revision").map_err(|error| Fault::in_row(format!("server {}", server.serial), error))?;
    Ok((server, revision))
}

fn parse_record(reader: &Reader<'_>, row: &Row<'_>) -> Result<ServerRecord, Fault> {
    let server = parse(reader, row)?;
    let read = || {
        let time =
            |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<Millis>>(column)?.map(|Millis(at)| at));
        Ok((time("created_at")?, time("updated_at")?, row.get::<_, Count>("revision")?.0))
    };
    let (created_at, updated_at, revision) =
        read().map_err(|error| Fault::in_row(format!("server {}", server.serial), error))?;
    let last_job = last_job(reader, &server.serial)?;
    Ok(ServerRecord { server, created_at, updated_at, revision, last_job })
}

fn last_job(reader: &Reader<'_>, serial: &Serial) -> Result<Option<StoredJob>, Fault> {
    let sql = "SELECT id FROM jobs WHERE server = ?1 ORDER BY id DESC LIMIT 1";
    let last = reader.prepare_cached(sql)?.query_row([serial.as_str()], |row| row.get::<_, Word<_>>(0));
    let last = last.optional().map_err(|error| Fault::in_row("a job's id", error))?;
    Ok(last.map(|Word(id)| unreadable::load(reader, id)).transpose()?.flatten())
}

fn columns(reader: &Reader<'_>, row: &Row<'_>) -> Result<Server, Box<dyn std::error::Error + Send + Sync>> {
    let Word(serial): Word<Serial> = row.get("serial")?;
    let sealed: Vec<u8> = row.get("bmc_password")?;
    let password = reader.sealer.open(&password_context(&serial), &sealed)?;
    Ok(Server {
        bmc_address: row.get::<_, Word<_>>("bmc_address")?.0,
        bmc_username: row.get("bmc_username")?,
        bmc_password: Password::new(
            std::str::from_utf8(&password).map_err(|_| "its password is not text")?.to_owned(),
        ),
        tls: row.get::<_, Word<_>>("tls")?.0,
        system_id: row.get("system_id")?,
        system_uuid: row.get("system_uuid")?,
        management_address: row.get("management_address")?,
        protected: row.get("protected")?,
        labels: row.get::<_, Json<_>>("labels")?.0,
        variables: variables(reader, row, &serial)?,
        serial,
    })
}

fn variables(
    reader: &Reader<'_>,
    row: &Row<'_>,
    serial: &Serial,
) -> Result<Variables, Box<dyn std::error::Error + Send + Sync>> {
    let Some(sealed) = row.get::<_, Option<Vec<u8>>>("variables")? else { return Ok(Variables::default()) };
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
