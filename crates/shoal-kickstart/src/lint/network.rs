//! The network line: how it gets its address, and whether the addresses fit.
//!
//! Whether a host has the port is not known here. Invariant: what DHCP ignores is not judged.

use super::Lint;
use crate::rules;
use crate::syntax::{Arg, Command};

const VLAN_MAX: u32 = 4095;
const LABEL_MAX: usize = 63;
const HOSTNAME_MAX: usize = 255;

pub fn check(lint: &mut Lint<'_, '_>) {
    let Some(command) = lint.command(&["network"]) else { return };
    device(lint, command);
    vlan(lint, command);
    if let Some(arg) = command.option(&["--addvmportgroup"])
        && let Some(value) = arg.value.as_deref().filter(|value| !value.is_empty())
        && !["0", "1", "true", "false"].contains(&value.to_ascii_lowercase().as_str())
    {
        lint.report_title(&rules::PORTGROUP_VALUE, &arg.word.span);
    }
    match bootproto(lint, command) {
        Method::Static => static_network(lint, command),
        Method::Dhcp => dhcp(lint, command),
    }
}

enum Method {
    Static,
    Dhcp,
}

fn bootproto(lint: &mut Lint<'_, '_>, command: &Command) -> Method {
    let Some(arg) = command.option(&["--bootproto"]) else { return Method::Dhcp };
    match arg.value.as_deref().unwrap_or_default() {
        "static" => return Method::Static,
        "dhcp" => {}
        _ => lint.report_title(&rules::BOOTPROTO_UNKNOWN, &arg.word.span),
    }
    Method::Dhcp
}

fn dhcp(lint: &mut Lint<'_, '_>, command: &Command) {
    if let Some(arg) = command.option(&["--ip", "--netmask", "--gateway"]) {
        let message = match command.option(&["--bootproto"]) {
            None => "without `--bootproto=static` the network uses DHCP, which does not allow this option",
            Some(_) => "DHCP and this option are mutually exclusive",
        };
        return lint.report(&rules::DHCP_WITH_ADDRESS, &arg.word.span, message);
    }
    for name in ["--hostname", "--nameserver"] {
        if let Some(arg) = command.option(&[name]) {
            let message = format!("`{name}` is ignored with DHCP");
            lint.report(&rules::IGNORED_WITH_DHCP, &arg.word.span, message);
        }
    }
}

fn static_network(lint: &mut Lint<'_, '_>, command: &Command) {
    if let Some(arg) = command.option(&["--hostname"])
        && !arg.value.as_deref().is_none_or(|name| name.is_empty() || is_hostname(name))
    {
        lint.report_title(&rules::HOSTNAME_INVALID, &arg.word.span);
    }
    name_servers(lint, command);
    let Some(ip) =
        command.option(&["--ip"]).filter(|arg| arg.value.as_deref().is_some_and(|ip| !ip.is_empty()))
    else {
        return lint.report_title(&rules::STATIC_WITHOUT_IP, &command.name.span);
    };
    let netmask = given(command, "--netmask");
    let gateway = given(command, "--gateway");
    if netmask.is_none() || gateway.is_none() {
        let missing = if netmask.is_none() { "`--netmask=`" } else { "`--gateway=`" };
        lint.report(&rules::NETMASK_GUESSED, &command.name.span, format!("{missing} is missing"));
    }
    let ip_bits = address(lint, ip);
    let gateway_bits = gateway.and_then(|arg| address(lint, arg));
    let mask_bits = netmask.and_then(|arg| {
        let bits = address(lint, arg)?;
        let is_mask = (!bits).wrapping_add(1) & !bits == 0;
        if !is_mask {
            lint.report(&rules::ADDRESS_INVALID, &arg.word.span, "not a netmask");
        }
        is_mask.then_some(bits)
    });
    let (Some(ip_bits), Some(mask)) = (ip_bits, mask_bits) else { return };
    reserved(lint, ip, ip_bits, mask);
    if let (Some(arg), Some(bits)) = (gateway, gateway_bits) {
        reserved(lint, arg, bits, mask);
        if bits & mask != ip_bits & mask {
            lint.report_title(&rules::GATEWAY_OUTSIDE, &arg.word.span);
        }
    }
}

fn given<'c>(command: &'c Command, name: &str) -> Option<&'c Arg> {
    command.option(&[name]).filter(|arg| arg.value.as_deref().is_some_and(|value| !value.is_empty()))
}

fn name_servers(lint: &mut Lint<'_, '_>, command: &Command) {
    let Some(arg) = given(command, "--nameserver") else { return };
    let value = arg.value.as_deref().unwrap_or_default();
    if value.split(',').any(|server| parse_address(server).is_none()) {
        let message = if value.contains(' ') {
            "blank in the list of name servers: separate them by a comma only"
        } else {
            "a name server is not an IPv4 address"
        };
        lint.report(&rules::ADDRESS_INVALID, &arg.word.span, message);
    }
}

/// The address of an option, or a finding.
fn address(lint: &mut Lint<'_, '_>, arg: &Arg) -> Option<u32> {
    let parsed = parse_address(arg.value.as_deref().unwrap_or_default());
    if parsed.is_none() {
        lint.report_title(&rules::ADDRESS_INVALID, &arg.word.span);
    }
    parsed
}

/// Four decimal numbers up to 255. Leading zeros are let pass.
fn parse_address(text: &str) -> Option<u32> {
    let mut bits = 0u32;
    let mut count = 0;
    for part in text.split('.') {
        let is_number = (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        let number = part.parse::<u32>().ok().filter(|number| is_number && *number <= 255)?;
        bits = bits.wrapping_shl(8) | number;
        count += 1;
    }
    (count == 4).then_some(bits)
}

fn reserved(lint: &mut Lint<'_, '_>, arg: &Arg, bits: u32, mask: u32) {
    let host = bits & !mask;
    if mask.count_ones() < 31 && (host == 0 || host == !mask) {
        lint.report_title(&rules::ADDRESS_RESERVED, &arg.word.span);
    }
}

fn is_hostname(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=LABEL_MAX).contains(&label.len())
            && label.chars().all(is_inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= HOSTNAME_MAX && name.strip_suffix('.').unwrap_or(name).split('.').all(is_label)
}

fn device(lint: &mut Lint<'_, '_>, command: &Command) {
    let Some(arg) = command.option(&["--device"]).filter(|arg| arg.value.is_some()) else {
        return lint.report_title(&rules::DEVICE_MISSING, &command.name.span);
    };
    let name = arg.value.as_deref().unwrap_or_default();
    let numbered = |start: &str| {
        name.strip_prefix(start)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    if numbered("vmnic") || numbered("vusb") {
        lint.report_title(&rules::DEVICE_BY_NUMBER, &arg.word.span);
    } else if !is_mac(name) {
        lint.report_title(&rules::DEVICE_UNKNOWN, &arg.word.span);
    }
}

fn is_mac(name: &str) -> bool {
    let pairs: Vec<&str> = name.split([':', '-']).collect();
    pairs.len() == 6
        && pairs.iter().all(|pair| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn vlan(lint: &mut Lint<'_, '_>, command: &Command) {
    let Some(arg) = given(command, "--vlanid") else { return };
    let id = arg.value.as_deref().and_then(|value| value.trim().parse::<u32>().ok());
    if id.is_none_or(|id| id > VLAN_MAX) {
        lint.report_title(&rules::VLAN_INVALID, &arg.word.span);
    }
}
