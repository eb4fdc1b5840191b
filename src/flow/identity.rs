//! Which system of a BMC's service is meant. Pure.
//!
//! Invariant: a system is chosen only if its serial number, or, where the service reports none, its
//! UUID or id equals the server's record; and never one of two.

use url::Url;

use crate::domain::{HostId, Server};
use shoal_redfish::System;

/// Why no system of a BMC is the one that a record means.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SystemMismatch {
    /// None has the id or UUID of the record.
    #[error("{0}")]
    NotThere(String),
    /// None reports a serial number, and the record has nothing else to compare.
    #[error("{0}")]
    NoSerial(String),
    #[error("{0}")]
    Several(String),
    #[error("{0}")]
    OtherSerial(String),
}

/// The system that the record means. Systems that cannot be reset (GPU baseboards) are none.
pub fn choose_system(systems: Vec<System>, server: &Server) -> Result<System, SystemMismatch> {
    let (serial, address) = (&server.serial, &server.bmc_address);
    let hosts: Vec<System> = systems.into_iter().filter(|system| system.can_reset).collect();
    let found = describe(&hosts);
    let meant: Vec<System> = hosts.into_iter().filter(|system| is_meant(system, server)).collect();
    let remedy = differs_in_case(&meant, serial.as_str()).map(|reported| {
        format!("; only case differs, and the BMC reports {reported}: register the server with exactly that serial number")
    });
    let remedy = remedy.unwrap_or_default();
    if meant.is_empty() {
        return Err(SystemMismatch::NotThere(format!(
            "the BMC at {address} has no system with the id or UUID of server {serial}; it has {found}"
        )));
    }
    let (mut matching, others): (Vec<System>, Vec<System>) =
        meant.into_iter().partition(|system| system.has_serial(serial.as_str()));
    let unnamed: Vec<System> = others.into_iter().filter(|system| system.serial.is_none()).collect();
    if matching.is_empty() && !unnamed.is_empty() {
        if server.system_id.is_none() && server.system_uuid.is_none() {
            return Err(SystemMismatch::NoSerial(format!(
                "the BMC at {address} reports no serial number: give server {serial} a system_uuid or system_id; it has {found}"
            )));
        }
        matching = unnamed;
    }
    match (matching.pop(), matching.is_empty()) {
        (Some(system), true) => Ok(system),
        (Some(_), false) => Err(SystemMismatch::Several(format!(
            "the BMC at {address} has several systems that could be server {serial}: give it a system_id; it has {found}"
        ))),
        (None, _) => Err(SystemMismatch::OtherSerial(format!(
            "the BMC at {address} is not that of server {serial}: it has {found}{remedy}"
        ))),
    }
}

/// A serial number that a system reports, and that is `serial` but for case.
fn differs_in_case(systems: &[System], serial: &str) -> Option<String> {
    let mut reported = systems.iter().flat_map(System::serial_numbers);
    reported.find(|reported| reported.eq_ignore_ascii_case(serial)).map(str::to_owned)
}

/// Which host a system of the BMC at `address` is.
pub fn host_id(address: &Url, system: &System) -> HostId {
    let serial = system.service_tag().or(system.serial.as_deref());
    HostId {
        uuid: system.uuid.clone(),
        manufacturer: system.manufacturer.clone(),
        serial: serial.map(|serial| serial.trim().to_owned()),
        ..HostId::at(address, system.link.clone())
    }
}

/// A system that gave no answer may be the one that is looked for.
pub fn unread(systems: &[System]) -> Option<String> {
    let (system, why) = systems.iter().find_map(|system| Some((system, system.unread.as_ref()?)))?;
    Some(format!("system {} could not be read ({why})", system.id))
}

/// Whether the system is the one that `system_id` and `system_uuid` name, where they are given.
fn is_meant(system: &System, server: &Server) -> bool {
    let uuid = system.uuid.as_deref().unwrap_or_default();
    server.system_id.as_ref().is_none_or(|id| *id == system.id)
        && server.system_uuid.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(uuid))
}

