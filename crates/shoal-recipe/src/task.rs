//! `/recipe.json` of the task medium: one job, resolved by the controller, for one machine.
//!
//! The controller writes it and the agent reads it, both with this type. What the first boot needs lies beside it on
//! the medium, in files of its own. Invariant: what [`TaskRecipe::to_json`] writes, [`TaskRecipe::parse`] reads back
//! as the same value.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde_json::{Map, Value, json};
use shoal_base::world::TlsPolicy;
use url::Url;

use crate::disk::DiskSelector;
use crate::fault::{Fault, RecipeFaults};
use crate::hash::Sha256;
use crate::image::{read_sha256, read_url};
use crate::layout::Layout;
use crate::network::Network;
use crate::reader::{Reader, read_document};
use crate::target::{Target, VERIFY, Verify};

/// The recipe's name at the medium's root.
pub const RECIPE_FILE: &str = "recipe.json";
/// Read by the agent, or not at all: each lies alone in an extent, 4 MiB away from everything else, so that a
/// controller which serves the medium piece by piece sees the read.
pub const SUCCESS_FILE: &str = "success";
pub const FAILURE_FILE: &str = "failure";
/// Read once the recipe is found to be this machine's, before anything else is done.
pub const STARTED_FILE: &str = "started";
/// NoCloud data for Linux. The agent writes a `meta-data` where the medium has none.
pub const FIRST_BOOT_FILES: [&str; 4] = ["user-data", "meta-data", "network-config", "vendor-data"];
/// The answer file for Windows.
pub const UNATTEND_FILE: &str = "unattend.xml";

const PARTS_MAX: usize = 4096;
const HOSTS_MAX: usize = 32;
const CA_BYTES_MAX: usize = 256 * 1024;

/// What the agent has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRecipe {
    pub job: Job,
    pub identity: Identity,
    pub target: Target,
    pub target_disk: DiskSelector,
    pub image: TaskImage,
    /// The image is a root file system as a tar archive, for a disk with these partitions.
    pub partition_layout: Option<Layout>,
    pub network: Network,
    pub overwrite: bool,
    pub verify: Verify,
}

/// The job and how its controller is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Job {
    /// The first boot's `instance-id`.
    pub id: String,
    /// Where reports go, with the job's token in it; without one, only the medium's files and the power show the outcome.
    pub report_url: Option<Url>,
    /// The controller's scheme, host and port, which may serve the image too.
    pub controller_url: Option<Url>,
    /// How the certificate of that host and port is judged. A pin needs no clock.
    pub tls: TlsPolicy,
    /// Further trusted roots, PEM.
    pub ca_pem: Option<String>,
    /// Names that need no DNS.
    pub hosts: BTreeMap<String, IpAddr>,
    /// Whether [`STARTED_FILE`], [`SUCCESS_FILE`] and [`FAILURE_FILE`] of the medium are to be read.
    pub signals: bool,
}

impl fmt::Debug for Job {
    /// Without the report's URL, which holds a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("id", &self.id).field("signals", &self.signals).finish_non_exhaustive()
    }
}

/// The machine that the job is for: its SMBIOS serial number is one of these, or its UUID is this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub serials: Vec<String>,
    pub uuid: Option<String>,
}

/// The image as the agent gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskImage {
    pub location: TaskImageLocation,
    /// Of the file as it is transferred.
    pub sha256: Sha256,
    /// In bytes, as it is transferred.
    pub size: Option<u64>,
}

/// Its `Debug` shows no query: that may be a signature.
#[derive(Clone, PartialEq, Eq)]
pub enum TaskImageLocation {
    Url(Url),
    /// Files at the medium's root, one after the other.
    Media(Vec<String>),
}

impl fmt::Debug for TaskImageLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskImageLocation::Url(url) => {
                f.debug_tuple("Url").field(&shoal_base::hide_url_secrets(url.as_str())).finish()
            }
            TaskImageLocation::Media(parts) => f.debug_tuple("Media").field(parts).finish(),
        }
    }
}

impl TaskRecipe {
    pub fn parse(text: &[u8]) -> Result<TaskRecipe, RecipeFaults> {
        let whole =
            |message: &str| RecipeFaults(vec![Fault { pointer: String::new(), message: message.to_owned() }]);
        let value: Value = serde_json::from_slice(text).map_err(|error| {
            whole(&format!("is not JSON at line {}, column {}", error.line(), error.column()))
        })?;
        read_document(value.as_object().ok_or_else(|| whole("must be an object"))?, read)
    }

    pub fn to_json(&self) -> Value {
        let (job, identity) = (&self.job, &self.identity);
        let mut image = json!({ "sha256": self.image.sha256.to_string(), "size": self.image.size });
        match &self.image.location {
            TaskImageLocation::Url(url) => image["url"] = json!(url.as_str()),
            TaskImageLocation::Media(parts) => image["parts"] = json!(parts),
        }
        let value = json!({
            "job": {
                "id": job.id,
                "report_url": job.report_url.as_ref().map(Url::as_str),
                "controller_url": job.controller_url.as_ref().map(Url::as_str),
                "tls": job.tls.to_string(),
                "ca_pem": job.ca_pem,
                "hosts": job.hosts,
                "signals": job.signals,
            },
            "identity": { "serials": identity.serials, "uuid": identity.uuid },
            "task_target": self.target.name(),
            "target_disk": self.target_disk.to_json(),
            "image": image,
            "partition_layout": self.partition_layout.as_ref().map(Layout::to_json),
            "network": self.network.to_json(),
            "overwrite": self.overwrite,
            "verify": self.verify.name(),
        });
        without_null(value)
    }
}

