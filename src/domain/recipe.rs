//! The recipe: from JSON as an operator typed it to a [`JobSpec`] as it is meant.
//!
//! One function, [`parse_recipe`], which reports every fault at once, each with a JSON pointer and a
//! remedy, and never quotes the kickstart. Invariant: a `JobSpec` satisfies every rule of the
//! public contract that needs no BMC and no configuration to check.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::{
    CompletionHook, EsxiSpec, JobSpec, Kickstart, MediaLayout, PathSpec, Serial, TaskTarget, management_url,
};

/// The largest kickstart, in bytes of UTF-8.
pub const KICKSTART_BYTES_MAX: usize = 65_536;
const METADATA_BYTES_MAX: usize = 16 * 1024;
const VARIABLES_BYTES_MAX: usize = 16 * 1024;
/// So many unknown keys are named; a body of 1 MiB could hold a hundred thousand.
const UNKNOWN_KEYS_NAMED_MAX: usize = 20;
/// So much of an unknown key is shown.
const KEY_CHARS_MAX: usize = 40;

const KEYS: [&str; 13] = [
    "task_target",
    "server_serial",
    "ks_cfg",
    "ks.cfg",
    "completion_hook",
    "management_address",
    "media_layout",
    "esxi_installer_url",
    "esxi_installer_sha256",
    "allow_powered_on",
    "templated",
    "variables",
    "metadata",
];

/// One fault of an input: where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct FieldError {
    /// JSON pointer, such as `/ks_cfg`; empty for the whole body.
    pub pointer: String,
    pub message: String,
}

impl FieldError {
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> FieldError {
        FieldError { pointer: pointer.into(), message: message.into() }
    }

    /// Of one member of the body.
    pub fn of_key(key: &str, message: impl Into<String>) -> FieldError {
        let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
        FieldError::new(pointer, message)
    }
}

/// Everything that is wrong with a recipe, at least one fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct RecipeError {
    pub errors: Vec<FieldError>,
}

/// Reads a recipe; `serial` is the server that the job is for, already known to exist.
pub fn parse_recipe(recipe: &Map<String, Value>, serial: &Serial) -> Result<JobSpec, RecipeError> {
    let mut reader = Reader { recipe, errors: Vec::new() };
    reader.refuse_unknown_keys();
    reader.check_serial(serial);
    let target = reader.target();
    let path = reader.esxi();
    let spec = JobSpec {
        path: PathSpec::Esxi(path),
        media_layout: reader.media_layout(),
        allow_powered_on: reader.boolean("allow_powered_on"),
        metadata: reader.metadata(),
    };
    match (target, reader.errors.is_empty()) {
        (Some(TaskTarget::InstallEsxi), true) => Ok(spec),
        _ => Err(RecipeError { errors: reader.errors }),
    }
}

