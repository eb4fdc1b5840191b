//! Which jobs stand for a host that runs what they installed. Pure.
//!
//! Invariant: each job that was named is either a host or left out with a reason.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::super::job::shown::step_text;

/// What was named on the command line.
pub enum Named {
    Job(Value),
    /// The controller does not have it any more, or never had.
    Absent {
        server: Option<String>,
        job: String,
    },
}

/// A host and the job that installed it, as the API shows both.
#[derive(Clone, Debug)]
pub struct InstalledHost {
    pub job: Value,
    /// `null` where the inventory does not have the server any more.
    pub server: Value,
}

impl InstalledHost {
    pub fn serial(&self) -> &str {
        self.job["server_serial"].as_str().unwrap_or_default()
    }

    pub fn left_out(&self, why: impl Into<String>) -> LeftOut {
        let text = |key: &str| self.job[key].as_str().unwrap_or_default().to_owned();
        LeftOut { server: Some(text("server_serial")), job: text("job_id"), why: why.into() }
    }

    /// Upper-case hex in pairs, as `openssl x509 -fingerprint -sha256` shows it.
    pub fn thumbprint(&self) -> Option<String> {
        let hex = self.job["installed"]["certificate_sha256"].as_str()?.to_ascii_uppercase();
        let pairs: Vec<&str> =
            hex.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok()).collect();
        Some(pairs.join(":"))
    }
}

/// A host that is not exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub server: Option<String>,
    pub job: String,
    pub why: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            Some(server) => write!(f, "{server} (job {}): {}", self.job, self.why),
            None => write!(f, "job {}: {}", self.job, self.why),
        }
    }
}

/// Hosts, what is left out, and what an operator should look at.
pub fn select(named: Vec<Named>, servers: &[Value]) -> (Vec<InstalledHost>, Vec<LeftOut>, Vec<String>) {
    let (mut hosts, mut left_out, mut doubts) = (Vec::new(), Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for named in named {
        let job = match named {
            Named::Job(job) => job,
            Named::Absent { server, job } => {
                left_out.push(LeftOut { server, job, why: "the controller has no such job".to_owned() });
                continue;
            }
        };
        if !seen.insert(job["job_id"].as_str().unwrap_or_default().to_owned()) {
            continue;
        }
        let server = servers.iter().find(|server| server["serial"] == job["server_serial"]);
        let host = InstalledHost { server: server.cloned().unwrap_or_default(), job };
        match obstacle(&host) {
            Some(why) => left_out.push(host.left_out(why)),
            None => {
                doubts.extend(doubt(&host));
                hosts.push(host);
            }
        }
    }
    (hosts, left_out, doubts)
}

/// Why the host does not run what the job installed, or not ESXi.
fn obstacle(host: &InstalledHost) -> Option<String> {
    let job = &host.job;
    match job["status"].as_str() {
        Some("succeeded") => {}
        Some("failed") => return Some(format!("the job failed: {}", step_text(job))),
        status => return Some(format!("the job is {}", status.unwrap_or("of an unknown status"))),
    }
    match job["task_target"].as_str() {
        Some("install-esxi.target") => {}
        target => {
            return Some(format!(
                "the job is of {}, which installs no ESXi",
                target.unwrap_or("an unknown target")
            ));
        }
    }
    let (newer, status) = newer_job(host)?;
    let why = match status {
        "succeeded" => "has installed the server since: export that one",
        "failed" | "cancelled" => return None,
        _ => "is to install the server again: wait for its end, and export that one",
    };
    Some(format!("job {newer} {why}"))
}

/// A later job that has not succeeded may have changed the host.
fn doubt(host: &InstalledHost) -> Option<String> {
    let (newer, status) = newer_job(host)?;
    let ended = if status == "cancelled" { "was cancelled" } else { "failed" };
    let serial = host.serial();
    Some(format!("{serial}: a later job of this server ({newer}) {ended}: check that the host still runs"))
}

fn newer_job(host: &InstalledHost) -> Option<(&str, &str)> {
    let last = &host.server["last_job"];
    let id = last["job_id"].as_str().filter(|id| host.job["job_id"] != *id)?;
    Some((id, last["status"].as_str()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(id: &str, serial: &str, status: &str) -> Value {
        json!({"job_id": id, "server_serial": serial, "status": status, "task_target": "install-esxi.target"})
    }

    fn server(serial: &str, last_job: &str, status: &str) -> Value {
        json!({"serial": serial, "last_job": {"job_id": last_job, "status": status}})
    }

    #[test]
    fn only_what_its_job_has_installed_is_a_host() {
        let mut failed = job("f", "F", "failed");
        failed["failed_step"] = json!("mount");
        failed["failure_code"] = json!("media_refused");
        let mut linux = job("l", "L", "succeeded");
        linux["task_target"] = json!("install-linux.target");
        let mut named: Vec<Named> = [
            job("a", "A", "succeeded"),
            failed,
            linux,
            job("q", "Q", "queued"),
            job("o", "O", "succeeded"),
            job("p", "P", "succeeded"),
            job("r", "R", "succeeded"),
            job("a", "A", "succeeded"),
        ]
        .map(Named::Job)
        .into();
        named.push(Named::Absent { server: None, job: "gone".to_owned() });
        let servers = [
            server("A", "a", "succeeded"),
            server("O", "o2", "succeeded"),
            server("P", "p2", "provisioning"),
            server("R", "r2", "cancelled"),
        ];
        let (hosts, left_out, doubts) = select(named, &servers);
        assert_eq!(hosts.iter().map(InstalledHost::serial).collect::<Vec<_>>(), ["A", "R"]);
        let left_out: Vec<String> = left_out.iter().map(ToString::to_string).collect();
        let expected = [
            "F (job f): the job failed: mount: media_refused",
            "L (job l): the job is of install-linux.target, which installs no ESXi",
            "Q (job q): the job is queued",
            "O (job o): job o2 has installed the server since: export that one",
            "P (job p): job p2 is to install the server again: wait for its end, and export that one",
            "job gone: the controller has no such job",
        ];
        assert_eq!(left_out, expected);
        assert_eq!(
            doubts,
            ["R: a later job of this server (r2) was cancelled: check that the host still runs"]
        );
    }

    #[test]
    fn a_thumbprint_is_written_as_openssl_shows_it() {
        let mut host = InstalledHost { job: job("a", "A", "succeeded"), server: Value::Null };
        assert_eq!(host.thumbprint(), None);
        host.job["installed"] = json!({"certificate_sha256": "0aff09"});
        assert_eq!(host.thumbprint().as_deref(), Some("0A:FF:09"));
    }
}
