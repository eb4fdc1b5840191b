//! `shoal server release`: ejects a server's virtual drives and clears its boot override, after a question.
//!
//! Invariant: exit code 0 means that every drive was seen empty and no override armed.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::output::table;
use super::super::{CliError, Exit, Output, prompt};
use crate::config::ClientArgs;
use crate::domain::Serial;
use shoal_base::world::World;

/// Three tries of each drive of a slow BMC.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

#[derive(Debug, Args)]
pub struct ReleaseArgs {
    serial: Serial,
    /// Also where the host is not Off, or a drive holds an image that is not the controller's.
    #[arg(long)]
    force: bool,
    /// Do not ask for a confirmation.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub async fn run(args: ReleaseArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    if !args.yes && !confirm(&args.serial)? {
        return Err("nothing was changed".to_owned().into());
    }
    let client = Client::new(&args.client, world)?;
    let path = ["servers", args.serial.as_str(), "release"];
    let report = client.post_patiently(&path, json!({ "force": args.force }), RELEASE_TIMEOUT).await?;
    output.print(&report, report_text);
    Ok(if report["released"] == true { Exit::Done } else { Exit::Failed })
}

fn confirm(serial: &Serial) -> Result<bool, CliError> {
    if !prompt::is_interactive() {
        return Err(CliError::usage(
            "standard input is not a terminal: add --yes to release without a question",
        ));
    }
    prompt::confirm(&format!("Eject all virtual media of server {serial} and clear its boot override?"))
}

fn report_text(report: &Value) -> String {
    let text = |item: &Value, key: &str| item[key].as_str().unwrap_or("-").to_owned();
    let items = report["items"].as_array().into_iter().flatten();
    let rows = items.map(|item| ["name", "status", "detail"].map(|key| text(item, key)));
    let end = match report["released"] == true {
        true => "released: every drive is empty and no boot override is armed",
        false => "not released: something is left",
    };
    format!("{}\n\n{end}", table(["ITEM", "STATUS", "DETAIL"], rows))
}
