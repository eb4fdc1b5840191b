//! What a BMC says of a refusal: `@Message.ExtendedInfo`, `Messages` of a Task, `error.code`.
//!
//! It judges nothing. Invariant: a [`Complaint`] is bounded in length and holds no URL path, no
//! long run of hexadecimal digits (our media tokens look so, and session tokens often do) and no
//! password: BMCs quote what they were sent.

use serde_json::Value;

use super::json;
use shoal_base::hide_url_secrets;

/// The first message that is not about success, fit to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Complaint {
    /// Such as `Base.1.8.ActionParameterMissing`; empty where there is none.
    pub(super) message_id: String,
    /// The message, followed by its `Resolution` where that says anything.
    pub(super) message: String,
    pub(super) severity: Severity,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    #[default]
    Ok,
    Warning,
    Critical,
}

/// Messages that are looked at.
const MESSAGES_MAX: usize = 16;
/// Characters of a message, and of a message id, that are kept.
const TEXT_CHARS_MAX: usize = 300;
/// Characters of a `Resolution` that are kept.
const RESOLUTION_CHARS_MAX: usize = 200;
/// Characters of a complaint's message, `Resolution` included.
#[cfg(any(test, fuzzing, feature = "testing"))]
pub(super) const COMPLAINT_CHARS_MAX: usize = TEXT_CHARS_MAX + LABEL.len() + 1 + RESOLUTION_CHARS_MAX;
/// Introduces a `Resolution` behind its message.
const LABEL: &str = "Resolution: ";

/// The complaint of an answer; empty where it makes none.
///
/// A list or one object (iDRAC, xFusion), under `error` or at the top, or the `Messages` of a Task;
/// what those leave out, `error.code` and `error.message` say (sushy emulator).
pub(super) fn complaint(body: &Value, secrets: &[&str]) -> Complaint {
    let mut worst: Option<&Value> = None;
    for message in messages(body).filter(|message| says_something(message)) {
        if worst.is_none_or(|worst| rank(message) > rank(worst)) {
            worst = Some(message);
        }
    }
    let worst = worst.unwrap_or(&Value::Null);
    let or_general = |of_message: &str, general: &str| {
        shown(json::text(worst, of_message).or_else(|| json::text(body, general)), secrets)
    };
    let message = or_general("/Message", "/error/message");
    let resolution = json::text(worst, "/Resolution").filter(|text| resolves_something(text));
    let resolution: String = shown(resolution, secrets).chars().take(RESOLUTION_CHARS_MAX).collect();
    Complaint {
        message_id: or_general("/MessageId", "/error/code"),
        message: with_resolution(message, &resolution),
        severity: severity(worst),
    }
}

/// Registries fill the property where there is nothing to do.
fn resolves_something(resolution: &str) -> bool {
    const NOTHING: [&str; 10] = [
        "",
        "none",
        "n/a",
        "na",
        "not applicable",
        "not available",
        "no action required",
        "no action is required",
        "no resolution is required",
        "no response action is required",
    ];
    let text = resolution.trim().trim_end_matches('.').to_ascii_lowercase();
    !NOTHING.contains(&text.as_str())
}

fn with_resolution(message: String, resolution: &str) -> String {
    match (message.as_str(), resolution) {
        (_, "") => message,
        ("", _) => format!("{LABEL}{resolution}"),
        // Some repeat themselves.
        _ if message.contains(resolution) => message,
        _ => format!("{message} {LABEL}{resolution}"),
    }
}

/// Whether a message of a refusal names this property or parameter.
pub(super) fn names(body: &Value, property: &str) -> bool {
    let in_text = |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == property);
    let in_list = |message: &Value, key: &str| json::texts(message, key).iter().any(|text| in_text(text));
    messages(body).any(|message| {
        in_list(message, "/MessageArgs")
            || in_list(message, "/RelatedProperties")
            || json::text(message, "/Message").is_some_and(|text| in_text(&text))
    }) || json::text(body, "/error/message").is_some_and(|text| in_text(&text))
}

