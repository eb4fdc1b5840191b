//! `shoal job`: ask a controller for installations and watch them.

mod many;
pub mod recipe;
pub mod shown;
mod submit;
mod watch;
mod wipe;

use clap::{Args, Subcommand};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::client::{Client, ClientError, PostOptions};
use super::output::{Output, cut_table, table, to_stderr};
use super::{CliError, Exit};
use crate::config::ClientArgs;
use crate::domain::{JobId, Serial};
use shoal_base::with_causes;
use shoal_base::world::World;
use shown::{deadline_text, event_text, progress_text, step_text, time, verdict_text, word};

/// Requests about several jobs that are sent in parallel.
const PARALLEL: usize = 16;

#[derive(Debug, Args)]
pub struct JobArgs {
    #[command(subcommand)]
    command: JobCommand,
}

#[derive(Debug, Subcommand)]
enum JobCommand {
    /// Ask for installations.
    Submit(Box<submit::SubmitArgs>),
    /// List jobs, newest first.
    List(JobListArgs),
    /// Show one job with its events.
    Show {
        job: JobId,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Follow jobs to their ends: exit code 0 if all succeeded, 1 if one did not.
    Watch {
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        jobs: Vec<JobId>,
        /// All active jobs, and those that become active meanwhile.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// End jobs; they are still cleaned up.
    Cancel {
        #[arg(required = true)]
        jobs: Vec<JobId>,
        /// Eject their media immediately, even from under a running installer, which destroys the installation.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Try again: new jobs with the same recipes.
    Retry(RetryArgs),
}

#[derive(Debug, Args)]
struct RetryArgs {
    #[arg(required = true)]
    jobs: Vec<JobId>,
    /// Follow the new jobs to their ends.
    #[arg(long, conflicts_with = "dry_run")]
    watch: bool,
    /// Install again although a job succeeded, which erases what it installed.
    #[arg(long)]
    force: bool,
    /// Check everything up to the server's identity, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// With the same key within 24 hours a job is not tried again twice; for several jobs, each has a key of its own:
    /// this one, a dot, and the job's id.
    #[arg(long, value_name = "KEY", conflicts_with = "dry_run")]
    idempotency_key: Option<String>,
    /// Do not ask for a confirmation.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    client: ClientArgs,
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
    /// With the submissions whose recipe was refused.
    #[arg(long)]
    refused: bool,
    /// At most so many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Where the page before ended.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<JobId>,
    #[command(flatten)]
    client: ClientArgs,
}

pub async fn run(args: JobArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    match args.command {
        JobCommand::Submit(args) => submit::run(*args, world, output).await,
        JobCommand::List(args) => list(args, world, output).await,
        JobCommand::Show { job, client } => {
            let job = Client::new(&client, world)?.get(&["jobs", &job.to_string()]).await?;
            output.print(&job, job_text);
            Ok(Exit::Done)
        }
        JobCommand::Watch { jobs, all, client } => {
            let client = Client::new(&client, world)?;
            let ids = jobs.iter().map(JobId::to_string).collect();
            follow(&client, if all { many::WatchedJobs::All } else { many::WatchedJobs::These(ids) }, output)
                .await
        }
        JobCommand::Cancel { jobs, force, client } => {
            cancel(&Client::new(&client, world)?, &jobs, force, output).await
        }
        JobCommand::Retry(args) => retry(args, world, output).await,
    }
}

async fn follow(client: &Client, watched: many::WatchedJobs, output: Output) -> Result<Exit, CliError> {
    match watched {
        many::WatchedJobs::These(ids) if ids.len() == 1 => watch::watch(client, &ids[0], output).await,
        watched => many::watch(client, watched, output).await,
    }
}

async fn cancel(client: &Client, jobs: &[JobId], force: bool, output: Output) -> Result<Exit, CliError> {
    let requests = jobs.iter().map(async |job| {
        let path = ["jobs", &job.to_string(), "cancel"];
        (job, client.post(&path, &[], json!({ "force": force })).await)
    });
    let answers: Vec<_> = stream::iter(requests).buffered(PARALLEL).collect().await;
    let mut exit = Exit::Done;
    for (job, answer) in answers {
        match answer {
            Ok(job) if jobs.len() == 1 => output.print(&job, cancelled_text),
            Ok(job) => output.print_line(&job, cancelled_text),
            Err(error) if jobs.len() == 1 => return Err(error.into()),
            Err(error) => {
                to_stderr(&format!("error: job {job}: {}", with_causes(&error)));
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}

fn cancelled_text(job: &Value) -> String {
    let until = deadline_text(job).map(|until| format!("; {until}")).unwrap_or_default();
    format!("job {} is being cancelled{until}", id(job))
}

async fn retry(args: RetryArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let client = Client::new(&args.client, world)?;
    if !args.yes && !args.dry_run {
        let mut recipes = Vec::new();
        for job in &args.jobs {
            // The recipe itself is not shown by the API: it holds secrets.
            let job = client.get(&["jobs", &job.to_string()]).await?;
            recipes.push(json!({ "server_serial": job["server_serial"] }));
        }
        if !wipe::is_wanted(&client, &recipes, false).await? {
            return Err("no job was made".to_owned().into());
        }
    }
    let to_add = args.jobs.iter().map(|job| ToAdd {
        name: format!("job {job}"),
        path: vec!["jobs".to_owned(), job.to_string(), "retry".to_owned()],
        body: if args.force { json!({ "force": true }) } else { json!({}) },
        key: args.idempotency_key.as_ref().map(|key| match args.jobs.len() {
            1 => key.clone(),
            _ => format!("{key}.{job}"),
        }),
    });
    let options = AddOptions { watch: args.watch, dry_run: args.dry_run };
    add_all(&client, to_add.collect(), options, output).await
}

/// What makes one job.
struct ToAdd {
    /// Names it in errors.
    name: String,
    path: Vec<String>,
    body: Value,
    key: Option<String>,
}

/// What is to become of new jobs.
struct AddOptions {
    watch: bool,
    dry_run: bool,
}

/// Posts what makes jobs, and prints or follows the jobs; or prints the reports of dry runs. One that is refused does
/// not keep the others from being made.
async fn add_all(
    client: &Client,
    to_add: Vec<ToAdd>,
    options: AddOptions,
    output: Output,
) -> Result<Exit, CliError> {
    let is_one = to_add.len() == 1;
    let requests = to_add.into_iter().map(async |new| {
        let path: Vec<&str> = new.path.iter().map(String::as_str).collect();
        let query: &[(&str, String)] = if options.dry_run { &[("dry_run", "true".to_owned())] } else { &[] };
        let post = PostOptions { query, key: new.key.as_deref(), ..PostOptions::default() };
        (new.name, client.post_with(&path, new.body, post).await)
    });
    let answers: Vec<(String, Result<Value, ClientError>)> =
        stream::iter(requests).buffered(PARALLEL).collect().await;
    let mut exit = Exit::Done;
    let mut ids = Vec::new();
    for (name, answer) in answers {
        match answer {
            Ok(report) if options.dry_run => {
                let text = |report: &Value| {
                    if is_one { dry_text(report) } else { format!("{name}: {}", dry_text(report)) }
                };
                if is_one {
                    output.print(&report, text)
                } else {
                    output.print_line(&report, text)
                }
                if report["ok"] != true {
                    exit = Exit::Failed;
                }
            }
            Ok(job) => {
                ids.push(id(&job).to_owned());
                if !options.watch {
                    if is_one { output.print(&job, added_text) } else { output.print_line(&job, added_text) }
                }
            }
            Err(error) if is_one => return Err(error.into()),
            Err(error) => {
                to_stderr(&format!("error: {name}: {}", with_causes(&error)));
                exit = Exit::Failed;
            }
        }
    }
    if options.watch && !ids.is_empty() {
        let watched = follow(client, many::WatchedJobs::These(ids), output).await?;
        return Ok(if exit == Exit::Failed { exit } else { watched });
    }
    Ok(exit)
}

fn dry_text(report: &Value) -> String {
    match report["ok"].as_bool() {
        Some(true) => "all checks passed; nothing was changed".to_owned(),
        _ => format!("{}: {}", step_text(report), word(&report["reason"])),
    }
}

fn added_text(job: &Value) -> String {
    format!("job {} on {}: {}", id(job), word(&job["server_serial"]), word(&job["status"]))
}

async fn list(args: JobListArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let client = Client::new(&args.client, world)?;
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.status.map(|status| ("status", status)));
    query.extend(args.server.map(|serial| ("server_serial", serial.to_string())));
    query.extend(args.label.map(|label| ("label", label)));
    query.extend(args.refused.then(|| ("refused", "true".to_owned())));
    query.extend(args.cursor.map(|cursor| ("cursor", cursor.to_string())));
    let page = client.get_with(&["jobs"], &query).await?;
    output.print(&page, list_text);
    if let Some(cursor) = page["next_cursor"].as_str() {
        to_stderr(&format!("there are more: continue with --cursor {cursor}, or narrow the list"));
    }
    Ok(Exit::Done)
}

fn list_text(page: &Value) -> String {
    let jobs = page["jobs"].as_array().into_iter().flatten();
    let rows = jobs.map(|job| {
        [
            id(job).to_owned(),
            word(&job["server_serial"]).to_owned(),
            word(&job["status"]).to_owned(),
            word(&job["verdict"]["confidence"]).to_owned(),
            step_text(job),
            time(&job["created_at"]),
            job["reason"]
                .as_str()
                .map(str::to_owned)
                .or_else(|| deadline_text(job))
                .unwrap_or("-".to_owned()),
        ]
    });
    cut_table(["JOB", "SERVER", "STATUS", "CONFIDENCE", "STEP", "CREATED", "REASON OR DEADLINE"], rows)
}

fn job_text(job: &Value) -> String {
    let plain =
        ["job_id", "server_serial", "task_target", "status", "step", "failed_step", "failure_code", "reason"];
    let times = ["created_at", "last_update", "finished_at"];
    let row = |key: &str, value: String| [key.to_owned(), value];
    let mut rows: Vec<[String; 2]> = plain.map(|key| row(key, word(&job[key]).to_owned())).into();
    rows.push(row("deadline", deadline_text(job).unwrap_or_else(|| "-".to_owned())));
    rows.push(row("verdict", verdict_text(&job["verdict"])));
    rows.push(row("progress", progress_text(job)));
    rows.extend(["cleanup", "retry_of"].map(|key| row(key, word(&job[key]).to_owned())));
    rows.extend(times.map(|key| row(key, time(&job[key]))));
    let left = job["cleanup_left"].as_array().into_iter().flatten().map(word);
    rows.extend(left.map(|item| row("left", item.to_owned())));
    let events = job["events"].as_array().into_iter().flatten().map(event_text);
    let events: Vec<String> = events.collect();
    format!("{}\n\n{}", table(["FIELD", "VALUE"], rows), events.join("\n"))
}

fn id(job: &Value) -> &str {
    word(&job["job_id"])
}
