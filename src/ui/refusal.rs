//! Why a page or an act is refused.
//!
//! Rendered by the gate, which knows who asks. Invariant: a refusal shows what the API said, and nothing of the request.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;

use crate::access::{Actor, Role};
use crate::api::ApiError;

/// One fault of what was sent.
#[derive(Clone, Debug, Deserialize)]
pub struct FaultRecord {
    pub pointer: String,
    pub message: String,
}

/// Why a page or an act is refused.
#[derive(Clone, Debug)]
pub struct PageRefusal {
    pub status: StatusCode,
    pub title: String,
    pub detail: String,
    pub faults: Vec<FaultRecord>,
    /// The job in the way.
    pub job: Option<String>,
}

impl PageRefusal {
    fn new(status: StatusCode, title: &str, detail: impl Into<String>) -> PageRefusal {
        PageRefusal { status, title: title.to_owned(), detail: detail.into(), faults: Vec::new(), job: None }
    }

    pub fn bad(detail: &str) -> PageRefusal {
        PageRefusal::new(StatusCode::BAD_REQUEST, "Bad request", detail)
    }

    pub fn forbidden(detail: &str) -> PageRefusal {
        PageRefusal::new(StatusCode::FORBIDDEN, "Forbidden", detail)
    }

    pub fn role(role: Role, actor: &Actor) -> PageRefusal {
        let detail =
            format!("this page requires the role {role}; {} has the role {}", actor.name, actor.role);
        PageRefusal::forbidden(&detail)
    }

    /// A form that no page of this controller rendered for this session.
    pub fn foreign_form() -> PageRefusal {
        PageRefusal::forbidden(
            "the form was not sent by a page of this session. Nothing was changed. Open the page again and repeat the \
             action; behind a reverse proxy, set PUBLIC_URL to the URL in the browser",
        )
    }

    pub fn not_found() -> PageRefusal {
        PageRefusal::new(StatusCode::NOT_FOUND, "Not found", "no such page")
    }

    pub fn too_large(max: usize) -> PageRefusal {
        let detail = format!("the form is larger than {max} bytes");
        PageRefusal::new(StatusCode::PAYLOAD_TOO_LARGE, "Form too large", detail)
    }

    pub fn broken() -> PageRefusal {
        let detail = "the controller failed to build this page; its log has the cause";
        PageRefusal::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error", detail)
    }
}

impl From<ApiError> for PageRefusal {
    fn from(error: ApiError) -> PageRefusal {
        let problem = error.problem();
        PageRefusal::new(problem.status, &problem.title, problem.detail)
    }
}

/// Rendered by the gate, which knows the viewer.
impl IntoResponse for PageRefusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
