//! The table `probes`.

use std::net::IpAddr;

use futures_util::FutureExt as _;
use jiff::Timestamp;

use super::Postgres;
use super::fault::PgFault;
use super::row::{Json, Millis, values};
use super::writer::{PgReader, PgWriter};
use crate::domain::{ProbeFetch, ProbeReads};
use crate::store::probes::{PROBE_LEFT_AFTER, peer_text};
use crate::store::{ProbeStore, StoreFuture};
use shoal_base::world::after;

/// Each row locked, so that no two controllers add to it at the same time.
const FOR_UPDATE: &str = "SELECT id, reads FROM probes WHERE id = $1 FOR UPDATE";

impl ProbeStore for Postgres {
    fn insert_probe(&self, id: &str, peer: Option<IpAddr>, now: Timestamp) -> StoreFuture<()> {
        let given = (id.to_owned(), peer.map(peer_text), now);
        self.write("adding a probe", given, |tx, (id, peer, now)| {
            async move {
                tx.execute("DELETE FROM probes WHERE left_at < $1", values![Millis(*now)]).await?;
                let left_at = Millis(after(*now, PROBE_LEFT_AFTER));
                let sql = "INSERT INTO probes (id, peer, left_at, reads) VALUES ($1, $2, $3, $4)";
                let reads = Json(ProbeReads::default());
                tx.execute(sql, values![id, peer.clone(), left_at, reads]).await.map(drop)
            }
            .boxed()
        })
    }

    fn note_probe_fetch(&self, id: &str, fetch: ProbeFetch) -> StoreFuture<bool> {
        let given = (id.to_owned(), fetch);
        self.write("saving a request for a probe", given, |tx, (id, fetch)| {
            async move {
                let Some((id, mut reads)) = rows(tx, FOR_UPDATE, id).await?.pop() else { return Ok(false) };
                reads.add(fetch.clone());
                save(tx, &id, reads).await?;
                Ok(true)
            }
            .boxed()
        })
    }

    fn note_probe_refused(&self, peer: IpAddr, why: &str) -> StoreFuture<()> {
        let (store, given) = (self.clone(), (peer_text(peer), why.to_owned()));
        Box::pin(async move {
            // Almost always there is none, and nothing is written then.
            let is_shown = store.read("looking for probes", given.0.clone(), |reader, peer| {
                async move { reader.exists("SELECT 1 FROM probes WHERE peer = $1", values![peer]).await }
                    .boxed()
            });
            if !is_shown.await? {
                return Ok(());
            }
            let noting = store.write("saving that a connection ended", given, |tx, (peer, why)| {
                async move {
                    let sql = "SELECT id, reads FROM probes WHERE peer = $1 ORDER BY id FOR UPDATE";
                    for (id, mut reads) in rows(tx, sql, peer).await? {
                        reads.add_refused(why);
                        save(tx, &id, reads).await?;
                    }
                    Ok(())
                }
                .boxed()
            });
            noting.await
        })
    }

    fn probe_reads(&self, id: &str) -> StoreFuture<Option<ProbeReads>> {
        self.read("reading the requests for a probe", id.to_owned(), |reader, id| {
            async move {
                let sql = "SELECT id, reads FROM probes WHERE id = $1";
                Ok(rows(reader, sql, id).await?.pop().map(|(_, reads)| reads))
            }
            .boxed()
        })
    }

    fn remove_probe(&self, id: &str) -> StoreFuture<()> {
        self.write("removing a probe", id.to_owned(), |tx, id| {
            async move { tx.execute("DELETE FROM probes WHERE id = $1", values![id]).await.map(drop) }.boxed()
        })
    }
}

/// Those that `sql` finds by one value.
async fn rows(reader: &PgReader, sql: &str, value: &str) -> Result<Vec<(String, ProbeReads)>, PgFault> {
    let mut found = Vec::new();
    for row in reader.query(sql, values![value]).await? {
        let Json(reads) =
            row.try_get(1).map_err(|error| PgFault::in_row("the requests for a probe", error))?;
        found.push((row.try_get(0)?, reads));
    }
    Ok(found)
}

async fn save(tx: &PgWriter, id: &str, reads: ProbeReads) -> Result<(), PgFault> {
    tx.execute("UPDATE probes SET reads = $2 WHERE id = $1", values![id, Json(reads)]).await.map(drop)
}
