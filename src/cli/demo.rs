//! `shoal demo`: one command that shows an installation from recipe to verdict.
//!
//! A controller and simulated servers in one process, over real HTTP on loopback; the demo itself
//! speaks to them only through the public REST API. With a persona, everything is HTTPS. Times are scaled
//! down, and it says so.
//! Invariant: it ends well only if every job succeeded and every simulated machine says the same.

mod screen;
mod site;

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use self::screen::DemoScreen;
use self::site::Site;
use super::{CliError, Exit};
use shoal_base::world::World;
use shoal_sim::Persona;

/// How long a simulated install takes. Real ones take minutes.
pub const INSTALL: Duration = Duration::from_secs(5);
/// How long the host has to stay on after the evidence. In production 90 s.
pub const STABLE_WINDOW: Duration = Duration::from_secs(3);

/// What is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DemoTarget {
    /// ESXi, by its own installer and a kickstart.
    Esxi,
    /// Linux, by a maintenance ISO, from an image that the controller hosts.
    Linux,
}

/// Show an installation: a controller, simulated servers, and each step live. Needs no set-up.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many servers are installed in parallel.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    servers: u16,
    /// What is installed.
    #[arg(long, value_name = "TARGET", default_value = "esxi")]
    target: DemoTarget,
    /// Whose BMC it looks like, as `shoal sim --help` lists them; over HTTPS then, its media too where it
    /// takes them so.
    #[arg(long, value_name = "NAME")]
    persona: Option<Persona>,
    /// Leave everything running afterwards, until interrupted.
    #[arg(long)]
    keep: bool,
}

pub async fn run(args: DemoArgs, world: World) -> Result<Exit, CliError> {
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let asked_to_end = async {
        tokio::select! {
            biased;
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    };
    tokio::pin!(asked_to_end);
    let screen =
        DemoScreen::begin(args.servers, args.target, if args.persona.is_some() { "HTTPS" } else { "HTTP" });
    let site = Site::open(&args, &world, &screen).await?;
    let shown = tokio::select! {
        biased;
        () = &mut asked_to_end => Ok(Exit::Failed),
        shown = show(&site, &screen) => shown,
    };
    if args.keep && shown.is_ok() {
        screen.keep(&site.addresses());
        asked_to_end.await;
    }
    site.close().await;
    shown
}

/// What a simulated machine says of itself.
pub struct Truth {
    pub text: String,
    /// It runs what the recipe asks for, was installed once, and has nothing left in its drives.
    pub as_installed: bool,
}

/// Registers, submits, follows, and compares what the controller says with what is true.
async fn show(site: &Site, screen: &DemoScreen) -> Result<Exit, CliError> {
    site.register(screen).await?;
    let jobs = site.submit(screen).await?;
    let ended = match jobs.as_slice() {
        [job] => vec![screen.follow(&site.client, job).await?],
        jobs => screen.count(&site.client, jobs).await?,
    };
    let mut truths = vec![];
    for job in &ended {
        truths.push(site.truth(job).await);
    }
    screen.end(&ended, &truths);
    let is_good = |(job, truth): (&Value, &Truth)| job["status"] == "succeeded" && truth.as_installed;
    Ok(if ended.iter().zip(&truths).all(is_good) { Exit::Done } else { Exit::Failed })
}
