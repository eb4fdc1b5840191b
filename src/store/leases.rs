//! Leases: the right to go on with a job, and who holds a host.

use std::fmt;

use crate::domain::{JobId, Serial};

/// The right to go on with one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    pub job: JobId,
    pub generation: u64,
}

/// An active job on the host that another record means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostHolder {
    pub job: JobId,
    pub server: Serial,
}

impl fmt::Display for HostHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "job {} of server record {} is active on the same host: delete one of the two records",
            self.job, self.server
        )
    }
}
