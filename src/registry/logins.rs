//! Logins for registries, in the format of docker's `config.json` and podman's `auth.json`. Pure.
//!
//! Credential helpers are programs, and are not run. Invariant: no error quotes the file.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use shoal_base::Password;

use super::DOCKER_HUB;

/// How the controller presents itself to a registry.
#[derive(Clone, Debug)]
pub enum Login {
    Account {
        user: String,
        password: Password,
    },
    /// Exchanged for a token at the token server (OAuth 2 refresh token).
    Identity(Password),
    /// Presented to the registry as it is.
    Token(Password),
    /// In a credential helper.
    Elsewhere,
}

/// The logins of one file.
#[derive(Debug, Default)]
pub struct Logins(BTreeMap<String, Login>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginsError {
    #[error("is not JSON at line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("has no object `auths`: use the format of docker's config.json")]
    NoAuths,
    #[error("has an entry for {registry} that cannot be read: `auth` is the base64 of user:password")]
    Entry { registry: String },
}

impl Logins {
    pub fn parse(text: &[u8]) -> Result<Logins, LoginsError> {
        let document: Value = serde_json::from_slice(text)
            .map_err(|error| LoginsError::NotJson { line: error.line(), column: error.column() })?;
        let auths = document.get("auths").and_then(Value::as_object);
        let helpers = document.get("credHelpers").and_then(Value::as_object);
        if auths.is_none() && helpers.is_none() {
            return Err(LoginsError::NoAuths);
        }
        let mut logins = BTreeMap::new();
        for registry in helpers.into_iter().flat_map(|helpers| helpers.keys()) {
            logins.insert(normalized(registry), Login::Elsewhere);
        }
        for (registry, entry) in auths.into_iter().flatten() {
            let shown = || shoal_base::visible(registry).chars().take(100).collect();
            let login = read(entry).ok_or_else(|| LoginsError::Entry { registry: shown() })?;
            logins.insert(normalized(registry), login);
        }
        Ok(Logins(logins))
    }

    /// The login of the longest entry that the repository lies under.
    pub fn of(&self, registry: &str, repository: &str) -> Option<&Login> {
        let names = if registry == DOCKER_HUB { vec![registry, "index.docker.io"] } else { vec![registry] };
        let of_registry = names.iter().find_map(|name| self.0.get(*name));
        let ends = repository.rmatch_indices('/').map(|(end, _)| end);
        let mut paths = std::iter::once(repository.len()).chain(ends).map(|end| &repository[..end]);
        paths.find_map(|path| self.0.get(&format!("{registry}/{path}"))).or(of_registry)
    }
}

/// Docker writes `https://index.docker.io/v1/`, podman `docker.io/library`.
fn normalized(key: &str) -> String {
    let key = key.to_ascii_lowercase();
    let key = key.strip_prefix("https://").or(key.strip_prefix("http://")).unwrap_or(&key);
    let key = key.trim_end_matches('/');
    key.strip_suffix("/v1").or(key.strip_suffix("/v2")).unwrap_or(key).to_owned()
}

fn read(entry: &Value) -> Option<Login> {
    let entry = entry.as_object()?;
    let text = |key: &str| match entry.get(key) {
        None | Some(Value::Null) => Some(""),
        Some(value) => value.as_str(),
    };
    let secret = |text: &str| Password::new(text.to_owned());
    let (identity, token) = (text("identitytoken")?, text("registrytoken")?);
    let (auth, user, password) = (text("auth")?, text("username")?, text("password")?);
    if !identity.is_empty() {
        return Some(Login::Identity(secret(identity)));
    }
    if !token.is_empty() {
        return Some(Login::Token(secret(token)));
    }
    if !auth.is_empty() {
        let plain = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
        let (user, password) = plain.split_once(':')?;
        // Docker pads what it has encoded with NUL.
        return Some(Login::Account {
            user: user.to_owned(),
            password: secret(password.trim_end_matches('\0')),
        });
    }
    match user.is_empty() {
        true => Some(Login::Elsewhere),
        false => Some(Login::Account { user: user.to_owned(), password: secret(password) }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(document: Value) -> Result<Logins, LoginsError> {
        Logins::parse(document.to_string().as_bytes())
    }

    fn user_of(logins: &Logins, registry: &str, repository: &str) -> Option<String> {
        match logins.of(registry, repository)? {
            Login::Account { user, password } => Some(format!("{user}/{}", password.expose())),
            other => Some(format!("{other:?}")),
        }
    }

    #[test]
    fn an_entry_is_found_in_each_form_that_tools_write() {
        let logins = parse(json!({
            "auths": {
                "reg.example:5000": { "auth": STANDARD.encode("ci:a:b") },
                "https://Other.example/v2/": { "username": "u", "password": "p" },
                "https://index.docker.io/v1/": { "auth": STANDARD.encode("hub:x\0\0") },
                "reg.example:5000/team/images": { "auth": STANDARD.encode("team:t") },
                "id.example": { "auth": STANDARD.encode("<token>:"), "identitytoken": "refresh" },
                "bearer.example": { "registrytoken": "bearer" },
                "helped.example": {},
            },
            "credHelpers": { "aws.example": "ecr-login" },
        }))
        .unwrap();
        let of = |registry: &str, repository: &str| user_of(&logins, registry, repository);
        assert_eq!(of("reg.example:5000", "a").as_deref(), Some("ci/a:b"));
        assert_eq!(of("reg.example:5000", "team/images/debian").as_deref(), Some("team/t"));
        assert_eq!(of("reg.example:5000", "team/images").as_deref(), Some("team/t"));
        assert_eq!(of("reg.example:5000", "team/imagesx").as_deref(), Some("ci/a:b"));
        assert_eq!(of("reg.example", "a"), None, "another port is another registry");
        assert_eq!(of("other.example", "a").as_deref(), Some("u/p"));
        assert_eq!(of("docker.io", "acme/disk").as_deref(), Some("hub/x"));
        assert_eq!(of("id.example", "a").as_deref(), Some("Identity(Password(hidden))"));
        assert_eq!(of("bearer.example", "a").as_deref(), Some("Token(Password(hidden))"));
        for helped in ["helped.example", "aws.example"] {
            assert_eq!(of(helped, "a").as_deref(), Some("Elsewhere"));
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_refused_without_quoting_it() {
        for (text, words) in [
            ("{\"auths\": hunter2", "line 1"),
            ("[]", "auths"),
            (r#"{"auths": {"reg": {"auth": "hunter2!"}}}"#, "reg"),
            (r#"{"auths": {"reg": {"auth": "aHVudGVyMg=="}}}"#, "reg"),
            (r#"{"auths": {"reg": "hunter2"}}"#, "reg"),
        ] {
            let error = Logins::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("hunter2"), "{error}");
        }
    }
}
