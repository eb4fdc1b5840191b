//! From the text of a file to rows: bodies of the API, each with what could not be read of it.
//!
//! Pure. Invariant: a column or a row that is not known is a fault, and never left out silently; no fault quotes a
//! cell, which may hold a password.

use std::collections::BTreeMap;

use serde_json::Value;

use super::row::Row;
use super::{FileFormat, foreign};

const COLUMNS: [&str; 9] = [
    "serial",
    "bmc_address",
    "bmc_username",
    "bmc_password",
    "tls",
    "system_id",
    "system_uuid",
    "management_address",
    "protected",
];
/// Columns that hold parts of an object.
const GROUPS: [&str; 2] = ["labels", "variables"];

/// The rows of a file, or why it holds none.
pub fn parse(text: &str, format: Option<FileFormat>) -> Result<Vec<Row>, String> {
    // Spreadsheets write it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rows = match format.unwrap_or_else(|| by_content(text)) {
        FileFormat::Csv => csv_rows(text)?,
        FileFormat::Json => values(json_values(text)?),
        FileFormat::Yaml => values(yaml_values(text)?.into_iter().map(|value| (None, value)).collect()),
    };
    if rows.is_empty() {
        return Err("holds no server".to_owned());
    }
    for (index, row) in rows.iter_mut().enumerate() {
        row.number = index + 1;
    }
    Ok(rows)
}

fn by_content(text: &str) -> FileFormat {
    let first = text.trim_start().lines().next().unwrap_or_default();
    match first {
        _ if first.starts_with(['{', '[']) => FileFormat::Json,
        _ if first.starts_with('-') || (first.contains(':') && !first.contains(',')) => FileFormat::Yaml,
        _ => FileFormat::Csv,
    }
}

fn csv_rows(text: &str) -> Result<Vec<Row>, String> {
    let header = text.lines().next().unwrap_or_default();
    // As spreadsheets write it where the comma is in numbers.
    let delimiter = if header.contains(';') && !header.contains(',') { b';' } else { b',' };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| format!("is not CSV: {error}"))?.clone();
    let names: Vec<&str> = header.iter().collect();
    if let Some(name) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        return Err(format!("line 1: the column `{}` is there twice", name.1));
    }
    let foreign = foreign::of_columns(&names);
    if foreign.is_none() {
        check_columns(&names)?;
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            format!("line {}: is not CSV", error.position().map_or(0, csv::Position::line))
        })?;
        let mut row = Row { line: record.position().map(csv::Position::line), ..Row::default() };
        if record.len() != names.len() {
            row.faults.push(format!("has {} cells, and the header has {}", record.len(), names.len()));
        }
        let cells = names.iter().copied().zip(record.iter()).filter(|(_, cell)| !cell.is_empty());
        match foreign {
            Some(foreign) => {
                let cells: BTreeMap<String, String> =
                    cells.map(|(name, cell)| (foreign::plain(name), cell.to_owned())).collect();
                foreign.row(&cells, &mut row);
            }
            None => cells.for_each(|(name, cell)| row.set(name, cell)),
        }
        rows.push(row);
    }
    Ok(rows)
}

fn check_columns(names: &[&str]) -> Result<(), String> {
    let is_known = |name: &str| {
        let part = name.split_once('.');
        COLUMNS.contains(&name)
            || part.is_some_and(|(group, name)| GROUPS.contains(&group) && !name.is_empty())
    };
    let Some(unknown) = names.iter().find(|name| !is_known(name)) else {
        return match names.contains(&"serial") {
            true => Ok(()),
            false => Err("line 1: there is no column `serial`".to_owned()),
        };
    };
    let known = COLUMNS.into_iter().chain(["labels.NAME", "variables.NAME"]);
    let nearest = shoal_base::nearest(unknown, known).unwrap_or_default();
    let shown: String = unknown.chars().take(40).collect();
    Err(format!("line 1: unknown column `{shown}`; the nearest known one is `{nearest}`"))
}

/// A list, an object with a list, or one object a line, each with its line where that is known.
fn json_values(text: &str) -> Result<Vec<(Option<u64>, Value)>, String> {
    if let Ok(whole) = serde_json::from_str::<Value>(text) {
        return Ok(listed(whole).into_iter().map(|value| (None, value)).collect());
    }
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let values = lines.map(|(number, line)| match serde_json::from_str(line) {
        Ok(value) => Ok((Some(number), value)),
        // The parser's message may quote what stands there.
        Err(error) => Err(format!("line {number}, column {}: is not JSON", error.column())),
    });
    values.collect()
}

/// Every document of the file.
fn yaml_values(text: &str) -> Result<Vec<Value>, String> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| match error.location() {
            Some(place) => format!("line {}, column {}: is not YAML", place.line(), place.column()),
            None => "is not YAML".to_owned(),
        })?;
    Ok(documents.into_iter().flat_map(listed).collect())
}

/// The servers of a value: a list, a list under `servers` (or `results`, as NetBox has it), or one server.
fn listed(value: Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list,
        Value::Null => Vec::new(),
        Value::Object(mut object) => {
            let list =
                ["servers", "results"].into_iter().find(|key| object.get(*key).is_some_and(Value::is_array));
            match list.and_then(|key| object.remove(key)) {
                Some(Value::Array(list)) => list,
                _ => vec![Value::Object(object)],
            }
        }
        other => vec![other],
    }
}

fn values(values: Vec<(Option<u64>, Value)>) -> Vec<Row> {
    values.into_iter().map(|(line, value)| row(line, value)).collect()
}

fn row(line: Option<u64>, value: Value) -> Row {
    let mut row = Row { line, ..Row::default() };
    let Value::Object(object) = value else {
        row.faults.push("must be an object".to_owned());
        return row;
    };
    match foreign::of_object(&object) {
        Some(foreign) => foreign.row(&foreign::texts(&object), &mut row),
        None => row.body = object,
    }
    if row.body.get("serial").is_some_and(Value::is_number) {
        row.faults.push("serial: is a number; quote it, since a number loses its leading zeros".to_owned());
    }
    row
}

#[cfg(test)]
mod tests;
