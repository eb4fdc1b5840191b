//! `cargo xtask bench`: installs the peers and runs the figures (`benches/figures/`), all or some, and the time that
//! the linter takes (`crates/shoal-kickstart/benches/`); and, by name only, what several controllers cost (`controllers.py`).

mod compare;

use std::path::Path;

use crate::process::{Done, command, fail, run};
use crate::{agent, debian};
use xtask::source::ROOT;

/// The figure that has no peer and is measured in a crate of its own.
const LINT: &str = "lint";

/// The figure of the agent, which is built as it is in the maintenance system.
const WRITING: &str = "writing";

pub fn measure(words: &[&str]) -> Done {
    match words {
        ["--compare"] => fail("bench --compare wants a commit"),
        ["--compare", revision, figures @ ..] => {
            debian::ensure("the figures", debian::FOR_BENCH)?;
            compare::compare(revision, figures)
        }
        ["controllers"] => controllers(),
        figures => figures_of_this(figures),
    }
}

/// Processes of a release build on a database of their own. Takes about half an hour.
fn controllers() -> Done {
    debian::ensure("the figures of several controllers", debian::FOR_CONTROLLERS)?;
    run(&mut command("cargo", &["build", "--release", "--locked", "--bin", "shoal"]))?;
    let shoal = Path::new(ROOT).join("target/release/shoal");
    run(command("python3", &["benches/controllers.py"]).env("SHOAL", shoal))
}

fn figures_of_this(figures: &[&str]) -> Done {
    if figures.is_empty() || figures.contains(&LINT) {
        run(&mut command("cargo", &["bench", "--locked", "-p", "shoal-kickstart", "--bench", LINT]))?;
    }
    let others: Vec<&str> = figures.iter().copied().filter(|figure| *figure != LINT).collect();
    if others.is_empty() && !figures.is_empty() {
        return Ok(());
    }
    if others.is_empty() || others.contains(&WRITING) {
        agent::build()?;
    }
    debian::ensure("the figures", debian::FOR_BENCH)?;
    run(command("cargo", &["bench", "--locked", "--bench", "figures", "--"]).args(others))
}
