//! Which disk of a server a template means, and what ESXi calls it.
//!
//! Hints are Metal3's. ESXi names a disk by what the disk reports of itself; a BMC reports only some of that, so a
//! name is known, likely, or not known. Invariant: a name is returned only for exactly one match, and has no
//! characters but those of `naa.`, `eui.` and `t10.NVMe` names.

use std::fmt::Write as _;

/// What a BMC reports of a server's disks.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    pub disks: Vec<Disk>,
    /// Drives that the host does not see: members of volumes, spares, unused drives of RAID controllers.
    pub hidden: usize,
}

/// A drive or a RAID volume.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// The BMC's id of it.
    pub id: String,
    pub name: Option<String>,
    pub is_volume: bool,
    pub vendor: Option<String>,
    pub model: Option<String>,
    pub serial: Option<String>,
    pub bytes: Option<u64>,
    pub is_rotational: Option<bool>,
    /// `SAS`, `SATA`, `NVMe` …
    pub protocol: Option<String>,
    pub controller: Option<String>,
    /// Format (`NAA`, `EUI`, `NGUID` …) and name.
    pub identifiers: Vec<(String, String)>,
}

/// What a template asks for. A disk matches if every hint does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Serial number, WWN or ESXi's name of the disk, or a part of its model, vendor, controller or volume name.
    pub any: Option<String>,
    pub device_name: Option<String>,
    pub model: Option<String>,
    pub vendor: Option<String>,
    pub serial_number: Option<String>,
    pub wwn: Option<String>,
    pub min_size_gigabytes: Option<u64>,
    pub rotational: Option<bool>,
}

/// The disk that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The hints as they are written.
    pub hints: String,
    /// `naa.…`, `eui.…` or `t10.NVMe…`.
    pub device: String,
    /// What the disk is, in words.
    pub disk: String,
    pub confidence: Confidence,
}

/// How sure it is that ESXi uses the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// The name of a RAID volume, which its controller gives to BMC and host alike.
    Certain,
    /// Some BMCs report the address of a SAS port, or one of two NVMe identifiers.
    Likely,
}

impl Confidence {
    pub fn name(self) -> &'static str {
        match self {
            Confidence::Certain => "certain",
            Confidence::Likely => "likely",
        }
    }
}

/// The model number of an NVMe controller has 40 characters.
const NVME_MODEL_LENGTH: usize = 40;
const GIGABYTE: u64 = 1 << 30;
/// Disks that a message lists.
const LISTED_MAX: usize = 8;
const WORDS_BYTES_MAX: usize = 64;
pub const HINTS: [&str; 7] =
    ["deviceName", "model", "vendor", "serialNumber", "wwn", "minSizeGigabytes", "rotational"];

impl Hints {
    /// Reads `model=BOSS, minSizeGigabytes=200`, or one text that any of several properties may match.
    pub fn parse(text: &str) -> Result<Hints, String> {
        let mut hints = Hints::default();
        if !text.contains('=') {
            hints.any = Some(text.trim().to_owned()).filter(|text| !text.is_empty());
            return Ok(hints);
        }
        for part in text.split(',') {
            let (name, value) =
                part.split_once('=').ok_or("`disk` takes hints of the form `model=BOSS, vendor=Dell`")?;
            hints.set(name.trim(), value.trim())?;
        }
        Ok(hints)
    }

    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let text = || Some(value.to_owned()).filter(|value| !value.is_empty());
        let missing = || format!("the hint `{name}` has no value");
        match name {
            "deviceName" => self.device_name = Some(text().ok_or_else(missing)?),
            "model" => self.model = Some(text().ok_or_else(missing)?),
            "vendor" => self.vendor = Some(text().ok_or_else(missing)?),
            "serialNumber" => self.serial_number = Some(text().ok_or_else(missing)?),
            "wwn" => self.wwn = Some(text().ok_or_else(missing)?),
            "minSizeGigabytes" => {
                let size = value.parse().map_err(|_| "`minSizeGigabytes` is a whole number")?;
                self.min_size_gigabytes = Some(size);
            }
            "rotational" => {
                let is = value.to_ascii_lowercase().parse().map_err(|_| "`rotational` is true or false")?;
                self.rotational = Some(is);
            }
            _ => return Err(format!("`disk` takes the hints {}", HINTS.join(", "))),
        }
        Ok(())
    }

    fn matches(&self, disk: &Disk) -> bool {
        let contains = |hint: &Option<String>, text: &Option<String>| {
            hint.as_ref().is_none_or(|hint| text.as_ref().is_some_and(|text| holds(text, hint)))
        };
        let is_serial = |hint: &str| disk.serial.as_ref().is_some_and(|serial| serial.trim() == hint.trim());
        let is_device =
            |hint: &str| name_of(disk).is_ok_and(|(name, _)| name.eq_ignore_ascii_case(bare(hint)));
        let is_wwn = |hint: &str| {
            let wanted = digits(hint);
            wanted.is_some() && disk.identifiers.iter().any(|(_, name)| digits(name) == wanted)
        };
        let models = [&disk.model, &disk.controller];
        let texts = [&disk.model, &disk.vendor, &disk.controller, &disk.name];
        let is_any = |hint: &str| {
            is_serial(hint)
                || is_device(hint)
                || is_wwn(hint)
                || texts.iter().any(|text| text.as_ref().is_some_and(|text| holds(text, hint)))
        };
        // A volume has no model but its controller's.
        let is_model = match disk.is_volume {
            true => models.into_iter().any(|model| contains(&self.model, model)),
            false => contains(&self.model, &disk.model),
        };
        is_model
            && contains(&self.vendor, &disk.vendor)
            && self.any.as_deref().is_none_or(is_any)
            && self.serial_number.as_deref().is_none_or(is_serial)
            && self.device_name.as_deref().is_none_or(is_device)
            && self.wwn.as_deref().is_none_or(is_wwn)
            && self
                .min_size_gigabytes
                .is_none_or(|size| disk.bytes.is_some_and(|bytes| bytes / GIGABYTE >= size))
            && self.rotational.is_none_or(|rotational| disk.is_rotational == Some(rotational))
    }
}

