//! Which URLs an operator may name in a recipe: those under a list of prefixes.
//!
//! Not a fetcher; whoever follows a redirect asks again. Invariant: a prefix ends at a boundary of
//! the path, so that `https://a/iso` allows `https://a/iso/x` and not `https://a/isolated`.

use std::fmt;
use std::str::FromStr;

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

/// The parser has resolved `..` in both already.
fn lies_under(url: &Url, prefix: &Url) -> bool {
    let same_origin = url.origin() == prefix.origin();
    let rest = url.path().strip_prefix(prefix.path());
    let at_boundary = |rest: &str| rest.is_empty() || rest.starts_with('/') || prefix.path().ends_with('/');
    same_origin && rest.is_some_and(at_boundary)
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
