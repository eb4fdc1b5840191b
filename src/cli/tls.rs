//! `shoal tls init`: a certificate of one's own, to begin with.
//!
//! No authority, and no renewal: an operator with an authority uses that. Invariants: nothing that is there
//! is overwritten unasked, and the key is its owner's alone from its first byte, unless others could read the one
//! in whose place it comes.

use std::io::Write;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{CliError, Exit, Output};
use shoal_base::hex;
use shoal_base::world::World;

#[derive(Debug, Args)]
pub struct TlsArgs {
    #[command(subcommand)]
    command: TlsCommand,
}

#[derive(Debug, Subcommand)]
enum TlsCommand {
    /// Make a key and a certificate that signs itself, for TLS_KEY_FILE and TLS_CERT_FILE.
    Init(InitArgs),
}

#[derive(Debug, Args)]
struct InitArgs {
    /// Name or address by which clients reach the controller; may be given several times.
    #[arg(long = "host", value_name = "NAME", required = true)]
    hosts: Vec<String>,
    /// Where tls.crt and tls.key are written.
    #[arg(long, value_name = "DIR", default_value = "./var/shoal")]
    dir: PathBuf,
    /// How long the certificate is good.
    #[arg(long, value_name = "DAYS", default_value_t = 397, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,
    /// Write over the files that are there.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, thiserror::Error)]
enum InitError {
    #[error("cannot write {}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} already exists: use --force to overwrite it", .path.display())]
    Exists { path: PathBuf },
    #[error("no certificate can be made for these names")]
    Make(#[from] rcgen::Error),
}

pub async fn run(args: TlsArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let TlsCommand::Init(args) = args.command;
    let (cert_file, key_file) = (args.dir.join("tls.crt"), args.dir.join("tls.key"));
    for path in [&cert_file, &key_file] {
        if path.exists() && !args.force {
            return Err(InitError::Exists { path: path.clone() }.into());
        }
    }
    let failed = |source| InitError::Write { path: args.dir.clone(), source };
    std::fs::create_dir_all(&args.dir).map_err(failed)?;
    let key = KeyPair::generate().map_err(InitError::Make)?;
    let cert = params(&args, world.clock.now())?.self_signed(&key).map_err(InitError::Make)?;
    write(&key_file, &key.serialize_pem(), 0o600)?;
    write(&cert_file, &cert.pem(), 0o644)?;
    let pin = format!("pin:{}", hex(&Sha256::digest(cert.der())));
    let made = json!({ "cert": cert_file, "key": key_file, "pin": pin });
    output.print(&made, |_| {
        format!("TLS_CERT_FILE={}\nTLS_KEY_FILE={}\nSHOAL_TLS={pin}", cert_file.display(), key_file.display())
    });
    Ok(Exit::Done)
}

/// Of a server, and no authority: what it signs is nothing.
fn params(args: &InitArgs, now: Timestamp) -> Result<CertificateParams, InitError> {
    let mut params = CertificateParams::new(args.hosts.clone())?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, args.hosts[0].as_str());
    params.distinguished_name = name;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // A day early: the clocks of BMCs are wrong.
    let start = now.to_zoned(TimeZone::UTC).saturating_sub(Span::new().days(1)).date();
    let end = now.to_zoned(TimeZone::UTC).saturating_add(Span::new().days(args.days)).date();
    let day = |date: jiff::civil::Date| {
        rcgen::date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (day(start), day(end));
    Ok(params)
}

/// Writes to a temporary file first, so that a controller that reloads the certificate never reads half of it.
/// The new file has the owner and mode of the one that it replaces.
fn write(path: &Path, pem: &str, mode: u32) -> Result<(), InitError> {
    let failed = |source| InitError::Write { path: path.to_owned(), source };
    let draft = path.with_extension("draft");
    let _left_by_a_crash = std::fs::remove_file(&draft);
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft);
    let mut file = file.map_err(failed)?;
    if let Ok(before) = path.metadata() {
        fchown(&file, Some(before.uid()), Some(before.gid())).map_err(failed)?;
        file.set_permissions(before.permissions()).map_err(failed)?;
    }
    file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&draft, path).map_err(failed)
}
