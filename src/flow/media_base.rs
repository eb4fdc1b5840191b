//! What to check where a BMC does not fetch from the media base, or cannot use its protocol.
//!
//! Pure words about a URL; nothing is looked up. Invariant: no path, and so no token, is part of them.

use url::{Host, Url};

/// What to change where a BMC takes no image by the scheme of our URLs; `offered` is what it lists.
pub fn protocol_remedy(scheme: &str, offered: &str) -> &'static str {
    let offers = |protocol: &str| offered.split(", ").any(|word| word.eq_ignore_ascii_case(protocol));
    match scheme {
        "http" if offers("HTTPS") => {
            "serve media over HTTPS (MEDIA_TLS=true); this requires MEDIA_ADDR, TLS_CERT_FILE and TLS_KEY_FILE"
        }
        "https" if offers("HTTP") => "serve media over plain HTTP (MEDIA_ADDR, with MEDIA_TLS=false)",
        _ => "Shoal serves images over HTTP and HTTPS alone, so this BMC's firmware cannot be used",
    }
}

/// What the BMC needs to reach `base`, by the kind of its host.
pub fn what_reaching_needs(base: &str) -> String {
    let url = base.parse::<Url>().ok();
    let port = url.as_ref().and_then(Url::port_or_known_default).unwrap_or_default();
    match url.as_ref().and_then(Url::host) {
        Some(Host::Ipv4(address)) => format!("the BMC needs a route to IPv4 address {address}, port {port}"),
        Some(Host::Ipv6(address)) => {
            format!("the BMC needs IPv6, and a route to IPv6 address {address}, port {port}")
        }
        Some(Host::Domain(name)) => {
            format!("the BMC needs a name server that resolves {name}, and a route to its port {port}")
        }
        None => "the BMC needs a route to MEDIA_BASE_URL".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_follows_from_what_the_bmc_lists() {
        assert!(protocol_remedy("http", "CIFS, NFS, HTTPS, OEM").contains("HTTPS (MEDIA_TLS=true)"));
        assert!(protocol_remedy("https", "HTTP, NFS").contains("plain HTTP"));
        assert!(protocol_remedy("http", "CIFS, NFS, OEM").contains("cannot be used"));
    }

    #[test]
    fn what_is_needed_names_the_address_family_or_the_host_name() {
        for (base, words) in [
            ("http://10.0.0.1:8081/", "IPv4 address 10.0.0.1, port 8081"),
            ("https://[fd00::1]/", "IPv6 address fd00::1, port 443"),
            ("http://media.example/", "resolves media.example, and a route to its port 80"),
            ("", "MEDIA_BASE_URL"),
        ] {
            assert!(what_reaching_needs(base).contains(words), "{base}");
        }
    }
}
