//! Manifests and indexes of OCI images: which one layer is the disk's image. Pure.
//!
//! What they look like is in the OCI image specification; docker's forms of version 2 have the same members. Invariant:
//! an image is accepted only if one layer is all of it, because nothing says in which order several would make a disk.

use std::fmt;

use serde::Deserialize;
use shoal_base::visible;
use shoal_recipe::Sha256;

/// What a request for a manifest accepts.
pub const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                            application/vnd.docker.distribution.manifest.v2+json, \
                            application/vnd.docker.distribution.manifest.list.v2+json";

/// Names and types of others are shown as far as this.
const SHOWN_CHARS_MAX: usize = 120;
/// So many entries of an index are listed.
const LISTED_MAX: usize = 12;

/// Why a manifest holds no image of a disk; after the reference's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestFault {
    #[error("is not an image manifest or index, but {what}")]
    NotAManifest { what: String },
    #[error("is an index without one entry for {wanted}; it has {found}: give the digest of one of them")]
    Platform { wanted: String, found: String },
    #[error("has {count} layers: a disk's image is an artifact with one layer")]
    Layers { count: usize },
    #[error(
        "is a container image (layer type {media_type}): push the whole-disk image as an artifact, for example with oras push"
    )]
    ContainerImage { media_type: String },
    #[error("holds {what}: convert it with qemu-img convert -O raw, and push that")]
    Format { what: String },
    #[error("has a layer whose digest is not a SHA-256")]
    Digest,
    #[error("has an empty layer")]
    Empty,
}

/// A manifest or an index, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub enum ManifestDocument {
    Index(Vec<IndexEntry>),
    Image(DiskLayer),
}

#[derive(Debug, PartialEq, Eq)]
pub struct IndexEntry {
    pub digest: Sha256,
    /// `linux/amd64`; none where the entry does not say.
    platform: Option<String>,
}

/// The one layer that is the disk's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskLayer {
    pub digest: Sha256,
    /// In bytes.
    pub size: u64,
    pub media_type: String,
}

