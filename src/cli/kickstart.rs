//! `shoal kickstart`: what would go wrong with a kickstart, before any host is touched.
//!
//! The rules are in the crate `shoal_kickstart`; files and terminals are here. Invariant: every file
//! that is named is judged or reported as unreadable, and either fault is exit code 1.

mod lint;

use clap::{Args, Subcommand};

use super::{CliError, Exit, Output};

/// Check kickstarts before they are submitted.
#[derive(Debug, Args)]
pub struct KickstartArgs {
    #[command(subcommand)]
    command: KickstartCommand,
}

#[derive(Debug, Subcommand)]
enum KickstartCommand {
    Lint(lint::LintArgs),
}

impl KickstartArgs {
    pub fn is_lint(&self) -> bool {
        matches!(self.command, KickstartCommand::Lint(_))
    }
}

pub async fn run(args: KickstartArgs, output: Output) -> Result<Exit, CliError> {
    match args.command {
        KickstartCommand::Lint(args) => lint::run(args, output).await,
    }
}
