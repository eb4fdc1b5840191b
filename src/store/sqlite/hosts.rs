//! Which hosts active jobs have, by the facts in `jobs`.
//!
//! A temporary table of the connection has the names of these hosts, so that to find a holder is not to read every active
//! job. It only says where to look: what counts is the job's row. Invariant: it has each host that was taken, until its job
//! is over.

use rusqlite::{Connection, Row, params};
use url::Url;

use super::Reader;
use super::fault::Fault;
use super::row::Word;
use crate::domain::{HostId, JobId, Serial, SystemFacts};
use crate::store::HostHolder;

pub(super) const TABLE: &str = "
CREATE TEMP TABLE IF NOT EXISTS host_names (
    name TEXT NOT NULL,
    job TEXT NOT NULL,
    PRIMARY KEY (name, job)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS temp.host_names_by_job ON host_names (job);
";

/// SQL for an active job with its host; what follows goes on with AND.
const HELD: &str = "SELECT jobs.id, jobs.server, servers.bmc_address,
        CASE WHEN json_valid(jobs.facts)
            THEN coalesce(jobs.facts ->> '$.value.system', jobs.facts ->> '$.system') END
    FROM jobs LEFT JOIN servers ON servers.serial = jobs.server WHERE jobs.phase <> 'done'";

/// The oldest active job on the host, of those that `counts`. A row that cannot be read holds no host.
pub(super) fn holder(
    reader: &Reader<'_>,
    host: &HostId,
    counts: impl Fn(JobId, &Serial) -> bool,
) -> Result<Option<HostHolder>, Fault> {
    let sql = format!(
        "{HELD} AND jobs.id IN (SELECT job FROM temp.host_names WHERE name IN (?1, ?2, ?3)) ORDER BY jobs.id"
    );
    let mut statement = reader.prepare_cached(&sql)?;
    let mut rows = statement.query(host.names())?;
    while let Some(row) = rows.next()? {
        let Some((holder, held)) = held(row) else { continue };
        if held.is_same(host) && counts(holder.job, &holder.server) {
            return Ok(Some(holder));
        }
    }
    Ok(None)
}

fn held(row: &Row<'_>) -> Option<(HostHolder, HostId)> {
    let (Word(job), Word(server)) = (row.get(0).ok()?, row.get(1).ok()?);
    let system: String = row.get(3).ok()?;
    let system: SystemFacts = serde_json::from_str(&system).ok()?;
    let address = row.get(2).ok().map(|Word::<Url>(address)| address);
    Some((HostHolder { job, server }, system.host_at(address.as_ref())?))
}

/// The job has this host from now on.
pub(super) fn note(writer: &Connection, job: JobId, host: &HostId) -> Result<(), Fault> {
    forget(writer, job)?;
    let sql = "INSERT OR IGNORE INTO temp.host_names (name, job) VALUES (?1, ?2)";
    let mut statement = writer.prepare_cached(sql)?;
    for name in host.names().into_iter().flatten() {
        statement.execute(params![name, Word(job)])?;
    }
    Ok(())
}

pub(super) fn forget(writer: &Connection, job: JobId) -> Result<(), Fault> {
    writer.prepare_cached("DELETE FROM temp.host_names WHERE job = ?1")?.execute([Word(job)])?;
    Ok(())
}

/// A controller that starts reads every active job once.
pub(super) fn note_all(connection: &Connection) -> Result<(), Fault> {
    connection.execute("DELETE FROM temp.host_names", [])?;
    let mut statement = connection.prepare(HELD)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some((holder, host)) = held(row) {
            note(connection, holder.job, &host)?;
        }
    }
    Ok(())
}
