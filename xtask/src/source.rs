//! Source files as the rules see them: read from disk, with comments, literals and test code
//! blanked out.
//!
//! Not a Rust parser: it knows comments, literals and rustfmt's indentation, which is enough because
//! the format is checked too. Invariant: blanking keeps every line where it was.

use std::path::Path;

/// The project's root folder.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A file of the project.
pub struct Source {
    /// Relative to the project's root, with forward slashes.
    pub path: String,
    pub text: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    /// The code alone: comments and the insides of literals are blank.
    pub fn code(&self) -> String {
        blank_comments_and_literals(&self.text)
    }

    /// The code that ships: [`Source::code`] without its `#[cfg(test)]` items.
    pub fn production(&self) -> String {
        blank_tests(&self.code())
    }

    /// `media::cache::disk` of `src/media/cache/disk.rs`; empty for the crate's own roots. In a
    /// crate of its own (`crates/`), the crate's name comes first.
    pub fn module(&self) -> Vec<String> {
        let root = self.crate_root();
        let path = match &root {
            Some(_) => self.path.split_once("/src/").map(|(_, path)| path),
            None => self.path.strip_prefix("src/"),
        };
        let inner = match path.and_then(|path| path.strip_suffix(".rs")) {
            None | Some("lib" | "main") => Vec::new(),
            Some(inner) => inner.split('/').map(str::to_owned).collect(),
        };
        root.into_iter().chain(inner).collect()
    }

    /// `shoal_kickstart` of a file in `crates/shoal-kickstart/src`; none in the main crate.
    pub fn crate_root(&self) -> Option<String> {
        let (name, inside) = self.path.strip_prefix("crates/")?.split_once('/')?;
        inside.starts_with("src/").then(|| name.replace('-', "_"))
    }
}

/// Every Rust file of the library, the binary and the crates beside it, without the files that only
/// tests are made of.
pub fn production_files() -> Vec<Source> {
    let is_shipped = |file: &Source| file.path.starts_with("src/") || file.crate_root().is_some();
    let files: Vec<Source> = rust_files().into_iter().filter(is_shipped).collect();
    let tests = test_modules(&files);
    let is_test = |file: &Source| {
        let stem = file.path.trim_end_matches(".rs");
        tests.iter().any(|test| stem == test || stem.starts_with(&format!("{test}/")))
    };
    files.into_iter().filter(|file| !is_test(file)).collect()
}

/// Every Rust file of the project, tests included.
pub fn rust_files() -> Vec<Source> {
    under("", &["rs"])
}

/// Every text file of the project that people wrote.
pub fn text_files() -> Vec<Source> {
    under("", &["rs", "md", "toml", "json", "sh", "py", "yml", "sql", "css", "js", "html", "cfg", ""])
}

/// Files below a folder of the project, in order, with one of these extensions.
fn under(folder: &str, extensions: &[&str]) -> Vec<Source> {
    let root = Path::new(ROOT);
    let mut found = Vec::new();
    collect(&root.join(folder), extensions, &mut found);
    found.sort();
    let read = |path: &String| {
        let bytes = std::fs::read(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        String::from_utf8(bytes).ok().map(|text| Source { path: path.clone(), text })
    };
    found.iter().filter_map(read).collect()
}

/// Generated files, and what is not of this checkout.
const SKIPPED: [&str; 5] = ["target", ".git", "var", "corpus", "artifacts"];

fn collect(folder: &Path, extensions: &[&str], found: &mut Vec<String>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let entry = entry.expect("a folder that opened can be listed");
        let (path, name) = (entry.path(), entry.file_name());
        let extension = path.extension().unwrap_or_default();
        if SKIPPED.iter().any(|skipped| *skipped == name) {
            continue;
        }
        if path.is_dir() {
            collect(&path, extensions, found);
        } else if extensions.iter().any(|known| *known == extension) && name != "Cargo.lock" {
            let path = path.strip_prefix(ROOT).expect("found below the root");
            found.extend(path.to_str().map(str::to_owned));
        }
    }
}

/// The lines of code at which functions with a body start, and how many lines each has, by rustfmt's
/// indentation.
pub fn functions(code: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let starts = lines.iter().enumerate().filter(|(_, line)| starts_function(line));
    starts.filter_map(|(at, line)| Some((at + 1, function_length(&lines[at..], line)?))).collect()
}

fn function_length(from: &[&str], first: &str) -> Option<usize> {
    let indent = &first[..first.len() - first.trim_start().len()];
    let ends = |later: &&str| {
        let rest = later.strip_prefix(indent).unwrap_or_default();
        rest.starts_with('}') || (rest.starts_with(')') && later.ends_with(';'))
    };
    match first.trim_end() {
        line if line.ends_with(';') => None,
        line if line.ends_with('}') => Some(1),
        _ => from.iter().position(ends).map(|last| last + 1),
    }
}

fn starts_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let qualifiers = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern"];
    words.find(|word| !qualifiers.contains(word) && !word.starts_with('"')) == Some("fn")
}

