//! The inventory: one record a server, and what its BMC has agreed to.
//!
//! A record is written as a whole. What a BMC has agreed to is kept beside it, because jobs learn it and operators
//! change the record: it belongs to the address that it was learned at, and is dropped with the server or that
//! address. It is written without a lease, since it decides nothing, and what cannot be read of it is discarded.
//! Invariants: a server with an active job stays; no two serial numbers differ in case and blanks only; BMC passwords
//! and variables are sealed.

use jiff::Timestamp;

use super::{StoreFuture, StoredJob};
use crate::access::Act;
use crate::domain::{Serial, Server, Status};
use shoal_redfish::{BmcMemory, Hardware};

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

/// A record to be added or replaced.
#[derive(Clone, Debug)]
pub struct ServerPut {
    pub server: Server,
    /// Of the record that it replaces, as it was read; `None`: there was none.
    pub revision: Option<u64>,
    pub act: Act,
}

/// Which servers, by serial number.
#[derive(Clone, Debug, Default)]
pub struct ServerFilter {
    /// The one with this serial number, whatever its case and blanks.
    pub serial: Option<String>,
    pub label: Option<(String, String)>,
    pub last_job: Option<LastJob>,
    /// Those after this one: the last of the page before.
    pub after: Option<Serial>,
    /// At most [`PAGE_MAX`](super::PAGE_MAX).
    pub limit: usize,
}

/// What a server's newest job is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastJob {
    /// There is none.
    Absent,
    Is(Status),
}

pub trait ServerStore {
    /// [`StoreError::SimilarServer`](super::StoreError::SimilarServer) where another serial number differs in case and
    /// blanks only.
    fn insert_server(&self, server: &Server) -> StoreFuture<()>;

    /// Replaces the record of the same serial number. [`StoreError::ServerChanged`](super::StoreError::ServerChanged),
    /// and nothing is written, where it no longer has this revision; [`StoreError::Busy`](super::StoreError::Busy) where
    /// another host may be behind it afterwards while a job is active.
    fn update_server(&self, server: &Server, revision: Option<u64>) -> StoreFuture<()>;

    /// Adds and replaces records, each with its entry of the audit log: all of them, or none where one is refused as by
    /// [`ServerStore::insert_server`] or [`ServerStore::update_server`], or is not as it was read.
    fn put_servers(&self, records: Vec<ServerPut>) -> StoreFuture<()>;

    /// Refused with [`StoreError::Busy`](super::StoreError::Busy) while a job is active on it; its past jobs stay.
    /// [`StoreError::ServerChanged`](super::StoreError::ServerChanged) where it no longer has this revision.
    fn delete_server(&self, serial: &Serial, revision: Option<u64>) -> StoreFuture<()>;

    fn server(&self, serial: &Serial) -> StoreFuture<Option<Server>>;

    /// A server with what is known of its record.
    fn server_record(&self, serial: &Serial) -> StoreFuture<Option<ServerRecord>>;

    /// The server whose serial number is `text`, whatever the case and blanks of that.
    fn server_like(&self, text: &str) -> StoreFuture<Option<Serial>>;

    /// Another server with this management address, whatever its case.
    fn other_server_at(&self, management_address: &str, than: &Serial) -> StoreFuture<Option<Serial>>;

    /// The whole inventory ([`SERVERS_MAX`] at most) with the revisions of its records, by serial number.
    fn inventory(&self) -> StoreFuture<Vec<(Server, u64)>>;

    /// The whole inventory, by serial number.
    fn servers(&self) -> StoreFuture<Vec<Server>> {
        let inventory = self.inventory();
        Box::pin(async move { Ok(inventory.await?.into_iter().map(|(server, _)| server).collect()) })
    }

    /// One page of the inventory; continue with `after` set to the last one's serial number.
    fn server_page(&self, filter: &ServerFilter) -> StoreFuture<Vec<ServerRecord>>;

    /// Keeps what was learned at the address of this record. No effect where the server is gone or has another
    /// address by now.
    fn save_bmc_memory(&self, server: &Server, memory: BmcMemory) -> StoreFuture<()>;

    /// Keeps what the BMC at the address of this record reports of the host, in place of what it reported before. No
    /// effect where the server is gone or has another address by now.
    fn save_hardware(&self, server: &Server, hardware: Hardware, read_at: Timestamp) -> StoreFuture<()>;

    /// What was reported last at the address of this record, and when; none where this release cannot read it.
    fn load_hardware(&self, server: &Server) -> StoreFuture<Option<(Timestamp, Hardware)>>;

    /// What was learned at the address of this record; empty where it was learned at another one.
    fn load_bmc_memory(&self, server: &Server) -> StoreFuture<BmcMemory>;
}
