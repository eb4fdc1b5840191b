//! The files of the installer cache: what they are called, when they are whole, which goes first.
//!
//! A source's image is `KEY.iso` beside `KEY.json`, which describes it; while it is being fetched,
//! `KEY.part` and `KEY.part.json`. Invariant: a `KEY.iso` that its `KEY.json` describes is complete
//! and was checked; everything else is a leftover that may be deleted or gone on with.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::CacheError;
use shoal_base::with_causes;

/// Bytes hashed or written in one go.
pub const CHUNK_BYTES: usize = 1 << 20;

/// What is known of a complete image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheEntry {
    /// As shown to operators.
    pub name: String,
    pub size: u64,
    /// Lower-case hex.
    pub sha256: String,
    pub origin: ImageOrigin,
    /// The image's own file, to detect that it was changed.
    pub stamp: Stamp,
}

/// Identifies the image at its source, to see whether it is still the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOrigin {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    /// As announced by the server.
    pub length: Option<u64>,
    /// Of a local file.
    pub stamp: Option<Stamp>,
}

/// Cheap evidence that a file is the one it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub size: u64,
    pub modified_secs: i64,
    pub modified_nanos: i64,
    pub inode: u64,
    pub device: u64,
}

impl Stamp {
    pub fn of(metadata: &fs::Metadata) -> Stamp {
        Stamp {
            size: metadata.len(),
            modified_secs: metadata.mtime(),
            modified_nanos: metadata.mtime_nsec(),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }
}

/// The files of one source.
#[derive(Clone, Debug)]
pub struct ImageFiles {
    dir: PathBuf,
    pub key: String,
}

impl ImageFiles {
    pub fn new(dir: &Path, key: String) -> ImageFiles {
        ImageFiles { dir: dir.to_owned(), key }
    }

    pub fn iso(&self) -> PathBuf {
        self.named("iso")
    }

    pub fn part(&self) -> PathBuf {
        self.named("part")
    }

    fn named(&self, extension: &str) -> PathBuf {
        self.dir.join(format!("{}.{extension}", self.key))
    }

    /// The complete image, if there is one and it is unchanged.
    pub fn load(&self) -> Option<(CacheEntry, File)> {
        let entry: CacheEntry = read_json(&self.named("json"))?;
        let file = open_own(OpenOptions::new().read(true), &self.iso()).ok()?;
        let stamp = Stamp::of(&file.metadata().ok()?);
        (stamp == entry.stamp).then_some((entry, file))
    }

    /// What a broken fetch left: where it came from.
    pub fn load_part_origin(&self) -> Option<ImageOrigin> {
        read_json(&self.named("part.json"))
    }

    pub fn save_part_origin(&self, origin: &ImageOrigin) -> Result<(), CacheError> {
        self.write_json("part.json", origin)
    }

    /// Makes the part the image, durably.
    pub fn finish(&self, part: File, mut entry: CacheEntry) -> Result<(CacheEntry, File), CacheError> {
        let path = self.part();
        let done = CacheError::disk("completing a download", &path);
        let renamed = || {
            part.set_permissions(fs::Permissions::from_mode(0o400))?;
            part.sync_all()?;
            fs::rename(&path, self.iso())?;
            File::open(self.iso())
        };
        let file = renamed().map_err(done)?;
        let metadata = file.metadata().map_err(CacheError::disk("completing a download", &path))?;
        entry.stamp = Stamp::of(&metadata);
        self.write_json("json", &entry)?;
        let _ = fs::remove_file(self.named("part.json"));
        Ok((entry, file))
    }

    /// Notes a use: the age of `KEY.json` is how long ago the image was used.
    pub fn touch(&self, entry: &CacheEntry) {
        if let Err(error) = self.write_json("json", entry) {
            tracing::warn!(error = %with_causes(&error), "the installer cache cannot note a use");
        }
    }

    pub fn remove_part(&self) {
        let _ = fs::remove_file(self.part());
        let _ = fs::remove_file(self.named("part.json"));
    }

    pub fn remove(&self) {
        let _ = fs::remove_file(self.named("json"));
        let _ = fs::remove_file(self.iso());
    }

