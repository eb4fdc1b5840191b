//! The files that a script writes, as far as it says itself what goes into them.
//!
//! It knows `echo`, `printf`, `cat`, `tee`, `cp`, `mv` and `rm`; what other programs print is
//! [`UNKNOWN`]. Invariant: no file has more than [`FILE_BYTES_MAX`], and there are at most
//! [`FILES_MAX`].

mod python;

use std::collections::BTreeMap;

use super::{OutputFile, ShellCommand, UNKNOWN, commands};

pub use python::write_python_files;

const FILE_BYTES_MAX: usize = 256 << 10;
const FILES_MAX: usize = 64;

/// Path → text.
pub type FileContent = BTreeMap<String, String>;

/// Adds what `script` writes to `files`.
pub fn write_files(script: &str, files: &mut FileContent) {
    let mut run = ScriptFiles { files, groups: vec![], piped: String::new() };
    for command in commands(script) {
        run.take(&command);
    }
}

fn put(files: &mut FileContent, path: &str, appends: bool, text: &str) {
    if files.len() >= FILES_MAX && !files.contains_key(path) {
        return;
    }
    let file = files.entry(path.to_owned()).or_default();
    if !appends {
        file.clear();
    }
    if file.len() + text.len() <= FILE_BYTES_MAX {
        file.push_str(text);
    }
}

fn unknown_line() -> String {
    format!("{UNKNOWN}\n")
}

struct ScriptFiles<'a> {
    files: &'a mut FileContent,
    /// What the open blocks have printed, by depth.
    groups: Vec<String>,
    /// What the last command has printed.
    piped: String,
}

impl ScriptFiles<'_> {
    fn take(&mut self, command: &ShellCommand) {
        self.groups.resize(command.depth, String::new());
        let text = match command.program() {
            "fi" | "done" | "esac" | "}" | ")" => self.groups.pop().unwrap_or_default(),
            _ => self.printed(command),
        };
        self.piped.clear();
        match &command.output {
            Some(OutputFile { path, appends }) => put(self.files, path, *appends, &text),
            None => {
                if let Some(group) = self.groups.last_mut().filter(|group| group.len() <= FILE_BYTES_MAX) {
                    group.push_str(&text);
                }
                self.piped = text;
            }
        }
    }

    /// What the command prints. Files that it writes of its own accord are written.
    fn printed(&mut self, command: &ShellCommand) -> String {
        let piped = std::mem::take(&mut self.piped);
        let input = command.document.clone().unwrap_or(piped);
        let arguments: Vec<&str> = command.words.iter().skip(1).map(String::as_str).collect();
        let is_path = |word: &&str| *word == "-" || !word.starts_with('-');
        let paths: Vec<&str> = arguments.iter().copied().filter(is_path).collect();
        match command.program() {
            "echo" => return echo(&arguments),
            "printf" => return printf(&arguments),
            "cat" if paths.is_empty() => return input,
            "cat" => return paths.iter().map(|path| self.content(path, &input)).collect(),
            "tee" => {
                let appends = arguments.contains(&"-a");
                paths.iter().for_each(|path| put(self.files, path, appends, &input));
                return input;
            }
            "cp" | "mv" => self.copy(&paths, command.program() == "mv"),
            "rm" => paths.iter().for_each(|path| drop(self.files.remove(*path))),
            "touch" => paths.iter().for_each(|path| put(self.files, path, true, "")),
            "true" | ":" | "sleep" | "sync" | "cd" | "mkdir" | "set" | "exit" | "[" | "test" | "chmod" => {}
            _ => {
                self.spoil(&arguments);
                return unknown_line();
            }
        }
        String::new()
    }

    fn copy(&mut self, paths: &[&str], moves: bool) {
        let [from, to] = paths else { return };
        let text = self.content(from, "");
        if moves {
            self.files.remove(*from);
        }
        put(self.files, to, false, &text);
    }

    fn content(&self, path: &str, input: &str) -> String {
        match path {
            "-" => input.to_owned(),
            path => self.files.get(path).cloned().unwrap_or_else(unknown_line),
        }
    }

    /// A program may write to any file that it is given: `sed -i`, `wget -O`.
    fn spoil(&mut self, arguments: &[&str]) {
        for path in arguments.iter().filter(|word| word.starts_with('/')) {
            put(self.files, path, false, &unknown_line());
        }
    }
}