fn without_null(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let given = object.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(given.map(|(key, value)| (key, without_null(value))).collect::<Map<_, _>>())
        }
        other => other,
    }
}

fn read(reader: &Reader<'_>) -> Option<TaskRecipe> {
    reader.only(
        &[
            "job",
            "identity",
            "task_target",
            "target_disk",
            "image",
            "partition_layout",
            "network",
            "overwrite",
            "verify",
        ],
        &[],
    );
    let required = |key: &str| {
        if !reader.has(key) {
            reader.refuse(key, "is missing");
        }
        reader.object(key)
    };
    let job = required("job").and_then(|job| read_job(&job));
    let identity = required("identity").and_then(|identity| read_identity(&identity));
    let image = required("image").and_then(|image| read_image(&image));
    let (target, target_disk) = (Target::read(reader), DiskSelector::read(reader, "target_disk"));
    let partition_layout = Layout::read(reader, "partition_layout");
    Some(TaskRecipe {
        network: Network::read(reader)?,
        overwrite: reader.flag("overwrite"),
        verify: reader.choice("verify", &VERIFY).unwrap_or_default(),
        job: job?,
        identity: identity?,
        target: target?,
        target_disk: target_disk?,
        image: image?,
        partition_layout,
    })
}

fn read_job(job: &Reader<'_>) -> Option<Job> {
    job.only(&["id", "report_url", "controller_url", "tls", "ca_pem", "hosts", "signals"], &[]);
    let is_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let id = job.parsed("id", "must have 1 to 64 letters, digits, hyphens, dots or underscores", |text| {
        (!text.is_empty() && text.len() <= 64 && text.chars().all(is_id)).then(|| text.to_owned())
    });
    if !job.has("id") {
        job.refuse("id", "is missing");
    }
    let url = |key| if job.has(key) { read_url(job, key).map(Some) } else { Some(None) };
    let (report_url, controller_url) = (url("report_url")?, url("controller_url")?);
    let tls = job
        .parsed("tls", "must be verify, insecure, none, or pin: and 64 hex digits", |text| text.parse().ok());
    let ca_pem = job.parsed("ca_pem", "must be PEM of at most 256 KiB", |text| {
        (text.len() <= CA_BYTES_MAX && text.contains("-----BEGIN CERTIFICATE-----")).then(|| text.to_owned())
    });
    Some(Job {
        report_url,
        controller_url,
        tls: tls.unwrap_or_default(),
        ca_pem,
        hosts: read_hosts(job),
        signals: job.flag("signals"),
        id: id?,
    })
}

fn read_hosts(job: &Reader<'_>) -> BTreeMap<String, IpAddr> {
    let is_name = |name: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        !name.is_empty() && name.len() <= 253 && name.chars().all(inner)
    };
    let read = |(name, address): (&String, &Value)| -> Option<(String, IpAddr)> {
        let address = address.as_str()?.parse().ok()?;
        is_name(name).then(|| (name.clone(), address))
    };
    let Some(value) = job.value("hosts") else { return BTreeMap::new() };
    let hosts = value.as_object().filter(|hosts| hosts.len() <= HOSTS_MAX);
    let read: Option<BTreeMap<String, IpAddr>> = hosts.and_then(|hosts| hosts.iter().map(read).collect());
    if read.is_none() {
        job.refuse(
            "hosts",
            format!("must be an object of at most {HOSTS_MAX} host names and their IP addresses"),
        );
    }
    read.unwrap_or_default()
}

fn read_identity(identity: &Reader<'_>) -> Option<Identity> {
    identity.only(&["serials", "uuid"], &[]);
    let text = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
    let serials = identity.list("serials", 8, "must be a serial number", text);
    let uuid = identity.parsed("uuid", "must be a UUID", |text| {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        (digits.len() == 32 && digits.chars().all(|c| c.is_ascii_hexdigit()))
            .then(|| text.to_ascii_lowercase())
    });
    if serials.is_empty() && uuid.is_none() {
        identity.refuse("", "names no machine: give `serials` or `uuid`");
        return None;
    }
    Some(Identity { serials, uuid })
}

fn read_image(image: &Reader<'_>) -> Option<TaskImage> {
    image.only(&["url", "parts", "sha256", "size"], &[]);
    let is_part =
        |text: &str| (!text.is_empty() && text.len() <= 64 && !text.contains('/')).then(|| text.to_owned());
    let location = match (image.has("url"), image.has("parts")) {
        (true, true) => {
            image.refuse("parts", "give `url` or `parts`, not both");
            None
        }
        (false, true) => {
            let parts = image.list("parts", PARTS_MAX, "must be a file name", is_part);
            if parts.is_empty() {
                image.refuse("parts", "names no file");
            }
            Some(TaskImageLocation::Media(parts))
        }
        _ => read_url(image, "url").map(TaskImageLocation::Url),
    };
    let size = image.value("size").map(Value::as_u64);
    if size == Some(None) {
        image.refuse("size", "must be a number of bytes");
    }
    let sha256 = read_sha256(image, "sha256");
    Some(TaskImage { location: location?, sha256: sha256?, size: size.flatten() })
}

#[cfg(test)]
mod tests;
