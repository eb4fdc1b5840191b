//! `shoal-VERSION-PLATFORM.tar.gz`: the release for machines without Debian's package manager.
//!
//! Without completions, which `shoal completions` prints. Invariant: names, owners, modes, times and order in it are those
//! of the sources alone.

use std::path::Path;

use xtask::source::ROOT;

use super::binaries::Platform;
use super::tree::Tree;
use super::{Release, copy, copy_all, empty, root};
use crate::process::{Done, command, run};

const PLACE: &str = "target/archive";

pub fn make(release: &Release, platform: Platform, shoal: &Path, tree: &Tree) -> Done {
    let name = format!("shoal-{}-{}", release.version, platform.debian());
    let place = root()?.join(PLACE);
    let folder = place.join(&name);
    empty(&place)?;
    copy(shoal, &folder.join("shoal"))?;
    copy(&tree.agent(), &folder.join("shoal-agent"))?;
    for file in ["shoal.service", "shoal.toml"] {
        copy(&Path::new(ROOT).join("dist").join(file), &folder.join(file))?;
    }
    copy_all(&tree.docs(), &folder.join("doc"))?;
    for part in ["man/man1", "shoal/prometheus", "shoal/grafana"] {
        copy_all(&tree.share().join(part), &folder.join(Path::new(part).file_name().unwrap_or_default()))?;
    }
    pack(release, &place, &[&name], &release.out.join(format!("{name}.tar.gz")))
}

/// `tar` without anything of the machine and the moment.
pub fn pack(release: &Release, folder: &Path, what: &[&str], to: &Path) -> Done {
    let same =
        ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX", "--format=gnu"];
    let mut tar = command("tar", &["--create"]);
    tar.args(same).arg(format!("--mtime=@{}", release.epoch));
    if to.extension().is_some_and(|ending| ending == "gz") {
        tar.arg("--use-compress-program=gzip --no-name");
    }
    run(tar.arg("--file").arg(to).arg("--directory").arg(folder).args(what))
}
