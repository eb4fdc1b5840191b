//! What a file must have as a whole: agreement, installation, password, network, an end.
//!
//! What an include or a template may bring is not reported missing. Invariant: a finding of
//! something missing has an empty span where it would stand.

use std::collections::BTreeSet;

use super::Lint;
use super::shell::statements;
use crate::hook::Hook;
use crate::rules;
use crate::syntax::{LineKind, Section, Span};

pub fn check(lint: &mut Lint<'_, '_>) {
    if let Some(command) = lint.command(&["dryrun"]) {
        lint.report_title(&rules::DRYRUN, &command.name.span);
    }
    includes(lint);
    if !lint.is_partial {
        missing(lint);
    }
    paranoid(lint);
}

fn missing(lint: &mut Lint<'_, '_>) {
    let has = |lint: &Lint<'_, '_>, names: &'static [&'static str]| lint.command(names).is_some();
    let is_upgrade = has(lint, &["upgrade"]);
    let first = lint.file.lines.first().map_or(0, |line| line.span.start);
    let top = first..first;
    if !has(lint, &["vmaccepteula", "accepteula"]) && !is_upgrade {
        lint.report_title(&rules::NO_EULA, &top);
    }
    if !has(lint, &["install", "upgrade", "installorupgrade"]) {
        lint.report_title(&rules::NO_INSTALL, &top);
    }
    if !has(lint, &["rootpw"]) && !is_upgrade {
        lint.report_title(&rules::NO_ROOTPW, &top);
    }
    if !has(lint, &["network"]) && !is_upgrade {
        lint.report_title(&rules::NO_NETWORK, &top);
    }
    if !has(lint, &["reboot"]) && !lint.hook.powers_off() && !post_stops_the_host(lint) {
        no_reboot(lint);
    }
}

/// Whether a `%post` ends the installer itself, so that it waits for no input.
fn post_stops_the_host(lint: &Lint<'_, '_>) -> bool {
    let posts = lint.file.sections().filter(|(_, section, _)| *section == Section::Post);
    let stops = ["poweroff", "halt", "shutdown", "reboot"];
    posts.into_iter().any(|(at, _, _)| statements(lint.file, at).iter().any(|line| line.mentions(&stops)))
}

fn no_reboot(lint: &mut Lint<'_, '_>) {
    let file = lint.file;
    let swallowed = file.lines.iter().find(|line| {
        let is_reboot = file.text(&line.span).trim_ascii().starts_with(b"reboot");
        is_reboot && matches!(line.kind, LineKind::Body { .. })
    });
    let (span, message): (Span, String) = match swallowed {
        Some(line) => (
            line.span.clone(),
            "this `reboot` is part of a script: the installer waits for a key press at its end".to_owned(),
        ),
        None => {
            let end = before_sections(lint);
            (end..end, "no `reboot`: the installer waits for a key press at its end".to_owned())
        }
    };
    let message = match lint.hook {
        Hook::Webhook => format!("{message}; the webhook hook does not reboot the host"),
        _ => message,
    };
    lint.report(&rules::NO_REBOOT, &span, message);
}

/// Where a `reboot` would stand: before the first section, or at the end.
fn before_sections(lint: &Lint<'_, '_>) -> usize {
    let first_section = lint.file.sections().next().map(|(at, _, _)| at);
    match first_section {
        Some(at) => lint.file.lines[at].span.start,
        None => lint.file.lines.last().map_or(0, |line| line.span.end),
    }
}

/// Includes of files that nothing writes.
fn includes(lint: &mut Lint<'_, '_>) {
    let written = names_in_pre(lint);
    let is_written = |path: &str| written.contains(path.rsplit('/').next().unwrap_or(path));
    for command in lint.commands(&["%include", "include"]) {
        let Some(arg) = command.positional().next() else {
            lint.report(&rules::INCLUDE_MISSING, &command.name.span, "the include names no file");
            continue;
        };
        let path = arg.word.text.as_str();
        let is_elsewhere = path.contains("://") || path.starts_with("/vmfs/") || path.starts_with("/etc/");
        if !is_elsewhere && !is_written(path) {
            lint.report_title(&rules::INCLUDE_MISSING, &arg.word.span);
        }
    }
}

/// Every word of every `%pre` that may be the name of a file.
fn names_in_pre(lint: &Lint<'_, '_>) -> BTreeSet<String> {
    let file = lint.file;
    let pres = file.sections().filter(|(_, section, _)| *section == Section::Pre);
    let lines = pres.flat_map(|(at, _, _)| file.body(at)).map(|line| file.shown(&line.span));
    let is_end = |c: char| c.is_whitespace() || "/'\"`<>|&;()={},".contains(c);
    lines.flat_map(|line| line.split(is_end).map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn paranoid(lint: &mut Lint<'_, '_>) {
    let Some(command) = lint.command(&["paranoid"]) else { return };
    lint.report_title(&rules::PARANOID, &command.name.span);
    let warning = lint.found.iter().filter(|finding| finding.rule.warns).min_by_key(|finding| finding.line);
    if let Some(finding) = warning {
        let (id, span) = (finding.rule.id, finding.span.clone());
        let message = format!("the installer warns about this line ({id}), and `paranoid` makes that fatal");
        lint.report(&rules::PARANOID_WARNING, &span, message);
    }
}
