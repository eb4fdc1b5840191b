//! `shoal export`: installed hosts as files that VMware Cloud Foundation and scripts for vCenter read.
//!
//! Reads the controller and changes nothing. Invariant: no password is exported, and a host only with what its own job
//! has shown: where one of those named cannot be exported, nothing is, unless `--partial` is given.

mod hosts;
mod name;
mod rows;
mod vcf;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Client, ClientError};
use super::output::{self, to_stderr};
use super::{CliError, Exit};
use crate::config::ClientArgs;
use crate::domain::{BatchId, JobId};
use hosts::{InstalledHost, LeftOut, Named};
use shoal_base::world::World;

/// Hand installed hosts over to VCF or vCenter.
#[derive(Debug, Args)]
pub struct HandOverArgs {
    #[command(subcommand)]
    command: HandOverCommand,
}

#[derive(Debug, Subcommand)]
enum HandOverCommand {
    /// Print the list of hosts to commission in VMware Cloud Foundation, as JSON.
    ///
    /// Passwords are placeholders, to be filled in before the list is used.
    Vcf(vcf::VcfArgs),
    /// Print a row for each installed host, as CSV.
    Csv(SourceArgs),
    /// Print an object for each installed host, as JSON.
    Json(SourceArgs),
}

/// Which hosts, and by which name.
#[derive(Debug, Args)]
struct SourceArgs {
    /// A job that installed a host; may be given several times.
    #[arg(long = "job", value_name = "JOB", required_unless_present = "batches")]
    jobs: Vec<JobId>,
    /// All rows of a batch; may be given several times.
    #[arg(long = "batch", value_name = "BATCH")]
    batches: Vec<BatchId>,
    /// Export the other hosts although some cannot be exported.
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    names: name::NameArgs,
    #[command(flatten)]
    client: ClientArgs,
}

pub async fn run(args: HandOverArgs, world: &World) -> Result<Exit, CliError> {
    match args.command {
        HandOverCommand::Vcf(args) => {
            args.check()?;
            let (hosts, mut left_out) = found(&args.source, world).await?;
            let hosts = args.commissioned(&hosts, &mut left_out);
            if !report(&left_out, hosts.len(), args.source.partial) {
                return Ok(Exit::Failed);
            }
            vcf::notes(&hosts).iter().for_each(|note| to_stderr(note));
            output::json(&serde_json::json!({ "hosts": hosts }));
        }
        HandOverCommand::Csv(args) => match rows(&args, world).await? {
            Some(rows) => output::text(&rows::csv_text(&rows)?),
            None => return Ok(Exit::Failed),
        },
        HandOverCommand::Json(args) => match rows(&args, world).await? {
            Some(rows) => output::json(&serde_json::json!({ "hosts": rows })),
            None => return Ok(Exit::Failed),
        },
    }
    Ok(Exit::Done)
}

async fn rows(args: &SourceArgs, world: &World) -> Result<Option<Vec<rows::HostRow>>, CliError> {
    let (hosts, left_out) = found(args, world).await?;
    let rows: Vec<_> = hosts.iter().map(|host| rows::HostRow::of(host, &args.names)).collect();
    Ok(report(&left_out, rows.len(), args.partial).then_some(rows))
}

/// Says which hosts are left out and why. Whether the others may be exported.
fn report(left_out: &[LeftOut], hosts: usize, partial: bool) -> bool {
    left_out.iter().for_each(|host| to_stderr(&format!("not exported: {host}")));
    match (left_out.len(), hosts) {
        (0, 0) => to_stderr("nothing was exported: the batch has no rows"),
        (_, 0) => to_stderr("nothing was exported: none of the hosts can be"),
        (0, _) => return true,
        (_, _) if partial => return true,
        (left_out, hosts) => to_stderr(&format!(
            "nothing was exported: {left_out} of {} hosts cannot be; use --partial to leave them out",
            left_out + hosts
        )),
    }
    false
}

/// What the named jobs and batches have installed.
async fn found(args: &SourceArgs, world: &World) -> Result<(Vec<InstalledHost>, Vec<LeftOut>), CliError> {
    let client = Client::new(&args.client, world)?;
    let mut named = Vec::new();
    for id in &args.jobs {
        let id = id.to_string();
        named.push(match client.get(&["jobs", &id]).await {
            Ok(job) => Named::Job(job),
            Err(ClientError::Refused(refusal)) if refusal.status == http::StatusCode::NOT_FOUND => {
                Named::Absent { server: None, job: id }
            }
            Err(error) => return Err(error.into()),
        });
    }
    for id in &args.batches {
        named.extend(of_batch(&client, &id.to_string()).await?);
    }
    let servers = client.servers(vec![]).await?;
    let (hosts, left_out, doubts) =
        hosts::select(named, servers["servers"].as_array().map_or(&[], Vec::as_slice));
    doubts.iter().for_each(|doubt| to_stderr(&format!("note: {doubt}")));
    Ok((hosts, left_out))
}

/// The present job of each row, in the order of the rows.
async fn of_batch(client: &Client, id: &str) -> Result<Vec<Named>, ClientError> {
    let batch = client.get(&["batches", id]).await?;
    let mut jobs: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = vec![("batch_id", id.to_owned()), ("limit", "500".to_owned())];
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let mut page = client.get_with(&["jobs"], &query).await?;
        if let Some(page) = page["jobs"].as_array_mut() {
            jobs.append(page);
        }
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    let rows = batch["rows"].as_array().into_iter().flatten();
    let named = rows.map(|row| match jobs.iter().find(|job| job["job_id"] == row["job_id"]) {
        Some(job) => Named::Job(job.clone()),
        None => Named::Absent {
            server: row["server_serial"].as_str().map(str::to_owned),
            job: row["job_id"].as_str().unwrap_or_default().to_owned(),
        },
    });
    Ok(named.collect())
}
