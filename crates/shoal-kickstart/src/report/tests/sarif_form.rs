//! The part of SARIF 2.1.0 that is written here, as a table by section of the specification.
//!
//! Closed: a property that is not in the table is a fault, so that a new one is looked up
//! in the specification first. Not a JSON Schema reader. Invariant: every fault names its location.

use serde_json::Value;

/// What a property holds.
pub enum Form {
    Text,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A number of at least this.
    Number(u64),
    /// Percent-encoded, as RFC 3986 wants it.
    Uri,
    /// Free: a property bag.
    Bag,
    Object(&'static Object),
    List(&'static Form),
}

pub struct Object {
    pub required: &'static [(&'static str, Form)],
    pub optional: &'static [(&'static str, Form)],
}

const LEVEL: Form = Form::OneOf(&["none", "note", "warning", "error"]);

/// §3.13
pub static LOG: Object = Object {
    required: &[("version", Form::OneOf(&["2.1.0"])), ("runs", Form::List(&Form::Object(&RUN)))],
    optional: &[("$schema", Form::Uri)],
};
/// §3.14
static RUN: Object = Object {
    required: &[("tool", Form::Object(&TOOL))],
    optional: &[
        ("columnKind", Form::OneOf(&["utf16CodeUnits", "unicodeCodePoints"])),
        ("results", Form::List(&Form::Object(&RESULT))),
    ],
};
/// §3.18
static TOOL: Object = Object { required: &[("driver", Form::Object(&DRIVER))], optional: &[] };
/// §3.19
static DRIVER: Object = Object {
    required: &[("name", Form::Text)],
    optional: &[("version", Form::Text), ("rules", Form::List(&Form::Object(&DESCRIPTOR)))],
};
/// §3.49
static DESCRIPTOR: Object = Object {
    required: &[("id", Form::Text)],
    optional: &[
        ("shortDescription", Form::Object(&MESSAGE)),
        ("fullDescription", Form::Object(&MESSAGE)),
        ("help", Form::Object(&MESSAGE)),
        ("defaultConfiguration", Form::Object(&CONFIGURATION)),
        ("properties", Form::Bag),
    ],
};
/// §3.50
static CONFIGURATION: Object = Object { required: &[], optional: &[("level", LEVEL)] };
/// §3.11 and §3.12
static MESSAGE: Object = Object { required: &[("text", Form::Text)], optional: &[] };
/// §3.27; `ruleId` is optional there, and every result here has one.
static RESULT: Object = Object {
    required: &[("message", Form::Object(&MESSAGE)), ("ruleId", Form::Text)],
    optional: &[
        ("ruleIndex", Form::Number(0)),
        ("level", LEVEL),
        ("locations", Form::List(&Form::Object(&LOCATION))),
        ("suppressions", Form::List(&Form::Object(&SUPPRESSION))),
    ],
};
/// §3.35
static SUPPRESSION: Object = Object {
    required: &[("kind", Form::OneOf(&["inSource", "external"]))],
    optional: &[("justification", Form::Text)],
};
/// §3.28
static LOCATION: Object =
    Object { required: &[("physicalLocation", Form::Object(&PHYSICAL))], optional: &[] };
/// §3.29
static PHYSICAL: Object = Object {
    required: &[("artifactLocation", Form::Object(&ARTIFACT))],
    optional: &[("region", Form::Object(&REGION))],
};
/// §3.4
static ARTIFACT: Object = Object { required: &[("uri", Form::Uri)], optional: &[] };
/// §3.30
static REGION: Object = Object {
    required: &[("startLine", Form::Number(1))],
    optional: &[("startColumn", Form::Number(1)), ("endColumn", Form::Number(1))],
};

/// What is wrong with a log, each fault with its JSON pointer.
pub fn faults(log: &Value) -> Vec<String> {
    let mut found = Vec::new();
    object(&LOG, log, "", &mut found);
    for (at, run) in log["runs"].as_array().into_iter().flatten().enumerate() {
        let rules = run["tool"]["driver"]["rules"].as_array().map_or(&[][..], Vec::as_slice);
        for result in run["results"].as_array().into_iter().flatten() {
            let named = result["ruleIndex"].as_u64().and_then(|index| rules.get(index as usize));
            if named.is_none_or(|rule| rule["id"] != result["ruleId"]) {
                found.push(format!("/runs/{at}: ruleIndex and ruleId name different rules"));
            }
        }
    }
    found
}

fn object(form: &Object, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(members) = value.as_object() else { return found.push(format!("{at}: not an object")) };
    for (name, _) in form.required.iter().filter(|(name, _)| !members.contains_key(*name)) {
        found.push(format!("{at}: {name} is missing"));
    }
    for (name, member) in members {
        match form.required.iter().chain(form.optional).find(|(known, _)| known == name) {
            Some((_, form)) => check(form, member, &format!("{at}/{name}"), found),
            None => found.push(format!("{at}/{name}: not a known property")),
        }
    }
}

fn check(form: &Form, value: &Value, at: &str, found: &mut Vec<String>) {
    let is_uri = |text: &str| {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c);
        !text.is_empty() && text.chars().all(is_allowed)
    };
    let holds = match form {
        Form::Text => value.as_str().is_some_and(|text| !text.is_empty()),
        Form::OneOf(known) => value.as_str().is_some_and(|text| known.contains(&text)),
        Form::Number(least) => value.as_u64().is_some_and(|number| number >= *least),
        Form::Uri => value.as_str().is_some_and(is_uri),
        Form::Bag => value.is_object(),
        Form::Object(form) => return object(form, value, at, found),
        Form::List(form) => {
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                check(form, item, &format!("{at}/{index}"), found);
            }
            value.is_array()
        }
    };
    if !holds {
        found.push(format!("{at}: {value}"));
    }
}
