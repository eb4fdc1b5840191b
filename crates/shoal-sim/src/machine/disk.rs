//! What is on a simulated machine's disk.
//!
//! No behaviour. Invariant: [`Disk::esxi`] is what the disk would boot, if that is ESXi.

/// The disk, as far as anybody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disk {
    Blank,
    /// An operating system that was there before; which ESXi, if it is one.
    OtherSystem(Option<InstalledSystem>),
    /// An install was begun and did not end.
    Broken,
    Installed {
        ks_sha256: String,
        esxi: InstalledSystem,
    },
    /// A Linux or Windows, written from an image.
    Imaged {
        sha256: String,
    },
}

impl Disk {
    /// Whether a firmware finds something to boot on it.
    pub fn boots(&self) -> bool {
        self.is_installed() || matches!(self, Disk::OtherSystem(_))
    }

    /// Whether it holds what was installed here.
    pub fn is_installed(&self) -> bool {
        matches!(self, Disk::Installed { .. } | Disk::Imaged { .. })
    }

    pub fn esxi(&self) -> Option<&InstalledSystem> {
        match self {
            Disk::Installed { esxi, .. } => Some(esxi),
            Disk::OtherSystem(esxi) => esxi.as_ref(),
            Disk::Blank | Disk::Broken | Disk::Imaged { .. } => None,
        }
    }
}

/// An ESXi by its release, as it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledSystem {
    /// `8.0.3`
    pub version: String,
    /// `24022510`
    pub build: String,
}

/// It is not of the form `8.0.3-0.0.24022510`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a release of ESXi: it is written as in BOOT.CFG, 8.0.3-0.0.24022510")]
pub struct UnknownRelease(String);

impl std::str::FromStr for InstalledSystem {
    type Err = UnknownRelease;

    /// The value of `build=` in BOOT.CFG: the version, and after the last dot the build.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.');
        let (version, rest) = text.split_once('-').ok_or_else(|| UnknownRelease(text.to_owned()))?;
        let build = rest.rsplit('.').next().unwrap_or(rest);
        if numbers(version) && numbers(build) {
            Ok(InstalledSystem { version: version.to_owned(), build: build.to_owned() })
        } else {
            Err(UnknownRelease(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read_as_boot_cfg_writes_it() {
        for text in ["8.0.3-0.0.24022510", "8.0.3-24022510"] {
            let esxi: InstalledSystem = text.parse().unwrap();
            assert_eq!((esxi.version.as_str(), esxi.build.as_str()), ("8.0.3", "24022510"));
        }
        for text in ["", "8.0.3", "-1", "8.0.3-", "8.0.3-0.0.", "8.0.3-0.0.<b>", "x-1"] {
            assert!(text.parse::<InstalledSystem>().is_err(), "{text}");
        }
    }
}
