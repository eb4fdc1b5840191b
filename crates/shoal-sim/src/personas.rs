//! Which BMC a simulated machine shows: names, shapes and standing faults, as data.
//!
//! Behaviour lives in the code that asks for it; each family of BMCs has a file of data below.
//! Invariant: a persona that claims to behave as a vendor's BMC has its sources in docs/quirks.md or
//! in [`super::faults`], and lists the quirks that it shows.

mod ami;
mod cisco;
mod dell;
mod fujitsu;
mod hpe;
mod huawei;
mod lenovo;
mod openbmc;
mod plain;
mod sources;
mod storage;
mod supermicro;

use super::faults::Fault;
use super::machine::{BootTarget, DriveKind, ResetType};
use strum::VariantArray as _;

pub use sources::{Sources, UnknownSource};
pub use storage::{PhysicalDrive, RaidVolume, StorageUnit};

/// The face of a machine's Redfish service.
#[derive(Clone, Debug)]
pub struct Persona {
    pub name: &'static str,
    /// Of the System and the Manager.
    pub vendor: &'static str,
    /// `Vendor` of the service root, where it has one.
    pub root_vendor: Option<&'static str>,
    /// The OEM's member of `Oem`, where there is one.
    pub oem: &'static str,
    pub product: &'static str,
    pub model: &'static str,
    /// `Model` and `FirmwareVersion` of the Manager.
    pub manager_model: &'static str,
    pub firmware: &'static str,
    /// Ids of the System, the Manager and the Chassis.
    pub system: &'static str,
    pub manager: &'static str,
    pub chassis: &'static str,
    /// The System names its Manager.
    pub names_manager: bool,
    /// A GPU baseboard is a second System, which answers 500 while the host is off.
    pub baseboard: bool,
    pub media: PersonaMedia,
    pub boot: PersonaBoot,
    pub resets: &'static [ResetType],
    pub manners: Manners,
    /// What its System shows of boots.
    pub sources: Sources,
    /// What its System's `Storage` holds; without any there is no `Storage`.
    pub storage: &'static [StorageUnit],
    /// What this persona always does wrong.
    pub faults: fn() -> Vec<Fault>,
    /// Names of the client's quirks that it shows.
    pub quirks: &'static [&'static str],
}

/// Its virtual media.
#[derive(Clone, Copy, Debug)]
pub struct PersonaMedia {
    /// Under the System, else under the Manager.
    pub of_system: bool,
    /// The System links to them, wherever they are.
    pub linked_by_system: bool,
    /// The collection's name.
    pub collection: &'static str,
    pub drives: &'static [PersonaDrive],
    pub way: MediaMethod,
    /// Schemes of images that it takes, in capitals.
    pub protocols: &'static [&'static str],
    pub listed: Listed,
    /// Parameters without which an insert is 400, and with which it is.
    pub required: &'static [&'static str],
    pub refused: &'static [&'static str],
    /// `EjectMedia` is advertised only while something is in.
    pub eject_when_full: bool,
    /// `Image` is shown without the port of its URL.
    pub drops_port: bool,
    /// Nothing is there until it is switched on, and one drive until two are asked for.
    pub switched: bool,
    /// Those switches are named without the maker (AMI 12.84).
    pub plain_switches: bool,
    /// An image by another protocol is refused as a value that is not in the list (GH200).
    pub lists_images: bool,
}

impl PersonaMedia {
    /// Drives that take a CD image, once everything is switched on.
    pub fn cds(&self) -> usize {
        self.drives.iter().filter(|drive| drive.kind == DriveKind::Cd && !drive.refuses).count()
    }

    /// Whether a disk fits in beside a CD.
    pub fn has_stick(&self) -> bool {
        let usable = || self.drives.iter().filter(|drive| !drive.refuses);
        let mut cds = usable().filter(|drive| drive.kind == DriveKind::Cd);
        let is_stick = |drive: &&PersonaDrive| drive.types.contains(&"USBStick");
        cds.any(|cd| usable().filter(is_stick).any(|drive| drive.id != cd.id))
    }
}

/// One virtual drive.
#[derive(Clone, Copy, Debug)]
pub struct PersonaDrive {
    pub id: &'static str,
    pub kind: DriveKind,
    pub types: &'static [&'static str],
    /// It is shown, and takes nothing.
    pub refuses: bool,
    /// It can be ejected from, and there is no action to insert.
    pub eject_only: bool,
    /// The console's applet holds it: there is no action at all.
    pub applet: bool,
    /// `MediaTypes` is shown.
    pub typed: bool,
}

const DRIVE: PersonaDrive = PersonaDrive {
    id: "",
    kind: DriveKind::Cd,
    types: &[],
    refuses: false,
    eject_only: false,
    applet: false,
    typed: true,
};

