//! Words that make a reader stumble, and the plain terms to use.
//!
//! Comments, messages, names with underscores and documents count alike. A ceiling only falls.

use super::{can_fail, hold};
use xtask::source::{Source, text_files};

/// A word, the plain terms for it, and how many lines of the files in [`OPEN`] may still have it.
struct Avoided {
    word: &'static str,
    instead: &'static str,
    open_max: usize,
}

const fn avoided(word: &'static str, instead: &'static str, open_max: usize) -> Avoided {
    Avoided { word, instead, open_max }
}

/// What still has some of the words: released migrations, which stay as they are. Everywhere else there is none.
const OPEN: [&str; 1] = ["src/store/sqlite/schema.rs"];

const AVOIDED: [Avoided; 17] = [
    avoided("told", "reported, recorded, shown", 0),
    avoided("tells", "reports, shows, returns", 0),
    avoided("tell", "report, show", 0),
    avoided("telling", "reporting, showing", 0),
    avoided("whoever", "the subject: the controller, the BMC, the operator", 0),
    avoided("nobody", "the subject, with a negation", 0),
    avoided("somebody", "the subject", 1),
    avoided("everybody", "every client, every caller", 0),
    avoided("stranger", "an untrusted peer, an unknown peer", 0),
    avoided("strangers", "untrusted peers, unknown peers", 0),
    avoided("for ever", "permanently, or the limit", 1),
    avoided("patience", "retry budget, timeout", 0),
    avoided("at once", "immediately, or in parallel", 1),
    avoided("by itself", "the subject, or \"unrequested\"", 0),
    avoided("in turn", "one after the other", 0),
    avoided("let go of", "eject, release, drop", 0),
    avoided("not understood", "invalid, not supported", 0),
];

#[test]
fn texts_use_plain_words() {
    let sentence = "A text uses the plain term, and a ceiling in plain.rs only falls:";
    hold(sentence, too_often(&text_files(), &AVOIDED));
}

fn too_often(files: &[Source], avoided: &[Avoided]) -> Vec<String> {
    let is_open = |path: &str| OPEN.iter().any(|folder| path.starts_with(folder));
    let (open, others): (Vec<_>, Vec<_>) =
        files.iter().filter(|file| is_ours(file)).map(plain).partition(|(path, _)| is_open(path));
    let check = |files: &[(&str, String)], avoided: &Avoided, lines_max: usize| {
        let lines = lines_with(files, avoided.word);
        (lines.len() > lines_max).then(|| {
            let last = lines.last().map_or("", String::as_str);
            let Avoided { word, instead, .. } = avoided;
            format!(
                "\"{word}\" is on {} lines and {lines_max} are allowed, such as {last}: write {instead}",
                lines.len()
            )
        })
    };
    let both = |avoided| [check(&others, avoided, 0), check(&open, avoided, avoided.open_max)];
    avoided.iter().flat_map(both).flatten().collect()
}

fn lines_with(files: &[(&str, String)], word: &str) -> Vec<String> {
    let phrase = format!(" {word} ");
    let lines = files.iter().flat_map(|(path, text)| {
        let found = text.lines().enumerate().filter(|(_, line)| line.contains(&phrase));
        found.map(move |(number, _)| format!("{path}:{}", number + 1))
    });
    lines.collect()
}

/// This list has to name the words.
fn is_ours(file: &Source) -> bool {
    file.path != "tests/it/tidy/plain.rs" && (file.path.ends_with(".rs") || file.path.ends_with(".md"))
}

/// Every line in lower case, each word between single blanks.
fn plain(file: &Source) -> (&str, String) {
    let line = |line: &str| {
        let lower = line.to_lowercase();
        let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        format!(" {} ", words.collect::<Vec<_>>().join(" "))
    };
    (&file.path, file.text.lines().map(line).collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_word_beyond_its_ceiling_is_named() {
    let files = [
        Source::new("src/a.rs", "fn retold() {}\nfn is_told() {}\n"),
        Source::new("src/store/sqlite/schema.rs", "// For ever,\n// told, and told\n// told\n"),
        Source::new("b.md", "tell\nforever\n"),
        Source::new("c.json", "told\n"),
    ];
    let words =
        [avoided("told", "reported", 1), avoided("for ever", "permanently", 1), avoided("tell", "show", 0)];
    let expected = [
        "\"told\" is on 1 lines and 0 are allowed, such as src/a.rs:2: write reported",
        "\"told\" is on 2 lines and 1 are allowed, such as src/store/sqlite/schema.rs:3: write reported",
        "\"tell\" is on 1 lines and 0 are allowed, such as b.md:1: write show",
    ];
    can_fail(too_often(&files, &words), &expected);
}
