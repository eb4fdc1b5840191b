//! Versions of what is stored as JSON: a job's specification, cursor, facts, read traces and hook report, the
//! limits of a batch, and what is remembered of a BMC and of the hardware that it reports.
//!
//! Each value lies in an envelope that carries the version it was written in: `{"version":2,"value":…}`. Release
//! 0.1.0 wrote its values bare; they are version 1. A value of an earlier version is upgraded step by step while it
//! is read, and written back in the current version by the next save. It is no lenient reader: a value is accepted
//! only if writing it again gives the same JSON, so a field that is unknown, missing or renamed is an error and
//! never a default. Invariant: what cannot be read stays in the database as it is.
//!
//! To change a stored type: raise [`VERSION`] if that version has been released, add the step to `upgrade`, and
//! accept the new shape (`shapes.rs`). `tests/it/stored/` keeps values of every released version.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zeroize::Zeroize as _;

use crate::domain::{
    AddressFacts, BatchLimits, Cursor, Facts, HookReport, MediumTrace, ReadMap, ReadRanges, TaskProgress,
    TaskResult,
};
use shoal_redfish::{BmcMemory, Hardware};

/// The version that this release writes: 1 is 0.1.0, 2 is 0.2.0.
pub const VERSION: u64 = 2;

/// A type whose values are stored in an envelope.
pub(super) trait Persisted: Serialize + DeserializeOwned {
    /// Its texts are wiped from memory once they are read.
    const IS_SECRET: bool = false;

    /// Changes a value of version `from` into one of `from + 1`.
    fn upgrade(value: &mut Value, from: u64);
}

impl Persisted for Cursor {
    fn upgrade(value: &mut Value, from: u64) {
        if from == 1 {
            added(value, "", "looks", json!(0));
            added(value, "/intent", "tries", json!(1));
        }
    }
}

impl Persisted for Facts {
    fn upgrade(value: &mut Value, from: u64) {
        if from == 1 {
            added(value, "/watch", "since_nonce_ms", json!(0));
            added(value, "/watch", "address", json!(AddressFacts::default()));
            added(value, "/watch", "disarmed_unused", json!(false));
            added(value, "/watch", "longest_pause_ms", json!(0));
            added(value, "/watch", "booted_early", json!(false));
            added(value, "/watch", "away_ms", json!(0));
            added(value, "/watch/api", "silent", json!(false));
            added(value, "/reset/api_before", "silent", json!(false));
            added(value, "/cleanup", "warning", json!(null));
            added(value, "/system", "host", json!(null));
            value.pointer_mut("/task_iso").and_then(|task_iso| take(task_iso, "sha256"));
            added(value, "/task_iso", "content_sha256", json!(null));
            added(value, "", "deadline", json!(null));
            // What only ESXi needs lay beside what all paths need.
            let direct = value.pointer_mut("/installer").and_then(|installer| take(installer, "direct"));
            move_to_mounts(value, direct.unwrap_or(json!(false)));
            let api_before = value.pointer_mut("/reset").and_then(|reset| take(reset, "api_before"));
            if let Some(api_before) = api_before {
                added(value, "", "api_before", api_before);
            }
            added(value, "", "installed", json!(null));
            move_to_path(value, "esxi", &["installer", "api_before", "watch", "progress", "installed"]);
        }
    }
}

impl Persisted for MediumTrace {
    fn upgrade(value: &mut Value, from: u64) {
        if from == 1 {
            // By then all of the installer has been read, so as much of it as shows a loader.
            let loaded_at = value.get("read_through_at").cloned().unwrap_or_default();
            added(value, "", "loaded_at", loaded_at);
            added(value, "", "failure_read_at", json!(null));
            added(value, "", "failure_copied", json!(false));
            added(value, "", "started_read_at", json!(null));
            added(value, "", "started_copied", json!(false));
            added(value, "", "ks_read_loaded", json!(false));
            added(value, "", "map", json!(ReadMap::default()));
            added(value, "", "ranges", json!(ReadRanges::default()));
        }
    }
}

impl Persisted for HookReport {
    fn upgrade(_: &mut Value, _: u64) {}
}

impl Persisted for TaskResult {
    fn upgrade(_: &mut Value, _: u64) {}
}

impl Persisted for TaskProgress {
    fn upgrade(_: &mut Value, _: u64) {}
}

impl Persisted for BatchLimits {
    fn upgrade(_: &mut Value, _: u64) {}
}

impl Persisted for Hardware {
    fn upgrade(_: &mut Value, _: u64) {}
}

impl Persisted for BmcMemory {
    fn upgrade(value: &mut Value, from: u64) {
        if from == 1 {
            added(value, "", "boot_clear", json!(null));
            added(value, "", "links", json!(BmcMemory::default().links));
        }
    }
}

/// Gives the object at `pointer` a field that it did not have in the version before.
fn added(value: &mut Value, pointer: &str, field: &str, initial: Value) {
    if let Some(object) = value.pointer_mut(pointer).and_then(Value::as_object_mut)
        && !object.contains_key(field)
    {
        object.insert(field.to_owned(), initial);
    }
}

/// Removes a field of an object.
pub(super) fn take(value: &mut Value, field: &str) -> Option<Value> {
    value.as_object_mut()?.remove(field)
}