pub const fn cd(id: &'static str, types: &'static [&'static str]) -> PersonaDrive {
    PersonaDrive { id, types, ..DRIVE }
}

pub const fn stick(id: &'static str, types: &'static [&'static str]) -> PersonaDrive {
    PersonaDrive { id, kind: DriveKind::Usb, types, ..DRIVE }
}

/// Shown as a drive, and of no use for images.
pub const fn reserved(id: &'static str, types: &'static [&'static str]) -> PersonaDrive {
    PersonaDrive { id, types, refuses: true, ..DRIVE }
}

/// The console's own drive (OpenBMC): it offers an eject and no insert.
pub const fn console(id: &'static str, types: &'static [&'static str]) -> PersonaDrive {
    PersonaDrive { eject_only: true, ..reserved(id, types) }
}

/// The console's own drive (UCS X): it offers no action, and its slot takes no PATCH either.
pub const fn applet(id: &'static str, types: &'static [&'static str]) -> PersonaDrive {
    PersonaDrive { applet: true, ..reserved(id, types) }
}

/// A CD drive that shows no `MediaTypes` (AMI 12.84).
pub const fn untyped(id: &'static str) -> PersonaDrive {
    PersonaDrive { typed: false, ..cd(id, CD_DVD) }
}

/// How images get into its drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaMethod {
    Action,
    Patch,
    IloAction,
    VmmControl,
    IsoConfig,
    RemoteMap,
    /// From NFS and SMB shares alone, by an action of the System.
    Shares,
}

/// Where it lists the protocols that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    Nowhere,
    Inline,
    /// As sentences (Cisco CIMC).
    Prose,
    /// In an ActionInfo, with the other parameters.
    Info,
}

/// Its boot override.
#[derive(Clone, Copy, Debug)]
pub struct PersonaBoot {
    /// Words, and what they reach.
    pub targets: &'static [(&'static str, BootTarget)],
    /// The words are listed.
    pub listed: bool,
    pub mode: Mode,
    /// The settings object's name; empty where there is none.
    pub settings: &'static str,
    /// Whether that takes the override, and whether the System does.
    pub place: OverridePlace,
    /// A configuration import boots once from the virtual CD.
    pub import: bool,
    /// A slot has a switch for a boot from it; the override is refused in the self test.
    pub by_slot: bool,
    /// Every override lasts, whatever is asked for, and a PATCH has to name a target.
    pub lasts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Plain,
    Absent,
    ReadOnly,
    /// A PATCH without it falls back to Legacy.
    FallsBack,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverridePlace {
    System,
    /// The settings object, which shows it.
    Settings,
    /// The settings object, which shows nothing until it is set.
    Pending,
}

/// How it wants to be spoken to.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// Connections that are used again are reset.
    pub no_keep_alive: bool,
    /// Managers are sent compressed, whatever was asked for.
    pub compresses: bool,
    /// A PATCH without `If-Match` is 428.
    pub wants_tag: bool,
    /// A host that is switched on less than ten seconds after it was forced off hangs.
    pub hangs_when_hurried: bool,
}

const CD_DVD: &[&str] = &["CD", "DVD"];
const FLOPPY_STICK: &[&str] = &["Floppy", "USBStick"];

const PLAIN_MANNERS: Manners =
    Manners { no_keep_alive: false, compresses: false, wants_tag: false, hangs_when_hurried: false };

const PLAIN_MEDIA: PersonaMedia = PersonaMedia {
    of_system: false,
    linked_by_system: true,
    collection: "VirtualMedia",
    drives: &[cd("CD1", CD_DVD), cd("CD2", CD_DVD)],
    way: MediaMethod::Action,
    protocols: &["HTTP", "HTTPS"],
    listed: Listed::Inline,
    required: &[],
    refused: &[],
    eject_when_full: false,
    drops_port: false,
    switched: false,
    plain_switches: false,
    lists_images: false,
};

const PLAIN_BOOT: PersonaBoot = PersonaBoot {
    targets: &[
        ("None", BootTarget::None),
        ("Cd", BootTarget::Cd),
        ("Hdd", BootTarget::Hdd),
        ("Pxe", BootTarget::Pxe),
        ("BiosSetup", BootTarget::BiosSetup),
    ],
    listed: true,
    mode: Mode::Plain,
    settings: "",
    place: OverridePlace::System,
    import: false,
    by_slot: false,
    lasts: false,
};

const PLAIN: Persona = Persona {
    name: "generic",
    vendor: "Shoal",
    root_vendor: Some("Shoal"),
    oem: "",
    product: "Simulated BMC",
    model: "Simulated Server",
    manager_model: "Simulated BMC",
    firmware: env!("CARGO_PKG_VERSION"),
    system: "1",
    manager: "BMC",
    chassis: "1",
    names_manager: true,
    baseboard: false,
    media: PLAIN_MEDIA,
    boot: PLAIN_BOOT,
    resets: ResetType::VARIANTS,
    manners: PLAIN_MANNERS,
    sources: Sources::STANDARD,
    storage: storage::NVME,
    faults: Vec::new,
    quirks: &[],
};

/// Every persona; the first is the default.
static FAMILIES: &[&[Persona]] = &[
    plain::PERSONAS,
    dell::PERSONAS,
    hpe::PERSONAS,
    lenovo::PERSONAS,
    supermicro::PERSONAS,
    cisco::PERSONAS,
    fujitsu::PERSONAS,
    ami::PERSONAS,
    huawei::PERSONAS,
    openbmc::PERSONAS,
];

impl Default for Persona {
    fn default() -> Persona {
        PLAIN
    }
}

/// There is no persona of that name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no persona `{name}`; the personas are {}", Persona::names().join(", "))]
pub struct UnknownPersona {
    name: String,
}

impl Persona {
    pub fn all() -> impl Iterator<Item = &'static Persona> {
        FAMILIES.iter().copied().flatten()
    }

    /// Its service reports no serial number of the System.
    pub fn hides_serial(&self) -> bool {
        (self.faults)().contains(&Fault::NoSerial)
    }

    pub fn names() -> Vec<&'static str> {
        Persona::all().map(|persona| persona.name).collect()
    }
}

impl std::str::FromStr for Persona {
    type Err = UnknownPersona;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Persona::all().find(|persona| persona.name == name);
        found.cloned().ok_or_else(|| UnknownPersona { name: name.to_owned() })
    }
}
