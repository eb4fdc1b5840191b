//! Follows one batch to its end: a table on a terminal, one line for each row that changes elsewhere.
//!
//! It looks at the batch every two seconds. Invariant: the exit code is 0 only if every row succeeded.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use serde_json::Value;
use shoal_base::with_causes;
use shoal_base::world::World;
use tokio::time::Instant;

use super::{batch_text, outcome_text, summary, word};
use crate::cli::client::{Client, ClientError};
use crate::cli::job::shown::deadline_seen_at;
use crate::cli::output::{Output, line, table_within, terminal_size, to_stderr};
use crate::cli::{CliError, Exit, Format};

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A controller that restarts is back long before.
const ABSENCE_MAX: Duration = Duration::from_secs(600);
/// So many rows are shown live: those that run, then those that failed last.
const LIVE_ROWS: usize = 15;

/// Follows the batch until nothing of it will happen any more.
pub async fn watch(client: &Client, id: &str, world: &World, output: Output) -> Result<Exit, CliError> {
    let mut watcher = BatchWatcher::new(world, output);
    let end = tokio::select! {
        end = watcher.follow(client, id) => end,
        _ = tokio::signal::ctrl_c() => {
            watcher.bar.finish_and_clear();
            to_stderr(&format!("the batch goes on; follow it again with: shoal batch watch {id}"));
            return Ok(Exit::Interrupted);
        }
    };
    let batch = end?;
    watcher.bar.finish_and_clear();
    output.print_line(&batch, batch_text);
    let counts = &batch["counts"];
    let all_succeeded = counts["succeeded"].is_u64() && counts["succeeded"] == counts["total"];
    Ok(if all_succeeded { Exit::Done } else { Exit::Failed })
}

/// Nothing of it runs, and nothing will start without an operator.
fn is_at_rest(batch: &Value) -> bool {
    let nothing_runs = batch["counts"]["running"] == 0;
    match word(&batch["status"]) {
        "halted" | "paused" => nothing_runs,
        _ => !batch["finished_at"].is_null(),
    }
}

struct BatchWatcher<'a> {
    world: &'a World,
    format: Format,
    bar: ProgressBar,
    /// What was last shown of each row.
    shown: BTreeMap<String, String>,
    status: String,
    absent_since: Option<Instant>,
}

impl<'a> BatchWatcher<'a> {
    fn new(world: &'a World, output: Output) -> BatchWatcher<'a> {
        let bar = ProgressBar::new_spinner();
        // Hides itself where standard error is not a terminal.
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template("{msg}").expect("the template is sound"));
        let (shown, status) = (BTreeMap::new(), String::new());
        BatchWatcher { world, format: output.format, bar, shown, status, absent_since: None }
    }

    /// To its end, or until nothing of it will happen without an operator.
    async fn follow(&mut self, client: &Client, id: &str) -> Result<Value, CliError> {
        loop {
            if let Some(batch) = self.look(client, id).await?.filter(is_at_rest) {
                return Ok(batch);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The batch as it stands; `None` while the controller does not answer.
    async fn look(&mut self, client: &Client, id: &str) -> Result<Option<Value>, CliError> {
        match client.get(&["batches", id]).await {
            Ok(batch) => {
                self.absent_since = None;
                self.show(&batch);
                Ok(Some(batch))
            }
            Err(
                error @ (ClientError::Unreachable { .. }
                | ClientError::TimedOut { .. }
                | ClientError::Broken { .. }),
            ) => {
                let since = *self.absent_since.get_or_insert_with(|| {
                    self.bar.suspend(|| to_stderr(&format!("{}; trying again", with_causes(&error))));
                    Instant::now()
                });
                if since.elapsed() > ABSENCE_MAX { Err(error.into()) } else { Ok(None) }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn show(&mut self, batch: &Value) {
        if word(&batch["status"]) != self.status {
            self.status = word(&batch["status"]).to_owned();
            self.bar.suspend(|| to_stderr(&summary(batch)));
        }
        let is_live = !self.bar.is_hidden();
        for row in batch["rows"].as_array().into_iter().flatten() {
            let state = row_text(row);
            let before = self.shown.insert(word(&row["server_serial"]).to_owned(), state.clone());
            let is_news = before.as_ref() != Some(&state) && word(&row["state"]) != "waiting";
            if !is_news || (is_live && word(&row["state"]) == "running") {
                continue;
            }
            let text = if self.format == Format::Json { row.to_string() } else { state };
            self.bar.suspend(|| line(&text));
        }
        if is_live {
            self.bar.set_message(live_table(batch, self.world.clock.now()));
        }
    }
}

/// One row on one line.
fn row_text(row: &Value) -> String {
    let (server, state) = (word(&row["server_serial"]), word(&row["state"]));
    let what = match state {
        "running" => word(&row["step"]).to_owned(),
        "succeeded" => word(&row["confidence"]).to_owned(),
        _ => outcome_text(row),
    };
    format!("{server}  {state}  {what}  job {}", word(&row["job_id"]))
}

fn live_table(batch: &Value, now: Timestamp) -> String {
    let now = now.to_string();
    let rows = || batch["rows"].as_array().into_iter().flatten();
    let running = rows().filter(|row| word(&row["state"]) == "running");
    let failed = rows().filter(|row| word(&row["state"]) == "failed");
    let shown = running.chain(failed).take(LIVE_ROWS).map(|row| {
        let [server, state, step] = ["server_serial", "state", "step"].map(|key| word(&row[key]).to_owned());
        let next = deadline_seen_at(&row["deadline"], &now).unwrap_or_else(|| outcome_text(row));
        [server, state, step, next]
    });
    let columns = terminal_size().map(|(columns, _)| columns);
    let rows = table_within(["SERVER", "STATE", "STEP", "DEADLINE OR REASON"], shown, columns, true);
    format!("{rows}\n{}", summary(batch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_batch_is_at_rest_when_nothing_will_happen_without_an_operator() {
        let batch = |status: &str, running: u64, finished: Option<&str>| json!({"status": status, "counts": {"running": running}, "finished_at": finished});
        assert!(!is_at_rest(&batch("running", 0, None)));
        assert!(!is_at_rest(&batch("halted", 1, None)) && is_at_rest(&batch("halted", 0, None)));
        assert!(!is_at_rest(&batch("cancelled", 0, None)));
        assert!(is_at_rest(&batch("finished", 0, Some("now"))));
    }
}
