//! Findings as SARIF 2.1.0, for code hosts and editors.
//!
//! No source text is embedded. Invariant: what is written conforms to the schema of SARIF 2.1.0.

use serde_json::{Value, json};

use super::Judged;
use crate::lint::Finding;
use crate::rules::{self, Class, Rule};

/// One run over all texts. `version` is that of the program.
pub fn sarif(judged: &[Judged<'_>], version: &str) -> Value {
    let rules: Vec<&Rule> = rules::all().collect();
    let mut results = Vec::new();
    for text in judged {
        results.extend(text.findings.found.iter().map(|finding| result(text, finding, &rules)));
        for allowed in &text.findings.allowed {
            let mut result = result(text, &allowed.finding, &rules);
            result["suppressions"] = json!([{ "kind": "inSource", "justification": allowed.reason }]);
            results.push(result);
        }
    }
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "shoal",
                "version": version,
                "rules": rules.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": { "text": rule.title },
        "fullDescription": { "text": rule.reason },
        "help": { "text": rule.remedy },
        "defaultConfiguration": { "level": level(rule.class) },
        "properties": { "class": rule.class.name(), "versions": rule.versions() },
    })
}

fn result(text: &Judged<'_>, finding: &Finding, rules: &[&Rule]) -> Value {
    let index = rules.iter().position(|rule| rule.id == finding.rule.id);
    let length =
        String::from_utf8_lossy(text.source.get(finding.span.clone()).unwrap_or_default()).chars().count();
    json!({
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": level(finding.rule.class),
        "message": { "text": format!("{} {}", sentence(&finding.message), finding.rule.remedy) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(text.name) },
            "region": {
                "startLine": finding.line,
                "startColumn": finding.column,
                "endColumn": finding.column + length,
            },
        } }],
    })
}

fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

fn level(class: Class) -> &'static str {
    match class {
        Class::Breaks => "error",
        Class::Dangerous | Class::Lost => "warning",
        Class::Style => "note",
    }
}

/// A path as a relative or absolute URI reference.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte))
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}