impl std::fmt::Display for Hints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = self.min_size_gigabytes.map(|size| size.to_string());
        let rotational = self.rotational.map(|rotational| rotational.to_string());
        let named = [
            &self.device_name,
            &self.model,
            &self.vendor,
            &self.serial_number,
            &self.wwn,
            &size,
            &rotational,
        ];
        let named =
            HINTS.iter().zip(named).filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
        let all: Vec<String> = self.any.iter().cloned().chain(named).collect();
        f.write_str(&plain(&all.join(", ")))
    }
}

/// The one disk that is meant, or why there is none.
pub fn choose(hints: &Hints, inventory: &Inventory) -> Result<Choice, String> {
    if *hints == Hints::default() {
        return Err("`disk` needs a hint, such as disk(\"model=BOSS\")".to_owned());
    }
    let matching: Vec<&Disk> = inventory.disks.iter().filter(|disk| hints.matches(disk)).collect();
    match matching.as_slice() {
        [disk] => {
            let (device, confidence) = name_of(disk)?;
            Ok(Choice { hints: hints.to_string(), device, disk: describe(disk), confidence })
        }
        [] => Err(none_matches(hints, inventory)),
        several => Err(format!(
            "{} disks match `{hints}`: {}; add a hint, such as serialNumber",
            several.len(),
            list(several)
        )),
    }
}

fn none_matches(hints: &Hints, inventory: &Inventory) -> String {
    let all: Vec<&Disk> = inventory.disks.iter().collect();
    let mut message = match all.as_slice() {
        [] => format!("no disk matches `{hints}`: the BMC reports no disk that the host sees"),
        all => format!("no disk matches `{hints}`; the BMC reports {}", list(all)),
    };
    if inventory.hidden > 0 {
        let _ = write!(
            message,
            " ({} drives not counted: they belong to volumes, are spare, or are unused drives of a RAID controller)",
            inventory.hidden
        );
    }
    message
}

/// What ESXi calls the disk, or why that is not known and what to write instead.
fn name_of(disk: &Disk) -> Result<(String, Confidence), String> {
    let of = |format: &str, length: usize| {
        let named = disk.identifiers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(format));
        named.filter_map(|(_, name)| digits(name)).find(|digits| digits.len() == length)
    };
    let naa = of("NAA", 32).or_else(|| of("NAA", 16));
    let (eui, nguid) = (of("EUI", 16), of("NGUID", 32).or_else(|| of("EUI", 32)));
    let is = |protocol: &str| {
        disk.protocol.as_ref().is_some_and(|given| given.to_ascii_uppercase().contains(protocol))
    };
    if is_sata_boss(disk) {
        return Err(unknown(disk, "the card reports no durable name", "DELLBOSS VD"));
    }
    match (naa, eui, nguid) {
        (Some(naa), _, _) if disk.is_volume => Ok((format!("naa.{naa}"), Confidence::Certain)),
        (Some(naa), _, _) if is("SAS") => Ok((format!("naa.{naa}"), Confidence::Likely)),
        (_, None, Some(nguid)) => Ok((format!("eui.{nguid}"), Confidence::Likely)),
        (_, Some(eui), _) => match t10_nvme(model(disk), &eui) {
            Some(name) => Ok((name, Confidence::Likely)),
            None => Err(unknown(
                disk,
                "ESXi makes it of model and EUI-64, and how it writes this model is not known",
                model(disk),
            )),
        },
        (Some(_), _, _) if is("SATA") => Err(unknown(
            disk,
            "ESXi's name of a SATA disk depends on the driver of its controller",
            model(disk),
        )),
        _ => Err(unknown(disk, "the BMC reports no NAA name or NGUID", model(disk))),
    }
}

