//! `shoal server set`: changes fields of one record and leaves the others.
//!
//! Invariant: what is not named stays as it is.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::client::Client;
use super::super::kickstart::render::read_values;
use super::super::{CliError, Exit, Output};
use super::label;
use super::password::OptionalPasswordArgs;
use crate::config::ClientArgs;
use crate::domain::Serial;
use shoal_base::world::{TlsPolicy, World};

#[derive(Debug, Args)]
pub struct SetArgs {
    serial: Serial,
    /// Another address of the BMC; needs the password too.
    #[arg(long, value_name = "URL")]
    bmc: Option<String>,
    /// Account at the BMC.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    password: OptionalPasswordArgs,
    /// verify, pin:SHA256, insecure; or none for plain http off loopback. A weaker one needs the password too.
    #[arg(long, value_name = "POLICY")]
    tls: Option<TlsPolicy>,
    /// Which system of the BMC's service it is, where that reports no serial number.
    #[arg(long, value_name = "ID")]
    system_id: Option<String>,
    /// Clear the system's id.
    #[arg(long, conflicts_with = "system_id")]
    no_system_id: bool,
    /// UUID of the system, where the service reports no serial number.
    #[arg(long, value_name = "UUID")]
    system_uuid: Option<String>,
    /// Clear the system's UUID.
    #[arg(long, conflicts_with = "system_uuid")]
    no_system_uuid: bool,
    /// Host name or address of the installed ESXi.
    #[arg(long, value_name = "ADDRESS")]
    management_address: Option<String>,
    /// Clear the management address.
    #[arg(long, conflicts_with = "management_address")]
    no_management_address: bool,
    /// Refuse jobs on it.
    #[arg(long)]
    protected: bool,
    /// Accept jobs on it again.
    #[arg(long, conflicts_with = "protected")]
    no_protected: bool,
    /// Add or change a label; may be given several times.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Remove a label; may be given several times.
    #[arg(long = "unset-label", value_name = "NAME")]
    unset_labels: Vec<String>,
    #[command(flatten)]
    variables: VariableArgs,
    /// Remove a variable; may be given several times.
    #[arg(long = "unset-variable", value_name = "NAME")]
    unset_variables: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Values for templates.
#[derive(Debug, Args)]
pub struct VariableArgs {
    /// Add or change a variable of its templates; may be given several times. Secrets belong into a file.
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = label)]
    variables: Vec<(String, String)>,
    /// Add or change variables from a file: a JSON object, or TOML by its name.
    #[arg(long = "variables", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl VariableArgs {
    pub fn read(self) -> Result<Map<String, Value>, CliError> {
        let mut read = self.file.as_deref().map_or_else(|| Ok(Map::new()), read_values)?;
        read.extend(self.variables.into_iter().map(|(name, value)| (name, scalar(&value))));
        Ok(read)
    }
}

/// A value that has no type of its own: `true` and `false` are booleans, since a template would take their texts
/// for true.
pub fn scalar(text: &str) -> Value {
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        text => text.into(),
    }
}

pub async fn run(args: SetArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let client = Client::new(&args.client, world)?;
    let serial = args.serial.clone();
    let change = change(args)?;
    if change.is_empty() {
        return Err(CliError::usage("name a field to change, such as --label rack=7; --help lists them"));
    }
    let fields = change.keys().cloned().collect::<Vec<_>>().join(", ");
    let server = client.patch(&["servers", serial.as_str()], Value::Object(change)).await?;
    output.print(&server, |_| format!("server {serial}: {fields} set"));
    Ok(Exit::Done)
}

/// The merge patch.
fn change(args: SetArgs) -> Result<Map<String, Value>, CliError> {
    let mut change = Map::new();
    let mut set =
        |name: &str, value: Option<Value>| change.extend(value.map(|value| (name.to_owned(), value)));
    let or_clear = |value: Option<String>, clear: bool| match value {
        Some(value) => Some(json!(value)),
        None => clear.then_some(Value::Null),
    };
    set("bmc_address", args.bmc.map(Value::from));
    set("bmc_username", args.user.map(Value::from));
    set("bmc_password", args.password.read()?.map(Value::from));
    set("tls", args.tls.map(|tls| json!(tls.to_string())));
    set("system_id", or_clear(args.system_id, args.no_system_id));
    set("system_uuid", or_clear(args.system_uuid, args.no_system_uuid));
    set("management_address", or_clear(args.management_address, args.no_management_address));
    set("protected", (args.protected || args.no_protected).then_some(json!(args.protected)));
    let labels = args.labels.into_iter().map(|(name, value)| (name, json!(value)));
    set("labels", merged(labels, args.unset_labels));
    set("variables", merged(args.variables.read()?.into_iter(), args.unset_variables));
    Ok(change)
}

fn merged(values: impl Iterator<Item = (String, Value)>, unset: Vec<String>) -> Option<Value> {
    let merged: Map<String, Value> =
        values.chain(unset.into_iter().map(|name| (name, Value::Null))).collect();
    (!merged.is_empty()).then_some(Value::Object(merged))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct SetLine {
        #[command(flatten)]
        args: SetArgs,
    }

    fn patch(line: &str) -> Value {
        let line = SetLine::try_parse_from(["set", "A1"].into_iter().chain(line.split_whitespace()));
        Value::Object(change(line.unwrap_or_else(|error| panic!("{error}")).args).unwrap())
    }

    #[test]
    fn only_what_is_named_changes() {
        assert_eq!(patch(""), json!({}));
        assert_eq!(patch("--no-protected --no-system-id"), json!({ "protected": false, "system_id": null }));
        assert_eq!(
            patch(
                "--label rack=7 --unset-label old --variable ssh=true --variable vlan=07 --unset-variable x"
            ),
            json!({ "labels": { "rack": "7", "old": null },
                "variables": { "ssh": true, "vlan": "07", "x": null } })
        );
        let all = "--bmc https://h --user u --password-from env:SHOAL_SECRET_A --tls insecure --system-id 1 \
            --system-uuid 2 --management-address esx1 --protected";
        assert_eq!(
            patch(all),
            json!({ "bmc_address": "https://h", "bmc_username": "u", "bmc_password": "env:SHOAL_SECRET_A",
                "tls": "insecure", "system_id": "1", "system_uuid": "2", "management_address": "esx1",
                "protected": true })
        );
        for wrong in ["--protected --no-protected", "--system-id 1 --no-system-id", "--label rack"] {
            assert!(
                SetLine::try_parse_from(["set", "A1"].into_iter().chain(wrong.split(' '))).is_err(),
                "{wrong}"
            );
        }
    }
}
