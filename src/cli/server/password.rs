//! Whence a BMC account's password comes: standard input, a terminal, or a reference that the controller resolves.
//!
//! Invariant: a password is never an argument, which other users of the machine could read, and is not shown while it
//! is typed.

use std::io::{self, IsTerminal, Read, Stdin, Write};

use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::cli::CliError;

/// One of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct PasswordArgs {
    /// Read the account's password from standard input, to its end; on a terminal it is asked for and not shown.
    #[arg(long)]
    password_stdin: bool,
    /// Where the controller finds it: env:SHOAL_SECRET_…, or file: and a name below its BMC_SECRETS_DIR.
    #[arg(long, value_name = "REFERENCE")]
    password_from: Option<String>,
}

impl PasswordArgs {
    pub fn read(self) -> Result<String, CliError> {
        self.password_from.map_or_else(read_password, Ok)
    }
}

/// The same where none may be given.
#[derive(Debug, Args)]
#[group(required = false, multiple = false)]
pub struct OptionalPasswordArgs {
    /// Read the account's password from standard input, to its end; on a terminal it is asked for and not shown.
    #[arg(long)]
    pub password_stdin: bool,
    /// Where the controller finds it: env:SHOAL_SECRET_…, or file: and a name below its BMC_SECRETS_DIR.
    #[arg(long, value_name = "REFERENCE")]
    password_from: Option<String>,
}

impl OptionalPasswordArgs {
    pub fn read(self) -> Result<Option<String>, CliError> {
        match self.password_from {
            Some(reference) => Ok(Some(reference)),
            None => self.password_stdin.then(read_password).transpose(),
        }
    }
}

/// A line that is typed, or standard input without the end of its last line.
pub fn read_password() -> Result<String, CliError> {
    if std::io::stdin().is_terminal() {
        let typed = type_hidden("Password: ")?;
        return if typed.is_empty() { Err(CliError::usage("no password was typed")) } else { Ok(typed) };
    }
    let mut text = String::new();
    std::io::stdin().lock().take(4_096).read_to_string(&mut text)?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(CliError::usage("standard input holds no password"));
    }
    Ok(password.to_owned())
}

/// A line from the terminal. Its echo is off before the prompt is shown, and what was typed before is discarded.
fn type_hidden(prompt: &str) -> io::Result<String> {
    let echo = HiddenEcho::start(io::stdin())?;
    let mut terminal = io::stderr();
    write!(terminal, "{prompt}")?;
    terminal.flush()?;
    let mut line = String::new();
    echo.stdin.read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Echo is off until it is dropped, but for the end of the line.
struct HiddenEcho {
    stdin: Stdin,
    before: Termios,
}

impl HiddenEcho {
    fn start(stdin: Stdin) -> io::Result<HiddenEcho> {
        let before = tcgetattr(&stdin)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
        Ok(HiddenEcho { stdin, before })
    }
}

impl Drop for HiddenEcho {
    fn drop(&mut self) {
        let _not_a_terminal_any_more = tcsetattr(&self.stdin, OptionalActions::Now, &self.before);
    }
}
