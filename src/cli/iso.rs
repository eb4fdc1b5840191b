//! `shoal iso`: what an image is, and the images that the controller would serve, as files.
//!
//! No format is known here (that is [`shoal_image::iso`] and [`shoal_image::installer`]). Invariant: a file
//! that could not be written to its end does not appear under its name, and one that holds a
//! kickstart is readable by its owner alone.

mod inspect;
pub mod remote;
mod write;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::new_file::FileError;
use super::{CliError, Exit, Output};
use crate::domain::KICKSTART_BYTES_MAX;
use shoal_base::world::World;

/// Look at installer images, and build the images that are served.
#[derive(Debug, Args)]
pub struct IsoArgs {
    #[command(subcommand)]
    command: IsoCommand,
}

#[derive(Debug, Subcommand)]
enum IsoCommand {
    /// What is this image? Ids, boot entries, ESXi version and build, boot options, files.
    Inspect {
        /// A file, or an http(s) URL, of which only the needed parts are read.
        #[arg(value_name = "FILE|URL")]
        image: String,
    },
    /// Build the task ISO of a kickstart.
    Build {
        /// The kickstart; `/ks.cfg` of the image, byte for byte.
        #[arg(long, value_name = "KS.CFG")]
        ks: PathBuf,
        #[arg(value_name = "OUT.iso")]
        out: PathBuf,
    },
    /// Write the installer as the controller would serve it: its boot options ask for the kickstart.
    Prepare {
        #[arg(value_name = "VENDOR.iso")]
        vendor: PathBuf,
        #[arg(value_name = "OUT.iso")]
        out: PathBuf,
        /// Put this kickstart on the same CD.
        #[arg(long, value_name = "KS.CFG")]
        ks: Option<PathBuf>,
    },
}

pub async fn run(args: IsoArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    match args.command {
        IsoCommand::Inspect { image } => {
            let inspection = match remote_url(&image) {
                Some(url) => remote::inspect_url(world, url).await?,
                None => blocking(move || inspect::inspect_file(Path::new(&image))).await?,
            };
            output.print(&inspection, inspect::render);
        }
        IsoCommand::Build { ks, out } => {
            let built = blocking(move || write::build(&read_kickstart(&ks)?, &out)).await?;
            output.print(&built, write::render_built);
        }
        IsoCommand::Prepare { vendor, out, ks } => {
            let prepare = move || {
                let kickstart = ks.as_deref().map(read_kickstart).transpose()?;
                write::prepare(&vendor, kickstart.as_deref(), &out)
            };
            let prepared = blocking(prepare).await?;
            output.print(&prepared, write::render_prepared);
        }
    }
    Ok(Exit::Done)
}

/// Files are read and written off the runtime's own threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, IsoCommandError> + Send + 'static,
) -> Result<T, CliError> {
    Ok(tokio::task::spawn_blocking(work).await??)
}

fn remote_url(image: &str) -> Option<url::Url> {
    url::Url::parse(image).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

/// Why a command could not do its work. The path is always the one that was typed.
#[derive(Debug, thiserror::Error)]
enum IsoCommandError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} is not a kickstart: {reason}", path.display())]
    Kickstart { path: PathBuf, reason: String },
    #[error("{} is the installer itself: write to another file", path.display())]
    SameFile { path: PathBuf },
    #[error("{} cannot be used", path.display())]
    NotAnInstaller {
        path: PathBuf,
        #[source]
        source: shoal_image::installer::NotAnInstaller,
    },
    #[error("{} cannot be made to boot unattended", path.display())]
    Patch {
        path: PathBuf,
        #[source]
        source: shoal_image::installer::PatchError,
    },
    #[error("{} is not a readable ISO image", path.display())]
    Image {
        path: PathBuf,
        #[source]
        source: shoal_image::iso::IsoError,
    },
}

/// The same limits as for a recipe.
fn read_kickstart(path: &Path) -> Result<Vec<u8>, IsoCommandError> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(FileError::of("open", path))?;
    let mut bytes = Vec::new();
    let limit = KICKSTART_BYTES_MAX as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(FileError::of("read", path))?;
    let wrong = |reason: String| IsoCommandError::Kickstart { path: path.to_owned(), reason };
    match bytes.len() {
        0 => Err(wrong("it is empty".to_owned())),
        len if len > KICKSTART_BYTES_MAX => {
            Err(wrong(format!("it has more than {KICKSTART_BYTES_MAX} bytes")))
        }
        _ if std::str::from_utf8(&bytes).is_err() => Err(wrong("it is not UTF-8".to_owned())),
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_is_fetched() {
        assert!(remote_url("https://vault.test/esxi.iso").is_some());
        assert!(remote_url("http://vault.test/esxi.iso").is_some());
        for path in ["esxi.iso", "/srv/esxi.iso", "./a:b.iso", "C:/x.iso", "ftp://vault.test/esxi.iso"] {
            assert!(remote_url(path).is_none(), "{path}");
        }
    }

    #[test]
    fn a_kickstart_has_the_limits_of_a_recipes() {
        let dir = tempfile::tempdir().unwrap();
        let check = |bytes: &[u8]| {
            let path = dir.path().join("ks.cfg");
            std::fs::write(&path, bytes).unwrap();
            read_kickstart(&path).map_err(|error| error.to_string())
        };
        assert_eq!(check(&vec![b'k'; KICKSTART_BYTES_MAX]).unwrap().len(), KICKSTART_BYTES_MAX);
        assert!(check(&vec![b'k'; KICKSTART_BYTES_MAX + 1]).unwrap_err().contains("65536"));
        assert!(check(b"").unwrap_err().contains("empty"));
        assert!(check(b"\xff").unwrap_err().contains("UTF-8"));
    }
}
