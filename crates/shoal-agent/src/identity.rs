//! Whether this machine is the one that the recipe is for.
//!
//! Pure. Invariant: a placeholder that a vendor left in the firmware never identifies a machine.

use shoal_recipe::Identity;

const PLACEHOLDERS: [&str; 14] = [
    "unknown",
    "not specified",
    "not applicable",
    "not available",
    "to be filled by o.e.m.",
    "to be filled by oem",
    "default string",
    "system serial number",
    "serial number",
    "none",
    "n/a",
    "na",
    "0123456789",
    "123456789",
];

/// What the firmware says of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dmi {
    pub serial: Option<String>,
    pub uuid: Option<String>,
}

/// Nothing, or why this machine must not be touched.
pub fn check(identity: &Identity, dmi: &Dmi) -> Result<(), String> {
    let serial = dmi.serial.as_deref().map(str::trim).filter(|serial| !is_placeholder(serial));
    if let Some(serial) = serial.filter(|_| !identity.serials.is_empty()) {
        return match identity.serials.iter().any(|expected| expected.eq_ignore_ascii_case(serial)) {
            true => Ok(()),
            false => Err(format!(
                "this machine has the serial number {serial}, and the recipe is for {}",
                identity.serials.join(" or ")
            )),
        };
    }
    let uuid = dmi.uuid.as_deref().map(digits).filter(|uuid| !is_empty_uuid(uuid));
    match (uuid, identity.uuid.as_deref().map(digits)) {
        (Some(uuid), Some(expected)) if uuid == expected || uuid == swapped(&expected) => Ok(()),
        (Some(uuid), Some(expected)) => {
            Err(format!("this machine has the UUID {uuid}, and the recipe is for {expected}"))
        }
        _ => {
            Err("this machine shows no serial number or UUID that the recipe could be compared with"
                .to_owned())
        }
    }
}

fn is_placeholder(serial: &str) -> bool {
    let is_one_letter = |c: char| serial.chars().all(|other| other == c);
    serial.chars().next().is_none_or(is_one_letter)
        || PLACEHOLDERS.contains(&serial.to_ascii_lowercase().as_str())
}

fn digits(uuid: &str) -> String {
    uuid.chars().filter(|c| *c != '-').collect::<String>().to_ascii_lowercase()
}

fn is_empty_uuid(digits: &str) -> bool {
    digits.len() != 32 || digits.chars().all(|c| c == '0') || digits.chars().all(|c| c == 'f')
}

/// The first three fields in the other byte order: BMCs and kernels disagree about it.
fn swapped(digits: &str) -> String {
    let Some(mut bytes) = shoal_base::unhex(digits).filter(|bytes| bytes.len() == 16) else {
        return String::new();
    };
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    shoal_base::hex(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(serials: &[&str], uuid: Option<&str>, dmi_serial: &str, dmi_uuid: &str) -> Result<(), String> {
        let serials = serials.iter().map(|serial| (*serial).to_owned()).collect();
        let identity = Identity { serials, uuid: uuid.map(str::to_owned) };
        check(&identity, &Dmi { serial: Some(dmi_serial.to_owned()), uuid: Some(dmi_uuid.to_owned()) })
    }

    const UUID: &str = "4c4c4544-0042-3510-8052-b4c04f4d3132";
    const SWAPPED: &str = "44454C4C-4200-1035-8052-B4C04F4D3132";

    #[test]
    fn a_real_serial_number_decides() {
        assert_eq!(checked(&["OTHER", "5B5RM12"], None, "5b5rm12", ""), Ok(()));
        let error = checked(&["ABC"], Some(UUID), "5B5RM12", UUID).unwrap_err();
        assert_eq!(error, "this machine has the serial number 5B5RM12, and the recipe is for ABC");
    }

    #[test]
    fn the_uuid_decides_behind_a_placeholder_in_either_byte_order() {
        for placeholder in ["To Be Filled By O.E.M.", "unknown", "0000000", "", "Default string"] {
            assert_eq!(checked(&["unknown", ""], Some(UUID), placeholder, UUID), Ok(()));
            assert_eq!(checked(&["ABC"], Some(UUID), placeholder, SWAPPED), Ok(()));
            assert!(checked(&["ABC"], None, placeholder, UUID).is_err());
            assert!(checked(&[placeholder], Some(&UUID.replace('4', "5")), placeholder, UUID).is_err());
            let empty = "00000000-0000-0000-0000-000000000000";
            assert!(checked(&[placeholder], Some(empty), placeholder, empty).is_err());
        }
    }
}
