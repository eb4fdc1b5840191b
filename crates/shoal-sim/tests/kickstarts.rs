//! The linter of kickstarts against the strict simulated installer, which shares no code with it.
//!
//! Over the corpus of the linter's crate, and over mutations of it. Invariant: where the two differ, the
//! reason is one of those that are named here.

#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

use std::path::Path;

use shoal_kickstart::{Class, Options, lint};
use shoal_sim::read_as_guest::hangs;

/// Rules by which the linter knows more: the installer's commands are no programs (KS091), a placeholder is
/// never meant even where a later line overrules it (KS006), a backslash ends the text (KS003), a `reboot`
/// that a here-document holds does not run (KS070), and an include differs from what a `%pre` writes, of
/// which the guest takes all for written where a command's output is in it (KS029). A quote in a script that
/// is not closed is nothing to the guest, and to a shell as fatal as what it hides (KS085).
const LINTER_KNOWS: [&str; 6] = ["KS091", "KS006", "KS003", "KS070", "KS029", "KS085"];
const MUTATIONS: usize = 10_000;
/// Of the mutations, so many in a thousand may stop the guest alone.
const MISSED_PER_MILLE_MAX: usize = 3;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shoal-kickstart/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: &Path| (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(path));
    files.iter().map(|path| read(path)).map(|(name, text)| (name, text.unwrap())).collect()
}

fn breaking(text: &[u8]) -> Vec<&'static str> {
    let found = lint(text, Options { version: "6.7".parse().ok(), ..Options::default() }).found;
    found
        .iter()
        .filter(|finding| finding.rule.class == Class::Breaks)
        .map(|finding| finding.rule.id)
        .collect()
}

/// What the linter cannot know: the disk of the host, and what an include brings.
fn depends_on_more(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let mut words = text.lines().filter_map(|line| line.split_whitespace().next());
    words.any(|word| ["upgrade", "installorupgrade", "include", "%include"].contains(&word))
}

#[test]
fn both_stop_at_the_same_files_of_the_corpus() {
    let corpus = corpus();
    assert!(corpus.len() >= 60);
    let differ = |text: &[u8]| breaking(text).is_empty() == hangs(text).is_some();
    let differing: Vec<&str> =
        corpus.iter().filter(|(_, text)| differ(text)).map(|(name, _)| name.as_str()).collect();
    // The simulated disk is blank, so that there is nothing to upgrade.
    assert_eq!(differing, ["upgrade"]);
}

/// Xorshift: the same mutations each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap_or_default()
    }
}

/// One to three changes of lines or characters, some with lines of another text.
fn mutate(text: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let split = |text: &[u8]| text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (mut lines, others) = (split(text), split(other));
    for _ in 0..=random.below(3) {
        let at = random.below(lines.len());
        match random.below(7) {
            0 if lines.len() > 1 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2 => {
                let to = random.below(lines.len());
                lines.swap(at, to);
            }
            3 => lines.insert(at, others[random.below(others.len())].clone()),
            4 => {
                let length = random.below(lines[at].len() + 1);
                lines[at].truncate(length);
            }
            5 if !lines[at].is_empty() => {
                let index = random.below(lines[at].len());
                lines[at].remove(index);
            }
            _ => {
                let (index, byte) = (random.below(lines[at].len() + 1), b" #'\\-=.,_a9"[random.below(11)]);
                lines[at].insert(index, byte);
            }
        }
    }
    lines.join(&b'\n')
}

#[test]
fn both_stop_at_the_same_mutations_but_for_known_reasons() {
    let corpus = corpus();
    let mut random = Random(88_172_645_463_325_252);
    let (mut false_errors, mut missed, mut stopped) = (Vec::new(), Vec::new(), 0);
    for _ in 0..MUTATIONS {
        let (one, other) = (random.below(corpus.len()), random.below(corpus.len()));
        let text = mutate(&corpus[one].1, &corpus[other].1, &mut random);
        let (ours, guest) = (breaking(&text), hangs(&text));
        stopped += usize::from(guest.is_some());
        let shown = || format!("{}: {ours:?} {guest:?}\n{}", corpus[one].0, String::from_utf8_lossy(&text));
        match (&guest, ours.as_slice()) {
            (None, ids) if ids.iter().any(|id| !LINTER_KNOWS.contains(id)) => false_errors.push(shown()),
            (Some(_), []) if !depends_on_more(&text) => missed.push(shown()),
            _ => {}
        }
    }
    assert!((MUTATIONS / 2..MUTATIONS * 9 / 10).contains(&stopped), "{stopped}");
    assert!(false_errors.is_empty(), "{}\n{}", false_errors.len(), false_errors.join("\n---\n"));
    let allowed = MUTATIONS * MISSED_PER_MILLE_MAX / 1_000;
    assert!(missed.len() <= allowed, "{}\n{}", missed.len(), missed.join("\n---\n"));
}
