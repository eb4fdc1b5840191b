//! The files that a script for Python writes: texts written to files that are opened by their name,
//! and what it has a shell do.
//!
//! It is no Python: names and expressions are not followed. Invariant: any text gives an answer.

use super::{FileContent, put, unescape, unknown_line, write_files};

/// Functions that matter.
const NAMES: [&str; 5] = ["open", "write", "system", "popen", "call"];
const QUOTES: [&str; 4] = ["\"\"\"", "'''", "\"", "'"];

/// Adds what `script` writes to `files`.
pub fn write_python_files(script: &str, files: &mut FileContent) {
    let mut path: Option<String> = None;
    let mut rest = script;
    while let Some((name, arguments)) = next_call(rest) {
        rest = arguments;
        match (name, literal(arguments)) {
            ("open", Some((target, after))) => {
                let mode = after.trim_start().strip_prefix(',').and_then(|mode| literal(mode.trim_start()));
                let mode = mode.map_or(String::new(), |(mode, _)| mode);
                if mode.contains('w') {
                    put(files, &target, false, "");
                }
                path = mode.contains(['w', 'a']).then_some(target);
            }
            ("write", text) => {
                let whole = text.filter(|(_, after)| after.trim_start().starts_with(')'));
                let text = whole.map_or_else(unknown_line, |(text, _)| text);
                if let Some(path) = &path {
                    put(files, path, true, &text);
                }
            }
            ("system" | "popen" | "call", Some((script, _))) => write_files(&script, files),
            _ => {}
        }
    }
}

/// The next call of a function that matters, and its arguments.
fn next_call(text: &str) -> Option<(&'static str, &str)> {
    let first = |name: &'static str| {
        let is_call = |at: &usize| {
            let is_inner = text[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            text[at + name.len()..].starts_with('(') && !is_inner
        };
        text.match_indices(name).map(|(at, _)| at).find(is_call).map(|at| (at, name))
    };
    let (at, name) = NAMES.into_iter().filter_map(first).min()?;
    Some((name, &text[at + name.len() + 1..]))
}

/// A string literal at the beginning of `text`, and what follows it.
fn literal(text: &str) -> Option<(String, &str)> {
    let quote = QUOTES.into_iter().find(|quote| text.starts_with(quote))?;
    let (mut value, body) = (String::new(), &text[quote.len()..]);
    let mut chars = body.char_indices();
    while let Some((at, next)) = chars.next() {
        if body[at..].starts_with(quote) {
            return Some((value, &body[at + quote.len()..]));
        }
        match next {
            '\\' => value.extend(chars.next().and_then(|(_, escaped)| unescape(escaped))),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_written_to_named_files_are_known() {
        let mut files = FileContent::new();
        let script = r#"import os
with open('/f', "w") as f:
    f.write('a\n')
    f.write("b %s\n" % x)
open("/g", 'a').write('''c
''')
os.system('echo d > /h')
reopen('/no', 'w')
data = open('/in').read()
print(data)
"#;
        write_python_files(script, &mut files);
        let expected = [("/f", "a\n\u{FDD0}\n"), ("/g", "c\n"), ("/h", "d\n")];
        assert_eq!(files, expected.map(|(path, text)| (path.to_owned(), text.to_owned())).into());
    }

    #[test]
    fn any_text_gives_an_answer() {
        for text in ["open(", "open('", "open('/f', 'w').write(", "write('x')", "system('", "open('é\\"] {
            write_python_files(text, &mut FileContent::new());
        }
    }
}
