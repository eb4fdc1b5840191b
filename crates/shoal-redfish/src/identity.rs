//! Who a BMC is, as far as it has said so, and which quirks follow from that.
//!
//! Every resource that is read may add to it: the service root names the maker, a host's System the model, its
//! Manager the firmware, and any of them the names of OEM parts. Quirks are computed anew for each use, so that the
//! first request after a resource was read knows what that said. Invariant: it outlives the links that are
//! remembered, because what a BMC is does not change while they are looked for again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::json;
use super::quirks::{Identity, Quirk, Quirks};
use super::service::Vendor;

pub(super) struct BmcIdentity {
    seen: Mutex<SeenIdentity>,
    /// Quirks that an operator or a test has ruled out.
    quirks_off: Vec<Quirk>,
}

#[derive(Default)]
struct SeenIdentity {
    /// The metric label, which the service root decides where it can.
    vendor: Vendor,
    /// What the quirks follow from.
    identity: Identity,
}

impl BmcIdentity {
    pub(super) fn new(quirks_off: Vec<Quirk>) -> BmcIdentity {
        BmcIdentity { seen: Mutex::default(), quirks_off }
    }

    fn seen(&self) -> MutexGuard<'_, SeenIdentity> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The metric label.
    pub(super) fn vendor(&self) -> &'static str {
        self.seen().vendor.name()
    }

    /// Whether the service root has not been read yet: the BMC may not bear a connection that is used again.
    pub(super) fn vendor_unknown(&self) -> bool {
        self.seen().vendor == Vendor::Unknown
    }

    /// The quirks that follow from what the BMC has said of itself so far.
    pub(super) fn quirks(&self) -> Quirks {
        Quirks::of(&self.seen().identity, &self.quirks_off)
    }

    /// Keeps the OEM names of a resource.
    pub(super) fn learn(&self, resource: &Value) {
        self.seen().identity.learn(resource);
    }

    pub(super) fn learn_root(&self, vendor: Vendor, root: &Value) {
        let mut seen = self.seen();
        seen.vendor = vendor;
        // What managers and systems have said stays when the root is read once more: they are not read again for
        // each look, and what the BMC is, does not change.
        if vendor != Vendor::Unknown && vendor != seen.identity.vendor {
            seen.identity = Identity::of(vendor);
        }
        seen.identity.learn(root);
        // HPE names the manager's generation there, before any login.
        let manager = ["/Oem/Hpe/Manager/0/ManagerType", "/Oem/Hp/Manager/0/ManagerType"];
        if let Some(manager) = manager.into_iter().find_map(|pointer| json::text(root, pointer)) {
            seen.identity.manager = manager;
        }
    }

    /// What a host's System says. A root that names no maker (Supermicro X10) leaves it to the System.
    pub(super) fn learn_system(&self, manufacturer: Option<&str>, model: Option<&str>, system: &Value) {
        let mut seen = self.seen();
        if let (Vendor::Other | Vendor::Unknown, Some(maker)) = (seen.vendor, manufacturer) {
            seen.vendor = Vendor::named_in(maker).unwrap_or(seen.vendor);
        }
        seen.identity.vendor = seen.vendor;
        seen.identity.model = model.unwrap_or_default().to_owned();
        seen.identity.learn(system);
    }

    /// What a host's Manager says, `firmware` among it.
    pub(super) fn learn_manager(&self, firmware: Option<String>, manager: &Value) {
        let mut seen = self.seen();
        seen.identity.manager = json::text(manager, "/Model").unwrap_or_default();
        seen.identity.firmware = firmware.unwrap_or_default();
        seen.identity.learn(manager);
    }
}
