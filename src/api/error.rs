//! What a refused or failed request is answered: a [`Problem`], and which status.
//!
//! The only table of status codes. Invariant: a problem never quotes a request's body, and a fault
//! of ours is logged with its causes and reported without them.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::domain::{FieldError, JobId};
use crate::media::ImageError;
use crate::store::{StoreError, StoreErrorKind};
use shoal_base::{NoSeat, with_causes};

pub use crate::problem::{FieldProblem, Problem};

/// When a client that found no room for a stream may ask again.
const STREAM_RETRY_SECS: u64 = 10;

/// Why a request is not answered as its sender hoped.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{0}")]
    BadRequest(String),
    #[error(
        "send Authorization: Bearer and a token that is good; the first start wrote one to admin.token beside the \
         database, and an admin makes others"
    )]
    Unauthorised,
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    NotFound(String),
    #[error("method not allowed")]
    MethodNotAllowed,
    #[error("{detail}")]
    Conflict { detail: String, job: Option<JobId> },
    #[error("the record has changed since it was read: read it again, and send its ETag as If-Match")]
    Stale,
    #[error("the body is larger than {max} bytes")]
    TooLarge { max: usize },
    #[error("the body did not come in {} s", within.as_secs())]
    TooSlow { within: Duration },
    #[error("send Content-Type: application/json")]
    NotJsonType,
    #[error("{detail}")]
    Invalid { detail: String, errors: Vec<FieldError>, job: Option<JobId> },
    #[error("too many {what}: wait {} s", wait.as_secs() + 1)]
    TooMany { what: &'static str, wait: Duration },
    #[error("{0}")]
    NotReady(String),
    #[error("{0}")]
    BmcFailed(String),
    #[error(
        "{}: close some, or try again in {STREAM_RETRY_SECS} s",
        match .0 {
            NoSeat::Holder => "this token holds as many event streams as one token may",
            NoSeat::Full => "the controller holds as many event streams as it can",
        }
    )]
    TooManyStreams(NoSeat),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Image(ImageError),
}

impl From<ImageError> for ApiError {
    fn from(error: ImageError) -> ApiError {
        match error {
            ImageError::Store(error) => ApiError::Store(error),
            error => ApiError::Image(error),
        }
    }
}

impl ApiError {
    /// Faults of a body, a pointer each.
    pub fn invalid(detail: impl Into<String>, errors: Vec<FieldError>) -> ApiError {
        ApiError::Invalid { detail: detail.into(), errors, job: None }
    }

    pub fn unknown_path() -> ApiError {
        ApiError::NotFound("there is nothing under that path".to_owned())
    }

    /// Status and title.
    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            ApiError::BadRequest(_) => (StatusCode::BAD_REQUEST, "Bad request"),
            ApiError::Unauthorised => (StatusCode::UNAUTHORIZED, "Unauthorised"),
            ApiError::Forbidden(_) => (StatusCode::FORBIDDEN, "Forbidden"),
            ApiError::NotFound(_) => (StatusCode::NOT_FOUND, "Not found"),
            ApiError::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
            ApiError::Conflict { .. } => (StatusCode::CONFLICT, "Conflict"),
            ApiError::Stale => (StatusCode::PRECONDITION_FAILED, "Precondition failed"),
            ApiError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "Body too large"),
            ApiError::TooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, "Body too slow"),
            ApiError::NotJsonType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type"),
            ApiError::Invalid { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid content"),
            ApiError::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            ApiError::NotReady(_) => (StatusCode::SERVICE_UNAVAILABLE, "Not ready"),
            ApiError::BmcFailed(_) => (StatusCode::BAD_GATEWAY, "BMC failed"),
            ApiError::TooManyStreams(_) => (StatusCode::TOO_MANY_REQUESTS, "Too many streams"),
            ApiError::Store(error) => store_status(error),
            ApiError::Image(error) => image_status(error),
        }
    }

    fn job(&self) -> Option<JobId> {
        match self {
            ApiError::Conflict { job, .. } | ApiError::Invalid { job, .. } => *job,
            ApiError::Store(
                StoreError::Busy { job, .. } | StoreError::Decided { job, .. } | StoreError::Leased { job },
            ) => Some(*job),
            _ => None,
        }
    }

    /// The body of the answer.
    pub fn problem(&self) -> Problem {
        let (status, title) = self.status();
        let errors = match self {
            ApiError::Invalid { errors, .. } => errors.iter().map(FieldProblem::from).collect(),
            _ => Vec::new(),
        };
        Problem {
            kind: format!("urn:shoal:problem:{}", title.to_ascii_lowercase().replace(' ', "-")),
            title: title.to_owned(),
            status,
            detail: self.to_string(),
            errors,
            job_id: self.job().map(|job| job.to_string()),
        }
    }
}

