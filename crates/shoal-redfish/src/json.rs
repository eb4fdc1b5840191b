//! What a BMC sends, read leniently: a body into a [`Value`], a property into a Rust type.
//!
//! It knows no resource. Invariant: whatever the bytes are, reading them ends without a panic and
//! gives a value or nothing; a wrong type is an absent property, never an error.
//!
//! Seen on real BMCs (community.general, sushy, captures): `null` and `""` for "none", numbers and
//! booleans as strings, one object where a list belongs, a byte order mark before the body, NUL
//! bytes or text after it, a comma before a closing bracket.

use serde_json::Value;

use super::bounded::BoundedValue;
use shoal_base::visible;

/// Entries of a list that are looked at.
pub(super) const MEMBERS_MAX: usize = 256;
/// A longer text is none: texts are kept in the database and shown in events.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// The body as JSON. A body that is not JSON gets one repair.
///
/// Depth is bounded by `serde_json`'s own limit of 128.
pub(super) fn parse_body(body: &[u8]) -> Result<Value, serde_json::Error> {
    whole_value(body).or_else(|error| first_value(&repair(body)).ok_or(error))
}

fn whole_value(body: &[u8]) -> Result<Value, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = BoundedValue::read(&mut json)?;
    json.end().map(|()| value)
}

/// The first value of `text`; whatever stands after it is ignored.
fn first_value(text: &str) -> Option<Value> {
    BoundedValue::read(&mut serde_json::Deserializer::from_str(text)).ok()
}

/// Without byte order mark, without control bytes around it, without commas before a bracket.
fn repair(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_matches(|c: char| c == '\u{feff}' || c == '\0' || c.is_whitespace());
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        if !in_string && matches!(c, '}' | ']') {
            drop_trailing_comma(&mut out);
        }
        if c == '"' && !escaped {
            in_string = !in_string;
        }
        escaped = in_string && c == '\\' && !escaped;
        out.push(c);
    }
    out
}

fn drop_trailing_comma(out: &mut String) {
    let kept = out.trim_end();
    if kept.ends_with(',') {
        out.truncate(kept.len() - 1);
    }
}

