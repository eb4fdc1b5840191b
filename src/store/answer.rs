//! The answer of a call, without its type.
//!
//! How an engine carries out a call does not depend on what the call answers; so it is compiled once, and not for each of
//! the hundred calls that there are.

use std::any::Any;

use super::StoreFuture;

/// Invariant: its type is asked for by the call that it answers.
#[derive(Debug)]
pub(super) struct Answer(Box<dyn Any + Send>);

impl Answer {
    pub fn new<T: Send + 'static>(answer: T) -> Answer {
        Answer(Box::new(answer))
    }

    pub fn get<T: 'static>(self) -> T {
        *self.0.downcast().expect("what the call has answered")
    }

    /// A call whose answer has its type again.
    pub fn of<T: 'static>(call: StoreFuture<Answer>) -> StoreFuture<T> {
        Box::pin(async move { call.await.map(Answer::get) })
    }
}
