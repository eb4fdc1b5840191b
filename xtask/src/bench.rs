//! `cargo xtask bench`: installs the peers and runs the figures (`benches/figures/`), all or some, and the time that
//! the linter takes (`crates/shoal-kickstart/benches/`).

use crate::debian;
use crate::process::{Done, command, run};

/// The figure that has no peer and is measured in a crate of its own.
const LINT: &str = "lint";

pub fn measure(figures: &[&str]) -> Done {
    if figures.is_empty() || figures.contains(&LINT) {
        run(&mut command("cargo", &["bench", "--locked", "-p", "shoal-kickstart", "--bench", LINT]))?;
    }
    let others: Vec<&str> = figures.iter().copied().filter(|figure| *figure != LINT).collect();
    if others.is_empty() && !figures.is_empty() {
        return Ok(());
    }
    debian::ensure("the figures", debian::FOR_BENCH)?;
    run(command("cargo", &["bench", "--locked", "--bench", "figures", "--"]).args(others))
}
