//! Which URLs an operator may name in a recipe: those under a list of prefixes.
//!
//! Not a fetcher; a caller that follows a redirect checks again. Invariant: a prefix ends at a boundary of
//! the path, so that `https://a/iso` allows `https://a/iso/x` and not `https://a/isolated`.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use url::Url;

/// Prefixes of http(s) URLs. An empty list allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UrlPrefixes(Vec<Url>);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a URL prefix: give http:// or https:// URLs such as https://images.example/esxi/")]
pub struct UrlPrefixError(String);

impl UrlPrefixes {
    /// Everything on the host of `url` with its scheme and port.
    pub fn host_of(url: &Url) -> UrlPrefixes {
        UrlPrefixes(url.origin().ascii_serialization().parse().into_iter().collect())
    }

    /// Whether `url` lies under one of the prefixes.
    pub fn allow(&self, url: &Url) -> bool {
        self.0.iter().any(|prefix| lies_under(url, prefix))
    }
}

/// The parser has resolved `..` and `%2e%2e` in both already. What a server might resolve later, when it has
/// decoded the path once more or cut off parameters, lies under no path.
fn lies_under(url: &Url, prefix: &Url) -> bool {
    let same_origin = url.origin() == prefix.origin() && (prefix.path() == "/" || !may_climb(url.path()));
    let rest = url.path().strip_prefix(prefix.path());
    let at_boundary = |rest: &str| rest.is_empty() || rest.starts_with('/') || prefix.path().ends_with('/');
    same_origin && rest.is_some_and(at_boundary)
}

/// Decodings that are looked through.
const DECODINGS_MAX: usize = 8;

/// Whether some server may take `path` for one with `..` in it: encoded once or more (`..%2f`, `%252e`), by
/// backslashes, with parameters (`..;x/`, Tomcat), with blanks or control characters, or in an encoding that is
/// not UTF-8 (`%c0%ae`).
fn may_climb(path: &str) -> bool {
    let mut path = path.to_owned();
    for _ in 0..DECODINGS_MAX {
        if path.split(['/', '\\']).any(is_parent) {
            return true;
        }
        match percent_decode_str(&path).decode_utf8() {
            Err(_) => return true,
            Ok(decoded) if decoded == path => return false,
            Ok(decoded) => path = decoded.into_owned(),
        }
    }
    true
}

fn is_parent(segment: &str) -> bool {
    let name = segment.split([';', '\0', '?', '#']).next().unwrap_or_default();
    let is_dot = |c: char| matches!(c, '.' | '\u{2024}' | '\u{ff0e}');
    let name = name.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    name.chars().count() == 2 && name.chars().all(is_dot)
}

impl FromStr for UrlPrefixes {
    type Err = UrlPrefixError;

    /// A list with commas between.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let prefixes = text.split(',').map(|part| parse_prefix(part.trim()));
        Ok(UrlPrefixes(prefixes.collect::<Result<_, _>>()?))
    }
}

fn parse_prefix(text: &str) -> Result<Url, UrlPrefixError> {
    let wrong = || UrlPrefixError(text.to_owned());
    let url = Url::parse(text).map_err(|_| wrong())?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if matches!(url.scheme(), "http" | "https") && url.has_host() && plain { Ok(url) } else { Err(wrong()) }
}

impl fmt::Display for UrlPrefixes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<&str> = self.0.iter().map(Url::as_str).collect();
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_a_boundary() {
        let prefixes: UrlPrefixes = "https://a.example/iso, http://b.example:8080/".parse().unwrap();
        let allows = |url: &str| prefixes.allow(&url.parse().unwrap());
        for good in ["https://a.example/iso", "https://A.example/iso/x.iso", "http://b.example:8080/y"] {
            assert!(allows(good), "{good}");
        }
        for bad in [
            "https://a.example/isolated",
            "https://a.example/iso/../secret",
            "http://a.example/iso/x",
            "https://a.example:444/iso/x",
            "https://a.example.evil/iso/x",
            "https://a.example@evil/iso/x",
            "http://b.example/y",
        ] {
            assert!(!allows(bad), "{bad}");
        }
        assert!(!UrlPrefixes::default().allow(&"https://a.example/".parse().unwrap()));
    }

    /// Issue 15, kind 26.
    #[test]
    fn no_spelling_of_a_parent_directory_leads_out_of_a_path() {
        let prefixes: UrlPrefixes = "https://a.example/iso/".parse().unwrap();
        let allows = |url: &str| prefixes.allow(&url.parse().unwrap());
        for bad in [
            "https://a.example/iso/..%2fsecret",
            "https://a.example/iso/..%2Fsecret",
            "https://a.example/iso/%2e%2e/secret",
            "https://a.example/iso/%2e%2e%2fsecret",
            "https://a.example/iso/.%2e/secret",
            "https://a.example/iso/..;/secret",
            "https://a.example/iso/..;a=b/secret",
            "https://a.example/iso/%2e%2e;/secret",
            "https://a.example/iso/..%3b/secret",
            "https://a.example/iso/%252e%252e/secret",
            "https://a.example/iso/..%252fsecret",
            "https://a.example/iso/..%25252fsecret",
            "https://a.example/iso/..\\secret",
            "https://a.example/iso/..%5csecret",
            "https://a.example/iso/x%5c..%5c..%5csecret",
            "https://a.example/iso/..%00/secret",
            "https://a.example/iso/..%20/secret",
            "https://a.example/iso/%c0%ae%c0%ae/secret",
            "https://a.example/iso/%ef%bc%8e%ef%bc%8e/secret",
            "https://a.example/iso/..%23/secret",
        ] {
            assert!(!allows(bad), "{bad}");
        }
        for good in [
            "https://a.example/iso/8.0/x.iso",
            "https://a.example/iso/a..b/x.iso",
            "https://a.example/iso/...%2fx.iso",
            "https://a.example/iso/100%25/x.iso",
            "https://a.example/iso/x%20y;v=1.iso?path=../x",
            "https://a.example/iso/%E2%82%AC.iso",
        ] {
            assert!(allows(good), "{good}");
        }
        let all: UrlPrefixes = "https://a.example/".parse().unwrap();
        assert!(all.allow(&"https://a.example/iso/..%2fx".parse().unwrap()), "the whole host is allowed");
    }

    #[test]
    fn the_host_of_a_url_allows_its_neighbours_only() {
        let prefixes = UrlPrefixes::host_of(&"https://me:pw@a.example/x/y.iso?z=1".parse().unwrap());
        assert_eq!(prefixes.to_string(), "https://a.example/");
        assert!(prefixes.allow(&"https://a.example/other.iso".parse().unwrap()));
        assert!(!prefixes.allow(&"https://b.example/x/y.iso".parse().unwrap()));
    }

    #[test]
    fn anything_but_http_is_no_prefix() {
        for bad in ["", "file:///srv/", "a.example", "https://u@a.example/", "https://a.example/?x"] {
            assert!(bad.parse::<UrlPrefixes>().is_err(), "{bad}");
        }
    }
}
