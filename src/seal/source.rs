//! Where the master key comes from: a file, the environment, or a credential of systemd.
//!
//! It decides nothing about what is sealed. A file holds 32 bytes a key, the one that seals first;
//! there are two during a rotation only. Invariants: a key is never made where a database already
//! needs one; a crash leaves the key file as it was or as it is to be; a file made here can be read
//! by its owner only.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{MasterKey, Sealer};
use shoal_base::world::Rng;

/// Keys that a file may hold: the new one, and those that a rotation has not retired yet.
const KEYS_MAX: usize = 8;

/// The names of the credentials, in `$CREDENTIALS_DIRECTORY`.
const CREDENTIAL: &str = "master.key";
const OLD_CREDENTIAL: &str = "master.key.old";

/// Where the master key is.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// `MASTER_KEY_FILE`.
    File(PathBuf),
    /// `MASTER_KEY`, and `MASTER_KEY_OLD` during a rotation.
    Given { current: MasterKey, old: Option<MasterKey> },
    /// The directory of systemd's credentials, in which one is called `master.key`.
    Credential(PathBuf),
}

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot {doing} the master key {} ({setting})", path.display())]
    Io { doing: &'static str, path: PathBuf, setting: &'static str, source: io::Error },
    #[error(
        "the master key {} ({setting}) has {found} bytes instead of 32: restore it from a backup",
        path.display()
    )]
    Length { path: PathBuf, setting: &'static str, found: usize },
    #[error(
        "the master key {} ({setting}) is missing, and the database {} (DB_URL) was sealed with one: \
         restore the key; a new one would not open it",
        path.display(),
        database.display()
    )]
    Missing { path: PathBuf, setting: &'static str, database: PathBuf },
    #[error(
        "the master key {} ({setting}) is missing: controllers on PostgreSQL make none, since all of them need the same. \
         Make one (head -c 32 /dev/urandom > {} && chmod 600 {}), and give it to each of them",
        path.display(),
        path.display(),
        path.display()
    )]
    NotMade { path: PathBuf, setting: &'static str },
}

impl KeySource {
    /// The credential's directory, if systemd gave one that holds a master key.
    pub fn credential(directory: &Path) -> Option<KeySource> {
        directory.join(CREDENTIAL).exists().then(|| KeySource::Credential(directory.to_owned()))
    }

    /// The settings that an operator looks at when the key is wrong.
    pub fn setting(&self) -> &'static str {
        match self {
            KeySource::File(_) => "MASTER_KEY_FILE",
            KeySource::Given { .. } => "MASTER_KEY",
            KeySource::Credential(_) => "the credential master.key",
        }
    }

    /// `None` where the file is not there yet.
    pub fn load(&self) -> Result<Option<Sealer>, KeyError> {
        let keys = match self {
            KeySource::File(path) => read(path, self.setting())?,
            KeySource::Given { current, old } => Some(std::iter::once(current).chain(old).cloned().collect()),
            KeySource::Credential(directory) => {
                let mut keys = read(&directory.join(CREDENTIAL), self.setting())?.unwrap_or_default();
                keys.extend(read(&directory.join(OLD_CREDENTIAL), self.setting())?.unwrap_or_default());
                Some(keys)
            }
        };
        Ok(keys.and_then(|keys| {
            let mut keys = keys.into_iter();
            Some(Sealer::with_old(keys.next()?, keys.collect(), self.setting()))
        }))
    }
}

/// The keys at their source. One is made, in a file that is not there, for a new database only.
pub fn load_or_create(
    source: &KeySource,
    database: &Path,
    is_new: bool,
    rng: &Rng,
) -> Result<Sealer, KeyError> {
    if let KeySource::File(path) = source
        && is_new
        && source.load()?.is_none()
    {
        create(path, rng).map_err(|error| failed("create", path, source.setting(), error))?;
    }
    load_existing(source, database)
}

/// The keys at their source, which a database needs.
pub fn load_existing(source: &KeySource, database: &Path) -> Result<Sealer, KeyError> {
    source.load()?.ok_or_else(|| KeyError::Missing {
        path: place(source),
        setting: source.setting(),
        database: database.to_owned(),
    })
}

/// The keys at their source, which controllers share and none of them makes.
pub fn load_shared(source: &KeySource) -> Result<Sealer, KeyError> {
    source.load()?.ok_or_else(|| KeyError::NotMade { path: place(source), setting: source.setting() })
}

fn place(source: &KeySource) -> PathBuf {
    match source {
        KeySource::File(path) => path.clone(),
        KeySource::Credential(directory) => directory.join(CREDENTIAL),
        KeySource::Given { .. } => unreachable!("what is given is there"),
    }
}

