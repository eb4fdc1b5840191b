//! What the simulated installer makes of a kickstart: what it installs, the dialog at which it stops,
//! what it warns of, what its `%post` says, and how it ends.
//!
//! It plays the real installer and shares no code with `crate::paths::esxi::kickstart` or any linter. Source of the
//! rules: the ESXi 6.7 installer and VMware's documentation. Without `strict` only the licence, one
//! command that installs, and sections and includes as they are read matter. Invariant: a refused
//! script has the sentence that the installer's dialog shows, and no password is in one.

mod disks;
mod file;
mod network;
mod options;
mod password;
mod rules;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;

use super::shell::failure;
use crate::machine::Disk;
use file::{ParseStop, Reading, read_file};

/// What an accepted kickstart asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KickstartScript {
    /// Every `%post` that busybox runs, in their order.
    pub posts: Vec<PostSection>,
    /// What holds if no `%post` has gone another way.
    pub ending: InstallEnding,
    /// Dialogs before the installation, each for 30 seconds.
    pub warnings: Vec<String>,
    /// `dryrun`: nothing is installed.
    pub is_dry_run: bool,
}

/// One `%post`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostSection {
    pub text: String,
    /// Why the installation counts as failed when it is over, if that is known of its text.
    pub failure: Option<String>,
    /// The failure of its last command fails the installation.
    pub must_succeed: bool,
}

/// How the installer leaves after `%post`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InstallEnding {
    /// Warm reboot, after every CD drive was ejected unless `--noeject` was given.
    Reboot { eject: bool },
    /// "Press Enter", without a timeout.
    #[default]
    Wait,
}

/// A kickstart, and what it is judged by.
#[derive(Clone, Copy, Debug)]
pub struct KickstartSource<'a> {
    pub text: &'a [u8],
    /// Where it lies on its medium.
    pub path: &'a str,
    /// Files of that medium that have been read: by path, `None` where there is no such file.
    pub files: &'a BTreeMap<String, Option<Vec<u8>>>,
    pub strict: bool,
    pub disk: &'a Disk,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    Accepted(KickstartScript),
    /// The dialog that the installer shows without a timeout.
    Refused(String),
    /// The file of the kickstart's medium that has to be read first.
    Wants(String),
}

/// A command line as words; there is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KickstartCommand {
    words: Vec<String>,
}

impl KickstartCommand {
    fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}

/// What the installer warns of, by the dialog that it shows.
#[derive(Debug, Default)]
struct KickstartFindings {
    parse: Vec<String>,
    network: Vec<String>,
}

impl KickstartFindings {
    fn warn(&mut self, warning: String) {
        self.parse.push(warning);
    }

    fn warn_network(&mut self, warning: String) {
        self.network.push(warning);
    }
}

/// What the kickstart asks for, or where the installer stops.
pub fn parse_kickstart(source: &KickstartSource<'_>) -> Parsed {
    let mut findings = KickstartFindings::default();
    let mut reading = Reading::new(source);
    let read = read_file(&mut reading, source.text, source.path, &mut findings);
    match read.and_then(|()| judge(source, &reading, findings)) {
        Ok(script) => Parsed::Accepted(script),
        Err(ParseStop::Dialog(text)) => Parsed::Refused(text),
        Err(ParseStop::Wants(path)) => Parsed::Wants(path),
    }
}

fn judge(
    source: &KickstartSource<'_>,
    reading: &Reading<'_>,
    mut findings: KickstartFindings,
) -> Result<KickstartScript, ParseStop> {
    let find = |name: &str| reading.commands.iter().rfind(|command| command.name() == name);
    rules::check_needed(reading)?;
    if source.strict {
        rules::check(reading, source.disk, &mut findings)?;
    }
    let KickstartFindings { parse, network } = findings;
    if let Some(warning) = parse.first().or(network.first()).filter(|_| find("paranoid").is_some()) {
        return Err(ParseStop::Dialog(format!("paranoid: {warning}")));
    }
    let dialogs = [parse, network].into_iter().filter(|warnings| !warnings.is_empty());
    let reboot = find("reboot");
    let eject = !reboot.is_some_and(|command| command.words.iter().any(|word| word == "--noeject"));
    let posts = reading.posts.iter().filter(|section| section.is_busybox).map(|section| PostSection {
        text: section.text.clone(),
        failure: failure(&section.text).filter(|_| source.strict && !section.ignores_failure),
        must_succeed: source.strict && !section.ignores_failure,
    });
    Ok(KickstartScript {
        posts: posts.collect(),
        ending: reboot.map_or(InstallEnding::Wait, |_| InstallEnding::Reboot { eject }),
        warnings: dialogs.map(|warnings| warnings.join("; ")).filter(|_| source.strict).collect(),
        is_dry_run: find("dryrun").is_some(),
    })
}
