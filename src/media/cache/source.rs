//! Where a vendor ISO comes from, as an operator names it.
//!
//! Invariant: what is shown of a URL holds neither user information nor a query, since either may
//! be a secret.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use url::Url;

/// A vendor ISO elsewhere, or on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallerSource {
    /// `http` or `https`.
    Url(Url),
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallerSourceError {
    #[error("an installer's source is empty: give an http, https or file URL, or a path")]
    Empty,
    #[error("an installer is fetched by http or https, or read from a file, not by `{scheme}`")]
    Scheme { scheme: String },
    #[error("the installer's URL cannot be read: {0}")]
    Url(url::ParseError),
    #[error("a file URL of an installer has three slashes and no host, such as file:///srv/esxi.iso")]
    FileUrl,
}

impl FromStr for InstallerSource {
    type Err = InstallerSourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() {
            return Err(InstallerSourceError::Empty);
        }
        let Some((scheme, _)) = text.split_once("://") else { return Ok(InstallerSource::File(text.into())) };
        let url = Url::parse(text).map_err(InstallerSourceError::Url)?;
        match url.scheme() {
            "http" | "https" => Ok(InstallerSource::Url(url)),
            "file" => {
                let path = url.to_file_path().map_err(|()| InstallerSourceError::FileUrl)?;
                Ok(InstallerSource::File(path))
            }
            _ => Err(InstallerSourceError::Scheme { scheme: scheme.to_owned() }),
        }
    }
}

/// For messages and logs.
impl fmt::Display for InstallerSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InstallerSource::Url(url) => f.write_str(&shown(url)),
            InstallerSource::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl InstallerSource {
    /// Names this source's files in the cache; of the whole source, secrets included.
    pub(super) fn key(&self) -> String {
        let whole = match self {
            InstallerSource::Url(url) => url.to_string().into_bytes(),
            InstallerSource::File(path) => path.as_os_str().as_encoded_bytes().to_vec(),
        };
        shoal_base::hex(&Sha256::digest(whole)[..16])
    }
}

/// A URL without what may be secret in it.
pub(in crate::media) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can fail: an http URL has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_urls_or_paths() {
        let source = |text: &str| text.parse::<InstallerSource>();
        assert!(matches!(source("https://files.test/esxi.iso"), Ok(InstallerSource::Url(_))));
        assert_eq!(source("file:///srv/esxi.iso"), Ok(InstallerSource::File("/srv/esxi.iso".into())));
        assert_eq!(source("./esxi.iso"), Ok(InstallerSource::File("./esxi.iso".into())));
        assert_eq!(source(" "), Err(InstallerSourceError::Empty));
        assert_eq!(source("nfs://a/b"), Err(InstallerSourceError::Scheme { scheme: "nfs".into() }));
        assert_eq!(source("file://host/b"), Err(InstallerSourceError::FileUrl));
        assert!(matches!(source("https://"), Err(InstallerSourceError::Url(_))));
    }

    #[test]
    fn what_is_shown_of_a_url_holds_no_secret() {
        let source: InstallerSource = "https://me:hunter2@files.test/a.iso?sig=hunter2#x".parse().unwrap();
        assert_eq!(source.to_string(), "https://files.test/a.iso");
        let other: InstallerSource = "https://files.test/a.iso".parse().unwrap();
        assert_ne!(source.key(), other.key());
    }
}
