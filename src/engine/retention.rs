//! Which records are old, and what is done with them.
//!
//! The store removes; this says what, in small steps. Old entries of the audit log are first written to a file: one
//! JSON object a line, oldest first, named by its first and last entry. Invariant: entries are removed only after
//! their file is on the disk, and the log then holds the file's name and SHA-256.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::access::{Act, Actor, Entry};
use crate::flow::Services;
use crate::store::{PAGE_MAX, StoreError};
use shoal_base::{hex, with_causes};

/// Jobs that one transaction removes.
const JOBS_A_STEP: usize = 100;
/// Between two steps, for writes that wait.
const PAUSE: Duration = Duration::from_millis(20);
/// Refused submissions are kept no longer than this.
const REFUSED: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Entries of one export file.
const ENTRIES_A_FILE: usize = 100_000;

/// How long records are kept; `None` is without a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// After the end of a job, its cleanup included.
    pub jobs: Option<Duration>,
    /// Not longer than the jobs.
    pub events: Option<Duration>,
    /// Where audit entries older than `jobs` are exported to; without it they stay.
    pub audit_dir: Option<PathBuf>,
}

impl Retention {
    /// Often enough that nothing stays much longer than it should.
    pub(super) fn look_every(&self) -> Duration {
        let shortest = self.jobs.into_iter().chain(self.events).min().unwrap_or(Duration::MAX);
        (shortest / 4).max(Duration::from_secs(1))
    }
}

/// Removes what is old now.
pub(super) async fn sweep(services: &Services, retention: &Retention) {
    let swept = async {
        expire(services, retention).await?;
        shorten_audit(services, retention).await?;
        while services.store.shrink().await? {
            tokio::time::sleep(PAUSE).await;
        }
        Ok::<_, SweepError>(())
    };
    if let Err(error) = swept.await {
        tracing::error!(error = %with_causes(&error), "old records could not be removed");
    }
}

#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write the audit export {}", path.display())]
    Export { path: PathBuf, source: io::Error },
}

async fn expire(services: &Services, retention: &Retention) -> Result<(), StoreError> {
    let now = services.world.clock.now();
    let (mut jobs, mut emptied) = (0, 0);
    if let Some(events) = retention.events.filter(|_| retention.events != retention.jobs) {
        loop {
            let removed = services.store.expire_events(before(now, events), JOBS_A_STEP).await?;
            emptied += removed;
            if removed < JOBS_A_STEP as u64 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    if let Some(kept) = retention.jobs {
        loop {
            let (ended, refused) = (before(now, kept), before(now, kept.min(REFUSED)));
            let removed = services.store.expire_jobs(ended, refused, JOBS_A_STEP).await?;
            jobs += removed;
            if removed < JOBS_A_STEP as u64 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    if jobs > 0 || emptied > 0 {
        tracing::info!(jobs, events_of_jobs = emptied, "old records were removed");
    }
    Ok(())
}

fn before(now: Timestamp, kept: Duration) -> Timestamp {
    let kept = SignedDuration::try_from(kept).unwrap_or(SignedDuration::MAX);
    now.saturating_sub(kept).unwrap_or(Timestamp::MIN)
}

/// Exports the old entries of the audit log and removes them, a file at a time.
async fn shorten_audit(services: &Services, retention: &Retention) -> Result<(), SweepError> {
    let (Some(directory), Some(kept)) = (&retention.audit_dir, retention.jobs) else { return Ok(()) };
    let now = services.world.clock.now();
    loop {
        let entries = old_entries(services, before(now, kept)).await?;
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        let (first, last, last_hash) = (first.seq, last.seq, hex(&last.hash));
        let name = format!("audit-{first:010}-{last:010}.jsonl");
        let path = directory.join(&name);
        let lines: Vec<u8> = entries.iter().flat_map(line).collect();
        let sha256 = hex(&Sha256::digest(&lines));
        let target = path.clone();
        let written = tokio::task::spawn_blocking(move || write_durably(&target, &lines)).await;
        written.expect("writing does not panic").map_err(|source| SweepError::Export { path, source })?;
        let detail = json!({
            "file": name, "sha256": sha256, "first": first, "last": last, "last_hash": last_hash,
        });
        let act = Act {
            at: now,
            actor: Actor::controller(),
            source: None,
            action: "audit.export".to_owned(),
            server: None,
            job: None,
            detail,
        };
        services.store.shorten_audit(last, act).await?;
        tracing::info!(file = name, first, last, "old entries of the audit log were exported and removed");
        if entries.len() < ENTRIES_A_FILE {
            return Ok(());
        }
    }
}

/// All but the newest entry of the log, which holds the chain.
async fn old_entries(services: &Services, before: Timestamp) -> Result<Vec<Entry>, StoreError> {
    let mut entries: Vec<Entry> = Vec::new();
    while entries.len() < ENTRIES_A_FILE {
        let last = entries.last().map_or(0, |entry| entry.seq);
        let page = services.store.old_audit(before, last).await?;
        let is_last = page.len() < PAGE_MAX;
        entries.extend(page);
        if is_last {
            break;
        }
    }
    let newest = crate::store::AuditFilter { limit: 1, ..Default::default() };
    let newest = services.store.audit(&newest).await?.first().map(|entry| entry.seq);
    entries.retain(|entry| Some(entry.seq) != newest);
    Ok(entries)
}

fn line(entry: &Entry) -> Vec<u8> {
    let detail = serde_json::from_str::<Value>(&entry.detail).unwrap_or_default();
    let line = json!({
        "seq": entry.seq, "time": entry.at, "actor": entry.actor, "actor_name": entry.actor_name,
        "role": entry.role, "source": entry.source, "action": entry.action, "server_serial": entry.server,
        "job_id": entry.job, "detail": detail, "hash": hex(&entry.hash),
    });
    format!("{line}\n").into_bytes()
}

/// Written aside, flushed and renamed, and the directory flushed too.
fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_retention_is_looked_after_often() {
        let kept = |jobs, events| Retention { jobs, events, audit_dir: None }.look_every();
        let (day, minute) = (Duration::from_secs(86_400), Duration::from_secs(60));
        assert_eq!(kept(Some(day), Some(minute)), Duration::from_secs(15));
        assert_eq!(kept(Some(Duration::from_secs(2)), None), Duration::from_secs(1));
        assert!(kept(None, None) > day);
    }
}
