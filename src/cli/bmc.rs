//! `shoal bmc`: looks at BMCs, and says whether their servers can be installed.
//!
//! The looking is the doctor's; here it is asked, by a controller for the servers of its inventory or
//! from this machine for any BMC, and what it found is printed. Invariant: exit code 0 means that
//! every server that was looked at is ready.

mod checked;
mod direct;
mod fleet;
mod table;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use clap::{Args, Subcommand};
use url::Url;

use super::output::Output;
use super::server::label;
use super::{CliError, Exit};
use crate::config::ClientArgs;
use crate::doctor::Readiness;
use crate::domain::Serial;
use shoal_base::world::{TlsPolicy, World};

/// Look at BMCs.
#[derive(Debug, Args)]
pub struct BmcArgs {
    #[command(subcommand)]
    command: BmcCommand,
}

#[derive(Debug, Subcommand)]
enum BmcCommand {
    Check(Box<CheckArgs>),
}

/// Say whether servers can be installed through their BMCs, and what stands in the way. Nothing is
/// changed on a BMC or its host without --probe-media.
#[derive(Debug, Args)]
struct CheckArgs {
    /// Serial number of a server of the controller's inventory; or the URL of a BMC, which is asked
    /// from this machine, without a controller.
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "SERIAL|URL", value_parser = target)]
    target: Option<CheckTarget>,
    /// Every server of the inventory.
    #[arg(long)]
    all: bool,
    /// With --all: only servers with this label; may be given several times.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// With --all: how many servers are checked in parallel.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: u16,
    /// Mount a 64 KiB image in an empty drive, see how the BMC fetches it, and eject it.
    #[arg(long)]
    probe_media: bool,
    #[command(flatten)]
    direct: DirectArgs,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "With the URL of a BMC")]
struct DirectArgs {
    /// Account at the BMC.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Read the account's password from standard input, to its end.
    #[arg(long)]
    password_stdin: bool,
    /// verify, pin:SHA256, insecure; or none for plain http off loopback. [default: verify]
    #[arg(long, value_name = "POLICY")]
    tls: Option<TlsPolicy>,
    /// Which system of the BMC's service is meant, where it has several.
    #[arg(long, value_name = "ID")]
    system_id: Option<String>,
    /// The serial number that the BMC must report.
    #[arg(long, value_name = "SERIAL")]
    serial: Option<Serial>,
    /// Where the probe's image is served from: an address of this machine that the BMC reaches.
    /// [default: any free port, at the address of the route to the BMC]
    #[arg(long, value_name = "ADDRESS:PORT", requires = "probe_media")]
    media_addr: Option<SocketAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum CheckTarget {
    Serial(Serial),
    Bmc(Url),
}

fn target(text: &str) -> Result<CheckTarget, String> {
    if text.contains("://") {
        return Url::parse(text).map(CheckTarget::Bmc).map_err(|error| error.to_string());
    }
    text.parse().map(CheckTarget::Serial).map_err(|error: crate::domain::SerialError| error.to_string())
}

pub async fn run(args: BmcArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let BmcCommand::Check(args) = args.command;
    let ready = match (&args.target, args.all) {
        (Some(CheckTarget::Bmc(address)), _) => {
            let report = direct::check(address, &args, world).await?;
            output.print(&report, table::report_text);
            report.verdict != Readiness::NotReady
        }
        (Some(CheckTarget::Serial(serial)), _) => {
            check_direct_unused(&args.direct)?;
            if !args.labels.is_empty() {
                return Err(CliError::usage("--label goes with --all"));
            }
            let report = fleet::check_one(serial, &args, world).await?;
            output.print(&report, table::report_text);
            report.verdict != Readiness::NotReady
        }
        (None, _) => {
            check_direct_unused(&args.direct)?;
            let labels: BTreeMap<_, _> = args.labels.iter().cloned().collect();
            fleet::check_all(&labels, &args, world, output).await?
        }
    };
    Ok(if ready { Exit::Done } else { Exit::Failed })
}

/// What only a URL needs would be passed over in silence.
fn check_direct_unused(direct: &DirectArgs) -> Result<(), CliError> {
    let given = [
        ("--user", direct.user.is_some()),
        ("--password-stdin", direct.password_stdin),
        ("--tls", direct.tls.is_some()),
        ("--system-id", direct.system_id.is_some()),
        ("--serial", direct.serial.is_some()),
        ("--media-addr", direct.media_addr.is_some()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => {
            Err(CliError::usage(format!("{flag} goes with the URL of a BMC; the inventory knows it")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_with_a_scheme_is_a_bmc() {
        assert_eq!(target("CZ20300ABC"), Ok(CheckTarget::Serial("CZ20300ABC".parse().unwrap())));
        assert!(matches!(target("https://10.0.0.5"), Ok(CheckTarget::Bmc(_))));
        assert!(target("https://").is_err() && target("a/b").is_err());
    }
}
