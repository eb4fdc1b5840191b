//! `shoal server import`: a file of servers becomes inventory records, all together.
//!
//! Files are read in [`rows`], those of other tools in [`foreign`]; whether a row is valid is decided by the controller,
//! which knows the inventory. Invariant: where a row is bad, nothing is written, unless `--partial` is given; exit
//! code 0 means that there was no bad row.

mod foreign;
mod row;
mod rows;

use std::io::Read;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::client::{Client, ClientError};
use super::super::output::table;
use super::super::{CliError, Exit, Output};
use super::password::OptionalPasswordArgs;
use crate::config::ClientArgs;
use row::Row;
use shoal_base::world::{TlsPolicy, World};

/// As much as the controller accepts.
const FILE_BYTES_MAX: u64 = 8 << 20;

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A file of servers, or - for standard input.
    #[arg(value_name = "FILE|-")]
    file: String,
    /// [default: by the file's name, else by its content]
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// Check everything and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Write the good rows although others are bad.
    #[arg(long)]
    partial: bool,
    /// Account at the BMC of every row that names none.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    password: OptionalPasswordArgs,
    /// verify, pin:SHA256, insecure or none, for every row that names no policy. [default: verify]
    #[arg(long, value_name = "POLICY")]
    tls: Option<TlsPolicy>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// With a header; also what Dell omnia and NetBox write.
    Csv,
    /// A list, or one object a line.
    #[value(alias = "jsonl")]
    Json,
    Yaml,
}

/// What became of the file.
#[derive(Debug, Default, Serialize)]
struct Report {
    dry_run: bool,
    /// Whether the good rows are in the inventory now.
    written: bool,
    added: usize,
    changed: usize,
    unchanged: usize,
    invalid: usize,
    rows: Vec<RowReport>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct RowReport {
    /// From 1, without the header.
    row: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    serial: String,
    /// `added`, `changed`, `unchanged`, `invalid`; `valid` where the file was refused because of other rows.
    result: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
}

pub async fn run(args: ImportArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    if args.file == "-" && args.password.password_stdin {
        return Err(CliError::usage(
            "standard input holds the servers, so it cannot hold the password: name a file, or use --password-from",
        ));
    }
    let text = read(&args.file)?;
    let mut rows = rows::parse(&text, args.format.or_else(|| by_name(&args.file)))
        .map_err(|fault| CliError::from(format!("{}: {fault}", args.file)))?;
    let client = Client::new(&args.client, world)?;
    fill_in(&mut rows, &args.user, args.password.read()?, args.tls.as_ref());
    let has_bad_rows = rows.iter().any(|row| !row.faults.is_empty());
    // With a bad row nothing is to be written, and yet all faults are to be reported.
    let only_check = args.dry_run || (has_bad_rows && !args.partial);
    let report = send(&client, &rows, only_check, args.partial).await?;
    let report = Report { dry_run: args.dry_run, ..report };
    output.print(&report, report_text);
    Ok(if report.invalid == 0 { Exit::Done } else { Exit::Failed })
}

fn read(file: &str) -> Result<String, CliError> {
    let mut bytes = Vec::new();
    let reading = match file {
        "-" => std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes),
        path => {
            std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        }
    };
    reading.map_err(|error| CliError::from(format!("cannot read {file}: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{file} is larger than {FILE_BYTES_MAX} bytes: split it").into());
    }
    String::from_utf8(bytes).map_err(|_| format!("{file} is not UTF-8: save it as UTF-8").into())
}

fn by_name(file: &str) -> Option<FileFormat> {
    match file.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
        "csv" => Some(FileFormat::Csv),
        "json" | "jsonl" | "ndjson" => Some(FileFormat::Json),
        "yaml" | "yml" => Some(FileFormat::Yaml),
        _ => None,
    }
}

/// Gives every row what it does not have itself.
fn fill_in(rows: &mut [Row], user: &Option<String>, password: Option<String>, tls: Option<&TlsPolicy>) {
    let tls = tls.map(ToString::to_string);
    for row in rows {
        for (name, value) in [("bmc_username", user), ("bmc_password", &password), ("tls", &tls)] {
            if let Some(value) = value {
                row.body.entry(name).or_insert_with(|| json!(value));
            }
        }
    }
}

/// Sends the rows that could be read, and puts together what is known of all.
async fn send(client: &Client, rows: &[Row], only_check: bool, partial: bool) -> Result<Report, ClientError> {
    let mut reports: Vec<RowReport> = rows.iter().map(unsent).collect();
    let sent: Vec<usize> = (0..rows.len()).filter(|index| rows[*index].faults.is_empty()).collect();
    let mut written = false;
    if !sent.is_empty() {
        let servers: Vec<&Map<String, Value>> = sent.iter().map(|index| &rows[*index].body).collect();
        let query = [("dry_run", only_check), ("partial", partial)].map(|(name, on)| (name, on.to_string()));
        match client.post(&["import", "servers"], &query, json!({ "servers": servers })).await {
            Ok(answer) => {
                written = !only_check;
                let answered = answer["rows"].as_array().into_iter().flatten();
                for (index, row) in sent.iter().zip(answered) {
                    reports[*index].take_answer(row);
                }
            }
            Err(ClientError::Refused(refusal)) if refusal.problem["errors"][0].is_object() => {
                let is_of_rows = take_refusal(&mut reports, &sent, &refusal.problem["errors"]);
                if !is_of_rows {
                    return Err(ClientError::Refused(refusal));
                }
            }
            Err(error) => return Err(error),
        }
    }
    let count = |result: &str| reports.iter().filter(|row| row.result == result).count();
    Ok(Report {
        dry_run: false,
        written,
        added: count("added"),
        changed: count("changed"),
        unchanged: count("unchanged"),
        invalid: count("invalid"),
        rows: reports,
    })
}

