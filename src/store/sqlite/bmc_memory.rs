//! The table `bmc_memories`.

use rusqlite::{OptionalExtension as _, params};
use url::Url;

use super::fault::Fault;
use super::row::{Stored, Word};
use super::{Reader, Writer};
use crate::domain::Serial;
use shoal_redfish::BmcMemory;

/// Keeps it where the server still has that address.
pub(super) fn save(
    writer: &Writer<'_>,
    serial: &Serial,
    address: &Url,
    memory: &BmcMemory,
) -> Result<(), Fault> {
    let sql = "INSERT OR REPLACE INTO bmc_memories (server, bmc_address, memory)
        SELECT serial, bmc_address, ?3 FROM servers WHERE serial = ?1 AND bmc_address = ?2";
    writer.prepare_cached(sql)?.execute(params![serial.as_str(), address.as_str(), Stored(memory)])?;
    Ok(())
}

pub(super) fn load(reader: &Reader<'_>, serial: &Serial, address: &Url) -> Result<BmcMemory, Fault> {
    let sql = "SELECT memory FROM bmc_memories WHERE server = ?1 AND bmc_address = ?2";
    let mut statement = reader.prepare_cached(sql)?;
    let found = statement
        .query_row(params![Word(serial), address.as_str()], |row| row.get::<_, Stored<_>>(0))
        .optional();
    match found.map_err(|error| Fault::in_row("what a BMC agreed to", error)) {
        Ok(found) => Ok(found.map(|Stored(memory)| memory).unwrap_or_default()),
        // It only saves tries, so what another release has learned is learned again.
        Err(Fault::Row { source, .. }) => {
            tracing::info!(server = %serial, error = %source, "what was remembered of a BMC cannot be read and is discarded");
            Ok(BmcMemory::default())
        }
        Err(fault) => Err(fault),
    }
}

/// With the server, or with the address that it was learned at.
pub(super) fn forget(writer: &Writer<'_>, serial: &Serial, but_at: Option<&Url>) -> Result<(), Fault> {
    let sql = "DELETE FROM bmc_memories WHERE server = ?1 AND bmc_address IS NOT ?2";
    writer.prepare_cached(sql)?.execute(params![serial.as_str(), but_at.map(Url::as_str)])?;
    Ok(())
}
