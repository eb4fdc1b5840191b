//! What claims say: when they hold, who it is, and which role that is worth here. Pure.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{OidcError, OidcSettings};
use crate::access::{Actor, Role};
use shoal_base::world::after;

const NAME_CHARS_MAX: usize = 128;

/// `exp`, and `nbf` and `iat` where they are there.
pub fn check_times(claims: &Map<String, Value>, now: Timestamp, leeway: Duration) -> Result<(), OidcError> {
    let time = |name: &str| -> Result<Option<Timestamp>, OidcError> {
        let Some(value) = claims.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| seconds.is_finite());
        let at = seconds.and_then(|seconds| Timestamp::from_second(seconds as i64).ok());
        at.map(Some).ok_or(OidcError::Refused("malformed"))
    };
    let end = time("exp")?.ok_or(OidcError::Refused("claim missing"))?;
    if after(end, leeway) <= now {
        return Err(OidcError::Refused("expired"));
    }
    let is_later = |at: Option<Timestamp>| at.is_some_and(|at| at > after(now, leeway));
    if is_later(time("nbf")?) || is_later(time("iat")?) {
        return Err(OidcError::Refused("not yet good"));
    }
    Ok(())
}

/// When the claims no longer hold.
pub fn end(claims: &Map<String, Value>, leeway: Duration) -> Option<Timestamp> {
    let seconds = claims.get("exp")?.as_f64().filter(|seconds| seconds.is_finite())?;
    Timestamp::from_second(seconds as i64).ok().map(|end| after(end, leeway))
}

/// The subject of the claims, and the strongest of their roles.
pub fn actor(claims: &Map<String, Value>, settings: &OidcSettings) -> Result<Actor, OidcError> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| is_name(text));
    let subject = text("sub").ok_or(OidcError::Refused("malformed"))?;
    let name = text("preferred_username").or(text("email")).unwrap_or(subject).to_owned();
    match role(claims, settings) {
        Some(role) => Ok(Actor { id: format!("oidc:{subject}"), name, role, expires_at: None }),
        None => Err(OidcError::NoRole { name }),
    }
}

/// A claim is untrusted text, and it goes into logs and the audit log.
fn is_name(text: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn role(claims: &Map<String, Value>, settings: &OidcSettings) -> Option<Role> {
    let (last, groups) = settings.role_claim.split_last()?;
    let mut object = claims;
    for name in groups {
        object = object.get(name)?.as_object()?;
    }
    let known = |word: &str| settings.role_map.get(word).copied();
    match object.get(last)? {
        // A scope is one text of several words.
        Value::String(words) => words.split(' ').filter_map(known).max(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).filter_map(known).max(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(claim: &str) -> OidcSettings {
        OidcSettings {
            issuer: "https://idp.example".parse().unwrap(),
            audience: "shoal".to_owned(),
            role_claim: claim.split('.').map(str::to_owned).collect(),
            role_map: [("ops".to_owned(), Role::Operator), ("boss".to_owned(), Role::Admin)].into(),
        }
    }

    fn read(claims: Value, claim: &str) -> Result<Actor, OidcError> {
        actor(claims.as_object().unwrap(), &settings(claim))
    }

    #[test]
    fn claims_end_with_their_expiry_and_the_leeway() {
        let read = |claims: Value| end(claims.as_object().unwrap(), Duration::from_secs(60));
        assert_eq!(read(json!({"exp": 1_000})), Timestamp::from_second(1_060).ok());
        assert_eq!((read(json!({})), read(json!({"exp": "soon"}))), (None, None));
    }

    #[test]
    fn the_strongest_known_word_is_the_role() {
        for (claims, claim, role) in [
            (json!({"sub": "1", "roles": ["ops", "boss", "x"]}), "roles", Some(Role::Admin)),
            (json!({"sub": "1", "scope": "openid ops"}), "scope", Some(Role::Operator)),
            (json!({"sub": "1", "realm": {"roles": ["ops"]}}), "realm.roles", Some(Role::Operator)),
            (json!({"sub": "1", "roles": ["admin"]}), "roles", None),
            (json!({"sub": "1", "roles": {"boss": true}}), "roles", None),
            (json!({"sub": "1"}), "roles", None),
        ] {
            assert_eq!(read(claims.clone(), claim).ok().map(|actor| actor.role), role, "{claims}");
        }
    }

    #[test]
    fn a_name_is_short_and_plain_and_the_subject_is_the_id() {
        let claims = json!({"sub": "42", "preferred_username": "ada", "email": "a@b", "roles": "ops"});
        let actor = read(claims, "roles").unwrap();
        assert_eq!((actor.id.as_str(), actor.name.as_str()), ("oidc:42", "ada"));
        let claims = json!({"sub": "42", "preferred_username": "a\nb", "roles": "ops"});
        assert_eq!(read(claims, "roles").unwrap().name, "42");
        for bad in [json!(""), json!(7), json!("x".repeat(129)), json!("a\u{1b}[2J")] {
            assert!(read(json!({"sub": bad, "roles": "ops"}), "roles").is_err(), "{bad}");
        }
    }

    #[test]
    fn times_hold_within_the_leeway() {
        let now = Timestamp::from_second(10_000).unwrap();
        let check = |claims: Value| check_times(claims.as_object().unwrap(), now, Duration::from_secs(60));
        assert!(check(json!({"exp": 10_001})).is_ok() && check(json!({"exp": 9_941})).is_ok());
        for bad in [
            json!({"exp": 9_940}),
            json!({}),
            json!({"exp": "soon"}),
            json!({"exp": 20_000, "nbf": 10_061}),
            json!({"exp": 20_000, "iat": 10_061}),
            json!({"exp": 1e300}),
        ] {
            assert!(check(bad.clone()).is_err(), "{bad}");
        }
    }
}
