//! The shared wrappers of columns as values of PostgreSQL, and what statements are given.
//!
//! Every value carries its type, so that a statement needs no preparation: it is parsed, bound and executed in one round
//! trip, unnamed. PostgreSQL's `text` cannot hold the character NUL; it becomes U+FFFD.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

pub(super) use crate::store::row::{Count, Json, Millis, Stored, Word, json};
use crate::store::row::{of_word, word};
use crate::store::versions::{self, Persisted};

type ValueError = Box<dyn std::error::Error + Sync + Send>;

/// What a statement is given for one of its parameters.
#[derive(Debug)]
pub(super) enum PgValue {
    Text(Option<String>),
    Int(Option<i64>),
    Bytes(Option<Vec<u8>>),
    Bool(bool),
    Texts(Vec<String>),
    Ints(Vec<Option<i64>>),
    OptionalTexts(Vec<Option<String>>),
    OptionalBytes(Vec<Option<Vec<u8>>>),
}

impl PgValue {
    pub fn kind(&self) -> Type {
        match self {
            PgValue::Text(_) => Type::TEXT,
            PgValue::Int(_) => Type::INT8,
            PgValue::Bytes(_) => Type::BYTEA,
            PgValue::Bool(_) => Type::BOOL,
            PgValue::Texts(_) => Type::TEXT_ARRAY,
            PgValue::Ints(_) => Type::INT8_ARRAY,
            PgValue::OptionalTexts(_) => Type::TEXT_ARRAY,
            PgValue::OptionalBytes(_) => Type::BYTEA_ARRAY,
        }
    }
}

impl ToSql for PgValue {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, ValueError> {
        match self {
            PgValue::Text(text) => text.to_sql(kind, out),
            PgValue::Int(number) => number.to_sql(kind, out),
            PgValue::Bytes(bytes) => bytes.to_sql(kind, out),
            PgValue::Bool(is) => is.to_sql(kind, out),
            PgValue::Texts(texts) => texts.to_sql(kind, out),
            PgValue::Ints(numbers) => numbers.to_sql(kind, out),
            PgValue::OptionalTexts(texts) => texts.to_sql(kind, out),
            PgValue::OptionalBytes(bytes) => bytes.to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// What can be given for a parameter.
pub(super) trait IntoPgValue {
    /// `NULL` of that type.
    const NULL: PgValue;

    fn into_value(self) -> PgValue;
}

/// The parameters of a statement.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::postgres::row::IntoPgValue::into_value($value)),*] };
}
pub(super) use values;

pub(super) fn stored_text(text: impl Into<String>) -> String {
    let text = text.into();
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

macro_rules! into_value {
    ($kind:ident: $([$($generic:tt)*] $from:ty => $to:expr;)+) => {
        $(impl<$($generic)*> IntoPgValue for $from {
            const NULL: PgValue = PgValue::$kind(None);

            fn into_value(self) -> PgValue {
                let to: fn($from) -> _ = $to;
                PgValue::$kind(Some(to(self)))
            }
        })+
    };
}

into_value!(Text:
    [] &str => |text| stored_text(text);
    [] String => |text| stored_text(text);
    [] &String => |text| stored_text(text.as_str());
    [T: Serialize] Word<T> => |value| word(&value.0);
    [T: Serialize] Json<T> => |value| json(&value.0);
    ['a, T: Persisted] Stored<&'a T> => |value| versions::encode(value.0);
);

into_value!(Int:
    [] Millis => |at| at.0.as_millisecond();
    [] Count => |count| i64::try_from(count.0).unwrap_or(i64::MAX);
    [] i64 => |number| number;
    [] u32 => |number| number.into();
);

into_value!(Bytes:
    [] Vec<u8> => |bytes| bytes;
    [] &[u8] => |bytes| bytes.to_vec();
    [const N: usize] [u8; N] => |bytes| bytes.to_vec();
);

/// One that was chosen before.
impl IntoPgValue for PgValue {
    const NULL: PgValue = PgValue::Text(None);

    fn into_value(self) -> PgValue {
        self
    }
}

impl IntoPgValue for bool {
    const NULL: PgValue = PgValue::Bool(false);

    fn into_value(self) -> PgValue {
        PgValue::Bool(self)
    }
}

impl IntoPgValue for Vec<String> {
    const NULL: PgValue = PgValue::Texts(Vec::new());

    fn into_value(self) -> PgValue {
        PgValue::Texts(self)
    }
}

impl IntoPgValue for Vec<Option<i64>> {
    const NULL: PgValue = PgValue::Ints(Vec::new());

    fn into_value(self) -> PgValue {
        PgValue::Ints(self)
    }
}

impl<T: IntoPgValue> IntoPgValue for Option<T> {
    const NULL: PgValue = T::NULL;

    fn into_value(self) -> PgValue {
        self.map_or(T::NULL, T::into_value)
    }
}

fn text(raw: &[u8]) -> Result<&str, ValueError> {
    Ok(std::str::from_utf8(raw)?)
}

impl<'a> FromSql<'a> for Millis {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Millis, ValueError> {
        Ok(Millis(Timestamp::from_millisecond(i64::from_sql(kind, raw)?)?))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::INT8
    }
}

impl<'a> FromSql<'a> for Count {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Count, ValueError> {
        Ok(Count(u64::try_from(i64::from_sql(kind, raw)?)?))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::INT8
    }
}

impl<'a, T: DeserializeOwned> FromSql<'a> for Json<T> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Json<T>, ValueError> {
        Ok(Json(serde_json::from_str(text(raw)?)?))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TEXT
    }
}

impl<'a, T: Persisted> FromSql<'a> for Stored<T> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Stored<T>, ValueError> {
        Ok(Stored(versions::decode(raw)?))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TEXT
    }
}

impl<'a, T: DeserializeOwned> FromSql<'a> for Word<T> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Word<T>, ValueError> {
        Ok(Word(of_word(text(raw)?)?))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TEXT
    }
}

/// A `bytea` of a fixed length.
pub(super) struct Fixed<const N: usize>(pub [u8; N]);

impl<'a, const N: usize> FromSql<'a> for Fixed<N> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Fixed<N>, ValueError> {
        Ok(Fixed(raw.try_into()?))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::BYTEA
    }
}
