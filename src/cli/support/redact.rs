//! What must not leave a site, taken out of texts and JSON. Pure.
//!
//! A second guard: what the API answers holds no secrets. Invariant: the shape stays, so that a program can still read
//! what is left.

use serde_json::Value;

const REMOVED: &str = "(removed)";
/// Parts of the names of fields whose values are removed.
const SECRET_NAMES: [&str; 8] =
    ["password", "passwd", "secret", "token", "authorization", "credential", "cookie", "username"];
/// Fields that hold what an operator wrote for other programs.
const FREE_NAMES: [&str; 2] = ["metadata", "variables"];
/// Where the part of a URL ends that may hold a login.
const AUTHORITY_END: [char; 6] = ['/', '?', '#', '"', '\'', ' '];

pub fn json(value: Value) -> Value {
    match value {
        Value::String(string) => Value::String(text(&string)),
        Value::Array(items) => items.into_iter().map(json).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| {
                let value = if is_removed(&name) { removed(value) } else { json(value) };
                (name, value)
            });
            Value::Object(fields.collect())
        }
        other => other,
    }
}

fn is_removed(name: &str) -> bool {
    let name = name.to_lowercase();
    FREE_NAMES.contains(&name.as_str()) || SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// Nothing, numbers and truth values give nothing away.
fn removed(value: Value) -> Value {
    match value {
        Value::String(_) | Value::Object(_) | Value::Array(_) => REMOVED.into(),
        other => other,
    }
}

/// The text without logins and queries in its URLs.
pub fn text(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        clean.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "\"'<>,".contains(c)).unwrap_or(after.len());
        let (url, next) = after.split_at(end);
        clean.push_str(&without_login_and_query(url));
        rest = next;
    }
    clean.push_str(rest);
    clean
}

/// Of what follows `://`.
fn without_login_and_query(url: &str) -> String {
    let (address, query) = match url.split_once('?') {
        Some((address, _)) => (address, format!("?{REMOVED}")),
        None => (url, String::new()),
    };
    let end = address.find(AUTHORITY_END).unwrap_or(address.len());
    let (authority, path) = address.split_at(end);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{REMOVED}@{host}{path}{query}"),
        None => format!("{address}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;

    #[test]
    fn fields_with_secrets_lose_their_values_and_keep_their_names() {
        let given = value!({
            "bmc_password": "hunter2", "WebhookSecret": "hunter2", "nested": [{"api_token": ["hunter2"]}],
            "metadata": {"note": "hunter2"}, "password_set": true, "serial": "A1", "tokens_left": 3,
        });
        let clean = json(given);
        assert!(!clean.to_string().contains("hunter2"), "{clean}");
        assert_eq!(
            (&clean["serial"], &clean["password_set"], &clean["tokens_left"]),
            (&value!("A1"), &value!(true), &value!(3))
        );
        assert_eq!(clean["nested"][0]["api_token"], REMOVED);
    }

    #[test]
    fn urls_lose_their_login_and_query() {
        for (given, clean) in [
            ("https://user:hunter2@files.test/a.iso", "https://(removed)@files.test/a.iso"),
            ("https://files.test/a.iso?sig=hunter2, next", "https://files.test/a.iso?(removed), next"),
            (
                "at http://a:hunter2@[::1]:80 and https://u@b/c?d",
                "at http://(removed)@[::1]:80 and https://(removed)@b/c?(removed)",
            ),
            ("https://u:p@ss@b/x", "https://(removed)@b/x"),
            ("https://b/x@y", "https://b/x@y"),
            ("no URL, a@b", "no URL, a@b"),
        ] {
            assert_eq!(text(given), clean);
        }
    }
}
