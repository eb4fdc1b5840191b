//! The network of the maintenance system: DHCP on every link, or fixed addresses on one.
//!
//! Busybox does the work; this decides what it does. Invariant: names that the recipe brings resolve without DNS.

use std::time::Duration;

use shoal_recipe::{Job, Network, StaticNetwork};

use crate::log::Log;
use crate::machine::Machine;

/// Switches may take half a minute to forward, and cards to negotiate.
const CARRIER_TRIES: u32 = 60;
const DHCP_ROUNDS: u32 = 3;
const ETHERNET: &str = "1";
const SCRIPT: &str = "/run/shoal-udhcpc";
/// What the DHCP client runs with each lease. Later links have a higher metric, so that the first one is used.
const SCRIPT_TEXT: &str = r#"#!/bin/sh
case "$1" in
bound|renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/${mask:-24}" dev "$interface"
    metric=$(cat "/sys/class/net/$interface/ifindex")
    for gateway in $router; do
        ip route replace default via "$gateway" dev "$interface" metric "$metric"
        break
    done
    for server in $dns; do
        grep -qs "^nameserver $server$" /etc/resolv.conf || echo "nameserver $server" >> /etc/resolv.conf
    done
    ;;
esac
"#;

/// Brings the network up, or says in one sentence why it is down.
pub fn start(machine: &Machine, log: &Log, network: &Network, job: &Job) -> Result<(), String> {
    write_hosts(machine, job)?;
    machine.run("ip", &["link", "set", "lo", "up"])?;
    match network {
        Network::Static(network) => start_static(machine, log, network),
        Network::Dhcp => start_dhcp(machine, log),
    }
}

/// `/etc/hosts` and name servers; the maintenance system has neither.
fn write_hosts(machine: &Machine, job: &Job) -> Result<(), String> {
    let own = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    let hosts = job.hosts.iter().map(|(name, address)| format!("{address} {name}\n"));
    let hosts: String = std::iter::once(own).chain(hosts).collect();
    let write =
        |file: &str, text: &str| machine.write(file, text).map_err(|error| format!("{file}: {error}"));
    write("/etc/hosts", &hosts)?;
    write("/etc/nsswitch.conf", "hosts: files dns\n")?;
    write("/etc/resolv.conf", "")
}

/// The network cards that there are.
pub fn links(machine: &Machine) -> Vec<String> {
    let is_card = |name: &String| {
        let folder = format!("/sys/class/net/{name}");
        let is_ethernet = machine.text(&format!("{folder}/type")).as_deref() == Some(ETHERNET);
        is_ethernet && machine.path(&format!("{folder}/device")).exists()
    };
    machine.names("/sys/class/net").into_iter().filter(is_card).collect()
}

fn has_carrier(machine: &Machine, link: &str) -> bool {
    machine.text(&format!("/sys/class/net/{link}/carrier")).as_deref() == Some("1")
}

/// Links that have a carrier, once any has one.
fn wait_for_carrier(machine: &Machine, links: &[String]) -> Vec<String> {
    for _ in 0..CARRIER_TRIES {
        if links.iter().any(|link| has_carrier(machine, link)) {
            // Others may be a moment later.
            machine.sleep(Duration::from_secs(2));
            break;
        }
        machine.sleep(Duration::from_secs(1));
    }
    links.iter().filter(|link| has_carrier(machine, link)).cloned().collect()
}

fn start_static(machine: &Machine, log: &Log, network: &StaticNetwork) -> Result<(), String> {
    let is_ours = |link: &String| {
        let mac = machine.text(&format!("/sys/class/net/{link}/address"));
        mac.is_some_and(|mac| mac.eq_ignore_ascii_case(&network.mac))
    };
    let link = links(machine).into_iter().find(is_ours);
    let link = link.ok_or_else(|| format!("no network card has the MAC address {}", network.mac))?;
    machine.run("ip", &["link", "set", &link, "up"])?;
    if wait_for_carrier(machine, std::slice::from_ref(&link)).is_empty() {
        return Err(format!("{link} has no carrier"));
    }
    let device = match network.vlan {
        None => link,
        Some(vlan) => {
            let (name, id) = (format!("{link}.{vlan}"), vlan.to_string());
            machine.run("ip", &["link", "add", "link", &link, "name", &name, "type", "vlan", "id", &id])?;
            machine.run("ip", &["link", "set", &name, "up"])?;
            name
        }
    };
    for address in &network.addresses {
        machine.run("ip", &["addr", "add", &address.to_string(), "dev", &device])?;
    }
    if let Some(gateway) = network.gateway {
        let family = if gateway.is_ipv6() { "-6" } else { "-4" };
        machine
            .run("ip", &[family, "route", "add", "default", "via", &gateway.to_string(), "dev", &device])?;
    }
    let servers: String = network.dns.iter().map(|server| format!("nameserver {server}\n")).collect();
    machine.write("/etc/resolv.conf", &servers).map_err(|error| format!("/etc/resolv.conf: {error}"))?;
    log.line(&format!("network: {device} has its fixed addresses"));
    Ok(())
}

