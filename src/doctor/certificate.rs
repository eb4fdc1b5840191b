//! What a certificate says of itself, read from its DER.
//!
//! Trust is decided by rustls. Invariant: whatever the bytes are, reading them
//! ends, and untrusted texts are bounded.

use std::net::IpAddr;

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use super::facts::CertificateFacts;

/// Of a name, in characters.
const NAME_MAX: usize = 200;
/// Of the names that one certificate is good for.
const NAMES_MAX: usize = 20;
const DAY_SECS: i64 = 86_400;

/// Nothing where the bytes are no certificate.
pub fn read(der: &[u8], now: Timestamp) -> Option<CertificateFacts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    let days_left = (validity.not_after.timestamp() - now.as_second()).div_euclid(DAY_SECS);
    Some(CertificateFacts {
        subject: name(certificate.subject()),
        issuer: name(certificate.issuer()),
        names: names(&certificate),
        not_before: date(validity.not_before),
        not_after: date(validity.not_after),
        days_left,
    })
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    names.value.general_names.iter().filter_map(general_name).take(NAMES_MAX).collect()
}

fn general_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(bounded(name)),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => Some(IpAddr::from([a, b, c, d]).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    }
}

/// As `CN=…, O=…`.
fn name(name: &X509Name<'_>) -> String {
    bounded(&name.to_string())
}

/// One line of printable characters, of an untrusted text.
fn bounded(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(NAME_MAX).collect()
}

/// Empty for a time that no calendar has.
fn date(time: ASN1Time) -> String {
    Timestamp::from_second(time.timestamp()).map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn made(of: &str, from: &str) -> Vec<u8> {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, from);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = Issuer::new(authority, KeyPair::generate().unwrap());
        let mut leaf = CertificateParams::new(["bmc7.example".to_owned()]).unwrap();
        leaf.subject_alt_names.push(SanType::IpAddress([10, 1, 0, 17].into()));
        leaf.distinguished_name.push(DnType::CommonName, of);
        (leaf.not_before, leaf.not_after) = (date_time_ymd(2024, 1, 1), date_time_ymd(2027, 1, 1));
        leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_names_its_subject_its_issuer_and_its_end() {
        let now: Timestamp = "2026-12-30T12:00:00Z".parse().unwrap();
        let read = read(&made("iDRAC-7", "Rack CA"), now).unwrap();
        assert_eq!((read.subject.contains("CN=iDRAC-7"), read.issuer.as_str()), (true, "CN=Rack CA"));
        assert_eq!(read.names, ["bmc7.example", "10.1.0.17"]);
        assert_eq!((read.not_before.as_str(), read.days_left), ("2024-01-01T00:00:00Z", 1));
        assert!(!read.is_self_signed());
        let expired = super::read(&made("a", "b"), "2027-01-01T00:00:01Z".parse().unwrap()).unwrap();
        assert_eq!((expired.not_after.as_str(), expired.days_left), ("2027-01-01T00:00:00Z", -1));
    }

    #[test]
    fn untrusted_texts_are_bounded_and_other_bytes_are_nothing() {
        let long = "x".repeat(5_000);
        let read = read(&made("two\nlines\u{1b}[31m", &long), Timestamp::UNIX_EPOCH).unwrap();
        assert!(!read.subject.chars().any(char::is_control), "{:?}", read.subject);
        assert_eq!(read.issuer.chars().count(), NAME_MAX);
        let whole = made("a", "b");
        for end in 0..whole.len() {
            assert_eq!(super::read(&whole[..end], Timestamp::UNIX_EPOCH), None, "{end}");
        }
    }
}
