//! One installation, from the task medium to the report.
//!
//! The order of the steps is here and nowhere else. Invariants: the disk is not touched before the machine, the disk
//! and the image's head were checked; after a failure the disk is as it was or starts nothing.

mod first_boot;
mod unpack;
mod write;

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::channel;

use rustix::io::Errno;
use shoal_recipe::{
    FAILURE_FILE, FailedStep, Job, REPORT_TRIES, STARTED_FILE, SUCCESS_FILE, TaskImageLocation, TaskRecipe,
    report_pause,
};

use crate::block::DeviceFile;
use crate::devices;
use crate::disk::{self, Disk};
use crate::failure::{Failure, panic_text};
use crate::http::Web;
use crate::log::Log;
use crate::machine::Machine;
use crate::medium::{self, Medium, Missing};
use crate::network;
use crate::report::{Progress, Reporter};
use crate::table;
use crate::writer;

/// Installs what the task medium says and reports the outcome. `make_web` connects to the job's controller; `on_wait`
/// is called while the medium is not there yet.
pub fn run(
    machine: &Machine,
    log: &Log,
    make_web: &dyn Fn(&Job) -> Box<dyn Web>,
    on_wait: &mut dyn FnMut(),
) -> Result<(), Failure> {
    let (found, refusal) = match medium::find(machine, log, &mut *on_wait) {
        Ok(found) => (found, Ok(())),
        Err(Missing { failure, other: Some(other) }) => (*other, Err(failure)),
        Err(Missing { failure, other: None }) => {
            log.line(&format!("failed: {failure}"));
            return Err(failure);
        }
    };
    let (medium, recipe) = found;
    log.hide_all(recipe.job.report_url.iter());
    if let TaskImageLocation::Url(url) = &recipe.image.location {
        log.hide_all([url]);
    }
    let web = make_web(&recipe.job);
    let mut installation = Installation {
        machine,
        log,
        medium,
        recipe,
        web: &*web,
        progress: Progress::default(),
        warnings: Vec::new(),
    };
    if refusal.is_ok() {
        installation.signal(STARTED_FILE, 1);
    }
    installation.await_devices(on_wait);
    let (is_online, network) = installation.start_network();
    let url = installation.recipe.job.report_url.clone().filter(|_| is_online);
    let reporter = Reporter::new(machine, log, &*web, url);
    // A bug is a failure like any other.
    let outcome = refusal.and(network).and_then(|()| {
        catch_unwind(AssertUnwindSafe(|| installation.install_reporting(&reporter)))
            .unwrap_or_else(|panic| Err(Failure::new(FailedStep::Dispatcher, panic_text(&*panic))))
    });
    installation.finish(&reporter, &outcome);
    outcome
}

struct Installation<'a> {
    machine: &'a Machine,
    log: &'a Log,
    medium: Medium,
    recipe: TaskRecipe,
    web: &'a dyn Web,
    progress: Progress,
    warnings: Vec<String>,
}

