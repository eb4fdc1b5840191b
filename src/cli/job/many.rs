//! Follows several jobs, or all, to their ends.
//!
//! One table on a terminal, a line for each change elsewhere. The controller is asked for its lists of jobs and not for
//! each job, so that hundreds cost as much as one. Invariant: exit code 0 means that every job succeeded.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use shoal_base::with_causes;
use tokio::time::Instant;

use super::shown::{deadline_text, end_text, progress_text, step_text, word};
use crate::cli::client::{Client, ClientError};
use crate::cli::output::{self, Output, table_within, to_stderr};
use crate::cli::{CliError, Exit, Format};

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A controller that restarts is back long before.
const ABSENCE_MAX: Duration = Duration::from_secs(600);
/// A failed job's media may have to stay for hours: too long to wait for here.
const CLEANUP_WAIT: Duration = Duration::from_secs(60);
/// Lines of a terminal that are no rows of the table.
const FRAME_LINES: usize = 3;

/// Which jobs.
pub enum WatchedJobs {
    These(Vec<String>),
    /// Those that are active now, or become so while others are.
    All,
}

/// Follows the jobs until all are over.
pub async fn watch(client: &Client, watched: WatchedJobs, output: Output) -> Result<Exit, CliError> {
    let mut many = Many::new(watched, output);
    let resume = many.resume_hint();
    let end = tokio::select! {
        end = many.follow(client) => end,
        _ = tokio::signal::ctrl_c() => {
            many.screen.finish();
            to_stderr(&resume);
            return Ok(Exit::Interrupted);
        }
    };
    many.screen.finish();
    end?;
    many.conclude(output)
}

struct Many {
    /// Jobs as they were last seen; none of a job that has not been seen yet.
    jobs: BTreeMap<String, Option<Value>>,
    /// When a job was first seen to have failed, or to have been cancelled.
    failed_at: BTreeMap<String, Instant>,
    all: bool,
    screen: TableScreen,
}

impl Many {
    fn new(watched: WatchedJobs, output: Output) -> Many {
        let (ids, all) = match watched {
            WatchedJobs::These(ids) => (ids, false),
            WatchedJobs::All => (vec![], true),
        };
        Many {
            jobs: ids.into_iter().map(|id| (id, None)).collect(),
            failed_at: BTreeMap::new(),
            all,
            screen: TableScreen::new(output),
        }
    }

    fn resume_hint(&self) -> String {
        let ids: Vec<&str> = self.jobs.keys().map(String::as_str).collect();
        let which = if self.all { "--all".to_owned() } else { ids.join(" ") };
        format!("the jobs go on; watch them again with `shoal job watch {which}`")
    }

