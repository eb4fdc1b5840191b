//! `shoal audit`: shows and verifies the audit log.
//!
//! It changes nothing. Invariant: a chain that is not good ends the command with exit code 1, whether a
//! controller checked it or this command did, on the database alone.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Client;
use super::output::table;
use super::{CliError, Exit, Output};
use crate::config::ClientArgs;
use crate::seal::{self, KeySource};
use crate::store::{PostgresAddress, verify_audit_file};
use shoal_base::hex;
use shoal_base::world::World;

#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// What was done, newest first.
    List(AuditListArgs),
    /// Check that no entry was changed, removed or put elsewhere.
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
struct AuditListArgs {
    /// Id or name of the actor.
    #[arg(long, value_name = "ACTOR")]
    actor: Option<String>,
    /// Such as server.add or job.submit.
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    #[arg(long, value_name = "SERIAL")]
    server: Option<String>,
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Entries at most, 1 to 499.
    #[arg(long, value_name = "N", default_value = "100")]
    limit: u32,
    /// Go on where a page has ended: its next_cursor.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// Check this SQLite file instead of asking a controller.
    #[arg(long, value_name = "FILE", requires = "master_key_file")]
    db: Option<PathBuf>,
    /// The database's master key.
    #[arg(long, value_name = "FILE", requires = "db")]
    master_key_file: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
}

pub async fn run(args: AuditArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    match args.command {
        AuditCommand::List(args) => list(args, world, output).await,
        AuditCommand::Verify(args) => verify(args, world, output).await,
    }
}

async fn list(args: AuditListArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let given = [
        ("actor", args.actor),
        ("action", args.action),
        ("server_serial", args.server),
        ("job_id", args.job),
        ("limit", Some(args.limit.to_string())),
        ("cursor", args.cursor.map(|cursor| cursor.to_string())),
    ];
    let query: Vec<(&str, String)> =
        given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let page = Client::new(&args.client, world)?.get_with(&["audit"], &query).await?;
    output.print(&page, list_text);
    Ok(Exit::Done)
}

async fn verify(args: VerifyArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let verdict = match (args.db, args.master_key_file) {
        (Some(database), _) if PostgresAddress::is_one(&database.to_string_lossy()) => {
            return Err(CliError::usage(
                "--db checks an SQLite file: the audit of a PostgreSQL database is checked by its controllers \
                 (shoal audit verify --url URL)",
            ));
        }
        (Some(database), Some(key)) => {
            let sealer = seal::load_existing(&KeySource::File(key), &database)?;
            let report = verify_audit_file(&database, &sealer)?;
            json!({
                "ok": report.fault.is_none(),
                "first": report.first,
                "entries": report.good,
                "last_hash": hex(&report.last_hash),
                "fault": report.fault.map(|fault| fault.to_string()),
            })
        }
        _ => Client::new(&args.client, world)?.get(&["audit", "verify"]).await?,
    };
    output.print(&verdict, verdict_text);
    Ok(if verdict["ok"] == true { Exit::Done } else { Exit::Failed })
}

fn verdict_text(verdict: &Value) -> String {
    let text = |key: &str| verdict[key].as_str().unwrap_or_default().to_owned();
    let entries = verdict["entries"].as_u64().unwrap_or_default();
    match verdict["ok"] == true {
        true => match verdict["first"].as_u64() {
            Some(first @ 2..) => {
                format!("audit log verified: entries {first} to {entries}, last hash {}", text("last_hash"))
            }
            _ => format!("audit log verified: {entries} entries, last hash {}", text("last_hash")),
        },
        false => {
            format!("the audit log was CHANGED: {}; the {entries} entries before are valid", text("fault"))
        }
    }
}

fn list_text(page: &Value) -> String {
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or("-").to_owned();
    let rows = page["entries"].as_array().into_iter().flatten().map(|entry| {
        [
            entry["seq"].to_string(),
            text(entry, "time"),
            text(entry, "actor_name"),
            text(entry, "source"),
            text(entry, "action"),
            text(entry, "server_serial"),
            text(entry, "job_id"),
            entry["detail"].to_string(),
        ]
    });
    let table = table(["SEQ", "TIME", "WHO", "FROM", "ACTION", "SERVER", "JOB", "DETAIL"], rows);
    match page["next_cursor"].as_u64() {
        Some(cursor) => format!("{table}\nmore: --cursor {cursor}"),
        None => table,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_says_what_is_wrong_and_how_much_is_not() {
        let good = json!({"ok": true, "entries": 7, "last_hash": "ab", "fault": null});
        assert!(verdict_text(&good).contains("7 entries") && verdict_text(&good).contains("ab"));
        let shortened = json!({"ok": true, "first": 4, "entries": 7, "last_hash": "ab", "fault": null});
        assert!(verdict_text(&shortened).contains("entries 4 to 7"));
        let bad = json!({"ok": false, "entries": 6, "last_hash": "ab", "fault": "entry 7 was changed"});
        assert!(verdict_text(&bad).contains("CHANGED") && verdict_text(&bad).contains("entry 7 was changed"));
    }
}
