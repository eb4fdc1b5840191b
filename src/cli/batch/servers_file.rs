//! The file that names the servers of a batch: CSV with a column `serial`, whose other columns are variables; or one
//! serial number a line.
//!
//! Pure. Invariant: an error names the line.

use serde_json::{Map, Value, json};

const SERIAL: &str = "serial";

/// The rows, as the API takes them.
pub fn parse(text: &str) -> Result<Vec<Value>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let first = text.lines().find(|line| !is_skipped(line)).unwrap_or_default();
    let rows = match first.contains(',') || first.trim().eq_ignore_ascii_case(SERIAL) {
        true => of_csv(text)?,
        false => text.lines().filter(|line| !is_skipped(line)).map(|line| json!(line.trim())).collect(),
    };
    match rows.is_empty() {
        true => Err("names no server".to_owned()),
        false => Ok(rows),
    }
}

fn is_skipped(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

fn of_csv(text: &str) -> Result<Vec<Value>, String> {
    let mut reader =
        csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    let column = header.iter().position(|name| name.eq_ignore_ascii_case(SERIAL)).ok_or_else(|| {
        format!(
            "has no column `{SERIAL}`: its first line must name the columns, such as `serial,hostname,ip`"
        )
    })?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(fault)?;
        let serial = record.get(column).unwrap_or_default();
        let line = record.position().map_or(0, csv::Position::line);
        if serial.is_empty() {
            return Err(format!("line {line} has no serial number"));
        }
        // An empty field is no value, so that the template's default or the recipe's variable applies.
        let others = header.iter().zip(record.iter()).enumerate().filter(|(index, _)| *index != column);
        let variables: Map<String, Value> = others
            .filter(|(_, (_, value))| !value.is_empty())
            .map(|(_, (name, value))| (name.to_owned(), json!(value)))
            .collect();
        rows.push(match variables.is_empty() {
            true => json!(serial),
            false => json!({ "serial": serial, "variables": variables }),
        });
    }
    Ok(rows)
}

fn fault(error: csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos: Some(at), expected_len, len } => {
            format!("line {} has {len} fields, and the first line names {expected_len}", at.line())
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_columns_are_variables_and_empty_fields_are_none() {
        let text = "\u{feff}serial,ip,vlan\n# spare\nA, 10.0.0.1,7\nB,\"10.0.0.2\",\n\nC,,\n";
        let rows = parse(text).unwrap();
        let a = json!({"serial": "A", "variables": {"ip": "10.0.0.1", "vlan": "7"}});
        let b = json!({"serial": "B", "variables": {"ip": "10.0.0.2"}});
        assert_eq!(rows, [a, b, json!("C")]);
    }

    #[test]
    fn a_plain_list_and_one_column_are_accepted() {
        assert_eq!(parse("A\n# b\n\n B \n").unwrap(), ["A", "B"]);
        assert_eq!(parse("Serial\r\nA\r\n").unwrap(), ["A"]);
    }

    #[test]
    fn what_is_wrong_names_the_line() {
        assert!(parse("").unwrap_err().contains("names no server"));
        assert!(parse("sn,ip\nA,1\n").unwrap_err().contains("has no column `serial`"));
        assert_eq!(parse("serial,ip\nA,1\n,2\n").unwrap_err(), "line 3 has no serial number");
        assert!(
            parse("serial,ip\nA,1,2\n").unwrap_err().contains("line 2"),
            "{:?}",
            parse("serial,ip\nA,1,2\n")
        );
    }
}