fn store_status(error: &StoreError) -> (StatusCode, &'static str) {
    match error {
        StoreError::UnknownServer { .. }
        | StoreError::UnknownJob { .. }
        | StoreError::UnknownBatch { .. }
        | StoreError::UnknownToken { .. } => (StatusCode::NOT_FOUND, "Not found"),
        StoreError::ServerExists { .. }
        | StoreError::SimilarServer { .. }
        | StoreError::ServerChanged { .. }
        | StoreError::Busy { .. }
        | StoreError::Decided { .. }
        | StoreError::Leased { .. }
        | StoreError::TokenExists { .. }
        | StoreError::LastAdminToken => (StatusCode::CONFLICT, "Conflict"),
        StoreError::TooManyTokens { .. } => (StatusCode::INSUFFICIENT_STORAGE, "Too many tokens"),
        StoreError::IdempotencyConflict => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid content"),
        StoreError::InventoryFull { .. } => (StatusCode::INSUFFICIENT_STORAGE, "Inventory full"),
        _ => match error.kind() {
            StoreErrorKind::Full => (StatusCode::INSUFFICIENT_STORAGE, "No space left"),
            StoreErrorKind::ReadOnly | StoreErrorKind::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "Database unavailable")
            }
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "Internal error"),
        },
    }
}

fn image_status(error: &ImageError) -> (StatusCode, &'static str) {
    match error {
        ImageError::Unknown => (StatusCode::NOT_FOUND, "Not found"),
        ImageError::NameTaken { .. } => (StatusCode::CONFLICT, "Conflict"),
        ImageError::Empty
        | ImageError::Sha256 { .. }
        | ImageError::NotAllowed { .. }
        | ImageError::RedirectNotAllowed { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid content"),
        ImageError::Broken { .. } | ImageError::Fetch(_) => (StatusCode::BAD_GATEWAY, "Download failed"),
        ImageError::Full { .. } | ImageError::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "No space left"),
        ImageError::Store(error) => store_status(error),
        ImageError::Disk { .. } | ImageError::Changed { .. } => {
            (StatusCode::INTERNAL_SERVER_ERROR, "Internal error")
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let (status, _) = self.status();
        if status.is_server_error() {
            let causes = with_causes(&self);
            tracing::error!(status = status.as_u16(), causes, "a request failed");
        }
        let wait = match &self {
            ApiError::TooMany { wait, .. } => Some(wait.as_secs() + 1),
            ApiError::TooManyStreams(_) => Some(STREAM_RETRY_SECS),
            _ => None,
        };
        let mut response = problem.into_response();
        let headers = response.headers_mut();
        if let Some(wait) = wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"shoal\""));
        }
        response
    }
}

impl From<&FieldError> for FieldProblem {
    fn from(error: &FieldError) -> FieldProblem {
        FieldProblem { pointer: error.pointer.clone(), message: error.message.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_the_job_in_the_way() {
        let job = JobId::new(1, [0; 10]);
        let server = "A1".parse().unwrap();
        let problem = ApiError::Store(StoreError::Busy { server, job }).problem();
        assert_eq!((problem.status, problem.job_id), (StatusCode::CONFLICT, Some(job.to_string())));
        assert!(problem.detail.contains("A1"), "{}", problem.detail);
    }

    #[test]
    fn faults_of_ours_are_500_or_more() {
        let (status, _) = store_status(&StoreError::Closed);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
}
