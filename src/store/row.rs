//! Domain values as columns: wrappers that each engine reads from and writes to its own columns.
//!
//! Times are milliseconds since 1970, enums the words of their serde form, JSON is text. Invariant: what was written
//! reads back equal, and what cannot be read is an error and never a panic.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::{DeserializeOwned, IntoDeserializer as _};

/// A time, as milliseconds since 1970.
pub(super) struct Millis(pub Timestamp);

/// A value as JSON text.
pub(super) struct Json<T>(pub T);

/// A value in its versioned envelope.
pub(super) struct Stored<T>(pub T);

/// A value whose serde form is one word: an id, a serial number, a variant of an enum.
pub(super) struct Word<T>(pub T);

/// A count that is never negative, as a signed integer.
pub(super) struct Count(pub u64);

/// JSON text of a domain value.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("domain types have string keys and no failing parts")
}

/// The word that is the serde form of a value.
pub(super) fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).ok();
    let word = value.as_ref().and_then(|value| value.as_str()).map(str::to_owned);
    word.expect("words are enums without fields, ids and serial numbers")
}

/// The value whose serde form is this word.
pub(super) fn of_word<T: DeserializeOwned>(word: &str) -> Result<T, serde::de::value::Error> {
    let word: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = word.into_deserializer();
    T::deserialize(word)
}
