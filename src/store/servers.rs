//! The inventory: what a record holds, and how many there may be.

use jiff::Timestamp;

use super::jobs::StoredJob;
use crate::domain::Server;

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
