//! `shoal token`: who may ask a controller, for its admins.
//!
//! Invariant: in a table's place a new token stands alone on standard output, so that a script can take
//! it, and what is to be known of it goes to standard error.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Client;
use super::output::{self, table};
use super::{CliError, Exit, Output};
use crate::access::Role;
use crate::config::{ClientArgs, duration};
use shoal_base::world::{World, after};

#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token; it is shown this once.
    Create(CreateArgs),
    /// All tokens, those that have ended too; none of their texts.
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Revoke a token, immediately and permanently.
    Revoke {
        /// The token's name or id.
        #[arg(value_name = "TOKEN")]
        which: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Whose or what for; no other live token may have it.
    name: String,
    /// viewer looks, operator installs, admin also makes tokens and reads the audit.
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// How long it is good, such as 12h or 90d. [default: until it is revoked]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expires: Option<Duration>,
    #[command(flatten)]
    client: ClientArgs,
}

pub async fn run(args: TokenArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    match args.command {
        TokenCommand::Create(args) => create(args, world, output).await?,
        TokenCommand::List { client } => {
            let tokens = Client::new(&client, world)?.get(&["tokens"]).await?;
            output.print(&tokens, list_text);
        }
        TokenCommand::Revoke { which, client } => {
            let client = Client::new(&client, world)?;
            let id = id_of(&client.get(&["tokens"]).await?, &which)?;
            client.delete(&["tokens", &id]).await?;
            output.print(&json!({ "revoked": id }), |_| format!("token {which} revoked"));
        }
    }
    Ok(Exit::Done)
}

async fn create(args: CreateArgs, world: &World, output: Output) -> Result<(), CliError> {
    let expires_at = args.expires.map(|expires| after(world.clock.now(), expires).to_string());
    let body = json!({ "name": args.name, "role": args.role.name(), "expires_at": expires_at });
    let made = Client::new(&args.client, world)?.post(&["tokens"], &[], body).await?;
    if matches!(output.format, super::Format::Table) {
        let end = expires_at.map_or("until it is revoked".to_owned(), |end| format!("until {end}"));
        let role = args.role;
        output::to_stderr(&format!("token {} ({role}), good {end}; it is shown this once:", args.name));
    }
    output.print(&made, |made| made["token"].as_str().unwrap_or_default().to_owned());
    Ok(())
}

/// The id of the one token that has it, or of the live one with that name.
fn id_of(body: &Value, token: &str) -> Result<String, CliError> {
    let tokens = || body["tokens"].as_array().into_iter().flatten();
    let by_id = tokens().find(|known| known["id"] == token);
    let by_name = || tokens().find(|known| known["name"] == token && known["status"] == "live");
    let found = by_id.or_else(by_name).and_then(|found| found["id"].as_str());
    found.map(str::to_owned).ok_or_else(|| format!("no live token has the name or id {token}").into())
}

fn list_text(body: &Value) -> String {
    let tokens = body["tokens"].as_array().into_iter().flatten();
    let rows = tokens.map(|token| {
        ["id", "name", "role", "status", "expires_at", "last_used_at", "last_used_from"]
            .map(|key| token[key].as_str().unwrap_or("-").to_owned())
    });
    table(["ID", "NAME", "ROLE", "STATUS", "EXPIRES", "LAST USED", "FROM"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_id_and_a_live_one_by_its_name() {
        let body = json!({"tokens": [
            {"id": "a1", "name": "ci", "status": "revoked"},
            {"id": "b2", "name": "ci", "status": "live", "role": "viewer"},
        ]});
        assert_eq!(id_of(&body, "ci").unwrap(), "b2");
        assert_eq!(id_of(&body, "a1").unwrap(), "a1");
        assert!(id_of(&body, "other").is_err());
        assert!(list_text(&body).lines().nth(2).is_some_and(|row| row.contains("viewer")));
    }
}
