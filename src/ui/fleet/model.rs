//! The fleet as one page shows it: filtered, grouped, paged. Pure.
//!
//! Invariants: rows keep the order of their serial numbers within a group, so that nothing moves under the pointer;
//! the counts of the states are those of the search, whichever state is chosen.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::ui::records::ServerRow;
use crate::ui::text::needs_a_person;

/// Rows of one page.
const PAGE_ROWS: usize = 1_000;

/// What the URL asks for. An unknown value is the default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FleetQuery {
    /// Words that must all be in a serial number, a BMC address, a label or a reason.
    pub q: String,
    pub state: String,
    /// The label whose values are the groups; `-` for none.
    pub group: String,
    pub page: String,
}

/// The states of the filter, in the order in which they are shown.
pub const STATES: [(&str, &str); 8] = [
    ("", "All"),
    ("attention", "Needs a person"),
    ("installing", "Installing"),
    ("queued", "Queued"),
    ("succeeded", "Succeeded"),
    ("failed", "Failed"),
    ("cancelled", "Cancelled"),
    ("none", "No job yet"),
];

pub struct Fleet {
    pub query: FleetQuery,
    /// By state, of what the search found.
    pub counts: BTreeMap<&'static str, usize>,
    pub groups: Vec<FleetGroup>,
    /// Names of labels that servers have.
    pub labels: Vec<String>,
    /// The label that the groups are of.
    pub group: Option<String>,
    /// Hosts that the filters leave, on all pages.
    pub found: usize,
    /// From 1.
    pub page: usize,
    pub pages: usize,
    /// There are more servers than are read for a page.
    pub is_cut: bool,
}

pub struct FleetGroup {
    /// `None`: servers without that label, or all where nothing is grouped.
    pub value: Option<String>,
    pub rows: Vec<ServerRow>,
}

impl Fleet {
    pub fn new(servers: Vec<ServerRow>, query: FleetQuery, is_cut: bool) -> Fleet {
        let labels = label_names(&servers);
        let group = group_label(&query.group, &labels, &servers);
        let words: Vec<String> = query.q.split_whitespace().map(str::to_lowercase).collect();
        let mut found: Vec<ServerRow> =
            servers.into_iter().filter(|server| matches(server, &words)).collect();
        let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
        for server in &found {
            for state in states_of(server) {
                *counts.entry(state).or_default() += 1;
            }
        }
        let state = STATES.iter().map(|(name, _)| *name).find(|name| *name == query.state).unwrap_or("");
        found.retain(|server| states_of(server).contains(&state));
        let value = |server: &ServerRow| group.as_ref().and_then(|label| server.labels.get(label).cloned());
        // Stable: within a value the order stays. Servers without the label come last.
        found.sort_by_key(|server| value(server).map_or((true, String::new()), |value| (false, value)));
        let pages = found.len().div_ceil(PAGE_ROWS).max(1);
        let page = query.page.parse::<usize>().unwrap_or(1).clamp(1, pages);
        let count = found.len();
        let mut groups: Vec<FleetGroup> = Vec::new();
        for server in found.into_iter().skip((page - 1) * PAGE_ROWS).take(PAGE_ROWS) {
            let value = value(&server);
            match groups.last_mut().filter(|group| group.value == value) {
                Some(group) => group.rows.push(server),
                None => groups.push(FleetGroup { value, rows: vec![server] }),
            }
        }
        Fleet { query, counts, groups, labels, group, found: count, page, pages, is_cut }
    }

    pub fn rows(&self) -> impl Iterator<Item = &ServerRow> {
        self.groups.iter().flat_map(|group| &group.rows)
    }

    /// The URL of this page with one value replaced.
    pub fn link(&self, name: &str, value: &str) -> String {
        let FleetQuery { q, state, group, page: _ } = &self.query;
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let mut is_empty = true;
        for (known, old) in [("q", q.as_str()), ("state", state), ("group", group), ("page", "")] {
            let value = if known == name { value } else { old };
            if !value.is_empty() {
                query.append_pair(known, value);
                is_empty = false;
            }
        }
        if is_empty { "/".to_owned() } else { format!("/?{}", query.finish()) }
    }
}

/// Every state of the filter that a server is in.
fn states_of(server: &ServerRow) -> Vec<&'static str> {
    let Some(job) = &server.last_job else { return vec!["", "none"] };
    let state = match job.status.as_str() {
        "provisioning" => "installing",
        other => STATES.iter().map(|(name, _)| *name).find(|name| *name == other).unwrap_or(""),
    };
    let mut states = vec!["", state];
    states.extend(needs_a_person(job).then_some("attention"));
    states.dedup();
    states
}

