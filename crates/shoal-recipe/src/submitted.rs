//! A Linux or Windows installation as an operator submits it.
//!
//! One function, [`Recipe::parse`]. It needs neither configuration nor BMC: whether an image may be fetched, and what
//! a tag stands for, is the controller's to decide. Invariant: a [`Recipe`] satisfies every rule of the contract that
//! can be checked from its text.

use std::fmt;

use serde_json::{Map, Value};

use crate::disk::DiskSelector;
use crate::fault::RecipeFaults;
use crate::image::Image;
use crate::layout::Layout;
use crate::network::Network;
use crate::reader::{Reader, read_document};
use crate::target::{Target, VERIFY, Verify};

/// The largest `user_data`, `network_config` and `unattend_xml`, in bytes each.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
const NOTES_CHARS_MAX: usize = 2000;

/// A recipe for `install-linux.target` or `install-windows.target`, but for the keys that all targets share: those are
/// the controller's to read.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipe {
    pub target: Target,
    pub target_disk: DiskSelector,
    pub image: Image,
    /// The image is a root file system as a tar archive, for a disk with these partitions. Linux only.
    pub partition_layout: Option<Layout>,
    /// For cloud-init, Linux only.
    pub user_data: Option<String>,
    pub network_config: Option<String>,
    /// The answer file, Windows only.
    pub unattend_xml: Option<String>,
    pub network: Network,
    /// The disk's data may be lost.
    pub overwrite: bool,
    pub verify: Verify,
    pub completion: Completion,
    pub notes: Option<String>,
}

impl fmt::Debug for Recipe {
    /// Without the texts for the first boot, which hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Recipe { target, target_disk, image, network, overwrite, .. } = self;
        let seen = (target, target_disk, image, network, overwrite);
        f.debug_tuple("Recipe").field(&seen).finish_non_exhaustive()
    }
}

/// How the controller learns of the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Completion {
    /// The agent reports by HTTP, and by reads of the task medium too.
    #[default]
    Webhook,
    /// Only by reads of the task medium.
    Media,
    /// Only by powering off.
    Poweroff,
}

const COMPLETIONS: [(&str, Completion); 3] =
    [("webhook", Completion::Webhook), ("media", Completion::Media), ("poweroff", Completion::Poweroff)];

const KEYS: [&str; 15] = [
    "task_target",
    "target_disk",
    "image",
    "oci_url",
    "partition_layout",
    "user_data",
    "network_config",
    "unattend_xml",
    "network",
    "overwrite",
    "verify",
    "completion",
    "notes",
    "schema_version",
    "recipe_version",
];

const NO_ESXI: &str = "belongs to install-esxi.target";
/// Keys of other targets and earlier systems that no step reads.
const REASONS: [(&str, &str); 10] = [
    ("wim_index", "WIM files are not supported: use a whole-disk image of a sysprepped installation"),
    ("firmware_url", "firmware updates are not supported"),
    ("env", "no step reads environment variables: leave it out"),
    ("ks_cfg", NO_ESXI),
    ("ks.cfg", NO_ESXI),
    ("completion_hook", "use `completion`"),
    ("esxi_installer_url", NO_ESXI),
    ("esxi_installer_sha256", NO_ESXI),
    ("management_address", NO_ESXI),
    ("cloud_init", "use `user_data`"),
];

impl Recipe {
    /// All faults together; none quotes what the recipe holds for the first boot.
    pub fn parse(recipe: &Map<String, Value>) -> Result<Recipe, RecipeFaults> {
        read_document(recipe, read)
    }
}

fn read(reader: &Reader<'_>) -> Option<Recipe> {
    reader.only(&KEYS, &REASONS);
    let (target, target_disk) = (Target::read(reader), DiskSelector::read(reader, "target_disk"));
    let (image, network) = (Image::read(reader), Network::read(reader));
    let (user_data, network_config) = (read_text(reader, "user_data"), read_text(reader, "network_config"));
    let unattend_xml = read_text(reader, "unattend_xml");
    let partition_layout = Layout::read(reader, "partition_layout");
    check_first_boot(reader, target, unattend_xml.as_deref());
    check_versions(reader);
    Some(Recipe {
        user_data,
        network_config,
        unattend_xml,
        partition_layout,
        overwrite: reader.flag("overwrite"),
        verify: reader.choice("verify", &VERIFY).unwrap_or_default(),
        completion: reader.choice("completion", &COMPLETIONS).unwrap_or_default(),
        notes: reader.parsed("notes", "has more than 2000 characters", |text| {
            (text.chars().count() <= NOTES_CHARS_MAX).then(|| text.to_owned())
        }),
        target: target?,
        target_disk: target_disk?,
        image: image?,
        network: network?,
    })
}

/// A string, or `{"content": …}`.
fn read_text(reader: &Reader<'_>, key: &str) -> Option<String> {
    let text = match reader.value(key)? {
        Value::Object(_) => {
            let object = reader.object(key)?;
            let fetched = "nothing is fetched for the first boot: give the text as `content`";
            object.only(&["content"], &[("url", fetched), ("path", fetched)]);
            let text = object.text("content");
            if !object.has("content") {
                object.refuse("content", "is missing");
            }
            text?
        }
        _ => reader.text(key)?,
    };
    match text.len() {
        0 => reader.refuse(key, "is empty: leave it out or give its text"),
        length if length > TEXT_BYTES_MAX => {
            reader.refuse(key, format!("has {length} bytes; at most {TEXT_BYTES_MAX} are allowed"));
        }
        _ => return Some(text.to_owned()),
    }
    None
}

fn check_first_boot(reader: &Reader<'_>, target: Option<Target>, unattend: Option<&str>) {
    match target {
        Some(Target::Linux) if reader.has("unattend_xml") => {
            reader.refuse("unattend_xml", "belongs to install-windows.target: use `user_data`");
        }
        Some(Target::Windows) => {
            for key in ["user_data", "network_config"].into_iter().filter(|key| reader.has(key)) {
                reader.refuse(key, "belongs to install-linux.target: use `unattend_xml`");
            }
            if reader.has("partition_layout") {
                let image = "belongs to install-linux.target: Windows is installed from a whole-disk image";
                reader.refuse("partition_layout", image);
            }
        }
        _ => {}
    }
    let Some(unattend) = unattend else { return };
    match roxmltree::Document::parse(unattend) {
        // A parser's error quotes the text.
        Err(error) => {
            reader.refuse("unattend_xml", format!("is not well-formed XML at line {}", error.pos().row))
        }
        Ok(document) if document.root_element().tag_name().name() != "unattend" => {
            reader.refuse("unattend_xml", "must have the root element `unattend`");
        }
        Ok(_) => {}
    }
}

fn check_versions(reader: &Reader<'_>) {
    for key in ["schema_version", "recipe_version"] {
        let is_one = |text: &str| {
            let is_minor = |minor: &str| !minor.is_empty() && minor.chars().all(|c| c.is_ascii_digit());
            (text == "1" || text.strip_prefix("1.").is_some_and(is_minor)).then_some(())
        };
        reader.parsed(key, "must be 1 or 1.x", is_one);
    }
}

#[cfg(test)]
mod tests;
