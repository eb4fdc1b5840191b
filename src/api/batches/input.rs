//! What a request for a batch says: the recipe, the servers, the limits.
//!
//! It reads JSON and looks nothing up. Invariant: a fault has a pointer into the body, and quotes no value.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::error::ApiError;
use crate::domain::{BatchLimits, FieldError, FieldPatch, Fields, Serial};
use crate::store::BATCH_ROWS_MAX;

const NAME_CHARS_MAX: usize = 120;
const LABELS_MAX: usize = 32;
const KEYS: [&str; 12] = [
    "name",
    "recipe",
    "servers",
    "labels",
    "canary",
    "max_parallel",
    "max_failures",
    "per_label_parallel",
    "per_label_failures",
    "not_before",
    "not_after",
    "place_timeout",
];

/// A batch of jobs: one recipe for many servers.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape is used, by the API's description")]
pub struct BatchInput {
    #[schema(min_length = 1, max_length = 120)]
    name: Option<String>,
    /// As of a job, without `server_serial`.
    #[schema(value_type = Object)]
    recipe: Value,
    /// In the order in which they start. Either `servers` or `labels` is required.
    #[schema(min_items = 1, max_items = 5000)]
    servers: Option<Vec<BatchRowInput>>,
    /// `name=value`: all servers with these labels. One name given twice is OR, different names AND.
    #[schema(min_items = 1, max_items = 32)]
    labels: Option<Vec<String>>,
    /// So many rows must succeed before the others start; a failure among them halts the batch. 0 by default.
    canary: Option<u32>,
    /// So many rows run at the same time; without it as many as `WORKER_CONCURRENCY` lets run.
    #[schema(minimum = 1)]
    max_parallel: Option<u32>,
    /// One more failure than these halts the batch; without it none does.
    max_failures: Option<u32>,
    /// By label name: so many rows with the same value run at the same time, such as `{"rack": 2}`. Servers without
    /// the label are one group.
    per_label_parallel: Option<BTreeMap<String, u32>>,
    /// By label name: one more failure than these holds back the other rows with the same value.
    per_label_failures: Option<BTreeMap<String, u32>>,
    /// No row starts before.
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<String>,
    /// No row starts from then on; if rows are left, the batch is halted.
    #[schema(value_type = Option<String>, format = DateTime)]
    not_after: Option<String>,
    /// A row that runs for longer no longer counts as running, such as `90m`. `2h` by default.
    place_timeout: Option<String>,
}

/// One server of a batch.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape is used, by the API's description")]
pub enum BatchRowInput {
    Serial(String),
    Row(RowInput),
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape is used, by the API's description")]
pub struct RowInput {
    serial: String,
    /// Merged over the recipe's `variables`.
    #[schema(value_type = Option<Object>)]
    variables: Option<Value>,
    /// Merged over the recipe, by the rules of a JSON merge patch (RFC 7396).
    #[schema(value_type = Option<Object>)]
    recipe: Option<Value>,
}

/// What was requested, as far as the body alone shows that it is sound.
pub struct BatchRequest {
    pub name: Option<String>,
    pub recipe: Map<String, Value>,
    pub servers: Selection,
    pub limits: BatchLimits,
}

pub enum Selection {
    Rows(Vec<RequestedRow>),
    Labels(LabelFilter),
}

pub struct RequestedRow {
    pub serial: Serial,
    pub variables: Map<String, Value>,
    pub recipe: Map<String, Value>,
}

/// Values by label name: any of the values, of each of the names.
#[derive(Debug, PartialEq, Eq)]
pub struct LabelFilter(BTreeMap<String, BTreeSet<String>>);

impl LabelFilter {
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|(name, values)| labels.get(name).is_some_and(|value| values.contains(value)))
    }
}

