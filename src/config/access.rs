//! Settings of access: who is let in, how often, and to whom the ends of jobs are reported.

use std::num::NonZeroU32;

use secrecy::SecretString;

use super::values::Values;
use super::{AuthSettings, ConfigError, RateSettings, parse};
use crate::api::{NotifySecret, NotifySettings};
use crate::oidc::{CodeFlowSettings, OidcSettings};

pub fn auth(values: &Values) -> Result<AuthSettings, ConfigError> {
    let bootstrap = values.optional("SHOAL_BOOTSTRAP_TOKEN", parse::secret)?;
    if values.required("AUTH_MODE", parse::word(&[("token", true), ("none", false)]))? {
        return Ok(AuthSettings::Token { bootstrap });
    }
    match bootstrap {
        None => Ok(AuthSettings::None),
        Some(_) => Err(values.invalid("SHOAL_BOOTSTRAP_TOKEN", "AUTH_MODE=none knows no tokens")),
    }
}

pub fn rates(values: &Values) -> Result<RateSettings, ConfigError> {
    let rate = |name| {
        let number = values.required(name, parse::number_within(1, 1_000_000))?;
        Ok(NonZeroU32::new(number).expect("the least is 1"))
    };
    Ok(RateSettings {
        failures_per_minute: rate("AUTH_FAILURES_PER_MINUTE")?,
        writes_per_minute: rate("WRITES_PER_MINUTE")?,
    })
}

pub fn oidc(values: &Values) -> Result<Option<OidcSettings>, ConfigError> {
    let issuer = values.optional("OIDC_ISSUER", parse::secure_url)?;
    let audience = values.optional("OIDC_AUDIENCE", parse::plain_text)?;
    let role_claim = values.required("OIDC_ROLE_CLAIM", parse::claim)?;
    let role_map = values.required("OIDC_ROLE_MAP", parse::role_map)?;
    match (issuer, audience) {
        (Some(issuer), Some(audience)) => Ok(Some(OidcSettings { issuer, audience, role_claim, role_map })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(values
            .invalid("OIDC_ISSUER", "needs OIDC_AUDIENCE beside it: tokens for others are no good here")),
        (None, Some(_)) => Err(values.invalid("OIDC_AUDIENCE", "needs OIDC_ISSUER beside it")),
    }
}

/// The client for sign-in at the web interface.
pub fn sign_in(values: &Values) -> Result<Option<CodeFlowSettings>, ConfigError> {
    let client_id = values.optional("OIDC_CLIENT_ID", parse::plain_text)?;
    let client_secret = values.optional("OIDC_CLIENT_SECRET", parse::secret)?;
    let Some(client_id) = client_id else {
        return match client_secret {
            Some(_) => Err(values.invalid("OIDC_CLIENT_SECRET", "needs OIDC_CLIENT_ID beside it")),
            None => Ok(None),
        };
    };
    if !values.is_given("OIDC_ISSUER") {
        return Err(values.invalid("OIDC_CLIENT_ID", "needs OIDC_ISSUER beside it"));
    }
    match values.optional("PUBLIC_URL", parse::public_url)? {
        Some(public_url) => Ok(Some(CodeFlowSettings { client_id, client_secret, public_url })),
        None => {
            Err(values.invalid("OIDC_CLIENT_ID", "needs PUBLIC_URL, to which the identity provider returns"))
        }
    }
}

pub fn webhook_secrets(values: &Values) -> Result<Vec<SecretString>, ConfigError> {
    let now = values.optional("WEBHOOK_SECRET", parse::secret)?;
    let old = values.optional("WEBHOOK_SECRET_OLD", parse::secret)?;
    if old.is_some() && now.is_none() {
        return Err(values.invalid("WEBHOOK_SECRET_OLD", "needs WEBHOOK_SECRET beside it"));
    }
    Ok(now.into_iter().chain(old).collect())
}

pub fn notify(values: &Values) -> Result<Option<NotifySettings>, ConfigError> {
    let url = values.optional("NOTIFY_URL", parse::notify_url)?;
    let secret = values.optional("NOTIFY_SECRET", str::parse::<NotifySecret>)?;
    match url {
        Some(url) => Ok(Some(NotifySettings { url, secret })),
        None if secret.is_some() => Err(values.invalid("NOTIFY_SECRET", "needs NOTIFY_URL beside it")),
        None => Ok(None),
    }
}
