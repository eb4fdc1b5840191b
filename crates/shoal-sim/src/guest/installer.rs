//! The scripted installer: from the kickstart that was found to the reboot.
//!
//! What a kickstart means is decided in `kickstart.rs`. Invariant: from the last read of the script
//! and its includes until the disk is written, no drive is read.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::kickstart::{InstallEnding, KickstartScript, KickstartSource, Parsed, parse_kickstart};
use super::post::{Mounted, Post};
use super::reader::ReaderLook;
use super::search::{Search, SearchLook};
use super::{GuestNeed, GuestState, GuestStep, ReadAnswer, Software, hex};
use crate::machine::{Disk, InstalledSystem, Machine, after};

/// How long a dialog stands that needs no answer (ESXi 6.7).
const DIALOG: Duration = Duration::from_secs(30);

/// The search for the script, and the reading of what it includes.
#[derive(Debug)]
pub struct ScriptReading {
    search: Search,
    build: String,
    script: Option<Vec<u8>>,
    /// Files of the script's medium, once they have been asked for.
    files: BTreeMap<String, Option<Vec<u8>>>,
    wanted: Option<String>,
}

impl ScriptReading {
    pub fn new(search: Search, build: String) -> ScriptReading {
        ScriptReading { search, build, script: None, files: BTreeMap::new(), wanted: None }
    }

    pub fn answer(&mut self, answer: ReadAnswer) {
        self.search.answer(answer);
    }

    pub fn step(&mut self, machine: &mut Machine, software: &Software, now: Timestamp) -> GuestStep {
        let script = match self.script.take() {
            Some(script) => script,
            None => match self.search.look(machine, now) {
                SearchLook::Need(need) => return GuestStep::Need(need),
                SearchLook::Done(Some(script)) => script,
                SearchLook::Done(None) => return GuestStep::Next(GuestState::Dialog(self.search.dialog())),
            },
        };
        loop {
            if let Some(path) = self.wanted.take() {
                match self.search.read(&path) {
                    ReaderLook::Need(request) => {
                        (self.wanted, self.script) = (Some(path), Some(script));
                        return GuestStep::Need(GuestNeed::Read(request));
                    }
                    ReaderLook::Done(file) => drop(self.files.insert(path, file.unwrap_or(None))),
                }
            }
            let source = KickstartSource {
                text: &script,
                path: self.search.path(),
                files: &self.files,
                strict: software.strict_kickstart,
                disk: &machine.disk,
            };
            match parse_kickstart(&source) {
                Parsed::Wants(path) => self.wanted = Some(path),
                Parsed::Refused(dialog) => return GuestStep::Next(GuestState::Dialog(dialog)),
                Parsed::Accepted(parsed) => {
                    let accepted = self.accept(&script, parsed, machine);
                    return GuestStep::Next(accepted.go_on(machine, software, now));
                }
            }
        }
    }

    fn accept(&mut self, script: &[u8], mut parsed: KickstartScript, machine: &Machine) -> Accepted {
        parsed.warnings.reverse();
        Accepted {
            script: parsed,
            ks_sha256: hex(&Sha256::digest(script)),
            build: std::mem::take(&mut self.build),
            mounted: self.search.mounted(machine),
        }
    }
}

/// A script that is obeyed, before the disk is touched.
#[derive(Debug, Default)]
pub struct Accepted {
    script: KickstartScript,
    ks_sha256: String,
    build: String,
    mounted: Option<Mounted>,
}

impl Accepted {
    /// What the dialog says that stands now.
    pub fn warning(&self) -> Option<&str> {
        self.script.warnings.last().map(String::as_str)
    }

