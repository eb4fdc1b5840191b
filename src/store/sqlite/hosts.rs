//! Which hosts active jobs hold, so that two records of one host never have two jobs on it.
//!
//! Invariant: a job's facts name its host only once no other active job's facts do. Looking and writing are one
//! transaction, so of two jobs that find the same host at once, one gets it.

use rusqlite::params;
use url::Url;

use super::fault::Fault;
use super::row::Word;
use super::{Reader, Store, leases};
use crate::domain::{HostId, Job, JobId, Serial, SystemFacts};
use crate::store::{HostHolder, Lease, StoreError};

impl Store {
    /// Saves a job that has found its host. Nothing is written where another active job holds it: that one is
    /// returned.
    pub async fn take_host(&self, lease: &Lease, job: &Job) -> Result<Option<HostHolder>, StoreError> {
        let (lease, job) = (*lease, job.clone());
        self.write("taking a host", move |writer| {
            let host = job.facts.system.as_ref().and_then(|system| system.host.as_ref());
            let others = |other: JobId, _: &Serial| other != lease.job;
            if let Some(host) = host
                && let Some(holder) = holder(&writer.reader(), host, others)?
            {
                return Ok(Some(holder));
            }
            leases::write(writer, &lease, &job)?;
            Ok(None)
        })
        .await
    }

    /// The active job of another record than `than` that holds the host.
    pub async fn host_holder(&self, host: &HostId, than: &Serial) -> Result<Option<HostHolder>, StoreError> {
        let (host, than) = (host.clone(), than.clone());
        self.read("looking for the holder of a host", move |reader| {
            holder(reader, &host, |_, server| *server != than)
        })
        .await
    }
}

/// The oldest active job on the host, of those that `counts`. A row that cannot be read holds no host.
fn holder(
    reader: &Reader<'_>,
    host: &HostId,
    counts: impl Fn(JobId, &Serial) -> bool,
) -> Result<Option<HostHolder>, Fault> {
    let sql = "SELECT jobs.id, jobs.server, servers.bmc_address,
            CASE WHEN json_valid(jobs.facts)
                THEN coalesce(jobs.facts ->> '$.value.system', jobs.facts ->> '$.system') END
        FROM jobs LEFT JOIN servers ON servers.serial = jobs.server WHERE jobs.phase <> 'done' ORDER BY jobs.id";
    let mut statement = reader.prepare_cached(sql)?;
    let mut rows = statement.query(params![])?;
    while let Some(row) = rows.next()? {
        let (Ok(Word(job)), Ok(Word(server))) = (row.get(0), row.get(1)) else { continue };
        let system: Option<String> = row.get(3).ok();
        let system = system.and_then(|text| serde_json::from_str::<SystemFacts>(&text).ok());
        let address = row.get(2).ok().map(|Word::<Url>(address)| address);
        // A job that 0.1.0 resolved has its link only.
        let held = system.and_then(|system| system.host.or_else(|| Some(HostId::at(&address?, system.link))));
        if held.is_some_and(|held| held.is_same(host)) && counts(job, &server) {
            return Ok(Some(HostHolder { job, server }));
        }
    }
    Ok(None)
}
