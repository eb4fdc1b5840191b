//! `shoal kickstart`: what would go wrong with a kickstart, and what a template becomes.
//!
//! The rules are in the crate `shoal_kickstart`; files and terminals are here. Invariant: every file
//! that is named is judged or reported as unreadable, and either fault is exit code 1.

pub mod lint;
pub mod render;

use clap::{Args, Subcommand};

use super::{CliError, Exit, Output};
use shoal_base::world::World;

/// Check kickstarts and render templates before they are submitted.
#[derive(Debug, Args)]
pub struct KickstartArgs {
    #[command(subcommand)]
    command: KickstartCommand,
}

#[derive(Debug, Subcommand)]
enum KickstartCommand {
    Lint(lint::LintArgs),
    Render(Box<render::RenderArgs>),
}

impl KickstartArgs {
    pub fn is_lint(&self) -> bool {
        matches!(self.command, KickstartCommand::Lint(_))
    }
}

pub async fn run(args: KickstartArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    match args.command {
        KickstartCommand::Lint(args) => lint::run(args, output).await,
        KickstartCommand::Render(args) => render::run(*args, world, output).await,
    }
}
