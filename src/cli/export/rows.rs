//! Installed hosts as rows for scripts. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::super::BoxError;
use super::hosts::InstalledHost;
use super::name::{self, NameArgs};

/// What is known of one host.
#[derive(Debug, Serialize)]
pub struct HostRow {
    /// Its name, or its management address where no name is known.
    host: Option<String>,
    serial: String,
    management_address: Option<String>,
    version: Option<String>,
    build: Option<String>,
    verdict: Option<String>,
    confidence: Option<String>,
    /// SHA-256 of its certificate; only where it proved the installation.
    thumbprint_sha256: Option<String>,
    job_id: Option<String>,
    batch_id: Option<String>,
    finished_at: Option<String>,
    labels: BTreeMap<String, String>,
}

const COLUMNS: [&str; 11] = [
    "host",
    "serial",
    "management_address",
    "version",
    "build",
    "verdict",
    "confidence",
    "thumbprint_sha256",
    "job_id",
    "batch_id",
    "finished_at",
];

impl HostRow {
    pub fn of(host: &InstalledHost, names: &NameArgs) -> HostRow {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let InstalledHost { job, server } = host;
        let installed = &job["installed"];
        // The build of the installer, where the installed system has not shown its own.
        let last_job = &server["last_job"];
        let used = text(&last_job["build"]).filter(|_| last_job["job_id"] == job["job_id"]);
        let labels = server["labels"].as_object().into_iter().flatten();
        HostRow {
            host: names.host(host),
            serial: host.serial().to_owned(),
            management_address: name::address(host).map(str::to_owned),
            version: text(&installed["version"]),
            build: text(&installed["build"]).or(used),
            verdict: text(&job["verdict"]["outcome"]),
            confidence: text(&job["verdict"]["confidence"]),
            thumbprint_sha256: host.thumbprint(),
            job_id: text(&job["job_id"]),
            batch_id: text(&job["batch_id"]),
            finished_at: text(&job["finished_at"]),
            labels: labels.filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect(),
        }
    }
}

/// With a header; labels have a column each.
pub fn csv_text(rows: &[HostRow]) -> Result<String, BoxError> {
    let names: BTreeSet<&str> = rows.iter().flat_map(|row| row.labels.keys().map(String::as_str)).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let labels = names.iter().map(|name| format!("labels.{name}"));
    writer.write_record(COLUMNS.map(str::to_owned).into_iter().chain(labels))?;
    for row in rows {
        let fields = serde_json::to_value(row)?;
        let cells = COLUMNS.iter().map(|name| fields[name].as_str().unwrap_or_default());
        let labels = names.iter().map(|name| row.labels.get(*name).map_or("", String::as_str));
        writer.write_record(cells.chain(labels))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_has_what_a_script_needs_and_labels_have_columns() {
        let proven = InstalledHost {
            job: json!({"job_id": "j1", "batch_id": "b1", "server_serial": "A1", "finished_at": "2026-01-01T00:00:00Z",
                "verdict": {"outcome": "succeeded", "confidence": "proven"},
                "installed": {"management_address": "esx1.lab.example", "version": "8.0.3", "build": "24022510",
                    "certificate_sha256": "abcd"}}),
            server: json!({"labels": {"rack": "7, left"}}),
        };
        let other = InstalledHost {
            job: json!({"job_id": "j2", "server_serial": "B2", "installed": null,
                "verdict": {"outcome": "succeeded", "confidence": "assumed"}}),
            server: json!({"management_address": "10.0.0.2", "labels": {},
                "last_job": {"job_id": "j2", "build": "24022510"}}),
        };
        let rows = [proven, other].map(|host| HostRow::of(&host, &NameArgs::default()));
        let expected = [
            "host,serial,management_address,version,build,verdict,confidence,thumbprint_sha256,job_id,batch_id,\
             finished_at,labels.rack",
            "esx1.lab.example,A1,esx1.lab.example,8.0.3,24022510,succeeded,proven,AB:CD,j1,b1,2026-01-01T00:00:00Z,\
             \"7, left\"",
            "10.0.0.2,B2,10.0.0.2,,24022510,succeeded,assumed,,j2,,,",
        ];
        assert_eq!(csv_text(&rows).unwrap().lines().collect::<Vec<_>>(), expected);
        let fields = serde_json::to_value(&rows[0]).unwrap();
        assert!(COLUMNS.iter().all(|name| fields.get(name).is_some()), "{fields}");
    }
}
