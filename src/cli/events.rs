//! `shoal events`: what happens to all jobs, as it happens.
//!
//! Invariant: each event is shown once and in order, also when the stream breaks off and is resumed.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::Value;
use shoal_base::with_causes;
use tokio::time::Instant;

use super::client::{Client, ClientError, EventsAfter};
use super::job::shown::{event_text, word};
use super::output::{self, Output, to_stderr};
use super::{CliError, Exit};
use crate::config::ClientArgs;
use crate::domain::{BatchId, Serial};
use shoal_base::world::World;

/// How long a controller may be away, as one that is restarted.
const ABSENCE_MAX: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_secs(2);

/// Follow the events of all jobs until interrupted.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Only jobs of this server.
    #[arg(long, value_name = "SERIAL")]
    server: Option<Serial>,
    /// Only jobs of this batch.
    #[arg(long, value_name = "BATCH")]
    batch: Option<BatchId>,
    /// Only events at least as important as this.
    #[arg(long, value_enum, default_value_t = LevelName::Info)]
    level: LevelName,
    /// Begin with the events that are stored, instead of now.
    #[arg(long)]
    backlog: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LevelName {
    Info,
    Warning,
    Error,
}

impl LevelName {
    fn name(self) -> &'static str {
        match self {
            LevelName::Info => "info",
            LevelName::Warning => "warning",
            LevelName::Error => "error",
        }
    }
}

pub async fn run(args: EventsArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let client = Client::new(&args.client, world)?;
    let mut query = vec![("level", args.level.name().to_owned())];
    query.extend(args.batch.map(|batch| ("batch_id", batch.to_string())));
    query.extend(args.server.map(|serial| ("server_serial", serial.to_string())));
    // The position is fixed before the stream is opened, so that a stream that breaks off early loses nothing.
    let mut after = if args.backlog { 0 } else { latest(&client).await? };
    let mut absent_since = None;
    loop {
        match client.events(EventsAfter { after, query: &query }).await {
            Ok(mut stream) => {
                absent_since = None;
                loop {
                    match stream.next().await {
                        Ok(Some((id, event))) => {
                            after = after.max(id);
                            output.print_line(&event, event_line);
                            if output::is_closed() {
                                return Ok(Exit::Done);
                            }
                        }
                        Ok(None) => break,
                        Err(error) => {
                            to_stderr(&format!("{}; resuming", with_causes(&error)));
                            break;
                        }
                    }
                }
            }
            Err(error @ (ClientError::Unreachable { .. } | ClientError::TimedOut { .. })) => {
                let since = *absent_since.get_or_insert_with(Instant::now);
                if since.elapsed() > ABSENCE_MAX {
                    return Err(error.into());
                }
                to_stderr(&format!("{}; trying again", with_causes(&error)));
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn latest(client: &Client) -> Result<u64, ClientError> {
    let page = client.get_with(&["events"], &[("from", "now".to_owned())]).await?;
    Ok(page["next_after"].as_u64().unwrap_or(0))
}

fn event_line(event: &Value) -> String {
    format!("{}  {}  {}", word(&event["server_serial"]), word(&event["job_id"]), event_text(event))
}
