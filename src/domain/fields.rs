//! Reads the fields of a JSON object one by one and keeps every fault, each with its pointer.
//!
//! It knows JSON and no resource. Invariant: no fault quotes a value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Unknown keys that are named, each a fault of its own; the others are counted. A body of 1 MiB could
/// hold a hundred thousand.
const UNKNOWN_KEYS_NAMED_MAX: usize = 16;
/// So much of an unknown key is shown.
const KEY_CHARS_MAX: usize = 40;
const LABELS_MAX: usize = 32;
const LABEL_NAME_CHARS_MAX: usize = 63;
const LABEL_VALUE_CHARS_MAX: usize = 256;

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

/// What a body says of one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FieldPatch<T> {
    #[default]
    Absent,
    /// `null`: the field is to be empty.
    Null,
    Value(T),
}

impl<T> FieldPatch<T> {
    /// The new value of a field that may be empty and is `before` now.
    pub fn over(self, before: Option<T>) -> Option<T> {
        match self {
            FieldPatch::Absent => before,
            FieldPatch::Null => None,
            FieldPatch::Value(value) => Some(value),
        }
    }

    pub fn value(&self) -> Option<&T> {
        match self {
            FieldPatch::Value(value) => Some(value),
            _ => None,
        }
    }
}

/// Labels by name; `None` where one is to be taken away.
pub type LabelChanges = BTreeMap<String, Option<String>>;

/// `before` with `changes`, or what is wrong with the whole.
pub fn merge_labels(
    mut before: BTreeMap<String, String>,
    changes: LabelChanges,
) -> Result<BTreeMap<String, String>, String> {
    for (name, value) in changes {
        match value {
            Some(value) => drop(before.insert(name, value)),
            None => drop(before.remove(&name)),
        }
    }
    match before.len() > LABELS_MAX {
        true => Err(format!("there would be more than {LABELS_MAX} labels")),
        false => Ok(before),
    }
}

/// The fields of one object, and what was wrong with them so far.
pub struct Fields<'a> {
    object: &'a Map<String, Value>,
    pub errors: Vec<FieldError>,
}

impl<'a> Fields<'a> {
    /// A field that is none of `known` is a fault that names the nearest.
    pub fn new(object: &'a Map<String, Value>, known: &[&str]) -> Fields<'a> {
        Fields { object, errors: unknown_keys(object, known) }
    }

    pub fn refuse(&mut self, key: &str, message: impl Into<String>) {
        self.errors.push(FieldError::of_key(key, message));
    }

    /// Any string.
    pub fn string(&mut self, key: &str) -> FieldPatch<&'a str> {
        self.typed(key, "must be a string", Value::as_str)
    }

    pub fn object(&mut self, key: &str) -> FieldPatch<&'a Map<String, Value>> {
        self.typed(key, "must be an object", Value::as_object)
    }

    pub fn array(&mut self, key: &str) -> FieldPatch<&'a [Value]> {
        self.typed(key, "must be an array", |value| value.as_array().map(Vec::as_slice))
    }

    /// A whole number of `min` at least.
    pub fn count(&mut self, key: &str, min: u32) -> FieldPatch<u32> {
        let read = |value: &Value| u32::try_from(value.as_u64()?).ok().filter(|count| *count >= min);
        self.typed(key, &format!("must be a whole number of at least {min}"), read)
    }

    /// Names with whole numbers of `min` at least.
    pub fn counts(&mut self, key: &str, min: u32) -> BTreeMap<String, u32> {
        let read = |value: &Value| {
            let object = value.as_object()?;
            let count = |value: &Value| u32::try_from(value.as_u64()?).ok().filter(|count| *count >= min);
            let counts = object.iter().map(|(name, value)| {
                is_label(name, "").then_some(())?;
                Some((name.clone(), count(value)?))
            });
            counts.collect::<Option<BTreeMap<_, _>>>().filter(|counts| counts.len() <= LABELS_MAX)
        };
        let must = format!("must be an object of label names with whole numbers of at least {min}");
        self.typed(key, &must, read).over(None).unwrap_or_default()
    }

    pub fn boolean(&mut self, key: &str) -> FieldPatch<bool> {
        self.typed(key, "must be true or false", Value::as_bool)
    }

    /// A boolean that is false where it is absent or `null`.
    pub fn flag(&mut self, key: &str) -> bool {
        self.boolean(key).over(None).unwrap_or(false)
    }

    /// A value that `read` accepts; of any other it is a fault that it `must` be something else.
    fn typed<T>(
        &mut self,
        key: &str,
        must: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> FieldPatch<T> {
        match self.object.get(key) {
            None => return FieldPatch::Absent,
            Some(Value::Null) => return FieldPatch::Null,
            Some(value) => {
                if let Some(value) = read(value) {
                    return FieldPatch::Value(value);
                }
            }
        }
        self.refuse(key, must);
        FieldPatch::Absent
    }

    /// A text of at most `chars_max` characters, none of them a control character.
    pub fn text(&mut self, key: &str, chars_max: usize) -> FieldPatch<String> {
        let text = match self.string(key) {
            FieldPatch::Absent => return FieldPatch::Absent,
            FieldPatch::Null => return FieldPatch::Null,
            FieldPatch::Value(text) => text,
        };
        let fault = if text.is_empty() {
            "is empty".to_owned()
        } else if text.chars().any(char::is_control) {
            "holds a control character".to_owned()
        } else if text.chars().count() > chars_max {
            format!("is longer than {chars_max} characters")
        } else {
            return FieldPatch::Value(text.to_owned());
        };
        self.refuse(key, fault);
        FieldPatch::Absent
    }

    /// A text that `parse` turns into a value, or says what is wrong with it.
    pub fn parsed<T, E: std::fmt::Display>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> FieldPatch<T> {
        match self.text(key, 1_024) {
            FieldPatch::Absent => FieldPatch::Absent,
            FieldPatch::Null => FieldPatch::Null,
            FieldPatch::Value(text) => match parse(&text) {
                Ok(value) => FieldPatch::Value(value),
                Err(error) => {
                    self.refuse(key, error.to_string());
                    FieldPatch::Absent
                }
            },
        }
    }

    /// Names with values, both short texts. In a merge patch `null` takes a label away.
    pub fn labels(&mut self, key: &str) -> FieldPatch<LabelChanges> {
        let object = match self.typed(key, "must be an object of strings", Value::as_object) {
            FieldPatch::Absent => return FieldPatch::Absent,
            FieldPatch::Null => return FieldPatch::Null,
            FieldPatch::Value(object) => object,
        };
        if object.len() > LABELS_MAX {
            self.refuse(key, format!("has more than {LABELS_MAX} labels"));
        }
        let mut labels = BTreeMap::new();
        for (name, value) in object.iter().take(LABELS_MAX) {
            match value {
                Value::Null if is_label(name, "") => drop(labels.insert(name.clone(), None)),
                Value::String(value) if is_label(name, value) => {
                    labels.insert(name.clone(), Some(value.clone()));
                }
                _ => self.refuse(key, LABEL_RULE),
            }
        }
        FieldPatch::Value(labels)
    }
}

