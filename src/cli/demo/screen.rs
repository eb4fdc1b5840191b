//! What the demo prints: one aligned line a step, each with the time since the start.
//!
//! It shows only what the public API reports, and at the end the state of the simulated machines. Invariant: the
//! last line names the outcome.

use std::collections::BTreeMap;
use std::time::Duration;
use strum::VariantArray as _;

use serde_json::Value;
use tokio::time::Instant;

use super::{DemoTarget, INSTALL, STABLE_WINDOW, Truth};
use crate::cli::CliError;
use crate::cli::client::Client;
use crate::cli::output::{line, table};
use crate::domain::{Status, Step};

/// Between two looks at many jobs.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A simulated installation takes seconds.
const WAIT_MAX: Duration = Duration::from_secs(600);

pub struct DemoScreen {
    begun: Instant,
}

impl DemoScreen {
    pub fn begin(servers: u16, target: DemoTarget, scheme: &str) -> DemoScreen {
        let system = match target {
            DemoTarget::Esxi => "ESXi",
            DemoTarget::Linux => "Linux",
        };
        let what = match servers {
            1 => format!("one {system} installation on a simulated server"),
            more => format!("{more} {system} installations on simulated servers"),
        };
        line(&format!("shoal demo: {what}, over real {scheme} on loopback."));
        let stable = match target {
            DemoTarget::Esxi => {
                format!(", and the host must stay on for {} s instead of 90", STABLE_WINDOW.as_secs())
            }
            DemoTarget::Linux => String::new(),
        };
        line(&format!(
            "Times are scaled down: an install takes {} s instead of minutes{stable}.\n",
            INSTALL.as_secs()
        ));
        DemoScreen { begun: Instant::now() }
    }

    pub fn say(&self, what: &str, text: &str) {
        line(&format!("{:>6.1} s  {what:<27} {text}", self.begun.elapsed().as_secs_f64()));
    }