fn echo(arguments: &[&str]) -> String {
    let is_option = |word: &&&str| matches!(**word, "-n" | "-e" | "-ne" | "-en");
    let options: String = arguments.iter().take_while(is_option).copied().collect();
    let words: Vec<&str> = arguments.iter().skip_while(is_option).copied().collect();
    let text = words.join(" ");
    let text = if options.contains('e') { unescaped(&text) } else { text };
    if options.contains('n') { text } else { text + "\n" }
}

/// `%s` and its kin, each for one argument; the format once.
fn printf(arguments: &[&str]) -> String {
    let Some((format, values)) = arguments.split_first() else { return String::new() };
    let (mut values, mut text) = (values.iter(), String::new());
    let format = unescaped(format);
    let mut chars = format.chars();
    while let Some(next) = chars.next() {
        match (next, if next == '%' { chars.next() } else { None }) {
            ('%', None | Some('%')) => text.push('%'),
            ('%', Some(_)) => text.push_str(values.next().copied().unwrap_or_default()),
            (other, _) => text.push(other),
        }
    }
    text
}

fn unescaped(text: &str) -> String {
    let (mut unescaped, mut chars) = (String::new(), text.chars());
    while let Some(next) = chars.next() {
        match next {
            '\\' => unescaped.extend(chars.next().and_then(unescape)),
            other => unescaped.push(other),
        }
    }
    unescaped
}

fn unescape(escaped: char) -> Option<char> {
    match escaped {
        'n' => Some('\n'),
        't' => Some('\t'),
        'r' => Some('\r'),
        '\n' => None,
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `?` stands for what is not known.
    fn check(script: &str, expected: &[(&str, &str)]) {
        let mut files = FileContent::new();
        write_files(script, &mut files);
        let expected =
            expected.iter().map(|(path, text)| ((*path).to_owned(), text.replace('?', "\u{FDD0}")));
        assert_eq!(files, expected.collect(), "{script}");
    }

    #[test]
    fn what_is_printed_into_a_file_is_known() {
        check("echo a  b > /f; echo \"c  d\" >>/f", &[("/f", "a b\nc  d\n")]);
        check("echo -n a 1>/f 2>/dev/null; echo -e 'b\\nc' >> /f", &[("/f", "ab\nc\n")]);
        check("printf 'a %s %%\\n' b > /f", &[("/f", "a b %\n")]);
        let documents = "X=1\ncat > /f <<EOF\na $X \\$X\nEOF\ncat <<'EOF' > /g\na $X\nEOF";
        check(documents, &[("/f", "a 1 $X\n"), ("/g", "a $X\n")]);
        check(
            "echo a | tee /f /g >/dev/null\necho b | cat - /f > /h",
            &[("/dev/null", "a\n"), ("/f", "a\n"), ("/g", "a\n"), ("/h", "b\na\n")],
        );
    }

    #[test]
    fn groups_share_their_output() {
        check("{ echo a; echo b; } > /f", &[("/f", "a\nb\n")]);
        check("(echo a; echo b) >> /f", &[("/f", "a\nb\n")]);
        check("for x in 1 2; do echo $x; done > /f", &[("/f", "1 2\n")]);
        check("if test -f x; then echo a > /f; else echo b >> /f; fi", &[("/f", "a\nb\n")]);
        check("case $x in a) echo a > /f ;; *) echo b >> /f ;; esac; echo c >> /f", &[("/f", "a\nb\nc\n")]);
    }

    #[test]
    fn files_are_moved_and_spoilt() {
        check("echo a > /f; cp /f /g; mv /none /h; rm -f /f", &[("/g", "a\n"), ("/h", "?\n")]);
        check("echo a > /f; sed -i s/a/b/ /f; > /e", &[("/e", ""), ("/f", "?\n")]);
        check(
            "wget -O /f http://a.test/ks; IP=$(x); echo \"ip $IP\" > /g",
            &[("/f", "?\n"), ("/g", "ip ?\n")],
        );
        check("awk '{print}' in > /f", &[("/f", "?\n")]);
    }

    #[test]
    fn what_is_written_has_bounds() {
        let mut files = FileContent::new();
        write_files("echo 0123456789012345 > /f", &mut files);
        write_files(&"cat /f /f > /f\n".repeat(40), &mut files);
        assert!(files["/f"].len() <= FILE_BYTES_MAX);
        let many: String = (0..200).map(|n| format!("echo > /f{n}\n")).collect();
        write_files(&many, &mut files);
        assert!(files.len() <= FILES_MAX);
    }
}
