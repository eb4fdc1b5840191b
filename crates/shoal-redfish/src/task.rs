//! What became of a write: its answer, and the Redfish Task of one that the BMC took in with 202.
//!
//! Four answers are possible. A refusal is an error. A success without a Task is the end of it, unless it holds a
//! message of severity Critical. A 202, or a body with a `TaskState`, names one or more links: the monitor in
//! `Location`, `TaskMonitor`, the Task itself. They are looked at one after the other, each until it says how the Task
//! ended, is not found [`MISSING_MAX`] times, or cannot say; a monitor that was seen and is gone has ended well. And
//! a monitor answers with the result of the request itself, once it is there.
//!
//! Waits between two looks begin with [`POLL_FIRST`], grow by half, and follow the BMC's `Retry-After` within bounds.
//! Every action is judged here. Invariant: it ends within the deadline, with success only where the BMC says so
//! or has nothing to say any more, and with a failure of the action only where the BMC reports one. Whether the
//! medium is really there is for the caller to look at.

use std::time::Duration;

use http::header;
use serde_json::Value;
use tokio::time::Instant;

use super::call::{Call, Reply};
use super::messages::Severity;
use super::service::ROOT;
use super::session::Session;
use super::{Op, RedfishError, RedfishErrorKind, json};

/// The first wait between two looks; it grows by half.
const POLL_FIRST: Duration = Duration::from_secs(1);
/// The longest wait between two looks, whatever the BMC asks for.
const POLL_MAX: Duration = Duration::from_secs(10);
/// A Task may not be there yet when its link is given out (Dell).
const MISSING_MAX: u32 = 3;
/// How long the Task of a write is followed whose effect the caller looks at anyway.
const SHORT_TIMEOUT: Duration = Duration::from_secs(60);

/// Finds out what became of a write.
pub(super) struct TaskFollower<'s>(pub(super) &'s Session);