    async fn follow(&mut self, client: &Client) -> Result<(), CliError> {
        let mut absent_since = None;
        loop {
            match self.look(client).await {
                Ok(()) => absent_since = None,
                Err(
                    error @ (ClientError::Unreachable { .. }
                    | ClientError::TimedOut { .. }
                    | ClientError::Broken { .. }),
                ) => {
                    let since = *absent_since.get_or_insert_with(|| {
                        self.screen.note(&format!("{}; trying again", with_causes(&error)));
                        Instant::now()
                    });
                    if since.elapsed() > ABSENCE_MAX {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
            self.screen.draw(self.jobs.values().flatten());
            if (absent_since.is_none() && self.is_over()) || output::is_closed() {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Takes in how the jobs stand now.
    async fn look(&mut self, client: &Client) -> Result<(), ClientError> {
        if self.all {
            for status in ["queued", "provisioning"] {
                for job in pages(client, &[("status", status)], None).await? {
                    self.take(job);
                }
            }
        }
        let open = |id: &&String| !self.jobs[*id].as_ref().is_some_and(is_finished);
        let Some(oldest) = self.jobs.keys().filter(open).min().cloned() else { return Ok(()) };
        // Ids rise with time, so none of the wanted jobs is on a page behind the oldest.
        for job in pages(client, &[("refused", "true")], Some(&oldest)).await? {
            if self.jobs.contains_key(word(&job["job_id"])) {
                self.take(job);
            }
        }
        let unseen: Vec<String> =
            self.jobs.iter().filter(|(_, job)| job.is_none()).map(|(id, _)| id.clone()).collect();
        for id in unseen {
            // An id that no list has is an error that names it.
            let job = client.get(&["jobs", &id]).await?;
            self.take(job);
        }
        Ok(())
    }

    fn take(&mut self, job: Value) {
        let id = word(&job["job_id"]).to_owned();
        if matches!(job["status"].as_str(), Some("failed" | "cancelled")) {
            self.failed_at.entry(id.clone()).or_insert_with(Instant::now);
        }
        let before = self.jobs.insert(id, Some(job.clone())).flatten();
        self.screen.changed(before.as_ref(), &job);
    }

    fn is_over(&self) -> bool {
        let is_enough = |(id, job): (&String, &Option<Value>)| {
            let waited = self.failed_at.get(id).is_some_and(|at| at.elapsed() > CLEANUP_WAIT);
            waited || job.as_ref().is_some_and(is_finished)
        };
        self.jobs.iter().all(is_enough)
    }

    /// The end of each, and what the command's result is.
    fn conclude(&self, output: Output) -> Result<Exit, CliError> {
        if self.jobs.is_empty() {
            to_stderr("there are no active jobs");
        }
        let jobs: Vec<&Value> = self.jobs.values().flatten().collect();
        for job in &jobs {
            output.print_line(job, |job| end_text(job));
        }
        let failed = jobs.iter().filter(|job| job["status"] != "succeeded").count();
        if jobs.len() > 1 {
            to_stderr(&format!("{} jobs: {} succeeded, {failed} did not", jobs.len(), jobs.len() - failed));
        }
        Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
    }
}

fn is_finished(job: &Value) -> bool {
    !job["finished_at"].is_null()
}

/// The jobs of all pages, down to the one with the id `oldest`.
async fn pages(
    client: &Client,
    filter: &[(&'static str, &str)],
    oldest: Option<&str>,
) -> Result<Vec<Value>, ClientError> {
    let mut all = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query: Vec<(&str, String)> =
            filter.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        query.push(("limit", "500".to_owned()));
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let mut page = client.get_with(&["jobs"], &query).await?;
        if let Some(jobs) = page["jobs"].as_array_mut() {
            all.append(jobs);
        }
        let last = all.last().map(|job| word(&job["job_id"]).to_owned());
        let is_behind = oldest.zip(last).is_some_and(|(oldest, last)| last.as_str() <= oldest);
        match page["next_cursor"].as_str() {
            Some(next) if !is_behind => cursor = Some(next.to_owned()),
            _ => return Ok(all),
        }
    }
}

/// Where the jobs are shown: a table that is drawn anew, or lines.
struct TableScreen {
    output: Output,
    table: Option<ProgressBar>,
}

impl TableScreen {
    fn new(output: Output) -> TableScreen {
        let is_live = output::terminal_size().is_some() && output.format == Format::Table;
        let table = is_live.then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.set_style(ProgressStyle::with_template("{msg}").expect("the template is sound"));
            bar
        });
        TableScreen { output, table }
    }

    /// Shows a change as a line, where there is no table.
    fn changed(&self, before: Option<&Value>, job: &Value) {
        let is_same = |before: &Value| line_of(before) == line_of(job);
        if self.table.is_none() && !is_finished(job) && !before.is_some_and(is_same) {
            self.output.print_line(job, line_of);
        }
    }

    fn draw<'a>(&self, jobs: impl Iterator<Item = &'a Value>) {
        let (Some(bar), Some((columns, lines))) = (&self.table, output::terminal_size()) else { return };
        bar.set_message(live_table(&jobs.collect::<Vec<_>>(), columns, usize::from(lines)));
    }

    fn note(&self, text: &str) {
        match &self.table {
            Some(bar) => bar.suspend(|| to_stderr(text)),
            None => to_stderr(text),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.table {
            bar.finish_and_clear();
        }
    }
}

fn line_of(job: &Value) -> String {
    let mut parts = vec![
        word(&job["server_serial"]).to_owned(),
        word(&job["job_id"]).to_owned(),
        word(&job["status"]).to_owned(),
        step_text(job),
    ];
    parts.extend(deadline_text(job));
    parts.join("  ")
}

/// The jobs that need attention first; as many rows as the terminal has lines for.
fn live_table(jobs: &[&Value], columns: u16, lines: usize) -> String {
    let mut sorted = jobs.to_vec();
    let rank = |job: &Value| match word(&job["status"]) {
        "provisioning" => 0,
        "failed" | "cancelled" => 1,
        "queued" => 2,
        _ => 3,
    };
    sorted.sort_by_key(|job| rank(job));
    let room = lines.saturating_sub(FRAME_LINES).max(1);
    let rows = sorted.iter().take(room).map(|job| {
        let deadline = deadline_text(job).unwrap_or_default();
        [
            word(&job["server_serial"]).to_owned(),
            word(&job["status"]).to_owned(),
            step_text(job),
            brief_progress(job),
            deadline,
        ]
    });
    let text = table_within(["SERVER", "STATUS", "STEP", "PROGRESS", "DEADLINE"], rows, Some(columns), true);
    match sorted.len().saturating_sub(room) {
        0 => text,
        more => format!("{text}\n… and {more} more"),
    }
}

/// As much as leaves room for the deadline.
fn brief_progress(job: &Value) -> String {
    let number = |key: &str| job["progress"][key].as_u64().unwrap_or(0);
    match (job["task_target"] == "install-esxi.target", number("installer_bytes_total")) {
        (true, _) if job["progress"]["ks_read"] == true => "kickstart read".to_owned(),
        (true, 0) => String::new(),
        (true, total) => {
            format!("installer {} %", number("installer_bytes_read").saturating_mul(100) / total)
        }
        (false, _) => progress_text(job),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(serial: &str, status: &str) -> Value {
        json!({
            "job_id": format!("id-of-{serial}"), "server_serial": serial, "status": status, "step": "esxi.poll_power",
            "task_target": "install-esxi.target", "last_update": "2026-11-22T12:00:00Z",
            "progress": {"installer_bytes_read": 5, "installer_bytes_total": 10, "ks_read": false},
            "deadline": {"kind": "kickstart_read", "at": "2026-11-22T14:05:00Z"},
        })
    }

    #[test]
    fn the_table_fits_the_terminal_and_shows_what_goes_on_first() {
        let jobs = [
            job("DONE", "succeeded"),
            job("A-RATHER-LONG-SERIAL-NUMBER", "provisioning"),
            job("C", "queued"),
        ];
        let jobs: Vec<&Value> = jobs.iter().collect();
        for columns in [60, 100, 200] {
            let text = live_table(&jobs, columns, 5);
            assert!(
                text.lines().all(|line| line.chars().count() <= usize::from(columns)),
                "{columns}\n{text}"
            );
            assert_eq!(text.lines().count(), 4, "a header, two rows, and how many more\n{text}");
            assert!(text.ends_with("… and 1 more") && !text.contains("DONE"), "{text}");
        }
        let jobs = [job("A1", "provisioning")];
        let usual = live_table(&jobs.iter().collect::<Vec<_>>(), 100, 50);
        assert!(usual.contains("installer 50 %  kickstart must be read by 14:05 UTC"), "{usual}");
    }
}