struct Reader<'a> {
    recipe: &'a Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Reader<'_> {
    fn refuse(&mut self, key: &str, message: impl Into<String>) {
        self.errors.push(FieldError::of_key(key, message));
    }

    fn refuse_unknown_keys(&mut self) {
        self.errors.extend(unknown_keys(self.recipe, &KEYS, UNKNOWN_KEYS_NAMED_MAX));
    }

    /// The text under `key`; anything but a string is a fault.
    fn text(&mut self, key: &str) -> Option<String> {
        match self.recipe.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => {
                self.refuse(key, "must be a string");
                None
            }
        }
    }

    fn boolean(&mut self, key: &str) -> bool {
        match self.recipe.get(key) {
            None | Some(Value::Null) => false,
            Some(Value::Bool(value)) => *value,
            Some(_) => {
                self.refuse(key, "must be true or false");
                false
            }
        }
    }

    fn check_serial(&mut self, serial: &Serial) {
        let named = self.text("server_serial");
        if named.is_some_and(|named| named != serial.as_str()) {
            self.refuse("server_serial", format!("names another server than the job's, {serial}"));
        }
    }

    fn target(&mut self) -> Option<TaskTarget> {
        match self.text("task_target").as_deref() {
            Some("install-esxi.target") => return Some(TaskTarget::InstallEsxi),
            Some("install-linux.target" | "install-windows.target") => {
                self.refuse("task_target", "this version installs ESXi only: use install-esxi.target");
            }
            Some(_) => self.refuse("task_target", "unknown target: use install-esxi.target"),
            None if self.recipe.get("task_target").is_none_or(Value::is_null) => {
                self.refuse("task_target", "is missing: use install-esxi.target");
            }
            None => {}
        }
        None
    }

    fn esxi(&mut self) -> EsxiSpec {
        let kickstart = self.kickstart();
        self.check_templating();
        EsxiSpec {
            kickstart: Kickstart::new(kickstart.unwrap_or_default()),
            completion_hook: self.completion_hook(),
            management_address: self.management_address(),
            installer_url: self.installer_url(),
            installer_sha256: self.sha256(),
        }
    }

    fn kickstart(&mut self) -> Option<String> {
        let key = match (self.recipe.contains_key("ks_cfg"), self.recipe.contains_key("ks.cfg")) {
            (true, true) => {
                self.refuse("ks.cfg", "is another name of ks_cfg: give one of the two");
                return None;
            }
            (false, true) => "ks.cfg",
            _ => "ks_cfg",
        };
        let given = self.recipe.get(key).is_some_and(|value| !value.is_null());
        let text = self.text(key);
        match text {
            Some(text) if text.trim().is_empty() => {
                self.refuse(key, "is empty: give the text of the kickstart")
            }
            Some(text) if text.len() > KICKSTART_BYTES_MAX => self
                .refuse(key, format!("has {} bytes; at most {KICKSTART_BYTES_MAX} are allowed", text.len())),
            Some(text) => return Some(text),
            None if !given => self.refuse(key, "is missing: give the text of the kickstart"),
            None => {}
        }
        None
    }

    /// Whoever makes the job renders the template.
    fn check_templating(&mut self) {
        let is_templated = self.boolean("templated");
        let Some(variables) = self.recipe.get("variables").filter(|value| !value.is_null()) else { return };
        if !variables.is_object() {
            self.refuse("variables", "must be an object");
        } else if !is_templated {
            self.refuse("variables", "needs `templated: true`; without it the kickstart is used as it is");
        } else if variables.to_string().len() > VARIABLES_BYTES_MAX {
            self.refuse("variables", format!("is larger than {VARIABLES_BYTES_MAX} bytes of JSON"));
        }
    }

    fn completion_hook(&mut self) -> CompletionHook {
        match self.text("completion_hook").as_deref() {
            None | Some("none") => return CompletionHook::None,
            Some("poweroff") => return CompletionHook::Poweroff,
            Some("webhook") => return CompletionHook::Webhook,
            Some("own-poweroff") => return CompletionHook::OwnPoweroff,
            Some(_) => self.refuse("completion_hook", "use none, poweroff, webhook or own-poweroff"),
        }
        CompletionHook::None
    }

    fn management_address(&mut self) -> Option<String> {
        let text = self.text("management_address")?;
        if management_url(&text).is_none() {
            self.refuse("management_address", "must be a host name or an IP address, with a port if not 443");
        }
        Some(text)
    }

    fn media_layout(&mut self) -> Option<MediaLayout> {
        match self.text("media_layout").as_deref() {
            None | Some("auto") => {}
            Some("dual-cd") => return Some(MediaLayout::DualCd),
            Some("single-cd") => return Some(MediaLayout::SingleCd),
            Some("cd-usb") => return Some(MediaLayout::CdUsb),
            Some(_) => self.refuse("media_layout", "use auto, dual-cd, single-cd or cd-usb"),
        }
        None
    }

    fn installer_url(&mut self) -> Option<Url> {
        let text = self.text("esxi_installer_url")?;
        match Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                if !url.username().is_empty() || url.password().is_some() {
                    self.refuse("esxi_installer_url", "must not hold a user name or password");
                }
                Some(url)
            }
            _ => {
                self.refuse("esxi_installer_url", "must be an http:// or https:// URL");
                None
            }
        }
    }

    fn sha256(&mut self) -> Option<String> {
        let text = self.text("esxi_installer_sha256")?.to_ascii_lowercase();
        if shoal_base::unhex(&text).is_none_or(|bytes| bytes.len() != 32) {
            self.refuse("esxi_installer_sha256", "must be 64 hex digits");
        }
        Some(text)
    }

    fn metadata(&mut self) -> Value {
        let metadata = self.recipe.get("metadata").cloned().unwrap_or(Value::Null);
        if metadata.to_string().len() > METADATA_BYTES_MAX {
            self.refuse("metadata", format!("is larger than {METADATA_BYTES_MAX} bytes of JSON"));
        }
        metadata
    }
}

/// A fault for each key of `object` that is none of `known`, up to `named_max`, and one that counts the others.
pub fn unknown_keys(object: &Map<String, Value>, known: &[&str], named_max: usize) -> Vec<FieldError> {
    let mut unknown = object.keys().filter(|key| !known.contains(&key.as_str()));
    let named = unknown.by_ref().take(named_max).map(|key| {
        let key: String = key.chars().take(KEY_CHARS_MAX).collect();
        let nearest = shoal_base::nearest(&key, known.iter().copied()).unwrap_or_default();
        FieldError::of_key(&key, format!("unknown key; the nearest known one is `{nearest}`"))
    });
    let mut faults: Vec<FieldError> = named.collect();
    let more = unknown.count();
    if more > 0 {
        faults.push(FieldError::new("", format!("has {more} more unknown keys")));
    }
    faults
}

#[cfg(test)]
mod tests;
