//! Envelopes, upgrades and what is refused.

use super::*;
use serde::{Deserialize, Serialize};

/// Version 1 had `old`; version 2 calls it `new` and counts from it.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Sample {
    new: Option<u32>,
    list: Vec<Inner>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Inner {
    name: String,
}

impl Persisted for Sample {
    fn upgrade(value: &mut Value, from: u64) {
        assert_eq!(from, 1);
        if let Some(old) = value.as_object_mut().and_then(|fields| fields.remove("old")) {
            value["new"] = old;
        }
    }
}

fn read(value: Value) -> Result<Sample, VersionError> {
    decode(value.to_string().as_bytes())
}

fn current(value: Value) -> Value {
    json!({ "version": VERSION, "value": value })
}

#[test]
fn what_is_written_is_read_again() {
    let sample = Sample { new: Some(7), list: vec![Inner { name: "x".to_owned() }] };
    let text = encode(&sample);
    assert!(text.starts_with("{\"version\":2,"), "{text}");
    assert_eq!(decode::<Sample>(text.as_bytes()), Ok(sample));
}

/// What this version wrote is read by its text; the examination, which takes all others, would give the same.
#[test]
fn a_text_that_would_be_written_again_needs_no_examination() {
    let sample = Sample { new: Some(7), list: vec![Inner { name: "\"\n\u{e9}".to_owned() }] };
    let text = encode(&sample);
    assert_eq!(as_written(text.as_bytes()), Some(sample));
    assert_eq!(as_written::<Sample>(text.as_bytes()), examined(text.as_bytes()).ok());
    for (from, to) in [
        ("\"version\":2", "\"version\":1"),
        ("\"version\":2", "\"version\": 2"),
        ("\"new\":7", "\"new\":7,\"newer\":1"),
        ("\"new\":7", "\"new\":7,\"new\":7"),
        ("\"new\":7,", ""),
        ("\u{e9}", "\\u00e9"),
        ("}}", "}} "),
        ("}}", "},\"value\":1}"),
    ] {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text, "{from}");
        assert_eq!(as_written::<Sample>(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn a_bare_value_is_of_version_1_and_is_upgraded() {
    let sample = Sample { new: Some(7), list: vec![] };
    assert_eq!(read(json!({ "old": 7, "list": [] })), Ok(sample));
    assert_eq!(read(json!({ "version": 1, "value": { "old": 7, "list": [] } })).unwrap().new, Some(7));
}

#[test]
fn nothing_is_defaulted_and_nothing_is_ignored() {
    let at = |pointer: &str| pointer.to_owned();
    for (value, error) in [
        (json!({ "list": [] }), VersionError::Missing { pointer: at("/new") }),
        (json!({ "new": null, "lists": [] }), VersionError::Unknown { pointer: at("/lists") }),
        (json!({ "new": null, "list": [{}] }), VersionError::Missing { pointer: at("/list/0/name") }),
        (
            json!({ "new": null, "list": [{ "name": "", "x": 1 }] }),
            VersionError::Unknown { pointer: at("/list/0/x") },
        ),
        (json!({ "new": "7", "list": [] }), VersionError::Malformed),
        (json!({ "new": -7, "list": [] }), VersionError::Malformed),
        (json!([]), VersionError::Malformed),
        (json!(null), VersionError::Malformed),
    ] {
        assert_eq!(read(current(value.clone())), Err(error), "{value}");
    }
}

#[test]
fn a_newer_version_is_refused_whatever_it_holds() {
    let newer = json!({ "version": VERSION + 1, "value": { "new": 7, "list": [] } });
    assert_eq!(read(newer), Err(VersionError::Newer { found: VERSION + 1 }));
    for version in [json!(-1), json!("2"), json!(null), json!(2.5)] {
        let value = json!({ "version": version, "value": { "new": 7, "list": [] } });
        assert_eq!(read(value), Err(VersionError::Malformed));
    }
}

#[test]
fn a_field_that_was_renamed_by_a_hand_is_an_error_in_every_stored_type() {
    fn check<T: Persisted>(value: T) {
        let stored: Value = serde_json::from_str(&encode(&value)).unwrap();
        let fields: Vec<String> = stored["value"].as_object().unwrap().keys().cloned().collect();
        for field in fields {
            for wrapped in [true, false] {
                let mut changed = stored.clone();
                let value = changed["value"].as_object_mut().unwrap();
                let moved = value.remove(&field).unwrap();
                value.insert(format!("{field}_x"), moved);
                let changed = if wrapped { changed } else { changed["value"].take() };
                assert!(decode::<T>(changed.to_string().as_bytes()).is_err(), "{field} {wrapped}");
            }
        }
    }
    let now = jiff::Timestamp::UNIX_EPOCH;
    check(Cursor::start(now));
    check(Facts::default());
    check(MediumTrace::default());
    check(HookReport { at: now, succeeded: true });
    check(BmcMemory::default());
}