impl TaskFollower<'_> {
    /// Sends a write and follows it to its end.
    pub(super) async fn act(&self, call: &Call<'_>, deadline: Instant) -> Result<(), RedfishError> {
        let reply = self.0.write(call).await?;
        self.outcome(call, &reply, deadline).await
    }

    /// What `reply` to `call` came to in the end.
    pub(super) async fn outcome(
        &self,
        call: &Call<'_>,
        reply: &Reply,
        deadline: Instant,
    ) -> Result<(), RedfishError> {
        self.accepted(call, reply)?;
        self.follow_task(call, reply, deadline).await.map_err(RedfishError::after_acceptance)
    }

    /// The same where the caller looks at the effect: of what comes after the acceptance, only a failure that the BMC
    /// reports is an error.
    pub(super) async fn outcome_before_look(
        &self,
        call: &Call<'_>,
        reply: &Reply,
    ) -> Result<(), RedfishError> {
        match self.outcome(call, reply, Instant::now() + SHORT_TIMEOUT).await {
            Err(error) if error.accepted && !error.is_reported_failure() => Ok(()),
            result => result,
        }
    }

    /// Whether the BMC took the request in, and does not say in the same answer that it failed: some answer 200 with
    /// a message of severity Critical. Success, OK and Warning are no failure (xFusion, HPE).
    fn accepted(&self, call: &Call<'_>, reply: &Reply) -> Result<(), RedfishError> {
        if !reply.status.is_success() {
            return Err(self.0.http.refusal(call, reply));
        }
        let is_task = reply.body.get("TaskState").is_some();
        let complaint = self.0.http.complaint(&reply.body);
        match !is_task && complaint.severity == Severity::Critical {
            true => Err(RedfishError::reported_failure(call.op, call.link, complaint)),
            false => Ok(()),
        }
    }

    /// Follows the Task of `reply` to its end. Without one there is nothing to wait for.
    async fn follow_task(
        &self,
        call: &Call<'_>,
        reply: &Reply,
        deadline: Instant,
    ) -> Result<(), RedfishError> {
        if let Some(end) = end_of(&reply.body) {
            return self.judge(end, "", &reply.body);
        }
        let Some(mut links) = self.task_links(reply) else { return Ok(()) };
        let (mut wait, mut missing, mut seen) = (POLL_FIRST, 0, false);
        let (mut unknown, began) = (Ok(()), Instant::now());
        while let Some(link) = links.first().cloned() {
            let now = Instant::now();
            if now >= deadline {
                let after = deadline - began;
                return Err(RedfishError::new(Op::Task, &link, RedfishErrorKind::TimedOut { after }));
            }
            tokio::time::sleep(wait.min(deadline - now)).await;
            wait = (wait + wait / 2).min(POLL_MAX);
            match self.look_at_task(&link, call.system).await? {
                TaskLook::Ended(result) => return result,
                TaskLook::Running(asked) => {
                    seen = true;
                    wait = asked.map_or(wait, |asked| asked.clamp(POLL_FIRST, POLL_MAX));
                }
                // The Task itself may say more than its monitor.
                TaskLook::Unknown(error) => {
                    links.remove(0);
                    (seen, missing, unknown) = (false, 0, Err(error));
                }
                // A monitor may be deleted once the Task has ended.
                TaskLook::Missing if seen => return Ok(()),
                TaskLook::Missing => {
                    missing += 1;
                    if missing >= MISSING_MAX {
                        links.remove(0);
                        missing = 0;
                    }
                }
            }
        }
        unknown
    }

    /// Where to look, on the BMC's own origin: the monitor in `Location` first, then what the body names. `None`
    /// where there is no Task.
    fn task_links(&self, reply: &Reply) -> Option<Vec<String>> {
        let is_task = reply.status.as_u16() == 202 || json::text(&reply.body, "/TaskState").is_some();
        let location = reply.header(header::LOCATION).map(str::to_owned);
        let mut links: Vec<String> = Vec::new();
        let named = [json::link(&reply.body, "/TaskMonitor"), json::link(&reply.body, "/@odata.id")];
        let named = location.into_iter().chain(named.into_iter().flatten());
        for link in named.filter_map(|link| self.0.http.origin.own_path(ROOT, &link)) {
            if !links.contains(&link) {
                links.push(link);
            }
        }
        is_task.then_some(links)
    }

    /// What the link shows now.
    async fn look_at_task(&self, link: &str, system: Option<&str>) -> Result<TaskLook, RedfishError> {
        let call = self.0.http.get(Op::Task, link, system);
        let reply = self.look(&call).await?;
        let status = reply.status.as_u16();
        Ok(match status {
            404 | 410 => TaskLook::Missing,
            200..300 => match (end_of(&reply.body), status) {
                (Some(end), _) => TaskLook::Ended(self.judge(end, link, &reply.body)),
                (None, 202) => TaskLook::Running(reply.retry_after),
                (None, _) if json::text(&reply.body, "/TaskState").is_some() => {
                    TaskLook::Running(reply.retry_after)
                }
                // A monitor answers with the result of the request once that is there.
                (None, _) => TaskLook::Ended(self.judge(TaskEnd::Completed, link, &reply.body)),
            },
            // A monitor answers with the error that the request met.
            400 | 409 => {
                let state = format!("HTTP {status}");
                TaskLook::Ended(Err(RedfishError::task_failed(
                    link,
                    &state,
                    self.0.http.complaint(&reply.body),
                )))
            }
            // What else a monitor answers is about the look.
            _ => TaskLook::Unknown(RedfishError::refused(
                Op::Task,
                link,
                status,
                self.0.http.complaint(&reply.body),
            )),
        })
    }

    /// Reads the Task's resource or monitor; the answer's status is part of what it says. A BMC
    /// that cannot answer for a while is asked again, like in any read.
    async fn look(&self, call: &Call<'_>) -> Result<Reply, RedfishError> {
        let mut retries = self.0.http.retries(Op::Task, self.0.http.limits.retries);
        loop {
            let error = match self.0.write(call).await {
                Ok(reply) if reply.is_not_ready() => self.0.http.refusal(call, &reply),
                Ok(reply) if reply.is_garbled && reply.status.is_success() => {
                    call.error(RedfishErrorKind::Garbled)
                }
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            retries.after(error).await?;
        }
    }

    /// The result that an end stands for. `Completed` with a status or message of severity Critical is a failure.
    fn judge(&self, end: TaskEnd, link: &str, body: &Value) -> Result<(), RedfishError> {
        let complaint = self.0.http.complaint(body);
        let status = json::text(body, "/TaskStatus").unwrap_or_default();
        let state = match end {
            TaskEnd::Completed
                if !status.eq_ignore_ascii_case("Critical") && complaint.severity < Severity::Critical =>
            {
                return Ok(());
            }
            TaskEnd::Completed => "Completed, but critical".to_owned(),
            TaskEnd::Failed(state) => state,
        };
        Err(RedfishError::task_failed(link, &state, complaint))
    }
}

/// What one look at a Task shows.
enum TaskLook {
    /// Still running; the BMC may say when to look again.
    Running(Option<Duration>),
    Missing,
    /// This link cannot say how the Task ended; the error says why.
    Unknown(RedfishError),
    Ended(Result<(), RedfishError>),
}

/// How a Task ended.
enum TaskEnd {
    Completed,
    Failed(String),
}

/// The end that a Task's body reports; `None` while it runs, and of what is no Task. `Interrupted` is no end: the
/// Task is not complete and may be restarted (DMTF).
fn end_of(body: &Value) -> Option<TaskEnd> {
    let state = json::text(body, "/TaskState")?;
    match state.as_str() {
        "Completed" => Some(TaskEnd::Completed),
        "Exception" | "Killed" | "Cancelled" => Some(TaskEnd::Failed(state)),
        _ => None,
    }
}
