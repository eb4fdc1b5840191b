//! Sections: their options, and scripts that fail, halt the host, or hold the installer's commands.
//!
//! Invariant: a script is never said to fail unless the status of its last line is known.

use super::Lint;
use super::shell::{Statement, statements};
use crate::commands;
use crate::hook::Hook;
use crate::rules;
use crate::syntax::{Command, Section, Span, ends_section};

const HALTS: [&str; 3] = ["poweroff", "halt", "shutdown"];
/// Programs that need hostd.
const NEEDS_HOSTD: [&str; 2] = ["esxcli", "vim-cmd"];

pub fn check(lint: &mut Lint<'_, '_>) {
    let file = lint.file;
    let mut has_halt = false;
    for (at, section, command) in file.sections() {
        match section {
            Section::Packages | Section::LicenseText => continue,
            _ => options(lint, section, command),
        }
        let script = Script::new(section, command, statements(file, at));
        has_halt |= section == Section::Post && script.lines.iter().any(|line| line.mentions(&HALTS));
        last_line(lint, &script, at);
        if !script.is_python {
            shell(lint, &script);
        }
        ends(lint, &script);
        shadow(lint, &script);
    }
    if lint.hook == Hook::OwnPoweroff && !has_halt && !lint.is_partial {
        let last = file.lines.last().map_or(0..0, |line| line.span.clone());
        lint.report_title(&rules::OWN_POWEROFF_MISSING, &last);
    }
}

struct Script {
    section: Section,
    lines: Vec<Statement>,
    is_python: bool,
    /// Whether a failure stops the installation.
    must_succeed: bool,
    /// Where the line begins whose status stops the installation, where that is certain.
    decisive: Option<usize>,
}

impl Script {
    fn new(section: Section, command: &Command, lines: Vec<Statement>) -> Script {
        let ignored =
            command.value(&["--ignorefailure"]).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let must_succeed = section == Section::Pre || section == Section::Post && !ignored;
        let last = lines.iter().rfind(|line| !line.is_unreachable);
        let last = last.filter(|line| must_succeed && line.depth == 0 && line.is_single());
        Script {
            section,
            is_python: command.value(&["--interpreter"]) == Some("python"),
            must_succeed,
            decisive: last.map(|line| line.span.start),
            lines,
        }
    }

    /// Whether this is the line whose status counts.
    fn is_decisive(&self, line: &Statement) -> bool {
        self.decisive == Some(line.span.start)
    }
}

fn options(lint: &mut Lint<'_, '_>, section: Section, command: &Command) {
    let span = &command.name.span;
    match command.option(&["--interpreter"]) {
        None => lint.report_title(&rules::NO_INTERPRETER, span),
        Some(arg) if !["busybox", "python"].contains(&arg.value.as_deref().unwrap_or_default()) => {
            lint.report_title(&rules::INTERPRETER_UNKNOWN, &arg.word.span);
        }
        Some(_) => {}
    }
    if section == Section::FirstBoot {
        lint.report_title(&rules::FIRSTBOOT_SECURE_BOOT, span);
    }
    let is_boolean = |value: &str| ["true", "false", ""].contains(&value.to_ascii_lowercase().as_str());
    let is_number = |value: &str| value.bytes().all(|byte| byte.is_ascii_digit());
    for (name, is_sound) in
        [("--ignorefailure", &is_boolean as &dyn Fn(&str) -> bool), ("--timeout", &is_number)]
    {
        if let Some(arg) = command.option(&[name])
            && !is_sound(arg.value.as_deref().unwrap_or_default())
        {
            lint.report(&rules::SECTION_VALUE, &arg.word.span, format!("invalid value of `{name}`"));
        }
    }
}

