//! Things that only one module may do: SQL, the environment, public wire types, listeners, and
//! acting at all in a pure part.
//!
//! Clippy bans the calls it can name (`clippy.toml`); these are the crates and words it cannot.

use super::arrows_table::PURE;
use super::{can_fail, hold};
use xtask::source::{Source, is_word, production_files};

/// A word of code and the modules that may use it.
struct Door {
    words: &'static [&'static str],
    only: &'static [&'static str],
    sentence: &'static str,
}

const DOORS: [Door; 6] = [
    Door {
        words: &["shoal_kickstart"],
        only: &["cli", "api", "fuzz"],
        sentence: "Kickstarts are judged at the edge: a job's text is final.",
    },
    Door {
        words: &["rusqlite", "tokio_postgres", "deadpool_postgres"],
        only: &["store"],
        sentence: "Only store has SQL.",
    },
    Door {
        words: &["std::env"],
        only: &["config", "shoal_agent"],
        sentence: "Only config reads the environment, and the agent its arguments.",
    },
    Door {
        words: &["utoipa", "ToSchema", "IntoParams"],
        only: &["api", "problem"],
        sentence: "Only api has public wire types, and problem the one that api and media share.",
    },
    Door {
        words: &["TcpListener", "UnixListener", "axum::serve", "axum_server"],
        only: &["cli"],
        sentence: "Only cli opens listeners.",
    },
    Door {
        words: &["reqwest", "TcpStream"],
        only: &["shoal_base"],
        sentence: "Outbound HTTP goes through shoal_base::world.",
    },
];

/// What no pure part may name. `iso` reads and writes open files by position, nothing more.
const ACTS: [&str; 10] = [
    "async",
    "tokio",
    "axum",
    "std::fs",
    "std::env",
    "std::net::Tcp",
    "std::process",
    "std::thread",
    "metrics",
    "Instant",
];

#[test]
fn only_store_has_sql_only_config_the_environment_only_api_wire_types_only_cli_listeners() {
    let files = production_files();
    for door in &DOORS {
        hold(door.sentence, broken_door(door, &files));
    }
}

#[test]
fn pure_parts_do_not_act() {
    hold("A pure part does no I/O, waits for nothing and reads no clock.", acting(&production_files()));
}

fn broken_door(door: &Door, files: &[Source]) -> Vec<String> {
    // The crate's roots (main takes argv) hold no logic and belong to no module.
    let is_outside =
        |file: &&Source| file.module().first().is_some_and(|top| !door.only.iter().any(|only| top == only));
    files.iter().filter(is_outside).flat_map(|file| uses(file, door.words)).collect()
}

fn acting(files: &[Source]) -> Vec<String> {
    let is_pure = |file: &&Source| {
        let module = file.module().join("::");
        PURE.iter().any(|pure| module == pure.from || module.starts_with(&format!("{}::", pure.from)))
    };
    let mut broken = Vec::new();
    for file in files.iter().filter(is_pure) {
        let allowed = file.module().starts_with(&["shoal_image".to_owned(), "iso".to_owned()]);
        let words: Vec<&str> = ACTS.iter().copied().filter(|word| !(allowed && *word == "std::fs")).collect();
        broken.extend(uses(file, &words));
    }
    broken
}

/// The places of a file that name one of the words.
fn uses(file: &Source, words: &[&str]) -> Vec<String> {
    let code = file.production();
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        for word in words.iter().filter(|word| has_word(line, word)) {
            found.push(format!("{}:{} names {word}", file.path, number + 1));
        }
    }
    found
}

/// Whether `line` holds `word` and not only as part of a longer one. A word's end is open where it
/// ends in the middle of a name on purpose, as `std::net::Tcp` does.
pub fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && (word.ends_with("Tcp") || !after.is_some_and(is_word))
    })
}

#[test]
fn an_open_door_is_named() {
    let files = [
        Source::new("src/api/jobs.rs", "use rusqlite::Connection;\n#[derive(ToSchema)]\nstruct Job;\n"),
        Source::new("src/job.rs", "fn f() { std::env::var(\"X\"); } // reqwest\nfn reqwest_like() {}\n"),
        Source::new("crates/shoal-sim/src/lib.rs", "use tokio::net::TcpListener;\n"),
    ];
    let broken = DOORS.iter().flat_map(|door| broken_door(door, &files)).collect();
    can_fail(
        broken,
        &["jobs.rs:1 names rusqlite", "job.rs:1 names std::env", "shoal-sim/src/lib.rs:1 names TcpListener"],
    );
}

#[test]
fn an_act_in_a_pure_part_is_named() {
    let files = [
        Source::new("src/paths/esxi/detect.rs", "async fn f() {}\n"),
        Source::new("crates/shoal-image/src/iso/read.rs", "use std::fs::File;\n"),
        Source::new("crates/shoal-image/src/installer.rs", "use std::fs::File;\n"),
        Source::new("src/flow/steps.rs", "async fn f() {}\n"),
    ];
    can_fail(acting(&files), &["detect.rs:1 names async", "installer.rs:1 names std::fs"]);
}
