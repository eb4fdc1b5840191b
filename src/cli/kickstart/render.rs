//! `shoal kickstart render`: what a template becomes, here or by a controller.
//!
//! A controller knows the server's record; without one, values come from a file alone. Invariant:
//! secrets are masked unless they are requested.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use shoal_kickstart::report::{is_secret_name, masked_text};
use shoal_kickstart::template::{self, ServerFacts, Values};

use super::lint;
use crate::cli::client::Client;
use crate::cli::output::{self, Format, Output};
use crate::cli::{CliError, Exit};
use crate::config::ClientArgs;
use crate::domain::Serial;
use shoal_base::world::World;

/// Show what a template becomes, with secrets masked.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true).multiple(true).args(["server", "values"]))]
pub struct RenderArgs {
    /// The template; `-` is standard input.
    #[arg(value_name = "TEMPLATE|-")]
    template: String,
    /// Let the controller render it for this server, whose record is `server.*`.
    #[arg(long, value_name = "SERIAL")]
    server: Option<Serial>,
    /// Variables, as a JSON object or in a .toml file. Without --server, `server` in it may hold
    /// `serial`, `management_address` and `labels`.
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,
    /// Print passwords, hashes and keys too.
    #[arg(long)]
    show_secrets: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub async fn run(args: RenderArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let bytes = lint::read(&args.template).map_err(|reason| format!("{}: {reason}", args.template))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{}: is not UTF-8", args.template))?;
    let variables = args.values.as_deref().map_or_else(|| Ok(Map::new()), read_values)?;
    let rendered = match &args.server {
        Some(serial) => {
            let client = Client::new(&args.client, world)?;
            by_controller(&client, serial, &text, variables, args.show_secrets).await?
        }
        None => here(world, &text, variables, args.show_secrets)?,
    };
    match output.format {
        Format::Json => output::json(&json!({ "ks_cfg": rendered, "masked": !args.show_secrets })),
        Format::Table | Format::Sarif => output::text(&rendered),
    }
    Ok(Exit::Done)
}

/// What the controller renders for a server.
pub async fn by_controller(
    client: &Client,
    serial: &Serial,
    template: &str,
    variables: Map<String, Value>,
    show_secrets: bool,
) -> Result<String, CliError> {
    let body = json!({
        "ks_cfg": template, "variables": variables, "server_serial": serial, "show_secrets": show_secrets,
    });
    let answer = client.post(&["kickstart", "render"], &[], body).await?;
    Ok(answer["ks_cfg"].as_str().unwrap_or_default().to_owned())
}

/// Of a server, as a file of values has it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ServerValues {
    serial: String,
    management_address: Option<String>,
    labels: std::collections::BTreeMap<String, String>,
}

fn here(
    world: &World,
    text: &str,
    mut variables: Map<String, Value>,
    show: bool,
) -> Result<String, CliError> {
    let server = variables.remove("server").map(serde_json::from_value::<ServerValues>).transpose();
    let server = server.map_err(|_| {
        CliError::usage("`server` in the values holds serial, management_address and labels, all texts")
    })?;
    let server = server.map(|server| ServerFacts {
        serial: server.serial,
        management_address: server.management_address,
        labels: server.labels,
    });
    let mut seed = [0; 32];
    world.rng.fill(&mut seed);
    let disks = Err("`disk` needs the inventory of a controller: use --server SERIAL");
    let values = Values { variables: &variables, server: server.as_ref(), disks, seed };
    let rendered = template::render(text, &values).map_err(|error| error.to_string())?.text;
    if show {
        return Ok(rendered);
    }
    let named = variables.iter().filter(|(name, _)| is_secret_name(name));
    let secrets: Vec<&str> = named.filter_map(|(_, value)| value.as_str()).collect();
    Ok(masked_text(rendered.as_bytes(), &secrets))
}

/// Variables from a file: JSON, or TOML by its name.
pub fn read_values(path: &Path) -> Result<Map<String, Value>, CliError> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::usage(format!("cannot read {shown}: {error}")))?;
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    // Neither parser's message is shown: it may quote a line, and that a password.
    let parsed = match is_toml {
        true => toml::from_str::<Map<String, Value>>(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            before.matches('\n').count() + 1
        }),
        false => serde_json::from_str::<Map<String, Value>>(&text).map_err(|error| error.line()),
    };
    let kind = if is_toml { "TOML" } else { "a JSON object" };
    parsed.map_err(|line| CliError::usage(format!("{shown} is not {kind}: line {line}")))
}
