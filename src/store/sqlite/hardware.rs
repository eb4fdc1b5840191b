//! The table `hardware`.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};
use url::Url;

use super::fault::Fault;
use super::row::{Millis, Stored, Word};
use super::{Reader, Writer};
use crate::domain::Serial;
use shoal_redfish::Hardware;

/// Keeps it where the server still has that address.
pub(super) fn save(
    writer: &Writer<'_>,
    serial: &Serial,
    address: &Url,
    hardware: &Hardware,
    read_at: Timestamp,
) -> Result<(), Fault> {
    let sql = "INSERT OR REPLACE INTO hardware (server, bmc_address, read_at, hardware)
        SELECT serial, bmc_address, ?3, ?4 FROM servers WHERE serial = ?1 AND bmc_address = ?2";
    let values = params![serial.as_str(), address.as_str(), Millis(read_at), Stored(hardware)];
    writer.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

pub(super) fn load(
    reader: &Reader<'_>,
    serial: &Serial,
    address: &Url,
) -> Result<Option<(Timestamp, Hardware)>, Fault> {
    let sql = "SELECT read_at, hardware FROM hardware WHERE server = ?1 AND bmc_address = ?2";
    let mut statement = reader.prepare_cached(sql)?;
    let found = statement
        .query_row(params![Word(serial), address.as_str()], |row| {
            Ok((row.get::<_, Millis>(0)?.0, row.get::<_, Stored<_>>(1)?.0))
        })
        .optional();
    match found.map_err(|error| Fault::in_row("the hardware of a server", error)) {
        // What another release has read can be read again.
        Err(Fault::Row { source, .. }) => {
            tracing::info!(server = %serial, error = %source, "what is stored of a server's hardware cannot be read and is not shown");
            Ok(None)
        }
        found => found,
    }
}

/// With the server, or with the address that it was read at.
pub(super) fn forget(writer: &Writer<'_>, serial: &Serial, but_at: Option<&Url>) -> Result<(), Fault> {
    let sql = "DELETE FROM hardware WHERE server = ?1 AND bmc_address IS NOT ?2";
    writer.prepare_cached(sql)?.execute(params![serial.as_str(), but_at.map(Url::as_str)])?;
    Ok(())
}
