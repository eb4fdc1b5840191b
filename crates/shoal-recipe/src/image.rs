//! Where the image of an installation comes from.
//!
//! Its format is not named: the agent recognizes it by its content.

use std::fmt;

use url::Url;

use crate::hash::Sha256;
use crate::reader::Reader;

/// The image of a submitted recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub location: ImageLocation,
    pub source: ImageSource,
}

/// Its `Debug` shows no query: that may be a signature.
#[derive(Clone, PartialEq, Eq)]
pub enum ImageLocation {
    /// With the SHA-256 of the file as it is transferred.
    Url {
        url: Url,
        sha256: Sha256,
    },
    /// One that the controller hosts, by its SHA-256, its name there, or both.
    Hosted {
        sha256: Option<Sha256>,
        name: Option<ImageName>,
    },
    Oci(OciReference),
}

/// What operators call an image that the controller hosts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageName(String);

/// How the host gets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageSource {
    /// By HTTP.
    #[default]
    Network,
    /// On the task medium.
    Media,
    /// On the task medium where the recipe has no network and the image is small enough.
    Auto,
}

/// `host[:port]/repository[:tag|@digest]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciReference {
    pub registry: String,
    pub repository: String,
    /// `latest` where the reference has neither.
    pub version: OciVersion,
}

