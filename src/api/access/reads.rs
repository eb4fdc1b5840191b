//! Operators' reads of task media in the audit: one entry for each job, reader and window.
//!
//! A task ISO holds a kickstart, and a kickstart the root password of what it installs. Nothing of a request
//! but its path is looked at: whatever the method, the range or its spelling, a read of these bytes is audited.
//! HEAD is too: it shows the size and a validator of the content. Invariant: what could not be recorded is not
//! served, and a window begins only when its entry is written.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use http::Request;
use percent_encoding::percent_decode_str;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Who;
use crate::access::Act;
use crate::api::error::ApiError;
use crate::domain::JobId;
use crate::store::Store;
use shoal_base::world::Clock;

/// Further reads of the same job by the same reader from the same address are not recorded for so long.
const WINDOW: Duration = Duration::from_secs(600);
/// Windows that are remembered; beyond these every read is recorded.
const WINDOWS_MAX: usize = 4_096;
/// So much of a path, or of a range, is recorded.
const TEXT_CHARS_MAX: usize = 200;

/// The reads that were audited a short while ago.
pub struct MediaReads {
    store: Store,
    clock: Clock,
    /// When each window began. Held while an entry is written, so that parallel ranges make one.
    windows: Mutex<BTreeMap<ReadWindowKey, Instant>>,
}

/// One read, before it is served.
pub struct MediaRead {
    reader: ReadWindowKey,
    act: Act,
}

/// Whose reads of which job share a window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ReadWindowKey {
    job: JobId,
    actor: String,
    source: Option<IpAddr>,
}

impl MediaReads {
    pub fn new(store: Store, clock: Clock) -> MediaReads {
        MediaReads { store, clock, windows: Mutex::default() }
    }

    /// The read that `request` is, if it is one.
    pub fn read_of<B>(&self, request: &Request<B>, who: &Who) -> Option<MediaRead> {
        let job = job_of(request.uri().path())?;
        let reader = ReadWindowKey { job, actor: who.actor.id.clone(), source: who.source };
        let act = who.act(self.clock.now(), "media.read").on_job(job).with(detail(request));
        Some(MediaRead { reader, act })
    }

    /// Records `read`, unless its window has an entry.
    pub async fn record(&self, MediaRead { reader, act }: MediaRead) -> Result<(), ApiError> {
        let mut windows = self.windows.lock().await;
        let now = Instant::now();
        let is_open = |began: &Instant| now.duration_since(*began) < WINDOW;
        if windows.get(&reader).is_some_and(is_open) {
            return Ok(());
        }
        self.store.record(act).await?;
        if windows.len() >= WINDOWS_MAX {
            windows.retain(|_, began| is_open(began));
        }
        if windows.len() < WINDOWS_MAX {
            windows.insert(reader, now);
        }
        Ok(())
    }
}

/// The job whose task medium that path is, however it is encoded. A name that is no job's opens nothing.
fn job_of(path: &str) -> Option<JobId> {
    let name = path.strip_prefix("/media/tasks/")?.split('/').next()?;
    percent_decode_str(name).decode_utf8().ok()?.parse().ok()
}

fn detail<B>(request: &Request<B>) -> serde_json::Value {
    let text = |text: &str| text.chars().take(TEXT_CHARS_MAX).collect::<String>();
    let range = request.headers().get(http::header::RANGE);
    let range = range.map(|range| text(&String::from_utf8_lossy(range.as_bytes())));
    let (method, path) = (request.method().as_str(), text(request.uri().path()));
    serde_json::json!({ "method": method, "path": path, "range": range })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_found_however_its_path_is_encoded() {
        let job = "0123456789abcdef0123456789abcdef";
        for name in [job.to_owned(), format!("%30{}", &job[1..])] {
            for file in ["task.iso", "task.img"] {
                let found = job_of(&format!("/media/tasks/{name}/{file}"));
                assert_eq!(found.map(|job| job.to_string()).as_deref(), Some(job), "{name}");
            }
        }
        for other in
            ["/media/tasks/x/task.iso", "/media/installers/x/esxi.iso", "/", "/media/tasks/%FF/task.iso"]
        {
            assert_eq!(job_of(other), None, "{other}");
        }
    }
}
