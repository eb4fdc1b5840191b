//! `cargo xtask bench`: installs the peers and runs the figures (`benches/figures/`), all or some.

use crate::debian;
use crate::process::{Done, command, run};

pub fn measure(figures: &[&str]) -> Done {
    debian::ensure("the figures", debian::FOR_BENCH)?;
    run(command("cargo", &["bench", "--locked", "--bench", "figures", "--"]).args(figures))
}