fn matches(server: &ServerRow, words: &[String]) -> bool {
    let mut text = format!("{} {}", server.serial, server.bmc_address);
    for (name, value) in &server.labels {
        text.push_str(&format!(" {name}={value}"));
    }
    if let Some(job) = &server.last_job {
        for part in [&job.reason, &job.failure_code, &job.failed_step].into_iter().flatten() {
            text.push(' ');
            text.push_str(part);
        }
    }
    let text = text.to_lowercase();
    words.iter().all(|word| text.contains(word))
}

fn label_names(servers: &[ServerRow]) -> Vec<String> {
    let mut names: Vec<String> = servers.iter().flat_map(|server| server.labels.keys().cloned()).collect();
    names.sort();
    names.dedup();
    names
}

/// The chosen label, or the one that most servers have.
fn group_label(chosen: &str, names: &[String], servers: &[ServerRow]) -> Option<String> {
    if chosen == "-" {
        return None;
    }
    if names.iter().any(|name| name == chosen) {
        return Some(chosen.to_owned());
    }
    let holders = |name: &String| servers.iter().filter(|server| server.labels.contains_key(name)).count();
    // Of several the first by name.
    names.iter().rev().max_by_key(|name| holders(name)).cloned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn server(serial: &str, labels: Value, job: Option<(&str, &str)>) -> ServerRow {
        let job = job.map(|(status, cleanup)| {
            json!({"job_id": "j", "task_target": "install-esxi.target", "status": status, "step": "reset",
                "failed_step": null, "reason": "The BMC is busy", "failure_code": null, "confidence": null,
                "deadline": null, "cleanup": cleanup, "created_at": "2026-11-22T12:00:00Z",
                "progress": {"installer_bytes_read": 0, "installer_bytes_total": 0, "ks_read": false},
                "last_update": "2026-11-22T12:00:00Z", "finished_at": null})
        });
        let server = json!({"serial": serial, "bmc_address": "https://10.0.0.1", "protected": false,
            "labels": labels, "last_job": job});
        serde_json::from_value(server).unwrap()
    }

    fn fleet(query: FleetQuery) -> Fleet {
        let servers = vec![
            server("A1", json!({"rack": "2", "site": "x"}), Some(("provisioning", "pending"))),
            server("A2", json!({"rack": "1"}), Some(("failed", "done"))),
            server("A3", json!({}), None),
            server("A4", json!({"rack": "1"}), Some(("cancelled", "partial"))),
        ];
        Fleet::new(servers, query, false)
    }

    fn serials(fleet: &Fleet) -> Vec<(Option<&str>, Vec<&str>)> {
        let rows = |group: &FleetGroup| group.rows.iter().map(|row| row.serial.clone()).collect::<Vec<_>>();
        let groups = fleet.groups.iter().map(|group| (group.value.as_deref(), rows(group)));
        groups
            .map(|(value, rows)| {
                let known = ["A1", "A2", "A3", "A4"];
                (value, known.into_iter().filter(|name| rows.iter().any(|row| row == name)).collect())
            })
            .collect()
    }

    #[test]
    fn servers_are_grouped_by_the_label_that_most_have() {
        let all = fleet(FleetQuery::default());
        assert_eq!(
            serials(&all),
            [(Some("1"), vec!["A2", "A4"]), (Some("2"), vec!["A1"]), (None, vec!["A3"]),]
        );
        assert_eq!((all.group.as_deref(), all.labels.len(), all.found), (Some("rack"), 2, 4));
        let flat = fleet(FleetQuery { group: "-".to_owned(), ..FleetQuery::default() });
        assert_eq!(serials(&flat), [(None, vec!["A1", "A2", "A3", "A4"])]);
    }

    #[test]
    fn the_filter_of_states_keeps_the_counts_of_the_search() {
        let query =
            FleetQuery { q: "rack=1 BUSY".to_owned(), state: "attention".to_owned(), ..Default::default() };
        let found = fleet(query);
        assert_eq!(serials(&found), [(Some("1"), vec!["A2", "A4"])]);
        assert_eq!((found.counts[""], found.counts["failed"], found.counts["attention"]), (2, 1, 2));
        assert_eq!(found.link("state", ""), "/?q=rack%3D1+BUSY");
        assert_eq!(fleet(FleetQuery { state: "nonsense".to_owned(), ..Default::default() }).found, 4);
    }

    #[test]
    fn a_page_that_is_not_there_is_the_nearest() {
        for page in ["0", "7", "x", "-1"] {
            let fleet = fleet(FleetQuery { page: page.to_owned(), ..Default::default() });
            assert_eq!((fleet.page, fleet.pages), (1, 1), "{page}");
        }
    }
}
