//! Which host a server record means: two records can mean the same one.

use serde::{Deserialize, Serialize};
use url::Url;

/// A host, as its BMC shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HostId {
    /// Scheme, host and port of its BMC.
    pub bmc: String,
    /// `@odata.id` of its system.
    pub link: String,
    pub uuid: Option<String>,
    pub manufacturer: Option<String>,
    /// On Dell the service tag: the serial number of some boards is a part number, which several hosts share.
    pub serial: Option<String>,
}

/// UUIDs of boards without one of their own: many hosts report them.
const PLACEHOLDER_UUIDS: [&str; 3] = [
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "03000200-0400-0500-0006-000700080009",
];

impl HostId {
    /// A host of which only the location is known.
    pub fn at(bmc: &Url, link: String) -> HostId {
        let bmc = bmc.origin().ascii_serialization();
        HostId { bmc, link, uuid: None, manufacturer: None, serial: None }
    }

    pub fn is_same(&self, other: &HostId) -> bool {
        self.names().into_iter().zip(other.names()).any(|(one, other)| one.is_some() && one == other)
    }

    /// What no other host is called: its BMC and system, its UUID, its manufacturer and serial number.
    pub fn names(&self) -> [Option<String>; 3] {
        let location = format!("at {} {}", self.bmc, self.link.trim_end_matches('/'));
        let uuid = self.usable_uuid().map(|uuid| format!("uuid {uuid}"));
        let made = self.manufacturer.as_ref().zip(self.serial.as_ref());
        [Some(location), uuid, made.map(|(maker, serial)| format!("serial {maker:?} {serial:?}"))]
    }

    fn usable_uuid(&self) -> Option<String> {
        let uuid = self.uuid.as_ref()?.to_ascii_lowercase();
        (!uuid.is_empty() && !PLACEHOLDER_UUIDS.contains(&uuid.as_str())).then_some(uuid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(bmc: &str, uuid: &str, maker: &str, serial: &str) -> HostId {
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let host = HostId::at(&bmc.parse().unwrap(), "/redfish/v1/Systems/1".to_owned());
        HostId { uuid: known(uuid), manufacturer: known(maker), serial: known(serial), ..host }
    }

    #[test]
    fn a_host_is_known_by_its_location_its_uuid_or_its_serial_number() {
        let one = host("https://10.0.0.5", "4c4c4544-0001", "Dell Inc.", "ABC1234");
        for same in [
            host("https://10.0.0.5:443/", "", "", ""),
            host("https://bmc1.example", "4C4C4544-0001", "", ""),
            host("https://bmc1.example", "", "Dell Inc.", "ABC1234"),
        ] {
            assert!(one.is_same(&same) && same.is_same(&one), "{same:?}");
        }
        for other in [
            host("https://10.0.0.5:8443", "", "", ""),
            host("http://10.0.0.5", "4c4c4544-0002", "HPE", "ABC1234"),
            host("https://10.0.0.6", "", "", "ABC1234"),
            HostId::at(&"https://10.0.0.5".parse().unwrap(), "/redfish/v1/Systems/2".to_owned()),
        ] {
            assert!(!one.is_same(&other), "{other:?}");
        }
        for uuid in PLACEHOLDER_UUIDS {
            let (one, other) = (host("https://a", uuid, "", ""), host("https://b", uuid, "", ""));
            assert!(!one.is_same(&other), "{uuid}");
        }
    }
}
