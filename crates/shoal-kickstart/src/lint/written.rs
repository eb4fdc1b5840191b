//! Commands that a `%pre` writes to a file which the kickstart includes, where the script says them literally.
//!
//! Understood are here-documents of `cat`, and `echo` of one line, outside of `if` and loops. Not a shell: a
//! file that is written in any other way stays unknown. Invariant: a line whose words depend on an expansion is
//! listed in [`Included::expanding`], so that nothing is said of its values.

use std::collections::BTreeMap;

use super::shell::{Statement, statements};
use crate::syntax::{self, Command, Fault, File, LineKind, Section, Span};

/// What the includes of a file bring, as far as its `%pre` sections show it.
#[derive(Debug, Default)]
pub struct Included {
    /// Commands by the line of their include; each with the index of its own line.
    commands: BTreeMap<usize, Vec<(usize, Command)>>,
    /// Lines whose quotes or escapes do not end.
    pub broken: Vec<Fault>,
    /// Indices of lines that the shell changes before it writes them.
    pub expanding: Vec<usize>,
    /// Whether an include brings commands that are not known.
    pub is_partial: bool,
}

impl Included {
    /// The commands that the include on the line with this index brings.
    pub fn of_line(&self, at: usize) -> impl Iterator<Item = (usize, &Command)> {
        self.commands.get(&at).into_iter().flatten().map(|(line, command)| (*line, command))
    }
}

/// A line that is written, and whether the shell expands it.
struct Written {
    line: usize,
    span: Span,
    expands: bool,
}

/// More includes than this are not followed.
const INCLUDES_MAX: usize = 16;

pub fn read(file: &File<'_>) -> Included {
    let mut included = Included::default();
    let includes: Vec<_> = file.commands().filter(|(_, command)| is_include(command)).collect();
    if includes.is_empty() {
        return included;
    }
    let scripts = scripts(file);
    for (count, (at, command)) in includes.into_iter().enumerate() {
        let target = command.positional().next().map_or("", |arg| arg.word.text.as_str());
        let written =
            scripts.as_ref().filter(|_| count < INCLUDES_MAX).and_then(|lines| contents(file, lines, target));
        match written.and_then(|lines| parse(file, &lines)) {
            Some(part) => {
                included.broken.extend(part.broken);
                included.expanding.extend(part.expanding);
                included.commands.insert(at, part.commands);
            }
            None => included.is_partial = true,
        }
    }
    included
}

pub fn is_include(command: &Command) -> bool {
    matches!(command.name.text.as_str(), "%include" | "include")
}

/// The statements of every `%pre`; none where one of them is not read as shell.
fn scripts(file: &File<'_>) -> Option<Vec<Statement>> {
    let mut lines = Vec::new();
    for (at, _, command) in file.sections().filter(|(_, section, _)| *section == Section::Pre) {
        if command.value(&["--interpreter"]).is_some_and(|name| name != "busybox") {
            return None;
        }
        lines.extend(statements(file, at));
    }
    Some(lines)
}

/// The lines of the file when all scripts have run; none where a statement is not supported.
fn contents(file: &File<'_>, lines: &[Statement], target: &str) -> Option<Vec<Written>> {
    let path = target.strip_prefix("file://").unwrap_or(target);
    let name = path.rsplit('/').next().filter(|name| !name.is_empty() && !path.contains("://"))?;
    let mut contents: Option<Vec<Written>> = None;
    for line in lines.iter().filter(|line| line.text.contains(name)) {
        let write = write(file, line).filter(|write| is_same(write.target, path))?;
        if line.depth > 0 || line.is_unreachable {
            return None;
        }
        match (&mut contents, write.appends) {
            (Some(before), true) => before.extend(write.lines),
            (contents, _) => *contents = Some(write.lines),
        }
    }
    contents
}

fn is_same(written: &str, included: &str) -> bool {
    written.starts_with('/') && written.trim_start_matches('/') == included.trim_start_matches('/')
}

