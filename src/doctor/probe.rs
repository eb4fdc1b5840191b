//! Puts a small image into an empty drive, sees how the BMC fetches it, and takes it out again.
//!
//! The host is not touched: nothing on the image boots. Invariants: a drive that holds anything is
//! left alone, and so is one that holds another image than ours by the time that ours would be taken
//! out; whatever happened, an eject of ours is tried.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;
use url::{Host, Url};

use super::facts::ProbeFacts;
use super::look::{SystemAndSlots, trouble};
use super::{ProbePlace, Subject};
use crate::domain::ProbeFetch;
use crate::flow::identity::host_id;
use crate::media::Probe;
use shoal_base::world::World;
use shoal_base::{hide_media_tokens, hide_url_secrets, is_loopback};
use shoal_redfish::Slot;

/// How long a slot may take to show what it was given, or that it is empty.
const SHOW_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// A BMC that has requested nothing for so long has what it wants for now.
const QUIET: Duration = Duration::from_secs(4);
/// How long requests are waited for altogether.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// Eject requests, at most.
const EJECTS_MAX: u32 = 3;

pub async fn probe(
    world: &World,
    subject: &Subject<'_>,
    seen: SystemAndSlots,
    place: ProbePlace<'_>,
) -> ProbeFacts {
    let refused = |why: String| ProbeFacts { refused: Some(why), ..ProbeFacts::default() };
    let base = match place.base.and_then(|base| check_base(base, subject.address)) {
        Ok(base) => base,
        Err(why) => return refused(why),
    };
    if let Some(may_touch) = place.may_touch
        && let Err(why) = may_touch(host_id(subject.address, &seen.system)).await
    {
        return refused(why);
    }
    let cds: Vec<&Slot> = seen.slots.iter().filter(|slot| slot.is_usable_cd()).collect();
    if cds.is_empty() {
        return refused("there is no virtual CD drive to put it into".to_owned());
    }
    if let Some(held) = seen.slots.iter().find(|slot| slot.takes_cd() && !slot.is_empty()) {
        return refused(format!(
            "{} of system {} holds an image already: eject that first",
            held.id, seen.system.id
        ));
    }
    let image = match place.probes.show(world, ip_of(subject.address)).await {
        Ok(image) => image,
        Err(error) => return refused(error.to_string()),
    };
    let mut facts =
        ProbeFacts { base: Some(base.as_str().trim_end_matches('/').to_owned()), ..ProbeFacts::default() };
    let drive = insert(subject, &cds, &base, &image, &mut facts).await;
    if facts.insert_error.is_none() {
        facts.shown = until(subject, drive, |slot| holds(slot, &image)).await;
        wait_for_quiet(&image).await;
    }
    note_fetches(&image, &mut facts).await;
    take_out(subject, drive, &image, &mut facts).await;
    facts
}

/// A name may have many addresses, and which of them the BMC calls from is unknown.
fn ip_of(bmc: &Url) -> Option<IpAddr> {
    match bmc.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// As a job would refuse it.
fn check_base(base: Url, bmc: &Url) -> Result<Url, String> {
    if is_loopback(&base) && !is_loopback(bmc) {
        return Err(format!(
            "{base} is on loopback, where the BMC cannot fetch: set MEDIA_BASE_URL, or --media-addr"
        ));
    }
    Ok(base)
}

/// Puts the image into the first drive that takes it, as a job would; gives the last that was tried.
async fn insert<'s>(
    subject: &Subject<'_>,
    drives: &[&'s Slot],
    base: &Url,
    image: &Probe,
    facts: &mut ProbeFacts,
) -> &'s Slot {
    let url = format!("{}{}", base.as_str().trim_end_matches('/'), image.path());
    let mut drives = drives.iter().peekable();
    loop {
        let drive = *drives.next().expect("there is a drive, and the loop ends with the last");
        facts.slot = Some(drive.id.clone());
        let started = Instant::now();
        let inserted = subject.bmc.request_insert(drive, &url).await;
        facts.insert_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match inserted {
            Ok(how) => facts.how = Some(how.to_string()),
            // Kept for something else (Cisco UCS): another may take it.
            Err(error) if error.is_of_this_slot() && drives.peek().is_some() => continue,
            Err(error) => {
                let mut trouble = trouble(&error);
                trouble.text = shown(&trouble.text);
                facts.insert_error = Some(trouble);
            }
        }
        return drive;
    }
}

