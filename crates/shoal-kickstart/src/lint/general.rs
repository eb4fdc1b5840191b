//! Commands and options as the command table knows them, and how lines are written.
//!
//! What a value means is judged elsewhere. Invariant: words are named only by their place, never
//! quoted, since an unknown word may be a password.

use std::collections::BTreeMap;

use super::{COMMANDS_MAX, FINDINGS_OF_A_LINE_MAX, Lint};
use crate::commands::{self, CommandSpec, DEPRECATED, DISK, INSTALL_SOURCES, OptionSpec, Value};
use crate::rules;
use crate::syntax::{Arg, Command, LineKind, Span, Word};

const BYTE_ORDER_MARK: char = '\u{feff}';
const INSTALLS: [&str; 3] = ["install", "upgrade", "installorupgrade"];

pub fn check(lint: &mut Lint<'_, '_>) {
    let file = lint.file;
    let broken = file.lines.iter().filter_map(|line| match &line.kind {
        LineKind::Broken(fault) => Some(fault),
        _ => None,
    });
    for fault in broken.chain(&lint.included.broken).take(COMMANDS_MAX) {
        lint.report_title(&rules::UNBALANCED_QUOTE, &fault.at);
    }
    for (at, _, header) in file.sections() {
        non_ascii(lint, &file.lines[at].span);
        writing(lint, header);
        judge(lint, header, false, false);
    }
    let mut continues_at = None;
    for (at, command) in lint.all.clone() {
        let line = &file.lines[at];
        let is_written = matches!(line.kind, LineKind::Body { .. });
        non_ascii(lint, &if is_written { command.span() } else { line.span.clone() });
        writing(lint, command);
        judge(lint, command, continues_at == Some(at), !is_written && ends_script(lint, at, command));
        continues_at = command.is_continued().then_some(at + 1);
    }
    repeated(lint);
    if let Some(command) = lint.excess {
        lint.report_title(&rules::TOO_MANY_COMMANDS, &command.name.span);
    }
}

fn non_ascii(lint: &mut Lint<'_, '_>, line: &Span) {
    let text = lint.file.text(line);
    if let (Ok(text), Some(at)) = (std::str::from_utf8(text), text.iter().position(|byte| !byte.is_ascii())) {
        let length = text[at..].chars().next().map_or(1, char::len_utf8);
        lint.report_title(&rules::NON_ASCII, &(line.start + at..line.start + at + length));
    }
}

fn writing(lint: &mut Lint<'_, '_>, command: &Command) {
    let words = || std::iter::once(&command.name).chain(command.args.iter().map(|arg| &arg.word));
    if let Some(word) = words().find(|word| word.cut_by_comment) {
        lint.report_title(&rules::COMMENT_CUTS_WORD, &word.span);
    }
    if let Some(word) = words().find(|word| word.continued) {
        let end = word.span.end;
        lint.report_title(&rules::CONTINUATION, &(end - 1..end));
    }
}

fn judge(lint: &mut Lint<'_, '_>, command: &Command, follows_continuation: bool, ends_script: bool) {
    let name = command.name.text.as_str();
    match commands::find(name) {
        Some(spec) => arguments(lint, command, spec),
        None if DEPRECATED.contains(&name) => {
            lint.report(&rules::DEPRECATED_COMMAND, &command.name.span, format!("`{name}` has no effect"))
        }
        None if name.starts_with("%end") => lint.report_title(&rules::END_IGNORED, &command.name.span),
        None if ends_script => {
            lint.report_title(&rules::INCLUDE_ENDS_SECTION, &command.name.span);
        }
        None if follows_continuation => {}
        None => {
            let nearest = commands::nearest_command(name);
            let message = match nearest {
                _ if name.starts_with(BYTE_ORDER_MARK) => {
                    "the file begins with a byte order mark, which becomes part of this command: save it as UTF-8 without BOM"
                        .to_owned()
                }
                Some(nearest) => format!("unknown command; the nearest known one is `{nearest}`"),
                None => "unknown command".to_owned(),
            };
            lint.report(&rules::UNKNOWN_COMMAND, &command.name.span, message);
        }
    }
}

/// Whether a line of a script was taken for an include.
fn ends_script(lint: &Lint<'_, '_>, at: usize, command: &Command) -> bool {
    let before = at.checked_sub(1).map(|before| &lint.file.lines[before].kind);
    command.name.text.starts_with("include")
        && matches!(before, Some(LineKind::Body { .. } | LineKind::Header(..)))
}

