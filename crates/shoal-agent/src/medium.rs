//! The task medium: found by its content, whatever the kernel calls its drive.
//!
//! Invariants: a medium with another machine's recipe is never used; a file that is a signal is read for nothing
//! else than that.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use shoal_image::iso::{Entry, ReadAt, TreeKind, Volume};
use shoal_recipe::{FailedStep, RECIPE_FILE, TaskRecipe};

use crate::block::DeviceFile;
use crate::failure::Failure;
use crate::identity::{self, Dmi};
use crate::log::Log;
use crate::machine::Machine;

/// USB drives appear late.
const TRIES: u32 = 60;
const WAIT: Duration = Duration::from_secs(2);
const RECIPE_BYTES_MAX: u64 = 2 << 20;
/// A signal's file is read so far.
const SIGNAL_BYTES: u64 = 2048;

/// A medium that holds a recipe.
pub struct Medium {
    /// The kernel's name of the device.
    pub name: String,
    device: Arc<DeviceFile>,
    volume: Volume,
}

/// The medium and its recipe.
pub type Found = (Medium, TaskRecipe);

/// Why there is no medium for this machine, and the one that is another's.
pub struct Missing {
    pub failure: Failure,
    /// Its job learns of the failure.
    pub other: Option<Box<Found>>,
}

/// Waits for the task medium of this machine. `on_wait` is called between two looks.
pub fn find(machine: &Machine, log: &Log, mut on_wait: impl FnMut()) -> Result<Found, Missing> {
    let mut missing = None;
    for attempt in 0..TRIES {
        if attempt > 0 {
            on_wait();
            machine.sleep(WAIT);
        }
        let media = media(machine);
        if media.is_empty() {
            continue;
        }
        match choose(media, &dmi(machine)) {
            Ok(Some(found)) => {
                log.line(&format!("task medium found in {}, job {}", found.0.name, found.1.job.id));
                return Ok(found);
            }
            Ok(None) => {}
            Err(reason) => missing = Some(reason),
        }
        // A second drive may still appear.
        if missing.is_some() && attempt >= 5 {
            break;
        }
    }
    Err(missing.unwrap_or_else(|| Missing::new(format!("no medium with /{RECIPE_FILE} was found"), None)))
}

impl Missing {
    fn new(reason: String, other: Option<Found>) -> Missing {
        Missing { failure: Failure::new(FailedStep::Dispatcher, reason), other: other.map(Box::new) }
    }
}

/// What the firmware says of this machine.
pub fn dmi(machine: &Machine) -> Dmi {
    let text = |file: &str| machine.text(&format!("/sys/class/dmi/id/{file}"));
    Dmi { serial: text("product_serial"), uuid: text("product_uuid") }
}

/// Every medium with a recipe, and the recipe's bytes.
fn media(machine: &Machine) -> Vec<(Medium, Vec<u8>)> {
    let names = machine.names("/sys/block").into_iter();
    names.filter_map(|name| open(machine, name)).collect()
}

fn open(machine: &Machine, name: String) -> Option<(Medium, Vec<u8>)> {
    let device = Arc::new(DeviceFile::open(&machine.path("/dev").join(&name)).ok()?);
    let volume = Volume::open(&*device).ok()?;
    let medium = Medium { name, device, volume };
    let recipe = medium.read(RECIPE_FILE, RECIPE_BYTES_MAX).ok()??;
    Some((medium, recipe))
}

/// The one medium that is for this machine; why there is none otherwise.
fn choose(media: Vec<(Medium, Vec<u8>)>, dmi: &Dmi) -> Result<Option<Found>, Missing> {
    let (mut ours, mut others, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
    for (medium, recipe) in media {
        match TaskRecipe::parse(&recipe) {
            Err(faults) => reasons.push(format!("the recipe in {} is not valid: {faults}", medium.name)),
            Ok(recipe) => match identity::check(&recipe.identity, dmi) {
                Ok(()) => ours.push((medium, recipe)),
                Err(reason) => {
                    reasons.push(format!("the recipe in {} is not for this machine: {reason}", medium.name));
                    others.push((medium, recipe));
                }
            },
        }
    }
    if ours.len() > 1 {
        let is_same = ours.windows(2).all(|pair| pair[0].1 == pair[1].1);
        let names: Vec<&str> = ours.iter().map(|(medium, _)| medium.name.as_str()).collect();
        if !is_same {
            let reason = format!("{} hold different recipes for this machine", names.join(" and "));
            return Err(Missing::new(reason, None));
        }
    }
    match ours.into_iter().next() {
        Some(found) => Ok(Some(found)),
        None if reasons.is_empty() => Ok(None),
        None => {
            let only = others.pop().filter(|_| reasons.len() == 1);
            Err(Missing::new(reasons.join("; "), only))
        }
    }
}

impl Medium {
    /// The file of that name at the root; nothing where the medium has none.
    pub fn read(&self, name: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(entry) = self.entry(name)? else { return Ok(None) };
        self.volume.read(&*self.device, &entry, bytes_max).map(Some).map_err(io::Error::other)
    }

    fn entry(&self, name: &str) -> io::Result<Option<Entry>> {
        let find = |kind, name: &str| self.volume.find(&*self.device, kind, name).map_err(io::Error::other);
        for kind in [TreeKind::RockRidge, TreeKind::Joliet, TreeKind::Primary] {
            if let Some(entry) = find(kind, name)? {
                return Ok(Some(entry));
            }
        }
        find(TreeKind::Primary, &short_name(name))
    }

    /// These files, one after the other, and their size.
    pub fn parts(&self, names: &[String]) -> Result<(Box<dyn Read + Send>, u64), String> {
        let mut ranges = Vec::new();
        for name in names {
            let entry = self.entry(name).map_err(|error| format!("{name} on the task medium: {error}"))?;
            let entry = entry.ok_or_else(|| format!("the task medium has no file {name}"))?;
            let ends_within = entry.extent.end <= self.device.size();
            if entry.is_dir || entry.is_split || !ends_within {
                return Err(format!("{name} on the task medium cannot be read: it is no plain file"));
            }
            ranges.push(entry.extent);
        }
        let size = ranges.iter().map(|range| range.end - range.start).sum();
        ranges.reverse();
        Ok((Box::new(Parts { device: self.device.clone(), ranges }), size))
    }

    /// Reads a file of which a controller that serves the medium sees the read.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let missing =
            || io::Error::new(io::ErrorKind::NotFound, format!("the task medium has no file {name}"));
        let extent = self.entry(name)?.ok_or_else(missing)?.extent;
        let length = (extent.end - extent.start).min(SIGNAL_BYTES) as usize;
        self.device.read_fresh(extent.start, &mut vec![0; length])
    }
}

/// The name that a level 1 tree has for a file: eight letters, a dot, three letters.
fn short_name(name: &str) -> String {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let clean = |text: &str, length: usize| -> String {
        text.chars().take(length).map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
    };
    match extension {
        "" => clean(stem, 8),
        extension => format!("{}.{}", clean(stem, 8), clean(extension, 3)),
    }
}

/// Ranges of a medium, the last first.
struct Parts {
    device: Arc<DeviceFile>,
    ranges: Vec<std::ops::Range<u64>>,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(range) = self.ranges.last_mut() {
            let length = (range.end - range.start).min(buffer.len() as u64) as usize;
            if length == 0 {
                self.ranges.pop();
                continue;
            }
            self.device.read_at(range.start, &mut buffer[..length])?;
            range.start += length as u64;
            return Ok(length);
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests;
