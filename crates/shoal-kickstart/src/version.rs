//! Versions of ESXi as rules need them: major, minor and update.
//!
//! Invariant: versions compare in the order of their releases.

use std::fmt;
use std::str::FromStr;

/// A version of ESXi, such as 8.0.3. An update written as `8.0U3` is the same version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u16,
    pub minor: u16,
    pub update: u16,
}

impl Version {
    pub const fn new(major: u16, minor: u16, update: u16) -> Version {
        Version { major, minor, update }
    }

    /// The version whose rules apply where none is known.
    pub const ASSUMED: Version = Version::new(8, 0, 3);
}

/// A text that is not a supported version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVersion;

impl fmt::Display for UnknownVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a supported ESXi version: use 6.5 to 9.x, such as 8.0.3")
    }
}

impl std::error::Error for UnknownVersion {}

impl FromStr for Version {
    type Err = UnknownVersion;

    /// Reads `8`, `8.0`, `8.0.3`, `8.0U3` and `8.0.3-0.0.24022510`.
    fn from_str(text: &str) -> Result<Version, UnknownVersion> {
        let release = text.split(['-', ' ']).next().unwrap_or_default();
        let mut numbers = release.split(['.', 'U', 'u']).map(|part| {
            let digits = part.trim_end_matches(|c: char| c.is_ascii_lowercase());
            digits.parse::<u16>().map_err(|_| UnknownVersion)
        });
        let major = numbers.next().ok_or(UnknownVersion)??;
        let minor = numbers.next().transpose()?.unwrap_or(if major == 6 { 7 } else { 0 });
        let update = numbers.next().transpose()?.unwrap_or(0);
        let version = Version { major, minor, update };
        let supported = version >= Version::new(6, 5, 0) && major <= 9;
        supported.then_some(version).ok_or(UnknownVersion)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.update)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_people_and_images_write_them() {
        for (text, version) in [
            ("8", Version::new(8, 0, 0)),
            ("6", Version::new(6, 7, 0)),
            ("7.0", Version::new(7, 0, 0)),
            ("8.0U3", Version::new(8, 0, 3)),
            ("7.0u3o", Version::new(7, 0, 3)),
            ("8.0.3-0.0.24022510", Version::new(8, 0, 3)),
            ("9.1.0.0", Version::new(9, 1, 0)),
        ] {
            assert_eq!(text.parse(), Ok(version), "{text}");
        }
        for text in ["", "x", "5.5", "10.0", "8.x", "6.0", "8.0.99999999"] {
            assert_eq!(text.parse::<Version>(), Err(UnknownVersion), "{text}");
        }
    }
}
