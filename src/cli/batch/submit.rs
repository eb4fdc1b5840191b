//! `shoal batch submit`: one kickstart or recipe for many servers.
//!
//! On a terminal it asks before anything is erased. Invariant: what is not confirmed makes no batch.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};
use url::Url;

use super::{servers_file, summary, watch, word};
use crate::cli::client::{Client, PostOptions};
use crate::cli::job::recipe::GivenKickstart;
use crate::cli::kickstart::lint::HookName;
use crate::cli::kickstart::render::read_values;
use crate::cli::output::{Output, table, to_stderr};
use crate::cli::{CliError, Exit, prompt};
use crate::config::ClientArgs;
use crate::domain::Serial;
use shoal_base::world::World;

const FILE_BYTES_MAX: u64 = 8 << 20;
/// A dry run asks the BMCs of 5,000 servers, 32 at a time, up to a minute each.
const DRY_RUN_TIMEOUT: Duration = Duration::from_secs(3 * 60 * 60);
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(600);
/// So many servers are named in the question.
const NAMED_MAX: usize = 8;

/// Install many servers with one kickstart or recipe; prints the batch's id.
///
/// Every row is checked before anything starts; if one is refused, nothing is added.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["servers", "server", "labels"]))]
pub struct BatchSubmitArgs {
    /// A kickstart, or a recipe without `server_serial` if it is JSON; `-` for standard input.
    #[arg(value_name = "TEMPLATE|-")]
    template: String,
    /// CSV with a column `serial`, whose other columns are variables of the row; or one serial number a line.
    #[arg(long, value_name = "FILE|-")]
    servers: Option<String>,
    /// A server; may be given several times.
    #[arg(long, value_name = "SERIAL")]
    server: Vec<Serial>,
    /// All servers with this label. One name given twice is OR, different names are AND.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// A name for people.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// Check every row up to the server's identity, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Follow the batch to its end: exit code 0 if every row succeeded.
    #[arg(long, conflicts_with = "dry_run")]
    watch: bool,
    /// The same key and batch within 24 hours make one batch.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// What makes a recipe of a kickstart.
#[derive(Debug, Args)]
#[command(next_help_heading = "Kickstart")]
struct RecipeArgs {
    /// Completion hook.
    #[arg(long, value_enum)]
    hook: Option<HookName>,
    /// The kickstart is a template, and these are variables of all rows: a JSON object, or a .toml file.
    #[arg(long, value_name = "FILE")]
    values: Option<PathBuf>,
    /// The kickstart is a template that needs no variables beside those of the servers.
    #[arg(long)]
    templated: bool,
    /// Vendor ISO, in place of the controller's.
    #[arg(long, value_name = "URL")]
    esxi_url: Option<Url>,
    /// SHA-256 of the vendor ISO.
    #[arg(long, value_name = "HEX", requires = "esxi_url")]
    esxi_sha256: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// So many rows must succeed before the others start.
    #[arg(long, value_name = "N")]
    canary: Option<u32>,
    /// So many rows run at the same time.
    #[arg(long, value_name = "N")]
    max_parallel: Option<u32>,
    /// One more failure than these halts the batch.
    #[arg(long, value_name = "N")]
    max_failures: Option<u32>,
    /// So many rows with the same value of a label run at the same time, such as rack=2.
    #[arg(long, value_name = "LABEL=N", value_parser = label_count)]
    per_label_parallel: Vec<(String, u32)>,
    /// One more failure than these holds back the other rows with the same value of a label.
    #[arg(long, value_name = "LABEL=N", value_parser = label_count)]
    per_label_failures: Vec<(String, u32)>,
    /// No row starts before, such as 2026-12-01T22:00:00+01:00.
    #[arg(long, value_name = "TIME")]
    not_before: Option<String>,
    /// No row starts from then on.
    #[arg(long, value_name = "TIME")]
    not_after: Option<String>,
    /// A row that runs for longer no longer counts as running. [default: 2h]
    #[arg(long, value_name = "DURATION")]
    place_timeout: Option<String>,
}

fn label_count(text: &str) -> Result<(String, u32), String> {
    let pair = text.split_once('=').and_then(|(name, count)| Some((name.to_owned(), count.parse().ok()?)));
    pair.ok_or_else(|| "give LABEL=N, such as rack=2".to_owned())
}

pub async fn run(args: BatchSubmitArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    if args.template == "-" && args.servers.as_deref() == Some("-") {
        return Err(CliError::usage("standard input is named twice: it can be read once"));
    }
    let client = Client::new(&args.client, world)?;
    let body = body(&args)?;
    if args.dry_run {
        return dry_run(&client, body, output).await;
    }
    if !args.yes && prompt::is_interactive() && !prompt::confirm(&question(&args, &body))? {
        return Err("no batch was added".to_owned().into());
    }
    let key = args.idempotency_key.as_deref();
    let options = PostOptions { key, timeout: SUBMIT_TIMEOUT, ..PostOptions::default() };
    let batch = client.post_with(&["batches"], body, options).await?;
    if args.watch {
        to_stderr(&summary(&batch));
        return watch::watch(&client, word(&batch["batch_id"]), world, output).await;
    }
    output.print(&batch, |batch| word(&batch["batch_id"]).to_owned());
    to_stderr(&format!("follow it with: shoal batch watch {}", word(&batch["batch_id"])));
    Ok(Exit::Done)
}

fn body(args: &BatchSubmitArgs) -> Result<Value, CliError> {
    let mut body = Map::new();
    body.insert("recipe".to_owned(), Value::Object(recipe(args)?));
    let rows = match (&args.servers, args.server.as_slice()) {
        (Some(file), _) => {
            let fault = |fault: String| CliError::usage(format!("{file}: {fault}"));
            Some(servers_file::parse(&read(file)?).map_err(fault)?)
        }
        (None, []) => None,
        (None, servers) => Some(servers.iter().map(|serial| json!(serial)).collect()),
    };
    let has_variables = rows.iter().flatten().any(|row| row["variables"].is_object());
    if has_variables && body["recipe"]["task_target"] == "install-esxi.target" {
        body["recipe"]["templated"] = json!(true);
    }
    match rows {
        Some(rows) => body.insert("servers".to_owned(), Value::Array(rows)),
        None => body.insert("labels".to_owned(), json!(args.labels)),
    };
    let counts = |pairs: &[(String, u32)]| {
        (!pairs.is_empty())
            .then(|| Value::Object(pairs.iter().map(|(name, n)| (name.clone(), json!(n))).collect()))
    };
    let limits = &args.limits;
    let fields = [
        ("name", args.name.as_ref().map(|name| json!(name))),
        ("canary", limits.canary.map(|n| json!(n))),
        ("max_parallel", limits.max_parallel.map(|n| json!(n))),
        ("max_failures", limits.max_failures.map(|n| json!(n))),
        ("per_label_parallel", counts(&limits.per_label_parallel)),
        ("per_label_failures", counts(&limits.per_label_failures)),
        ("not_before", limits.not_before.as_ref().map(|time| json!(time))),
        ("not_after", limits.not_after.as_ref().map(|time| json!(time))),
        ("place_timeout", limits.place_timeout.as_ref().map(|duration| json!(duration))),
    ];
    body.extend(fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    Ok(Value::Object(body))
}

fn recipe(args: &BatchSubmitArgs) -> Result<Map<String, Value>, CliError> {
    let text = read(&args.template)?;
    let of_kickstart = &args.recipe;
    if text.trim_start().starts_with('{') {
        let given = [of_kickstart.hook.is_some(), of_kickstart.values.is_some(), of_kickstart.templated];
        if given.contains(&true) || of_kickstart.esxi_url.is_some() {
            return Err(CliError::usage(
                "--hook, --values, --templated and --esxi-url go with a kickstart: put them into the recipe",
            ));
        }
        let syntax = |error: serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            CliError::usage(format!("{} is not JSON: line {line}, column {column}", args.template))
        };
        return serde_json::from_str(&text).map_err(syntax);
    }
    let variables = match &of_kickstart.values {
        Some(file) => Some(read_values(file)?),
        None => of_kickstart.templated.then(Map::new),
    };
    let kickstart = GivenKickstart {
        text: &text,
        hook: of_kickstart.hook,
        esxi_url: of_kickstart.esxi_url.as_ref(),
        esxi_sha256: of_kickstart.esxi_sha256.as_deref(),
        variables,
    };
    Ok(kickstart.into_recipe())
}

fn read(path: &str) -> Result<String, CliError> {
    let mut text = String::new();
    let read = match path {
        "-" => std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_string(&mut text),
        path => {
            std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        }
    };
    read.map_err(|error| CliError::usage(format!("cannot read {path}: {error}")))?;
    Ok(text)
}

fn question(args: &BatchSubmitArgs, body: &Value) -> String {
    let serial = |row: &Value| row["serial"].as_str().or(row.as_str()).unwrap_or_default().to_owned();
    let rows: Vec<String> = body["servers"].as_array().into_iter().flatten().map(serial).collect();
    match rows.as_slice() {
        [] => format!("Install all servers with {}? Their disks are erased.", args.labels.join(", ")),
        rows => wipe_question("Install", rows),
    }
}

/// What is asked before these servers are installed, with a verb.
pub fn wipe_question(what: &str, serials: &[String]) -> String {
    let mut names = serials.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if serials.len() > NAMED_MAX {
        names.push_str(&format!(" and {} more", serials.len() - NAMED_MAX));
    }
    match serials.len() {
        1 => format!("{what} server {names}? Its disks are erased."),
        count => format!("{what} {count} servers ({names})? Their disks are erased."),
    }
}

async fn dry_run(client: &Client, body: Value, output: Output) -> Result<Exit, CliError> {
    to_stderr("checking every row, and asking its BMC; nothing is changed");
    let query = [("dry_run", "true".to_owned())];
    let options = PostOptions { query: &query, timeout: DRY_RUN_TIMEOUT, ..PostOptions::default() };
    let report = client.post_with(&["batches"], body, options).await?;
    output.print(&report, |report| {
        let rows = report["rows"].as_array().into_iter().flatten().filter(|row| row["ok"] != true);
        let bad: Vec<[String; 3]> = rows
            .map(|row| ["server_serial", "failed_step", "reason"].map(|key| word(&row[key]).to_owned()))
            .collect();
        let all = report["rows"].as_array().map_or(0, Vec::len);
        match bad.len() {
            0 => format!("all checks of {all} rows passed; nothing was changed"),
            count => format!(
                "{}\n\n{count} of {all} rows would fail; nothing was changed",
                table(["SERVER", "STEP", "REASON"], bad)
            ),
        }
    });
    Ok(if report["ok"] == true { Exit::Done } else { Exit::Failed })
}
