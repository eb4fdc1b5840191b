//! `shoal version`: what this program is, for people and programs.

use clap::Args;
use serde_json::{Value, json};

use super::output::{Format, Output};
use super::{CliError, Exit};
use crate::store::{SCHEMA_VERSION, STORED_VERSION};

/// Print the versions of this program and of what it stores.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// The same as --output json.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &VersionArgs, output: Output) -> Result<Exit, CliError> {
    let output = if args.json { Output::new(Format::Json) } else { output };
    output.print(&version_value(), |value| {
        let text = |key: &str| value[key].as_str().unwrap_or_default();
        format!(
            "shoal {} for {}\ndatabase schema {SCHEMA_VERSION}, stored values {STORED_VERSION}, API {}",
            text("version"),
            text("target"),
            text("api")
        )
    });
    Ok(Exit::Done)
}

pub fn version_value() -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "target": crate::config::target(),
        "schema": SCHEMA_VERSION,
        "stored_values": STORED_VERSION,
        "api": "v1",
    })
}
