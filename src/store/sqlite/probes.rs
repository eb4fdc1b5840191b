//! The table `probes`.

use std::net::IpAddr;

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use super::fault::Fault;
use super::row::{Json, Millis};
use super::{Reader, Sqlite, Writer};
use crate::domain::{ProbeFetch, ProbeReads};
use crate::store::probes::{PROBE_LEFT_AFTER, peer_text};
use crate::store::{ProbeStore, StoreFuture};
use shoal_base::world::after;

impl ProbeStore for Sqlite {
    fn insert_probe(&self, id: &str, peer: Option<IpAddr>, now: Timestamp) -> StoreFuture<()> {
        let (id, peer) = (id.to_owned(), peer.map(peer_text));
        self.write("adding a probe", move |writer| {
            writer.prepare_cached("DELETE FROM probes WHERE left_at < ?1")?.execute([Millis(now)])?;
            let left_at = Millis(after(now, PROBE_LEFT_AFTER));
            let sql = "INSERT INTO probes (id, peer, left_at, reads) VALUES (?1, ?2, ?3, ?4)";
            let reads = Json(ProbeReads::default());
            writer.prepare_cached(sql)?.execute(params![id, peer, left_at, reads])?;
            Ok(())
        })
    }

    fn note_probe_fetch(&self, id: &str, fetch: ProbeFetch) -> StoreFuture<bool> {
        let id = id.to_owned();
        self.write("saving a request for a probe", move |writer| {
            let Some(mut reads) = reads_of(&writer.reader(), &id)? else { return Ok(false) };
            reads.add(fetch);
            save(writer, &id, reads)?;
            Ok(true)
        })
    }

    fn note_probe_refused(&self, peer: IpAddr, why: &str) -> StoreFuture<()> {
        let (peer, why) = (peer_text(peer), why.to_owned());
        self.write("saving that a connection ended", move |writer| {
            let mut statement = writer.prepare_cached("SELECT id FROM probes WHERE peer = ?1")?;
            let found = statement.query_map([peer], |row| row.get(0))?;
            for id in found.collect::<rusqlite::Result<Vec<String>>>()? {
                let mut reads = reads_of(&writer.reader(), &id)?.unwrap_or_default();
                reads.add_refused(&why);
                save(writer, &id, reads)?;
            }
            Ok(())
        })
    }

    fn probe_reads(&self, id: &str) -> StoreFuture<Option<ProbeReads>> {
        let id = id.to_owned();
        self.read("reading the requests for a probe", move |reader| reads_of(reader, &id))
    }

    fn remove_probe(&self, id: &str) -> StoreFuture<()> {
        let id = id.to_owned();
        self.write("removing a probe", move |writer| {
            writer.prepare_cached("DELETE FROM probes WHERE id = ?1")?.execute([id])?;
            Ok(())
        })
    }
}

fn reads_of(reader: &Reader<'_>, id: &str) -> Result<Option<ProbeReads>, Fault> {
    let mut statement = reader.prepare_cached("SELECT reads FROM probes WHERE id = ?1")?;
    let reads = statement.query_row([id], |row| row.get::<_, Json<_>>(0)).optional();
    let reads = reads.map_err(|error| Fault::in_row("the requests for a probe", error))?;
    Ok(reads.map(|Json(reads)| reads))
}

fn save(writer: &Writer<'_>, id: &str, reads: ProbeReads) -> Result<(), Fault> {
    let sql = "UPDATE probes SET reads = ?2 WHERE id = ?1";
    writer.prepare_cached(sql)?.execute(params![id, Json(reads)])?;
    Ok(())
}
