//! `shoal server inspect`: has a controller read the hardware of servers, and shows it.
//!
//! Invariant: exit code 0 means that every server that was named could be read.

use std::time::Duration;

use clap::Args;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::super::client::{Client, ClientError};
use super::super::output::{Format, to_stderr};
use super::super::{CliError, Exit, Output};
use super::FilterArgs;
use super::hardware::hardware_text;
use crate::config::ClientArgs;
use crate::domain::Serial;
use shoal_base::with_causes;
use shoal_base::world::World;

/// A slow BMC with many cards takes a second for each of its parts.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(15 * 60);
const PARALLEL: usize = 16;

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// One or more servers; or --label or --status.
    #[arg(required_unless_present_any = ["label", "status"], conflicts_with_all = ["label", "status"])]
    serials: Vec<Serial>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    client: ClientArgs,
}

pub async fn run(args: InspectArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let client = Client::new(&args.client, world)?;
    let serials = match args.serials.is_empty() {
        false => args.serials.iter().map(Serial::to_string).collect(),
        true => serials(&client.servers(args.filter.query()).await?),
    };
    let is_one = serials.len() == 1;
    let mut inspecting = stream::iter(serials).map(|serial| inspect(&client, serial)).buffered(PARALLEL);
    let mut all_read = true;
    while let Some((serial, inspected)) = inspecting.next().await {
        match inspected {
            Ok(hardware) if is_one => output.print(&hardware, hardware_text),
            Ok(hardware) => {
                let value = json!({ "serial": serial, "hardware": hardware });
                output
                    .print_line(&value, |value| format!("{serial}\n{}\n", hardware_text(&value["hardware"])));
            }
            Err(error) => {
                all_read = false;
                if output.format == Format::Json && !is_one {
                    output.print_line(&json!({ "serial": serial, "error": with_causes(&error) }), |_| {
                        String::new()
                    });
                }
                to_stderr(&format!("{serial}: {}", with_causes(&error)));
            }
        }
    }
    Ok(if all_read { Exit::Done } else { Exit::Failed })
}

async fn inspect(client: &Client, serial: String) -> (String, Result<Value, ClientError>) {
    let inspected = client.post_patiently(&["servers", &serial, "inspect"], json!({}), INSPECT_TIMEOUT).await;
    (serial, inspected)
}

fn serials(body: &Value) -> Vec<String> {
    let servers = body["servers"].as_array().into_iter().flatten();
    servers.filter_map(|server| server["serial"].as_str().map(str::to_owned)).collect()
}
