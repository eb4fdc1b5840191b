//! Vendor ISOs, fetched once and mapped.
//!
//! A source is downloaded (or copied) into the cache's own directory, checked, parsed, and from then
//! on served from memory that the kernel pages in. Jobs that want the same source share one fetch.
//! It is no general store: what it holds are ESXi installers. Invariant: an image is opened only
//! after its length, its SHA-256 where one is given, and its structure were checked, and a copy that
//! could not be compared with its source is used with a word about it.

pub(super) mod disk;
mod error;
pub(super) mod fetch;
pub(super) mod source;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use shoal_base::with_causes;
use tokio::time::Instant;
use url::Url;

use shoal_base::world::Transport;
use shoal_image::installer::{self, Installer, KickstartOn, PatchError, SingleCd};
use shoal_image::iso::Overlay;

use super::map::Mapping;
use super::{Image, KickstartPlace};
use disk::{CacheEntry, ImageFiles};
pub(super) use fetch::blocking;
use fetch::{Remote, Sink, SourceState};

pub use error::CacheError;
pub use source::{InstallerSource, InstallerSourceError};

/// For so long, a copy that was compared with its source is not compared again.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Which URLs an installer may be fetched from; asked of every hop.
pub type Allowed = dyn Fn(&Url) -> bool + Send + Sync;

/// How far a fetch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchProgress {
    pub bytes: u64,
    /// Absent where the source does not say.
    pub total: Option<u64>,
}

/// Vendor ISOs by source.
pub struct InstallerCache {
    dir: PathBuf,
    bytes_max: u64,
    transport: Transport,
    rooms: Mutex<BTreeMap<String, Arc<Room>>>,
    /// Held while room is counted and made, so that no two fetches are promised the same.
    making_room: Mutex<()>,
}

/// What this process knows of one source.
#[derive(Default)]
struct Room {
    /// Held while the source is fetched, looked at or opened, so that it is done once.
    held: tokio::sync::Mutex<Option<Held>>,
    progress: Mutex<Option<FetchProgress>>,
    /// Bytes that a fetch under way will need, as far as it knows; 0 without one.
    reserved: Mutex<u64>,
}

/// An image that is open.
#[derive(Clone)]
struct Held {
    vendor: Arc<Vendor>,
    entry: CacheEntry,
    looked_at: Option<Instant>,
    touched_at: Option<Instant>,
}

struct Vendor {
    map: Mapping,
    installer: Installer,
    /// For a kickstart on another CD, and for one on a USB stick.
    for_cd: OnceLock<Overlay>,
    for_usb: OnceLock<Overlay>,
}

/// A vendor ISO at hand.
pub struct CachedInstaller {
    /// In bytes.
    pub size: u64,
    /// Of the vendor's bytes, lower-case hex.
    pub sha256: String,
    pub installer: Installer,
    /// Why the cached copy was used without asking its source, if it was. A sentence.
    pub note: Option<String>,
    vendor: Arc<Vendor>,
}

impl CachedInstaller {
    /// With the boot option that makes it look for a kickstart there.
    pub fn patched(&self, on: KickstartOn) -> Result<Arc<Image>, PatchError> {
        let made = match on {
            KickstartOn::Cd => &self.vendor.for_cd,
            KickstartOn::Usb => &self.vendor.for_usb,
        };
        let overlay = match made.get() {
            Some(overlay) => overlay,
            None => {
                let overlay = installer::overlay(self.vendor.map.as_ref(), &self.installer, on)?;
                made.get_or_init(|| overlay)
            }
        };
        Ok(self.changed(overlay.clone()))
    }

    /// The same, with a kickstart and perhaps a nonce on it, and where those lie.
    pub fn with_kickstart(
        &self,
        kickstart: &[u8],
        nonce: Option<&[u8]>,
    ) -> Result<(Arc<Image>, KickstartPlace), PatchError> {
        let SingleCd { overlay, kickstart, nonce, rest_end } =
            installer::overlay_single_cd(self.vendor.map.as_ref(), &self.installer, kickstart, nonce)?;
        Ok((
            self.changed(overlay),
            KickstartPlace { kickstart, nonce, failure: None, started: None, rest_end },
        ))
    }

    fn changed(&self, overlay: Overlay) -> Arc<Image> {
        Arc::new(Image::in_memory(self.bytes(), &self.sha256, overlay))
    }

    /// The vendor's bytes, to be parsed.
    pub fn bytes(&self) -> Bytes {
        self.vendor.map.bytes()
    }
}

impl InstallerCache {
    /// A cache in `dir`, which is made, of `bytes_max` at most.
    pub fn new(dir: PathBuf, bytes_max: u64, transport: Transport) -> Result<InstallerCache, CacheError> {
        disk::make_dir(&dir)?;
        Ok(InstallerCache {
            dir,
            bytes_max,
            transport,
            rooms: Mutex::default(),
            making_room: Mutex::default(),
        })
    }

