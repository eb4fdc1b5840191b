//! What a BMC says of itself: its manager, its rules for logins, its licences; and how long its
//! answers take.
//!
//! No installation needs any of it, so a part that cannot be read is absent and no error. Invariant:
//! nothing here is a secret: of a licence its name is kept, never its key.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::service::ROOT;
use super::session::Session;
use super::system::System;
use super::{Bmc, Op, json};

/// Tries of each read after the first.
const RETRIES: u32 = 1;
/// Licences that are read.
const LICENCES_MAX: usize = 8;

/// What a BMC says of itself, as far as it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub manager: Option<Manager>,
    /// Requests carry the password, because the BMC gives no session.
    pub uses_basic: bool,
    /// An idle session ends after so many seconds.
    pub session_timeout_secs: Option<u64>,
    /// Sessions that live now, ours included.
    pub sessions: Option<usize>,
    /// So many wrong passwords lock an account (HPE: delay its next try); 0 for never.
    pub lockout_threshold: Option<u64>,
    pub lockout_secs: Option<u64>,
    /// Names, such as `iLO Advanced`.
    pub licences: Vec<String>,
}

/// The Manager of a system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manager {
    pub model: Option<String>,
    pub firmware: Option<String>,
    /// As the BMC writes it.
    pub date_time: Option<String>,
}

impl Bmc {
    /// What the BMC says of itself and its rules, as far as it does.
    pub async fn observe_about(&self, system: &System) -> About {
        let parts = Parts(&self.0.session);
        let root = parts.read(ROOT).await;
        let managers = self.0.discovery.managers_of(system).await.unwrap_or_default();
        let manager = match managers.first() {
            Some(link) => parts.read(link).await,
            None => Value::Null,
        };
        let mut about = About {
            manager: manager.is_object().then(|| parse_manager(&manager)),
            uses_basic: self.0.session.is_basic().await,
            licences: parts.licences(&root, &manager).await,
            ..About::default()
        };
        if let Some(link) = json::link(&root, "/SessionService") {
            let service = parts.read(&link).await;
            about.session_timeout_secs = number(&service, "/SessionTimeout");
            if let Some(link) = json::link(&service, "/Sessions") {
                about.sessions = count(&parts.read(&link).await);
            }
        }
        if let Some(link) = json::link(&root, "/AccountService") {
            (about.lockout_threshold, about.lockout_secs) = parse_lockout(&parts.read(&link).await);
        }
        about
    }

    /// How long each of `times` reads of the resource took. One that fails is left out.
    pub async fn observe_latency(&self, link: &str, times: usize) -> Vec<Duration> {
        let session = &self.0.session;
        let mut took = Vec::with_capacity(times);
        for _ in 0..times {
            let started = Instant::now();
            if session.read_up_to(&session.http.get(Op::About, link, None), 0).await.is_ok() {
                took.push(started.elapsed());
            }
        }
        took
    }
}

/// Reads what may be missing.
struct Parts<'b>(&'b Session);

impl Parts<'_> {
    /// Where the maker keeps them: HPE in the Manager, Dell behind a link of its own, others (Lenovo
    /// XCC 2.83, iDRAC 7.10) in the standard's LicenseService.
    async fn licences(&self, root: &Value, manager: &Value) -> Vec<String> {
        let in_manager = ["/Oem/Hpe/License/LicenseString", "/Oem/Hp/License/LicenseString"];
        let in_manager: Vec<String> =
            in_manager.into_iter().filter_map(|pointer| json::text(manager, pointer)).collect();
        if !in_manager.is_empty() {
            return in_manager;
        }
        let mut collection = json::link(manager, "/Links/Oem/Dell/DellLicenseCollection");
        if collection.is_none()
            && let Some(service) = json::link(root, "/LicenseService")
        {
            collection = json::link(&self.read(&service).await, "/Licenses");
        }
        let Some(collection) = collection else { return Vec::new() };
        let mut names = Vec::new();
        // Dell's collection holds its members whole.
        for member in json::list(&self.read(&collection).await, "/Members").iter().take(LICENCES_MAX) {
            let name = match (licence_name(member), json::link(member, "")) {
                (Some(name), _) => Some(name),
                (None, Some(link)) => licence_name(&self.read(&link).await),
                (None, None) => None,
            };
            names.extend(name);
        }
        names
    }

    /// A resource, or nothing where it cannot be read.
    async fn read(&self, link: &str) -> Value {
        match self.0.read_up_to(&self.0.http.get(Op::About, link, None), RETRIES).await {
            Ok(reply) => reply.body,
            Err(error) => {
                tracing::debug!(path = link, kind = %error.kind, "a part of what the BMC says is not read");
                Value::Null
            }
        }
    }
}

fn parse_manager(body: &Value) -> Manager {
    Manager {
        model: json::text(body, "/Model"),
        firmware: json::text(body, "/FirmwareVersion"),
        date_time: json::text(body, "/DateTime"),
    }
}

/// HPE has no lockout but a delay, under names of its own.
fn parse_lockout(body: &Value) -> (Option<u64>, Option<u64>) {
    let either = |standard, hpe| number(body, standard).or_else(|| number(body, hpe));
    (
        either("/AccountLockoutThreshold", "/Oem/Hpe/AuthFailuresBeforeDelay"),
        either("/AccountLockoutDuration", "/Oem/Hpe/AuthFailureDelayTimeSeconds"),
    )
}

fn licence_name(body: &Value) -> Option<String> {
    let described = json::texts(body, "/LicenseDescription").into_iter().next();
    described.or_else(|| json::text(body, "/Description")).or_else(|| json::text(body, "/Name"))
}

fn count(collection: &Value) -> Option<usize> {
    collection.is_object().then(|| json::list(collection, "/Members").len())
}

fn number(body: &Value, pointer: &str) -> Option<u64> {
    json::text(body, pointer)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lockouts_are_read_under_either_name() {
        let x13 = json!({"AccountLockoutThreshold": 3, "AccountLockoutDuration": 30});
        assert_eq!(parse_lockout(&x13), (Some(3), Some(30)));
        let ilo6 = json!({"Oem": {"Hpe": {"AuthFailuresBeforeDelay": 1, "AuthFailureDelayTimeSeconds": 10}}});
        assert_eq!(parse_lockout(&ilo6), (Some(1), Some(10)));
        assert_eq!(parse_lockout(&Value::Null), (None, None));
    }

    #[test]
    fn a_licence_is_named_and_its_key_is_not() {
        let dell = json!({"LicenseDescription": ["iDRAC9 Enterprise License"], "EntitlementID": "SECRET"});
        assert_eq!(licence_name(&dell).as_deref(), Some("iDRAC9 Enterprise License"));
        let standard = json!({"Name": "XCC Platinum", "EntitlementId": "SECRET", "Description": null});
        assert_eq!(licence_name(&standard).as_deref(), Some("XCC Platinum"));
        assert_eq!(licence_name(&json!({"@odata.id": "/x"})), None);
    }

    #[test]
    fn sessions_are_counted_where_they_are_shown() {
        assert_eq!(count(&json!({"Members": [{}, {}]})), Some(2));
        assert_eq!(count(&Value::Null), None);
    }
}