impl BatchRequest {
    pub fn read(body: &Map<String, Value>) -> Result<BatchRequest, ApiError> {
        let mut fields = Fields::new(body, &KEYS);
        let name = fields.text("name", NAME_CHARS_MAX).over(None);
        let recipe = fields.object("recipe");
        if recipe.value().is_some_and(|recipe| recipe.contains_key("server_serial")) {
            fields.errors.push(FieldError::new(
                "/recipe/server_serial",
                "names one server: leave it out, and give `servers` or `labels`",
            ));
        } else if recipe.value().is_none() && !body.contains_key("recipe") {
            fields.refuse("recipe", "is missing");
        }
        let servers = selection(&mut fields);
        let limits = limits(&mut fields);
        match (recipe.over(None), servers) {
            (Some(recipe), Some(servers)) if fields.errors.is_empty() => {
                Ok(BatchRequest { name, recipe: recipe.clone(), servers, limits })
            }
            _ => Err(ApiError::invalid("invalid batch", fields.errors)),
        }
    }
}

fn selection(fields: &mut Fields<'_>) -> Option<Selection> {
    match (fields.array("servers"), fields.array("labels")) {
        (FieldPatch::Value(rows), FieldPatch::Absent | FieldPatch::Null) => {
            requested_rows(fields, rows).map(Selection::Rows)
        }
        (FieldPatch::Absent | FieldPatch::Null, FieldPatch::Value(labels)) => {
            label_filter(fields, labels).map(Selection::Labels)
        }
        (FieldPatch::Value(_), FieldPatch::Value(_)) => {
            fields.refuse("labels", "does not go beside `servers`: give one of them");
            None
        }
        _ => {
            if fields.errors.is_empty() {
                fields.refuse("servers", "is missing: give `servers` or `labels`");
            }
            None
        }
    }
}

fn requested_rows(fields: &mut Fields<'_>, rows: &[Value]) -> Option<Vec<RequestedRow>> {
    if !(1..=BATCH_ROWS_MAX).contains(&rows.len()) {
        fields.refuse("servers", format!("must name 1 to {BATCH_ROWS_MAX} servers"));
        return None;
    }
    let mut seen = BTreeMap::new();
    let mut requested = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        match requested_row(row) {
            Ok(row) => {
                if let Some(first) = seen.insert(row.serial.clone(), index) {
                    let message = format!("server {} is in row {} already", row.serial, first + 1);
                    fields.errors.push(FieldError::new(format!("/servers/{index}"), message));
                }
                requested.push(row);
            }
            Err(faults) => {
                fields.errors.extend(faults.into_iter().map(|fault| {
                    FieldError::new(format!("/servers/{index}{}", fault.pointer), fault.message)
                }))
            }
        }
    }
    Some(requested)
}

fn requested_row(row: &Value) -> Result<RequestedRow, Vec<FieldError>> {
    let serial = |text: &str| text.parse::<Serial>();
    match row {
        Value::String(text) => {
            let serial = serial(text).map_err(|error| vec![FieldError::new("", error.to_string())])?;
            Ok(RequestedRow { serial, variables: Map::new(), recipe: Map::new() })
        }
        Value::Object(row) => {
            let mut fields = Fields::new(row, &["serial", "variables", "recipe"]);
            let serial = fields.parsed("serial", serial).over(None);
            if serial.is_none() && fields.errors.is_empty() {
                fields.refuse("serial", "is missing");
            }
            let mut object = |key| fields.object(key).over(None).cloned().unwrap_or_default();
            let (variables, recipe) = (object("variables"), object("recipe"));
            if recipe.contains_key("server_serial") {
                fields.errors.push(FieldError::new("/recipe/server_serial", "is given by `serial`"));
            }
            match serial {
                Some(serial) if fields.errors.is_empty() => Ok(RequestedRow { serial, variables, recipe }),
                _ => Err(fields.errors),
            }
        }
        _ => Err(vec![FieldError::new("", "must be a serial number, or an object with `serial`")]),
    }
}

