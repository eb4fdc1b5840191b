//! The program that third-party clients and the lab drive: the one of the tests.
//!
//! Invariant: it is built with the tests, because Cargo gives it other features without them (tokio's test clock, the
//! schemas of what is stored), and so would compile half of the dependencies and the program a second time.

use crate::process::{Done, command, run};

/// Below the checkout.
pub const PATH: &str = "target/debug/shoal";

/// Builds it where the tests have not.
pub fn build() -> Done {
    run(&mut command("cargo", &["build", "--workspace", "--locked", "--lib", "--bins", "--tests"]))
}
