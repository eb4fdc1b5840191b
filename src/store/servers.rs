//! The inventory: one record a server, and what its BMC has agreed to.
//!
//! A record is written as a whole. What a BMC has agreed to is kept beside it, because jobs learn it and operators
//! change the record: it belongs to the address that it was learned at, and is dropped with the server or that
//! address. It is written without a lease, since it decides nothing, and what cannot be read of it is discarded.
//! Invariants: a server with an active job stays; BMC passwords are sealed.

use jiff::Timestamp;

use super::{StoreFuture, StoredJob};
use crate::domain::{Serial, Server};
use shoal_redfish::BmcMemory;

/// The most servers that one inventory holds.
pub const SERVERS_MAX: u64 = 50_000;

/// A server with what is known of its record.
#[derive(Clone, Debug)]
pub struct ServerRecord {
    pub server: Server,
    /// Unknown of a record that an earlier release wrote.
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
    /// Rises with every change.
    pub revision: u64,
    /// The newest, refused ones included.
    pub last_job: Option<StoredJob>,
}

pub trait ServerStore {
    fn insert_server(&self, server: &Server) -> StoreFuture<()>;

    /// Replaces the record of the same serial number.
    fn update_server(&self, server: &Server) -> StoreFuture<()>;

    /// Refused with [`StoreError::Busy`](super::StoreError::Busy) while a job is active on it; its past jobs stay.
    fn delete_server(&self, serial: &Serial) -> StoreFuture<()>;

    fn server(&self, serial: &Serial) -> StoreFuture<Option<Server>>;

    /// A server with what is known of its record.
    fn server_record(&self, serial: &Serial) -> StoreFuture<Option<ServerRecord>>;

    /// Another server with this management address, whatever its case.
    fn other_server_at(&self, management_address: &str, than: &Serial) -> StoreFuture<Option<Serial>>;

    /// The whole inventory ([`SERVERS_MAX`] at most), by serial number.
    fn servers(&self) -> StoreFuture<Vec<Server>>;

    /// One page of the inventory, by serial number: those after `after`, at most `limit` and
    /// [`PAGE_MAX`](super::PAGE_MAX).
    fn servers_after(&self, after: Option<&Serial>, limit: usize) -> StoreFuture<Vec<Server>>;

    /// Keeps what was learned at the address of this record. No effect where the server is gone or has another
    /// address by now.
    fn save_bmc_memory(&self, server: &Server, memory: BmcMemory) -> StoreFuture<()>;

    /// What was learned at the address of this record; empty where it was learned at another one.
    fn load_bmc_memory(&self, server: &Server) -> StoreFuture<BmcMemory>;
}
