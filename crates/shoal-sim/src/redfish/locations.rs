//! How a service names what it has made, and where it sends those who ask at the wrong path.
//!
//! Invariant: a redirected request has done nothing, and every name leads to the same resource on this service.

use http::{Method, StatusCode, header};

use super::super::faults::{Fault, Faults};
use super::{Call, Reply, ReplyBody};

/// The name that the BMC has for itself.
const INTERNAL: &str = "https://bmc.internal.invalid";

impl Reply {
    /// `Location` in the form that the faults want.
    pub fn located(mut self, faults: &Faults) -> Reply {
        if !self.status.is_success() {
            return self;
        }
        if faults.has(&Fault::LocationsInBody) {
            self.headers.retain(|(name, _)| *name != header::LOCATION);
        }
        for (_, path) in self.headers.iter_mut().filter(|(name, _)| *name == header::LOCATION) {
            if faults.has(&Fault::LocationsAbsolute) {
                *path = format!("{INTERNAL}{path}");
            } else if faults.has(&Fault::LocationsRelative) {
                *path = path.trim_start_matches('/').to_owned();
            }
        }
        self
    }
}

/// The redirect that meets this request, if any.
pub fn redirect(call: &Call, faults: &Faults) -> Option<Reply> {
    let is_meant = call.method == Method::POST && !call.path.ends_with('/');
    (is_meant && faults.has(&Fault::PostsRedirected)).then(|| {
        let moved = Reply { status: StatusCode::MOVED_PERMANENTLY, headers: vec![], body: ReplyBody::Empty };
        moved.with(header::LOCATION, format!("{}/", call.path))
    })
}
