//! The files of the hosted images: what they are called, and when one counts.
//!
//! Invariant: `SHA256.img` gets its name last and loses it first, so one that is there beside its `SHA256.json` is
//! complete. Every other file of ours is a leftover; files with other names are not ours.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shoal_recipe::Sha256;

use super::{HostedImage, ImageError};
use crate::media::CacheError;
use crate::media::cache::disk::{self, open_own, read_json, write_json};
use crate::media::map::Mapping;

const VERSION: u32 = 1;

/// What stands in `SHA256.json`.
#[derive(Serialize, Deserialize)]
struct StoredImage {
    version: u32,
    #[serde(flatten)]
    image: HostedImage,
}

fn image_path(dir: &Path, sha256: &str) -> PathBuf {
    dir.join(format!("{sha256}.img"))
}

fn json_path(dir: &Path, sha256: &str) -> PathBuf {
    dir.join(format!("{sha256}.json"))
}

/// Makes the directory, for us alone, and removes what additions left that a crash ended. Returns the list.
pub fn prepare(dir: &Path) -> Result<Vec<HostedImage>, ImageError> {
    disk::make_dir(dir)?;
    let listed = list(dir)?;
    for path in paths(dir)? {
        let is_of = |image: &HostedImage| {
            [image_path(dir, &image.sha256), json_path(dir, &image.sha256)].contains(&path)
        };
        let is_listed = listed.iter().any(is_of);
        if !is_listed && is_leftover(&path) {
            tracing::info!(path = %path.display(), "removed what an unfinished addition of an image has left");
            let _ = fs::remove_file(&path);
        }
    }
    Ok(listed)
}

/// Parts, and descriptions without an image. An image without a description is kept: it may be worth gigabytes, and
/// adding the same bytes again replaces it.
fn is_leftover(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let (stem, ending) = name.split_once('.').unwrap_or((name, ""));
    let digits = shoal_base::unhex(stem).map_or(0, |bytes| bytes.len());
    match ending {
        "part" | "part.json" | "part.json.new" => digits == 16,
        "json.new" => digits == 32,
        "json" => digits == 32 && !path.with_extension("img").exists(),
        _ => false,
    }
}

fn paths(dir: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let read = || fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    Ok(read().map_err(CacheError::disk("listing", dir))?)
}

/// Those first that were added first.
pub fn list(dir: &Path) -> Result<Vec<HostedImage>, ImageError> {
    let mut images: Vec<HostedImage> = paths(dir)?.iter().filter_map(|path| load(dir, path)).collect();
    images.sort_by(|a, b| (a.added_at, &a.sha256).cmp(&(b.added_at, &b.sha256)));
    Ok(images)
}

fn load(dir: &Path, path: &Path) -> Option<HostedImage> {
    let sha256 = Sha256::parse(path.file_name()?.to_str()?.strip_suffix(".json")?)?.to_string();
    let stored: StoredImage = read_json(path)?;
    let size = fs::symlink_metadata(image_path(dir, &sha256)).ok().filter(|file| file.is_file())?.len();
    let is_it = stored.version == VERSION && stored.image.sha256 == sha256;
    // One whose size has changed stays in the list, so that it can be removed.
    is_it.then_some(HostedImage { size, ..stored.image })
}

/// Maps the image.
pub fn open(dir: &Path, sha256: Sha256) -> Result<Bytes, ImageError> {
    let sha256 = sha256.to_string();
    let path = image_path(dir, &sha256);
    let stored: StoredImage = read_json(&json_path(dir, &sha256)).ok_or(ImageError::Unknown)?;
    let file = match open_own(File::options().read(true), &path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ImageError::Unknown),
        Err(error) => return Err(CacheError::disk("opening an image", &path)(error).into()),
    };
    let size = file.metadata().map_err(CacheError::disk("opening an image", &path))?.len();
    if size != stored.image.size {
        return Err(ImageError::Changed { sha256 });
    }
    let map = Mapping::of_cached(file).map_err(CacheError::disk("mapping an image", &path))?;
    Ok(map.bytes())
}

/// Makes a part the image, durably.
pub fn keep(dir: &Path, part: &Path, file: &File, image: &HostedImage) -> Result<(), ImageError> {
    let path = image_path(dir, &image.sha256);
    let done = |error| CacheError::disk("completing an image", &path)(error);
    let sync = || {
        file.set_permissions(fs::Permissions::from_mode(0o400))?;
        file.sync_all()
    };
    sync().map_err(done)?;
    let json = json_path(dir, &image.sha256);
    let stored = StoredImage { version: VERSION, image: image.clone() };
    write_json(&json, &stored).map_err(CacheError::disk("describing an image", &json))?;
    let rename = || {
        fs::rename(part, &path)?;
        File::open(dir)?.sync_all()
    };
    Ok(rename().map_err(done)?)
}

pub fn remove(dir: &Path, sha256: &str) -> Result<(), ImageError> {
    let path = image_path(dir, sha256);
    fs::remove_file(&path).map_err(CacheError::disk("removing an image", &path))?;
    let _ = fs::remove_file(json_path(dir, sha256));
    Ok(())
}