fn start_dhcp(machine: &Machine, log: &Log) -> Result<(), String> {
    let links = links(machine);
    if links.is_empty() {
        return Err("this machine has no network card with a driver".to_owned());
    }
    machine.write(SCRIPT, SCRIPT_TEXT).map_err(|error| format!("{SCRIPT}: {error}"))?;
    let script = machine.path(SCRIPT);
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, executable).map_err(|error| format!("{SCRIPT}: {error}"))?;
    for link in &links {
        // A card that cannot be started leaves the others.
        machine.run("ip", &["link", "set", link, "up"]).ok();
    }
    let mut reasons = Vec::new();
    for _ in 0..DHCP_ROUNDS {
        reasons.clear();
        let ready = wait_for_carrier(machine, &links);
        let mut leases = 0;
        for link in &ready {
            match machine
                .run("udhcpc", &["-i", link, "-n", "-t", "6", "-T", "3", "-s", &script.to_string_lossy()])
            {
                Ok(_) => {
                    log.line(&format!("network: {link} has a lease"));
                    leases += 1;
                }
                Err(error) => reasons.push(format!("{link}: {error}")),
            }
        }
        if leases > 0 {
            return Ok(());
        }
    }
    let waiting =
        links.iter().filter(|link| !has_carrier(machine, link)).map(|link| format!("{link}: no carrier"));
    reasons.extend(waiting);
    Err(format!("no network: {}", reasons.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestMachine, job};

    fn card(test: &TestMachine, name: &str, mac: &str, carrier: &str) {
        let folder = format!("/sys/class/net/{name}");
        for (file, text) in [("type", "1"), ("address", mac), ("carrier", carrier), ("device/x", "")] {
            test.file(&format!("{folder}/{file}"), text);
        }
    }

    fn started(test: &TestMachine, network: &Network) -> Result<(), String> {
        test.programs.on("ip", |_| (true, String::new()));
        start(&test.machine(), &Log::new(Vec::new()), network, &job())
    }

    #[test]
    fn dhcp_is_tried_on_every_link_with_a_carrier() {
        let test = TestMachine::new();
        card(&test, "eth0", "aa:00:00:00:00:01", "0");
        card(&test, "eth1", "aa:00:00:00:00:02", "1");
        card(&test, "eth2", "aa:00:00:00:00:03", "1");
        test.file("/sys/class/net/lo/type", "772");
        test.programs.on("udhcpc", |args| (args[1] == "eth2", "no lease, failing".to_owned()));
        assert_eq!(started(&test, &Network::Dhcp), Ok(()));
        let clients: Vec<String> =
            test.programs.calls().into_iter().filter(|call| call.starts_with("udhcpc")).collect();
        assert!(clients.len() == 2 && clients[0].contains("-i eth1 ") && clients[1].contains("-i eth2 "));
        assert!(test.machine().text("/etc/hosts").unwrap().contains("10.0.0.5 ctl"));
    }

    #[test]
    fn without_a_lease_every_link_is_named() {
        let test = TestMachine::new();
        card(&test, "eth0", "aa:00:00:00:00:01", "0");
        card(&test, "eth1", "aa:00:00:00:00:02", "1");
        test.programs.on("udhcpc", |_| (false, "udhcpc: no lease, failing\n".to_owned()));
        let error = started(&test, &Network::Dhcp).unwrap_err();
        assert!(
            error.contains("eth1: udhcpc failed: udhcpc: no lease") && error.contains("eth0: no carrier"),
            "{error}"
        );
        assert!(started(&TestMachine::new(), &Network::Dhcp).unwrap_err().contains("no network card"));
    }

    #[test]
    fn fixed_addresses_go_to_the_card_with_the_mac_and_its_vlan() {
        let test = TestMachine::new();
        card(&test, "eth0", "aa:00:00:00:00:01", "1");
        card(&test, "eth1", "AA:00:00:00:00:02", "1");
        let mut network = StaticNetwork {
            mac: "aa:00:00:00:00:02".to_owned(),
            addresses: vec!["10.1.0.9/24".parse().unwrap()],
            gateway: Some("10.1.0.1".parse().unwrap()),
            dns: vec!["10.1.0.2".parse().unwrap()],
            vlan: Some(7),
        };
        assert_eq!(started(&test, &Network::Static(network.clone())), Ok(()));
        let expected = [
            "ip link set lo up",
            "ip link set eth1 up",
            "ip link add link eth1 name eth1.7 type vlan id 7",
            "ip link set eth1.7 up",
            "ip addr add 10.1.0.9/24 dev eth1.7",
            "ip -4 route add default via 10.1.0.1 dev eth1.7",
        ];
        assert_eq!(test.programs.calls(), expected);
        assert_eq!(test.machine().text("/etc/resolv.conf").as_deref(), Some("nameserver 10.1.0.2"));
        network.mac = "aa:00:00:00:00:09".to_owned();
        assert!(
            started(&test, &Network::Static(network)).unwrap_err().contains("no network card has the MAC")
        );
    }
}