fn label_filter(fields: &mut Fields<'_>, labels: &[Value]) -> Option<LabelFilter> {
    let mut filter: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    if !(1..=LABELS_MAX).contains(&labels.len()) {
        fields.refuse("labels", format!("must hold 1 to {LABELS_MAX} labels"));
        return None;
    }
    for (index, label) in labels.iter().enumerate() {
        match label.as_str().and_then(|label| label.split_once('=')) {
            Some((name, value)) if !name.is_empty() => {
                filter.entry(name.to_owned()).or_default().insert(value.to_owned());
            }
            _ => fields.errors.push(FieldError::new(format!("/labels/{index}"), "must be `name=value`")),
        }
    }
    Some(LabelFilter(filter))
}

fn limits(fields: &mut Fields<'_>) -> BatchLimits {
    let limits = BatchLimits {
        canary: fields.count("canary", 0).over(None).unwrap_or(0),
        max_parallel: fields.count("max_parallel", 1).over(None),
        max_failures: fields.count("max_failures", 0).over(None),
        per_label_parallel: fields.counts("per_label_parallel", 1),
        per_label_failures: fields.counts("per_label_failures", 0),
        not_before: time(fields, "not_before").over(None),
        not_after: time(fields, "not_after").over(None),
        place_timeout_secs: fields
            .parsed("place_timeout", place_timeout)
            .over(None)
            .unwrap_or(BatchLimits::PLACE_TIMEOUT)
            .as_secs(),
    };
    check_window(fields, limits.not_before, limits.not_after);
    limits
}

fn check_window(fields: &mut Fields<'_>, not_before: Option<Timestamp>, not_after: Option<Timestamp>) {
    if let (Some(from), Some(to)) = (not_before, not_after)
        && from >= to
    {
        fields.refuse("not_after", "is not later than not_before: no row could start");
    }
}

fn time(fields: &mut Fields<'_>, key: &str) -> FieldPatch<Timestamp> {
    fields.parsed(key, |text| {
        text.parse::<Timestamp>()
            .map_err(|_| "must be a time with its zone, such as 2026-12-01T22:00:00+01:00")
    })
}

fn place_timeout(text: &str) -> Result<Duration, &'static str> {
    let duration = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    let allowed = Duration::from_secs(60)..=Duration::from_secs(7 * 24 * 60 * 60);
    duration
        .filter(|duration| allowed.contains(duration))
        .ok_or("must be a duration from 1m to 7d, such as 90m")
}

/// A new window for a batch that is resumed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape is used, by the API's description")]
pub struct ResumeInput {
    /// `null` removes it; absent, it stays.
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<String>,
    /// `null` removes it; absent, it stays.
    #[schema(value_type = Option<String>, format = DateTime)]
    not_after: Option<String>,
}

pub type Window = (FieldPatch<Timestamp>, FieldPatch<Timestamp>);

/// Reads a [`ResumeInput`]; `before` has the limits that stand.
pub fn window(body: &Map<String, Value>, before: &BatchLimits) -> Result<Window, ApiError> {
    let mut fields = Fields::new(body, &["not_before", "not_after"]);
    let (from, to) = (time(&mut fields, "not_before"), time(&mut fields, "not_after"));
    check_window(&mut fields, from.clone().over(before.not_before), to.clone().over(before.not_after));
    match fields.errors.is_empty() {
        true => Ok((from, to)),
        false => Err(ApiError::invalid("invalid request to resume a batch", fields.errors)),
    }
}