/// Puts `keys` into the place of those in the file, all of them or none.
pub fn replace(path: &Path, keys: &[MasterKey]) -> Result<(), KeyError> {
    let draft = draft_beside(path, "new");
    let replacing = || {
        let _left_by_a_crash = fs::remove_file(&draft);
        write(&draft, keys)?;
        fs::rename(&draft, path)?;
        fs::File::open(directory(path))?.sync_all()
    };
    replacing().map_err(|error| failed("replace", path, "MASTER_KEY_FILE", error))
}

fn failed(doing: &'static str, path: &Path, setting: &'static str, source: io::Error) -> KeyError {
    KeyError::Io { doing, path: path.to_owned(), setting, source }
}

fn read(path: &Path, setting: &'static str) -> Result<Option<Vec<MasterKey>>, KeyError> {
    let bytes = match fs::read(path).map(Zeroizing::new) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path, setting, error)),
    };
    let mode = fs::metadata(path).map(|found| found.permissions().mode()).unwrap_or_default();
    if mode & 0o007 != 0 {
        tracing::warn!(path = %path.display(), "the master key is readable by all users: chmod 0600 it");
    }
    parse(&bytes).map(Some).ok_or(KeyError::Length { path: path.to_owned(), setting, found: bytes.len() })
}

/// Raw bytes, or one key in hex digits as people keep them.
fn parse(bytes: &[u8]) -> Option<Vec<MasterKey>> {
    if let Some(key) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()) {
        return Some(vec![key]);
    }
    let (keys, rest) = bytes.as_chunks::<{ MasterKey::BYTES }>();
    let is_whole = rest.is_empty() && (1..=KEYS_MAX).contains(&keys.len());
    is_whole.then(|| keys.iter().map(|key| MasterKey::new(*key)).collect())
}

/// Writes a key to a draft file and links it into place: a crash leaves no half-written key, and of
/// two controllers that start simultaneously both read the one that came first.
fn create(path: &Path, rng: &Rng) -> io::Result<()> {
    fs::create_dir_all(directory(path))?;
    let draft = draft_beside(path, &rng.hex(8));
    let linked =
        write(&draft, &[MasterKey::generate(rng)]).and_then(|()| match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
    // What is left of a failed write is no key; the first error is the one to report.
    let removed = fs::remove_file(&draft);
    linked.and(removed)?;
    fs::File::open(directory(path))?.sync_all()
}

fn write(draft: &Path, keys: &[MasterKey]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    for key in keys {
        file.write_all(key.expose())?;
    }
    file.sync_all()
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn draft_beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{ending}"));
    directory(path).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(path: &Path, is_new: bool) -> Result<Sealer, KeyError> {
        let source = KeySource::File(path.to_owned());
        load_or_create(&source, Path::new("shoal.db"), is_new, &Rng::from_seed(1))
    }

    #[test]
    fn the_key_file_is_made_once_and_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/master.key");
        let key = made(&path, true).unwrap().id();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(made(&path, true).unwrap().id(), key);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn no_key_is_made_for_a_database_that_has_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        let error = made(&path, false).unwrap_err().to_string();
        assert!(error.contains("MASTER_KEY_FILE") && error.contains("is missing"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_key_of_the_wrong_length_is_refused_naming_the_setting() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for length in [0, 5, 31, 33, 63, 65, 32 * 9] {
            fs::write(file.path(), vec![7; length]).unwrap();
            let error = made(file.path(), true).unwrap_err().to_string();
            assert!(
                error.contains("MASTER_KEY_FILE") && error.contains(&format!("{length} bytes")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_key_may_be_raw_or_hex_and_a_file_may_hold_the_old_one_too() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (old, new) = (MasterKey::new([1; 32]), MasterKey::new([2; 32]));
        fs::write(file.path(), format!("{}\n", "01".repeat(32))).unwrap();
        assert_eq!(made(file.path(), true).unwrap().ids().collect::<Vec<_>>(), [old.id()]);
        replace(file.path(), &[new.clone(), old.clone()]).unwrap();
        assert_eq!(made(file.path(), true).unwrap().ids().collect::<Vec<_>>(), [new.id(), old.id()]);
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_credential_comes_with_an_old_one_during_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        assert!(KeySource::credential(directory.path()).is_none());
        fs::write(directory.path().join("master.key"), [2; 32]).unwrap();
        fs::write(directory.path().join("master.key.old"), [1; 32]).unwrap();
        let source = KeySource::credential(directory.path()).unwrap();
        let ids: Vec<_> = source.load().unwrap().unwrap().ids().collect();
        assert_eq!(ids, [[2; 32], [1; 32]].map(|key| MasterKey::new(key).id()));
    }
}
