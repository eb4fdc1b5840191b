//! Which hosts active jobs have, by the facts in `jobs`.

use rusqlite::params;
use url::Url;

use super::Reader;
use super::fault::Fault;
use super::row::Word;
use crate::domain::{HostId, JobId, Serial, SystemFacts};
use crate::store::HostHolder;

/// The oldest active job on the host, of those that `counts`. A row that cannot be read holds no host.
pub(super) fn holder(
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