fn describe(systems: &[System]) -> String {
    let list: Vec<String> = systems
        .iter()
        .take(8)
        .map(|system| {
            let sku = system.sku.as_ref().map(|sku| format!(", SKU {sku}")).unwrap_or_default();
            let serial = system.serial.as_deref().unwrap_or("not reported");
            format!("{} (serial number {serial}{sku})", system.id)
        })
        .collect();
    if list.is_empty() { "no system that can be reset".to_owned() } else { list.join(", ") }
}

/// The only host of a service, or the one with the id `id` where the server record names one.
pub fn only_host(systems: Vec<System>, id: Option<&str>) -> Result<System, String> {
    let hosts: Vec<System> = systems.into_iter().filter(System::is_host).collect();
    let found = describe(&hosts);
    let mut meant: Vec<System> =
        hosts.into_iter().filter(|system| id.is_none_or(|id| id == system.id)).collect();
    match (meant.pop(), meant.is_empty()) {
        (Some(system), true) => Ok(system),
        (Some(_), false) => Err(format!("the BMC has several systems: say which is meant; it has {found}")),
        (None, _) => Err(format!("the BMC has no such system; it has {found}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(serial: &str) -> Server {
        Server {
            serial: serial.parse().unwrap(),
            bmc_address: "https://10.0.0.5".parse().unwrap(),
            bmc_username: "root".to_owned(),
            bmc_password: shoal_base::Password::new("x".to_owned()),
            tls: shoal_base::world::TlsPolicy::Verify,
            system_id: None,
            system_uuid: None,
            management_address: None,
            protected: false,
            labels: Default::default(),
            variables: Default::default(),
        }
    }

    fn system(maker: &str, serial: &str, sku: &str) -> System {
        let mut system = System::default();
        (system.id, system.can_reset) = ("1".to_owned(), true);
        (system.manufacturer, system.serial) = (Some(maker.to_owned()), Some(serial.to_owned()));
        system.sku = Some(sku.to_owned());
        system
    }

    #[test]
    fn the_sku_is_a_service_tag_on_dell_hosts_only() {
        let board = "CNFCP0012345678";
        assert!(choose_system(vec![system("Dell Inc.", board, "ABC1234")], &server("ABC1234")).is_ok());
        assert!(choose_system(vec![system("Dell Inc.", board, "ABC1234")], &server(board)).is_ok());
        assert!(choose_system(vec![system("Dell Inc.", board, " ABC1234 ")], &server("ABC1234")).is_ok());
        let refusal = choose_system(vec![system("HPE", "CZ1", "P40424-B21")], &server("P40424-B21"))
            .unwrap_err()
            .to_string();
        assert!(refusal.contains("serial number CZ1, SKU P40424-B21"), "{refusal}");
    }

    #[test]
    fn a_serial_number_is_compared_exactly_but_for_blanks_around_it() {
        for shown in ["CZ1a", " CZ1a ", "CZ1a\t"] {
            assert!(choose_system(vec![system("HPE", shown, "P1")], &server("CZ1a")).is_ok(), "{shown}");
        }
        for shown in ["CZ1", "CZ 1A", "CZ1AB", "", "cz1a", "CZ1a"] {
            assert!(choose_system(vec![system("HPE", shown, "P1")], &server("CZ1A")).is_err(), "{shown}");
        }
    }

    #[test]
    fn where_only_case_differs_the_reason_says_what_to_register() {
        let refusal = |maker: &str, shown: &str, sku: &str| {
            choose_system(vec![system(maker, shown, sku)], &server("cz1a")).unwrap_err().to_string()
        };
        let remedy = "the BMC reports CZ1A: register the server with exactly that serial number";
        assert!(refusal("HPE", "CZ1A", "P1").ends_with(remedy));
        assert!(refusal("Dell Inc.", "CN7016", "CZ1A").ends_with(remedy));
        assert!(!refusal("HPE", "CN7016", "CZ1A").contains("register"));
    }
}