    /// The installer of `source`: fetched if it is not here or has changed there, and checked.
    ///
    /// Waits while another job fetches it. `sha256` is hex; a copy that has it is taken without
    /// asking the source. A future that is dropped leaves what it fetched for the next one.
    pub async fn open(
        &self,
        source: &InstallerSource,
        sha256: Option<&str>,
        allowed: &Allowed,
    ) -> Result<Arc<CachedInstaller>, CacheError> {
        if let InstallerSource::Url(url) = source
            && !allowed(url)
        {
            return Err(CacheError::NotAllowed { name: source.to_string() });
        }
        let room = self.room(&source.key());
        let mut place = room.held.lock().await;
        let visit = Visit { cache: self, room: &room, source, sha256, allowed };
        let held = match place.clone() {
            Some(held) => Some(held),
            None => visit.load().await,
        };
        let (held, note) = visit.settle(held).await?;
        let opened = Arc::new(CachedInstaller {
            size: held.entry.size,
            sha256: held.entry.sha256.clone(),
            installer: held.vendor.installer.clone(),
            note,
            vendor: held.vendor.clone(),
        });
        *place = Some(visit.touched(held));
        Ok(opened)
    }

    /// The ESXi version of `source` where a copy is at hand; the source itself is not asked.
    pub async fn known_version(&self, source: &InstallerSource) -> Option<String> {
        let room = self.room(&source.key());
        let mut place = room.held.try_lock().ok()?;
        if place.is_none() {
            let visit = Visit { cache: self, room: &room, source, sha256: None, allowed: &|_| false };
            *place = visit.load().await;
        }
        place.as_ref()?.vendor.installer.version.clone()
    }

    /// How far the fetch of `source` has come, while there is one.
    pub fn progress(&self, source: &InstallerSource) -> Option<FetchProgress> {
        let room = self.rooms().get(&source.key()).cloned()?;
        *lock(&room.progress)
    }

    fn room(&self, key: &str) -> Arc<Room> {
        self.rooms().entry(key.to_owned()).or_default().clone()
    }

    fn rooms(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Room>>> {
        lock(&self.rooms)
    }

    /// Deletes what was used longest ago until `bytes` fit. What `key` itself has already is about to
    /// be replaced and does not count, nor do parts of fetches under way, which reserved their room.
    fn make_room(&self, key: &str, bytes: u64, name: &str) -> Result<(), CacheError> {
        if bytes > self.bytes_max {
            return Err(CacheError::TooLarge { name: name.to_owned(), bytes_max: self.bytes_max });
        }
        let _making_room = lock(&self.making_room);
        let kept = disk::list(&self.dir)?;
        let reserved: u64 = self
            .rooms()
            .iter()
            .filter(|(other, _)| *other != key)
            .map(|(_, room)| *lock(&room.reserved))
            .sum();
        let counts =
            |kept: &&disk::CachedFile| kept.key != key && !(kept.is_part && self.is_fetching(&kept.key));
        let others: Vec<_> = kept.iter().filter(counts).collect();
        let mut used: u64 = reserved + others.iter().map(|kept| kept.bytes).sum::<u64>();
        for kept in others {
            if used + bytes <= self.bytes_max {
                break;
            }
            if self.evict(kept) {
                used -= kept.bytes;
            }
        }
        if used + bytes > self.bytes_max {
            return Err(CacheError::Full { name: name.to_owned(), bytes });
        }
        *lock(&self.room(key).reserved) = bytes;
        Ok(())
    }

    fn is_fetching(&self, key: &str) -> bool {
        self.rooms().get(key).is_some_and(|room| *lock(&room.reserved) > 0)
    }

    /// Deletes an image that no job has open, or what a broken download left.
    fn evict(&self, kept: &disk::CachedFile) -> bool {
        let files = ImageFiles::new(&self.dir, kept.key.clone());
        if kept.is_part {
            files.remove_part();
            return true;
        }
        let room = self.room(&kept.key);
        let Ok(mut place) = room.held.try_lock() else { return false };
        if place.as_ref().is_some_and(|held| held.vendor.is_in_use()) {
            return false;
        }
        tracing::info!(key = kept.key, bytes = kept.bytes, "an installer leaves the cache to make room");
        *place = None;
        files.remove();
        true
    }
}

impl Vendor {
    /// Some job holds this installer, or an image over it.
    fn is_in_use(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 || self.map.is_shared()
    }
}

/// One call of [`InstallerCache::open`], which holds its source's lock.
struct Visit<'a> {
    cache: &'a InstallerCache,
    room: &'a Room,
    source: &'a InstallerSource,
    sha256: Option<&'a str>,
    allowed: &'a Allowed,
}

