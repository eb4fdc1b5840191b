//! Follows one job to its end: its events as they come, and what became of it.
//!
//! A bar on a terminal, plain lines elsewhere. Invariants: no event is left out or shown twice,
//! whatever breaks between here and the controller; and the exit code is the job's outcome.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use shoal_base::with_causes;
use tokio::time::Instant;

use super::shown::{deadline_text, end_text, event_text, progress_text, word};
use crate::cli::client::{Client, ClientError, EventStream, StreamError};
use crate::cli::output::{Output, line, to_stderr};
use crate::cli::{CliError, Exit, Format};

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A controller that restarts is back long before.
const ABSENCE_MAX: Duration = Duration::from_secs(600);
/// A failed job's media may have to stay until its installer cannot be running any more, which may
/// take as long as an installation: too long to wait for here.
const CLEANUP_WAIT: Duration = Duration::from_secs(60);

/// Follows the job until it is over. `Exit::Failed` unless it succeeded.
pub async fn watch(client: &Client, job: &str, output: Output) -> Result<Exit, CliError> {
    let mut watcher = Watcher::new(client, job, output);
    let end = tokio::select! {
        end = watcher.follow() => end,
        _ = tokio::signal::ctrl_c() => {
            watcher.screen.finish();
            to_stderr(&format!("the job goes on; watch it again with `shoal job watch {job}`"));
            return Ok(Exit::Interrupted);
        }
    };
    watcher.screen.finish();
    let job = end?;
    output.print_line(&job, end_text);
    Ok(if job["status"] == "succeeded" { Exit::Done } else { Exit::Failed })
}

struct Watcher<'a> {
    client: &'a Client,
    job: &'a str,
    screen: WatchScreen,
    /// Id of the last event shown.
    after: u64,
    /// When the job was first seen to have failed.
    failed_at: Option<Instant>,
    /// Since when the controller has not answered.
    absent_since: Option<Instant>,
}

impl<'a> Watcher<'a> {
    fn new(client: &'a Client, job: &'a str, output: Output) -> Watcher<'a> {
        let screen = WatchScreen::new(output);
        Watcher { client, job, screen, after: 0, failed_at: None, absent_since: None }
    }

    /// To the end; gives the job as it stands then.
    async fn follow(&mut self) -> Result<Value, CliError> {
        loop {
            match self.client.follow(self.job, self.after).await {
                Ok(Some(stream)) => {
                    self.absent_since = None;
                    if let Some(job) = self.read(stream).await? {
                        return Ok(job);
                    }
                }
                Ok(None) => {}
                Err(error) => self.tolerate(error)?,
            }
            if let Some(job) = self.look().await?.filter(|job| self.is_enough(job)) {
                return Ok(job);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Shows what comes until the stream ends; the job, if it need not be followed any more.
    async fn read(&mut self, mut stream: EventStream) -> Result<Option<Value>, CliError> {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                biased;
                event = stream.next() => match event {
                    Ok(Some((id, event))) => {
                        self.after = self.after.max(id);
                        self.screen.show(&event);
                    }
                    Ok(None) => return Ok(None),
                    Err(error) => {
                        self.screen.note(&broken(&error));
                        return Ok(None);
                    }
                },
                _ = ticks.tick() => {
                    let enough = self.look().await?.filter(|job| self.is_enough(job) && job["finished_at"].is_null());
                    if enough.is_some() {
                        return Ok(enough);
                    }
                }
            }
        }
    }

    /// The job as it stands, without its events.
    async fn look(&mut self) -> Result<Option<Value>, CliError> {
        match self.client.get(&["jobs", self.job]).await {
            Ok(mut job) => {
                self.absent_since = None;
                if let Some(job) = job.as_object_mut() {
                    job.remove("events");
                }
                self.screen.progress(&job);
                if matches!(job["status"].as_str(), Some("failed" | "cancelled")) {
                    self.failed_at.get_or_insert_with(Instant::now);
                }
                Ok(Some(job))
            }
            Err(error) => self.tolerate(error).map(|()| None),
        }
    }

    /// Whether there is nothing more to wait for.
    fn is_enough(&self, job: &Value) -> bool {
        let over = !job["finished_at"].is_null();
        over || self.failed_at.is_some_and(|at| at.elapsed() > CLEANUP_WAIT)
    }

    /// A controller that does not answer may be restarting. A refusal stays one.
    fn tolerate(&mut self, error: ClientError) -> Result<(), CliError> {
        if !matches!(
            error,
            ClientError::Unreachable { .. } | ClientError::TimedOut { .. } | ClientError::Broken { .. }
        ) {
            return Err(error.into());
        }
        let since = *self.absent_since.get_or_insert_with(|| {
            self.screen.note(&format!("{}; trying again", with_causes(&error)));
            Instant::now()
        });
        if since.elapsed() > ABSENCE_MAX { Err(error.into()) } else { Ok(()) }
    }
}

fn broken(error: &StreamError) -> String {
    format!("{}; resuming", with_causes(error))
}

/// Where it is shown.
struct WatchScreen {
    format: Format,
    bar: ProgressBar,
}

impl WatchScreen {
    fn new(output: Output) -> WatchScreen {
        let bar = ProgressBar::new_spinner();
        // Hides itself where standard error is not a terminal.
        bar.set_draw_target(ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}").expect("the template is sound");
        bar.set_style(style);
        bar.enable_steady_tick(Duration::from_millis(200));
        WatchScreen { format: output.format, bar }
    }

    fn show(&self, event: &Value) {
        let text = match self.format {
            Format::Json => event.to_string(),
            Format::Table | Format::Sarif => event_text(event),
        };
        self.bar.suspend(|| line(&text));
    }

    fn note(&self, text: &str) {
        self.bar.suspend(|| to_stderr(text));
    }

    fn progress(&self, job: &Value) {
        let deadline = deadline_text(job).map(|deadline| format!("  {deadline}")).unwrap_or_default();
        self.bar.set_message(format!("{}  {}{deadline}", word(&job["step"]), progress_text(job)));
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
