//! What a BMC refuses for a while after each reset request: its System, its slots, or every account.
//!
//! Nothing of the machine changes. Invariant: a refused request had no effect, and before the first reset request
//! nothing is refused.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;

use super::super::bmc::Bmc;
use super::super::faults::Fault;
use super::message::Message;
use super::resource::Resource;
use super::{Call, Refusal};
use crate::world::elapsed;

impl Bmc {
    pub fn refuse_for_a_while(
        &mut self,
        call: &Call,
        resource: Option<&Resource>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some(asked_at) = self.reset_asked_at.filter(|_| !self.calm) else { return Ok(()) };
        let since = elapsed(asked_at, now);
        let strikes = |fault: &Fault| wait_of(fault, resource, call).is_some_and(|wait| since < wait);
        let Some(name) = self.faults.find(|fault| strikes(fault).then(|| (fault.name(), is_login(fault))))
        else {
            return Ok(());
        };
        self.note(name.0);
        Err(if name.1 { Message::no_valid_session() } else { Message::missing(&call.path) })
    }
}

fn is_login(fault: &Fault) -> bool {
    matches!(fault, Fault::Unauthorised401AfterReset(_))
}

/// How long the fault refuses such a request; `None` where it is not concerned.
fn wait_of(fault: &Fault, resource: Option<&Resource>, call: &Call) -> Option<Duration> {
    use Resource as R;
    let is_system = matches!(resource, Some(R::System | R::Settings | R::SystemReset));
    let is_slot = matches!(resource, Some(R::Slot(_) | R::OpenSlot(_) | R::Insert(_) | R::Eject(_)));
    let is_login = matches!(resource, Some(R::Sessions)) && call.method == Method::POST;
    let is_open = resource.is_some_and(|resource| resource.is_open(&call.method)) && !is_login;
    match fault {
        Fault::System404AfterReset(wait) if is_system => Some(*wait),
        Fault::Slots404AfterReset(wait) if is_slot => Some(*wait),
        Fault::Unauthorised401AfterReset(wait) if !is_open => Some(*wait),
        _ => None,
    }
}
