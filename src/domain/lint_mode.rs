//! What is done on submit about what the linter finds in a kickstart.
//!
//! Invariant: the words are those of `KICKSTART_LINT`.

/// The setting `KICKSTART_LINT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LintMode {
    /// Findings become events of the job.
    #[default]
    Warn,
    /// So do they, and a recipe whose kickstart would stop the installation is refused.
    Deny,
    /// Kickstarts are not looked at.
    Off,
}

impl LintMode {
    pub const WORDS: [(&'static str, LintMode); 3] =
        [("warn", LintMode::Warn), ("deny", LintMode::Deny), ("off", LintMode::Off)];
}
