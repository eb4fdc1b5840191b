//! The admin token: made at the first start, in a file beside the database.
//!
//! It compares nothing (that is `api`). Invariant: the file is its owner's alone and holds one line.

use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::config::AuthSettings;
use crate::world::Rng;

/// What an operator must show.
pub struct AdminToken {
    /// `None`: nothing.
    pub token: Option<SecretString>,
    /// Where it is kept, if it is.
    pub file: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    #[error("cannot {doing} the admin token {}", .path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} does not hold one line with a token: delete it, and the next start makes a new one", .path.display())]
    Unusable { path: PathBuf },
}

/// The directory that a file stands in.
pub fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Reads the token beside `database`, or makes one, unless the settings give one or want none.
/// The caller holds the database's lock, so nobody else makes one meanwhile.
pub fn admin_token(auth: &AuthSettings, database: &Path, rng: &Rng) -> Result<AdminToken, TokenFileError> {
    let bootstrap = match auth {
        AuthSettings::None => return Ok(AdminToken { token: None, file: None }),
        AuthSettings::Token { bootstrap } => bootstrap,
    };
    if let Some(token) = bootstrap {
        return Ok(AdminToken { token: Some(token.clone()), file: None });
    }
    let path = directory(database).join("admin.token");
    let token = match std::fs::read_to_string(&path) {
        Ok(text) => checked(&path, &text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let token = rng.hex(32);
            write(&path, &token).map_err(|source| failed("write", &path, source))?;
            token
        }
        Err(error) => return Err(failed("read", &path, error)),
    };
    Ok(AdminToken { token: Some(token.into()), file: Some(path) })
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> TokenFileError {
    TokenFileError::Io { doing, path: path.to_owned(), source }
}

fn checked(path: &Path, text: &str) -> Result<String, TokenFileError> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenFileError::Unusable { path: path.to_owned() });
    }
    let mode = std::fs::metadata(path).map(|found| found.permissions().mode()).unwrap_or_default();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the admin token is readable by others: chmod 0600 it");
    }
    Ok(token.to_owned())
}

/// Beside its place first, so that a crash leaves no half of a token.
fn write(path: &Path, token: &str) -> io::Result<()> {
    let draft = path.with_extension("token.draft");
    let _left_by_a_crash = std::fs::remove_file(&draft);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    std::fs::File::open(directory(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const BY_FILE: AuthSettings = AuthSettings::Token { bootstrap: None };

    #[test]
    fn it_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("shoal.db");
        let made = admin_token(&BY_FILE, &database, &Rng::from_seed(1)).unwrap();
        let path = made.file.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!((text.lines().count(), text.len()), (1, 65));
        let again = admin_token(&BY_FILE, &database, &Rng::from_seed(2)).unwrap();
        let shown = |token: &Option<SecretString>| token.as_ref().unwrap().expose_secret().to_owned();
        assert_eq!(shown(&again.token), shown(&made.token));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn one_that_is_given_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let given = AuthSettings::Token { bootstrap: Some("given".into()) };
        let admin = admin_token(&given, &dir.path().join("shoal.db"), &Rng::from_seed(1)).unwrap();
        assert_eq!(admin.token.unwrap().expose_secret(), "given");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_empty_file_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("admin.token"), "\n").unwrap();
        let error = admin_token(&BY_FILE, &dir.path().join("shoal.db"), &Rng::from_seed(1)).err().unwrap();
        assert!(error.to_string().contains("admin.token"), "{error}");
    }
}
