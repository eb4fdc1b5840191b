//! The name of a host in DNS. Pure.
//!
//! Invariant: a name is never made up: it is the management address or a label, with the domain that was given.

use clap::Args;
use url::Host;

use super::hosts::InstalledHost;
use crate::domain::management_url;

/// What a label is called that other tools' inventories are imported with.
const DEFAULT_LABEL: &str = "hostname";
const NAME_BYTES_MAX: usize = 253;
const PART_BYTES_MAX: usize = 63;

/// Where the host names come from.
#[derive(Clone, Debug, Default, Args)]
pub struct NameArgs {
    /// Label of the servers that holds the host name. [default: the management address if it is a name, else the label hostname]
    #[arg(long, value_name = "NAME")]
    fqdn_label: Option<String>,
    /// Domain of host names without a dot, such as lab.example.
    #[arg(long, value_parser = domain)]
    domain: Option<String>,
}

fn domain(text: &str) -> Result<String, String> {
    let domain = text.trim_matches('.').to_ascii_lowercase();
    let is_domain = domain.split('.').all(is_part) && domain.len() < NAME_BYTES_MAX;
    is_domain.then_some(domain).ok_or_else(|| "not the name of a domain".to_owned())
}

impl NameArgs {
    /// The fully qualified name, lower case; or why there is none and what to do.
    pub fn fqdn(&self, host: &InstalledHost) -> Result<String, String> {
        let label =
            |name: &str| host.server["labels"][name].as_str().map(str::trim).filter(|text| !text.is_empty());
        if let Some(name) = &self.fqdn_label {
            let text = label(name)
                .ok_or_else(|| format!("its server has no label {name:?}, which is to hold its name"))?;
            return self.qualified(text).map_err(|why| format!("its label {name:?} is {text:?}: {why}"));
        }
        let address = address(host);
        let names = [address.and_then(name_of), label(DEFAULT_LABEL).map(str::to_owned)];
        let mut refused = None;
        for text in names.into_iter().flatten() {
            match self.qualified(&text) {
                Ok(name) => return Ok(name),
                Err(why) => refused = refused.or_else(|| Some(format!("its host name is {text:?}: {why}"))),
            }
        }
        Err(refused.unwrap_or_else(|| {
            let known = address.map_or("it has no management address".to_owned(), |address| {
                format!("its management address {address} is no name")
            });
            format!("no host name is known: {known}, and its server no label {DEFAULT_LABEL:?} (--fqdn-label, --domain)")
        }))
    }

    /// The name, or the address where there is none.
    pub fn host(&self, host: &InstalledHost) -> Option<String> {
        self.fqdn(host).ok().or_else(|| {
            let url = management_url(address(host)?)?;
            Some(url.host_str()?.trim_matches(['[', ']']).to_owned())
        })
    }

    fn qualified(&self, text: &str) -> Result<String, String> {
        let mut name = text.trim_end_matches('.').to_ascii_lowercase();
        if !name.contains('.') {
            let domain = self.domain.as_ref().ok_or("not fully qualified; name its domain by --domain")?;
            name = format!("{name}.{domain}");
        }
        let parts: Vec<&str> = name.split('.').collect();
        let is_address = parts.last().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        match parts.iter().all(|part| is_part(part)) && !is_address && name.len() <= NAME_BYTES_MAX {
            true => Ok(name),
            false => Err("not a host name of letters, digits and hyphens".to_owned()),
        }
    }
}

/// Where the installed system answered, else where it is to answer.
pub fn address(host: &InstalledHost) -> Option<&str> {
    let answered = host.job["installed"]["management_address"].as_str();
    answered.or_else(|| host.server["management_address"].as_str())
}

/// The host of an address, if it is written as a name.
fn name_of(address: &str) -> Option<String> {
    match management_url(address)?.host()? {
        Host::Domain(name) => Some(name.to_owned()),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

fn is_part(part: &str) -> bool {
    let is_hyphen = |byte: Option<&u8>| byte == Some(&b'-');
    let bytes = part.as_bytes();
    let is_sound = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    (1..=PART_BYTES_MAX).contains(&bytes.len())
        && bytes.iter().all(is_sound)
        && !is_hyphen(bytes.first())
        && !is_hyphen(bytes.last())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn host(address: Value, labels: Value) -> InstalledHost {
        InstalledHost { job: json!({}), server: json!({"management_address": address, "labels": labels}) }
    }

    fn names(fqdn_label: Option<&str>, domain: Option<&str>) -> NameArgs {
        NameArgs { fqdn_label: fqdn_label.map(str::to_owned), domain: domain.map(str::to_owned) }
    }

    #[test]
    fn the_management_address_is_the_name_and_the_label_hostname_comes_after_it() {
        let none = names(None, None);
        let lab = names(None, Some("lab.example"));
        let of = |names: &NameArgs, address, labels| names.fqdn(&host(address, labels));
        assert_eq!(of(&none, json!("ESX1.lab.example:8443"), json!({})).unwrap(), "esx1.lab.example");
        assert_eq!(of(&lab, json!("esx1"), json!({"hostname": "other"})).unwrap(), "esx1.lab.example");
        assert_eq!(of(&none, json!("esx1"), json!({"hostname": "esx1.a.b"})).unwrap(), "esx1.a.b");
        assert_eq!(of(&lab, json!("10.0.0.1"), json!({"hostname": "ESX7"})).unwrap(), "esx7.lab.example");
        let unqualified = of(&none, json!("esx1"), json!({})).unwrap_err();
        assert!(
            unqualified.contains("\"esx1\": not fully qualified; name its domain by --domain"),
            "{unqualified}"
        );
        let unknown = of(&lab, json!("10.0.0.1"), json!({})).unwrap_err();
        assert!(unknown.contains("10.0.0.1 is no name") && unknown.contains("--fqdn-label"), "{unknown}");
        assert!(of(&lab, Value::Null, json!({})).unwrap_err().contains("no management address"));
        for bad in ["a_b.lab.example", "-a.b", "10.0.0.1", "a..b", "é.b"] {
            let why = of(&none, Value::Null, json!({"hostname": bad})).unwrap_err();
            assert!(why.contains("letters, digits and hyphens"), "{bad}: {why}");
        }
    }

    #[test]
    fn a_label_that_is_named_is_the_only_one() {
        let named = names(Some("dns"), Some("lab.example"));
        let labels = json!({"dns": "Esx9.", "hostname": "x"});
        assert_eq!(named.fqdn(&host(json!("y.z"), labels)).unwrap(), "esx9.lab.example");
        let why = named.fqdn(&host(json!("y.z"), json!({"hostname": "x"}))).unwrap_err();
        assert_eq!(why, "its server has no label \"dns\", which is to hold its name");
    }

    #[test]
    fn where_the_system_answered_comes_before_the_record_and_an_address_is_a_host_too() {
        let mut moved = host(json!("new.lab.example"), json!({}));
        moved.job = json!({"installed": {"management_address": "old.lab.example"}});
        assert_eq!(names(None, None).fqdn(&moved).unwrap(), "old.lab.example");
        let bare = |address: &str| names(None, None).host(&host(json!(address), json!({})));
        assert_eq!(bare("10.0.0.1:8443").as_deref(), Some("10.0.0.1"));
        assert_eq!(bare("[fd00::5]:444").as_deref(), Some("fd00::5"));
        assert_eq!(names(None, None).host(&host(Value::Null, json!({}))), None);
        assert_eq!(domain("Lab.Example."), Ok("lab.example".to_owned()));
        assert!(domain("lab example").is_err() && domain("").is_err());
    }
}