/// A statement that writes known lines to a file.
struct Write<'s> {
    target: &'s str,
    appends: bool,
    lines: Vec<Written>,
}

fn write<'s>(file: &File<'_>, line: &'s Statement) -> Option<Write<'s>> {
    let text = line.text.as_str();
    if !line.is_single() {
        return None;
    }
    let (program, rest) = text.split_once(char::is_whitespace)?;
    match (program, &line.document) {
        ("cat", Some(document)) => {
            let rest = rest.trim();
            let mark = rest.find("<<")?;
            let (before, after) =
                (rest[..mark].trim(), rest[mark + 2..].trim_start_matches('-').trim_start());
            let end = after.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(after.len());
            let after = after[end..].trim();
            let redirect = if before.is_empty() { after } else { before };
            if !before.is_empty() && !after.is_empty() {
                return None;
            }
            let ("", appends, target) = redirect_of(redirect)? else { return None };
            let lines = document.lines.clone().map(|at| {
                let span = file.lines[at].span.clone();
                let expands =
                    !document.is_literal && file.text(&span).iter().any(|byte| b"$`\\".contains(byte));
                Written { line: at, span, expands }
            });
            Some(Write { target, appends, lines: lines.collect() })
        }
        ("echo", None) => {
            let (words, appends, target) = redirect_of(rest)?;
            let start = line.span.start + (text.len() - rest.len()) + (rest.len() - rest.trim_start().len());
            let words = words.trim();
            let quote = words.chars().next().filter(|c| matches!(c, '"' | '\''));
            let inside = match quote {
                Some(quote) => {
                    words.strip_prefix(quote)?.strip_suffix(quote).filter(|text| !text.contains(quote))?
                }
                None => Some(words).filter(|text| {
                    !text.contains(['"', '\'', '*', '?', '[', '~', '#']) && !text.starts_with('-')
                })?,
            };
            if inside.contains('\\') {
                return None;
            }
            let from = start + quote.map_or(0, char::len_utf8);
            let at = file.line_at(from);
            let expands = quote != Some('\'') && inside.contains(['$', '`']);
            let written = Written { line: at, span: from..from + inside.len(), expands };
            Some(Write { target, appends, lines: vec![written] })
        }
        _ => None,
    }
}

/// What stands before a redirection, whether it appends, and to which file.
fn redirect_of(text: &str) -> Option<(&str, bool, &str)> {
    let (before, target) = text.rsplit_once('>')?;
    let (before, appends) = before.strip_suffix('>').map_or((before, false), |before| (before, true));
    let target = target.trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    let is_file = !target.is_empty() && target.chars().all(is_plain);
    let is_stdout = !before.ends_with(|c: char| c.is_ascii_digit()) && !before.contains(['>', '<']);
    (is_file && is_stdout).then_some((before.trim_end(), appends, target))
}

struct Part {
    commands: Vec<(usize, Command)>,
    broken: Vec<Fault>,
    expanding: Vec<usize>,
}

/// The written lines as commands; none where they hold more than commands.
fn parse(file: &File<'_>, lines: &[Written]) -> Option<Part> {
    let mut part = Part { commands: Vec::new(), broken: Vec::new(), expanding: Vec::new() };
    for Written { line, span, expands } in lines {
        let text = file.text(span).trim_ascii();
        if *expands && (text.starts_with(b"$") || text.starts_with(b"`") || text.ends_with(b"\\")) {
            return None;
        }
        part.expanding.extend(expands.then_some(*line));
        match syntax::line_kind(file.source, span.clone()) {
            LineKind::Command(command) if is_include(&command) => return None,
            LineKind::Command(command) => part.commands.push((*line, command)),
            LineKind::Header(..) => return None,
            LineKind::Broken(_) if *expands => return None,
            LineKind::Broken(fault) => part.broken.push(fault),
            LineKind::Blank | LineKind::Comment | LineKind::Body { .. } => {}
        }
    }
    Some(part)
}
