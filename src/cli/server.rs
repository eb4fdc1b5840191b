//! `shoal server`: the inventory of a controller.

mod discover;
mod export;
mod hardware;
mod import;
mod inspect;
mod password;
mod pin;
mod release;
mod set;

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Client;
use super::output::{Output, table};
use super::{CliError, Exit};
use crate::config::ClientArgs;
use crate::domain::Serial;
pub use password::read_password;
use shoal_base::world::{TlsPolicy, World};

#[derive(Debug, Args)]
pub struct ServerArgs {
    #[command(subcommand)]
    command: ServerCommand,
}

#[derive(Debug, Subcommand)]
enum ServerCommand {
    /// Add a server.
    Add(AddArgs),
    /// List all servers.
    List(ListArgs),
    /// Show one server.
    Show {
        serial: Serial,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Change fields of a server; the others stay.
    Set(Box<set::SetArgs>),
    /// Add or replace servers from a file: CSV, JSON or YAML, also as Dell omnia and NetBox write it.
    Import(import::ImportArgs),
    /// Find Redfish services in a range of addresses, without credentials.
    Discover(discover::DiscoverArgs),
    /// Print the inventory as a file for import, without secrets.
    Export(export::ExportArgs),
    /// Read the hardware of servers from their BMCs, keep it with their records, and show it.
    Inspect(inspect::InspectArgs),
    /// Trust the certificate that a BMC shows, and nothing else; without --accept or --first-use, show it.
    Pin(pin::PinArgs),
    /// Eject all virtual media of a server and clear its boot override, without a job.
    Release(release::ReleaseArgs),
    /// Remove a server; its past jobs stay.
    Rm {
        serial: Serial,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Args)]
struct AddArgs {
    /// The SerialNumber that its BMC reports.
    serial: Serial,
    /// Address of the BMC, such as https://10.0.0.5.
    #[arg(long, value_name = "URL")]
    bmc: String,
    /// Account at the BMC.
    #[arg(long, value_name = "NAME")]
    user: String,
    #[command(flatten)]
    password: password::PasswordArgs,
    /// verify, pin:SHA256, insecure; or none for plain http off loopback. [default: verify]
    #[arg(long, value_name = "POLICY")]
    tls: Option<TlsPolicy>,
    /// Which system of the BMC's service it is, where that reports no serial number.
    #[arg(long, value_name = "ID")]
    system_id: Option<String>,
    /// UUID of the system, where the service reports no serial number.
    #[arg(long, value_name = "UUID")]
    system_uuid: Option<String>,
    /// Host name or address of the installed ESXi.
    #[arg(long, value_name = "ADDRESS")]
    management_address: Option<String>,
    /// Refuse jobs on it.
    #[arg(long)]
    protected: bool,
    /// A label; may be given several times.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    #[command(flatten)]
    variables: set::VariableArgs,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Which servers.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Only those with this label.
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    label: Option<(String, String)>,
    /// Only those whose newest job has this status: queued, provisioning, succeeded, failed or cancelled; or none.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
}

impl FilterArgs {
    fn query(self) -> Vec<(&'static str, String)> {
        let label = self.label.map(|(name, value)| ("label", format!("{name}={value}")));
        label.into_iter().chain(self.status.map(|status| ("status", status))).collect()
    }
}

pub async fn run(args: ServerArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    match args.command {
        ServerCommand::Pin(args) => return pin::run(args, world, output).await,
        ServerCommand::Release(args) => return release::run(args, world, output).await,
        ServerCommand::Add(args) => add(args, world, output).await?,
        ServerCommand::Discover(args) => return discover::run(args, world, output).await,
        ServerCommand::Inspect(args) => return inspect::run(args, world, output).await,
        ServerCommand::Set(args) => return set::run(*args, world, output).await,
        ServerCommand::Import(args) => return import::run(args, world, output).await,
        ServerCommand::Export(args) => export::run(args, world, output).await?,
        ServerCommand::List(args) => {
            let servers = Client::new(&args.client, world)?.servers(args.filter.query()).await?;
            output.print(&servers, list_text);
        }
        ServerCommand::Show { serial, client } => {
            let server = Client::new(&client, world)?.get(&["servers", serial.as_str()]).await?;
            output.print(&server, server_text);
        }
        ServerCommand::Rm { serial, client } => {
            Client::new(&client, world)?.delete(&["servers", serial.as_str()]).await?;
            output.print(&json!({ "removed": serial }), |_| format!("server {serial} removed"));
        }
    }
    Ok(Exit::Done)
}

async fn add(args: AddArgs, world: &World, output: Output) -> Result<(), CliError> {
    let client = Client::new(&args.client, world)?;
    let body = json!({
        "serial": args.serial,
        "bmc_address": args.bmc,
        "bmc_username": args.user,
        "bmc_password": args.password.read()?,
        "tls": args.tls.unwrap_or_default().to_string(),
        "system_id": args.system_id,
        "system_uuid": args.system_uuid,
        "management_address": args.management_address,
        "protected": args.protected,
        "labels": args.labels.into_iter().collect::<BTreeMap<_, _>>(),
        "variables": args.variables.read()?,
    });
    let server = client.post(&["servers"], &[], body).await?;
    output.print(&server, |_| format!("server {} added", args.serial));
    Ok(())
}

pub fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "write NAME=VALUE".to_owned())
}

