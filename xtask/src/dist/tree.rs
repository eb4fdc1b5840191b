//! The files of a release that are the same for every platform, each where a Debian package has it.
//!
//! In `target/staged`. Invariant: what the documents link to among each other is there under the same names.

use std::path::{Path, PathBuf};

use xtask::source::ROOT;

use super::{capture, copy, copy_all, empty, root, unit, write};
use crate::process::{Done, command, run};

/// From the project's root; `Cargo.toml` names it too.
const PLACE: &str = "target/staged";
const DOCS: &str = "usr/share/doc/shoal";
const MAN: &str = "usr/share/man/man1";
const PAGES: [&str; 7] = [
    "README.md",
    "CHANGELOG.md",
    "DESIGN.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE",
];
/// What a shell calls itself, and where Debian has the scripts of packages.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/shoal"),
    ("zsh", "usr/share/zsh/vendor-completions/_shoal"),
    ("fish", "usr/share/fish/vendor_completions.d/shoal.fish"),
];
/// As cargo-deb finds them, beside the maintainer scripts.
const FOR_SYSTEMD: [(&str, &str); 2] =
    [("dist/debian/sysusers", "shoal.sysusers"), ("dist/debian/tmpfiles", "shoal.tmpfile")];
const SCRIPTS: [&str; 2] = ["postinst", "postrm"];

/// What else in this crate needs to find.
pub struct Tree(PathBuf);

impl Tree {
    pub fn agent(&self) -> PathBuf {
        self.0.join("usr/lib/shoal/shoal-agent")
    }

    pub fn docs(&self) -> PathBuf {
        self.0.join(DOCS)
    }

    pub fn share(&self) -> PathBuf {
        self.0.join("usr/share")
    }
}

/// Puts them into their places. `shoal` is a binary that runs here.
pub fn stage(shoal: &Path, agent: &Path) -> Done<Tree> {
    let place = root()?.join(PLACE);
    empty(&place)?;
    let tree = Tree(place.clone());
    copy(agent, &tree.agent())?;
    copy(&Path::new(ROOT).join("dist/shoal.toml"), &place.join("etc/shoal/shoal.toml"))?;
    documents(&place)?;
    for folder in ["prometheus", "grafana"] {
        copy_all(&Path::new(ROOT).join("dist").join(folder), &place.join("usr/share/shoal").join(folder))?;
    }
    let program = shoal.to_string_lossy();
    for (shell, file) in COMPLETIONS {
        write(&place.join(file), &capture(&mut command(&program, &["completions", shell]))?)?;
    }
    let man = place.join(MAN);
    empty(&man)?;
    run(command(&program, &["man"]).arg(&man))?;
    packaging(&place.join("debian"))?;
    Ok(tree)
}

fn documents(place: &Path) -> Done {
    for page in PAGES {
        copy(&Path::new(ROOT).join(page), &place.join(DOCS).join(page))?;
    }
    copy(&Path::new(ROOT).join("lab/README.md"), &place.join(DOCS).join("lab/README.md"))?;
    copy_all(&Path::new(ROOT).join("docs"), &place.join(DOCS).join("docs"))
}

/// What cargo-deb turns into the package's scripts and units.
fn packaging(place: &Path) -> Done {
    write(&place.join("shoal.service"), &unit::packaged()?)?;
    for (from, name) in FOR_SYSTEMD {
        copy(&Path::new(ROOT).join(from), &place.join(name))?;
    }
    for script in SCRIPTS {
        copy(&Path::new(ROOT).join("dist/debian").join(script), &place.join(script))?;
    }
    Ok(())
}