/// Whether a message id of the answer contains one of these words.
pub(super) fn has_id(body: &Value, words: &[&str]) -> bool {
    messages(body)
        .filter_map(|message| json::text(message, "/MessageId"))
        .any(|id| words.iter().any(|word| id.contains(word)))
}

/// Whether a refusal gives any reason: a message with an id other than the general one.
pub(super) fn says_why(body: &Value) -> bool {
    let ids = messages(body).filter_map(|message| json::text(message, "/MessageId"));
    let general = |id: &String| id.is_empty() || id.contains("GeneralError") || id.contains("Success");
    ids.chain(json::text(body, "/error/code")).any(|id| !general(&id))
}

fn messages(body: &Value) -> impl Iterator<Item = &Value> {
    ["/error/@Message.ExtendedInfo", "/@Message.ExtendedInfo", "/Messages"]
        .into_iter()
        .flat_map(|pointer| json::list(body, pointer))
        .take(MESSAGES_MAX)
}

fn says_something(message: &Value) -> bool {
    json::text(message, "/MessageId").or_else(|| json::text(message, "/Message")).is_some()
}

/// A typed message says more than the general one that often comes first.
fn rank(message: &Value) -> (Severity, bool) {
    let id = json::text(message, "/MessageId").unwrap_or_default();
    (severity(message), !id.is_empty() && !id.contains("GeneralError") && !id.contains("Success"))
}

fn severity(message: &Value) -> Severity {
    let text = json::text(message, "/MessageSeverity").or_else(|| json::text(message, "/Severity"));
    match text.unwrap_or_default().to_ascii_lowercase().as_str() {
        "critical" => Severity::Critical,
        "warning" => Severity::Warning,
        _ => Severity::Ok,
    }
}

/// `text` without secrets, on one line, cut to length.
fn shown(text: Option<String>, secrets: &[&str]) -> String {
    let mut text = text.unwrap_or_default();
    for secret in secrets.iter().filter(|secret| secret.len() >= 4) {
        text = text.replace(secret, HIDDEN);
    }
    let text = hide_url_secrets(&text);
    let words: Vec<String> = text.split_whitespace().map(redact_word).collect();
    words.join(" ").chars().take(TEXT_CHARS_MAX).collect()
}

const HIDDEN: &str = "(hidden)";

