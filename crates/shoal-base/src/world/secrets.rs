//! External passwords: a `bmc_password` of the form `env:NAME` or `file:NAME` names one.
//!
//! A variable is one of the controller's own environment and begins with [`VARIABLES`]; a file is below the one
//! directory that is for such files, and is read anew whenever its password is needed. Not the place of
//! secrets that the database keeps (`seal`). Invariant: what is read is no more than a password's size, and
//! no error quotes any of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::Password;

/// How the variables begin that a password may be in.
pub const VARIABLES: &str = "SHOAL_SECRET_";
/// As the API takes them.
const PASSWORD_CHARS_MAX: usize = 512;
const FILE_BYTES_MAX: u64 = 4096;

/// Where external passwords are.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Arc<Places>);

#[derive(Debug, Default)]
struct Places {
    variables: BTreeMap<String, Password>,
    directory: Option<PathBuf>,
}

/// Why an external password cannot be read, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("a password's variable is called {VARIABLES}… and has capitals, digits and underscores alone")]
    NotAVariable,
    #[error("the variable {name} is not set: set it and start the controller again")]
    Unset { name: String },
    #[error("there is no directory for passwords: say BMC_SECRETS_DIR")]
    NoDirectory,
    #[error("a password's file has a name below BMC_SECRETS_DIR, of letters, digits and `. _ - /`")]
    NotAFile,
    #[error(
        "the password file {path} leads out of BMC_SECRETS_DIR by a symbolic link: put the file there, or link to \
         one that is there",
        path = path.display()
    )]
    LeadsOut { path: PathBuf },
    #[error("the password file {path} cannot be read", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the password in {place} is not one line of 1 to {PASSWORD_CHARS_MAX} characters")]
    NotAPassword { place: String },
}

impl SecretError {
    /// With its cause.
    pub fn sentence(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}

/// The reference that a password's text is, if it is one.
pub fn reference(password: &Password) -> Option<&str> {
    let text = password.expose();
    (text.starts_with("env:") || text.starts_with("file:")).then_some(text)
}

impl Secrets {
    /// Those in `variables`, and those in the files of a directory.
    pub fn new(variables: BTreeMap<String, Password>, directory: Option<PathBuf>) -> Secrets {
        Secrets(Arc::new(Places { variables, directory }))
    }

    /// The password that is meant: itself, or what its reference leads to now.
    pub fn resolve(&self, password: &Password) -> Result<Password, SecretError> {
        let text = password.expose();
        match text.split_once(':') {
            Some(("env", name)) => self.variable(name),
            Some(("file", name)) => self.file(name),
            _ => Ok(password.clone()),
        }
    }

    fn variable(&self, name: &str) -> Result<Password, SecretError> {
        let rest = name.strip_prefix(VARIABLES).filter(|rest| !rest.is_empty());
        let is_plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if !rest.is_some_and(|rest| rest.chars().all(is_plain)) {
            return Err(SecretError::NotAVariable);
        }
        match self.0.variables.get(name) {
            Some(password) => checked(password.expose(), || name.to_owned()),
            None => Err(SecretError::Unset { name: name.to_owned() }),
        }
    }

    fn file(&self, name: &str) -> Result<Password, SecretError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
        let below = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if name.is_empty() || !below || !name.chars().all(is_plain) {
            return Err(SecretError::NotAFile);
        }
        let directory = self.0.directory.as_ref().ok_or(SecretError::NoDirectory)?;
        let path = directory.join(name);
        let unreadable = |source| SecretError::Unreadable { path: path.clone(), source };
        // Links within the directory are how Kubernetes mounts secrets.
        let real = path.canonicalize().map_err(unreadable)?;
        if !real.starts_with(directory.canonicalize().map_err(unreadable)?) {
            return Err(SecretError::LeadsOut { path });
        }
        let text = read(&real).map_err(unreadable)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        checked(line.strip_suffix('\r').unwrap_or(line), || path.display().to_string())
    }
}

