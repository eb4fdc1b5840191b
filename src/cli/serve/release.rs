//! Lets the API release servers: through the same clients as jobs, so that a BMC gets no second login because of it.

use std::sync::Arc;

use futures_util::FutureExt;

use crate::flow::Services;
use crate::release::{self, Releaser};

pub fn releaser(services: Arc<Services>) -> Releaser {
    Arc::new(move |server, ask| {
        let services = services.clone();
        async move {
            let report = release::release(&services.bmc(&server), &server, &ask).await;
            let released = report.as_ref().is_ok_and(|report| report.released);
            tracing::info!(server = %server.serial, released, force = ask.force, "a server was released");
            report
        }
        .boxed()
    })
}
