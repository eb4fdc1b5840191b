//! Sessions: a sealed cookie that says who signed in, and until when.
//!
//! The cookie holds no token and nothing is stored for it, so a session lives through a restart and at every
//! controller with the same keys; that it was ended before its time is what the store holds. Invariants: a session ends at the latest after [`SESSION_MAX`] and with the token
//! that opened it, which is looked up for every request; what a browser sends back opens only if this controller
//! sealed it as a session.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::UiParts;
use crate::access::{Actor, Role};
use crate::api::{Access, ApiError};
use crate::seal::Sealer;
use shoal_base::world::{Clock, Rng, after};

/// However long the token is good.
const SESSION_MAX: Duration = Duration::from_secs(12 * 3_600);
/// Of a person of an identity provider: their role is not looked up again before.
const PERSON_MAX: Duration = Duration::from_secs(3_600);
pub const CSRF_BYTES: usize = 16;
const CONTEXT: &str = "ui session";

/// What the cookie says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    id: String,
    /// [`Actor::id`]: of a token it is looked up again for every request.
    actor: String,
    name: String,
    role: Role,
    pub expires_at: Timestamp,
    pub csrf: String,
}

/// Makes sessions, finds them again, and ends them.
pub struct Sessions {
    sealer: Sealer,
    clock: Clock,
    rng: Rng,
    /// With `Secure`, under a name that no other host of the domain can set.
    is_secure: bool,
}

impl Sessions {
    pub fn new(parts: &UiParts) -> Sessions {
        let is_public_tls = parts.public_url.as_ref().is_some_and(|url| url.scheme() == "https");
        Sessions {
            sealer: parts.sealer.clone(),
            clock: parts.world.clock.clone(),
            rng: parts.world.rng.child("ui sessions"),
            is_secure: parts.tls || is_public_tls,
        }
    }

    /// A new session, and the header that gives it to the browser.
    pub fn begin(&self, actor: &Actor) -> HeaderValue {
        let now = self.clock.wall();
        let is_token = actor.id.starts_with("token:");
        let longest = after(now, if is_token { SESSION_MAX } else { PERSON_MAX });
        let session = Session {
            id: self.rng.hex(16),
            actor: actor.id.clone(),
            name: actor.name.clone(),
            role: actor.role,
            expires_at: actor.expires_at.map_or(longest, |end| end.min(longest)),
            csrf: self.rng.hex(CSRF_BYTES),
        };
        let left = session.expires_at.as_second() - now.as_second();
        self.set_cookie(self.name(), &self.seal(CONTEXT, &session), "/", left)
    }

    /// Who sends a request with these headers; `None` where no session holds.
    pub async fn find(
        &self,
        headers: &HeaderMap,
        access: &Access,
        source: Option<IpAddr>,
    ) -> Result<Option<(Session, Actor)>, ApiError> {
        let Some(session) = self.shown(headers) else { return Ok(None) };
        if !self.holds(&session, access).await? {
            return Ok(None);
        }
        let actor = match session.actor.strip_prefix("token:").map(str::parse) {
            Some(Ok(token)) => access.token_holder(&token, source).await?,
            Some(Err(_)) => None,
            None => Some(session.person()),
        };
        // Open answers end with the session, as they end with a token.
        let until = Some(session.expires_at);
        Ok(actor.map(|actor| (session, Actor { expires_at: until, ..actor })))
    }

    /// Whether a session that was found a while ago still holds, but for its token.
    pub async fn holds(&self, session: &Session, access: &Access) -> Result<bool, ApiError> {
        Ok(session.expires_at > self.clock.wall() && !access.session_has_ended(&session.id).await?)
    }

    fn shown(&self, headers: &HeaderMap) -> Option<Session> {
        let session: Session = self.open(CONTEXT, cookie(headers, self.name())?)?;
        (session.expires_at > self.clock.wall()).then_some(session)
    }

    /// Ends a session, and has the browser drop its cookie.
    pub async fn end(&self, session: Option<&Session>, access: &Access) -> Result<HeaderValue, ApiError> {
        if let Some(session) = session {
            access.end_session(&session.id, session.expires_at).await?;
        }
        Ok(self.set_cookie(self.name(), "", "/", 0))
    }