/// A pipe would keep its reader waiting, and a link that was put there meanwhile is not followed.
fn read(path: &Path) -> std::io::Result<String> {
    if !path.symlink_metadata()?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn checked(text: &str, place: impl Fn() -> String) -> Result<Password, SecretError> {
    let fits = (1..=PASSWORD_CHARS_MAX).contains(&text.chars().count());
    match fits && !text.chars().any(char::is_control) {
        true => Ok(Password::new(text.to_owned())),
        false => Err(SecretError::NotAPassword { place: place() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(secrets: &Secrets, text: &str) -> Result<String, String> {
        let found = secrets.resolve(&Password::new(text.to_owned()));
        found.map(|password| password.expose().to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_variable_is_one_of_ours_and_known_from_the_start() {
        let known = BTreeMap::from([("SHOAL_SECRET_A1".to_owned(), Password::new("calvin".to_owned()))]);
        let secrets = Secrets::new(known, None);
        assert_eq!(said(&secrets, "env:SHOAL_SECRET_A1").as_deref(), Ok("calvin"));
        assert!(said(&secrets, "env:SHOAL_SECRET_B").unwrap_err().contains("SHOAL_SECRET_B is not set"));
        for other in ["env:MASTER_KEY", "env:", "env:SHOAL_SECRET_", "env:SHOAL_SECRET_a"] {
            assert!(said(&secrets, other).unwrap_err().contains("is called SHOAL_SECRET_…"), "{other}");
        }
    }

    #[test]
    fn a_file_is_below_its_directory_and_read_anew() {
        let directory = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(BTreeMap::new(), Some(directory.path().to_owned()));
        std::fs::create_dir(directory.path().join("rack1")).unwrap();
        let file = directory.path().join("rack1/idrac-7");
        for (content, password) in [("calvin\n", "calvin"), ("a b\r\n", "a b"), ("pass", "pass")] {
            std::fs::write(&file, content).unwrap();
            assert_eq!(said(&secrets, "file:rack1/idrac-7").as_deref(), Ok(password));
        }
        for content in ["", "\n", "two\nlines\n", &"x".repeat(513)] {
            std::fs::write(&file, content).unwrap();
            assert!(
                said(&secrets, "file:rack1/idrac-7").unwrap_err().contains("is not one line of 1 to 512")
            );
        }
        assert!(said(&secrets, "file:rack1/other").unwrap_err().contains("cannot be read"));
        for other in ["file:", "file:../shadow", "file:/etc/shadow", "file:a/../../b", "file:a b"] {
            assert!(said(&secrets, other).unwrap_err().contains("below BMC_SECRETS_DIR"), "{other}");
        }
        let nowhere = Secrets::default();
        assert!(said(&nowhere, "file:rack1/idrac-7").unwrap_err().contains("say BMC_SECRETS_DIR"));
    }

    /// Issue 15, kind 26.
    #[test]
    fn a_link_leads_to_no_file_outside_the_directory() {
        use std::os::unix::fs::symlink;
        let (outside, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let shadow = outside.path().join("shadow");
        std::fs::write(&shadow, "hunter2").unwrap();
        let inside = directory.path();
        std::fs::create_dir_all(inside.join("..data")).unwrap();
        std::fs::write(inside.join("..data/idrac"), "calvin").unwrap();
        symlink(&shadow, inside.join("file")).unwrap();
        symlink(outside.path(), inside.join("folder")).unwrap();
        symlink(inside.join("file"), inside.join("twice")).unwrap();
        symlink("..data/idrac", inside.join("idrac")).unwrap();
        let by_link = outside.path().join("secrets");
        symlink(inside, &by_link).unwrap();
        for directory in [inside, &by_link] {
            let secrets = Secrets::new(BTreeMap::new(), Some(directory.to_owned()));
            for name in ["file:file", "file:folder/shadow", "file:twice"] {
                let error = said(&secrets, name).unwrap_err();
                assert!(
                    error.contains("leads out of BMC_SECRETS_DIR") && !error.contains("hunter2"),
                    "{error}"
                );
            }
            assert_eq!(said(&secrets, "file:idrac").as_deref(), Ok("calvin"), "as Kubernetes mounts them");
            assert!(said(&secrets, "file:..data").unwrap_err().contains("cannot be read"));
        }
    }

    #[test]
    fn what_is_no_reference_is_the_password_itself() {
        let secrets = Secrets::default();
        for text in ["calvin", "files:x", "ENV:SHOAL_SECRET_A", ":", "a:env:b"] {
            assert_eq!(said(&secrets, text).as_deref(), Ok(text));
            assert_eq!(reference(&Password::new(text.to_owned())), None, "{text}");
        }
    }
}
