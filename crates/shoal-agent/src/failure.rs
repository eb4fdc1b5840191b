//! Why an installation failed: the step, and one sentence for an operator.

use shoal_recipe::FailedStep;

/// The end of an installation that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {message}")]
pub struct Failure {
    pub step: FailedStep,
    pub message: String,
}

impl Failure {
    pub fn new(step: FailedStep, message: impl Into<String>) -> Failure {
        Failure { step, message: message.into() }
    }

    /// For `map_err`: the sentence is `what` and the error behind it.
    pub fn of<E: std::fmt::Display>(
        step: FailedStep,
        what: impl std::fmt::Display,
    ) -> impl FnOnce(E) -> Failure {
        move |error| Failure::new(step, format!("{what}: {error}"))
    }
}

/// What a panic said, for the log: a bug of this program.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    format!("internal error: {text}")
}
