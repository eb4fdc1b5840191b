//! Whether a script is known to fail: how its last command does.
//!
//! Only what needs no running system is judged; all else counts as good. Invariant: a command within
//! a condition or a loop decides nothing.

use super::{ShellCommand, UNKNOWN, commands};

/// How a command or a list of commands ends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum CommandStatus {
    Succeeds,
    /// With what a shell would say.
    Fails(String),
    Unknown,
}

/// Why the script ends with an error, where that is known.
pub fn failure(script: &str) -> Option<String> {
    let mut status = CommandStatus::Succeeds;
    let mut stops_at_error = false;
    let list = commands(script);
    for (index, command) in list.iter().enumerate() {
        if command.depth > 0 {
            status = CommandStatus::Unknown;
            continue;
        }
        let is_joined = command.after_failure || command.after_success;
        let is_certain = !(is_joined && status == CommandStatus::Unknown);
        let is_passed_over = match status {
            CommandStatus::Succeeds => command.after_failure,
            CommandStatus::Fails(_) => command.after_success,
            CommandStatus::Unknown => false,
        };
        if is_passed_over {
            continue;
        }
        if command.program() == "exit" && is_certain {
            return reason(exit_status(command, status));
        }
        stops_at_error |= command.program() == "set" && command.words.iter().any(|word| is_set_e(word));
        status = joined(status, command, is_certain);
        let goes_on = |next: &ShellCommand| next.after_failure || next.after_success || next.is_piped;
        let is_over = !list.get(index + 1).is_some_and(goes_on);
        if stops_at_error && is_over && matches!(status, CommandStatus::Fails(_)) {
            break;
        }
    }
    reason(status)
}

fn reason(status: CommandStatus) -> Option<String> {
    match status {
        CommandStatus::Fails(why) => Some(why),
        CommandStatus::Succeeds | CommandStatus::Unknown => None,
    }
}

fn is_set_e(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|letters| letters.contains('e'))
}

/// The status of a list after one more command of it.
fn joined(before: CommandStatus, command: &ShellCommand, is_certain: bool) -> CommandStatus {
    let own = status_of(command);
    match own {
        own if is_certain => own,
        // `unknown || true` succeeds and `unknown && false` fails, whatever the first does.
        CommandStatus::Succeeds if command.after_failure => CommandStatus::Succeeds,
        CommandStatus::Fails(why) if command.after_success => CommandStatus::Fails(why),
        _ => before,
    }
}

fn exit_status(command: &ShellCommand, before: CommandStatus) -> CommandStatus {
    match command.words.get(1).map(String::as_str) {
        None => before,
        Some("0") => CommandStatus::Succeeds,
        Some(word) if word.contains(UNKNOWN) || word.is_empty() => CommandStatus::Unknown,
        Some(word) => CommandStatus::Fails(format!("exit {word}")),
    }
}

/// Of programs whose end does not depend on the machine. `esxcli` needs hostd, which the installer does
/// not run.
fn status_of(command: &ShellCommand) -> CommandStatus {
    if command.is_negated {
        return CommandStatus::Unknown;
    }
    match command.program() {
        "true" | ":" | "echo" | "printf" | "sleep" | "sync" => CommandStatus::Succeeds,
        "false" => CommandStatus::Fails("false".to_owned()),
        "esxcli" => CommandStatus::Fails("esxcli: Connection failure (hostd is not running)".to_owned()),
        program if program.starts_with('%') => CommandStatus::Fails(format!("{program}: not found")),
        _ => CommandStatus::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(script: &str, expected: Option<&str>) {
        assert_eq!(failure(script).as_deref(), expected, "{script}");
    }

    #[test]
    fn the_last_command_decides() {
        check("", None);
        check("false\ntrue\n", None);
        check("true\nfalse\n", Some("false"));
        check("wget http://a.test/\n", None);
        check("sync\n%end\n", Some("%end: not found"));
        check(
            "/usr/bin/esxcli system version get",
            Some("esxcli: Connection failure (hostd is not running)"),
        );
        check("! false", None);
    }

    #[test]
    fn exit_ends_a_script_where_it_is_sure_to_run() {
        check("exit 1\ntrue", Some("exit 1"));
        check("false\nexit", Some("false"));
        check("exit 0\nfalse", None);
        check("false || exit 3\ntrue", Some("exit 3"));
        check("wget u || exit 3\ntrue", None);
        check("if test -f /x; then exit 1; fi", None);
        check("x=$(a)\nexit $x", None);
    }

    #[test]
    fn lists_are_weighed() {
        check("false || true", None);
        check("false && true", Some("false"));
        check("wget u && false", Some("false"));
        check("wget u || true", None);
        check("esxcli a | true", None);
        check("for f in a; do false; done", None);
    }

    #[test]
    fn set_e_stops_at_the_first_error() {
        check("set -e\nfalse\ntrue", Some("false"));
        check("set -ex\nfalse || true\ntrue", None);
        check("set -e\nesxcli a | cat\ntrue", None);
    }
}