/// A fault for each key of `object` that is none of `known`, and one that counts those beyond the limit.
fn unknown_keys(object: &Map<String, Value>, known: &[&str]) -> Vec<FieldError> {
    let mut unknown = object.keys().filter(|key| !known.contains(&key.as_str()));
    let named = unknown.by_ref().take(UNKNOWN_KEYS_NAMED_MAX).map(|key| {
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

const LABEL_RULE: &str = "a label's name has 1 to 63 letters, digits, dots, hyphens, underscores or slashes, \
     its value is a string of at most 256 characters";

fn is_label(name: &str, value: &str) -> bool {
    let is_name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    (1..=LABEL_NAME_CHARS_MAX).contains(&name.len())
        && name.chars().all(is_name_char)
        && value.chars().count() <= LABEL_VALUE_CHARS_MAX
        && !value.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn every_fault_is_kept_with_its_pointer() {
        let body = object(serde_json::json!({"a": 1, "b": "", "c": "x\n", "ab/c": true, "d": "yes"}));
        let mut fields = Fields::new(&body, &["a", "b", "c", "d", "ab_c"]);
        for key in ["a", "b", "c"] {
            assert_eq!(fields.text(key, 9), FieldPatch::Absent);
        }
        assert_eq!(fields.boolean("d"), FieldPatch::Absent);
        let pointers: Vec<&str> = fields.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/ab~1c", "/a", "/b", "/c", "/d"]);
        assert!(fields.errors[0].message.contains("`ab_c`"));
    }

    #[test]
    fn of_many_unknown_keys_some_are_named_and_the_others_counted() {
        let keys = (0..100_000).map(|n| (format!("key{n}{}", "x".repeat(n % 900)), Value::Null));
        let body: Map<String, Value> = keys.collect();
        let fields = Fields::new(&body, &["a", "b"]);
        assert_eq!(fields.errors.len(), UNKNOWN_KEYS_NAMED_MAX + 1);
        assert_eq!(fields.errors.last().unwrap().message, "has 99984 more unknown keys");
        assert!(fields.errors.iter().all(|error| error.pointer.len() <= 41));
    }

    #[test]
    fn null_differs_from_absent() {
        let body = object(serde_json::json!({"a": null, "labels": {"rack": "7", "a b": "c"}}));
        let mut fields = Fields::new(&body, &["a", "labels"]);
        assert_eq!(fields.text("a", 9).over(Some("before".into())), None);
        assert_eq!(fields.text("b", 9).over(Some("before".into())), Some("before".into()));
        assert_eq!(fields.labels("labels").value().unwrap()["rack"], Some("7".to_owned()));
        assert_eq!(fields.errors.len(), 1, "a blank is no part of a label's name");
    }
}
