//! What each server's BMC has agreed to: one row a server.
//!
//! It is written without a lease: it decides nothing, and of two writers either is right. Invariant:
//! it is of the address that it was learned at, and gone with the server or with that address.

use rusqlite::{OptionalExtension as _, params};
use url::Url;

use super::fault::Fault;
use super::row::{Stored, Word};
use super::{Reader, Store, Writer};
use crate::domain::{Serial, Server};
use crate::store::StoreError;
use shoal_redfish::BmcMemory;

impl Store {
    /// Keeps what was learned at the address of this record. Nothing is kept of a server that is gone
    /// or that has another address by now.
    pub async fn save_bmc_memory(&self, server: &Server, memory: BmcMemory) -> Result<(), StoreError> {
        let (serial, address) = (server.serial.clone(), server.bmc_address.clone());
        self.write("saving what a BMC agreed to", move |writer| {
            let sql = "INSERT OR REPLACE INTO bmc_memories (server, bmc_address, memory)
                SELECT serial, bmc_address, ?3 FROM servers WHERE serial = ?1 AND bmc_address = ?2";
            let params = params![serial.as_str(), address.as_str(), Stored(&memory)];
            writer.prepare_cached(sql)?.execute(params)?;
            Ok(())
        })
        .await
    }

    /// What was learned at the address of this record; nothing where that is another one.
    pub async fn load_bmc_memory(&self, server: &Server) -> Result<BmcMemory, StoreError> {
        let (serial, address) = (server.serial.clone(), server.bmc_address.clone());
        self.read("reading what a BMC agreed to", move |reader| load(reader, &serial, &address)).await
    }
}

fn load(reader: &Reader<'_>, serial: &Serial, address: &Url) -> Result<BmcMemory, Fault> {
    let sql = "SELECT memory FROM bmc_memories WHERE server = ?1 AND bmc_address = ?2";
    let mut statement = reader.prepare_cached(sql)?;
    let found = statement
        .query_row(params![Word(serial), address.as_str()], |row| row.get::<_, Stored<_>>(0))
        .optional();
    match found.map_err(|error| Fault::in_row("what a BMC agreed to", error)) {
        Ok(found) => Ok(found.map(|Stored(memory)| memory).unwrap_or_default()),
        // It only saves tries, so whatever another release has learned is learned again.
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