fn arguments(lint: &mut Lint<'_, '_>, command: &Command, spec: &'static CommandSpec) {
    let mut seen: Vec<&OptionSpec> = Vec::new();
    let before = lint.found.len();
    for arg in &command.args {
        if lint.found.len() - before > FINDINGS_OF_A_LINE_MAX {
            return; // No more are shown.
        }
        let Some(name) = arg.option.as_deref() else { continue };
        match spec.option(name) {
            Some(option) => {
                known_option(lint, command, arg, option);
                let is_repeated = seen.iter().any(|other| other.names == option.names);
                if is_repeated && !(DISK.contains(&option.names[0]) && is_install(command)) {
                    let message =
                        format!("`{}` is repeated; the installer uses the first one", option.names[0]);
                    lint.report(&rules::OPTION_REPEATED, &arg.word.span, message);
                }
                if !is_repeated {
                    seen.push(option);
                }
            }
            None => unknown_option(lint, command, arg, spec),
        }
    }
    stray_words(lint, command, spec);
}

fn is_install(command: &Command) -> bool {
    INSTALLS.contains(&command.name.text.as_str())
}

fn known_option(lint: &mut Lint<'_, '_>, command: &Command, arg: &Arg, option: &'static OptionSpec) {
    let (name, span) = (option.names[0], &arg.word.span);
    if option.since.is_some_and(|since| lint.version < since) {
        let since = option.since.map_or_else(String::new, |since| since.to_string());
        let of_upgrade = command.name.text == "installorupgrade" && name != "--forceunsupportedinstall";
        let is_vmfs = matches!(name, "--preservevmfs" | "--novmfsondisk");
        let rule =
            if of_upgrade && is_vmfs { &rules::UPGRADE_PRESERVE } else { &rules::OPTION_OF_OTHER_VERSION };
        lint.report(rule, span, format!("`{name}` requires ESXi {since} or later"));
        return;
    }
    let value = arg.value.as_deref();
    match option.value {
        Value::Required if value.is_none_or(str::is_empty) => {
            lint.report(&rules::VALUE_MISSING, span, format!("`{name}` has no value after `=`"));
        }
        Value::None if value.is_some() => {
            lint.report(&rules::VALUE_UNEXPECTED, span, format!("`{name}` takes no value"));
        }
        _ => {}
    }
}

fn unknown_option(lint: &mut Lint<'_, '_>, command: &Command, arg: &Arg, spec: &'static CommandSpec) {
    if arg.word.continued && arg.word.text.trim() == "--" {
        return;
    }
    let written = arg.option.as_deref().unwrap_or_default();
    let command = &command.name.text;
    match spec.nearest(written) {
        Some(known) if known.eq_ignore_ascii_case(written) => {
            lint.report(&rules::OPTION_CASE, &arg.word.span, format!("the option is spelled `{known}`"));
        }
        nearest => {
            let hint =
                nearest.map_or_else(String::new, |known| format!("; the nearest known one is `{known}`"));
            let message = format!("unknown option of `{command}`{hint}");
            lint.report(&rules::UNKNOWN_OPTION, &arg.word.span, message);
        }
    }
}

fn stray_words(lint: &mut Lint<'_, '_>, command: &Command, spec: &'static CommandSpec) {
    let is_real = |word: &&Word| !(word.continued && word.text.trim().is_empty());
    let words: Vec<&Word> = command.positional().map(|arg| &arg.word).filter(is_real).collect();
    if let (true, Some(source)) = (is_install(command), words.first())
        && INSTALL_SOURCES.contains(&source.text.as_str())
    {
        let message = "installation sources after `install` (versions before 5) have no effect";
        return lint.report(&rules::DEPRECATED_COMMAND, &source.span, message);
    }
    if let Some(word) = words.get(spec.words_max) {
        let name = spec.names[0];
        lint.report(&rules::STRAY_WORD, &word.span, format!("a word of `{name}` is not part of any option"));
    }
}

fn repeated(lint: &mut Lint<'_, '_>) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let file = lint.file;
    for (at, command) in lint.all.clone() {
        let Some(spec) = commands::find(&command.name.text).filter(|spec| !spec.repeats) else { continue };
        let group = if is_install(command) { INSTALLS[0] } else { spec.names[0] };
        let Some(before) = seen.insert(group, file.lines[at].number) else { continue };
        if group == INSTALLS[0] {
            let message = format!("line {before} already has an install or upgrade command");
            lint.report(&rules::TWO_INSTALLS, &command.name.span, message);
        } else {
            let message = format!("this line overrides line {before}");
            lint.report(&rules::COMMAND_REPEATED, &command.name.span, message);
        }
    }
}
