//! What a BMC refuses for a while after each reset request: its System, its slots, every account, or everything.
//!
//! Nothing of the machine changes. Invariant: a refused request had no effect, and before the first reset request
//! nothing is refused.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;

use super::super::bmc::Bmc;
use super::super::faults::Fault;
use super::super::message::Message;
use super::resource::Resource;
use super::{Call, Refusal};
use shoal_base::world::elapsed;

/// What the client asks for, as far as these faults distinguish requests.
struct RequestKind {
    is_system: bool,
    is_slot: bool,
    is_login: bool,
    /// It needs no account.
    is_open: bool,
}

impl RequestKind {
    fn of(call: &Call, resource: Option<&Resource>) -> RequestKind {
        use Resource as R;
        let is_login = matches!(resource, Some(R::Sessions)) && call.method == Method::POST;
        RequestKind {
            is_system: matches!(resource, Some(R::System | R::Settings | R::SystemReset)),
            is_slot: matches!(resource, Some(R::Slot(_) | R::OpenSlot(_) | R::Insert(_) | R::Eject(_))),
            is_login,
            is_open: resource.is_some_and(|resource| resource.is_open(&call.method)) && !is_login,
        }
    }
}

impl Bmc {
    pub fn refuse_for_a_while(
        &mut self,
        call: &Call,
        resource: Option<&Resource>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some(asked_at) = self.reset_asked_at.filter(|_| !self.calm) else { return Ok(()) };
        let (since, asked) = (elapsed(asked_at, now), RequestKind::of(call, resource));
        if matches!(resource, Some(Resource::Slots)) && call.method == Method::GET {
            self.slots_unlisted = false;
        }
        let unlisted = self.slots_unlisted;
        let strikes = |fault: &Fault| match wait_of(fault, &asked) {
            Some(wait) => since < wait,
            None => *fault == Fault::Slots404UntilListed && unlisted && asked.is_slot,
        };
        let Some(fault) = self.faults.find(|fault| strikes(fault).then(|| fault.clone())) else {
            return Ok(());
        };
        self.note(fault.name());
        Err(match fault {
            Fault::Unauthorised401AfterReset(_) => Message::no_valid_session(),
            Fault::NotReadyAfterReset(_) if asked.is_login => Message::not_ready(401),
            Fault::NotReadyAfterReset(_) => Message::not_ready(400),
            _ => Message::missing(&call.path),
        })
    }
}

/// How long the fault refuses such a request; `None` where it is not concerned.
fn wait_of(fault: &Fault, asked: &RequestKind) -> Option<Duration> {
    match fault {
        Fault::System404AfterReset(wait) if asked.is_system => Some(*wait),
        Fault::Slots404AfterReset(wait) if asked.is_slot => Some(*wait),
        Fault::Unauthorised401AfterReset(wait) if !asked.is_open => Some(*wait),
        Fault::NotReadyAfterReset(wait) if !asked.is_open => Some(*wait),
        _ => None,
    }
}