/// ESXi's name of an NVMe disk that has an EUI-64, with or without an NGUID (ESXi 6.7 to 9).
///
/// The model fills 40 places: blanks and empty places are `_`, a hyphen is its code `2D`, which takes no further
/// place. The bytes of the EUI-64 follow from the last to the first. None for a model with characters whose
/// form has not been seen.
fn t10_nvme(model: &str, eui: &str) -> Option<String> {
    let model = model.trim();
    let is_seen = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '.' | '-');
    if model.is_empty() || model.len() > NVME_MODEL_LENGTH || !model.chars().all(is_seen) {
        return None;
    }
    let padded = format!("{model:_<NVME_MODEL_LENGTH$}").replace(' ', "_").replace('-', "2D");
    let bytes: Vec<&str> = (0..eui.len()).step_by(2).filter_map(|at| eui.get(at..at + 2)).rev().collect();
    Some(format!("t10.NVMe____{padded}{}", bytes.concat().to_ascii_uppercase()))
}

fn is_sata_boss(disk: &Disk) -> bool {
    let controller = disk.controller.as_deref().unwrap_or_default().to_ascii_uppercase();
    controller.contains("BOSS") && !controller.contains("BOSS-N")
}

fn model(disk: &Disk) -> &str {
    let own = disk.model.as_deref().filter(|_| !disk.is_volume);
    own.or(disk.controller.as_deref()).unwrap_or_default()
}

fn unknown(disk: &Disk, why: &str, filter: &str) -> String {
    let mut message = format!("ESXi's name of {} is not known: {why}", describe(disk));
    let filter = plain(filter);
    if !filter.is_empty() {
        let _ = write!(
            message,
            "; use a filter, such as --firstdisk=\"{filter}\" (`esxcli storage core device list` shows the model to write)"
        );
    }
    message
}

/// The hexadecimal digits of a name, in lower case; none of nothing, of zeros alone, and of other texts.
fn digits(name: &str) -> Option<String> {
    let lower = bare(name).to_ascii_lowercase();
    let rest =
        ["naa.", "eui.", "0x", "uuid."].iter().find_map(|start| lower.strip_prefix(start)).unwrap_or(&lower);
    let digits: String = rest.chars().filter(|c| !matches!(c, ':' | '-' | ' ')).collect();
    let is_hex = digits.len() >= 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hex && digits.bytes().any(|byte| byte != b'0')).then_some(digits)
}

fn bare(name: &str) -> &str {
    let name = name.trim();
    name.strip_prefix("/vmfs/devices/disks/").unwrap_or(name)
}

fn holds(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.trim().to_lowercase())
}

fn list(disks: &[&Disk]) -> String {
    let mut shown: Vec<String> = disks.iter().take(LISTED_MAX).map(|disk| describe(disk)).collect();
    if let Some(more) = disks.len().checked_sub(LISTED_MAX).filter(|more| *more > 0) {
        shown.push(format!("{more} more"));
    }
    shown.join("; ")
}

/// `drive Disk.Bay.3 (Samsung MZWLR1T9, 1788 GiB, serial number S4XNNE0M1)`
fn describe(disk: &Disk) -> String {
    let kind = if disk.is_volume { "volume" } else { "drive" };
    let name = disk.name.as_deref().filter(|_| disk.is_volume).unwrap_or(&disk.id);
    let size = disk.bytes.map(|bytes| format!("{} GiB", bytes / GIGABYTE));
    let serial = disk.serial.as_ref().map(|serial| format!("serial number {serial}"));
    let controller =
        disk.controller.as_ref().filter(|_| disk.is_volume).map(|controller| format!("on {controller}"));
    let facts: Vec<String> = [disk.vendor.clone(), disk.model.clone(), controller, size, serial]
        .into_iter()
        .flatten()
        .map(|fact| plain(&fact))
        .collect();
    format!("{kind} {} ({})", plain(name), facts.join(", "))
}

/// As it may stand in a message.
fn plain(text: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_graphic() && !matches!(c, '"' | '`' | '\\') || *c == ' ';
    text.trim().chars().filter(is_plain).take(WORDS_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests;
