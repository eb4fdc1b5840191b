//! How the maintenance system reaches the network.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use crate::reader::Reader;

const ADDRESSES_MAX: usize = 8;

/// DHCP on every link, or one link with fixed addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    #[default]
    Dhcp,
    Static(StaticNetwork),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticNetwork {
    /// Six pairs of hex digits with colons, in lower case.
    pub mac: String,
    pub addresses: Vec<IpNet>,
    pub gateway: Option<IpAddr>,
    pub dns: Vec<IpAddr>,
    pub vlan: Option<u16>,
}

impl Network {
    pub(crate) fn read(reader: &Reader<'_>) -> Option<Network> {
        if !reader.has("network") {
            return Some(Network::Dhcp);
        }
        let network = reader.object("network")?;
        network.only(&["mac", "addresses", "gateway", "dns", "vlan"], &[]);
        let mac = network.parsed("mac", "must be a MAC address, such as 0c:42:a1:00:00:01", parse_mac);
        if !network.has("mac") {
            network.refuse("mac", "is missing: name the network card by its MAC address");
        }
        let must = "must be an address with its prefix length, such as 10.1.0.9/24";
        let addresses: Vec<IpNet> = network.list("addresses", ADDRESSES_MAX, must, |text| text.parse().ok());
        if !network.has("addresses") || network.value("addresses").is_some_and(|list| list == &json!([])) {
            network.refuse("addresses", "is missing: give at least one, or leave `network` out for DHCP");
        }
        let gateway: Option<IpAddr> =
            network.parsed("gateway", "must be an IP address", |text| text.parse().ok());
        if gateway.is_some_and(|gateway| !addresses.iter().any(|net| net.contains(&gateway))) {
            network.refuse("gateway", "is in none of the networks of `addresses`");
        }
        let dns = network.list("dns", ADDRESSES_MAX, "must be an IP address", |text| text.parse().ok());
        let vlan = network.value("vlan").map(|vlan| vlan.as_u64().filter(|vlan| (1..=4094).contains(vlan)));
        if vlan == Some(None) {
            network.refuse("vlan", "must be a number from 1 to 4094");
        }
        let vlan = vlan.flatten().and_then(|vlan| u16::try_from(vlan).ok());
        Some(Network::Static(StaticNetwork { mac: mac?, addresses, gateway, dns, vlan }))
    }

    /// Nothing for DHCP.
    pub fn to_json(&self) -> Value {
        let Network::Static(network) = self else { return Value::Null };
        json!({
            "mac": network.mac,
            "addresses": network.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "gateway": network.gateway.map(|gateway| gateway.to_string()),
            "dns": network.dns.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "vlan": network.vlan,
        })
    }
}

fn parse_mac(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase().replace('-', ":");
    let pairs: Vec<&str> = text.split(':').collect();
    let is_pair = |pair: &&str| pair.len() == 2 && pair.chars().all(|c| c.is_ascii_hexdigit());
    (pairs.len() == 6 && pairs.iter().all(is_pair)).then_some(text)
}
