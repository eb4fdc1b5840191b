//! The body of a refusal: `application/problem+json` (RFC 9457).
//!
//! It knows neither what is refused nor why. Invariant: the body names the status that it is sent with.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

pub const PROBLEM_JSON: &str = "application/problem+json";

/// RFC 9457.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// A name of the sort of problem.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    /// The status code, again.
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = u16)]
    pub status: StatusCode,
    /// A sentence that says what to do.
    pub detail: String,
    /// What is wrong with the body, a fault each.
    pub errors: Vec<FieldProblem>,
    /// The job in question, or the one that stands in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
}

/// One fault of a body.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FieldProblem {
    /// JSON pointer, such as `/ks_cfg`.
    pub pointer: String,
    pub message: String,
}

fn as_number<S: Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn the_body_is_problem_json_with_its_own_status() {
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: "Not Found".to_owned(),
            status: StatusCode::NOT_FOUND,
            detail: "there is none".to_owned(),
            errors: Vec::new(),
            job_id: None,
        };
        let response = problem.into_response();
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let expected = serde_json::json!({
            "type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is none", "errors": [],
        });
        assert_eq!(body, expected);
    }
}
