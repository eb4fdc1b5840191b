//! `/api/v1/tokens`: who may ask, for admins.
//!
//! Invariant: a token's text is in the answer that made it, and in no other.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::ApiState;
use super::access::Who;
use super::body::{JsonObject, Name, at_location};
use super::error::{ApiError, Problem};
use super::words::{RoleName, TokenOriginName, TokenStatus};
use crate::access::{NewToken, Role, TokenId, TokenOrigin, TokenRecord};
use crate::domain::Fields;
use shoal_base::world::Rng;

const NAME_CHARS_MAX: usize = 64;
/// Marks a text as a token, for people and for tools that look for leaked secrets.
const PREFIX: &str = "shoal_";

/// A new token: its text follows from nothing but chance.
pub fn new_text(rng: &Rng) -> String {
    format!("{PREFIX}{}", rng.hex(32))
}

/// A new id of a token.
pub fn new_id(rng: &Rng) -> TokenId {
    let mut random = [0; 8];
    rng.fill(&mut random);
    TokenId::new(random)
}

/// A token as shown: all but its text.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenBody {
    /// 16 hex digits; the name of its holder in the audit is `token:` and this.
    id: String,
    name: String,
    #[schema(value_type = RoleName)]
    role: &'static str,
    #[schema(value_type = TokenStatus)]
    status: &'static str,
    /// `file` is admin.token, `environment` SHOAL_BOOTSTRAP_TOKEN.
    #[schema(value_type = TokenOriginName)]
    origin: String,
    created_at: String,
    created_by: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    /// To the minute.
    last_used_at: Option<String>,
    last_used_from: Option<String>,
    /// Shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl TokenBody {
    fn new(record: TokenRecord, now: Timestamp) -> TokenBody {
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let origin = match record.origin {
            TokenOrigin::Created => "created",
            TokenOrigin::File => "file",
            TokenOrigin::Environment => "environment",
        };
        TokenBody {
            status: record.standing(now).name(),
            id: record.id.to_string(),
            name: record.name,
            role: record.role.name(),
            origin: origin.to_owned(),
            created_at: record.created_at.to_string(),
            created_by: record.created_by,
            expires_at: text(record.expires_at),
            revoked_at: text(record.revoked_at),
            last_used_at: text(record.last_used_at),
            last_used_from: record.last_used_from,
            token: None,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TokenList {
    tokens: Vec<TokenBody>,
}

/// A requested token.
#[derive(Debug, ToSchema)]
pub struct TokenInput {
    /// 1 to 64 letters, digits, dots, hyphens and underscores; no other live token may have it.
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$")]
    name: String,
    #[schema(value_type = RoleName)]
    role: Role,
    /// RFC 3339; without it the token is good until it is revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

impl TokenInput {
    fn read(body: &Map<String, Value>, now: Timestamp) -> Result<TokenInput, ApiError> {
        let mut fields = Fields::new(body, &["name", "role", "expires_at"]);
        let name = fields.parsed("name", token_name);
        let role = fields.parsed("role", str::parse::<Role>);
        let expires_at = fields.parsed("expires_at", |text| end(text, now));
        for (key, is_there) in [("name", name.value().is_some()), ("role", role.value().is_some())] {
            let is_reported = fields.errors.iter().any(|error| error.pointer == format!("/{key}"));
            if !is_there && !is_reported {
                fields.refuse(key, "is missing");
            }
        }
        match (name.over(None), role.over(None), fields.errors.is_empty()) {
            (Some(name), Some(role), true) => {
                Ok(TokenInput { name, role, expires_at: expires_at.over(None) })
            }
            _ => Err(ApiError::invalid("invalid token request", fields.errors)),
        }
    }
}

fn token_name(text: &str) -> Result<String, &'static str> {
    let is_name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match (1..=NAME_CHARS_MAX).contains(&text.len()) && text.chars().all(is_name_char) {
        true => Ok(text.to_owned()),
        false => Err("has 1 to 64 letters, digits, dots, hyphens and underscores"),
    }
}

fn end(text: &str, now: Timestamp) -> Result<Timestamp, &'static str> {
    match text.parse::<Timestamp>() {
        Ok(end) if end > now => Ok(end),
        Ok(_) => Err("is over already"),
        Err(_) => Err("is a time such as 2027-01-31T00:00:00Z"),
    }
}

/// Make a token. Its text is in this answer and nowhere else, ever.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = TokenInput,
    responses((status = 201, body = TokenBody), (status = 409, description = "A live token has that name", body = Problem)))]