fn unsent(row: &Row) -> RowReport {
    RowReport {
        row: row.number,
        line: row.line,
        serial: row.body.get("serial").and_then(Value::as_str).unwrap_or("-").to_owned(),
        result: if row.faults.is_empty() { "valid" } else { "invalid" }.to_owned(),
        changed: Vec::new(),
        errors: row.faults.clone(),
    }
}

impl RowReport {
    fn take_answer(&mut self, answer: &Value) {
        self.result = answer["result"].as_str().unwrap_or_default().to_owned();
        let changed = answer["changed"].as_array().into_iter().flatten();
        self.changed = changed.filter_map(Value::as_str).map(str::to_owned).collect();
        for error in answer["errors"].as_array().into_iter().flatten() {
            let pointer = error["pointer"].as_str().unwrap_or_default();
            self.errors.push(fault(pointer, error["message"].as_str().unwrap_or_default()));
        }
    }
}

/// As a column is named: without the pointer's first slash.
fn fault(pointer: &str, message: &str) -> String {
    match pointer.trim_start_matches('/') {
        "" => message.to_owned(),
        column => format!("{column}: {message}"),
    }
}

/// Gives each row its errors; `false` where one of them is about no row.
fn take_refusal(reports: &mut [RowReport], sent: &[usize], errors: &Value) -> bool {
    errors.as_array().into_iter().flatten().all(|error| {
        let pointer = error["pointer"].as_str().unwrap_or_default();
        let Some((index, field)) = of_row(pointer) else { return false };
        let Some(report) = sent.get(index).and_then(|index| reports.get_mut(*index)) else { return false };
        report.result = "invalid".to_owned();
        report.errors.push(fault(field, error["message"].as_str().unwrap_or_default()));
        true
    })
}

/// The row of a pointer such as `/servers/3/tls`, and the rest of it.
fn of_row(pointer: &str) -> Option<(usize, &str)> {
    let rest = pointer.strip_prefix("/servers/")?;
    let (index, field) = rest.split_once('/').unwrap_or((rest, ""));
    Some((index.parse().ok()?, field))
}

fn report_text(report: &Report) -> String {
    let rows = report.rows.iter().map(|row| {
        let line = row.line.map_or_else(|| row.row.to_string(), |line| format!("{} (line {line})", row.row));
        let detail = if row.errors.is_empty() { row.changed.join(", ") } else { row.errors.join("\n") };
        [line, row.serial.clone(), row.result.clone(), detail]
    });
    let Report { added, changed, unchanged, invalid, .. } = report;
    let valid = report.rows.iter().filter(|row| row.result == "valid").count();
    let counts = match valid {
        0 => format!("{added} added, {changed} changed, {unchanged} unchanged, {invalid} invalid"),
        valid => format!("{valid} valid, {invalid} invalid"),
    };
    let end = match report {
        Report { written: true, .. } => String::new(),
        Report { dry_run: true, .. } => "; nothing was written (--dry-run)".to_owned(),
        _ => "; nothing was written: mend the invalid rows, or use --partial to leave them out".to_owned(),
    };
    format!("{}\n\n{counts}{end}", table(["ROW", "SERIAL", "RESULT", "DETAIL"], rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_a_refusal_are_given_to_their_rows() {
        let mut reports = vec![RowReport::default(); 3];
        let errors =
            json!([{"pointer": "/servers/1/tls", "message": "x"}, {"pointer": "/servers/1", "message": "y"}]);
        // The first row of the file was not sent.
        assert!(take_refusal(&mut reports, &[1, 2], &errors));
        assert_eq!(reports[2].errors, ["tls: x", "y"]);
        assert!(reports[1].errors.is_empty());
        for elsewhere in [json!([{"pointer": "/servers"}]), json!([{"pointer": "/servers/9/a"}])] {
            assert!(!take_refusal(&mut reports, &[1, 2], &elsewhere));
        }
    }

    #[test]
    fn a_row_keeps_what_it_has_and_gets_the_rest() {
        let body = json!({"bmc_username": "own"}).as_object().unwrap().clone();
        let mut rows = [Row { number: 1, line: None, body, faults: Vec::new() }];
        fill_in(&mut rows, &Some("all".into()), Some("pw".into()), Some(&TlsPolicy::Insecure));
        let filled = json!({"bmc_username": "own", "bmc_password": "pw", "tls": "insecure"});
        assert_eq!(Value::Object(rows[0].body.clone()), filled);
    }
}