fn list_text(body: &Value) -> String {
    let servers = body["servers"].as_array().into_iter().flatten();
    let text = |server: &Value, key: &str| server[key].as_str().unwrap_or("-").to_owned();
    let rows = servers.map(|server| {
        let protected = if server["protected"] == true { "yes" } else { "no" };
        [
            text(server, "serial"),
            text(server, "bmc_address"),
            text(server, "bmc_username"),
            text(server, "tls"),
            protected.to_owned(),
            server["last_job"]["status"].as_str().unwrap_or("-").to_owned(),
            labels_text(&server["labels"]),
        ]
    });
    table(["SERIAL", "BMC", "USER", "TLS", "PROTECTED", "LAST JOB", "LABELS"], rows)
}

fn labels_text(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    let pairs: Vec<String> =
        pairs.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    pairs.join(",")
}

/// A line each.
fn sentences_text(list: &[Value]) -> String {
    let sentences: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
    if sentences.is_empty() { "-".to_owned() } else { sentences.join("\n") }
}

fn server_text(server: &Value) -> String {
    let fields = server.as_object().into_iter().flatten();
    let shown = fields.map(|(key, value)| match value {
        hardware if key == "hardware" => [key.clone(), hardware::hardware_text(hardware)],
        Value::String(text) => [key.clone(), text.clone()],
        Value::Object(_) => [key.clone(), labels_text(value)],
        Value::Array(list) => [key.clone(), sentences_text(list)],
        Value::Null => [key.clone(), "-".to_owned()],
        other => [key.clone(), other.to_string()],
    });
    table(["FIELD", "VALUE"], shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_is_shown_a_line_each() {
        let text =
            server_text(&json!({"serial": "A1", "learned": ["insert: PATCH", "boot: Cd on the System"]}));
        assert!(text.contains("insert: PATCH") && text.contains("boot: Cd on the System"), "{text}");
        assert!(server_text(&json!({"learned": []})).contains("learned"), "{text}");
    }

    #[test]
    fn a_list_has_a_row_a_server() {
        let body = json!({"servers": [{"serial": "A1", "bmc_address": "https://h/", "bmc_username": "root",
            "tls": "verify", "protected": true, "labels": {"rack": "7"}, "last_job": {"status": "failed"}}]});
        let text = list_text(&body);
        assert!(
            text.lines()
                .nth(1)
                .is_some_and(|row| ["A1", "rack=7", "failed"].iter().all(|part| row.contains(part))),
            "{text}"
        );
    }
}