/// The value at a JSON pointer without escapes, for which `Value::pointer` makes two texts of each part.
fn at<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(value, |value, part| match value {
        Value::Object(fields) => fields.get(part),
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// A text; `""` and `null` are none, a number is its digits.
pub(super) fn text(value: &Value, pointer: &str) -> Option<String> {
    match at(value, pointer)? {
        Value::String(text) if text.len() > TEXT_BYTES_MAX => None,
        Value::String(text) => Some(visible(text.trim()).into_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A boolean; `"true"` and `1` are true.
pub(super) fn flag(value: &Value, pointer: &str) -> Option<bool> {
    match at(value, pointer)? {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => number.as_i64().map(|number| number != 0),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// A list, cut at [`MEMBERS_MAX`]; one object or text is a list of itself.
pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    match at(value, pointer) {
        Some(Value::Array(list)) => &list[..list.len().min(MEMBERS_MAX)],
        Some(one @ (Value::Object(_) | Value::String(_))) => std::slice::from_ref(one),
        _ => &[],
    }
}

/// The texts of a list.
pub(super) fn texts(value: &Value, pointer: &str) -> Vec<String> {
    list(value, pointer).iter().filter_map(|item| text(item, "")).collect()
}

/// A link: `{"@odata.id": "…"}`, or the text itself.
pub(super) fn link(value: &Value, pointer: &str) -> Option<String> {
    let target = at(value, pointer)?;
    text(target, "/@odata.id").or_else(|| text(target, "").filter(|_| target.is_string()))
}

/// The links of a list, each once.
pub(super) fn links(value: &Value, pointer: &str) -> Vec<String> {
    let mut found = Vec::new();
    for link in list(value, pointer).iter().filter_map(|item| link(item, "")) {
        if !found.contains(&link) {
            found.push(link);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::bounded::VALUES_MAX;
    use super::*;

    #[test]
    fn what_is_nearly_json_is_repaired_once() {
        let want = json!({"Id": "a,]", "Members": [1, 2]});
        for body in [
            "{\"Id\":\"a,]\",\"Members\":[1,2]}",
            "\u{feff}{\"Id\":\"a,]\",\"Members\":[1,2]}",
            "{\"Id\":\"a,]\",\"Members\":[1,2]}\0\0\0",
            "{\"Id\":\"a,]\",\"Members\":[1,2 , ] ,\n}",
            "{\"Id\":\"a,]\",\"Members\":[1,2]}\r\n<!-- served by lighttpd -->",
        ] {
            assert_eq!(parse_body(body.as_bytes()).unwrap(), want, "{body:?}");
        }
        for body in ["", "<html>", "{\"Id\":", "{\"Id\" 1}"] {
            assert!(parse_body(body.as_bytes()).is_err(), "{body:?}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert!(parse_body("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn the_number_of_values_is_bounded_whatever_they_are() {
        let many = |item: &str, count: usize| vec![item; count].join(",");
        let list = |count| format!("[{}]", many("1", count));
        let members: Vec<String> = (0..VALUES_MAX).map(|n| format!("\"{n}\":0")).collect();
        assert!(parse_body(list(VALUES_MAX - 1).as_bytes()).is_ok());
        for body in
            [list(VALUES_MAX), format!("{{{}}}", members.join(",")), format!("[{}]", many("[]", VALUES_MAX))]
        {
            assert!(parse_body(body.as_bytes()).is_err(), "{} bytes", body.len());
            assert!(parse_body(format!("{body},").as_bytes()).is_err(), "nor is it after the repair");
        }
    }

    #[test]
    fn a_text_that_is_too_long_to_show_is_none() {
        let value = json!({"long": "x".repeat(TEXT_BYTES_MAX + 1), "fits": "x".repeat(TEXT_BYTES_MAX)});
        assert_eq!((text(&value, "/long"), link(&value, "/long")), (None, None));
        assert!(text(&value, "/fits").is_some());
    }

    #[test]
    fn wrong_types_are_read_as_meant_or_as_absent() {
        let value = json!({
            "a": " x ", "empty": "", "null": null, "number": 7, "yes": "True", "one": 1,
            "object": {"@odata.id": "/x"}, "plain": "/y", "list": [{"@odata.id": "/x"}, "/x", null, 3],
        });
        assert_eq!(text(&value, "/a").as_deref(), Some("x"));
        assert_eq!(text(&value, "/number").as_deref(), Some("7"));
        assert_eq!(
            [text(&value, "/empty"), text(&value, "/null"), text(&value, "/object")],
            [None, None, None]
        );
        assert_eq!(
            [flag(&value, "/yes"), flag(&value, "/one"), flag(&value, "/a")],
            [Some(true), Some(true), None]
        );
        assert_eq!(links(&value, "/object"), ["/x"]);
        assert_eq!(links(&value, "/plain"), ["/y"]);
        assert_eq!(links(&value, "/list"), ["/x"]);
        assert!(links(&value, "/null").is_empty());
    }

    #[test]
    fn lists_are_cut_at_their_bound() {
        let value = json!({ "Members": (0..1000).map(|n| json!({"@odata.id": format!("/{n}")})).collect::<Vec<_>>() });
        assert_eq!(links(&value, "/Members").len(), MEMBERS_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_a_panic(body in proptest::collection::vec(any::<u8>(), 0..512)) {
            let read = parse_body(&body);
            if let Ok(value) = serde_json::from_slice::<Value>(&body) {
                prop_assert_eq!(read.as_ref().ok(), Some(&value), "JSON is read as what it is");
            }
            if let Ok(value) = read {
                text(&value, "/a");
                links(&value, "/a");
            }
        }
    }
}