/// Version 1 named the drives and not what the host reads from them.
fn move_to_mounts(value: &mut Value, direct: Value) {
    let layout = take(value, "layout").unwrap_or_default();
    let mut mount = |slot: &str, gone: &str, drive: &str, direct: Value| {
        let mut mount = take(value, slot)?;
        let gone = value.get_mut("cleanup").and_then(|cleanup| take(cleanup, gone));
        added(&mut mount, "", "gone", gone.unwrap_or_default());
        added(&mut mount, "", "drive", json!(drive));
        added(&mut mount, "", "direct", direct);
        added(&mut mount, "", "left_open", json!([]));
        Some(mount)
    };
    let boot = mount("cd1", "installer", "cd", direct);
    let task = mount("cd2", "task", if layout == "cd-usb" { "usb" } else { "cd" }, json!(false));
    added(value, "", "mounts", json!({ "boot": boot, "task": task, "on_one_cd": layout == "single-cd" }));
}

/// Moves the fields of one path into an object of their own, as it is in version 2.
pub(super) fn move_to_path(value: &mut Value, path: &str, fields: &[&str]) {
    let taken = fields.iter().filter_map(|field| Some(((*field).to_owned(), take(value, field)?)));
    let of_path = Value::Object(taken.collect());
    added(value, "", "path", json!({ path: of_path }));
}

/// Why a stored value is not read. Quotes names of fields and no values.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum VersionError {
    #[error(
        "it was stored by a newer release (version {found}; this release reads versions up to {VERSION})"
    )]
    Newer { found: u64 },
    #[error("it is not a value that this release stores")]
    Malformed,
    #[error("its field {pointer} is not one that version {VERSION} has")]
    Unknown { pointer: String },
    #[error("its field {pointer} is missing")]
    Missing { pointer: String },
    #[error("its field {pointer} does not hold a value that this release writes")]
    Different { pointer: String },
}

/// The value in its envelope, as JSON text.
pub(super) fn encode(value: &impl Persisted) -> String {
    #[derive(Serialize)]
    struct Envelope<'a, T> {
        version: u64,
        value: &'a T,
    }
    let envelope = Envelope { version: VERSION, value };
    serde_json::to_string(&envelope).expect("stored types have string keys and no failing parts")
}

/// The value of an envelope, or of bare version 1.
pub(super) fn decode<T: Persisted>(text: &[u8]) -> Result<T, VersionError> {
    as_written(text).map_or_else(|| examined(text), Ok)
}

/// A value that this version wrote, as nearly all are: its text is the one that would be written again.
fn as_written<T: Persisted>(text: &[u8]) -> Option<T> {
    let value =
        text.strip_prefix(format!("{{\"version\":{VERSION},\"value\":").as_bytes())?.strip_suffix(b"}")?;
    let read: T = serde_json::from_slice(value).ok()?;
    let mut expected = Expected(value);
    let is_same = serde_json::to_writer(&mut expected, &read).is_ok() && expected.0.is_empty();
    is_same.then_some(read)
}

/// Takes what it expects and fails at anything else.
struct Expected<'a>(&'a [u8]);

impl io::Write for Expected<'_> {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(written).ok_or(io::ErrorKind::InvalidData)?;
        Ok(written.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The value of whatever version, or what is wrong with it.
fn examined<T: Persisted>(text: &[u8]) -> Result<T, VersionError> {
    let stored: Value = serde_json::from_slice(text).map_err(|_| VersionError::Malformed)?;
    let (version, mut value) = opened(stored)?;
    if version > VERSION {
        return Err(VersionError::Newer { found: version });
    }
    for from in version..VERSION {
        T::upgrade(&mut value, from);
    }
    let read = T::deserialize(&value).map_err(|_| VersionError::Malformed);
    let compared = read.and_then(|read| {
        let mut again = written(&read);
        let difference = difference(&value, &again, String::new());
        wipe::<T>(&mut again);
        difference.map_or(Ok(read), Err)
    });
    wipe::<T>(&mut value);
    compared
}

fn wipe<T: Persisted>(value: &mut Value) {
    match value {
        _ if !T::IS_SECRET => {}
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe::<T>),
        Value::Object(fields) => fields.values_mut().for_each(wipe::<T>),
        _ => {}
    }
}

/// Version and value of an envelope; bare values are of version 1.
fn opened(stored: Value) -> Result<(u64, Value), VersionError> {
    match stored {
        Value::Object(mut fields) if fields.len() == 2 && fields.contains_key("value") => {
            let version = fields.get("version").and_then(Value::as_u64).ok_or(VersionError::Malformed)?;
            Ok((version, fields.remove("value").unwrap_or_default()))
        }
        bare => Ok((1, bare)),
    }
}

fn written(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("stored types have string keys and no failing parts")
}

/// The first place where `again`, what would be written, is not what is stored.
fn difference(stored: &Value, again: &Value, pointer: String) -> Option<VersionError> {
    match (stored, again) {
        (Value::Object(stored), Value::Object(again)) => {
            let of = |key: &str| format!("{pointer}/{key}");
            if let Some(key) = stored.keys().find(|key| !again.contains_key(*key)) {
                return Some(VersionError::Unknown { pointer: of(key) });
            }
            again.iter().find_map(|(key, again)| match stored.get(key) {
                Some(stored) => difference(stored, again, of(key)),
                None => Some(VersionError::Missing { pointer: of(key) }),
            })
        }
        (Value::Array(stored), Value::Array(again)) if stored.len() == again.len() => {
            let pairs = stored.iter().zip(again).enumerate();
            pairs
                .into_iter()
                .find_map(|(index, (stored, again))| difference(stored, again, format!("{pointer}/{index}")))
        }
        (stored, again) if stored == again => None,
        _ if pointer.is_empty() => Some(VersionError::Malformed),
        _ => Some(VersionError::Different { pointer }),
    }
}

#[cfg(test)]
mod shapes;
#[cfg(test)]
mod tests;