pub async fn create(
    State(state): State<ApiState>,
    who: Who,
    JsonObject(body): JsonObject,
) -> Result<Response, ApiError> {
    let now = state.world.clock.now();
    let input = TokenInput::read(&body, now)?;
    let text = new_text(&state.world.rng);
    let new = NewToken {
        id: new_id(&state.world.rng),
        name: input.name,
        role: input.role,
        origin: TokenOrigin::Created,
        expires_at: input.expires_at,
        created_at: now,
        created_by: who.actor.id.clone(),
    };
    let detail = serde_json::json!({
        "token": new.id, "name": new.name, "role": new.role, "expires_at": new.expires_at,
    });
    let act = who.act(now, "token.create").with(detail);
    let record = state.store.with_audit(act).insert_token(new, &text).await?;
    tracing::info!(token = %record.id, role = %record.role, actor = who.actor.id, "a token was made");
    let path = format!("/api/v1/tokens/{}", record.id);
    let body = TokenBody { token: Some(text), ..TokenBody::new(record, now) };
    Ok(at_location((StatusCode::CREATED, Json(body)).into_response(), &path))
}

/// All tokens, those that have ended too.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", responses((status = 200, body = TokenList)))]
pub async fn list(State(state): State<ApiState>) -> Result<Json<TokenList>, ApiError> {
    let now = state.world.clock.now();
    let tokens = state.store.tokens().await?;
    Ok(Json(TokenList { tokens: tokens.into_iter().map(|record| TokenBody::new(record, now)).collect() }))
}

/// Revoke a token, immediately and permanently.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens", params(("id" = String, Path)),
    responses((status = 204), (status = 409, description = "It is the last live admin token", body = Problem)))]
pub async fn revoke(
    State(state): State<ApiState>,
    who: Who,
    Name(id): Name<TokenId>,
) -> Result<StatusCode, ApiError> {
    let now = state.world.clock.now();
    let act = who.act(now, "token.revoke").with(serde_json::json!({ "token": id }));
    state.store.with_audit(act).revoke_token(&id, now).await?;
    state.access.note_revocation();
    tracing::info!(token = %id, actor = who.actor.id, "a token was revoked");
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<TokenInput, Vec<String>> {
        let now = Timestamp::from_second(1_000).unwrap();
        TokenInput::read(body.as_object().unwrap(), now).map_err(|error| match error {
            ApiError::Invalid { errors, .. } => errors.into_iter().map(|error| error.pointer).collect(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn every_fault_of_a_token_is_reported() {
        let body = serde_json::json!({"name": "ci", "role": "viewer", "expires_at": "1970-01-01T01:00:00Z"});
        assert_eq!(read(body).unwrap().role, Role::Viewer);
        for (body, faults) in [
            (serde_json::json!({}), vec!["/name", "/role"]),
            (serde_json::json!({"name": "a b", "role": "root"}), vec!["/name", "/role"]),
            (serde_json::json!({"name": null, "role": "admin"}), vec!["/name"]),
            (
                serde_json::json!({"name": "a", "role": "admin", "expires_at": "1970-01-01T00:00:01Z"}),
                vec!["/expires_at"],
            ),
            (
                serde_json::json!({"name": "a", "role": "admin", "expires_at": "tomorrow"}),
                vec!["/expires_at"],
            ),
        ] {
            assert_eq!(read(body.clone()).unwrap_err(), faults, "{body}");
        }
    }
}
