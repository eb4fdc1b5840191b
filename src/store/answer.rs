//! The answer of a call, without its type.
//!
//! How an engine carries out a call does not depend on what the call answers; so it is compiled once, and not for each of
//! the hundred calls that there are.

use std::any::Any;

use super::StoreFuture;

/// Invariant: its type is asked for by the call that it answers.
#[derive(Debug)]
pub(super) struct CallAnswer(Box<dyn Any + Send>);

impl CallAnswer {
    pub fn new<T: Send + 'static>(answer: T) -> CallAnswer {
        CallAnswer(Box::new(answer))
    }

    pub fn get<T: 'static>(self) -> T {
        *self.0.downcast().expect("what the call has answered")
    }

    /// A call whose answer has its type again.
    pub fn of<T: 'static>(call: StoreFuture<CallAnswer>) -> StoreFuture<T> {
        Box::pin(async move { call.await.map(CallAnswer::get) })
    }
}
