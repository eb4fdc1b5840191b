//! Reads one JSON object strictly: every key is known, every fault is noted with its pointer.
//!
//! Not a schema: the callers hold the rules. Invariant: a method that returns `None` for a key that is present has
//! noted a fault.

use std::cell::RefCell;

use serde_json::{Map, Value};

use crate::fault::{Fault, RecipeFaults};

/// So many unknown keys of one object are named.
const UNKNOWN_KEYS_NAMED_MAX: usize = 20;
/// So much of an unknown key is shown.
const KEY_CHARS_MAX: usize = 40;

/// One object of the document and where it is.
pub struct Reader<'a> {
    object: &'a Map<String, Value>,
    pointer: String,
    faults: &'a RefCell<Vec<Fault>>,
}

/// Reads `object` by `read` and returns its value, or all the faults that were noted meanwhile.
pub fn read_document<T>(
    object: &Map<String, Value>,
    read: impl FnOnce(&Reader<'_>) -> Option<T>,
) -> Result<T, RecipeFaults> {
    let faults = RefCell::new(Vec::new());
    let value = read(&Reader { object, pointer: String::new(), faults: &faults });
    let mut faults = faults.into_inner();
    match value {
        Some(value) if faults.is_empty() => Ok(value),
        _ => {
            if faults.is_empty() {
                faults.push(Fault { pointer: String::new(), message: "is incomplete".to_owned() });
            }
            Err(RecipeFaults(faults))
        }
    }
}

impl<'a> Reader<'a> {
    pub fn refuse(&self, key: &str, message: impl Into<String>) {
        let pointer = match key {
            "" => self.pointer.clone(),
            key => self.pointer_of(key),
        };
        self.faults.borrow_mut().push(Fault { pointer, message: message.into() });
    }

    fn pointer_of(&self, key: &str) -> String {
        format!("{}/{}", self.pointer, key.replace('~', "~0").replace('/', "~1"))
    }

    /// Notes every key that is none of `known`; `reasons` are keys that are refused on purpose.
    pub fn only(&self, known: &[&str], reasons: &[(&str, &str)]) {
        let mut unknown = self.object.keys().filter(|key| !known.contains(&key.as_str())).peekable();
        for key in unknown.by_ref().take(UNKNOWN_KEYS_NAMED_MAX) {
            if let Some((_, reason)) = reasons.iter().find(|(name, _)| name == key) {
                self.refuse(key, *reason);
                continue;
            }
            let key: String = key.chars().take(KEY_CHARS_MAX).collect();
            let nearest = shoal_base::nearest(&key, known.iter().copied()).unwrap_or_default();
            self.refuse(&key, format!("unknown key; the nearest known one is `{nearest}`"));
        }
        if unknown.peek().is_some() {
            self.refuse("", format!("has {} more unknown keys", unknown.count()));
        }
    }

    /// The value under `key`; `null` means that it is absent.
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    pub fn text(&self, key: &str) -> Option<&'a str> {
        let text = self.value(key)?.as_str();
        if text.is_none() {
            self.refuse(key, "must be a string");
        }
        text
    }

    pub fn flag(&self, key: &str) -> bool {
        match self.value(key) {
            None => false,
            Some(Value::Bool(value)) => *value,
            Some(_) => {
                self.refuse(key, "must be true or false");
                false
            }
        }
    }

    /// A text that `parse` understands; otherwise the fault says what it must be.
    pub fn parsed<T>(&self, key: &str, must: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let parsed = parse(self.text(key)?);
        if parsed.is_none() {
            self.refuse(key, must);
        }
        parsed
    }

    /// One of several words.
    pub fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let must = format!("use {}", words.join(", "));
        self.parsed(key, &must, |text| {
            choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
        })
    }

    /// The object under `key`.
    pub fn object(&self, key: &str) -> Option<Reader<'a>> {
        match self.value(key)? {
            Value::Object(object) => {
                Some(Reader { object, pointer: self.pointer_of(key), faults: self.faults })
            }
            _ => {
                self.refuse(key, "must be an object");
                None
            }
        }
    }

    /// The objects of the list under `key`, 1 to `max`; nothing where it is absent or something else.
    pub fn objects(&self, key: &str, max: usize) -> Option<Vec<Reader<'a>>> {
        let values = self.value(key)?;
        let Some(values) = values.as_array().filter(|values| (1..=max).contains(&values.len())) else {
            self.refuse(key, format!("must be a list of 1 to {max} objects"));
            return None;
        };
        let object = |(index, value): (usize, &'a Value)| {
            let pointer = format!("{}/{index}", self.pointer_of(key));
            let Some(object) = value.as_object() else {
                self.faults.borrow_mut().push(Fault { pointer, message: "must be an object".to_owned() });
                return None;
            };
            Some(Reader { object, pointer, faults: self.faults })
        };
        let objects: Vec<Option<Reader<'a>>> = values.iter().enumerate().map(object).collect();
        objects.into_iter().collect()
    }

    /// A list of texts that `parse` understands, at most `max`; an absent one is empty.
    pub fn list<T>(&self, key: &str, max: usize, must: &str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(values) = value.as_array().filter(|values| values.len() <= max) else {
            self.refuse(key, format!("must be a list of at most {max} strings"));
            return Vec::new();
        };
        let mut found = Vec::new();
        for (index, value) in values.iter().enumerate() {
            match value.as_str().and_then(&parse) {
                Some(value) => found.push(value),
                None => {
                    let pointer = format!("{}/{index}", self.pointer_of(key));
                    self.faults.borrow_mut().push(Fault { pointer, message: must.to_owned() });
                }
            }
        }
        found
    }
}
