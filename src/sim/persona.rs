//! Which BMC a simulated machine shows: names and standing faults, as data.
//!
//! Behaviour lives in the code that asks for a fault. Invariant: a persona that claims to behave
//! as a vendor's BMC has a source for it in [`super::faults`].

use super::faults::Fault;

/// The face of a machine's Redfish service.
#[derive(Clone, Debug)]
pub struct Persona {
    pub name: &'static str,
    pub vendor: &'static str,
    pub product: &'static str,
    pub model: &'static str,
    /// Ids of the one System, Manager and Chassis.
    pub system: &'static str,
    pub manager: &'static str,
    pub chassis: &'static str,
    /// What its System tells of boots.
    pub sources: Sources,
    /// What this persona always does wrong.
    pub faults: fn() -> Vec<Fault>,
}

/// Properties of a System that tell of its host's boots, beside PowerState.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    /// `BootProgress.LastState`
    pub boot_progress: bool,
    /// `BootProgress.LastStateTime`, where there is BootProgress.
    pub boot_progress_time: bool,
    /// `BootProgress.LastBootTimeSeconds` (HPE iLO6, iLO7), where there is BootProgress.
    pub last_boot_time: bool,
    pub last_reset_time: bool,
    /// `Oem.Hpe.PostState` (HPE iLO5 and later)
    pub post_state: bool,
    /// `Oem.Lenovo.NumberOfReboots` (Lenovo XCC)
    pub number_of_reboots: bool,
}

impl Sources {
    pub const NONE: Sources = Sources {
        boot_progress: false,
        boot_progress_time: false,
        last_boot_time: false,
        last_reset_time: false,
        post_state: false,
        number_of_reboots: false,
    };
    /// As OpenBMC.
    pub const STANDARD: Sources =
        Sources { boot_progress: true, boot_progress_time: true, last_reset_time: true, ..Sources::NONE };
}

/// A word of a list of sources that is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is not a source; the sources are boot-progress, boot-progress-time, last-boot-time, \
     last-reset-time, post-state and number-of-reboots, with commas between them, or none"
)]
pub struct UnknownSource(String);

impl std::str::FromStr for Sources {
    type Err = UnknownSource;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let mut sources = Sources::NONE;
        for word in list.split(',').filter(|_| list != "none") {
            match word {
                "boot-progress" => sources.boot_progress = true,
                "boot-progress-time" => (sources.boot_progress, sources.boot_progress_time) = (true, true),
                "last-boot-time" => (sources.boot_progress, sources.last_boot_time) = (true, true),
                "last-reset-time" => sources.last_reset_time = true,
                "post-state" => sources.post_state = true,
                "number-of-reboots" => sources.number_of_reboots = true,
                other => return Err(UnknownSource(other.to_owned())),
            }
        }
        Ok(sources)
    }
}

/// Every persona; the first is the default.
static PERSONAS: &[Persona] = &[
    Persona {
        name: "generic",
        vendor: "Shoal",
        product: "Simulated BMC",
        model: "Simulated Server",
        system: "1",
        manager: "BMC",
        chassis: "1",
        sources: Sources::STANDARD,
        faults: Vec::new,
    },
    Persona {
        name: "power-only",
        vendor: "Contoso",
        product: "Contoso BMC",
        model: "Contoso 1000",
        system: "Self",
        manager: "Self",
        chassis: "Self",
        sources: Sources::NONE,
        faults: Vec::new,
    },
    Persona {
        name: "one-cd",
        vendor: "Fabrikam",
        product: "Fabrikam Lights-Out",
        model: "Fabrikam G10",
        system: "1",
        manager: "1",
        chassis: "1",
        sources: Sources { last_reset_time: false, ..Sources::STANDARD },
        faults: || vec![Fault::OneCd],
    },
    Persona {
        name: "emulator",
        vendor: "Northwind",
        product: "Northwind Emulator",
        model: "Northwind VM",
        system: "437XR1138R2",
        manager: "BMC",
        chassis: "1U",
        sources: Sources::NONE,
        faults: || vec![Fault::Prefetch, Fault::NoSessions, Fault::NoEject],
    },
];

impl Default for Persona {
    fn default() -> Persona {
        PERSONAS[0].clone()
    }
}

/// There is no persona of that name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no persona `{name}`; the personas are {}", Persona::names().join(", "))]
pub struct UnknownPersona {
    name: String,
}

impl Persona {
    pub fn names() -> Vec<&'static str> {
        PERSONAS.iter().map(|persona| persona.name).collect()
    }
}

impl std::str::FromStr for Persona {
    type Err = UnknownPersona;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = PERSONAS.iter().find(|persona| persona.name == name);
        found.cloned().ok_or_else(|| UnknownPersona { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_a_list_of_known_words() {
        assert_eq!("none".parse(), Ok(Sources::NONE));
        assert_eq!("boot-progress-time,last-reset-time".parse(), Ok(Sources::STANDARD));
        let ilo6 = Sources { boot_progress: true, last_boot_time: true, post_state: true, ..Sources::NONE };
        assert_eq!("post-state,last-boot-time".parse(), Ok(ilo6));
        for list in ["", "none,", "post-state,", "boots"] {
            assert!(list.parse::<Sources>().is_err(), "{list}");
        }
    }
}
