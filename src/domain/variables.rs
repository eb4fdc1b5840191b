//! Variables of a server: values for the templates of kickstarts, by name.
//!
//! Any of them may be a secret, such as the root password of one host: they are stored sealed, and only their names
//! are shown. Invariant: no fault and no `Debug` output holds a value.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{FieldPatch, Fields};

/// As of a recipe's `variables`.
pub const VARIABLES_BYTES_MAX: usize = 16 * 1024;
const VARIABLES_MAX: usize = 128;
const NAME_CHARS_MAX: usize = 63;

/// Values by name: strings, numbers and booleans.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Variables(Map<String, Value>);

/// Variables by name; `None` where one is to be removed.
pub type VariableChanges = BTreeMap<String, Option<Value>>;

impl Variables {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// With `stronger` over them, name by name.
    pub fn under(&self, stronger: Map<String, Value>) -> Map<String, Value> {
        let mut merged = self.0.clone();
        merged.extend(stronger);
        merged
    }

    /// With `changes`, or what is wrong with the whole.
    pub fn merged(mut self, changes: VariableChanges) -> Result<Variables, String> {
        for (name, value) in changes {
            match value {
                Some(value) => drop(self.0.insert(name, value)),
                None => drop(self.0.remove(&name)),
            }
        }
        if self.0.len() > VARIABLES_MAX {
            return Err(format!("there would be more than {VARIABLES_MAX} variables"));
        }
        let size = serde_json::to_string(&self).map_or(usize::MAX, |text| text.len());
        match size > VARIABLES_BYTES_MAX {
            true => Err(format!("would be larger than {VARIABLES_BYTES_MAX} bytes of JSON")),
            false => Ok(self),
        }
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Variables({}, hidden)", self.names().collect::<Vec<_>>().join(", "))
    }
}

/// Names with strings, numbers or booleans. In a merge patch `null` removes a variable.
pub fn read_variables(fields: &mut Fields<'_>, key: &str) -> FieldPatch<VariableChanges> {
    let object = match fields.object(key) {
        FieldPatch::Absent => return FieldPatch::Absent,
        FieldPatch::Null => return FieldPatch::Null,
        FieldPatch::Value(object) => object,
    };
    if object.len() > VARIABLES_MAX {
        fields.refuse(key, format!("has more than {VARIABLES_MAX} variables"));
    }
    let mut changes = VariableChanges::new();
    for (name, value) in object.iter().take(VARIABLES_MAX) {
        match value {
            _ if !is_name(name) => fields.refuse(key, NAME_RULE),
            Value::Null => drop(changes.insert(name.clone(), None)),
            Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                changes.insert(name.clone(), Some(value.clone()));
            }
            Value::Array(_) | Value::Object(_) => {
                fields.refuse(key, format!("the value of `{name}` must be a string, a number or a boolean"));
            }
        }
    }
    FieldPatch::Value(changes)
}

const NAME_RULE: &str = "a variable's name has 1 to 63 letters, digits and underscores, does not begin with a digit, \
     and is not `server`, which is the record of the server";

/// As a template can write it.
fn is_name(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name != "server"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> (FieldPatch<VariableChanges>, Vec<String>) {
        let body = json!({ "variables": value }).as_object().unwrap().clone();
        let mut fields = Fields::new(&body, &["variables"]);
        let read = read_variables(&mut fields, "variables");
        (read, fields.errors.into_iter().map(|error| error.message).collect())
    }

    #[test]
    fn values_are_scalars_and_names_fit_into_templates() {
        let (changes, faults) = read(json!({ "ip": "10.0.0.1", "vlan": 7, "ssh": true, "old": null }));
        assert_eq!(faults, Vec::<String>::new());
        let before = Variables(json!({ "old": 1, "kept": "x" }).as_object().unwrap().clone());
        let merged = before.merged(changes.over(None).unwrap()).unwrap();
        let expected = json!({ "ip": "10.0.0.1", "kept": "x", "ssh": true, "vlan": 7 });
        assert_eq!(serde_json::to_value(&merged).unwrap(), expected);
        for name in ["", "1a", "a-b", "a.b", "server", "ä", &"x".repeat(64)] {
            let (_, faults) = read(json!({ name: "hunter2" }));
            assert!(faults[0].contains("a variable's name"), "{name}: {faults:?}");
            assert!(!faults[0].contains("hunter2"));
        }
        for value in [json!(["hunter2"]), json!({ "a": "hunter2" })] {
            let (_, faults) = read(json!({ "x": value }));
            assert!(faults[0].contains("`x` must be") && !faults[0].contains("hunter2"), "{faults:?}");
        }
    }

    #[test]
    fn their_number_and_size_are_bounded_and_debug_shows_names_only() {
        let large = BTreeMap::from([("a".to_owned(), Some(json!("x".repeat(VARIABLES_BYTES_MAX))))]);
        assert!(Variables::default().merged(large).unwrap_err().contains("bytes of JSON"));
        let many = (0..=VARIABLES_MAX).map(|n| (format!("v{n}"), Some(json!(n)))).collect();
        assert!(Variables::default().merged(many).unwrap_err().contains("more than 128"));
        let secret = BTreeMap::from([("root_password".to_owned(), Some(json!("hunter2")))]);
        let shown = format!("{:?}", Variables::default().merged(secret).unwrap());
        assert!(shown.contains("root_password") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_job_overrides_them_name_by_name() {
        let server = Variables(json!({ "a": 1, "b": 2 }).as_object().unwrap().clone());
        let merged = server.under(json!({ "b": [3], "c": 4 }).as_object().unwrap().clone());
        assert_eq!(Value::Object(merged), json!({ "a": 1, "b": [3], "c": 4 }));
    }
}
