//! The `shoal` command lines of the documents: each is accepted by the parser of the command line.
//!
//! Not a test of what the commands do, nor of their output. Invariant: a subcommand or a flag that
//! does not exist cannot stay in a document. In a code block a command must be complete; in a
//! sentence it may lack arguments, but has no wrong ones.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use shoal::cli::Cli;

#[test]
fn every_command_of_the_documents_exists() {
    let mut faults = Vec::new();
    let mut found = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for written in commands(&text) {
            found += 1;
            if let Some(fault) = fault(&written) {
                faults.push(format!("{}:{}: {fault}", document.display(), written.line));
            }
        }
    }
    assert!(found > 150, "only {found} commands were found: does the reader of documents still work?");
    assert!(faults.is_empty(), "{} of {found} commands:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn what_does_not_exist_is_found_wherever_it_stands() {
    let faults = |text: &str| commands(text).iter().filter_map(fault).count();
    let block = |line: &str| format!("```sh\n{line}\n```\n");
    for wrong in [
        "shoal job list --colour",
        "shoal jobs list",
        "A=b shoal serve --adr 10.0.0.5:8080 &",
        "BATCH=$(shoal batch submit esx.cfg --servers hosts.csv --canary-rows 1)",
        "echo x | shoal server set A \\\n  --password-from-stdin",
        "cargo run --release -- demo --server 3",
        "shoal job show",
    ] {
        assert_eq!(faults(&block(wrong)), 1, "{wrong}");
    }
    assert_eq!(faults("see `shoal job list --colour`\n"), 1);
    assert_eq!(faults("text\n\n    shoal job list --colour   # why\n"), 1);
    let right =
        "cat > a <<'END'\nshoal nonsense\nEND\nshoal job show JOB   # one\nshoal job list && shoal job list";
    assert_eq!((commands(&block(right)).len(), faults(&block(right))), (3, 0));
    assert_eq!(faults("`shoal job show` and `shoal job retry ID [--force] [--dry-run]`\n"), 0);
}

/// A command line as a document has it.
struct DocumentedCommand {
    line: usize,
    words: Vec<String>,
    /// In a code block, so that it must be complete.
    complete: bool,
}

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = vec![root.join("README.md"), root.join("CONTRIBUTING.md"), root.join("DESIGN.md")];
    for entry in fs::read_dir(root.join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            documents.push(path);
        }
    }
    documents
}

/// Why the parser rejects a command.
fn fault(written: &DocumentedCommand) -> Option<String> {
    let error = Cli::try_parse_from(&written.words).err()?;
    let tolerated = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            !written.complete
        }
        // A token comes from the environment.
        ErrorKind::MissingRequiredArgument => {
            !written.complete
                || matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::Strings(missing))
                    if missing.iter().all(|argument| argument.starts_with("--token")))
        }
        // A placeholder stands for a value: `--role ROLE`.
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            matches!(error.get(ContextKind::InvalidValue), Some(ContextValue::String(value))
                if value.is_empty() || value.contains(['$', '…']) || value.chars().all(|c| !c.is_lowercase() && !c.is_numeric()))
        }
        _ => false,
    };
    let message = error.to_string();
    (!tolerated)
        .then(|| format!("`{}`: {}", written.words.join(" "), message.lines().next().unwrap_or_default()))
}

/// Every `shoal` command of a document: in blocks of shell, in indented blocks, and in sentences.
fn commands(text: &str) -> Vec<DocumentedCommand> {
    let mut found = Vec::new();
    let (mut fence, mut heredoc): (Option<bool>, Option<String>) = (None, None);
    let mut continued = String::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(end) = &heredoc {
            heredoc = (line.trim() != end).then(|| end.clone());
            continue;
        }
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(matches!(language, "sh" | "bash")) };
            continue;
        }
        let code = match fence {
            Some(shell) => shell.then_some(line),
            None => line.strip_prefix("    "),
        };
        match code {
            Some(code) => {
                continued.push_str(
                    if continued.is_empty() { code } else { code.trim_start() }.trim_end_matches('\\'),
                );
                if code.ends_with('\\') {
                    continue;
                }
                let whole = std::mem::take(&mut continued);
                heredoc = whole.split_once("<<").map(|(_, end)| end.trim().trim_matches('\'').to_owned());
                let in_line = of_shell(&whole).into_iter().map(|words| DocumentedCommand {
                    line: index + 1,
                    words,
                    complete: true,
                });
                found.extend(in_line);
            }
            None if fence.is_none() => {
                for span in line.split('`').skip(1).step_by(2).filter(|span| span.starts_with("shoal ")) {
                    let in_span = of_shell(span).into_iter();
                    found.extend(in_span.map(|words| DocumentedCommand {
                        line: index + 1,
                        words,
                        complete: false,
                    }));
                }
            }
            None => {}
        }
    }
    found
}

/// The `shoal` commands of one line of shell, each with `shoal` as its first word.
fn of_shell(line: &str) -> Vec<Vec<String>> {
    // Columns of explanation beside a command begin after three blanks.
    let line = line.trim_start().split("   ").next().unwrap_or_default();
    let line = line.replace("$(", " ; ").replace("<(", " ; ").replace("[--", "--").replace(']', "");
    let mut found = Vec::new();
    for part in split(&line) {
        let mut words = part.into_iter().skip_while(|word| is_assignment(word) || word == "export");
        match words.next().as_deref() {
            Some(first) if first == "shoal" || first.ends_with("/shoal") => {
                found.push(std::iter::once("shoal".to_owned()).chain(words).collect());
            }
            Some("cargo") => {
                let rest: Vec<String> = words.skip_while(|word| word != "--").skip(1).collect();
                if line.contains("cargo run ") && !rest.is_empty() {
                    found.push(std::iter::once("shoal".to_owned()).chain(rest).collect());
                }
            }
            _ => {}
        }
    }
    found
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    })
}

/// Splits a line of shell into commands, and these into words, as far as documents need it.
fn split(line: &str) -> Vec<Vec<String>> {
    let (mut parts, mut word, mut quote) = (vec![Vec::new()], String::new(), None);
    let end_word = |parts: &mut Vec<Vec<String>>, word: &mut String| {
        if !word.is_empty() && word != "…" {
            parts.last_mut().unwrap().push(std::mem::take(word));
        }
        word.clear();
    };
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, '#') if word.is_empty() => break,
            (None, '|' | ';' | '&' | '<' | '>' | ')' | '(') => {
                // The digit of `2>` is no argument.
                if c == '>' && word == "2" {
                    word.clear();
                }
                end_word(&mut parts, &mut word);
                parts.push(Vec::new());
            }
            (None, c) if c.is_whitespace() => end_word(&mut parts, &mut word),
            (None, c) => word.push(c),
        }
    }
    end_word(&mut parts, &mut word);
    parts
}
