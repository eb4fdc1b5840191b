//! `shoal sim`: simulated BMCs on loopback, one port each.
//!
//! It opens listeners and prints what was made; the machines are in [`shoal_sim`]. Invariant:
//! standard output holds one JSON line a machine, then `{"ready":true}`, then nothing.

mod listen;
mod management;
mod register;
mod standin;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use secrecy::SecretString;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use url::Url;

pub use self::listen::{Listener, Tls, serve};
use self::management::serve_management;
pub use self::register::{Existing, register};
use self::standin::write_installer;
use super::client::Client;
use super::{CliError, Exit, output};
use crate::config::ClientArgs;
use shoal_base::world::{Rng, World, pooled_transport};
use shoal_sim::{Fault, InstalledSystem, Persona, SimBmc, SimConfig, Sources, Timings, fault_help};

/// Connections to a media server that are kept open between reads.
const IDLE_CONNECTIONS: usize = 64;
/// Bytes of randomness in a password, which is twice as many characters.
const PASSWORD_BYTES: usize = 12;

/// Run simulated BMCs on loopback, each with a machine that boots and installs what is inserted.
#[derive(Debug, Args)]
#[command(after_long_help = format!("Personas:\n  {}\n\nFaults:\n{}", Persona::names().join(", "), fault_help()))]
pub struct SimArgs {
    /// How many machines.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    count: u16,
    /// Port of the first machine, the others follow; 0: any free port each.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    base_port: u16,
    /// Whose BMC it looks like; of several, with commas between them, the machines take turns. `--help`
    /// lists them.
    #[arg(long = "persona", value_name = "NAME[,NAME]…", default_value = "generic", value_delimiter = ',')]
    personas: Vec<Persona>,
    /// What the serial numbers begin with; four digits follow.
    #[arg(long, value_name = "TEXT", default_value = "SIM", value_parser = parse_prefix)]
    serial_prefix: String,
    /// What their Systems show of boots beside PowerState, instead of the persona's: of
    /// boot-progress, boot-progress-time, last-boot-time, last-reset-time, post-state and
    /// number-of-reboots any, with commas between them, or none.
    #[arg(long, value_name = "LIST")]
    sources: Option<Sources>,
    /// Whether the machines run an operating system at the start.
    #[arg(long, value_enum, default_value_t = PowerAtStart::Off)]
    power: PowerAtStart,
    /// The ESXi on their disks at the start, as BOOT.CFG writes it: 8.0.3-0.0.24022510.
    #[arg(long, value_name = "RELEASE")]
    previous: Option<InstalledSystem>,
    /// A port more for each machine, where the ESXi that it runs answers by HTTPS.
    #[arg(long)]
    management: bool,
    /// What the machines do wrong; may be given several times. `--help` lists them.
    #[arg(long = "fault", value_name = "NAME[=VALUE]")]
    faults: Vec<Fault>,
    /// How long an install takes, in seconds.
    #[arg(long, value_name = "S", default_value = "10", value_parser = parse_secs)]
    install_seconds: Duration,
    /// What is drawn by lot (passwords, tokens, session numbers) comes from this number, so that it is
    /// the same each time; by chance without it.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Write the stand-in for an ESXi installer to this file first, for a controller to install from
    /// (ESXI_INSTALLER_URL).
    #[arg(long, value_name = "FILE")]
    write_installer: Option<PathBuf>,
    /// HTTPS with a self-signed certificate, made at the start.
    #[arg(long)]
    tls: bool,
    /// Add every machine to the inventory of the controller at this URL.
    #[arg(long, value_name = "URL")]
    register: Option<Url>,
    /// With --register: change records that exist already and differ. Without it nothing is changed then.
    #[arg(long, requires = "register")]
    replace: bool,
    /// Token for --register.
    #[arg(long, env = "SHOAL_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = parse_token)]
    token: Option<SecretString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PowerAtStart {
    On,
    Off,
}

/// The line about one machine: all that a controller needs.
#[derive(Clone, Serialize)]
pub struct Line {
    pub serial: String,
    pub bmc_address: String,
    pub username: String,
    pub password: String,
    /// How its certificate can be trusted, with `--tls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// Where its ESXi answers, with `--management`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub management_address: Option<String>,
    /// Which system of its service it is, where that reports no serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_id: Option<String>,
}

impl Line {
    pub fn new(machine: &SimConfig, listener: &Listener, tls: Option<&Tls>) -> Line {
        Line {
            serial: machine.serial.clone(),
            bmc_address: listener.url(tls.is_some()),
            username: machine.username.clone(),
            password: machine.password.clone(),
            tls: tls.map(|tls| tls.policy().to_string()),
            management_address: None,
            system_id: machine.persona.hides_serial().then(|| machine.persona.system.to_owned()),
        }
    }
}

fn parse_secs(text: &str) -> Result<Duration, String> {
    let secs = text.parse::<f64>().ok().filter(|secs| (0.0..=86_400.0).contains(secs));
    secs.map(Duration::from_secs_f64).ok_or_else(|| "not a number of seconds from 0 to 86400".to_owned())
}

/// As a serial number is written, with room for its digits.
fn parse_prefix(text: &str) -> Result<String, String> {
    let fits = (1..=32).contains(&text.len());
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if fits && is_plain {
        Ok(text.to_owned())
    } else {
        Err("not 1 to 32 letters, digits, hyphens and underscores".to_owned())
    }
}

fn parse_token(text: &str) -> Result<SecretString, Infallible> {
    Ok(text.into())
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: SimArgs, world: World) -> Result<Exit, CliError> {
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let tls = args.tls.then(Tls::self_signed).transpose()?;
    let client = |url| Client::new(&ClientArgs::new(url, args.token.clone()), &world);
    let controller = args.register.clone().map(client).transpose()?;
    let rng = args.seed.map_or_else(|| world.rng.clone(), Rng::from_seed);
    let world = World { transport: media_transport(), rng, ..world };
    if let Some(path) = args.write_installer.clone() {
        tokio::task::spawn_blocking(move || write_installer(&path)).await??;
    }
    let (mut servers, mut lines) = (JoinSet::new(), Vec::new());
    // All ports first: a taken one ends the command before it has printed anything.
    for (number, (listener, management)) in (0..).zip(listeners(&args)?) {
        let machine = config(&args, number, &world.rng);
        let line = Line {
            management_address: management.as_ref().map(|listener| listener.address().to_string()),
            ..Line::new(&machine, &listener, tls.as_ref())
        };
        output::line(&serde_json::to_string(&line)?);
        lines.push(line);
        let bmc = SimBmc::start(world.clone(), machine);
        servers.spawn(serve(listener, tls.clone(), bmc.clone()));
        if let Some(management) = management {
            servers.spawn(serve_management(management, bmc));
        }
    }
    if let Some(controller) = &controller {
        let existing = Existing { replace: args.replace, same_passwords: args.seed.is_some() };
        register(controller, &lines, existing).await?;
    }
    output::line(r#"{"ready":true}"#);
    tokio::select! {
        biased;
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
        Some(ended) = servers.join_next() => ended??,
    }
    tracing::info!("the simulated machines end");
    Ok(Exit::Done)
}

/// For BMCs, many of which read from one media server.
pub fn media_transport() -> shoal_base::world::Transport {
    pooled_transport(&[], IDLE_CONNECTIONS)
}

/// One for each BMC, and one for each host where that is wanted. Those come last, so that a port which
/// the system chose is none that was requested.
fn listeners(args: &SimArgs) -> Result<Vec<(Listener, Option<Listener>)>, CliError> {
    let bmcs = (0..args.count).map(|number| Ok(Listener::bind(port(args.base_port, number)?)?));
    let bmcs = bmcs.collect::<Result<Vec<_>, CliError>>()?;
    let with_host = |bmc| {
        let host = if args.management { Some(Listener::bind(port(0, 0)?)?) } else { None };
        Ok((bmc, host))
    };
    bmcs.into_iter().map(with_host).collect()
}

fn port(base: u16, number: u16) -> Result<SocketAddr, CliError> {
    let port = if base == 0 { Some(0) } else { base.checked_add(number) };
    let port = port.ok_or_else(|| CliError::usage("--base-port and --count reach beyond port 65535"))?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn config(args: &SimArgs, number: u16, rng: &Rng) -> SimConfig {
    let timings = Timings { install: args.install_seconds, ..Timings::default() };
    let turn = usize::from(number) % args.personas.len().max(1);
    let persona = args.personas[turn].clone();
    let persona = Persona { sources: args.sources.unwrap_or(persona.sources), ..persona };
    SimConfig {
        power_on: args.power == PowerAtStart::On,
        previous: args.previous.clone(),
        faults: args.faults.clone(),
        ..machine(&args.serial_prefix, number, persona, timings, rng)
    }
}

/// The machine of this number, off and without faults.
pub fn machine(prefix: &str, number: u16, persona: Persona, timings: Timings, rng: &Rng) -> SimConfig {
    let serial = format!("{prefix}{:04}", number + 1);
    SimConfig {
        username: "admin".to_owned(),
        password: rng.child(&serial).hex(PASSWORD_BYTES),
        serial,
        timings,
        power_on: false,
        previous: None,
        persona,
        faults: vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_follow_the_first_and_end_with_the_last() {
        assert_eq!(port(0, 7).unwrap().port(), 0);
        assert_eq!(port(8000, 7).unwrap().port(), 8007);
        assert!(port(65_535, 1).is_err());
    }

    #[test]
    fn a_serial_prefix_is_plain() {
        for good in ["SIM", "rack-7_", "A"] {
            assert_eq!(parse_prefix(good).as_deref(), Ok(good));
        }
        for wrong in ["", "a b", "a/b", "ä", &"x".repeat(33)] {
            assert!(parse_prefix(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seconds_may_have_a_fraction_and_nothing_else() {
        assert_eq!(parse_secs("0.25"), Ok(Duration::from_millis(250)));
        for wrong in ["", "-1", "nan", "inf", "1s", "1e9"] {
            assert!(parse_secs(wrong).is_err(), "{wrong}");
        }
    }
}
