//! Findings for people: each with its line, what is wrong marked, and the remedy.
//!
//! Invariant: without colour the text has no escape sequence, whatever the source holds.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use strum::VariantArray as _;

use super::Judged;
use super::mask::mask;
use crate::lint::{Finding, Findings};
use crate::rules::Class;
use crate::syntax;

/// All findings of a text, and what remarks allow.
pub fn text(judged: &Judged<'_>, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let file = syntax::parse(judged.source);
    let name: String = judged.name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    let mut shown = String::new();
    for finding in &judged.findings.found {
        let masked = mask(&file, finding.line - 1, &finding.span);
        shown.push_str(&renderer.render(&[group(finding, &name, masked.text, masked.marked)]));
        shown.push_str("\n\n");
    }
    for allowed in &judged.findings.allowed {
        let (rule, line) = (allowed.finding.rule, allowed.finding.line);
        let reason: String = allowed.reason.chars().filter(|c| !c.is_control()).collect();
        shown.push_str(&format!("allowed: {} ({}) in line {line}: {reason}\n", rule.id, rule.class.name()));
    }
    shown.push_str(&format!("{name}: {}\n", summary(judged.findings)));
    shown
}

fn group<'a>(finding: &'a Finding, name: &'a str, line: String, marked: std::ops::Range<usize>) -> Group<'a> {
    let class = finding.rule.class;
    let level = match class {
        Class::Breaks => Level::ERROR,
        Class::Dangerous | Class::Lost => Level::WARNING,
        Class::Style => Level::NOTE,
    };
    let title = level.with_name(class.name()).primary_title(finding.message.as_str()).id(finding.rule.id);
    let snippet = Snippet::source(line).line_start(finding.line).path(name);
    let snippet = snippet.annotation(AnnotationKind::Primary.span(marked));
    title.element(snippet).element(Level::HELP.message(finding.rule.remedy))
}

/// `2 breaks, 1 dangerous, 0 lost, 3 style`, or that nothing was found.
pub fn summary(findings: &Findings) -> String {
    if findings.found.is_empty() {
        return "no findings".to_owned();
    }
    let counts: Vec<String> =
        Class::VARIANTS.iter().map(|class| format!("{} {}", findings.count(*class), class.name())).collect();
    counts.join(", ")
}