    fn write_json<T: Serialize>(&self, extension: &str, value: &T) -> Result<(), CacheError> {
        let path = self.named(extension);
        write_json(&path, value).map_err(CacheError::disk("writing", &path))
    }
}

/// Puts a value into the file, durably and as a whole.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let text = serde_json::to_vec(value).expect("plain structs become JSON");
    let mut file = create_anew(Path::new(&new))?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

/// A new file under this name, for us alone. What stands there goes, a link and not what it leads to.
fn create_anew(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Opens the plain file of this name; a symbolic link is refused.
pub fn open_own(options: &OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.open(path)?;
    let (opened, named) = (file.metadata()?, fs::symlink_metadata(path)?);
    let is_same = (opened.dev(), opened.ino()) == (named.dev(), named.ino());
    if opened.is_file() && is_same { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}

pub fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Makes the directory of the cache, for us alone. One that is there stays as it is.
pub fn make_dir(dir: &Path) -> Result<(), CacheError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(CacheError::disk("making the directory", dir))
}

/// A fetch in progress: the part's file and the hash of what it holds.
///
/// Every method blocks and takes the part by value, so that a fetch which is given up leaves its
/// file to the write that is under way, alone (the file is locked).
pub struct Part {
    file: File,
    path: PathBuf,
    hash: Sha256,
    pub bytes: u64,
}

impl Part {
    /// Opens the part, and hashes its bytes so far.
    pub fn open(files: &ImageFiles) -> Result<Part, CacheError> {
        let path = files.part();
        let open = || {
            let found = open_own(OpenOptions::new().read(true).write(true), &path);
            let file = found.or_else(|_| create_anew(&path))?;
            file.lock()?;
            Ok(file)
        };
        let file = open().map_err(CacheError::disk("opening a download", &path))?;
        let mut part = Part { file, path, hash: Sha256::new(), bytes: 0 };
        part.rehash().map_err(CacheError::disk("reading back a download", &part.path.clone()))?;
        Ok(part)
    }

    fn rehash(&mut self) -> io::Result<()> {
        let mut buf = vec![0; CHUNK_BYTES];
        loop {
            let n = self.file.read(&mut buf)?;
            if n == 0 {
                return Ok(());
            }
            self.hash.update(&buf[..n]);
            self.bytes += n as u64;
        }
    }

    /// Begins anew.
    pub fn restart(mut self) -> Result<Part, CacheError> {
        use std::io::Seek as _;
        let empty = |file: &mut File| file.set_len(0).and_then(|()| file.rewind());
        empty(&mut self.file).map_err(CacheError::disk("emptying a download", &self.path))?;
        Ok(Part { hash: Sha256::new(), bytes: 0, ..self })
    }

    pub fn append(mut self, chunk: &[u8]) -> Result<Part, CacheError> {
        self.file.write_all(chunk).map_err(CacheError::disk("writing", &self.path))?;
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(self)
    }

    /// The file and its SHA-256 in hex.
    pub fn close(self) -> (File, String, u64) {
        (self.file, shoal_base::hex(&self.hash.finalize()), self.bytes)
    }
}

/// An image or a leftover, as eviction sees it.
#[derive(Debug)]
pub struct CachedFile {
    pub key: String,
    pub bytes: u64,
    used: std::time::SystemTime,
    pub is_part: bool,
}

/// Everything of ours in the directory, least recently used first. Files with other names
/// are not ours.
pub fn list(dir: &Path) -> Result<Vec<CachedFile>, CacheError> {
    let read = || -> io::Result<Vec<CachedFile>> {
        let mut kept = Vec::new();
        for file in fs::read_dir(dir)? {
            let path = file?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let Some(key) = stem.filter(|stem| is_key(stem)) else { continue };
            let is_part = match extension {
                Some("iso") => false,
                Some("part") => true,
                _ => continue,
            };
            // A file that goes away meanwhile is no concern of ours.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let used =
                fs::metadata(path.with_extension("json")).unwrap_or_else(|_| metadata.clone()).modified()?;
            kept.push(CachedFile { key: key.to_owned(), bytes: metadata.len(), used, is_part });
        }
        kept.sort_by(|a, b| (a.used, &a.key).cmp(&(b.used, &b.key)));
        Ok(kept)
    };
    read().map_err(CacheError::disk("listing", dir))
}

/// Whether a file's stem is a name that we give.
fn is_key(stem: &str) -> bool {
    shoal_base::unhex(stem).is_some_and(|bytes| bytes.len() == 16)
}
