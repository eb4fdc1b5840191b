//! Why a step could not go on, and whether trying again helps.
//!
//! Invariant: the message says what was being done and what to do next; the cause is `source` and
//! is rendered once, at the edge, by [`Failure::sentence`]. Every failure has its code where it is made.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::failure_code::code_of;
use crate::domain::FailureCode;
use crate::store::StoreError;
use shoal_base::with_causes;
use shoal_redfish::{ErrorClass, RedfishError};

/// A step's failure.
#[derive(Debug)]
pub enum StepError {
    /// The step failed, now or for good.
    Failed(Failure),
    /// The job's own records could not be written: the lease is lost, or the database is. Nothing
    /// more may be done for this job by this worker.
    Store(StoreError),
}

#[derive(Debug)]
pub struct Failure {
    pub code: FailureCode,
    pub retry: bool,
    pub message: String,
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// How long the BMC asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.redfish_error()?.retry_after()
    }

    /// What the BMC answered, where it was the BMC that failed.
    pub fn redfish_error(&self) -> Option<&RedfishError> {
        self.source.as_deref()?.downcast_ref()
    }

    /// Message and causes in one sentence.
    pub fn sentence(&self) -> String {
        match self.source.as_deref() {
            Some(source) => format!("{}: {}", self.message, with_causes(source)),
            None => self.message.clone(),
        }
    }
}

impl StepError {
    fn of(code: FailureCode, retry: bool, message: impl Into<String>) -> StepError {
        StepError::Failed(Failure { code, retry, message: message.into(), source: None })
    }

    /// Trying again cannot help.
    pub fn permanent(code: FailureCode, message: impl Into<String>) -> StepError {
        StepError::of(code, false, message)
    }

    /// Trying again may help.
    pub fn transient(code: FailureCode, message: impl Into<String>) -> StepError {
        StepError::of(code, true, message)
    }

    /// What cannot be, as far as the controller's own code goes.
    pub fn internal(message: impl Into<String>) -> StepError {
        StepError::of(FailureCode::InternalError, false, message)
    }

    /// A failure that was tried often enough, whatever its cause.
    pub fn exhausted(
        code: FailureCode,
        message: impl Into<String>,
        source: impl Error + Send + Sync + 'static,
    ) -> StepError {
        let source = Some(Box::new(source) as Box<dyn Error + Send + Sync>);
        let last = Failure { code, retry: false, message: message.into(), source };
        StepError::permanent(code, last.sentence())
    }

    /// Trying again cannot help; `source` says why.
    pub fn permanent_from(
        code: FailureCode,
        message: impl Into<String>,
        source: impl Error + Send + Sync + 'static,
    ) -> StepError {
        StepError::of(code, false, message).because(source)
    }

    /// Trying again may help; `source` says why it is needed.
    pub fn transient_from(
        code: FailureCode,
        message: impl Into<String>,
        source: impl Error + Send + Sync + 'static,
    ) -> StepError {
        StepError::of(code, true, message).because(source)
    }

    /// A refusal or failure of the BMC, while doing what `message` says.
    pub fn bmc(message: impl Into<String>, source: RedfishError) -> StepError {
        let retry = matches!(source.class(), ErrorClass::Retry);
        StepError::of(code_of(&source), retry, message).because(source)
    }

    fn because(mut self, source: impl Error + Send + Sync + 'static) -> StepError {
        if let StepError::Failed(failure) = &mut self {
            failure.source = Some(Box::new(source));
        }
        self
    }
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> StepError {
        StepError::Store(error)
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepError::Failed(failure) => f.write_str(&failure.message),
            StepError::Store(_) => f.write_str("the job's records could not be written"),
        }
    }
}

impl Error for StepError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StepError::Failed(failure) => failure.source.as_deref().map(|source| source as _),
            StepError::Store(error) => Some(error),
        }
    }
}
