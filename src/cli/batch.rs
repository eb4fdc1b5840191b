//! `shoal batch`: many installations under common limits.

mod servers_file;
mod submit;
mod watch;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::Client;
use super::job::shown::word;
use super::output::{Output, cut_table, to_stderr};
use super::{CliError, Exit, prompt};
use crate::config::ClientArgs;
use crate::domain::{BatchId, Serial};
use shoal_base::world::World;

/// Submit and follow many installation jobs under common limits.
#[derive(Debug, Args)]
pub struct BatchArgs {
    #[command(subcommand)]
    command: BatchCommand,
}

#[derive(Debug, Subcommand)]
enum BatchCommand {
    Submit(Box<submit::BatchSubmitArgs>),
    /// List batches, newest first.
    List {
        /// At most this many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// `next_cursor` of the page before, as `--output json` shows it.
        #[arg(long)]
        cursor: Option<BatchId>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show one batch with its rows.
    Show(OneBatch),
    /// Follow a batch to its end: exit code 0 if every row succeeded, 1 otherwise.
    ///
    /// It also ends, with exit code 1, once the batch is halted or paused and nothing of it runs.
    Watch(OneBatch),
    /// Start no more rows; those that run go on.
    Pause(OneBatch),
    /// Start rows again after a pause or a halt; failures so far no longer count.
    Resume {
        #[command(flatten)]
        batch: OneBatch,
        /// New start of the window, such as 2026-12-01T22:00:00+01:00, or `none`.
        #[arg(long, value_name = "TIME")]
        not_before: Option<String>,
        /// New end of the window, or `none`.
        #[arg(long, value_name = "TIME")]
        not_after: Option<String>,
    },
    /// Cancel the rows that have not started.
    Cancel {
        #[command(flatten)]
        batch: OneBatch,
        /// Cancel the rows that are running too.
        #[arg(long)]
        running: bool,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Try the failed rows again, each with a new job.
    Retry {
        #[command(flatten)]
        batch: OneBatch,
        /// Only these rows; cancelled ones too. May be given several times.
        #[arg(long = "server", value_name = "SERIAL")]
        servers: Vec<Serial>,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
struct OneBatch {
    /// Its id.
    #[arg(value_name = "BATCH")]
    batch: BatchId,
    #[command(flatten)]
    client: ClientArgs,
}

pub async fn run(args: BatchArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    match args.command {
        BatchCommand::Submit(args) => submit::run(*args, world, output).await,
        BatchCommand::List { limit, cursor, client } => list(limit, cursor, &client, world, output).await,
        BatchCommand::Show(OneBatch { batch, client }) => {
            let batch = Client::new(&client, world)?.get(&["batches", &batch.to_string()]).await?;
            output.print(&batch, batch_text);
            Ok(Exit::Done)
        }
        BatchCommand::Watch(OneBatch { batch, client }) => {
            watch::watch(&Client::new(&client, world)?, &batch.to_string(), world, output).await
        }
        BatchCommand::Pause(batch) => change(&batch, "pause", json!({}), world, output).await,
        BatchCommand::Resume { batch, not_before, not_after } => {
            let mut window = Map::new();
            for (key, time) in [("not_before", not_before), ("not_after", not_after)] {
                window.extend(time.map(|time| match time.as_str() {
                    "none" => (key.to_owned(), Value::Null),
                    _ => (key.to_owned(), Value::String(time)),
                }));
            }
            change(&batch, "resume", Value::Object(window), world, output).await
        }
        BatchCommand::Cancel { batch, running, yes } => {
            let question = "Cancel the rows that are running too? Their hosts are left as they are.";
            if running && !yes && prompt::is_interactive() && !prompt::confirm(question)? {
                return Err("nothing was changed".to_owned().into());
            }
            change(&batch, "cancel", json!({ "running": running }), world, output).await
        }
        BatchCommand::Retry { batch, servers, yes } => {
            if !yes && prompt::is_interactive() && !is_retry_wanted(&batch, &servers, world).await? {
                return Err("nothing was changed".to_owned().into());
            }
            let body = if servers.is_empty() { json!({}) } else { json!({ "servers": servers }) };
            change(&batch, "retry", body, world, output).await
        }
    }
}

/// Names the rows that would be tried again.
async fn is_retry_wanted(batch: &OneBatch, servers: &[Serial], world: &World) -> Result<bool, CliError> {
    let mut serials: Vec<String> = servers.iter().map(Serial::to_string).collect();
    if serials.is_empty() {
        let shown = Client::new(&batch.client, world)?.get(&["batches", &batch.batch.to_string()]).await?;
        let rows = shown["rows"].as_array().into_iter().flatten();
        let failed = rows.filter(|row| word(&row["state"]) == "failed");
        serials.extend(failed.map(|row| word(&row["server_serial"]).to_owned()));
    }
    // With none of them the controller says what is wrong.
    if serials.is_empty() {
        Ok(true)
    } else {
        prompt::confirm(&submit::wipe_question("Install again", &serials))
    }
}

async fn change(
    batch: &OneBatch,
    what: &str,
    body: Value,
    world: &World,
    output: Output,
) -> Result<Exit, CliError> {
    let client = Client::new(&batch.client, world)?;
    let batch = client.post(&["batches", &batch.batch.to_string(), what], &[], body).await?;
    output.print(&batch, summary);
    Ok(Exit::Done)
}

async fn list(
    limit: u32,
    cursor: Option<BatchId>,
    client: &ClientArgs,
    world: &World,
    output: Output,
) -> Result<Exit, CliError> {
    let mut query = vec![("limit", limit.to_string())];
    query.extend(cursor.map(|cursor| ("cursor", cursor.to_string())));
    let page = Client::new(client, world)?.get_with(&["batches"], &query).await?;
    output.print(&page, |page| {
        let batches = page["batches"].as_array().into_iter().flatten();
        let rows = batches.map(|batch| {
            let [id, name, status, created] =
                ["batch_id", "name", "status", "created_at"].map(|key| word(&batch[key]).to_owned());
            [id, name, status, counts_text(&batch["counts"]), created]
        });
        cut_table(["BATCH", "NAME", "STATUS", "ROWS", "CREATED"], rows)
    });
    if let Some(cursor) = page["next_cursor"].as_str() {
        to_stderr(&format!("there are more: --cursor {cursor}"));
    }
    Ok(Exit::Done)
}

fn batch_text(batch: &Value) -> String {
    let rows = batch["rows"].as_array().into_iter().flatten().map(|row| {
        let [server, state, job, step] =
            ["server_serial", "state", "job_id", "step"].map(|key| word(&row[key]).to_owned());
        [server, state, word(&row["confidence"]).to_owned(), job, step, outcome_text(row)]
    });
    let rows = cut_table(["SERVER", "STATE", "CONFIDENCE", "JOB", "STEP", "REASON"], rows);
    format!("{}\n\n{rows}", summary(batch))
}

/// One line, and a second one where an operator has something to do.
fn summary(batch: &Value) -> String {
    let (id, status) = (word(&batch["batch_id"]), word(&batch["status"]));
    let mut text = format!("batch {id}: {status}; {}", counts_text(&batch["counts"]));
    if let Some(reason) = batch["reason"].as_str() {
        text.push_str(&format!("; {reason}"));
    }
    if let Some(waits_for) = batch["waits_for"].as_str() {
        text.push_str(&format!("; waiting for {waits_for}"));
    }
    if status == "halted" {
        text.push_str(&format!(
            "\nto go on: `shoal batch retry {id}` tries failed rows again, `shoal batch resume {id}` starts the others"
        ));
    }
    text
}

fn counts_text(counts: &Value) -> String {
    let count = |key: &str| counts[key].as_u64().unwrap_or(0);
    let states = ["succeeded", "failed", "cancelled", "running", "waiting"];
    let parts: Vec<String> = states
        .into_iter()
        .filter(|state| count(state) > 0)
        .map(|state| format!("{} {state}", count(state)))
        .collect();
    format!("{} of {} rows", parts.join(", "), count("total"))
}

/// Why a row failed, if it did.
fn outcome_text(row: &Value) -> String {
    match (row["failed_step"].as_str(), row["reason"].as_str()) {
        (Some(step), Some(reason)) => format!("{step}: {reason}"),
        (_, reason) => reason.unwrap_or("-").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halted_batch_says_why_and_what_to_do() {
        let batch = json!({
            "batch_id": "ab", "status": "halted", "reason": "a canary row failed",
            "counts": {"total": 3, "failed": 1, "waiting": 2, "running": 0},
        });
        let text = summary(&batch);
        assert!(
            text.starts_with("batch ab: halted; 1 failed, 2 waiting of 3 rows; a canary row failed\n"),
            "{text}"
        );
        assert!(text.contains("shoal batch resume ab"), "{text}");
    }
}
