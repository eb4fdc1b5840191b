//! `shoal support-bundle`: what the report of a fault needs, in one file, without secrets.
//!
//! It reads the settings of this machine and asks the controller; what cannot be had is noted in the bundle, so that there
//! is one also where the controller is down. Invariant: everything but the README passes `redact`.

mod redact;

use std::path::PathBuf;

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::client::Client;
use super::new_file::{FileError, NewFile};
use super::output::{Output, to_stderr};
use super::version::version_value;
use super::{CliError, Exit};
use crate::config::{ClientArgs, ShownArgs};
use crate::domain::{JobId, Serial};
use shoal_base::with_causes;
use shoal_base::world::World;

/// Servers that are checked although none was named.
const CHECKED_MAX: usize = 5;
/// A check reads much of a BMC.
const CHECK_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5 * 60);

/// Write an archive for a report of a fault: versions, settings, servers, jobs with events, checks of BMCs.
///
/// Secrets, kickstarts and logins are never in it. Serial numbers, addresses and names of hosts are: read it before you
/// pass it on.
#[derive(Debug, Args)]
pub struct SupportArgs {
    /// The archive, a new file.
    #[arg(value_name = "FILE", default_value = "shoal-support.tar.gz")]
    file: PathBuf,
    /// So many of the newest jobs.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    jobs: u32,
    /// A job beside the newest; may be given several times.
    #[arg(long = "job", value_name = "JOB")]
    named_jobs: Vec<JobId>,
    /// Check the BMC of this server; may be given several times. [default: up to 5 servers of failed jobs]
    #[arg(long = "server", value_name = "SERIAL")]
    servers: Vec<Serial>,
    #[command(flatten)]
    settings: ShownArgs,
    #[command(flatten)]
    client: ClientArgs,
}

pub async fn run(args: SupportArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let SupportArgs { file, jobs, named_jobs, servers, settings, client } = args;
    let mut bundle = Bundle::create(&file)?;
    bundle.add_text("README.txt", README)?;
    bundle.add("version.json", version_value())?;
    bundle.add_result("settings.json", settings_value(settings))?;
    let client = Client::new(&client, world)?;
    bundle.add_result("readyz.json", client.root("readyz").await)?;
    bundle.add_result("metrics.txt", client.root("metrics").await)?;
    bundle.add_result("servers.json", client.servers(Vec::new()).await)?;
    bundle.add_result("batches.json", client.get(&["batches"]).await)?;
    let newest = client.get_with(&["jobs"], &[("limit", jobs.to_string())]).await;
    let mut ids: Vec<String> = named_jobs.iter().map(JobId::to_string).collect();
    let mut checked: Vec<String> = servers.iter().map(Serial::to_string).collect();
    let page = newest.as_ref().ok().and_then(|page| page["jobs"].as_array()).cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ids.extend(page.iter().map(|job| text(&job["job_id"])));
    ids.sort();
    ids.dedup();
    if checked.is_empty() {
        let failed = page.iter().filter(|job| job["status"] == "failed");
        let mut serials: Vec<String> = failed.map(|job| text(&job["server_serial"])).collect();
        serials.sort();
        serials.dedup();
        checked.extend(serials.into_iter().take(CHECKED_MAX));
    }
    bundle.add_result("jobs.json", newest)?;
    for id in &ids {
        bundle.add_result(&format!("jobs/{id}.json"), client.get(&["jobs", id]).await)?;
    }
    for (number, serial) in checked.iter().enumerate() {
        to_stderr(&format!("checking the BMC of {serial}"));
        let report = client.post_patiently(&["servers", serial, "check"], json!({}), CHECK_TIMEOUT).await;
        bundle.add_result(&format!("checks/{:02}.json", number + 1), report)?;
    }
    let (missing, sha256) = bundle.finish()?;
    let shown = json!({ "file": file, "sha256": sha256, "jobs": ids.len(), "missing": missing });
    output.print(&shown, |_| {
        let mut text = format!("{}: {} jobs, {} checks of BMCs", file.display(), ids.len(), checked.len());
        for name in &missing {
            text.push_str(&format!("\nnot in it: {name}"));
        }
        text + "\nNo secrets are in it; serial numbers and addresses are. Read it before you pass it on."
    });
    Ok(Exit::Done)
}

fn settings_value(settings: ShownArgs) -> Result<Value, crate::config::ConfigError> {
    let shown = settings.settings()?;
    let rows = shown
        .into_iter()
        .map(|setting| json!({ "name": setting.name, "value": setting.value, "origin": setting.origin }));
    Ok(rows.collect())
}

/// The archive while it is written.
struct Bundle {
    archive: tar::Builder<GzEncoder<NewFile>>,
    /// What could not be had, and why.
    missing: Vec<String>,
}

impl Bundle {
    fn create(path: &std::path::Path) -> Result<Bundle, CliError> {
        if path.exists() {
            let why = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(FileError::of("create", path)(why).into());
        }
        let file = NewFile::create(path, 0o600)?;
        Ok(Bundle {
            archive: tar::Builder::new(GzEncoder::new(file, Compression::default())),
            missing: vec![],
        })
    }

    fn add(&mut self, name: &str, value: Value) -> Result<(), CliError> {
        // Metrics are text in a JSON string.
        let clean = match redact::json(value) {
            Value::String(text) => text,
            value => format!("{value:#}\n"),
        };
        self.add_text(name, &clean)
    }

    fn add_result<E: std::error::Error>(
        &mut self,
        name: &str,
        result: Result<Value, E>,
    ) -> Result<(), CliError> {
        match result {
            Ok(value) => self.add(name, value),
            Err(error) => {
                let why = redact::text(&with_causes(&error));
                self.missing.push(format!("{name}: {why}"));
                self.add_text(&format!("{name}.missing"), &format!("{why}\n"))
            }
        }
    }

    fn add_text(&mut self, name: &str, text: &str) -> Result<(), CliError> {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        Ok(self.archive.append_data(&mut header, format!("shoal-support/{name}"), text.as_bytes())?)
    }

    /// What is missing, and the SHA-256 of the archive.
    fn finish(self) -> Result<(Vec<String>, String), CliError> {
        let file = self.archive.into_inner()?.finish()?;
        Ok((self.missing, file.finish()?))
    }
}

const README: &str = "\
An archive of `shoal support-bundle`, for a report of a fault.

version.json   of the program that wrote this
settings.json  of the machine on which it was written; of secrets only that they are set
readyz.json    what the controller says of itself
metrics.txt    its metrics
servers.json   the inventory, without passwords and user names
batches.json   the newest batches
jobs.json      the newest jobs; jobs/ has each with its events
checks/        what the BMCs of some servers offer, and what is wrong with them

Where NAME.missing stands in the place of a file, it says why there is none.
Not in it: kickstarts, passwords, tokens, keys, metadata of recipes, variables, logs.
The log of a service is shown by: journalctl -u shoal
";