/// `patch` over `recipe`, by the rules of RFC 7396.
pub fn merge(recipe: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => drop(recipe.remove(&key)),
            Value::Object(patch) => {
                let target = recipe.entry(key).or_insert_with(|| Value::Object(Map::new()));
                if !target.is_object() {
                    *target = Value::Object(Map::new());
                }
                if let Value::Object(target) = target {
                    merge(target, patch);
                }
            }
            value => drop(recipe.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Result<BatchRequest, Vec<String>> {
        BatchRequest::read(body.as_object().unwrap()).map_err(|error| match error {
            ApiError::Invalid { errors, .. } => errors.iter().map(ToString::to_string).collect(),
            error => panic!("{error}"),
        })
    }

    #[test]
    fn rows_are_serials_or_objects() {
        let row = json!({"serial": "B", "variables": {"ip": "10.0.0.2"}});
        let request =
            read(&json!({"recipe": {}, "servers": ["A", row], "place_timeout": "90m"})).ok().unwrap();
        let Selection::Rows(rows) = request.servers else { panic!("rows") };
        assert_eq!(rows.iter().map(|row| row.serial.as_str()).collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(rows[1].variables["ip"], "10.0.0.2");
        assert_eq!(request.limits.place_timeout_secs, 5_400);
    }

    #[test]
    fn every_fault_is_reported_with_its_pointer() {
        let body = json!({
            "recipe": {"server_serial": "A"},
            "servers": ["A", {"variables": {}}, "A", 7, {"serial": "C", "variable": 1}],
            "canary": -1, "max_parallel": 0, "per_label_parallel": {"rack": "2"}, "not_after": "22:00",
            "place_timeout": "2", "max_paralel": 3,
        });
        let faults = read(&body).err().unwrap().join("\n");
        for expected in [
            "/max_paralel: unknown key; the nearest known one is `max_parallel`",
            "/recipe/server_serial: names one server",
            "/servers/1/serial: is missing",
            "/servers/2: server A is in row 1 already",
            "/servers/3: must be a serial number",
            "/servers/4/variable: unknown key",
            "/canary: must be a whole number of at least 0",
            "/max_parallel: must be a whole number of at least 1",
            "/per_label_parallel: must be an object of label names",
            "/not_after: must be a time with its zone",
            "/place_timeout: must be a duration",
        ] {
            assert!(faults.contains(expected), "{expected} is missing in\n{faults}");
        }
    }

    #[test]
    fn a_batch_names_its_servers_in_one_form() {
        let faults = |body| read(&body).err().unwrap().join("\n");
        assert!(faults(json!({"recipe": {}})).contains("give `servers` or `labels`"));
        assert!(faults(json!({"servers": ["A"]})).contains("/recipe: is missing"));
        assert!(
            faults(json!({"recipe": {}, "servers": ["A"], "labels": ["a=b"]})).contains("give one of them")
        );
        assert!(faults(json!({"recipe": {}, "servers": []})).contains("1 to 5000"));
        assert!(
            faults(json!({"recipe": {}, "labels": ["rack"]})).contains("/labels/0: must be `name=value`")
        );
        let window = json!({"recipe": {}, "servers": ["A"],
            "not_before": "2026-01-02T00:00:00Z", "not_after": "2026-01-01T00:00:00Z"});
        assert!(faults(window).contains("no row could start"));
    }

    #[test]
    fn one_label_twice_is_or_and_two_labels_are_and() {
        let labels = [json!("rack=a"), json!("rack=b"), json!("site=x")];
        let mut fields = Fields::new(Box::leak(Box::default()), &[]);
        let filter = label_filter(&mut fields, &labels).unwrap();
        let labels = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        assert!(filter.matches(&labels(&[("rack", "b"), ("site", "x"), ("more", "1")])));
        assert!(!filter.matches(&labels(&[("rack", "b")])) && !filter.matches(&labels(&[("site", "x")])));
    }

    #[test]
    fn a_row_changes_parts_of_the_recipe() {
        let mut recipe = json!({"a": {"b": 1, "c": 2}, "d": 3, "e": 4}).as_object().unwrap().clone();
        let patch = json!({"a": {"b": null, "x": {"y": 1}}, "d": {"z": 1}, "e": null});
        merge(&mut recipe, patch.as_object().unwrap().clone());
        assert_eq!(Value::Object(recipe), json!({"a": {"c": 2, "x": {"y": 1}}, "d": {"z": 1}}));
    }
}
