//! Jobs and their events as people read them.

use bytesize::ByteSize;
use jiff::Timestamp;
use serde_json::Value;

/// A text, or a dash.
pub fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// A time of the API in a fixed width: RFC 3339, UTC, milliseconds.
pub fn time(value: &Value) -> String {
    let parsed = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    parsed.map_or_else(|| word(value).to_owned(), |at| format!("{at:.3}"))
}

/// Where the job is; of a failed one where it failed, and why, by its code.
pub fn step_text(job: &Value) -> String {
    match (job["failed_step"].as_str(), job["failure_code"].as_str()) {
        (Some(step), Some(code)) => format!("{step}: {code}"),
        (Some(step), None) => step.to_owned(),
        (None, Some(code)) => code.to_owned(),
        (None, None) => word(&job["step"]).to_owned(),
    }
}

/// What must have happened by when, or until when the media stay.
pub fn deadline_text(job: &Value) -> Option<String> {
    deadline_seen_at(&job["deadline"], word(&job["last_update"]))
}

/// A deadline as it is shown at a time, without the date if that is the same day.
pub fn deadline_seen_at(deadline: &Value, seen_at: &str) -> Option<String> {
    let at: Timestamp = deadline["at"].as_str()?.parse().ok()?;
    let what = match deadline["kind"].as_str()? {
        "installer_read" => "installer must be read by",
        "kickstart_read" => "kickstart must be read by",
        "installation_end" => "installation must end by",
        "recipe_read" => "recipe must be read by",
        "result" => "result must arrive by",
        "media_eject" => "media stay until",
        _ => "next deadline",
    };
    let is_today = seen_at.get(..10) == at.to_string().get(..10);
    let format = if is_today { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    Some(format!("{what} {} UTC", at.strftime(format)))
}

/// What the host has done so far.
pub fn progress_text(job: &Value) -> String {
    let progress = &job["progress"];
    if !matches!(job["task_target"].as_str(), Some("install-linux.target" | "install-windows.target")) {
        let kickstart = if progress["ks_read"] == true { "read" } else { "not read" };
        let size = |key: &str| ByteSize::b(progress[key].as_u64().unwrap_or(0));
        let (read, total) = (size("installer_bytes_read"), size("installer_bytes_total"));
        return format!("installer {read} of {total}, kickstart {kickstart}");
    }
    let image = &progress["image"];
    let step = image["step"].as_str();
    match (step, image["bytes"].as_u64(), image["total"].as_u64()) {
        (None, None, _) => "nothing reported yet".to_owned(),
        (step, Some(bytes), Some(total)) => {
            format!("{}: {} of {}", step.unwrap_or("image"), ByteSize::b(bytes), ByteSize::b(total))
        }
        (step, Some(bytes), None) => format!("{}: {}", step.unwrap_or("image"), ByteSize::b(bytes)),
        (Some(step), None, _) => step.to_owned(),
    }
}

/// Outcome, confidence and what it rests on.
pub fn verdict_text(verdict: &Value) -> String {
    if verdict.is_null() {
        return "-".to_owned();
    }
    let mut text = word(&verdict["outcome"]).to_owned();
    if let Some(confidence) = verdict["confidence"].as_str() {
        text.push_str(&format!(" ({confidence})"));
    }
    for evidence in verdict["evidence"].as_array().into_iter().flatten() {
        text.push_str(&format!("; {}: {}", word(&evidence["kind"]), word(&evidence["detail"])));
    }
    text
}

/// What became of a job, on one line.
pub fn end_text(job: &Value) -> String {
    let mut text = format!("job {} on {}: ", word(&job["job_id"]), word(&job["server_serial"]));
    match job["verdict"].is_null() {
        true => text.push_str(word(&job["status"])),
        false => text.push_str(&verdict_text(&job["verdict"])),
    }
    if let (Some(_), Some(reason)) = (job["failed_step"].as_str(), job["reason"].as_str()) {
        text.push_str(&format!("; {}: {reason}", step_text(job)));
    }
    match word(&job["cleanup"]) {
        "done" => text,
        cleanup => {
            let until = deadline_text(job).map(|until| format!(", {until}")).unwrap_or_default();
            format!("{text}; cleanup {cleanup}{until}")
        }
    }
}

pub fn event_text(event: &Value) -> String {
    let level = match word(&event["level"]) {
        "info" => String::new(),
        level => format!("{level}: "),
    };
    let [op, status, message] = ["op", "status", "message"].map(|key| word(&event[key]));
    format!("{}  {op}  {status}  {level}{message}", time(&event["time"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_verdict_is_shown_with_its_evidence() {
        let verdict = json!({"outcome": "succeeded", "confidence": "probable",
            "evidence": [{"kind": "second_boot", "at": "x", "detail": "BootProgress went back"}]});
        let text = verdict_text(&verdict);
        assert_eq!(text, "succeeded (probable); second_boot: BootProgress went back");
        assert_eq!(verdict_text(&Value::Null), "-");
    }

    #[test]
    fn the_last_line_shows_the_outcome_and_what_is_left_to_do() {
        let job = json!({
            "job_id": "ab", "server_serial": "A1", "status": "failed", "verdict": {"outcome": "failed", "evidence": []},
            "failed_step": "reset", "failure_code": "power_request_refused", "reason": "the BMC refuses",
            "cleanup": "pending", "last_update": "2026-11-22T12:00:00Z",
            "deadline": {"kind": "media_eject", "at": "2026-11-23T01:40:00Z"},
        });
        assert_eq!(
            end_text(&job),
            "job ab on A1: failed; reset: power_request_refused: the BMC refuses; cleanup pending, media stay until \
             2026-11-23 01:40 UTC"
        );
    }

    #[test]
    fn times_have_one_width() {
        for (given, shown) in [
            ("2026-11-22T12:00:00Z", "2026-11-22T12:00:00.000Z"),
            ("2026-11-22T12:00:00.01Z", "2026-11-22T12:00:00.010Z"),
            ("2026-11-22T12:00:00.123456Z", "2026-11-22T12:00:00.123Z"),
        ] {
            assert_eq!(time(&json!(given)), shown);
        }
        assert_eq!(time(&Value::Null), "-");
    }

    #[test]
    fn a_linux_job_shows_its_own_progress() {
        let job = |image: Value| json!({"task_target": "install-linux.target", "progress": {"image": image}});
        assert_eq!(progress_text(&job(Value::Null)), "nothing reported yet");
        let writing = json!({"step": "write", "bytes": 1_048_576, "total": 4_194_304});
        assert_eq!(progress_text(&job(writing)), "write: 1.0 MiB of 4.0 MiB");
        assert_eq!(progress_text(&job(json!({"step": "disk"}))), "disk");
    }
}
