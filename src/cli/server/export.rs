//! `shoal server export`: the inventory as a file that `shoal server import` reads.
//!
//! Passwords and the values of variables are not in it, since the controller shows neither; an import leaves them as
//! they are. Invariant: an export that is imported unchanged changes nothing.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::{Map, Value};

use super::super::client::Client;
use super::super::output::{self, Format, Output};
use super::super::{BoxError, CliError};
use super::FilterArgs;
use super::import::FileFormat;
use crate::config::ClientArgs;
use shoal_base::world::World;

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// [default: csv, or json with --output json]
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Fields of every row, in the order of columns.
const FIELDS: [&str; 8] = [
    "serial",
    "bmc_address",
    "bmc_username",
    "tls",
    "system_id",
    "system_uuid",
    "management_address",
    "protected",
];

pub async fn run(args: ExportArgs, world: &World, output: Output) -> Result<(), CliError> {
    let body = Client::new(&args.client, world)?.servers(args.filter.query()).await?;
    let rows: Vec<Map<String, Value>> =
        body["servers"].as_array().into_iter().flatten().map(import_row).collect();
    let default = if output.format == Format::Json { FileFormat::Json } else { FileFormat::Csv };
    output::text(&file_text(args.format.unwrap_or(default), &rows)?);
    Ok(())
}

/// A file that an import reads.
pub fn file_text(format: FileFormat, rows: &[Map<String, Value>]) -> Result<String, BoxError> {
    Ok(match format {
        FileFormat::Csv => csv_text(rows)?,
        FileFormat::Json => serde_json::to_string_pretty(rows)? + "\n",
        FileFormat::Yaml => serde_saphyr::to_string(&rows)?,
    })
}

/// What of a record can be imported again; fields that are not set are left out.
pub fn import_row(server: &Value) -> Map<String, Value> {
    let fields = FIELDS.into_iter().map(|name| (name, &server[name]));
    let fields =
        fields.chain([("bmc_password", &server["bmc_password_from"]), ("labels", &server["labels"])]);
    let is_set =
        |value: &Value| !value.is_null() && value.as_object().is_none_or(|object| !object.is_empty());
    fields.filter(|(_, value)| is_set(value)).map(|(name, value)| (name.to_owned(), value.clone())).collect()
}

fn csv_text(rows: &[Map<String, Value>]) -> Result<String, BoxError> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let labels =
        |row: &Map<String, Value>| row.get("labels").and_then(Value::as_object).cloned().unwrap_or_default();
    let names: BTreeSet<String> =
        rows.iter().flat_map(|row| labels(row).into_iter().map(|(name, _)| name)).collect();
    let has_references = rows.iter().any(|row| row.contains_key("bmc_password"));
    let fields: Vec<&str> = FIELDS.into_iter().chain(has_references.then_some("bmc_password")).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let columns = fields.iter().map(|name| (*name).to_owned());
    writer.write_record(columns.chain(names.iter().map(|name| format!("labels.{name}"))))?;
    for row in rows {
        let labels = labels(row);
        let cells = fields.iter().map(|name| row.get(*name)).chain(names.iter().map(|name| labels.get(name)));
        writer.write_record(cells.map(|cell| cell.map(text).unwrap_or_default()))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_has_what_can_be_imported_and_nothing_else() {
        let server = json!({"serial": "A1", "bmc_address": "https://h", "bmc_username": "root", "tls": "verify",
            "system_id": null, "protected": false, "labels": {"rack": "7, left"}, "variable_names": ["ip"],
            "learned": ["x"], "last_job": {"status": "failed"}});
        let other = json!({"serial": "B2", "bmc_address": "https://i", "bmc_username": "root", "tls": "verify",
            "protected": true, "labels": {}, "bmc_password_from": "env:SHOAL_SECRET_B"});
        let text = csv_text(&[import_row(&server), import_row(&other)]).unwrap();
        let expected = "serial,bmc_address,bmc_username,tls,system_id,system_uuid,management_address,protected,\
            bmc_password,labels.rack\nA1,https://h,root,verify,,,,false,,\"7, left\"\n\
            B2,https://i,root,verify,,,,true,env:SHOAL_SECRET_B,\n";
        assert_eq!(text, expected);
    }
}
