//! The project's figures, each as a ratio to a peer measured in the same run: `cargo xtask bench`.
//!
//! Not tests: nothing here passes or fails, since a shared machine proves no absolute number. What is
//! printed is our median, the peer's median, their ratio, and what we aim at. Invariant: the two sides
//! of a ratio alternate, so that whatever else the machine does hits both.

mod history;
mod in_process;
mod installer;
mod installs;
mod instructions;
mod measure;
mod requests;
mod serving;
mod site;
mod store_writes;
mod task_iso;
mod writing;

/// A figure's name and what measures it.
type Figure = (&'static str, fn());

const FIGURES: [Figure; 9] = [
    ("task-iso", task_iso::measure),
    ("installer", installer::measure),
    ("serving", serving::measure),
    ("instructions", instructions::measure),
    ("requests", requests::measure),
    ("store-writes", store_writes::measure),
    ("installs", installs::measure),
    ("history", history::measure),
    ("writing", writing::measure),
];

fn main() {
    // `cargo bench` adds a flag of its own; words choose figures.
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    // Two figures run this program again, for their other sides.
    match &chosen.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["read-slowly", url] => return serving::read_slowly(url),
        ["instructions-of", part, rounds] => return instructions::run(part, rounds),
        _ => {}
    }
    for (name, measure) in FIGURES {
        if chosen.is_empty() || chosen.iter().any(|word| word == name) {
            println!("== {name}");
            measure();
        }
    }
}
