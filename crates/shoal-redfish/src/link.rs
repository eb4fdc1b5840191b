//! Where a BMC is, and which links stay there.
//!
//! Invariant: a URL that [`BmcOrigin::resolve`] gives has the BMC's own scheme, host and port, so
//! credentials sent to it never leave the BMC.

use url::Url;

/// Scheme, host and port of one Redfish service.
#[derive(Clone, Debug)]
pub(super) struct BmcOrigin(Url);

impl BmcOrigin {
    /// Of a `bmc_address`; its path, if any, is not part of the service.
    pub(super) fn new(address: &Url) -> BmcOrigin {
        let mut origin = address.clone();
        origin.set_path("/");
        origin.set_query(None);
        origin.set_fragment(None);
        BmcOrigin(without_user(origin))
    }

    /// The URL of a link: a path, or an absolute URL of the same origin. `Err` holds the foreign
    /// origin, or `None` where the link is no link at all.
    pub(super) fn resolve(&self, link: &str) -> Result<Url, Option<String>> {
        let mut url = self.0.join(link.trim()).map_err(|_| None)?;
        if url.origin() != self.0.origin() {
            return Err(Some(url.origin().ascii_serialization()));
        }
        url.set_fragment(None);
        Ok(without_user(url))
    }

    /// The path, on this service, of something that the service has made and names in its answer to `base`: BMCs
    /// give its URL under a host name of their own (gofish#77), or without the leading slash
    /// (python-redfish-library#73). `None` of what is no such link.
    pub(super) fn own_path(&self, base: &str, target: &str) -> Option<String> {
        let target = target.trim();
        let is_bare = target.starts_with("redfish/");
        let target = if is_bare { format!("/{target}") } else { target.to_owned() };
        let url = self.resolve(base).ok()?.join(&target).ok()?;
        let query = url.query().map_or(String::new(), |query| format!("?{query}"));
        let is_link = matches!(url.scheme(), "http" | "https") && url.path() != "/";
        is_link.then(|| format!("{}{query}", url.path()))
    }

    /// Where `target` is where `url` leads but for slashes at the end of the path: that URL. Under another host
    /// name too, because only the path is used.
    pub(super) fn differs_by_slash(&self, url: &Url, target: &str) -> Option<Url> {
        let target = self.resolve(&self.own_path(url.as_str(), target)?).ok()?;
        let bare = |url: &Url| url.path().trim_end_matches('/').to_owned();
        let same = bare(url) == bare(&target) && url.query() == target.query() && *url != target;
        same.then_some(target)
    }

    /// `host:port`, for a label of the generator.
    pub(super) fn authority(&self) -> &str {
        self.0.authority()
    }
}

fn without_user(mut url: Url) -> Url {
    // Neither can fail: http and https URLs have a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> BmcOrigin {
        BmcOrigin::new(&Url::parse("https://bmc-1.test:8443/ignored?x").unwrap())
    }

    #[test]
    fn links_of_the_same_origin_are_followed() {
        for (link, url) in [
            ("/redfish/v1/Systems/1", "https://bmc-1.test:8443/redfish/v1/Systems/1"),
            ("https://bmc-1.test:8443/redfish/v1/", "https://bmc-1.test:8443/redfish/v1/"),
            ("https://u:p@BMC-1.test:8443/a#/b", "https://bmc-1.test:8443/a"),
        ] {
            assert_eq!(origin().resolve(link).unwrap().as_str(), url);
        }
    }

    #[test]
    fn links_to_elsewhere_are_refused() {
        for link in [
            "https://evil.test/redfish/v1",
            "http://bmc-1.test:8443/redfish/v1",
            "https://bmc-1.test/redfish/v1",
            "//evil.test/redfish",
            "/\\evil.test/redfish",
            "file:///etc/passwd",
        ] {
            assert!(matches!(origin().resolve(link), Err(Some(_))), "{link}");
        }
        assert_eq!(origin().resolve("https://["), Err(None));
    }

    #[test]
    fn what_the_service_made_is_found_on_the_service() {
        const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";
        for (target, path) in [
            ("/redfish/v1/SessionService/Sessions/7", Some("/redfish/v1/SessionService/Sessions/7")),
            ("redfish/v1/SessionService/Sessions/7", Some("/redfish/v1/SessionService/Sessions/7")),
            ("Sessions/7", Some("/redfish/v1/SessionService/Sessions/7")),
            ("https://ilo.internal/redfish/v1/S/7#x", Some("/redfish/v1/S/7")),
            ("http://user:pw@10.0.0.9:8080/redfish/v1/T/9?a=1", Some("/redfish/v1/T/9?a=1")),
            ("//other.test/redfish/v1/T/9", Some("/redfish/v1/T/9")),
            ("https://other.test", None),
            ("file:///etc/passwd", None),
            ("https://[", None),
        ] {
            assert_eq!(origin().own_path(SESSIONS, target).as_deref(), path, "{target}");
        }
    }

    #[test]
    fn only_a_slash_is_a_redirect_to_follow() {
        let url = origin().resolve("/redfish/v1").unwrap();
        for target in ["/redfish/v1/", "https://evil.test/redfish/v1/", "v1/", "http://10.0.0.1/redfish/v1/"]
        {
            let found = origin().differs_by_slash(&url, target);
            let url = found.as_ref().map(Url::as_str);
            assert_eq!(url, Some("https://bmc-1.test:8443/redfish/v1/"), "{target}");
        }
        for target in
            ["/redfish/v1", "/redfish/v2/", "/login?next=/redfish/v1", "https://evil.test/redfish/v1"]
        {
            assert!(origin().differs_by_slash(&url, target).is_none(), "{target}");
        }
    }
}
