//! `shoal serve`: a controller, from its settings to its orderly end.
//!
//! Wires the parts together and decides nothing. Order matters: the database's lock comes first, so
//! that a second controller stops before it touches anything; listeners are bound before the engine
//! drives a job, since a BMC may fetch immediately. Invariant: at a shutdown every job is left where the
//! next controller can take it up.

mod check;
mod checkup;
mod chores;
mod connections;
mod controller;
mod database;
mod disks;
mod inspect;
mod installer_version;
mod listen;
mod media_base;
mod release;
mod self_test;
mod sendfile;
mod token;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use controller::{Controller, ServeError, start};
pub use listen::{OnRefused, serve};
pub use media_base::MediaBases;

use super::{CliError, Exit, logging, output};
use crate::config::{Config, LogArgs, ServeArgs};
use shoal_base::world::World;

#[derive(Debug, Args)]
pub struct ServeCommand {
    #[command(flatten)]
    settings: ServeArgs,
    /// Check the settings and what they name, print a line each, and exit: 1 if a controller could not run with them.
    #[arg(long)]
    check: bool,
}

pub async fn run(command: ServeCommand, log: LogArgs, world: World) -> Result<Exit, CliError> {
    let args = command.settings;
    if command.check {
        return checkup::run(args, log, world).await;
    }
    let config = Config::load(args, log).map_err(CliError::usage)?;
    logging::init(&config.log)?;
    let mut signals = Signals::new()?;
    let controller = start(config, world).await?;
    output::line(&controller.greeting());
    let ended_unasked = tokio::select! {
        biased;
        () = signals.next() => false,
        () = controller.broken() => true,
    };
    exit_at_the_second(signals);
    controller.stop().await;
    if ended_unasked { Err(ServeError::Broken.into()) } else { Ok(Exit::Done) }
}

/// What asks a service to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A second signal ends the process immediately. Everything durable is stored already.
fn exit_at_the_second(mut signals: Signals) {
    tokio::spawn(async move {
        signals.next().await;
        output::to_stderr("stopped immediately; jobs resume at the next start");
        std::process::exit(1);
    });
}
