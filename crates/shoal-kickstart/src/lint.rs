//! Findings in a kickstart: a text and options in, named rules with spans out.
//!
//! The checks are in the modules below, one subject each; this file runs them and sorts what they
//! find. Nothing is changed or run. Invariant: a message never quotes an argument of `rootpw` or
//! `serialnum`, nor a word of an unknown command.

mod allow;
mod disks;
mod general;
mod network;
mod password;
mod placeholders;
mod scripts;
mod shell;
pub mod strength;
mod values;
mod whole;
mod written;

use std::collections::BTreeSet;

use crate::hook::Hook;
use crate::rules::{self, Class, Rule};
use crate::syntax::{self, Command, File, Span};
use crate::version::Version;
use written::Included;

/// What is known beside the text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Unknown: [`Version::ASSUMED`].
    pub version: Option<Version>,
    pub hook: Hook,
}

/// One mistake at one place.
#[derive(Clone, Debug)]
pub struct Finding {
    pub rule: &'static Rule,
    /// Bytes of the text; empty where something is missing.
    pub span: Span,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
}

/// A finding that a remark in the text allows.
#[derive(Clone, Debug)]
pub struct Allowed {
    pub finding: Finding,
    pub reason: String,
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// By line; within a line the worst first.
    pub found: Vec<Finding>,
    pub allowed: Vec<Allowed>,
}

impl Findings {
    /// Whether the text would stop the installation.
    pub fn breaks(&self) -> bool {
        self.count(Class::Breaks) > 0
    }

    pub fn count(&self, class: Class) -> usize {
        self.found.iter().filter(|finding| finding.rule.class == class).count()
    }
}

/// Judges any bytes.
pub fn lint(source: &[u8], options: Options) -> Findings {
    let file = syntax::parse(source);
    let included = written::read(&file);
    let mut lint = Lint::new(&file, &included, options);
    placeholders::check(&mut lint);
    general::check(&mut lint);
    password::check(&mut lint);
    values::check(&mut lint);
    disks::check(&mut lint);
    network::check(&mut lint);
    scripts::check(&mut lint);
    whole::check(&mut lint);
    let Lint { mut found, .. } = lint;
    found.sort_by_key(|finding| (finding.line, finding.rule.class, finding.span.start, finding.rule.id));
    let by_line = found.chunk_by(|a, b| a.line == b.line);
    let mut found: Vec<Finding> =
        by_line.flat_map(|line| line.iter().take(FINDINGS_OF_A_LINE_MAX).cloned()).collect();
    for finding in &mut found {
        finding.column = file.column(&finding.span);
    }
    allow::apply(&file, found)
}

/// More findings of one line than this are noise, and each is shown with its line.
const FINDINGS_OF_A_LINE_MAX: usize = 20;
/// The installer stops at the next command, so that no more are judged.
const COMMANDS_MAX: usize = 256;

/// The state of one run.
struct Lint<'f, 'a> {
    file: &'f File<'a>,
    included: &'f Included,
    /// The commands that are judged, each with the index of its line: those of the file, and those that a `%pre`
    /// writes to an included file.
    all: Vec<(usize, &'f Command)>,
    /// The first command beyond [`COMMANDS_MAX`].
    excess: Option<&'f Command>,
    version: Version,
    hook: Hook,
    found: Vec<Finding>,
    /// Indices of lines with placeholders or expansions, of which nothing else is known.
    unfilled: BTreeSet<usize>,
    /// Whether there may be commands that are not seen: an include or a placeholder may stand for them.
    is_partial: bool,
}

impl<'f, 'a> Lint<'f, 'a> {
    fn new(file: &'f File<'a>, included: &'f Included, options: Options) -> Lint<'f, 'a> {
        let own = file.commands();
        let mut all: Vec<_> = own
            .flat_map(|(at, command)| std::iter::once((at, command)).chain(included.of_line(at)))
            .collect();
        let excess = all.get(COMMANDS_MAX).map(|(_, command)| *command);
        all.truncate(COMMANDS_MAX);
        Lint {
            file,
            included,
            all,
            excess,
            version: options.version.unwrap_or(Version::ASSUMED),
            hook: options.hook,
            found: Vec::new(),
            unfilled: included.expanding.iter().copied().collect(),
            is_partial: included.is_partial,
        }
    }

    /// Adds a finding, if the rule applies to the version and the line is known.
    fn report(&mut self, rule: &'static Rule, span: &Span, message: impl Into<String>) {
        let at = self.file.line_at(span.start);
        let is_known = !self.unfilled.contains(&at) || span.is_empty() || rule.id == rules::PLACEHOLDER.id;
        if rule.applies_to(self.version) && is_known {
            let line = self.file.lines.get(at).map_or(1, |line| line.number);
            self.found.push(Finding { rule, span: span.clone(), line, column: 1, message: message.into() });
        }
    }

    /// Adds a finding whose title says everything.
    fn report_title(&mut self, rule: &'static Rule, span: &Span) {
        self.report(rule, span, rule.title);
    }

    /// The command of one of these names that the installer acts on: the last one.
    fn command(&self, names: &'static [&'static str]) -> Option<&'f Command> {
        self.commands(names).last()
    }

    fn commands(&self, names: &'static [&'static str]) -> impl Iterator<Item = &'f Command> + use<'f, 'a> {
        let commands = self.all.iter().map(|(_, command)| *command);
        let named: Vec<&Command> =
            commands.filter(|command| names.contains(&command.name.text.as_str())).collect();
        named.into_iter()
    }
}

#[cfg(test)]
mod tests;
