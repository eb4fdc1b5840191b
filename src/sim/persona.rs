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
    /// What this persona always does wrong.
    pub faults: fn() -> Vec<Fault>,
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
        faults: || vec![Fault::NoBootProgress, Fault::NoLastResetTime],
    },
    Persona {
        name: "one-cd",
        vendor: "Fabrikam",
        product: "Fabrikam Lights-Out",
        model: "Fabrikam G10",
        system: "1",
        manager: "1",
        chassis: "1",
        faults: || vec![Fault::OneCd, Fault::NoLastResetTime],
    },
    Persona {
        name: "emulator",
        vendor: "Northwind",
        product: "Northwind Emulator",
        model: "Northwind VM",
        system: "437XR1138R2",
        manager: "BMC",
        chassis: "1U",
        faults: || {
            vec![
                Fault::Prefetch,
                Fault::NoSessions,
                Fault::NoBootProgress,
                Fault::NoLastResetTime,
                Fault::NoEject,
            ]
        },
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