    /// To the next warning, or to the installation. The warning that stood is over.
    pub fn go_on(mut self, machine: &mut Machine, software: &Software, now: Timestamp) -> GuestState {
        if self.script.is_dry_run {
            return GuestState::Dialog(
                "dryrun: the script was checked, and nothing was installed".to_owned(),
            );
        }
        if !self.script.warnings.is_empty() {
            return GuestState::Warning { until: after(now, DIALOG), accepted: Box::new(self) };
        }
        if software.ejects_early {
            machine.eject_all_by_guest();
        }
        machine.disk = Disk::Broken;
        machine.counters.installs_begun += 1;
        let mut post = Post::new(&self.script.posts);
        post.mount(self.mounted.take(), software.pre_copies_media);
        GuestState::Installing(Box::new(Install {
            half: Some(after(now, software.install / 2)),
            until: after(now, software.install),
            ks_sha256: self.ks_sha256,
            build: self.build,
            post,
            ending: self.script.ending,
        }))
    }

    /// The dialog that stood has gone away.
    pub fn dismissed(mut self) -> Accepted {
        self.script.warnings.pop();
        self
    }
}

/// The writing of the disk, and what follows it.
#[derive(Debug)]
pub struct Install {
    half: Option<Timestamp>,
    until: Timestamp,
    ks_sha256: String,
    build: String,
    post: Post,
    ending: InstallEnding,
}

impl Install {
    /// What the drive said to the copy by `%pre`.
    pub fn answer(&mut self, answer: ReadAnswer) {
        self.post.answer(answer);
    }

    pub fn step(&mut self, machine: &mut Machine, software: &mut Software, now: Timestamp) -> GuestStep {
        if let Some(request) = self.post.copy_medium(machine, software) {
            return GuestStep::Need(GuestNeed::Read(request));
        }
        let due = self.half.unwrap_or(self.until);
        if now < due {
            return GuestStep::Need(GuestNeed::Until(due));
        }
        if self.half.take().is_some() {
            return self.pass_half(machine, software, now);
        }
        // What follows can no longer spoil what is on the disk.
        let unnamed = || InstalledSystem { version: "0.0.0".to_owned(), build: "0".to_owned() };
        machine.disk = Disk::Installed {
            ks_sha256: std::mem::take(&mut self.ks_sha256),
            esxi: self.build.parse().unwrap_or_else(|_| unnamed()),
        };
        machine.counters.installs += 1;
        GuestStep::Next(GuestState::Post { post: std::mem::take(&mut self.post), ending: self.ending })
    }

    /// Half-way through is where an install goes wrong.
    fn pass_half(&mut self, machine: &mut Machine, software: &mut Software, now: Timestamp) -> GuestStep {
        if software.hangs {
            // The progress bar stands still: no time will come.
            self.until = Timestamp::MAX;
        } else if software.fails {
            let dialog = "An error has occurred during installation: the image could not be written";
            return GuestStep::Next(GuestState::Dialog(dialog.to_owned()));
        } else if std::mem::take(&mut software.crashes) {
            machine.counters.crashes += 1;
            machine.begin_post(now);
            return GuestStep::Gone;
        }
        GuestStep::Need(GuestNeed::Until(self.until))
    }
}

/// The end of a script that no `%post` has ended: a strict installer shows that it is done for a while.
pub fn finish(
    ending: InstallEnding,
    machine: &mut Machine,
    software: &Software,
    now: Timestamp,
) -> GuestStep {
    match ending {
        InstallEnding::Wait => GuestStep::Next(GuestState::Finished { leaving: None }),
        InstallEnding::Reboot { .. } if software.strict_kickstart => {
            GuestStep::Next(GuestState::Finished { leaving: Some((after(now, DIALOG), ending)) })
        }
        InstallEnding::Reboot { .. } => leave(ending, machine, now),
    }
}

/// The reboot, if there is one.
pub fn leave(ending: InstallEnding, machine: &mut Machine, now: Timestamp) -> GuestStep {
    match ending {
        InstallEnding::Wait => GuestStep::Next(GuestState::Finished { leaving: None }),
        InstallEnding::Reboot { eject } => {
            if eject {
                machine.eject_all_by_guest();
            }
            machine.begin_post(now);
            GuestStep::Gone
        }
    }
}
