//! JSON over HTTP as an operator would send it: by curl.
//!
//! Credentials and bodies go through curl's standard input, so that no process list shows them.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::process::{Done, fail};

/// One service and how to enter it.
pub struct Service {
    /// Without a slash at its end.
    pub base: String,
    /// The whole `Authorization` header's value.
    pub authorization: String,
}

pub struct Answer {
    pub status: u16,
    /// Null where the body is no JSON.
    pub body: Value,
}

impl Service {
    pub fn get(&self, path: &str) -> Done<Answer> {
        self.send("GET", path, None, "")
    }

    pub fn post(&self, path: &str, body: &Value) -> Done<Answer> {
        self.send("POST", path, Some(body), "")
    }

    /// A request that may be sent again: the service does it once for this key.
    pub fn post_keyed(&self, path: &str, body: &Value, key: &str) -> Done<Answer> {
        self.send("POST", path, Some(body), &format!("Idempotency-Key: {key}"))
    }

    pub fn patch(&self, path: &str, body: &Value) -> Done<Answer> {
        self.send("PATCH", path, Some(body), "")
    }

    /// The body of a successful answer.
    pub fn read(&self, path: &str) -> Done<Value> {
        let answer = self.get(path)?;
        match answer.status {
            200 => Ok(answer.body),
            status => fail(format!("GET {}{path}: {status} {}", self.base, answer.body)),
        }
    }

    /// `header` is one more line, or empty.
    fn send(&self, method: &str, path: &str, body: Option<&Value>, header: &str) -> Done<Answer> {
        let mut config = format!(
            "url = {}\nrequest = {method}\nheader = {}\n",
            quoted(&format!("{}{path}", self.base)),
            quoted(&format!("Authorization: {}", self.authorization)),
        );
        if !header.is_empty() {
            config += &format!("header = {}\n", quoted(header));
        }
        if let Some(body) = body {
            config += &format!(
                "header = \"Content-Type: application/json\"\ndata = {}\n",
                quoted(&body.to_string())
            );
        }
        let said = curl(&config)?;
        let (body, status) = said.rsplit_once('\n').unwrap_or(("", &said));
        match status.parse() {
            Ok(status) if status > 0 => {
                Ok(Answer { status, body: serde_json::from_str(body).unwrap_or_default() })
            }
            _ => fail(format!("{method} {}{path}: no answer", self.base)),
        }
    }
}

/// Runs curl with a configuration; gives the body, and the status on the last line.
fn curl(config: &str) -> Done<String> {
    let flags =
        ["--silent", "--insecure", "--max-time", "60", "--write-out", "\\n%{http_code}", "--config", "-"];
    let mut curl = Command::new("curl");
    let child = curl.args(flags).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let output = child.and_then(|mut child| {
        child.stdin.take().expect("piped").write_all(config.as_bytes())?;
        child.wait_with_output()
    });
    match output {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => fail(format!("curl: {error}")),
    }
}

/// A value of curl's configuration language.
fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    #[test]
    fn json_survives_curls_configuration_language() {
        assert_eq!(super::quoted(r#"{"a":"b\nc"}"#), r#""{\"a\":\"b\\nc\"}""#);
    }
}
