//! Inventories of other tools: Dell omnia's mapping file, and the devices of NetBox (CSV export of its table, or JSON
//! of its API).
//!
//! Neither has credentials, which are given for all rows. Invariant: what becomes of a column is in this file, and
//! columns without use are left out.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::row::Row;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    Omnia,
    NetBox,
}

/// What becomes of the columns: fields of ours that are labels.
const OMNIA_LABELS: [(&str, &str); 5] = [
    ("functional_group_name", "functional_group"),
    ("group_name", "group"),
    ("hostname", "hostname"),
    ("admin_mac", "mac"),
    ("bmc_mac", "bmc_mac"),
];
const NETBOX_LABELS: [(&str, &str); 8] = [
    ("name", "hostname"),
    ("site", "site"),
    ("location", "location"),
    ("rack", "rack"),
    ("position", "position"),
    ("role", "role"),
    ("device_role", "role"),
    ("tenant", "tenant"),
];
const NETBOX_ADDRESSES: [&str; 6] =
    ["primary_ip", "ip_address", "primary_ip4", "ipv4_address", "primary_ip6", "ipv6_address"];

/// A column's name whatever its case: `OOB IP` is `oob_ip`.
pub fn plain(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace([' ', '-'], "_")
}

/// Whose file has these columns.
pub fn of_columns(names: &[&str]) -> Option<Foreign> {
    let names: Vec<String> = names.iter().map(|name| plain(name)).collect();
    whose(|wanted| names.iter().any(|name| name == wanted))
}

/// Whose record this is.
pub fn of_object(object: &Map<String, Value>) -> Option<Foreign> {
    whose(|wanted| object.contains_key(wanted))
}

fn whose(has: impl Fn(&str) -> bool) -> Option<Foreign> {
    let has_any = |names: &[&str]| names.iter().any(|name| has(name));
    match () {
        () if has("bmc_address") => None,
        () if has("service_tag") && has("bmc_ip") => Some(Foreign::Omnia),
        () if has_any(&["serial", "serial_number"]) && has("oob_ip") => Some(Foreign::NetBox),
        () => None,
    }
}

/// The texts of a record of NetBox's API, whose parts are objects with an address or a name.
pub fn texts(object: &Map<String, Value>) -> BTreeMap<String, String> {
    let text = |value: &Value| {
        let part = ["address", "name", "display", "label"].into_iter().find_map(|key| value.get(key));
        match part.unwrap_or(value) {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    };
    let texts = object.iter().filter_map(|(name, value)| Some((plain(name), text(value)?)));
    texts.filter(|(_, text)| !text.is_empty()).collect()
}

impl Foreign {
    /// Fills `row` from cells by their plain names.
    pub fn row(self, cells: &BTreeMap<String, String>, row: &mut Row) {
        let (serial, bmc, management, labels) = match self {
            Foreign::Omnia => (&["service_tag"][..], "bmc_ip", &["admin_ip"][..], &OMNIA_LABELS[..]),
            Foreign::NetBox => {
                (&["serial", "serial_number"][..], "oob_ip", &NETBOX_ADDRESSES[..], &NETBOX_LABELS[..])
            }
        };
        let first = |names: &[&str]| names.iter().find_map(|name| cells.get(*name));
        match first(serial) {
            Some(serial) => drop(row.body.insert("serial".to_owned(), json!(serial))),
            None => row.faults.push(format!("{}: is missing, and is the server's serial number", serial[0])),
        }
        match cells.get(bmc) {
            Some(address) => {
                row.body.insert("bmc_address".to_owned(), json!(format!("https://{}", host(address))));
            }
            None => row.faults.push(format!("{bmc}: is missing, and is the address of the BMC")),
        }
        if let Some(address) = first(management) {
            row.body.insert("management_address".to_owned(), json!(without_prefix(address)));
        }
        for (column, label) in labels {
            if let Some(value) = cells.get(*column) {
                row.set_in("labels", label, json!(value));
            }
        }
    }
}

/// `10.0.0.5/24` is `10.0.0.5`.
fn without_prefix(address: &str) -> &str {
    address.split('/').next().unwrap_or(address).trim()
}

/// As it stands in a URL.
fn host(address: &str) -> String {
    match without_prefix(address) {
        ipv6 if ipv6.parse::<std::net::Ipv6Addr>().is_ok() => format!("[{ipv6}]"),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests;