    /// Shows the events of one job as they come; gives the job at its end.
    pub async fn follow(&self, client: &Client, job: &str) -> Result<Value, CliError> {
        let mut after = 0;
        while self.begun.elapsed() < WAIT_MAX {
            // The stream ends with the job; one that breaks off is taken up again.
            if let Some(mut stream) = client.follow(job, after).await? {
                while let Ok(Some((id, event))) = stream.next().await {
                    after = id;
                    self.event(&event);
                }
            }
            let seen = client.get(&["jobs", job]).await?;
            if !seen["finished_at"].is_null() {
                return Ok(seen);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err("the demo has taken too long".into())
    }

    fn event(&self, event: &Value) {
        let text = |key: &str| event[key].as_str().unwrap_or_default();
        let status = text("status");
        // Of a step that ends immediately only the end is shown.
        if status == "started" && !text("step").starts_with("esxi.") {
            return;
        }
        let took = event["duration_ms"].as_u64().filter(|took| *took >= 100);
        let took = took.map(|took| format!(" ({:.1} s)", took as f64 / 1000.0)).unwrap_or_default();
        self.say(text("op"), &format!("{status:<10} {}{took}", text("message")));
    }

    /// Shows how many of many jobs are where; gives all of them at their end.
    pub async fn count(&self, client: &Client, jobs: &[String]) -> Result<Vec<Value>, CliError> {
        let mut shown = String::new();
        while self.begun.elapsed() < WAIT_MAX {
            let seen = all_jobs(client).await?;
            let counts = counts(&seen);
            if counts != shown {
                self.say("jobs", &counts);
                shown = counts;
            }
            if seen.len() == jobs.len() && seen.iter().all(|job| !job["finished_at"].is_null()) {
                return Ok(seen);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err("the demo has taken too long".into())
    }

    /// The table of many, what the machines say, and the outcome.
    pub fn end(&self, jobs: &[Value], truths: &[Truth]) {
        match (jobs, truths) {
            ([_], [truth]) => self.say("the machine itself", &truth.text),
            _ => {
                let rows = jobs.iter().zip(truths).map(|(job, truth)| {
                    [
                        word(&job["server_serial"]),
                        word(&job["status"]),
                        confidence(job),
                        kinds(job),
                        truth.text.clone(),
                    ]
                });
                let header = ["SERVER", "STATUS", "CONFIDENCE", "EVIDENCE", "THE MACHINE ITSELF"];
                line(&format!("\n{}", table(header, rows)));
            }
        }
        for (job, truth) in jobs.iter().zip(truths) {
            if job["status"] == "succeeded" && !truth.as_installed {
                line(&format!("\n{} is NOT what the controller says", word(&job["server_serial"])));
            }
        }
        line(&format!("\n{}", outcome(jobs, self.begun.elapsed())));
    }

    /// Where everything is that was left running.
    pub fn keep(&self, addresses: &[(String, String)]) {
        line("\nLeft running until you interrupt it:");
        for (what, address) in addresses {
            line(&format!("  {what:<11}  {address}"));
        }
    }
}

/// All jobs of the demo's controller, page by page, oldest first.
async fn all_jobs(client: &Client) -> Result<Vec<Value>, CliError> {
    let (mut jobs, mut cursor) = (vec![], None);
    loop {
        let mut query = vec![("limit", "500".to_owned())];
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page = client.get_with(&["jobs"], &query).await?;
        jobs.extend(page["jobs"].as_array().into_iter().flatten().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    jobs.sort_by_key(|job| word(&job["server_serial"]));
    Ok(jobs)
}

/// `12 mount.task, 30 esxi.poll_power, 8 succeeded`: those under way by their step, in its order.
fn counts(jobs: &[Value]) -> String {
    let place =
        |job: &Value| if job["finished_at"].is_null() { word(&job["step"]) } else { word(&job["status"]) };
    let places: Vec<String> = jobs.iter().map(place).collect();
    let count = |name: &str| places.iter().filter(|place| *place == name).count();
    let names =
        Step::ALL.iter().map(|step| step.name()).chain(Status::VARIANTS.iter().map(|status| status.name()));
    let counted: Vec<String> =
        names.filter(|name| count(name) > 0).map(|name| format!("{} {name}", count(name))).collect();
    counted.join(", ")
}

fn outcome(jobs: &[Value], took: Duration) -> String {
    let secs = took.as_secs_f64();
    if let [job] = jobs {
        let serial = word(&job["server_serial"]);
        return match job["status"].as_str() {
            Some("succeeded") => {
                format!("{serial} succeeded after {secs:.1} s: {}, by {}", confidence(job), evidence(job))
            }
            _ => format!("{serial} {} after {secs:.1} s: {}", word(&job["status"]), word(&job["reason"])),
        };
    }
    let succeeded = jobs.iter().filter(|job| job["status"] == "succeeded");
    let mut grounds: BTreeMap<String, usize> = BTreeMap::new();
    for job in succeeded.clone() {
        *grounds.entry(format!("{} by {}", confidence(job), kinds(job))).or_default() += 1;
    }
    let grounds: Vec<String> =
        grounds.into_iter().map(|(ground, count)| format!("{count} {ground}")).collect();
    let count = succeeded.count();
    format!("{count} of {} succeeded after {secs:.1} s: {}", jobs.len(), grounds.join(", "))
}

fn confidence(job: &Value) -> String {
    word(&job["verdict"]["confidence"])
}

/// What the verdict rests on, in full.
fn evidence(job: &Value) -> String {
    let all = job["verdict"]["evidence"].as_array().into_iter().flatten();
    let texts: Vec<String> =
        all.map(|evidence| format!("{} ({})", word(&evidence["kind"]), word(&evidence["detail"]))).collect();
    texts.join("; ")
}

/// What the verdict rests on, in a word each.
fn kinds(job: &Value) -> String {
    let all = job["verdict"]["evidence"].as_array().into_iter().flatten();
    let kinds: Vec<String> = all.map(|evidence| word(&evidence["kind"])).collect();
    kinds.join(" + ")
}

/// A text, or a dash.
fn word(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(status: &str) -> Value {
        json!({ "server_serial": "SIM0001", "status": status, "step": "reset", "finished_at": "x", "reason": "it broke",
            "verdict": { "confidence": "probable", "evidence": [{ "kind": "second_boot", "detail": "seen" }] } })
    }

    #[test]
    fn the_last_line_names_outcome_confidence_and_evidence() {
        let took = Duration::from_secs(12);
        let text = outcome(&[job("succeeded")], took);
        assert_eq!(text, "SIM0001 succeeded after 12.0 s: probable, by second_boot (seen)");
        assert_eq!(outcome(&[job("failed")], took), "SIM0001 failed after 12.0 s: it broke");
        let text = outcome(&[job("succeeded"), job("failed"), job("succeeded")], took);
        assert_eq!(text, "2 of 3 succeeded after 12.0 s: 2 probable by second_boot");
    }

    #[test]
    fn many_jobs_are_counted_by_where_they_are() {
        let mut running = job("provisioning");
        running["finished_at"] = Value::Null;
        assert_eq!(counts(&[running.clone(), job("succeeded"), running]), "2 reset, 1 succeeded");
    }
}