    pub fn seal(&self, context: &str, value: &impl Serialize) -> String {
        let plain = serde_json::to_vec(value).expect("a cookie has string keys");
        URL_SAFE_NO_PAD.encode(self.sealer.seal(context, &plain))
    }

    pub fn open<T: DeserializeOwned>(&self, context: &str, text: &str) -> Option<T> {
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        serde_json::from_slice(&self.sealer.open(context, &sealed).ok()?).ok()
    }

    /// The header that gives a browser a cookie for `seconds`, or takes it away after 0.
    ///
    /// Lax, not Strict: a link from a chat or the return from an identity provider arrives with it, and no form of
    /// another site does.
    pub fn set_cookie(&self, name: &str, value: &str, path: &str, seconds: i64) -> HeaderValue {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let text = format!(
            "{name}={value}; Path={path}; Max-Age={}; HttpOnly; SameSite=Lax{secure}",
            seconds.max(0)
        );
        HeaderValue::from_str(&text).expect("a cookie is made of ASCII")
    }

    fn name(&self) -> &'static str {
        if self.is_secure { "__Host-shoal" } else { "shoal" }
    }
}

impl Session {
    /// A person of an identity provider, as the signed token described them.
    fn person(&self) -> Actor {
        Actor {
            id: self.actor.clone(),
            name: self.name.clone(),
            role: self.role,
            expires_at: Some(self.expires_at),
        }
    }
}

/// The value of a cookie.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(is_secure: bool, clock: Clock) -> Sessions {
        Sessions { sealer: Sealer::new([3; 32]), clock, rng: Rng::from_seed(1), is_secure }
    }

    fn sent(set_cookie: &HeaderValue) -> HeaderMap {
        let pair = set_cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        HeaderMap::from_iter([(header::COOKIE, format!("theme=dark; {pair}").parse().unwrap())])
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_lasts_until_its_token_ends_or_for_twelve_hours() {
        let clock = Clock::virtual_from("2026-11-22T12:00:00Z".parse().unwrap());
        let sessions = sessions(true, clock.clone());
        let forever = Actor { expires_at: None, id: "token:0123".to_owned(), ..Actor::anybody() };
        let person = sent(&sessions.begin(&Actor { id: "oidc:ada".to_owned(), ..forever.clone() }));
        let short =
            Actor { expires_at: Some(after(clock.wall(), Duration::from_secs(60))), ..forever.clone() };
        let (long, short) = (sent(&sessions.begin(&forever)), sent(&sessions.begin(&short)));
        assert!(sessions.shown(&long).is_some() && sessions.shown(&short).is_some());
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(sessions.shown(&long).is_some() && sessions.shown(&short).is_none());
        let other = sent(&sessions.begin(&forever));
        tokio::time::advance(PERSON_MAX).await;
        assert!(sessions.shown(&person).is_none(), "a person signs in again after an hour");
        tokio::time::advance(SESSION_MAX - PERSON_MAX - Duration::from_secs(1)).await;
        assert!(sessions.shown(&other).is_some());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(sessions.shown(&other).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_was_sealed_as_a_session_is_one() {
        let clock = Clock::virtual_from("2026-11-22T12:00:00Z".parse().unwrap());
        let sessions = sessions(false, clock);
        let shown = |value: &str| {
            let pair = format!("shoal={value}").parse().unwrap();
            sessions.shown(&HeaderMap::from_iter([(header::COOKIE, pair)])).is_some()
        };
        let cookie = sessions.begin(&Actor::anybody());
        let value = cookie.to_str().unwrap().strip_prefix("shoal=").unwrap().split(';').next().unwrap();
        assert!(shown(value));
        let session: Session = sessions.open(CONTEXT, value).unwrap();
        assert!(!shown(&sessions.seal("another purpose", &session)));
        for bad in ["", "x", &value[1..], &format!("{value}AA")] {
            assert!(!shown(bad), "{bad}");
        }
    }

    #[test]
    fn a_cookie_is_hidden_from_scripts_and_secure_with_tls() {
        let clock = Clock::virtual_from("2026-11-22T12:00:00Z".parse().unwrap());
        for (is_secure, name) in [(true, "__Host-shoal="), (false, "shoal=")] {
            let cookie = sessions(is_secure, clock.clone()).begin(&Actor::anybody());
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.starts_with(name) && cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
            assert!(cookie.contains("; Path=/;") && cookie.contains("; Secure") == is_secure, "{cookie}");
        }
    }
}
