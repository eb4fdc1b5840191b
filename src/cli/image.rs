//! `shoal image`: the images for Linux and Windows that a controller hosts, for its admins.
//!
//! Invariant: a file is sent piece by piece, so memory holds a few of them.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use shoal_recipe::{ImageName, Sha256};
use tokio::sync::mpsc::{Sender, channel};
use url::Url;

use super::client::Client;
use super::output::table;
use super::{CliError, Exit, Output};
use crate::config::ClientArgs;
use shoal_base::world::{StreamedBody, World};

/// Many GB over a slow line.
const ADD_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
const PIECE_BYTES: u64 = 1 << 20;
const PIECES_WAITING: usize = 4;

/// Manage the disk images that a controller hosts
#[derive(Debug, Args)]
pub struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Upload a file, or have the controller download a URL.
    Add(ImageAddArgs),
    /// All images.
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Remove an image that no active job installs.
    Rm {
        /// The image's name or SHA-256.
        #[arg(value_name = "IMAGE")]
        which: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Args)]
struct ImageAddArgs {
    /// A raw disk image, plain or compressed by gzip, xz or zstd; or an http(s) URL under IMAGES_ALLOW.
    #[arg(value_name = "FILE|URL")]
    source: String,
    /// What recipes call it. [default: the name of the file]
    #[arg(long, value_parser = image_name)]
    name: Option<ImageName>,
    /// SHA-256 that it must have. [default: it is computed and shown]
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    sha256: Option<Sha256>,
    #[command(flatten)]
    client: ClientArgs,
}

fn image_name(text: &str) -> Result<ImageName, &'static str> {
    ImageName::parse(text).ok_or("has 1 to 128 letters, digits, dots, hyphens and underscores")
}

fn sha256(text: &str) -> Result<Sha256, &'static str> {
    Sha256::parse(text).ok_or("has 64 hex digits")
}

pub async fn run(args: ImageArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    match args.command {
        ImageCommand::Add(args) => {
            let added = add(args, world).await?;
            output.print(&added, added_text);
        }
        ImageCommand::List { client } => {
            let images = Client::new(&client, world)?.get(&["images"]).await?;
            output.print(&images, list_text);
        }
        ImageCommand::Rm { which, client } => {
            Client::new(&client, world)?.delete(&["images", &which]).await?;
            output.print(&json!({ "removed": which }), |_| format!("image {which} removed"));
        }
    }
    Ok(Exit::Done)
}

async fn add(args: ImageAddArgs, world: &World) -> Result<Value, CliError> {
    let client = Client::new(&args.client, world)?;
    let digest = args.sha256.map(|digest| digest.to_string());
    let url = Url::parse(&args.source).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let default_name = match &url {
        Some(url) => url.path_segments().and_then(|mut parts| parts.next_back().map(str::to_owned)),
        None => Path::new(&args.source).file_name().map(|name| name.to_string_lossy().into_owned()),
    };
    let name = args.name.or_else(|| ImageName::parse(&default_name?)).map(|name| name.to_string());
    if let Some(url) = url {
        let body = json!({ "url": url.as_str(), "name": name, "sha256": digest });
        return Ok(client.post_patiently(&["images", "fetch"], body, ADD_TIMEOUT).await?);
    }
    // Nothing is sent that is there: the answer to an upload that has only begun may be lost with its connection.
    if let Some(digest) = &digest {
        let known = client.get(&["images"]).await?;
        let mut images = known["images"].as_array().into_iter().flatten();
        if let Some(known) = images.find(|image| image["sha256"] == *digest) {
            return Ok(known.clone());
        }
    }
    let query: Vec<(&str, String)> = [("name", name), ("sha256", digest)]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
    upload(&client, &PathBuf::from(args.source), &query).await
}

/// Sends a file to the images of a controller; returns what it shows of the image.
pub async fn upload(client: &Client, path: &Path, query: &[(&str, String)]) -> Result<Value, CliError> {
    let unreadable = |error: io::Error| CliError::from(format!("{} cannot be read: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(format!("{} is not a file", path.display()).into());
    }
    let (sender, receiver) = channel(PIECES_WAITING);
    let bar = progress_bar(metadata.len());
    let (shown, body) = (bar.clone(), StreamedBody::new(metadata.len(), receiver));
    let reading = tokio::task::spawn_blocking(move || read(file, &sender, &shown));
    let answered = client.upload(&["images"], query, body, ADD_TIMEOUT).await;
    bar.finish_and_clear();
    match answered {
        Ok(image) => Ok(image),
        // Where the file could not be read, the request failed for that.
        Err(error) => match reading.await {
            Ok(Some(reason)) => Err(unreadable(reason)),
            _ => Err(error.into()),
        },
    }
}

/// Sends the file until its end, or until the request is over; returns why it could not be read.
fn read(file: std::fs::File, pieces: &Sender<io::Result<Bytes>>, bar: &ProgressBar) -> Option<io::Error> {
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES as usize);
        let read = (&file).take(PIECE_BYTES).read_to_end(&mut piece);
        let (sent, reason) = match read {
            Ok(0) => return None,
            Ok(read) => {
                bar.inc(read as u64);
                (pieces.blocking_send(Ok(piece.into())), None)
            }
            Err(error) => (pieces.blocking_send(Err(io::Error::other(error.to_string()))), Some(error)),
        };
        if sent.is_err() || reason.is_some() {
            return reason;
        }
    }
}

/// On standard error, where that is a terminal.
fn progress_bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {eta} left");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr()).with_style(style)
}

fn added_text(image: &Value) -> String {
    let text = |key: &str| image[key].as_str().unwrap_or("-").to_owned();
    format!("image {}, {}, SHA-256 {}", text("name"), size(image), text("sha256"))
}

fn size(image: &Value) -> String {
    ByteSize(image["size"].as_u64().unwrap_or_default()).to_string()
}

fn list_text(body: &Value) -> String {
    let images = body["images"].as_array().into_iter().flatten();
    let rows = images.map(|image| {
        let text = |key: &str| image[key].as_str().unwrap_or("-").to_owned();
        [text("name"), size(image), text("sha256"), text("added_at"), text("source")]
    });
    table(["NAME", "SIZE", "SHA-256", "ADDED", "SOURCE"], rows)
}
