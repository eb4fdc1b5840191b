//! `shoal server pin`: trust a BMC's certificate because the operator confirms it, and never silently.
//!
//! It looks at the certificate through the controller, as `shoal bmc check` does, without credentials.
//! Invariant: a certificate is pinned only by a fingerprint that was named, or by the word that the
//! first one seen will do.

use clap::Args;
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::{CliError, Exit, Output};
use super::read_password;
use crate::config::ClientArgs;
use crate::domain::Serial;
use shoal_base::world::{TlsPolicy, World};

#[derive(Debug, Args)]
pub struct PinArgs {
    serial: Serial,
    /// Pin the certificate that the BMC shows now if it has this SHA-256, as its console shows it.
    #[arg(long, value_name = "SHA256", conflicts_with = "first_use", value_parser = fingerprint)]
    accept: Option<TlsPolicy>,
    /// Pin whatever certificate the BMC shows now: trust on first use.
    #[arg(long)]
    first_use: bool,
    /// Read the account's password from standard input: needed where the server's tls is verify or
    /// another pin, since this one may trust another BMC.
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// With or without `pin:` before it.
fn fingerprint(text: &str) -> Result<TlsPolicy, String> {
    let policy = format!("pin:{}", text.trim_start_matches("pin:")).parse();
    policy.map_err(|_| "a SHA-256 has 64 hex digits".to_owned())
}

pub async fn run(args: PinArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let client = Client::new(&args.client, world)?;
    let serial = args.serial.as_str();
    let report = client.post(&["servers", serial, "check"], &[], json!({})).await?;
    let shown = shown(&report)?;
    match (&args.accept, args.first_use) {
        (Some(accepted), _) if *accepted != shown => {
            return Err(
                format!("the BMC of {serial} shows {shown}, not {accepted}: nothing was changed").into()
            );
        }
        (None, false) => {
            let body = json!({ "serial": serial, "shown": shown.to_string(), "pinned": false });
            output.print(&body, |_| hint(serial, &shown));
            return Ok(Exit::Failed);
        }
        _ => {}
    }
    let mut change = json!({ "tls": shown.to_string() });
    if args.password_stdin {
        change["bmc_password"] = read_password()?.into();
    }
    client.patch(&["servers", serial], change).await?;
    let body = json!({ "serial": serial, "shown": shown.to_string(), "pinned": true });
    output.print(&body, |_| format!("server {serial}: {shown} is trusted from now on, and nothing else"));
    Ok(Exit::Done)
}

/// The pin of the certificate that a check has seen.
fn shown(report: &Value) -> Result<TlsPolicy, CliError> {
    let reach = &report["facts"]["reach"];
    if let Some(sha256) = reach["tls"]["sha256"].as_str() {
        return fingerprint(sha256).map_err(CliError::from);
    }
    let address = report["bmc_address"].as_str().unwrap_or_default();
    let why = reach["error"].as_str().unwrap_or("it does not speak TLS");
    Err(format!("the BMC at {address} shows no certificate: {why}").into())
}

fn hint(serial: &str, shown: &TlsPolicy) -> String {
    format!(
        "server {serial}: the BMC shows {shown}\nnothing was changed. Compare it with what the BMC's own console shows, then:\n  \
         shoal server pin {serial} --accept {}",
        shown.to_string().trim_start_matches("pin:")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_tools_show_it() {
        let digits = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        for text in [digits.clone(), format!("pin:{digits}"), colons] {
            assert_eq!(fingerprint(&text), Ok(TlsPolicy::Pin([0xab; 32])), "{text}");
        }
        assert!(fingerprint("verify").is_err() && fingerprint("abcd").is_err());
    }

    #[test]
    fn a_bmc_without_a_certificate_is_named() {
        let report = json!({"bmc_address": "http://h", "facts": {"reach": {"tls": null, "error": null}}});
        assert!(shown(&report).is_err());
        let report = json!({"facts": {"reach": {"tls": {"sha256": "ab".repeat(32)}}}});
        assert_eq!(shown(&report).unwrap_or_default(), TlsPolicy::Pin([0xab; 32]));
    }
}