/// A keyword on the very last line of the text, which ends nothing.
fn last_line(lint: &mut Lint<'_, '_>, script: &Script, header: usize) {
    let file = lint.file;
    let Some(line) = file.body(header).next_back() else { return };
    if line.end.end != file.source.len() || !ends_section(file.text(&line.span)) {
        return;
    }
    if script.lines.last().is_none_or(|last| last.span.start != line.span.start) {
        return; // Text of a here-document.
    }
    let rule = if script.must_succeed { &rules::LAST_LINE_FAILS } else { &rules::LAST_LINE_LOST };
    lint.report_title(rule, &line.span);
}

fn shell(lint: &mut Lint<'_, '_>, script: &Script) {
    for line in script.lines.iter().filter(|line| !line.is_unreachable) {
        if script.is_decisive(line) && always_fails(line) {
            lint.report_title(&rules::SCRIPT_FAILS, &line.span);
        } else if is_installer_command(line) {
            if script.is_decisive(line) {
                let message = "an installer command is not a program: the last line of the script fails";
                lint.report(&rules::SCRIPT_FAILS, &program_span(line), message);
            } else {
                lint.report_title(&rules::SWALLOWED_COMMAND, &program_span(line));
            }
        }
        if script.section != Section::FirstBoot && NEEDS_HOSTD.contains(&line.program()) {
            let rule = if script.is_decisive(line) { &rules::ESXCLI_FAILS } else { &rules::ESXCLI_LOST };
            lint.report_title(rule, &program_span(line));
        }
        halts(lint, script, line);
    }
}

/// The first word of a line.
fn program_span(line: &Statement) -> Span {
    let length = line.text.find(char::is_whitespace).unwrap_or(line.text.len());
    line.span.start..(line.span.start + length).min(line.span.end)
}

fn always_fails(line: &Statement) -> bool {
    let mut words = line.text.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("false"), None, None) => true,
        (Some("exit"), Some(status), None) => status.parse::<i16>().is_ok_and(|status| status != 0),
        (Some(program), _, _) if program.starts_with('%') => {
            !program.starts_with("%end") && !ends_section(program.as_bytes())
        }
        _ => false,
    }
}

/// `install` is a program, too, so its options must be the installer's.
fn is_installer_command(line: &Statement) -> bool {
    let first = line.text.split_whitespace().next().unwrap_or_default();
    let is_own = commands::find(first).is_some_and(|spec| !spec.names[0].starts_with('%'));
    let is_common = matches!(first, "reboot" | "install" | "part" | "include" | "network");
    let has_options = line.text.split_whitespace().skip(1).any(|word| {
        let name = word.split('=').next().unwrap_or_default();
        commands::find(first).is_some_and(|spec| spec.option(name).is_some())
    });
    is_own && first != "reboot" && (!is_common || has_options)
}

fn halts(lint: &mut Lint<'_, '_>, script: &Script, line: &Statement) {
    let program = line.program();
    let stops =
        HALTS.contains(&program) || (program == "reboot" && !line.text.starts_with("reboot --noeject"));
    let is_expected = lint.hook == Hook::OwnPoweroff && HALTS.contains(&program);
    if script.section == Section::Post && line.depth == 0 && stops && !is_expected {
        lint.report_title(&rules::POST_HALTS, &line.span);
    }
}

fn ends(lint: &mut Lint<'_, '_>, script: &Script) {
    for (at, line) in script.lines.iter().enumerate().filter(|(_, line)| line.text.starts_with("%end")) {
        let is_after_halt = at > 0 && {
            let program = script.lines[at - 1].program();
            HALTS.contains(&program) || program == "reboot"
        };
        let fails = match script.is_python {
            true => script.must_succeed,
            false => script.is_decisive(line) && !is_after_halt,
        };
        let rule = if fails { &rules::END_FAILS } else { &rules::END_IGNORED };
        lint.report_title(rule, &line.span);
    }
}

fn shadow(lint: &mut Lint<'_, '_>, script: &Script) {
    if script.section == Section::Pre {
        return;
    }
    for line in script.lines.iter().filter(|line| line.text.contains("/etc/shadow")) {
        lint.report_title(&rules::SHADOW_EDIT, &program_span(line));
    }
}