/// Looks at the slot until it is as `wanted`, within bounds.
async fn until(subject: &Subject<'_>, drive: &Slot, wanted: impl Fn(&Slot) -> bool) -> bool {
    let deadline = Instant::now() + SHOW_TIMEOUT;
    loop {
        let slot = tokio::time::timeout_at(deadline, subject.bmc.observe_slot(&drive.link)).await;
        if matches!(&slot, Ok(Ok(slot)) if wanted(slot)) {
            return true;
        }
        if Instant::now() + LOOK_AGAIN > deadline {
            return false;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Some BMCs echo the URL without its port (xFusion 3.08), or not at all.
fn holds(slot: &Slot, image: &Probe) -> bool {
    slot.inserted == Some(true) && !holds_another(slot, image)
}

fn holds_another(slot: &Slot, image: &Probe) -> bool {
    slot.image.as_deref().is_some_and(|shown| !shown.ends_with(&image.path()))
}

/// What a BMC said, which may quote the URL that it was given.
fn shown(text: &str) -> String {
    hide_url_secrets(&hide_media_tokens(text))
}

async fn wait_for_quiet(image: &Probe) {
    let deadline = Instant::now() + FETCH_TIMEOUT;
    let mut requests = None;
    while Instant::now() < deadline {
        // Where the store does not answer, it is read again.
        let seen = image.seen().await.ok().map(|seen| seen.requests);
        if seen.is_some() && seen == requests {
            return;
        }
        requests = seen;
        tokio::time::sleep(QUIET).await;
    }
}

async fn note_fetches(image: &Probe, facts: &mut ProbeFacts) {
    let seen = match image.seen().await {
        Ok(seen) => seen,
        Err(error) => {
            facts.requests_unknown = Some(error.to_string());
            return;
        }
    };
    let count = |is: fn(&ProbeFetch) -> bool| seen.fetches.iter().filter(|fetch| is(fetch)).count() as u64;
    facts.requests = seen.requests;
    facts.heads = count(|fetch| fetch.is_head);
    facts.ranges = count(|fetch| fetch.range.is_some());
    facts.wholes = count(|fetch| !fetch.is_head && fetch.range.is_none() && fetch.status == 200);
    facts.errors = count(|fetch| fetch.status >= 400);
    facts.agent = seen.fetches.iter().find_map(|fetch| fetch.agent.clone());
    (facts.refused_connections, facts.refused_why) = (seen.refused, seen.refused_why);
}

/// Leaves the drive as it was: empty.
async fn take_out(subject: &Subject<'_>, drive: &Slot, image: &Probe, facts: &mut ProbeFacts) {
    for _ in 0..EJECTS_MAX {
        let slot = match subject.bmc.observe_slot(&drive.link).await {
            Ok(slot) => slot,
            Err(error) => {
                facts.eject_error = Some(shown(&error.to_string()));
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
        };
        if slot.is_empty() {
            facts.restored = true;
            return;
        }
        if holds_another(&slot, image) {
            facts.eject_error = Some("the drive holds another image by now, which is left alone".to_owned());
            return;
        }
        let ejected = subject.bmc.request_eject(&slot).await;
        facts.eject_error = ejected.err().map(|error| shown(&error.to_string()));
        if until(subject, drive, Slot::is_empty).await {
            facts.restored = true;
            return;
        }
    }
}
