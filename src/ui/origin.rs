//! Which origin a form was posted from, and whether that is this controller's own. Pure.
//!
//! Invariant: a request whose origin is unknown is refused, unless the browser itself says that it is of the same
//! origin.

use http::{HeaderMap, header};
use url::Url;

/// Whether a request that changes something was sent by a page of this controller.
///
/// `Origin` is the main check, because plain HTTP at a host name carries no `Sec-Fetch-Site`.
pub fn is_own(headers: &HeaderMap, tls: bool, public_url: Option<&Url>) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let fetch_site = text("sec-fetch-site");
    if fetch_site.is_some_and(|site| site != "same-origin") {
        return false;
    }
    let origins = headers.get_all(header::ORIGIN).iter().count();
    match (origins, text("origin")) {
        (0, _) | (1, Some("null")) => fetch_site == Some("same-origin"),
        (1, Some(origin)) => is_listed(origin, text("host"), tls, public_url),
        _ => false,
    }
}

fn is_listed(origin: &str, host: Option<&str>, tls: bool, public_url: Option<&Url>) -> bool {
    let scheme = if tls { "https" } else { "http" };
    let of_host = host.map(|host| format!("{scheme}://{host}"));
    let of_public = public_url.map(|url| url.origin().ascii_serialization());
    let own = [of_host, of_public];
    own.iter().flatten().any(|own| own.eq_ignore_ascii_case(origin))
}

/// A path of this controller to go back to after a sign-in; anything else is the fleet.
pub fn own_path(text: &str) -> &str {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_path = text.starts_with('/') && !text.starts_with("//");
    if is_plain && is_path && text.len() <= 2_000 { text } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(pairs: &[(&'static str, &str)], tls: bool) -> bool {
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let public = "https://shoal.example".parse().unwrap();
        is_own(&headers.collect(), tls, Some(&public))
    }

    #[test]
    fn only_pages_of_this_origin_may_post() {
        let host = ("host", "10.0.0.1:8080");
        assert!(own(&[host, ("origin", "http://10.0.0.1:8080")], false));
        assert!(own(&[host, ("origin", "https://10.0.0.1:8080")], true));
        assert!(own(&[host, ("origin", "https://shoal.example")], false), "PUBLIC_URL");
        assert!(own(&[host, ("sec-fetch-site", "same-origin")], false));
        assert!(own(&[host, ("origin", "null"), ("sec-fetch-site", "same-origin")], false));
        for bad in [
            &[host][..],
            &[host, ("origin", "null")],
            &[host, ("origin", "http://10.0.0.1:8081")],
            &[host, ("origin", "https://10.0.0.1:8080")],
            &[host, ("origin", "http://10.0.0.1:8080"), ("sec-fetch-site", "cross-site")],
            &[host, ("origin", "http://10.0.0.1:8080"), ("sec-fetch-site", "same-site")],
            &[host, ("origin", "null"), ("sec-fetch-site", "none")],
            &[("origin", "http://10.0.0.1:8080")],
        ] {
            assert!(!own(bad, false), "{bad:?}");
        }
    }

    #[test]
    fn a_return_path_stays_here() {
        assert_eq!(own_path("/jobs/abc?x=1"), "/jobs/abc?x=1");
        for bad in
            ["", "https://evil.example/", "//evil.example", "/\\evil.example", "jobs", "/a b", "/\u{1}"]
        {
            assert_eq!(own_path(bad), "/", "{bad}");
        }
    }
}
