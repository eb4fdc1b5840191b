//! A question on the terminal, before something that cannot be undone.

use std::io::{IsTerminal, Write};

use super::CliError;

/// Whether standard input can be asked.
pub fn is_interactive() -> bool {
    std::io::stdin().is_terminal()
}

/// Asks `question`; anything but a yes is a no.
pub fn confirm(question: &str) -> Result<bool, CliError> {
    let mut terminal = std::io::stderr();
    write!(terminal, "{question} [y/N] ")?;
    terminal.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