impl Installation<'_> {
    fn warn(&mut self, warning: String) {
        self.log.line(&format!("warning: {warning}"));
        self.warnings.push(warning);
    }

    /// Waits for the disk, and for a network card if nothing can be done without one.
    fn await_devices(&self, on_wait: &mut dyn FnMut()) {
        let needs_card = matches!(self.recipe.image.location, TaskImageLocation::Url(_));
        devices::settle(self.machine, on_wait, || {
            let disks = disk::list(self.machine, &self.medium.name);
            let has_card = || !network::links(self.machine).is_empty();
            disk::has_match(&disks, &self.recipe.target_disk) && (!needs_card || has_card())
        });
    }

    /// Whether there is a network, and whether the job can go on.
    fn start_network(&mut self) -> (bool, Result<(), Failure>) {
        let needs_image = matches!(self.recipe.image.location, TaskImageLocation::Url(_));
        if !needs_image && self.recipe.job.report_url.is_none() {
            return (false, Ok(()));
        }
        match network::start(self.machine, self.log, &self.recipe.network, &self.recipe.job) {
            Ok(()) => (true, Ok(())),
            Err(error) if needs_image => (false, Err(Failure::new(FailedStep::Network, error))),
            Err(error) => {
                self.warn(error);
                (false, Ok(()))
            }
        }
    }

    /// Installs while another thread reports the progress.
    fn install_reporting(&mut self, reporter: &Reporter<'_>) -> Result<(), Failure> {
        let progress = std::mem::take(&mut self.progress);
        std::thread::scope(|scope| {
            let (working, done) = channel();
            let progress = &progress;
            scope.spawn(move || reporter.pump(progress, &done));
            let outcome = self.install(progress);
            drop(working);
            outcome
        })
    }

    fn install(&mut self, progress: &Progress) -> Result<(), Failure> {
        progress.begin("disk", 0);
        let disks = disk::list(self.machine, &self.medium.name);
        let disk = disk::choose(&disks, &self.recipe.target_disk)?;
        self.log.line(&format!("target disk {disk}"));
        let device = self.open_disk(disk)?;
        self.warn_of_other_systems(&disks, disk);
        progress.begin("image", 0);
        let (mut source, size) = self.open_image()?;
        progress.begin("write", size.unwrap_or_default());
        let mut is_begun = false;
        let layout = self.recipe.partition_layout.clone();
        let device = match layout {
            None => device,
            Some(_) => {
                drop(device);
                self.open(disk, DeviceFile::open_shared)?
            }
        };
        let written = catch_unwind(AssertUnwindSafe(|| match &layout {
            None => self.write(progress, disk, &device, &mut *source, &mut is_begun),
            Some(layout) => self.unpack(progress, disk, &device, layout, &mut *source, &mut is_begun),
        }));
        let outcome =
            written.unwrap_or_else(|panic| Err(Failure::new(FailedStep::Write, panic_text(&*panic))));
        if outcome.is_err() && is_begun {
            match writer::clear(&device) {
                Ok(()) => self.log.line("the disk's partition table was cleared"),
                Err(error) => self.warn(format!("the disk's partition table could not be cleared: {error}")),
            }
        }
        outcome
    }

    fn open(
        &self,
        disk: &Disk,
        open: impl Fn(&Path) -> io::Result<DeviceFile>,
    ) -> Result<DeviceFile, Failure> {
        open(&self.machine.path("/dev").join(&disk.name)).map_err(|error| {
            Failure::new(FailedStep::Disk, format!("{} cannot be opened: {error}", disk.name))
        })
    }

    /// The disk, for this program alone, if its data may be lost.
    fn open_disk(&mut self, disk: &Disk) -> Result<DeviceFile, Failure> {
        let device = self.open(disk, DeviceFile::open_exclusive)?;
        let foreign = disk::find_foreign(&device, disk.sector);
        let foreign =
            foreign.map_err(Failure::of(FailedStep::Disk, format!("{} cannot be read", disk.name)))?;
        match foreign {
            Some(foreign) if !self.recipe.overwrite => Err(Failure::new(
                FailedStep::Disk,
                format!(
                    "{} holds data: {foreign}. Set `overwrite` to true in the recipe to erase it",
                    disk.name
                ),
            )),
            Some(foreign) => {
                self.log.line(&format!("{} is overwritten: {foreign}", disk.name));
                Ok(device)
            }
            None => Ok(device),
        }
    }

    /// Another disk with an EFI system partition may be started instead of the target.
    fn warn_of_other_systems(&mut self, disks: &[Disk], target: &Disk) {
        for other in disks {
            if other.name == target.name || other.name == self.medium.name {
                continue;
            }
            let device = DeviceFile::open(&self.machine.path("/dev").join(&other.name));
            let table = device.ok().and_then(|device| table::read(&device).ok());
            if table.is_some_and(|table| table.esp().is_some()) {
                self.warn(format!(
                    "another disk has an EFI system partition and may be started instead: {other}"
                ));
            }
        }
    }

    fn open_image(&self) -> Result<(Box<dyn Read + Send>, Option<u64>), Failure> {
        let opened = match &self.recipe.image.location {
            TaskImageLocation::Url(url) => self.web.open(url),
            TaskImageLocation::Media(parts) => {
                self.medium.parts(parts).map(|(reader, size)| (reader, Some(size)))
            }
        };
        let (reader, size) = opened.map_err(Failure::of(FailedStep::Image, "the image cannot be opened"))?;
        let expected = self.recipe.image.size;
        match size.zip(expected) {
            Some((size, expected)) if size != expected => Err(Failure::new(
                FailedStep::Image,
                format!("the image has {size} bytes, and the recipe says {expected}"),
            )),
            _ => Ok((reader, size.or(expected))),
        }
    }

    /// Reports the outcome in every way that the job has.
    fn finish(&self, reporter: &Reporter<'_>, outcome: &Result<(), Failure>) {
        let name = if outcome.is_ok() { SUCCESS_FILE } else { FAILURE_FILE };
        let mut is_signalled = false;
        let mut in_doubt = || is_signalled = self.signal(name, 1);
        let is_answered = match outcome {
            Ok(()) => {
                self.log.line("installed");
                reporter.success(&self.warnings, &mut in_doubt)
            }
            Err(failure) => {
                self.log.line(&format!("failed: {failure}"));
                reporter.failed(failure, &self.warnings, &mut in_doubt)
            }
        };
        if !is_signalled {
            self.signal(name, if is_answered { 1 } else { REPORT_TRIES });
        }
    }

    /// Reads a signal of the task medium, which fails while the controller that serves it is away. Whether it was read.
    fn signal(&self, name: &str, tries: u32) -> bool {
        if !self.recipe.job.signals {
            return false;
        }
        for attempt in 1..=tries {
            let Err(error) = self.medium.signal(name) else { return true };
            self.log.line(&format!("the signal {name} could not be read from the task medium: {error}"));
            if is_gone(&error) {
                return false;
            }
            if attempt < tries {
                self.machine.sleep(report_pause(attempt));
            }
        }
        false
    }
}

/// Whether the medium is not there any more, or never had the file.
fn is_gone(error: &io::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            let gone = [Errno::NOMEDIUM, Errno::NXIO, Errno::NODEV].map(|errno| Some(errno.raw_os_error()));
            if error.kind() == io::ErrorKind::NotFound || gone.contains(&error.raw_os_error()) {
                return true;
            }
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests;
