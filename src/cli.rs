//! The command line: argv becomes one command, one command ends in one exit code.
//!
//! It holds no logic of the product. One file a subcommand; each has its arguments and a `run`.
//! Invariant: standard output carries a command's result and nothing else; logs, progress and
//! errors go to standard error, and an error is printed here, once.

mod audit;
mod backup;
mod batch;
mod bmc;
mod client;
mod completions;
mod db;
mod demo;
mod events;
mod export;
mod image;
mod iso;
mod job;
mod key;
mod kickstart;
mod logging;
mod maintenance_iso;
mod new_file;
pub mod output;
mod prompt;
pub mod serve;
mod server;
mod sim;
mod support;
mod tls;
mod token;
mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use futures_util::future::LocalBoxFuture;

pub use output::{Format, Output};

use crate::config::LogArgs;
use shoal_base::world::World;

/// Installs VMware ESXi on bare-metal servers, unattended, through nothing but their BMCs.
#[derive(Debug, Parser)]
#[command(name = "shoal", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Output format.
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a controller.
    Serve(Box<serve::ServeCommand>),
    /// The inventory of a controller.
    Server(server::ServerArgs),
    /// Submit and follow installation jobs.
    Job(job::JobArgs),
    Batch(batch::BatchArgs),
    Events(events::EventsArgs),
    Export(Box<export::HandOverArgs>),
    /// Manage API tokens.
    Token(token::TokenArgs),
    Image(image::ImageArgs),
    /// Show and verify the audit log.
    Audit(audit::AuditArgs),
    /// Certificates of a controller.
    Tls(tls::TlsArgs),
    Bmc(bmc::BmcArgs),
    Iso(iso::IsoArgs),
    MaintenanceIso(maintenance_iso::MaintenanceIsoArgs),
    Kickstart(kickstart::KickstartArgs),
    Key(key::KeyArgs),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    Db(db::DbArgs),
    Sim(Box<sim::SimArgs>),
    SupportBundle(Box<support::SupportArgs>),
    Version(version::VersionArgs),
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
    Demo(demo::DemoArgs),
}

/// How a command that ran to its end went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Exit code 0.
    Done,
    /// Exit code 1: what the command watched or checked has failed, and it has said so.
    Failed,
    /// Exit code 130: the operator ended the command, and what it watched goes on.
    Interrupted,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a command could not be run to its end. Any error becomes one by `?`.
#[derive(Debug)]
pub struct CliError {
    error: BoxError,
    code: u8,
}

impl CliError {
    /// Exit code 2: the command line is invalid.
    pub fn usage(error: impl Into<BoxError>) -> CliError {
        CliError { error: error.into(), code: 2 }
    }
}

impl<E: Into<BoxError>> From<E> for CliError {
    /// Exit code 1.
    fn from(error: E) -> CliError {
        CliError { error: error.into(), code: 1 }
    }
}

/// Parses `args` (the program's name first) and runs the one command they name. In a box, or all commands would be
/// compiled once more with the program that polls them.
pub fn run(args: Vec<OsString>, world: World) -> LocalBoxFuture<'static, ExitCode> {
    Box::pin(parse_and_run(args, world))
}

async fn parse_and_run(args: Vec<OsString>, world: World) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are "errors" of clap's too: they go to standard output, with code 0.
            output::written(error.print());
            if let Some(failed) = unwritten() {
                return failed;
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let ended = dispatch(cli, world).await;
    if let (Ok(_), Some(failed)) = (&ended, unwritten()) {
        return failed;
    }
    match ended {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Failed) => ExitCode::from(1),
        Ok(Exit::Interrupted) => ExitCode::from(130),
        Err(CliError { error, code }) => {
            output::to_stderr(&render_error(error.as_ref()));
            ExitCode::from(code)
        }
    }
}

/// Exit code 1 where a result could not be written.
fn unwritten() -> Option<ExitCode> {
    let error = output::write_failure()?;
    output::to_stderr(&format!("error: standard output cannot be written: {error}"));
    Some(ExitCode::from(1))
}

/// Runs the command. `serve` alone sets up its log itself, because its configuration file may.
async fn dispatch(cli: Cli, world: World) -> Result<Exit, CliError> {
    match cli.command {
        Command::Serve(_) => {}
        Command::Demo(_) => logging::init(&cli.log.clone().or_quiet())?,
        _ => logging::init(&cli.log.clone().or_default())?,
    }
    if cli.output == Format::Sarif && !matches!(&cli.command, Command::Kickstart(args) if args.is_lint()) {
        return Err(CliError::usage("--output sarif is supported by `shoal kickstart lint` only"));
    }
    let output = Output::new(cli.output);
    match cli.command {
        Command::Serve(args) => serve::run(*args, cli.log, world).await,
        Command::Server(args) => server::run(args, &world, output).await,
        Command::Job(args) => job::run(args, &world, output).await,
        Command::Batch(args) => batch::run(args, &world, output).await,
        Command::Events(args) => events::run(args, &world, output).await,
        Command::Export(args) => export::run(*args, &world).await,
        Command::Token(args) => token::run(args, &world, output).await,
        Command::Image(args) => image::run(args, &world, output).await,
        Command::Audit(args) => audit::run(args, &world, output).await,
        Command::Tls(args) => tls::run(args, &world, output).await,
        Command::Bmc(args) => bmc::run(args, &world, output).await,
        Command::Iso(args) => iso::run(args, &world, output).await,
        Command::MaintenanceIso(args) => maintenance_iso::run(args, output).await,
        Command::Kickstart(args) => kickstart::run(args, &world, output).await,
        Command::Key(args) => key::run(args, &world, output).await,
        Command::Backup(args) => backup::backup(args, &world, output),
        Command::Restore(args) => backup::restore(args, &world, output).await,
        Command::Db(args) => db::run(args, &world, output).await,
        Command::Sim(args) => sim::run(*args, world).await,
        Command::Demo(args) => demo::run(args, world).await,
        Command::SupportBundle(args) => support::run(*args, &world, output).await,
        Command::Version(args) => version::run(&args, output),
        Command::Completions(args) => completions::completions(args),
        Command::Man(args) => completions::man(args),
    }
}

/// The message and its causes, a line each.
fn render_error(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("\n  because: {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the database")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn an_error_is_rendered_with_its_causes_once() {
        let error = Outer(std::io::Error::other("disk on fire"));
        assert_eq!(render_error(&error), "error: cannot open the database\n  because: disk on fire");
    }

    #[test]
    fn the_command_tree_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