impl Visit<'_> {
    fn files(&self) -> ImageFiles {
        ImageFiles::new(&self.cache.dir, self.source.key())
    }

    /// What an earlier run of this controller left, if it is whole.
    async fn load(&self) -> Option<Held> {
        let files = self.files();
        let name = self.source.to_string();
        let open = move || files.load().map(|(entry, file)| open_image(entry, file, &name, &files));
        match blocking(open).await? {
            Ok(held) => Some(held),
            Err(error) => {
                tracing::warn!(source = %self.source, error = %with_causes(&error), "a cached installer cannot be used");
                None
            }
        }
    }

    /// The copy at hand if it will do, else a new one; and why the source was not asked.
    async fn settle(&self, held: Option<Held>) -> Result<(Held, Option<String>), CacheError> {
        let Some(mut held) = held else { return Ok((self.fetch().await?, None)) };
        let is_wanted = self.sha256.is_some_and(|sha256| sha256.eq_ignore_ascii_case(&held.entry.sha256));
        let looked = held.looked_at.is_some_and(|at| at.elapsed() < LOOK_EVERY);
        if is_wanted {
            return Ok((held, None));
        }
        if !looked {
            match self.look(&held.entry).await {
                Ok(SourceState::Changed) => return Ok((self.fetch().await?, None)),
                Ok(SourceState::Same) => held.looked_at = Some(Instant::now()),
                Err(error) if error.is_passing() && self.sha256.is_none() => {
                    let why = with_causes(&error);
                    let note = format!("the cached copy is used without asking its source, since {why}");
                    tracing::warn!(source = %self.source, error = why, "a cached installer is used unseen");
                    return Ok((held, Some(note)));
                }
                Err(error) => return Err(error),
            }
        }
        self.check_sha256(&held.entry.sha256)?;
        Ok((held, None))
    }

    async fn look(&self, entry: &CacheEntry) -> Result<SourceState, CacheError> {
        match self.source {
            InstallerSource::Url(url) => self.remote(url).look(&entry.origin).await,
            InstallerSource::File(path) => fetch::look_local(path, &entry.origin),
        }
    }

    fn remote<'a>(&'a self, url: &'a Url) -> Remote<'a> {
        let name = self.source.to_string();
        Remote { transport: &self.cache.transport, url, name, allowed: self.allowed }
    }

    async fn fetch(&self) -> Result<Held, CacheError> {
        let _over = FetchOver(self.room);
        // From here on the part is not mistaken for a leftover.
        *lock(&self.room.reserved) = 1;
        let (files, name) = (self.files(), self.source.to_string());
        let reserve = |bytes| self.cache.make_room(&files.key, bytes, &name);
        let sink = Sink { files: &files, progress: &self.room.progress, reserve: &reserve };
        *lock(&self.room.progress) = Some(FetchProgress { bytes: 0, total: None });
        let (part, origin) = match self.source {
            InstallerSource::Url(url) => self.remote(url).download(&sink).await?,
            InstallerSource::File(path) => fetch::copy(path, &sink).await?,
        };
        let (file, sha256, size) = part.close();
        let checked = self.check_sha256(&sha256).and_then(|()| {
            installer::recognise(&file)
                .map_err(|source| CacheError::NotAnInstaller { name: name.clone(), source })
        });
        if let Err(error) = checked {
            files.remove_part();
            return Err(error);
        }
        let stamp = disk::Stamp { size: 0, modified_secs: 0, modified_nanos: 0, inode: 0, device: 0 };
        let entry = CacheEntry { name: name.clone(), size, sha256, origin, stamp };
        let kept = files.clone();
        let (entry, file) = blocking(move || kept.finish(file, entry)).await?;
        let mut held = blocking(move || open_image(entry, file, &name, &files)).await?;
        held.looked_at = Some(Instant::now());
        Ok(held)
    }

    fn check_sha256(&self, found: &str) -> Result<(), CacheError> {
        match self.sha256 {
            Some(expected) if !expected.eq_ignore_ascii_case(found) => Err(CacheError::Sha256 {
                name: self.source.to_string(),
                expected: expected.to_lowercase(),
                found: found.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Notes the use on disk, now and then.
    fn touched(&self, mut held: Held) -> Held {
        if held.touched_at.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            self.files().touch(&held.entry);
            held.touched_at = Some(Instant::now());
        }
        held
    }
}

/// Clears what a fetch announced, however it ends.
struct FetchOver<'a>(&'a Room);

impl Drop for FetchOver<'_> {
    fn drop(&mut self) {
        *lock(&self.0.progress) = None;
        *lock(&self.0.reserved) = 0;
    }
}

fn open_image(
    entry: CacheEntry,
    file: std::fs::File,
    name: &str,
    files: &ImageFiles,
) -> Result<Held, CacheError> {
    let map = Mapping::of_cached(file).map_err(CacheError::disk("mapping", &files.iso()))?;
    let installer = installer::recognise(map.as_ref())
        .map_err(|source| CacheError::NotAnInstaller { name: name.to_owned(), source })?;
    let vendor = Arc::new(Vendor { map, installer, for_cd: OnceLock::new(), for_usb: OnceLock::new() });
    Ok(Held { vendor, entry, looked_at: None, touched_at: None })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(super) mod tests;
