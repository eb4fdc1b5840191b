//! Kickstarts of VMware ESXi's installer as text: read without loss, judged by named rules; and templates of them.
//!
//! The modules, in reading order:
//!
//! - [`syntax`]: bytes become lines, words and sections, each with its span.
//! - [`commands`]: which commands and options the installer knows, and since when.
//! - [`rules`]: the rule table: ids, classes, reasons, remedies, examples.
//! - [`mod@lint`]: a text and options become findings.
//! - [`fn@erased`]: which disks a text erases, for questions.
//! - [`report`]: findings as text with marked source, as JSON, as SARIF.
//! - [`template`]: one text for many servers: variables, address arithmetic, password hashes.
//!
//! No module performs I/O, reads a clock or draws a random number. What is known of the installer
//! was read in the code of 6.7 and in the documentation of later versions; where those differ, a
//! rule states its versions. Invariant: no input makes a function of this crate panic, and no output
//! of [`report`] holds a password of the text.

pub mod commands;
mod erased;
mod hook;
pub mod lint;
pub mod report;
pub mod rules;
pub mod syntax;
pub mod template;
mod version;

pub use erased::erased;
pub use hook::Hook;
pub use lint::{Finding, Options, lint};
pub use rules::{Class, Rule};
pub use version::{UnknownVersion, Version};

#[cfg(test)]
mod sample;
