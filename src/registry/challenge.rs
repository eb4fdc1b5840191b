//! `WWW-Authenticate` of a registry (RFC 9110, 11.6.1; the token scheme of the distribution project). Pure.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use url::Url;

/// How a registry wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthChallenge {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

impl AuthChallenge {
    /// The first that is known, Bearer before Basic.
    pub fn read(headers: &HeaderMap) -> Option<AuthChallenge> {
        let all = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let read: Vec<AuthChallenge> = all.filter_map(read).collect();
        let bearer = read.iter().find(|challenge| matches!(challenge, AuthChallenge::Bearer { .. }));
        bearer.or(read.first()).cloned()
    }
}

fn read(challenge: &str) -> Option<AuthChallenge> {
    let (scheme, rest) = challenge.trim().split_once(' ').unwrap_or((challenge.trim(), ""));
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => Some(AuthChallenge::Basic),
        "bearer" => {
            let mut parameters = parameters(rest);
            let realm = Url::parse(parameters.get("realm")?).ok()?;
            Some(AuthChallenge::Bearer { realm, service: parameters.remove("service") })
        }
        _ => None,
    }
}

/// `a="b",c=d`; what is in quotes may hold commas.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text.trim_start();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, left) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => match unquote(quoted) {
                Some(unquoted) => unquoted,
                None => break,
            },
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        found.insert(name.trim().to_ascii_lowercase(), value);
        rest = left.trim_start().trim_start_matches(',').trim_start();
    }
    found
}

/// What stands before the closing quote, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            '"' if !is_escaped => return Some((value, &text[at + 1..])),
            '\\' if !is_escaped => is_escaped = true,
            c => {
                value.push(c);
                is_escaped = false;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Option<AuthChallenge> {
        let values = values.iter().map(|value| (WWW_AUTHENTICATE, value.parse().unwrap()));
        AuthChallenge::read(&values.collect())
    }

    #[test]
    fn a_challenge_names_realm_and_service() {
        let bearer = |realm: &str, service: Option<&str>| {
            let (realm, service) = (Url::parse(realm).unwrap(), service.map(str::to_owned));
            Some(AuthChallenge::Bearer { realm, service })
        };
        let scope = r#"scope="repository:a/b:pull,push""#;
        let docker =
            format!(r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",{scope}"#);
        assert_eq!(of(&[&docker]), bearer("https://auth.docker.io/token", Some("registry.docker.io")));
        let odd = r#"bearer  service = a, realm = "https://x/\"y\"?a=b,c" "#;
        assert_eq!(of(&[odd]), bearer("https://x/\"y\"?a=b,c", Some("a")));
        assert_eq!(of(&["Basic realm=\"x\"", r#"Bearer realm="https://x""#]), bearer("https://x", None));
        assert_eq!(of(&["Basic realm=\"Registry Realm\""]), Some(AuthChallenge::Basic));
        for nothing in ["Negotiate", "Bearer", "Bearer realm=\"not a url\"", "Bearer realm=\"https://x", ""] {
            assert_eq!(of(&[nothing]), None, "{nothing}");
        }
        assert_eq!(of(&[]), None);
    }
}
