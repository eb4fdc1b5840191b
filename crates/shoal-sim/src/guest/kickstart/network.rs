//! `network`: addresses that fit each other.
//!
//! Whether the network answers is not asked here. Source: the 6.7 installer. Invariant: a
//! value that is not known is a good one.

use std::net::Ipv4Addr;

use super::KickstartFindings;
use super::options::{CommandOptions, is_unknown, shown};

const OPTIONS: [&str; 10] = [
    "--bootproto",
    "--device",
    "--ip",
    "--netmask",
    "--gateway",
    "--nameserver",
    "--hostname",
    "--vlanid",
    "--addvmportgroup",
    "--nodns",
];
const VLAN_MAX: u16 = 4095;

/// Why `network` is refused.
pub fn check(words: &[String], findings: &mut KickstartFindings) -> Result<(), String> {
    let options = CommandOptions::of(words, &OPTIONS, 0, findings);
    let is_static = match options.value("--bootproto") {
        Some("static") => true,
        None | Some("dhcp") => false,
        Some(other) if is_unknown(other) => return Ok(()),
        Some(other) => {
            findings.warn(format!("network: unknown --bootproto \"{}\", DHCP is used", shown(other)));
            false
        }
    };
    check_device(&options)?;
    check_vlan(&options)?;
    if let Some(value) = options.value("--addvmportgroup")
        && !matches!(value, "0" | "1" | "true" | "false")
        && !is_unknown(value)
    {
        findings.warn(format!("network: --addvmportgroup=\"{}\" is neither true nor false", shown(value)));
    }
    if is_static { check_static(&options, findings) } else { check_dhcp(&options, findings) }
}

fn check_dhcp(options: &CommandOptions<'_>, findings: &mut KickstartFindings) -> Result<(), String> {
    if let Some(name) = ["--ip", "--netmask", "--gateway"].into_iter().find(|name| options.has(name)) {
        return Err(format!("network: {name} cannot be used with --bootproto=dhcp"));
    }
    for name in ["--hostname", "--nameserver"] {
        if options.has(name) {
            findings.warn_network(format!("network: {name} is ignored with --bootproto=dhcp"));
        }
    }
    Ok(())
}

fn check_static(options: &CommandOptions<'_>, findings: &mut KickstartFindings) -> Result<(), String> {
    check_names(options)?;
    let ip = options.value("--ip").ok_or("network: --bootproto=static needs --ip")?;
    let ip = address("--ip", ip)?;
    let mask = options.value("--netmask").map(|mask| address("--netmask", mask)).transpose()?;
    let gateway = options.value("--gateway").map(|gateway| address("--gateway", gateway)).transpose()?;
    for (name, is_missing) in [("--netmask", mask.is_none()), ("--gateway", gateway.is_none())] {
        if is_missing {
            findings.warn_network(format!("network: {name} is missing and was guessed"));
        }
    }
    let Some(ip) = ip else { return Ok(()) };
    let mask = match mask {
        Some(None) => return Ok(()),
        Some(Some(mask)) => {
            prefix(mask).ok_or_else(|| format!("network: the netmask {mask} is not valid"))?
        }
        None => guessed_prefix(ip),
    };
    check_host("--ip", ip, ip, mask)?;
    match gateway.flatten() {
        Some(gateway) => check_host("--gateway", gateway, ip, mask),
        None => Ok(()),
    }
}

/// An address of a host in the subnet of `ip`.
fn check_host(name: &str, host: Ipv4Addr, ip: Ipv4Addr, prefix: u32) -> Result<(), String> {
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    let (host_bits, subnet) = (u32::from(host), u32::from(ip) & mask);
    if host_bits & mask != subnet {
        return Err(format!("network: {name} {host} is not in the subnet of {ip}/{prefix}"));
    }
    if prefix < 31 && (host_bits == subnet || host_bits == subnet | !mask) {
        return Err(format!("network: {name} {host} is the network or broadcast address of its subnet"));
    }
    Ok(())
}

/// `None` where the value is not known.
fn address(name: &str, value: &str) -> Result<Option<Ipv4Addr>, String> {
    if is_unknown(value) {
        return Ok(None);
    }
    let invalid = || format!("network: {name} \"{}\" is not a valid address", shown(value));
    value.parse().map(Some).map_err(|_| invalid())
}

fn prefix(mask: Ipv4Addr) -> Option<u32> {
    let bits = u32::from(mask);
    let is_contiguous = bits.leading_ones() + bits.trailing_zeros() >= 32;
    (bits != 0 && is_contiguous).then_some(bits.leading_ones())
}

/// By the class of the address.
fn guessed_prefix(ip: Ipv4Addr) -> u32 {
    match ip.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    }
}

fn check_names(options: &CommandOptions<'_>) -> Result<(), String> {
    if let Some(list) = options.value("--nameserver") {
        for server in list.split(',') {
            address("--nameserver", server)?;
        }
        // The words after a blank are arguments of their own, which the list ends with.
        if list.ends_with(',') {
            return Err("network: --nameserver has a blank after its comma".to_owned());
        }
    }
    match options.value("--hostname") {
        Some(name) if !is_host_name(name) => {
            Err(format!("network: --hostname \"{}\" is not a valid host name", shown(name)))
        }
        _ => Ok(()),
    }
}

/// Letters, digits and hyphens; a digit may stand first, an underscore nowhere.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let fits = (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
        fits && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    is_unknown(name) || (name.len() <= 255 && name.split('.').all(is_label))
}

/// A NIC by its name or its MAC address. Which NICs there are is not known here.
fn check_device(options: &CommandOptions<'_>) -> Result<(), String> {
    let is_mac = |text: &str| {
        let parts: Vec<&str> = text.split([':', '-']).collect();
        let is_octet = |part: &&str| part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit());
        parts.len() == 6 && parts.iter().all(is_octet)
    };
    let is_nic = |text: &str| text.strip_prefix("vmnic").is_some_and(|number| number.parse::<u8>().is_ok());
    match options.value("--device") {
        Some(device) if !is_mac(device) && !is_nic(device) && !is_unknown(device) => {
            Err(format!("network: the device \"{}\" was not found", shown(device)))
        }
        _ => Ok(()),
    }
}

fn check_vlan(options: &CommandOptions<'_>) -> Result<(), String> {
    match options.value("--vlanid") {
        Some(id) if !is_unknown(id) && id.parse::<u16>().ok().is_none_or(|id| id > VLAN_MAX) => {
            Err(format!("network: --vlanid \"{}\" is not from 0 to {VLAN_MAX}", shown(id)))
        }
        _ => Ok(()),
    }
}