/// The files, without `.rs`, that a `#[cfg(test)] mod name;` declares.
fn test_modules(files: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let folder = match file.path.strip_suffix("/lib.rs").or(file.path.strip_suffix("/main.rs")) {
            Some(root) => root,
            None => file.path.trim_end_matches(".rs"),
        };
        let code = file.code();
        for (attribute, item) in code.lines().zip(code.lines().skip(1)) {
            let name = item.trim().strip_suffix(';').and_then(|item| item.rsplit_once("mod "));
            if let (true, Some((_, name))) = (attribute.trim() == "#[cfg(test)]", name) {
                found.push(format!("{folder}/{name}"));
            }
        }
    }
    found
}

/// Blanks every item that stands under `#[cfg(test)]`, by rustfmt's indentation.
fn blank_tests(code: &str) -> String {
    let mut kept = Vec::new();
    let mut until: Option<String> = None;
    for line in code.lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        match &until {
            Some(_) if line.trim_start().starts_with("#[") => kept.push(""),
            Some(end) if line.ends_with(';') && end.len() == indent.len() + 1 => {
                until = None;
                kept.push("");
            }
            Some(end) => {
                if line == end {
                    until = None;
                }
                kept.push("");
            }
            None if line.trim() == "#[cfg(test)]" => {
                until = Some(format!("{indent}}}"));
                kept.push("");
            }
            None => kept.push(line),
        }
    }
    kept.join("\n")
}

fn blank_comments_and_literals(text: &str) -> String {
    let mut scanner = Scanner { left: text, code: String::with_capacity(text.len()) };
    while !scanner.left.is_empty() {
        scanner.step();
    }
    scanner.code
}

struct Scanner<'a> {
    left: &'a str,
    code: String,
}

impl Scanner<'_> {
    fn step(&mut self) {
        let left = self.left;
        if left.starts_with("//") {
            self.blank(left.find('\n').unwrap_or(left.len()));
        } else if left.starts_with("/*") {
            self.blank(block_comment(left));
        } else if let Some(length) = raw_string(left) {
            self.literal(length);
        } else if left.starts_with('"') {
            self.literal(quoted(left));
        } else if let Some(length) = character(left) {
            self.literal(length);
        } else {
            self.word();
        }
    }

    /// Copies one identifier or one other character.
    fn word(&mut self) {
        let end = self.left.find(|c: char| !is_word(c)).unwrap_or(self.left.len());
        let first = self.left.chars().next().map_or(0, char::len_utf8);
        let (word, rest) = self.left.split_at(end.max(first));
        self.code.push_str(word);
        self.left = rest;
    }

    /// Replaces a literal by its quotes.
    fn literal(&mut self, length: usize) {
        self.code.push('"');
        self.blank(length);
        self.code.push('"');
    }

    fn blank(&mut self, length: usize) {
        let (gone, rest) = self.left.split_at(length);
        self.code.extend(gone.chars().filter(|c| *c == '\n'));
        self.left = rest;
    }
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        let delta = if rest.starts_with("/*") {
            1
        } else if rest.starts_with("*/") {
            -1
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        depth += delta;
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

fn raw_string(text: &str) -> Option<usize> {
    let body = text.strip_prefix("br").or(text.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let inside = body[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = inside.find(&close)?;
    Some(text.len() - inside.len() + end + close.len())
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character literal; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    let from = if first == '\\' { 2 } else { first.len_utf8() };
    let end = inside.get(from..)?.find('\'')?;
    (first == '\\' || end == 0).then_some(1 + from + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_literals_and_tests_are_blanked_and_lines_stay() {
        let text = r####"
use a::b; // shoal_sim
const X: &str = "crate::store \" /* "; /* crate::
sim /* nested */ */ const Y: char = '"'; const Z: &'static str = r#"crate::"sim"#;
fn f<'a>(x: &'a str) -> char { '\'' }
#[cfg(test)]
mod tests {
    use shoal_sim;
}
#[cfg(test)]
mod other;
fn last() {}
"####;
        let source = Source::new("src/x.rs", text);
        let code = source.production();
        assert!(!code.contains("crate::"), "{code}");
        assert!(code.contains("const Y") && code.contains("fn f<'a>(x: &'a str)"), "{code}");
        assert_eq!(code.lines().position(|line| line == "fn last() {}"), Some(11));
        assert_eq!(test_modules(&[source]), ["src/x/other"]);
    }

    #[test]
    fn a_module_of_another_crate_begins_with_the_crates_name() {
        let module = |path: &str| Source::new(path, "").module().join("::");
        assert_eq!(module("src/flow/steps.rs"), "flow::steps");
        assert_eq!(module("src/lib.rs"), "");
        assert_eq!(module("crates/shoal-x/src/lib.rs"), "shoal_x");
        assert_eq!(module("crates/shoal-x/src/a/b.rs"), "shoal_x::a::b");
    }

    #[test]
    fn a_function_is_as_long_as_its_body_and_a_declaration_is_none() {
        let code = "trait T {\n    fn declared();\n    fn f(\n        x: u8,\n    ) -> u8 {\n        x\n    }\n}\n\
                    pub const fn one() {}\n";
        assert_eq!(functions(code), [(3, 5), (9, 1)]);
    }
}
