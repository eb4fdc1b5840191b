//! The site of the tests, for figures that count: controller and simulated BMCs in this process, under paused time.

#[path = "../../tests/it/site.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "the site of the tests, of which figures need a part")]
mod site;

pub use site::{Site, https_only, machine};

/// Where time passes only while everything waits.
pub fn paused() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime")
}
