//! The values of single settings: durations, sizes, addresses, words.
//!
//! Pure; each function reads one text and says what is wrong in a sentence with a remedy. Invariant:
//! nothing is guessed: a duration without a unit is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jiff::SpanRelativeTo;
use jiff::fmt::friendly::SpanParser;
use secrecy::SecretString;
use url::Url;

use crate::access::Role;
use crate::media::InstallerSource;

static PARSER: SpanParser = SpanParser::new();

/// `90s`, `15m`, `2h`, `500ms`, `1d`, or several of these in any order, as in `1h30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration: write 90s, 15m or 2h");
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{text}` has no unit: write {text}s, {text}m or {text}h"));
    }
    // jiff requires the largest unit first, so each part is parsed alone.
    let parts = text.trim().as_bytes().chunk_by(|a, b| !(a.is_ascii_alphabetic() && b.is_ascii_digit()));
    let sum = parts.map(part).try_fold(Duration::ZERO, |sum, part| sum.checked_add(part?));
    sum.filter(|_| !text.trim().is_empty()).ok_or_else(wrong)
}

fn part(text: &[u8]) -> Option<Duration> {
    let span = PARSER.parse_span(text).ok()?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?.try_into().ok()
}

/// A duration of a second at least; `never` is `None`.
pub fn retention(text: &str) -> Result<Option<Duration>, String> {
    match text.trim() {
        "never" => Ok(None),
        text => match duration(text)? {
            kept if kept >= Duration::from_secs(1) => Ok(Some(kept)),
            _ => Err(format!("`{text}` is too short: write 90d, or never")),
        },
    }
}

/// A duration between the two, both allowed.
pub fn duration_within(min: Duration, max: Duration) -> impl FnOnce(&str) -> Result<Duration, String> {
    move |text| {
        let value = duration(text)?;
        if value < min || value > max {
            return Err(format!("`{text}` is out of bounds: use {min:?} to {max:?}"));
        }
        Ok(value)
    }
}

pub fn number_within(min: u32, max: u32) -> impl FnOnce(&str) -> Result<u32, String> {
    move |text| match text.trim().parse() {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        _ => Err(format!("`{text}` is not a whole number from {min} to {max}")),
    }
}

/// An https URL; plain http on loopback only.
pub fn secure_url(text: &str) -> Result<Url, String> {
    let url = http_url(text)?;
    match url.scheme() == "https" || shoal_base::is_loopback(&url) {
        true => Ok(url),
        false => Err("must be an https URL: what is fetched there decides who is let in".to_owned()),
    }
}

/// The URL of the web interface: an origin without a path, https unless it is on loopback.
pub fn public_url(text: &str) -> Result<Url, String> {
    let url = http_url(text)?;
    if url.scheme() != "https" && !shoal_base::is_loopback(&url) {
        return Err("must be an https URL: a token must not be sent in clear".to_owned());
    }
    let is_origin = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    match is_origin && url.username().is_empty() && url.password().is_none() {
        true => Ok(url),
        false => Err("must be scheme, host and port alone, such as https://shoal.example".to_owned()),
    }
}

/// One word or a few, without control characters.
pub fn plain_text(text: &str) -> Result<String, String> {
    match text.trim() {
        text if text.len() <= 256 && !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err("must be a plain text of at most 256 characters".to_owned()),
    }
}

/// `roles`, or names within one another: `realm_access.roles`.
pub fn claim(text: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = text.trim().split('.').map(str::to_owned).collect();
    match names.len() <= 8 && names.iter().all(|name| !name.is_empty()) {
        true => Ok(names),
        false => Err(format!("`{text}` is not a claim: use roles, or realm_access.roles")),
    }
}

/// `NAME=ROLE`, separated by commas.
pub fn role_map(text: &str) -> Result<BTreeMap<String, Role>, String> {
    let pair = |pair: &str| {
        let (name, role) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is not NAME=ROLE"))?;
        let role = role.trim().parse::<Role>().map_err(|error| format!("the role of `{name}` {error}"))?;
        Ok((name.trim().to_owned(), role))
    };
    text.split(',').map(pair).collect()
}

/// `20GiB`, `500MB`, or a number of bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let size = bytesize::ByteSize::from_str(text.trim());
    size.map(|size| size.as_u64()).map_err(|_| format!("`{text}` is not a size: write 20GiB or 500MB"))
}

/// A size a second that an installation can live with.
pub fn bandwidth(text: &str) -> Result<u64, String> {
    match size(text)? {
        bytes if bytes >= 64 << 10 => Ok(bytes),
        _ => Err(format!("`{text}` is less than 64KiB a second: no installation would end")),
    }
}

pub fn boolean(text: &str) -> Result<bool, String> {
    match text.trim() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| {
        format!("`{text}` is not an address: write IP:PORT, as in 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080")
    })
}

pub fn path(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

/// The path of the SQLite file.
pub fn database_file(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("sqlite://").or(text.strip_prefix("sqlite:")).unwrap_or(text);
    if path.contains("://") || path.starts_with(":memory:") || path.is_empty() {
        return Err("give the path of an SQLite file, or postgres://USER@HOST/DATABASE".to_owned());
    }
    Ok(PathBuf::from(path))
}

/// A path, or an http, https or file URL.
pub fn installer(text: &str) -> Result<InstallerSource, String> {
    text.trim().parse::<InstallerSource>().map_err(|error| error.to_string())
}

/// A path, or an http(s) URL without account, query and fragment.
pub fn maintenance_iso(text: &str) -> Result<InstallerSource, String> {
    match installer(text)? {
        InstallerSource::Url(_) => http_url(text).map(InstallerSource::Url),
        file => Ok(file),
    }
}

/// An http(s) URL without account, query and fragment.
/// An http(s) URL, with a query or without.
pub fn notify_url(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text.trim()).map_err(|_| not_http(text))?;
    let query = url.query().map(str::to_owned);
    url.set_query(None);
    let mut url = http_url(url.as_str())?;
    url.set_query(query.as_deref());
    Ok(url)
}

pub fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|_| not_http(text))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(not_http(text));
    }
    let account = !url.username().is_empty() || url.password().is_some();
    if account || url.query().is_some() || url.fragment().is_some() {
        return Err("leave out user name, password, query and fragment".to_owned());
    }
    Ok(url)
}

fn not_http(text: &str) -> String {
    format!("`{text}` is not an http:// or https:// URL")
}

/// Room for `/media/installers/{job}.{token}/esxi.iso` below 120 characters after the host.
const MEDIA_BASE_PATH_MAX: usize = 27;

/// Where BMCs fetch media. Some refuse hyphens and long URLs (openbmc/openbmc#4064,
/// openshift/assisted-image-service#183), so its path is short and without them.
pub fn media_base(text: &str) -> Result<Url, String> {
    let url = http_url(text)?;
    let path = url.path().trim_end_matches('/');
    if path.len() > MEDIA_BASE_PATH_MAX || path.contains('-') {
        return Err(format!(
            "its path must have at most {MEDIA_BASE_PATH_MAX} characters and no hyphen, for the sake of BMCs"
        ));
    }
    Ok(url)
}

/// `host[:port]`, several with commas between.
pub fn hosts(text: &str) -> Result<BTreeSet<String>, String> {
    let host = |host: &str| {
        let host = host.trim().to_ascii_lowercase();
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let (name, port) = host.split_once(':').unwrap_or((&host, "0"));
        let fits = !name.is_empty() && name.chars().all(is_host) && port.parse::<u16>().is_ok();
        fits.then_some(host.clone())
            .ok_or_else(|| format!("`{host}` is not a host: write registry.example or registry.example:5000"))
    };
    text.split(',').map(host).collect()
}

pub fn sha256(text: &str) -> Result<String, String> {
    let text = text.trim().to_ascii_lowercase();
    match shoal_base::unhex(&text) {
        Some(bytes) if bytes.len() == 32 => Ok(text),
        _ => Err("must be 64 hex digits".to_owned()),
    }
}

/// A token or secret that fits into a header. The text itself is never part of the error.
pub fn secret(text: &str) -> Result<SecretString, String> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(SecretString::from(text.to_owned()))
    } else {
        Err("must be visible ASCII characters without blanks".to_owned())
    }
}

/// One of the words in `table`, for what it stands for.
pub fn word<T: Copy>(table: &'static [(&'static str, T)]) -> impl FnOnce(&str) -> Result<T, String> {
    move |text| {
        let found = table.iter().find(|(word, _)| *word == text.trim());
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<&str> = table.iter().map(|(word, _)| *word).collect();
            format!("`{text}` is unknown: use {}", words.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let secs = |text| duration(text).map(|duration| duration.as_secs());
        assert_eq!(secs("90s"), Ok(90));
        assert_eq!(secs("15m"), Ok(900));
        assert_eq!(secs("1h30m"), Ok(5_400));
        assert_eq!(secs("30m1h"), Ok(5_400));
        assert_eq!(secs("1h 30m"), Ok(5_400));
        assert_eq!(secs("0s"), Ok(0));
        assert_eq!(secs("2d"), Ok(172_800));
        assert_eq!(secs(" 1.5h "), Ok(5_400));
        assert_eq!(secs("36500d"), Ok(3_153_600_000));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("90").unwrap_err().contains("write 90s"));
        for bad in [
            "",
            "s",
            "-1s",
            "1s ago",
            "9x",
            "1y",
            "1h-30m",
            "1h30",
            "999999999999999999999s",
            "4294967295d4294967295d9é",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_binary_where_they_say_so() {
        assert_eq!(size("20GiB"), Ok(20 << 30));
        assert_eq!(size("5MB"), Ok(5_000_000));
        assert!(size("much").is_err());
    }

    #[test]
    fn databases_are_files() {
        for good in ["./a.db", "/var/a.db", "sqlite:///var/a.db"] {
            assert!(database_file(good).is_ok(), "{good}");
        }
        for bad in ["mysql://h/db", ":memory:", "sqlite:"] {
            assert!(database_file(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn media_bases_are_short_enough_for_bmcs() {
        assert!(media_base("http://10.0.0.1:8080").is_ok());
        assert!(media_base("https://shoal.example/boot/").is_ok());
        for bad in ["ftp://h", "http://u:p@h", "http://h/?a", "http://h/a-b", "10.0.0.1:80"] {
            assert!(media_base(bad).is_err(), "{bad}");
        }
    }
}
