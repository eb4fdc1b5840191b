//! `shoal job`: ask a controller for installations and watch them.

mod submit;
mod watch;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Client;
use super::output::{Output, table, to_stderr};
use super::{CliError, Exit};
use crate::config::ClientArgs;
use crate::domain::{JobId, Serial};
use shoal_base::world::World;

#[derive(Debug, Args)]
pub struct JobArgs {
    #[command(subcommand)]
    command: JobCommand,
}

#[derive(Debug, Subcommand)]
enum JobCommand {
    /// Ask for an installation.
    Submit(submit::SubmitArgs),
    /// List jobs, newest first.
    List(JobListArgs),
    /// Show one job with its events.
    Show {
        job: JobId,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Follow a job to its end: exit code 0 if it succeeded, 1 if it did not.
    Watch {
        job: JobId,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// End a job; it is still cleaned up.
    Cancel {
        job: JobId,
        /// Eject its media immediately, even from under a running installer, which destroys the installation.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Try again: a new job with the same recipe.
    Retry {
        job: JobId,
        /// Follow the new job to its end.
        #[arg(long, conflicts_with = "dry_run")]
        watch: bool,
        /// Install again although the job succeeded, which erases what it installed.
        #[arg(long)]
        force: bool,
        /// Check everything up to the server's identity, and change nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Args)]
struct JobListArgs {
    /// queued, provisioning, succeeded, failed or cancelled.
    #[arg(long)]
    status: Option<String>,
    #[arg(long, value_name = "SERIAL")]
    server: Option<Serial>,
    /// A label of the server when the job was made.
    #[arg(long, value_name = "NAME=VALUE")]
    label: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    #[command(flatten)]
    client: ClientArgs,
}

pub async fn run(args: JobArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    match args.command {
        JobCommand::Submit(args) => submit::run(args, world, output).await,
        JobCommand::List(args) => list(args, world, output).await,
        JobCommand::Show { job, client } => {
            let job = Client::new(&client, world)?.get(&["jobs", &job.to_string()]).await?;
            output.print(&job, job_text);
            Ok(Exit::Done)
        }
        JobCommand::Watch { job, client } => {
            watch::watch(&Client::new(&client, world)?, &job.to_string(), output).await
        }
        JobCommand::Cancel { job, force, client } => {
            let client = Client::new(&client, world)?;
            let path = ["jobs", &job.to_string(), "cancel"];
            let job = client.post(&path, &[], json!({ "force": force })).await?;
            output.print(&job, |job| format!("job {} is being cancelled", id(job)));
            Ok(Exit::Done)
        }
        JobCommand::Retry { job, watch, force, dry_run, client } => {
            let client = Client::new(&client, world)?;
            let body = if force { json!({ "force": true }) } else { json!({}) };
            let job = job.to_string();
            add(&client, &["jobs", &job, "retry"], body, AddOptions { watch, dry_run }, output).await
        }
    }
}

/// What is to become of a new job.
struct AddOptions {
    watch: bool,
    dry_run: bool,
}

/// Posts what makes a job, and prints or follows the job; or prints the report of a dry run.
async fn add(
    client: &Client,
    path: &[&str],
    body: Value,
    options: AddOptions,
    output: Output,
) -> Result<Exit, CliError> {
    if !options.dry_run {
        let job = client.post(path, &[], body).await?;
        return added(client, &job, options.watch, output).await;
    }
    let report = client.post(path, &[("dry_run", "true".to_owned())], body).await?;
    output.print(&report, |report| match report["ok"].as_bool() {
        Some(true) => "all checks passed; nothing was changed".to_owned(),
        _ => format!("{}: {}", word(&report["failed_step"]), word(&report["reason"])),
    });
    Ok(if report["ok"] == true { Exit::Done } else { Exit::Failed })
}

async fn added(client: &Client, job: &Value, watch: bool, output: Output) -> Result<Exit, CliError> {
    if !watch {
        output.print(job, |job| {
            format!("job {} on {}: {}", id(job), word(&job["server_serial"]), word(&job["status"]))
        });
        return Ok(Exit::Done);
    }
    watch::watch(client, id(job), output).await
}

async fn list(args: JobListArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let client = Client::new(&args.client, world)?;
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.status.map(|status| ("status", status)));
    query.extend(args.server.map(|serial| ("server_serial", serial.to_string())));
    query.extend(args.label.map(|label| ("label", label)));
    let page = client.get_with(&["jobs"], &query).await?;
    output.print(&page, list_text);
    if page["next_cursor"].is_string() {
        to_stderr("there are more: raise --limit, or narrow the list");
    }
    Ok(Exit::Done)
}

fn list_text(page: &Value) -> String {
    let jobs = page["jobs"].as_array().into_iter().flatten();
    let rows = jobs.map(|job| {
        ["job_id", "server_serial", "status", "step", "created_at", "reason"]
            .map(|key| clipped(word(&job[key])))
    });
    table(["JOB", "SERVER", "STATUS", "STEP", "CREATED", "REASON"], rows)
}

fn job_text(job: &Value) -> String {
    let plain =
        ["job_id", "server_serial", "task_target", "status", "step", "failed_step", "failure_code", "reason"];
    let later = ["cleanup", "retry_of", "created_at", "last_update", "finished_at"];
    let mut rows: Vec<[String; 2]> = plain.map(|key| [key.to_owned(), word(&job[key]).to_owned()]).into();
    rows.push(["verdict".to_owned(), verdict_text(&job["verdict"])]);
    rows.push(["progress".to_owned(), progress_text(&job["progress"])]);
    rows.extend(later.map(|key| [key.to_owned(), word(&job[key]).to_owned()]));
    let left = job["cleanup_left"].as_array().into_iter().flatten().map(word);
    rows.extend(left.map(|item| ["left".to_owned(), item.to_owned()]));
    let events = job["events"].as_array().into_iter().flatten().map(event_text);
    let events: Vec<String> = events.collect();
    format!("{}\n\n{}", table(["FIELD", "VALUE"], rows), events.join("\n"))
}

/// Outcome, confidence and what it rests on.
fn verdict_text(verdict: &Value) -> String {
    if verdict.is_null() {
        return "-".to_owned();
    }
    let mut text = word(&verdict["outcome"]).to_owned();
    if let Some(confidence) = verdict["confidence"].as_str() {
        text.push_str(&format!(" ({confidence})"));
    }
    for evidence in verdict["evidence"].as_array().into_iter().flatten() {
        text.push_str(&format!("; {}: {}", word(&evidence["kind"]), word(&evidence["detail"])));
    }
    text
}

fn progress_text(progress: &Value) -> String {
    let bytes = |key: &str| bytesize::ByteSize::b(progress[key].as_u64().unwrap_or(0));
    let kickstart = if progress["ks_read"] == true { "read" } else { "not read" };
    let (read, total) = (bytes("installer_bytes_read"), bytes("installer_bytes_total"));
    format!("installer {read} of {total}, kickstart {kickstart}")
}

pub(super) fn event_text(event: &Value) -> String {
    let level = match word(&event["level"]) {
        "info" => String::new(),
        level => format!("{level}: "),
    };
    format!(
        "{}  {}  {}  {level}{}",
        word(&event["time"]),
        word(&event["op"]),
        word(&event["status"]),
        word(&event["message"])
    )
}

fn id(job: &Value) -> &str {
    word(&job["job_id"])
}

/// A text, or a dash.
pub(super) fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn clipped(text: &str) -> String {
    const CHARS: usize = 60;
    match text.char_indices().nth(CHARS) {
        Some((index, _)) => format!("{}…", &text[..index]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_shown_with_its_evidence() {
        let verdict = json!({"outcome": "succeeded", "confidence": "probable",
            "evidence": [{"kind": "second_boot", "at": "x", "detail": "BootProgress went back"}]});
        let text = verdict_text(&verdict);
        assert_eq!(text, "succeeded (probable); second_boot: BootProgress went back");
        assert_eq!(verdict_text(&Value::Null), "-");
    }

    #[test]
    fn a_long_reason_is_clipped_between_characters() {
        assert_eq!(clipped(&"é".repeat(70)).chars().count(), 61);
        assert_eq!(clipped("short"), "short");
    }
}