#[derive(Deserialize)]
struct RawDocument {
    #[serde(rename = "mediaType", default)]
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: u64,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl ManifestDocument {
    /// `content_type` is what the registry said that it is; `takes_archive`: the layer may be a tar archive.
    pub fn read(
        bytes: &[u8],
        content_type: &str,
        takes_archive: bool,
    ) -> Result<ManifestDocument, ManifestFault> {
        let not = |what: &str| ManifestFault::NotAManifest { what: what.to_owned() };
        let document: RawDocument = serde_json::from_slice(bytes).map_err(|_| match content_type {
            "" => not("something else"),
            of => not(&shown(of)),
        })?;
        match (document.manifests, document.layers) {
            // Readers that choose differently would see two different images (CVE-2021-41190).
            (Some(_), Some(_)) => Err(not("both in one document")),
            (Some(entries), None) => Ok(ManifestDocument::Index(entries.iter().filter_map(entry).collect())),
            (None, Some(layers)) => Ok(ManifestDocument::Image(disk_layer(&layers, takes_archive)?)),
            (None, None) => Err(not(&shown(document.media_type.as_deref().unwrap_or(content_type)))),
        }
    }
}

/// An attestation beside the images has the platform `unknown/unknown`.
fn entry(descriptor: &Descriptor) -> Option<IndexEntry> {
    let platform = descriptor.platform.as_ref().map(Platform::to_string);
    let digest = Sha256::parse(descriptor.digest.strip_prefix("sha256:")?)?;
    (platform.as_deref() != Some("unknown/unknown")).then_some(IndexEntry { digest, platform })
}

/// The one entry for a platform, or the only entry where that says nothing of one.
pub fn choose(entries: &[IndexEntry], wanted: &str) -> Result<Sha256, ManifestFault> {
    let fitting: Vec<&IndexEntry> =
        entries.iter().filter(|entry| entry.platform.as_deref() == Some(wanted)).collect();
    match (fitting.as_slice(), entries) {
        ([one], _) => Ok(one.digest),
        ([], [IndexEntry { digest, platform: None }]) => Ok(*digest),
        _ => {
            let name = |entry: &IndexEntry| {
                let platform = entry.platform.as_deref().unwrap_or("no platform");
                format!("{} (sha256:{})", shown(platform), entry.digest)
            };
            let mut found: Vec<String> = entries.iter().take(LISTED_MAX).map(name).collect();
            match entries.len() {
                0 => found.push("none".to_owned()),
                more if more > LISTED_MAX => found.push(format!("{} more", more - LISTED_MAX)),
                _ => {}
            }
            Err(ManifestFault::Platform { wanted: wanted.to_owned(), found: found.join(", ") })
        }
    }
}

const FILE_SYSTEM_LAYERS: [&str; 2] =
    ["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."];
const TITLE: &str = "org.opencontainers.image.title";
/// Of files that no whole-disk image has, with the word for what they hold.
const OTHER_FORMATS: [(&str, &str); 8] = [
    ("qcow2", "a qcow2 image"),
    ("vhd", "a VHD image"),
    ("vhdx", "a VHDX image"),
    ("vmdk", "a VMDK image"),
    ("vdi", "a VDI image"),
    ("wim", "a WIM file"),
    ("iso", "an ISO image"),
    ("esd", "an ESD file"),
];

fn disk_layer(layers: &[Descriptor], takes_archive: bool) -> Result<DiskLayer, ManifestFault> {
    let [layer] = layers else { return Err(ManifestFault::Layers { count: layers.len() }) };
    let title = layer.annotations.get(TITLE).map(|title| title.to_ascii_lowercase());
    let kind = layer.media_type.to_ascii_lowercase();
    // oras gives a file this type by default, and names the file in an annotation.
    let is_tar = match &title {
        None => FILE_SYSTEM_LAYERS.iter().any(|prefix| kind.starts_with(prefix)),
        Some(title) => {
            [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz"].iter().any(|end| title.ends_with(end))
        }
    };
    if is_tar && !takes_archive {
        return Err(ManifestFault::ContainerImage { media_type: shown(&layer.media_type) });
    }
    for (name, what) in OTHER_FORMATS {
        let parts = |text: &str| text.split(['.', '+', '-', '/']).skip(1).any(|part| part == name);
        if parts(&kind) || title.as_deref().is_some_and(parts) {
            return Err(ManifestFault::Format { what: what.to_owned() });
        }
    }
    if layer.size == 0 || kind == "application/vnd.oci.empty.v1+json" {
        return Err(ManifestFault::Empty);
    }
    let digest = layer.digest.strip_prefix("sha256:").and_then(Sha256::parse).ok_or(ManifestFault::Digest)?;
    Ok(DiskLayer { digest, size: layer.size, media_type: shown(&layer.media_type) })
}

fn shown(text: &str) -> String {
    visible(text).chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const RAW: &str = "application/vnd.example.disk.raw+zstd";
    const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

    fn digest(n: u8) -> String {
        format!("sha256:{}", Sha256([n; 32]))
    }

    fn layer(media_type: &str, title: Option<&str>) -> Value {
        let annotations = title.map_or(json!({}), |title| json!({ TITLE: title }));
        json!({ "mediaType": media_type, "digest": digest(1), "size": 9, "annotations": annotations })
    }

    fn read(document: Value) -> Result<ManifestDocument, ManifestFault> {
        ManifestDocument::read(document.to_string().as_bytes(), "application/json", false)
    }

    #[test]
    fn one_layer_is_a_disks_image_by_its_type_or_its_title() {
        for layer in [
            layer(RAW, None),
            layer(TAR, Some("debian.raw.zst")),
            layer("application/octet-stream", Some("Disk.IMG")),
            layer("", None),
        ] {
            let ManifestDocument::Image(image) = read(json!({ "layers": [layer] })).unwrap() else {
                unreachable!()
            };
            assert_eq!((image.digest, image.size), (Sha256([1; 32]), 9));
        }
    }

    #[test]
    fn what_is_no_disks_image_is_refused_with_the_reason() {
        let with = |change: fn(&mut Value)| {
            let mut layer = layer(RAW, None);
            change(&mut layer);
            json!({ "layers": [layer] })
        };
        for (document, words) in [
            (json!({ "layers": [] }), "has 0 layers"),
            (json!({ "layers": [layer(RAW, None), layer(RAW, None)] }), "has 2 layers"),
            (json!({ "layers": [layer(&format!("{TAR}+gzip"), None)] }), "is a container image"),
            (
                json!({ "layers": [layer("application/vnd.docker.image.rootfs.diff.tar.gzip", None)] }),
                "container",
            ),
            (json!({ "layers": [layer(TAR, Some("rootfs.tar.gz"))] }), "is a container image"),
            (json!({ "layers": [layer(TAR, Some("debian.qcow2"))] }), "a qcow2 image"),
            (json!({ "layers": [layer("application/vnd.example.qcow2", None)] }), "a qcow2 image"),
            (json!({ "layers": [layer(RAW, Some("install.wim"))] }), "a WIM file"),
            (with(|layer| layer["digest"] = json!("sha512:ab")), "not a SHA-256"),
            (with(|layer| layer["digest"] = json!("sha256:ab")), "not a SHA-256"),
            (with(|layer| layer["size"] = json!(0)), "has an empty layer"),
            (json!({ "layers": [layer("application/vnd.oci.empty.v1+json", None)] }), "has an empty layer"),
            (json!({ "layers": [], "manifests": [] }), "both in one document"),
            (json!({ "fsLayers": [], "schemaVersion": 1 }), "not an image manifest"),
            (json!({ "mediaType": "text/\u{1b}x" }), "text/␛x"),
            (json!([]), "application/json"),
        ] {
            let fault = read(document.clone()).unwrap_err().to_string();
            assert!(fault.contains(words), "{document}: {fault}");
        }
        let page = ManifestDocument::read(b"<html>", "text/html", false).unwrap_err();
        assert_eq!(page.to_string(), "is not an image manifest or index, but text/html");
    }

    #[test]
    fn an_archive_is_taken_where_a_root_file_system_is_wanted() {
        for layer in [layer(TAR, Some("rootfs.tar.gz")), layer(&format!("{TAR}+gzip"), None)] {
            let document = json!({ "layers": [layer] }).to_string();
            assert!(ManifestDocument::read(document.as_bytes(), "", true).is_ok(), "{document}");
        }
    }

    #[test]
    fn an_index_has_one_entry_for_the_platform() {
        let entry = |n: u8, platform: Option<(&str, &str)>| {
            let platform =
                platform.map(|(os, architecture)| json!({ "os": os, "architecture": architecture }));
            json!({ "mediaType": "x", "digest": digest(n), "size": 2, "platform": platform })
        };
        let chosen = |entries: Vec<Value>, wanted: &str| {
            let ManifestDocument::Index(entries) = read(json!({ "manifests": entries })).unwrap() else {
                unreachable!()
            };
            choose(&entries, wanted).map_err(|fault| fault.to_string())
        };
        let (amd, arm) = (Some(("linux", "amd64")), Some(("linux", "arm64")));
        let unknown = Some(("unknown", "unknown"));
        let all = vec![entry(1, arm), entry(2, amd), entry(3, unknown), entry(4, Some(("windows", "amd64")))];
        assert_eq!(chosen(all.clone(), "linux/amd64"), Ok(Sha256([2; 32])));
        assert_eq!(chosen(all, "windows/amd64"), Ok(Sha256([4; 32])));
        assert_eq!(chosen(vec![entry(5, None)], "linux/amd64"), Ok(Sha256([5; 32])));
        let fault = chosen(vec![entry(1, arm), entry(2, None)], "linux/amd64").unwrap_err();
        assert!(
            fault.contains(&format!("linux/arm64 ({})", digest(1))) && fault.contains("no platform"),
            "{fault}"
        );
        assert!(chosen(vec![entry(1, amd), entry(2, amd)], "linux/amd64").is_err());
        assert!(chosen(vec![], "linux/amd64").unwrap_err().contains("none"));
        assert!(
            chosen((0..40).map(|n| entry(n, arm)).collect(), "linux/amd64").unwrap_err().contains("28 more")
        );
    }
}
