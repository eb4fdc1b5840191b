//! What is kept beside records: the tables `bmc_memories` and `hardware`, and which hosts active jobs have.

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use shoal_base::with_causes;
use url::Url;

use super::fault::PgFault;
use super::row::{Json, Millis, Stored, Word, values};
use super::writer::{PgReader, PgWriter};
use crate::domain::{HostId, JobId, Serial, SystemFacts};
use crate::store::HostHolder;
use shoal_redfish::{BmcMemory, Hardware};

/// Keeps it where the server still has that address.
pub(super) async fn save_memory(
    tx: &PgWriter,
    serial: &Serial,
    address: &Url,
    memory: &BmcMemory,
) -> Result<(), PgFault> {
    let sql = "INSERT INTO bmc_memories (server, bmc_address, memory)
        SELECT serial, bmc_address, $3 FROM servers WHERE serial = $1 AND bmc_address = $2 FOR SHARE
        ON CONFLICT (server) DO UPDATE SET bmc_address = excluded.bmc_address, memory = excluded.memory";
    tx.execute(sql, values![serial.as_str(), address.as_str(), Stored(memory)]).await.map(drop)
}

pub(super) async fn load_memory(
    reader: &PgReader,
    serial: &Serial,
    address: &Url,
) -> Result<BmcMemory, PgFault> {
    let sql = "SELECT memory FROM bmc_memories WHERE server = $1 AND bmc_address = $2";
    let row = reader.optional(sql, values![serial.as_str(), address.as_str()]).await?;
    let Some(row) = row else { return Ok(BmcMemory::default()) };
    match row.try_get::<_, Stored<_>>(0) {
        Ok(Stored(memory)) => Ok(memory),
        // It only saves tries, so what another release has learned is learned again.
        Err(error) => {
            tracing::info!(server = %serial, error = %with_causes(&error), "what was remembered of a BMC cannot be read and is discarded");
            Ok(BmcMemory::default())
        }
    }
}

/// Keeps it where the server still has that address.
pub(super) async fn save_hardware(
    tx: &PgWriter,
    serial: &Serial,
    address: &Url,
    hardware: &Hardware,
    read_at: Timestamp,
) -> Result<(), PgFault> {
    let sql = "INSERT INTO hardware (server, bmc_address, read_at, hardware)
        SELECT serial, bmc_address, $3, $4 FROM servers WHERE serial = $1 AND bmc_address = $2 FOR SHARE
        ON CONFLICT (server) DO UPDATE SET bmc_address = excluded.bmc_address, read_at = excluded.read_at,
            hardware = excluded.hardware";
    let values = values![serial.as_str(), address.as_str(), Millis(read_at), Stored(hardware)];
    tx.execute(sql, values).await.map(drop)
}

pub(super) async fn load_hardware(
    reader: &PgReader,
    serial: &Serial,
    address: &Url,
) -> Result<Option<(Timestamp, Hardware)>, PgFault> {
    let sql = "SELECT read_at, hardware FROM hardware WHERE server = $1 AND bmc_address = $2";
    let row = reader.optional(sql, values![serial.as_str(), address.as_str()]).await?;
    let Some(row) = row else { return Ok(None) };
    match (row.try_get::<_, Millis>(0), row.try_get::<_, Stored<_>>(1)) {
        (Ok(Millis(at)), Ok(Stored(hardware))) => Ok(Some((at, hardware))),
        // What another release has read can be read again.
        (Err(error), _) | (_, Err(error)) => {
            tracing::info!(server = %serial, error = %with_causes(&error), "what is stored of a server's hardware cannot be read and is not shown");
            Ok(None)
        }
    }
}

/// Forgets both with the server, or with the address that they were learned at.
pub(super) async fn forget(tx: &PgWriter, serial: &Serial, but_at: Option<&Url>) -> Result<(), PgFault> {
    for table in ["bmc_memories", "hardware"] {
        let sql = format!("DELETE FROM {table} WHERE server = $1 AND bmc_address IS DISTINCT FROM $2");
        tx.execute(&sql, values![serial.as_str(), but_at.map(Url::as_str)]).await?;
    }
    Ok(())
}

/// The oldest active job on the host, of those that `counts`. A row that cannot be read holds no host.
pub(super) fn host_holder<'a>(
    reader: &'a PgReader,
    host: &'a HostId,
    counts: impl Fn(JobId, &Serial) -> bool + Send + 'a,
) -> BoxFuture<'a, Result<Option<HostHolder>, PgFault>> {
    Box::pin(async move {
        // Of a thousand active jobs, only those that can be meant are transferred and read.
        let sql = r#"SELECT jobs.id, jobs.server, servers.bmc_address, jobs.system
            FROM jobs LEFT JOIN servers ON servers.serial = jobs.server
            WHERE jobs.phase <> 'done' AND (strpos(jobs.system, $1) > 0 OR strpos(lower(jobs.system), $2) > 0
                OR strpos(jobs.system, $3) > 0 OR strpos(jobs.system, '"host":{') = 0) ORDER BY jobs.id"#;
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let uuid = host.uuid.as_ref().map(|uuid| quoted(&uuid.to_ascii_lowercase()));
        let values = values![quoted(&host.bmc), uuid, host.serial.as_deref().map(quoted)];
        for row in reader.query(sql, values).await? {
            let (Ok(Word(job)), Ok(Word(server))) = (row.try_get(0), row.try_get(1)) else { continue };
            let address = row.try_get(2).ok().map(|Word::<Url>(address)| address);
            let Ok(Json(system)) = row.try_get::<_, Json<SystemFacts>>(3) else { continue };
            let held = system.host_at(address.as_ref());
            if held.is_some_and(|held| held.is_same(host)) && counts(job, &server) {
                return Ok(Some(HostHolder { job, server }));
            }
        }
        Ok(None)
    })
}