impl fmt::Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OciReference { registry, repository, version } = self;
        match version {
            OciVersion::Tag(tag) => write!(f, "{registry}/{repository}:{tag}"),
            OciVersion::Digest(digest) => write!(f, "{registry}/{repository}@sha256:{digest}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OciVersion {
    Tag(String),
    Digest(Sha256),
}

const SOURCES: [(&str, ImageSource); 3] =
    [("network", ImageSource::Network), ("media", ImageSource::Media), ("auto", ImageSource::Auto)];

const NAME_CHARS_MAX: usize = 128;

impl ImageName {
    /// Letters, digits, dots, hyphens and underscores, a letter or digit first; no SHA-256, so that either finds an
    /// image.
    pub fn parse(text: &str) -> Option<ImageName> {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_name = text.len() <= NAME_CHARS_MAX
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(inner)
            && Sha256::parse(text).is_none();
        is_name.then(|| ImageName(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ImageSource {
    pub fn name(self) -> &'static str {
        SOURCES.iter().find(|(_, source)| *source == self).map_or("", |(name, _)| name)
    }
}

impl fmt::Debug for ImageLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageLocation::Hosted { sha256, name } => {
                f.debug_struct("Hosted").field("sha256", sha256).field("name", name).finish()
            }
            ImageLocation::Url { url, sha256 } => {
                let url = shoal_base::hide_url_secrets(url.as_str());
                f.debug_struct("Url").field("url", &url).field("sha256", sha256).finish()
            }
            ImageLocation::Oci(reference) => f.debug_tuple("Oci").field(reference).finish(),
        }
    }
}

impl Image {
    pub(crate) fn read(reader: &Reader<'_>) -> Option<Image> {
        let image = reader.object("image");
        if let Some(image) = &image {
            image.only(
                &["url", "name", "sha256", "source"],
                &[("type", "the format is recognized by content")],
            );
        }
        let source = image.as_ref().and_then(|image| image.choice("source", &SOURCES)).unwrap_or_default();
        let oci = reader.parsed(
            "oci_url",
            "must be host[:port]/repository with :tag or @sha256:digest, without a scheme",
            OciReference::parse,
        );
        let location = match (&image, reader.has("oci_url")) {
            (Some(image), true) if ["url", "name", "sha256"].iter().any(|key| image.has(key)) => {
                reader.refuse("oci_url", "give image.url, image.name, image.sha256 or oci_url, not several");
                return None;
            }
            (_, true) => ImageLocation::Oci(oci?),
            (Some(image), false) if image.has("url") => {
                if image.has("name") {
                    image.refuse(
                        "name",
                        "give image.url, or image.name of an image that the controller hosts",
                    );
                }
                let (url, sha256) = (read_url(image, "url"), read_sha256(image, "sha256"));
                ImageLocation::Url { url: url?, sha256: sha256? }
            }
            (Some(image), false) => read_hosted(image)?,
            (None, false) => {
                if !reader.has("image") {
                    reader.refuse(
                        "image",
                        "is missing: give image.url with image.sha256, image.name, or oci_url",
                    );
                }
                return None;
            }
        };
        Some(Image { location, source })
    }
}

fn read_hosted(image: &Reader<'_>) -> Option<ImageLocation> {
    let must = "must have 1 to 128 letters, digits, dots, hyphens and underscores, a letter or digit first";
    let name = image.parsed("name", must, ImageName::parse);
    let sha256 = if image.has("sha256") { Some(read_sha256(image, "sha256")?) } else { None };
    if !image.has("name") && sha256.is_none() {
        let message = "is missing: give `url` with `sha256`, or `name` or `sha256` of an image that the controller hosts";
        image.refuse("url", message);
        return None;
    }
    (name.is_some() || !image.has("name")).then_some(ImageLocation::Hosted { sha256, name })
}

pub(crate) fn read_url(reader: &Reader<'_>, key: &str) -> Option<Url> {
    if !reader.has(key) {
        reader.refuse(key, "is missing: give an http:// or https:// URL");
        return None;
    }
    reader.parsed(key, "must be an http:// or https:// URL without a user name or password", |text| {
        let url = Url::parse(text).ok()?;
        let is_plain = url.username().is_empty() && url.password().is_none();
        (matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain).then_some(url)
    })
}

pub(crate) fn read_sha256(reader: &Reader<'_>, key: &str) -> Option<Sha256> {
    if !reader.has(key) {
        reader.refuse(key, "is missing: give the SHA-256 of the file as it is downloaded");
        return None;
    }
    reader.parsed(key, "must be 64 hex digits", Sha256::parse)
}

impl OciReference {
    pub fn parse(text: &str) -> Option<OciReference> {
        let (registry, rest) = text.split_once('/')?;
        let host = registry.split(':').next().unwrap_or_default();
        let is_host = !host.is_empty()
            && registry.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':'))
            && registry.split_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_ok());
        let (repository, version) = match (rest.split_once('@'), rest.split_once(':')) {
            (Some((repository, digest)), _) => {
                let repository = repository.split(':').next().unwrap_or_default();
                (repository, OciVersion::Digest(Sha256::parse(digest.strip_prefix("sha256:")?)?))
            }
            (None, Some((repository, tag))) => (repository, OciVersion::Tag(tag.to_owned())),
            (None, None) => (rest, OciVersion::Tag("latest".to_owned())),
        };
        let is_part = |part: &str| {
            let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
            edge(part.chars().next()) && edge(part.chars().last()) && part.chars().all(inner)
        };
        let is_tag = |tag: &str| {
            let first = tag.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
            first && tag.len() <= 128 && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        let version_fits = match &version {
            OciVersion::Tag(tag) => is_tag(tag),
            OciVersion::Digest(_) => true,
        };
        let fits = is_host && version_fits && repository.len() <= 255 && repository.split('/').all(is_part);
        fits.then(|| OciReference {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            version,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_digest_and_no_path() {
        for name in ["a", "debian-12.raw.zst", "2022_win", &"x".repeat(128), &"ab".repeat(31)] {
            assert_eq!(ImageName::parse(name).unwrap().as_str(), name);
        }
        for text in ["", "-a", ".a", "a/b", "a b", "é", &"x".repeat(129), &"ab".repeat(32), &"AB".repeat(32)]
        {
            assert_eq!(ImageName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn references_have_a_host_a_repository_and_a_version() {
        let digest = "ab".repeat(32);
        let parse = |text: &str| OciReference::parse(text).unwrap();
        let tagged = parse("reg.example:5000/images/debian:12.1");
        assert_eq!(
            (tagged.registry.as_str(), tagged.repository.as_str()),
            ("reg.example:5000", "images/debian")
        );
        assert_eq!(tagged.version, OciVersion::Tag("12.1".to_owned()));
        assert_eq!(parse("reg/a").version, OciVersion::Tag("latest".to_owned()));
        let pinned = parse(&format!("reg/a:12@sha256:{digest}"));
        assert_eq!(
            (pinned.repository.as_str(), pinned.version),
            ("a", OciVersion::Digest(Sha256([0xab; 32])))
        );
        for text in [
            "",
            "debian",
            "https://reg/a",
            "reg/",
            "reg/A",
            "reg/a:",
            "reg/a@sha256:ab",
            "reg:x/a",
            "reg/a//b",
        ] {
            assert_eq!(OciReference::parse(text), None, "{text}");
        }
    }
}
