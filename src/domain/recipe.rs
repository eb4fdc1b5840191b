//! The recipe: from JSON as an operator typed it to a [`JobSpec`] as it is meant.
//!
//! One function, [`parse_recipe`], which reports all faults together, each with a JSON pointer and a
//! remedy, and never quotes the kickstart. Invariant: a `JobSpec` satisfies every rule of the
//! public contract that needs no BMC and no configuration to check.

use serde_json::{Map, Value};
use url::Url;

use super::{
    CompletionHook, EsxiSpec, FieldError, Fields, JobSpec, Kickstart, MaintenanceSpec, MediaLayout, PathSpec,
    Serial, TaskTarget, VARIABLES_BYTES_MAX, management_url,
};

/// The largest kickstart, in bytes of UTF-8.
pub const KICKSTART_BYTES_MAX: usize = 65_536;
const METADATA_BYTES_MAX: usize = 16 * 1024;

const TARGETS: &str = "use install-esxi.target, install-linux.target or install-windows.target";
/// Keys that every target has.
const SHARED_KEYS: [&str; 4] = ["server_serial", "media_layout", "allow_powered_on", "metadata"];

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

/// Everything that is wrong with a recipe, at least one fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct RecipeError {
    pub errors: Vec<FieldError>,
}

/// Reads a recipe; `serial` is the server that the job is for, already known to exist.
pub fn parse_recipe(recipe: &Map<String, Value>, serial: &Serial) -> Result<JobSpec, RecipeError> {
    match recipe.get("task_target").and_then(Value::as_str) {
        Some("install-linux.target" | "install-windows.target") => parse_maintenance(recipe, serial),
        _ => parse_esxi(recipe, serial),
    }
}

/// A Linux or Windows job: what all paths share is read here, the rest by the crate that the agent shares.
fn parse_maintenance(recipe: &Map<String, Value>, serial: &Serial) -> Result<JobSpec, RecipeError> {
    let is_shared = |key: &str| SHARED_KEYS.contains(&key);
    let (shared, own): (Map<String, Value>, Map<String, Value>) =
        recipe.clone().into_iter().partition(|(key, _)| is_shared(key));
    let mut reader = RecipeReader { recipe: &shared, fields: Fields::new(&shared, &SHARED_KEYS) };
    reader.check_serial(serial);
    let (media_layout, metadata) = (reader.media_layout(), reader.metadata());
    let allow_powered_on = reader.fields.flag("allow_powered_on");
    let mut errors = reader.fields.errors;
    match MaintenanceSpec::parse(own) {
        Ok(spec) if errors.is_empty() => Ok(JobSpec {
            path: PathSpec::Maintenance(Box::new(spec)),
            media_layout,
            allow_powered_on,
            metadata,
        }),
        own => {
            errors.extend(own.err().into_iter().flatten());
            Err(RecipeError { errors })
        }
    }
}

fn parse_esxi(recipe: &Map<String, Value>, serial: &Serial) -> Result<JobSpec, RecipeError> {
    let mut reader = RecipeReader { recipe, fields: Fields::new(recipe, &KEYS) };
    reader.check_serial(serial);
    let target = reader.target();
    let path = reader.esxi();
    let spec = JobSpec {
        path: PathSpec::Esxi(path),
        media_layout: reader.media_layout(),
        allow_powered_on: reader.fields.flag("allow_powered_on"),
        metadata: reader.metadata(),
    };
    match (target, reader.fields.errors.is_empty()) {
        (Some(TaskTarget::InstallEsxi), true) => Ok(spec),
        _ => Err(RecipeError { errors: reader.fields.errors }),
    }
}

struct RecipeReader<'a> {
    recipe: &'a Map<String, Value>,
    fields: Fields<'a>,
}

impl<'a> RecipeReader<'a> {
    fn refuse(&mut self, key: &str, message: impl Into<String>) {
        self.fields.refuse(key, message);
    }

    fn text(&mut self, key: &str) -> Option<&'a str> {
        self.fields.string(key).over(None)
    }

    fn check_serial(&mut self, serial: &Serial) {
        let named = self.text("server_serial");
        if named.is_some_and(|named| named != serial.as_str()) {
            self.refuse("server_serial", format!("names another server than the job's, {serial}"));
        }
    }

    fn target(&mut self) -> Option<TaskTarget> {
        match self.text("task_target") {
            Some("install-esxi.target") => return Some(TaskTarget::InstallEsxi),
            Some(_) => self.refuse("task_target", format!("unknown target: {TARGETS}")),
            None if self.recipe.get("task_target").is_none_or(Value::is_null) => {
                self.refuse("task_target", format!("is missing: {TARGETS}"));
            }
            None => {}
        }
        None
    }

    fn esxi(&mut self) -> EsxiSpec {
        let kickstart = self.kickstart();
        self.check_templating();
        EsxiSpec {
            kickstart: Kickstart::new(kickstart.unwrap_or_default().to_owned()),
            completion_hook: self.completion_hook(),
            management_address: self.management_address(),
            installer_url: self.installer_url(),
            installer_sha256: self.sha256(),
        }
    }

    fn kickstart(&mut self) -> Option<&'a str> {
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

    /// The template itself is rendered when the job is created.
    fn check_templating(&mut self) {
        let is_templated = self.fields.flag("templated");
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
        match self.text("completion_hook") {
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
        if management_url(text).is_none() {
            self.refuse("management_address", "must be a host name or an IP address, with a port if not 443");
        }
        Some(text.to_owned())
    }

    fn media_layout(&mut self) -> Option<MediaLayout> {
        match self.text("media_layout") {
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
        match Url::parse(text) {
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

#[cfg(test)]
mod tests;
