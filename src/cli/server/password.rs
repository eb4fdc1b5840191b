//! Whence a BMC account's password comes: standard input, a terminal, or a reference that the controller resolves.
//!
//! Invariant: a password is never an argument, which other users of the machine could read, and is not shown while it
//! is typed.

use std::io::{IsTerminal, Read};

use clap::Args;

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
        let typed = rpassword::prompt_password("Password: ")?;
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