/// The path of a URL and long runs of hexadecimal digits give way to a word.
fn redact_word(word: &str) -> String {
    let word = match word.find("://") {
        Some(scheme) => {
            let path = word[scheme + 3..].find('/').map(|slash| scheme + 3 + slash);
            let end = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).len();
            match path {
                Some(path) if path < end => format!("{}/{HIDDEN}{}", &word[..path], &word[end..]),
                _ => word.to_owned(),
            }
        }
        None => word.to_owned(),
    };
    let is_token = |part: &str| part.len() >= 32 && part.chars().all(|c| c.is_ascii_hexdigit());
    let tokens: Vec<&str> =
        word.split(|c: char| !c.is_ascii_hexdigit()).filter(|part| is_token(part)).collect();
    tokens.iter().fold(word.clone(), |word, token| word.replace(token, HIDDEN))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_objects_and_bare_errors_are_read() {
        let message =
            json!({"MessageId": "Base.1.8.ResourceInUse", "Message": "In use.", "Severity": "Warning"});
        for body in [
            json!({"error": {"@Message.ExtendedInfo": [message.clone()]}}),
            json!({"error": {"@Message.ExtendedInfo": message.clone()}}),
            json!({"@Message.ExtendedInfo": [message.clone()]}),
            json!({"Messages": message.clone()}),
            json!({"error": {"code": "Base.1.8.ResourceInUse", "message": "In use."}}),
        ] {
            let found = complaint(&body, &[]);
            assert_eq!(
                (found.message_id.as_str(), found.message.as_str()),
                ("Base.1.8.ResourceInUse", "In use.")
            );
        }
        let bare = |info: Value| json!({"error": {"message": "In use.", "@Message.ExtendedInfo": info}});
        for info in [
            json!([]),
            json!([{}]),
            json!([{"MessageId": "Base.1.0.GeneralError"}]),
            json!("text"),
            json!([3]),
        ] {
            assert_eq!(complaint(&bare(info), &[]).message, "In use.");
        }
        assert_eq!(complaint(&bare(json!([{}, {"Message": "Really."}])), &[]).message, "Really.");
        for body in [
            json!(null),
            json!({"error": null}),
            json!([1, 2]),
            json!({"error": {"@Message.ExtendedInfo": 3}}),
        ] {
            assert_eq!(complaint(&body, &[]), Complaint::default(), "{body}");
        }
    }

    #[test]
    fn the_worst_and_most_specific_message_is_kept() {
        let body = json!({"error": {"code": "Base.1.8.GeneralError", "@Message.ExtendedInfo": [
            {"MessageId": "Base.1.8.Success", "MessageSeverity": "OK"},
            {"MessageId": "Base.1.8.GeneralError", "MessageSeverity": "Critical"},
            {"MessageId": "IDRAC.2.8.RAC0904", "Message": "Unable to reach.", "MessageSeverity": "Critical"},
        ]}});
        assert_eq!(complaint(&body, &[]).message_id, "IDRAC.2.8.RAC0904");
    }

    #[test]
    fn a_resolution_is_quoted_behind_its_message() {
        let of = |message: &str, resolution: Value| {
            let entry = json!({"MessageId": "X.1.Y", "Message": message, "Resolution": resolution});
            complaint(&json!({"error": {"@Message.ExtendedInfo": [entry]}}), &["hunter2"]).message
        };
        let advice = "Use one of HTTPS or NFS.";
        assert_eq!(of("Not taken.", json!(advice)), "Not taken. Resolution: Use one of HTTPS or NFS.");
        assert_eq!(of("", json!(advice)), "Resolution: Use one of HTTPS or NFS.");
        for nothing in
            [json!("None."), json!("no response action is required"), json!(null), json!([]), json!(" ")]
        {
            assert_eq!(of("Not taken.", nothing.clone()), "Not taken.", "{nothing}");
        }
        assert_eq!(of(&format!("Not taken. {advice}"), json!(advice)), format!("Not taken. {advice}"));
        let secret = of("No.", json!("See http://h/media/tasks/x/task.iso with hunter2"));
        assert_eq!(secret, "No. Resolution: See http://h/(hidden) with (hidden)");
        let long = of(&"m".repeat(1000), json!("r".repeat(1000)));
        assert_eq!(long.len(), COMPLAINT_CHARS_MAX);
    }

    #[test]
    fn nothing_secret_is_kept() {
        let token = "0123456789abcdef0123456789abcdef";
        let body = json!({"error": {"@Message.ExtendedInfo": [{"MessageId": "X", "Message": format!(
            "Cannot read 'http://10.0.0.1:8080/media/tasks/{token}.{token}/task.iso' ({token}), see \
             /media/tasks/{token}/task.iso. Password hunter2 was wrong."
        )}]}});
        assert_eq!(
            complaint(&body, &["hunter2"]).message,
            "Cannot read 'http://10.0.0.1:8080/(hidden)' ((hidden)), see /media/tasks/(hidden)/task.iso. \
             Password (hidden) was wrong."
        );
        let long = json!({"error": {"message": "x".repeat(10_000)}});
        assert_eq!(complaint(&long, &[]).message.len(), TEXT_CHARS_MAX);
    }

    #[test]
    fn a_named_property_is_found_wherever_it_is_named() {
        for message in [
            json!({"MessageArgs": ["VirtualMedia.InsertMedia", "TransferProtocolType"]}),
            json!({"RelatedProperties": ["#/TransferProtocolType"]}),
            json!({"Message": "The parameter TransferProtocolType is missing."}),
        ] {
            let body = json!({"error": {"@Message.ExtendedInfo": [message]}});
            assert!(names(&body, "TransferProtocolType"), "{body}");
            assert!(!names(&body, "TransferMethod"), "{body}");
        }
        assert!(!names(&json!({"error": {"message": "The value NotInserted"}}), "Inserted"));
    }
}
