//! Which system answers at the management address, and how much its answer proves. Pure.
//!
//! The address is an operator's word: it may belong to another host of the same build, whose certificate is
//! renewed or which restarts in the middle of the job, or its name may lead to several hosts by rotation.
//! Invariant: an answer is `proven` only where something ties it to this host (its second boot, or the silence after the reset of
//! the system that answered before), one certificate has been shown over the window without a silence, and it came
//! no sooner than an installed system can answer.

use std::time::Duration;

use jiff::Timestamp;

use super::{WatchContext, is_live, second_boot, shifted};
use crate::domain::{AddressFacts, ApiHost, ApiSample, Confidence, Evidence, EvidenceKind, WatchFacts};
use shoal_base::world::{after, elapsed};

/// Two failed connections so far apart are a silence; a service that restarts is back sooner.
pub const SILENCE: Duration = Duration::from_secs(10);

/// Certificates of one address that are distinguished; more of them change nothing.
const CERTIFICATES_MAX: usize = 8;

/// An installed system answers no sooner after its kickstart was read than so many times the floor: it has
/// been installed, and both firmware and system have started since.
const FLOORS: u32 = 3;

/// Folds one look at the management address in. The first sight of each host there stays.
pub fn observe_api(watch: &mut WatchFacts, context: &WatchContext<'_>, sample: ApiSample) {
    let address = &mut watch.address;
    if sample.silent {
        address.answered_since = None;
        let since = *address.silent_since.get_or_insert(sample.at);
        if elapsed(since, sample.at) >= SILENCE {
            address.silent_at.get_or_insert(sample.at);
        }
        return;
    }
    address.silent_since = None;
    let Some(host) = &sample.host else { return };
    let last = watch.api.as_ref().and_then(|known| known.host.as_ref());
    if last == Some(host) {
        address.answered_since.get_or_insert(sample.at);
        address.answered_at = Some(sample.at);
        return;
    }
    if is_back(address, context, last, host) {
        address.alternates = true;
        return;
    }
    if address.certificates.len() < CERTIFICATES_MAX {
        address.certificates.push(host.certificate.clone());
    }
    address.answered_since = Some(sample.at);
    address.answered_at = Some(sample.at);
    watch.api = Some(sample);
}

/// A certificate that was seen before another one: two hosts answer alternately.
fn is_back(
    address: &AddressFacts,
    context: &WatchContext<'_>,
    last: Option<&ApiHost>,
    host: &ApiHost,
) -> bool {
    let before = context.management.and_then(|management| management.before.host.as_ref());
    let is_first = before.is_some_and(|before| before.certificate == host.certificate);
    last.is_some() && (is_first || address.certificates.contains(&host.certificate))
}

/// Whether a system answered before the reset and has not been seen silent since: worth a look, however
/// early.
pub fn may_fall_silent(watch: &WatchFacts, context: &WatchContext<'_>) -> bool {
    context.management.is_some_and(|management| !management.before.silent)
        && watch.address.silent_at.is_none()
}

/// When to look again whether the address is still silent.
pub fn silent_until(watch: &WatchFacts) -> Option<Timestamp> {
    let address = &watch.address;
    address.silent_since.filter(|_| address.silent_at.is_none()).map(|since| after(since, SILENCE))
}

/// The installed system at the management address: of the installer's build, and not what answered
/// there before. Every installation makes a certificate of its own, so one that has not changed
/// belongs to another host, or to a host that was not installed.
pub(super) fn os_api(watch: &WatchFacts, context: &WatchContext<'_>) -> Option<Evidence> {
    let management = context.management?;
    let ApiSample { at, host: Some(host), .. } = watch.api.as_ref()? else { return None };
    let before = management.before.host.as_ref();
    let is_unchanged = before.is_some_and(|before| before.certificate == host.certificate);
    let is_new = before.is_some() || context.ks_read_at().is_some();
    // A host that has not booted again runs its installer: another host answers.
    let is_contradicted = is_live(watch) && second_boot(watch, context).is_none();
    if host.build != management.build || is_unchanged || !is_new || is_contradicted {
        return None;
    }
    let (version, build) = (&host.version, &host.build);
    let doubt = doubt(watch, context, *at).map(|doubt| format!("; {doubt}")).unwrap_or_default();
    let detail = format!(
        "ESXi {version} build {build} answered at the management address with a certificate of its own{doubt}"
    );
    Some(Evidence { kind: EvidenceKind::OsApi, at: *at, detail })
}

/// What an answer that was first seen at `at` is worth so far.
pub(super) fn worth(watch: &WatchFacts, context: &WatchContext<'_>, at: Timestamp) -> Confidence {
    let AddressFacts { answered_since, answered_at, .. } = &watch.address;
    let is_kept = answered_since.zip(*answered_at).is_some_and(|(since, answered_at)| {
        answered_at >= after(since.max(at), context.policy.stable_window)
    });
    if is_kept && doubt(watch, context, at).is_none() { Confidence::Proven } else { Confidence::Probable }
}

/// From when on an answer that proves nothing is believed as far as it goes: another host may have given it
/// while this one still installs.
pub(super) fn doubted_until(
    watch: &WatchFacts,
    context: &WatchContext<'_>,
    at: Timestamp,
) -> Option<Timestamp> {
    let from = context.ks_read_at().unwrap_or(context.started_at);
    let over = || shifted(watch, context.policy, after(from, context.policy.min_install_time));
    doubt(watch, context, at).filter(|_| second_boot(watch, context).is_none()).map(|_| over())
}

/// Why an answer may be another host's, for good.
pub(super) fn doubt(watch: &WatchFacts, context: &WatchContext<'_>, at: Timestamp) -> Option<&'static str> {
    // Of a system that was not recognised as ESXi no certificate is known, so its silence and return would look the same
    // as an installation.
    let answered_before = context.management.is_some_and(|management| management.before.host.is_some());
    let fell_silent = watch.address.silent_at.is_some_and(|silent_at| silent_at <= at);
    let from = context.ks_read_at().unwrap_or(context.started_at);
    let is_late = at >= after(from, FLOORS * context.policy.proof_floor);
    let boot = second_boot(watch, context);
    let has_booted = boot.as_ref().is_some_and(|boot| boot.at <= at);
    if watch.address.alternates {
        Some("the address alternates between certificates, so it leads to more than one host")
    } else if answered_before && !fell_silent {
        Some(
            "the address answered before the reset and was not seen silent after it, so it may be another host's",
        )
    } else if !answered_before && boot.is_none() {
        Some(
            "the address showed no ESXi before the reset and no second boot of this host was seen, so another host that came \
             up meanwhile may have answered",
        )
    } else if !is_late && !has_booted {
        Some(
            "the answer came sooner after the kickstart's read than an installation takes (three times ESXI_PROOF_FLOOR)",
        )
    } else {
        None
    }
}
