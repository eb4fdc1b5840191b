//! The service root as a BMC shows it, and whose BMC it is.
//!
//! Pure. Invariant: [`Vendor`] labels metrics and texts; of this client only `quirks` decides by it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json;

/// The service root's path, one of the two that the standard fixes.
pub(super) const ROOT: &str = "/redfish/v1/";

/// What the service root says of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// As the BMC writes it, or the label of [`Vendor`] where it does not say.
    pub vendor: String,
    pub product: Option<String>,
    pub redfish_version: Option<String>,
    /// Lower case.
    pub uuid: Option<String>,
}

/// The service root, with its links.
#[derive(Clone, Debug, Default)]
pub(super) struct Root {
    pub(super) service: Service,
    pub(super) vendor: Vendor,
    pub(super) systems: Option<String>,
    pub(super) managers: Option<String>,
    pub(super) sessions: Option<String>,
    pub(super) session_service: Option<String>,
}

pub(super) fn parse_root(body: &Value) -> Root {
    let vendor = detect_vendor(body);
    Root {
        service: Service {
            vendor: json::text(body, "/Vendor").unwrap_or_else(|| vendor.name().to_owned()),
            product: json::text(body, "/Product"),
            redfish_version: json::text(body, "/RedfishVersion"),
            uuid: json::text(body, "/UUID").map(|uuid| uuid.to_ascii_lowercase()),
        },
        vendor,
        systems: json::link(body, "/Systems"),
        managers: json::link(body, "/Managers"),
        sessions: json::link(body, "/Links/Sessions"),
        session_service: json::link(body, "/SessionService"),
    }
}

/// Makers of BMCs, as a metric label: a closed set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Vendor {
    Dell,
    Hpe,
    Lenovo,
    Supermicro,
    Cisco,
    Fujitsu,
    Ami,
    Huawei,
    XFusion,
    H3c,
    OpenBmc,
    Nvidia,
    Sushy,
    ShoalSim,
    Other,
    /// The service root has not been read yet.
    #[default]
    Unknown,
}

impl Vendor {
    pub fn name(self) -> &'static str {
        match self {
            Vendor::Dell => "dell",
            Vendor::Hpe => "hpe",
            Vendor::Lenovo => "lenovo",
            Vendor::Supermicro => "supermicro",
            Vendor::Cisco => "cisco",
            Vendor::Fujitsu => "fujitsu",
            Vendor::Ami => "ami",
            Vendor::Huawei => "huawei",
            Vendor::XFusion => "xfusion",
            Vendor::H3c => "h3c",
            Vendor::OpenBmc => "openbmc",
            Vendor::Nvidia => "nvidia",
            Vendor::Sushy => "sushy",
            Vendor::ShoalSim => "shoal-sim",
            Vendor::Other => "other",
            Vendor::Unknown => "unknown",
        }
    }

    /// The maker that a text names.
    pub(super) fn named_in(text: &str) -> Option<Vendor> {
        const WORDS: [(&str, Vendor); 20] = [
            ("shoal", Vendor::ShoalSim),
            ("sushy", Vendor::Sushy),
            ("redvirt", Vendor::Sushy),
            ("dell", Vendor::Dell),
            ("idrac", Vendor::Dell),
            ("hewlett", Vendor::Hpe),
            ("hpe", Vendor::Hpe),
            ("lenovo", Vendor::Lenovo),
            ("supermicro", Vendor::Supermicro),
            ("super micro", Vendor::Supermicro),
            ("cisco", Vendor::Cisco),
            ("fujitsu", Vendor::Fujitsu),
            ("fsas", Vendor::Fujitsu),
            ("xfusion", Vendor::XFusion),
            ("huawei", Vendor::Huawei),
            ("h3c", Vendor::H3c),
            ("nvidia", Vendor::Nvidia),
            ("openbmc", Vendor::OpenBmc),
            ("american megatrends", Vendor::Ami),
            ("megarac", Vendor::Ami),
        ];
        let text = text.to_ascii_lowercase();
        let known = WORDS.iter().find(|(word, _)| text.contains(word)).map(|(_, vendor)| *vendor);
        known.or_else(|| (text == "ami").then_some(Vendor::Ami))
    }
}

/// `Vendor`, else the names of `Oem` members (X13 shows `Oem.Supermicro` and no vendor), else
/// `Product` and `Name`.
fn detect_vendor(root: &Value) -> Vendor {
    let oem = root.get("Oem").and_then(Value::as_object);
    let oem = oem.into_iter().flat_map(|oem| oem.keys().cloned());
    json::text(root, "/Vendor")
        .into_iter()
        .chain(oem)
        .chain(json::text(root, "/Product"))
        .chain(json::text(root, "/Name"))
        .find_map(|text| Vendor::named_in(&text))
        .unwrap_or(Vendor::Other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_maker_is_found_where_the_root_names_it() {
        for (root, vendor) in [
            (json!({"Vendor": "AMI", "Oem": {"Ami": {}}}), Vendor::Ami),
            (json!({"Vendor": null, "Oem": {"Supermicro": {}}}), Vendor::Supermicro),
            (json!({"Product": "Integrated Dell Remote Access Controller"}), Vendor::Dell),
            (json!({"Name": "Redvirt Service"}), Vendor::Sushy),
            (json!({"Vendor": "Contoso"}), Vendor::Other),
            (json!({}), Vendor::Other),
        ] {
            assert_eq!(parse_root(&root).vendor, vendor, "{root}");
        }
    }
}
