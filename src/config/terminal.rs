//! What the environment says of the terminal.

/// `COLUMNS`, where it is set to a width; it takes precedence over what the terminal itself reports.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the width of a terminal from the environment"
)]
pub fn columns() -> Option<u16> {
    std::env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0)
}
