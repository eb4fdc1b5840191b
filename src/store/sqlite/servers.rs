//! The table `servers`.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, named_params, params};

use super::fault::Fault;
use super::row::{Count, Json, Millis, Word};
use super::{Reader, Sqlite, Writer, bmc_memory, job_rows, unreadable};
use crate::domain::{Serial, Server};
use crate::store::{PAGE_MAX, SERVERS_MAX, ServerRecord, ServerStore, StoreError, StoreFuture};
use shoal_base::Password;
use shoal_redfish::BmcMemory;

impl ServerStore for Sqlite {
    fn insert_server(&self, server: &Server) -> StoreFuture<()> {
        let (server, at) = (server.clone(), self.act.as_ref().map(|act| act.at));
        self.write("adding a server", move |writer| {
            if load(&writer.reader(), &server.serial)?.is_some() {
                return Err(StoreError::ServerExists { serial: server.serial }.into());
            }
            let Count(held) = writer.query_row("SELECT count(*) FROM servers", [], |row| row.get(0))?;
            if held >= SERVERS_MAX {
                return Err(StoreError::InventoryFull { max: SERVERS_MAX }.into());
            }
            put(writer, &server, at)
        })
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

    fn update_server(&self, server: &Server) -> StoreFuture<()> {
        let (server, at) = (server.clone(), self.act.as_ref().map(|act| act.at));
        self.write("changing a server", move |writer| {
            if !exists(writer, &server.serial)? {
                return Err(StoreError::UnknownServer { serial: server.serial }.into());
            }
            bmc_memory::forget(writer, &server.serial, Some(&server.bmc_address))?;
            put(writer, &server, at)
        })
    }

    fn server(&self, serial: &Serial) -> StoreFuture<Option<Server>> {
        let serial = serial.clone();
        self.read("reading a server", move |reader| load(reader, &serial))
    }

    fn servers(&self) -> StoreFuture<Vec<Server>> {
        self.read("reading the servers", |reader| {
            let mut statement = reader.prepare_cached("SELECT * FROM servers ORDER BY serial")?;
            statement.query_and_then([], |row| parse(reader, row))?.collect()
        })
    }

    fn servers_after(&self, after: Option<&Serial>, limit: usize) -> StoreFuture<Vec<Server>> {
        let after = after.map(ToString::to_string).unwrap_or_default();
        self.read("reading servers", move |reader| {
            let sql = "SELECT * FROM servers WHERE serial > ?1 ORDER BY serial LIMIT ?2";
            let mut statement = reader.prepare_cached(sql)?;
            let limit = Count(limit.min(PAGE_MAX) as u64);
            statement.query_and_then(params![after, limit], |row| parse(reader, row))?.collect()
        })
    }

    fn delete_server(&self, serial: &Serial) -> StoreFuture<()> {
        let serial = serial.clone();
        self.write("deleting a server", move |writer| {
            job_rows::check_idle(writer, &serial)?;
            bmc_memory::forget(writer, &serial, None)?;
            match writer.execute("DELETE FROM servers WHERE serial = ?1", [serial.as_str()])? {
                0 => Err(StoreError::UnknownServer { serial }.into()),
                _ => Ok(()),
            }
        })
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
    let Some(server) = load(reader, serial)? else { return Ok(None) };
    let sql = "SELECT created_at, updated_at, revision FROM servers WHERE serial = ?1";
    let mut statement = reader.prepare_cached(sql)?;
    let read = |row: &Row<'_>| {
        let time = |at: Option<Millis>| at.map(|Millis(at)| at);
        Ok((time(row.get(0)?), time(row.get(1)?), row.get::<_, Count>(2)?.0))
    };
    let (created_at, updated_at, revision) = statement
        .query_row([serial.as_str()], read)
        .map_err(|error| Fault::in_row(format!("server {serial}"), error))?;
    let sql = "SELECT id FROM jobs WHERE server = ?1 ORDER BY id DESC LIMIT 1";
    let last = reader.prepare_cached(sql)?.query_row([serial.as_str()], |row| row.get::<_, Word<_>>(0));
    let last = last.optional().map_err(|error| Fault::in_row("a job's id", error))?;
    let last_job = last.map(|Word(id)| unreadable::load(reader, id)).transpose()?.flatten();
    Ok(Some(ServerRecord { server, created_at, updated_at, revision, last_job }))
}

fn exists(writer: &Writer<'_>, serial: &Serial) -> Result<bool, Fault> {
    let sql = "SELECT 1 FROM servers WHERE serial = ?1";
    Ok(writer.query_row(sql, [serial.as_str()], |_| Ok(())).optional()?.is_some())
}

/// Adds or replaces a record; `at` is when.
fn put(writer: &Writer<'_>, server: &Server, at: Option<Timestamp>) -> Result<(), Fault> {
    let password = server.bmc_password.expose().as_bytes();
    let sql = "INSERT INTO servers
        (serial, bmc_address, bmc_username, bmc_password, tls, system_id, system_uuid,
         management_address, protected, labels, created_at, updated_at)
        VALUES (:serial, :bmc_address, :bmc_username, :bmc_password, :tls, :system_id, :system_uuid,
         :management_address, :protected, :labels, :at, :at)
        ON CONFLICT (serial) DO UPDATE SET
         bmc_address = excluded.bmc_address, bmc_username = excluded.bmc_username,
         bmc_password = excluded.bmc_password, tls = excluded.tls, system_id = excluded.system_id,
         system_uuid = excluded.system_uuid, management_address = excluded.management_address,
         protected = excluded.protected, labels = excluded.labels, updated_at = excluded.updated_at,
         revision = revision + 1";
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
        serial,
    })
}

fn password_context(serial: &Serial) -> String {
    format!("servers.bmc_password/{serial}")
}
