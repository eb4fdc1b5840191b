//! The inventory record of one server.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use shoal_base::world::TlsPolicy;
use shoal_base::{Password, is_loopback};
use url::Url;

use super::{FieldError, Serial, Variables};

/// A server and how to reach its BMC.
#[derive(Clone, Debug)]
pub struct Server {
    /// Must equal the SerialNumber that the BMC reports for the system.
    pub serial: Serial,
    /// Scheme, host and port; the Redfish service is at its `/redfish/v1/`.
    pub bmc_address: Url,
    pub bmc_username: String,
    pub bmc_password: Password,
    pub tls: TlsPolicy,
    /// Which system of the service it is, where the service reports no serial number.
    pub system_id: Option<String>,
    /// Compared with the system's UUID where the service reports no serial number.
    pub system_uuid: Option<String>,
    /// Host name or address of the installed ESXi, with a port if that is not 443.
    pub management_address: Option<String>,
    /// Jobs on it are refused.
    pub protected: bool,
    pub labels: BTreeMap<String, String>,
    /// For the templates of its kickstarts; a job's own come before them.
    pub variables: Variables,
}

impl Server {
    /// Whether another machine may be behind the record once `after` has replaced this one: a running job has checked
    /// the one before, and only that one.
    pub fn leads_elsewhere(&self, after: &Server) -> bool {
        (&self.bmc_address, &self.system_id, &self.system_uuid)
            != (&after.bmc_address, &after.system_id, &after.system_uuid)
    }
}

/// Checks a `bmc_address` against the TLS policy that goes with it.
///
/// The address is a place to send credentials to: `http://` off loopback needs the explicit word
/// `tls: none`, and neither user info, query nor fragment may hide in it.
pub fn check_bmc_address(text: &str, tls: &TlsPolicy) -> Result<Url, FieldError> {
    let refuse = |message: &str| FieldError::new("/bmc_address", message);
    let url = Url::parse(text)
        .map_err(|_| refuse("give a URL such as https://10.0.0.5 or https://bmc1.example:8443"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(refuse("the scheme must be https or http, followed by a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("put the account into bmc_username and bmc_password, not into the address"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("leave out the query and the fragment"));
    }
    if url.scheme() == "http" && !is_loopback(&url) && *tls != TlsPolicy::None {
        return Err(refuse(
            "plain http off loopback sends the password in clear: use https, or say tls: none",
        ));
    }
    Ok(url)
}

/// Where the API of an ESXi host is whose address is written `text`: a name or an address, IPv6 with
/// or without brackets, with a port or without. `None` where it says more than that.
pub fn management_url(text: &str) -> Option<Url> {
    let bare_ipv6 = text.parse::<Ipv6Addr>().is_ok();
    let authority = if bare_ipv6 { format!("[{text}]") } else { text.to_owned() };
    let url = Url::parse(&format!("https://{authority}/sdk")).ok()?;
    let is_plain = !text.contains(['/', '?', '#', '@', '\\']) && url.path() == "/sdk";
    (is_plain && url.has_host()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_management_address_is_a_host_and_perhaps_a_port() {
        let url = |text: &str| management_url(text).map(String::from);
        assert_eq!(url("esx1.lab.example").as_deref(), Some("https://esx1.lab.example/sdk"));
        assert_eq!(url("10.0.0.5:8443").as_deref(), Some("https://10.0.0.5:8443/sdk"));
        assert_eq!(url("fd00::5").as_deref(), Some("https://[fd00::5]/sdk"));
        assert_eq!(url("[fd00::5]:444").as_deref(), Some("https://[fd00::5]:444/sdk"));
        for bad in ["", "https://esx1", "esx 1", "esx1/ui", "root@esx1", "::g", "a?b", "a#b", ":443", "a:x"] {
            assert_eq!(url(bad), None, "{bad}");
        }
    }

    #[test]
    fn credentials_never_go_in_clear_by_accident() {
        let check = |text| check_bmc_address(text, &TlsPolicy::Verify).map_err(|error| error.message);
        assert!(check("https://10.0.0.5:8443").is_ok());
        assert!(check("http://127.0.0.1:9000").is_ok());
        assert!(check("http://10.0.0.5").unwrap_err().contains("tls: none"));
        assert!(check_bmc_address("http://10.0.0.5", &TlsPolicy::None).is_ok());
        for bad in ["10.0.0.5", "ftp://h", "https://u:p@h", "https://h/?a=b", "file:///etc/passwd"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
