//! The hardware of a server, for people.

use serde_json::Value;

use super::super::output::table;

/// A line for each part.
pub fn hardware_text(hardware: &Value) -> String {
    let list = |name: &str| hardware[name].as_array().into_iter().flatten();
    let mut rows = vec![
        ["model".to_owned(), words(hardware, &["manufacturer", "model", "sku"])],
        ["firmware".to_owned(), labelled(hardware, &[("BIOS", "bios_version"), ("BMC", "bmc_version")])],
        ["processors".to_owned(), processors(&hardware["processors"])],
        ["memory".to_owned(), hardware["memory_mib"].as_u64().map_or("-".to_owned(), memory)],
    ];
    rows.extend(list("nics").map(|nic| ["nic".to_owned(), nic_text(nic)]));
    rows.extend(list("drives").map(|drive| {
        let kind = if drive["is_volume"] == true { "volume" } else { "drive" };
        [kind.to_owned(), drive_text(drive)]
    }));
    rows.extend(list("firmware").map(|entry| ["version".to_owned(), words(entry, &["version", "name"])]));
    let unread = list("unread").filter_map(Value::as_str);
    rows.extend(unread.map(|why| ["not read".to_owned(), why.to_owned()]));
    rows.push(["read at".to_owned(), text(hardware, "read_at").unwrap_or_default()]);
    table(["PART", "FOUND"], rows)
}

fn text(value: &Value, key: &str) -> Option<String> {
    match &value[key] {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Those of the texts that are there, one after the other.
fn words(value: &Value, keys: &[&str]) -> String {
    let words: Vec<String> = keys.iter().filter_map(|key| text(value, key)).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(" ") }
}

fn labelled(value: &Value, keys: &[(&str, &str)]) -> String {
    let parts = keys.iter().filter_map(|(label, key)| Some(format!("{label} {}", text(value, key)?)));
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

fn processors(value: &Value) -> String {
    let count = value["count"].as_u64().map(|count| format!("{count} × "));
    let size = labelled(value, &[("cores", "cores"), ("threads", "threads")]);
    format!("{}{}, {size}", count.unwrap_or_default(), words(value, &["model"]))
}

fn memory(mib: u64) -> String {
    match mib % 1024 {
        0 => format!("{} GiB", mib / 1024),
        _ => format!("{mib} MiB"),
    }
}

fn nic_text(nic: &Value) -> String {
    let speed = nic["speed_mbps"].as_u64().map(|speed| format!(" {speed} Mb/s")).unwrap_or_default();
    let link = match nic["has_link"].as_bool() {
        Some(true) => " link up",
        Some(false) => " no link",
        None => "",
    };
    format!("{}{speed}{link}", words(nic, &["mac", "id", "name"]))
}

fn drive_text(drive: &Value) -> String {
    // As drives are sold: decimal.
    let size =
        drive["bytes"].as_u64().map(|bytes| format!(" {} GB", bytes / 1_000_000_000)).unwrap_or_default();
    format!("{}{size}", words(drive, &["id", "vendor", "model", "serial", "protocol", "controller"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_is_a_hyphen() {
        let empty = hardware_text(&json!({"processors": {}, "read_at": "2026-01-01T00:00:00Z"}));
        assert!(empty.contains("memory") && empty.contains('-'), "{empty}");
        let full = hardware_text(&json!({
            "manufacturer": "Dell Inc.", "model": "PowerEdge R750", "bios_version": "1.8.2", "memory_mib": 524_288,
            "processors": {"count": 2, "model": "Xeon", "cores": 36},
            "nics": [{"id": "NIC.1", "mac": "00:0a:f7:11:22:33", "speed_mbps": 25_000, "has_link": false}],
            "drives": [{"id": "Disk.0", "is_volume": true, "bytes": 480_103_981_056_u64, "model": "BOSS-S2"}],
            "firmware": [{"name": "BIOS", "version": "1.8.2"}], "unread": ["/x: 403"],
        }));
        for part in [
            "Dell Inc. PowerEdge R750",
            "BIOS 1.8.2",
            "2 × Xeon, cores 36",
            "512 GiB",
            "00:0a:f7:11:22:33 NIC.1 25000 Mb/s no link",
            "Disk.0 BOSS-S2 480 GB",
            "/x: 403",
        ] {
            assert!(full.contains(part), "{part}: {full}");
        }
    }
}
