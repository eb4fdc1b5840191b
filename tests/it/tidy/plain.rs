//! Words that the project's texts are to lose, and how many lines still have each.
//!
//! A ceiling only falls: whoever removes a word lowers its number, and a word at zero stays away. It
//! counts comments, messages, names with underscores and documents alike.

use super::{can_fail, hold};
use xtask::source::{Source, text_files};

/// A word, the plain terms for it, and how many lines may have it.
struct Avoided {
    word: &'static str,
    instead: &'static str,
    lines_max: usize,
}

const fn avoided(word: &'static str, instead: &'static str, lines_max: usize) -> Avoided {
    Avoided { word, instead, lines_max }
}

const AVOIDED: [Avoided; 14] = [
    avoided("told", "reported, recorded, shown", 59),
    avoided("tells", "reports, shows, returns", 21),
    avoided("tell", "report, show", 14),
    avoided("telling", "reporting, showing", 1),
    avoided("whoever", "the subject: the controller, the BMC, the operator", 27),
    avoided("nobody", "the subject, with a negation", 42),
    avoided("somebody", "the subject", 26),
    avoided("everybody", "every client, every caller", 2),
    avoided("strangers", "untrusted peers, unknown peers", 0),
    avoided("for ever", "permanently, or the limit", 1),
    avoided("patience", "retry budget, timeout", 0),
    avoided("at once", "immediately", 25),
    avoided("by itself", "the subject, or \"unrequested\"", 13),
    avoided("in turn", "one after the other", 0),
];

#[test]
fn texts_lose_the_words_that_a_reader_stumbles_over() {
    let sentence = "A text uses the plain term, and a ceiling in plain.rs only falls:";
    hold(sentence, too_often(&text_files(), &AVOIDED));
}

fn too_often(files: &[Source], avoided: &[Avoided]) -> Vec<String> {
    let files: Vec<(&str, String)> = files.iter().filter(|file| is_ours(file)).map(plain).collect();
    let mut broken = Vec::new();
    for Avoided { word, instead, lines_max } in avoided {
        let phrase = format!(" {word} ");
        let lines = files.iter().flat_map(|(path, text)| {
            let numbered = text.lines().enumerate().filter(|(_, line)| line.contains(&phrase));
            numbered.map(move |(number, _)| format!("{path}:{}", number + 1))
        });
        let lines: Vec<String> = lines.collect();
        if lines.len() > *lines_max {
            let last = lines.last().map_or("", String::as_str);
            broken.push(format!(
                "\"{word}\" is on {} lines and {lines_max} are allowed, such as {last}: write {instead}",
                lines.len()
            ));
        }
    }
    broken
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
        Source::new("src/a.rs", "// For ever,\nfn is_told() {}\nfn retold() {}\n"),
        Source::new("b.md", "told, and told\nforever\n"),
        Source::new("c.json", "told\n"),
    ];
    let broken = too_often(&files, &[avoided("told", "reported", 1), avoided("for ever", "permanently", 1)]);
    can_fail(broken, &["\"told\" is on 2 lines and 1 are allowed, such as b.md:1: write reported"]);
}
