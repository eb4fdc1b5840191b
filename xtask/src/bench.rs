//! `cargo xtask bench`: installs the peers and runs the figures (`benches/figures/`), all or some, and the time that
//! the linter takes (`crates/shoal-kickstart/benches/`).

mod compare;

use crate::process::{Done, command, fail, run};
use crate::{agent, debian};

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
        figures => figures_of_this(figures),
    }
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
