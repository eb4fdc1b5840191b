//! `shoal completions` and `shoal man`: what shells and readers need to know of the commands, from their definition.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, CliError, Exit, output};

/// Print a completion script for a shell.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    #[arg(value_enum)]
    shell: Shell,
}

/// Write manual pages, one a command.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// An existing folder, such as /usr/local/share/man/man1.
    folder: PathBuf,
}

pub fn completions(args: CompletionsArgs) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "shoal", &mut script);
    output::text(&String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}

pub fn man(args: ManArgs) -> Result<Exit, CliError> {
    let folder = args.folder.display();
    let failed = |error: std::io::Error| format!("cannot write manual pages into {folder}: {error}");
    clap_mangen::generate_to(Cli::command(), &args.folder).map_err(failed)?;
    Ok(Exit::Done)
}
