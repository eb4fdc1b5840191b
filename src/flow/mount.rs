//! `mount.maintenance` (CD1) and `mount.task` (CD2, or the USB stick): put one image into one slot.
//!
//! Eject, look, insert, look. What a BMC says of a slot before our own insertion counts for
//! nothing (iDRACs report a stale `Inserted` after an eject: ironic, fix-redfish-vmedia-stale-
//! insert-skip), and every insertion has a URL of its own. One look at the slot decides; the first row that
//! fits counts:
//!
//! | the slot | this job, there | next |
//! |---|---|---|
//! | shows our last URL | has inserted | done |
//! | shows anything else | had an insertion accepted less than [`SHOW_TIMEOUT`] ago | wait: AMI's firmware needs minutes |
//! | holds an image | has not ejected | eject, look again |
//! | holds an image | ejected less than [`STALE_TIMEOUT`] ago | wait |
//! | is empty, or still shows an image | has made fewer than [`INSERTIONS_MAX`] insertions | insert, under a new URL |
//! | the same | has made them all | both media onto one CD if that is left to us, else the step fails |
//!
//! What a failed insertion leads to:
//!
//! | the BMC's answer | next |
//! |---|---|
//! | refused without effect, in whatever words, while an earlier insertion is open | this one does not count; wait for that one |
//! | the slot takes no images | the next slot that fits; where only that of the other medium is left, both on one CD. A slot where an insertion is open is left to the cleanup |
//! | refused, by what has worked in this job (404, 401, not ready) | try again; this one does not count |
//! | none, or a broken one | the insertion is *open*, as is one that was accepted and does not show: a BMC may be at it for minutes, so the slot is looked at first |
//!
//! What the next controller finds after a crash; the first table then decides:
//!
//! | the crash came | the job says | so |
//! |---|---|---|
//! | before an intent was saved | what it said before | the eject or the insertion is done as if for the first time |
//! | after the eject was noted | `ejected_at` | no second eject: an eject that never left costs [`STALE_TIMEOUT`], then the insertion replaces the image |
//! | between an insertion's intent and its receipt | one insertion more, *open*, no receipt | its URL in the slot is success; else the next insertion, which a BMC that is busy with the lost one refuses |
//! | after the receipt | `receipt_at` | the slot has the rest of [`SHOW_TIMEOUT`] to show it |
//!
//! Invariant: the step is done only when the BMC reports the slot inserted with the URL of the last insertion.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::act::{self, ActReport};
use super::failure_code::code_of;
use super::media_base::what_reaching_needs;
use super::{Context, StepError, StepOutcome, publish};
use crate::domain::{Act, Drive, Facts, FailureCode, MediaLayout, Medium, Mount, Mounts, OpenSlot, Step};
use shoal_base::world::{after, elapsed};
use shoal_redfish::{Effect, ErrorClass, How, Obstacle, ReadAge, RedfishError, Slot};

/// How long a slot may take to show what was inserted: AMI firmware needs minutes (facts: field
/// report of MegaRAC 13).
const SHOW_TIMEOUT: Duration = Duration::from_secs(180);
/// How long a slot may claim after an eject that it still holds something. Beyond it the insertion
/// is tried all the same.
const STALE_TIMEOUT: Duration = Duration::from_secs(15);
/// The pause while a BMC is busy with an open insertion.
pub(super) const OPEN_PAUSE: Duration = Duration::from_secs(10);

/// Insertions of one medium after which the BMC is given up.
const INSERTIONS_MAX: u32 = 5;
/// Slots that may refuse one medium.
const REFUSED_MAX: usize = 8;

pub(super) async fn ensure(cx: &mut Context<'_>, medium: Medium) -> Result<StepOutcome, StepError> {
    if medium == Medium::Task && cx.job.facts.mounts.on_one_cd {
        let why = match is_esxi(cx)? {
            true => "the kickstart is on CD1, with the installer",
            false => "the recipe is on CD1, with the maintenance ISO",
        };
        return Ok(StepOutcome::Skipped { why: why.to_owned() });
    }
    // Before this job has done anything to the slot, its look only chooses between an eject and an insertion.
    let mount = cx.job.facts.mounts.of(medium);
    let is_untouched = mount.insertions == 0 && mount.ejected_at.is_none();
    let age = if is_untouched { ReadAge::BeforeAct } else { ReadAge::JustRead };
    let slot = observe_of(cx, medium, age).await?;
    if holds_ours(cx, medium, &slot)? {
        return done(cx, medium, &slot).await;
    }
    let accepted_at = cx.job.cursor.intent.as_ref().and_then(|intent| intent.receipt_at);
    if accepted_at.is_some_and(|at| elapsed(at, cx.now()) < SHOW_TIMEOUT) {
        return Ok(cx.look_again("the BMC accepted the medium and does not show it yet"));
    }
    match cx.job.facts.mounts.of(medium).ejected_at {
        None if slot.inserted == Some(true) => eject_first(cx, medium, &slot).await,
        Some(at) if slot.inserted == Some(true) && elapsed(at, cx.now()) < STALE_TIMEOUT => {
            Ok(cx.look_again("the slot was ejected and does not show it yet"))
        }
        _ => insert(cx, medium, &slot).await,
    }
}

async fn observe(cx: &Context<'_>, medium: Medium) -> Result<Slot, StepError> {
    observe_of(cx, medium, ReadAge::JustRead).await
}

async fn observe_of(cx: &Context<'_>, medium: Medium, age: ReadAge) -> Result<Slot, StepError> {
    let link = cx.job.facts.mounts.of(medium).slot.clone();
    let link = link.ok_or_else(|| StepError::internal("no slot was chosen for this medium"))?;
    let drive = cx.job.facts.mounts.of(medium).drive.label();
    let doing = || format!("looking at the {drive} {link} of server {}", cx.server.serial);
    cx.observe_slot(&link, age).await.map_err(|error| cx.bmc_error(doing(), error))
}

/// Whether the slot shows our last insertion.
fn holds_ours(cx: &Context<'_>, medium: Medium, slot: &Slot) -> Result<bool, StepError> {
    if cx.job.facts.mounts.of(medium).insertions == 0 || slot.inserted != Some(true) {
        return Ok(false);
    }
    Ok(match slot.image.as_deref().filter(|image| !image.is_empty()) {
        Some(_) => is_of_last_insertion(cx, medium, slot)?,
        None => cx.job.cursor.intent.as_ref().is_some_and(|intent| intent.receipt_at.is_some()),
    })
}

/// Whether the slot's image has the URL of the last insertion. Some BMCs echo it without its port (xFusion 3.08); the
/// path alone is ours beyond doubt.
pub(super) fn is_of_last_insertion(cx: &Context<'_>, medium: Medium, slot: &Slot) -> Result<bool, StepError> {
    let url = publish::media_url(cx, medium)?;
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    Ok(slot.image.as_deref().is_some_and(|image| image.ends_with(path)))
}

/// Whether an image of this job is there that should have been ejected: the eject's request was lost.
/// If the medium moved to another slot now, that image would never be ejected.
fn holds_earlier(cx: &Context<'_>, slot: &Slot) -> bool {
    let name = cx.job.id.to_string();
    slot.inserted == Some(true) && slot.image.as_ref().is_some_and(|image| image.contains(&name))
}

async fn eject_first(cx: &mut Context<'_>, medium: Medium, slot: &Slot) -> Result<StepOutcome, StepError> {
    cx.job.facts.mounts.of_mut(medium).ejected_at = Some(cx.now());
    cx.report("media.eject", format!("{} holds another image, which is ejected first", slot.id), json!(null))
        .await?;
    let drive = cx.job.facts.mounts.of(medium).drive.label();
    let doing = || format!("ejecting what the {drive} {} of server {} holds", slot.id, cx.server.serial);
    cx.bmc.request_eject(slot).await.map_err(|error| StepError::bmc(doing(), error))?;
    Ok(StepOutcome::Wait { until: cx.now(), why: "looking whether the slot is empty".to_owned() })
}

async fn insert(cx: &mut Context<'_>, medium: Medium, slot: &Slot) -> Result<StepOutcome, StepError> {
    if insertions(cx, medium) >= INSERTIONS_MAX {
        let why = format!(
            "the BMC of server {} accepted the image for {} and never showed it inserted, {INSERTIONS_MAX} times ({})",
            cx.server.serial,
            slot.id,
            what_was_fetched(cx, medium)
        );
        return fall_back(cx, medium, slot, StepError::permanent(FailureCode::MediaNotShown, why)).await;
    }
    // Counted before the request, so that a request whose answer is lost never shares its URL with the next one:
    // the URL in the slot shows which insertion it was.
    let (now, earlier) = (cx.now(), cx.job.facts.mounts.of(medium).clone());
    let mount = cx.job.facts.mounts.of_mut(medium);
    mount.insertions += 1;
    mount.ejected_at = None;
    mount.open_since = Some(now);
    cx.services.media.admit(cx.job.id, medium, cx.job.facts.mounts.of(medium).insertions);
    let url = publish::media_url(cx, medium)?;
    let bmc = cx.bmc;
    let accepted = |_: &mut Facts, how: &How| {
        let message = format!("the BMC accepted the image for {} by {how}", slot.id);
        ActReport { op: "media.insert", message, detail: json!({ "how": how.to_string() }) }
    };
    if let Err(error) = act::perform(cx, Act::Insert, bmc.request_insert(slot, &url), accepted).await? {
        return refused(cx, medium, slot, error, earlier).await;
    }
    let slot = observe(cx, medium).await?;
    if holds_ours(cx, medium, &slot)? {
        return done(cx, medium, &slot).await;
    }
    Ok(cx.look_again("the BMC accepted the medium and does not show it yet"))
}

/// What becomes of the medium after a failed insertion; `earlier` is what was known of the mount before it.
async fn refused(
    cx: &mut Context<'_>,
    medium: Medium,
    slot: &Slot,
    error: RedfishError,
    earlier: Mount,
) -> Result<StepOutcome, StepError> {
    // The order matters: a busy BMC is no verdict on the slot, and a slot that refuses is none on the medium.
    if let Some(answer) = take_back(cx, medium, &error, &earlier) {
        return Ok(answer);
    }
    if let Some(answer) = next_slot(cx, medium, slot, &error).await? {
        return Ok(answer);
    }
    undo_refused(cx, medium, &error, earlier);
    let error = explain(cx, medium, slot, error);
    fall_back(cx, medium, slot, error).await
}

/// While an `earlier` insertion is open, whatever refuses this one without effect is most likely that one: then this
/// one does not count.
fn take_back(
    cx: &mut Context<'_>,
    medium: Medium,
    error: &RedfishError,
    earlier: &Mount,
) -> Option<StepOutcome> {
    let is_busy = error.is_reported_failure() && error.obstacle() == Some(Obstacle::Busy);
    let did_nothing = error.effect() == Effect::None || error.is_of_an_occupied_slot() || is_busy;
    let is_for_operators = error.class() == ErrorClass::NeedsOperator;
    if did_nothing && !is_for_operators && still_open(cx, earlier) {
        cx.job.facts.mounts.of_mut(medium).clone_from(earlier);
        let why = "the BMC is busy, most likely with the insertion requested before".to_owned();
        return Some(StepOutcome::Wait { until: after(cx.now(), OPEN_PAUSE), why });
    }
    if !error.is_open() {
        cx.job.facts.mounts.of_mut(medium).open_since = earlier.open_since;
    }
    None
}

/// An insertion that was refused because the slot or the account was not there for a while does not count.
fn undo_refused(cx: &mut Context<'_>, medium: Medium, error: &RedfishError, earlier: Mount) {
    let is_transient = error.class() != ErrorClass::Retry && cx.may_pass(error);
    if is_transient && error.effect() == Effect::None {
        *cx.job.facts.mounts.of_mut(medium) = earlier;
    }
}

/// Those that slots refused for their own sake do not count: they did nothing.
fn insertions(cx: &Context<'_>, medium: Medium) -> u32 {
    let mount = cx.job.facts.mounts.of(medium);
    mount.insertions.saturating_sub(mount.refused.len() as u32)
}

/// The slot is kept for something else, or does not accept images: tries the next slot that fits this
/// medium, empty ones first. The refused slot is checked again, so that no copy stays behind in a slot that
/// accepted the image after all.
async fn next_slot(
    cx: &mut Context<'_>,
    medium: Medium,
    slot: &Slot,
    error: &RedfishError,
) -> Result<Option<StepOutcome>, StepError> {
    if !error.is_of_this_slot() || cx.job.facts.mounts.of(medium).refused.len() >= REFUSED_MAX {
        return Ok(None);
    }
    let seen = observe(cx, medium).await?;
    if holds_ours(cx, medium, &seen)? {
        return Ok(Some(cx.look_again("the BMC refused the medium and shows it all the same")));
    }
    if holds_earlier(cx, &seen) {
        cx.job.facts.mounts.of_mut(medium).ejected_at = None;
        return Ok(Some(
            cx.look_again("the slot still holds this job's earlier image, which is ejected again"),
        ));
    }
    let Some(next) = another_slot(cx, medium).await? else { return Ok(None) };
    let message = format!("{} does not take the image ({error}): {} is tried instead", slot.id, next.slot.id);
    let detail = json!({ "refused": slot.link, "slot": next.slot.link });
    if !error.is_of_an_occupied_slot() {
        cx.bmc.learned().note_refusing(&slot.link);
    }
    let (now, earlier) = (cx.now(), insertions(cx, medium) - 1);
    let mount = cx.job.facts.mounts.of_mut(medium);
    mount.refused.push(slot.link.clone());
    // Whatever is known of their end: it may be wrong.
    if earlier > 0 {
        mount.left_open.push(OpenSlot { slot: slot.link.clone(), since: now });
    }
    mount.slot = Some(next.slot.link);
    (mount.ejected_at, mount.open_since) = (None, None);
    cx.job.cursor.intent = None;
    cx.warn("media.slot", message, detail).await?;
    match next.second {
        Second::Stays => {}
        Second::Moves(link) => cx.job.facts.mounts.task.slot = Some(link),
        Second::Joins => {
            cx.job.facts.mounts.set_layout(MediaLayout::SingleCd);
            let why = "there is one virtual CD that takes images: both media go onto it".to_owned();
            cx.warn("media.layout", why.clone(), json!({ "media_layout": MediaLayout::SingleCd.name() }))
                .await?;
            let code = FailureCode::MediaDrivesConflict;
            return Ok(Some(StepOutcome::Back { to: Step::BuildTaskIso, code, why }));
        }
    }
    Ok(Some(StepOutcome::Wait { until: cx.now(), why: format!("looking at {}", next.slot.id) }))
}

/// Where a refused medium goes.
struct Next {
    slot: Slot,
    second: Second,
}

/// What becomes of the second medium, for which that slot may have been chosen.
enum Second {
    Stays,
    /// To the slot of this link.
    Moves(String),
    /// There is no slot for it, and two were not requested.
    Joins,
}

/// One that this job has nothing in and that has not refused the medium; that of the second medium last.
async fn another_slot(cx: &Context<'_>, medium: Medium) -> Result<Option<Next>, StepError> {
    let system = cx.observe_system_of(ReadAge::BeforeAct).await?;
    let doing = || format!("looking for another slot of server {}", cx.server.serial);
    let slots =
        cx.bmc.observe_slots_before_act(&system).await.map_err(|error| StepError::bmc(doing(), error))?;
    let facts = &cx.job.facts;
    let own = &facts.mounts.of(medium).slot;
    let refused = |slot: &Slot| {
        facts.mounts.of(medium).refused.contains(&slot.link) || own.as_ref() == Some(&slot.link)
    };
    let is_second =
        |slot: &Slot| medium == Medium::Boot && facts.mounts.task.slot.as_ref() == Some(&slot.link);
    let is_installers =
        |slot: &Slot| medium == Medium::Task && facts.mounts.boot.slot.as_ref() == Some(&slot.link);
    let mut others: Vec<Slot> = slots
        .into_iter()
        .filter(|slot| fits(facts.mounts.of(medium), slot) && !refused(slot) && !is_installers(slot))
        .collect();
    others.sort_by_key(|slot| (is_second(slot), !slot.is_empty()));
    let mut others = others.into_iter();
    let Some(slot) = others.next() else { return Ok(None) };
    if !is_second(&slot) {
        return Ok(Some(Next { slot, second: Second::Stays }));
    }
    let second = match others.find(|slot| fits(&facts.mounts.task, slot)) {
        Some(other) => Second::Moves(other.link),
        None if may_share(cx)? => Second::Joins,
        None => return Ok(None),
    };
    Ok(Some(Next { slot, second }))
}

fn fits(mount: &Mount, slot: &Slot) -> bool {
    match mount.drive {
        Drive::Usb => slot.is_usable_stick(),
        Drive::Cd => slot.is_usable_cd(),
    }
}

/// Whether everything may go onto one CD: two were not requested, and this controller serves the image.
fn may_share(cx: &Context<'_>) -> Result<bool, StepError> {
    let wanted = cx.spec()?.media_layout.or(cx.services.policy.layout);
    Ok(wanted.is_none() && !cx.job.facts.is_direct())
}

/// A controller that takes the job up has not watched the insertions, and clocks are set in between: their age counts
/// from now.
pub(super) fn take_up(mounts: &mut Mounts, now: Timestamp) {
    for mount in [&mut mounts.boot, &mut mounts.task] {
        let left = mount.left_open.iter_mut().map(|left| &mut left.since);
        let own = mount.open_since.iter_mut().filter(|_| mount.gone.is_none());
        own.chain(left).for_each(|since| *since = now);
    }
}

fn still_open(cx: &Context<'_>, mount: &Mount) -> bool {
    mount.open_since.is_some_and(|since| may_still_come(cx, since))
}

/// Whether the image of an insertion that was open at that time may still come into its slot.
pub(super) fn may_still_come(cx: &Context<'_>, open_at: Timestamp) -> bool {
    elapsed(open_at, cx.now()) < cx.bmc.insert_timeout()
}

/// A BMC that shows two drives and does not fill both gets everything on one CD, unless two were requested. CD1 is
/// inserted again under a new URL, because its image has changed.
async fn fall_back(
    cx: &mut Context<'_>,
    medium: Medium,
    slot: &Slot,
    error: StepError,
) -> Result<StepOutcome, StepError> {
    let StepError::Failed(failure) = &error else { return Err(error) };
    let code = failure.code;
    if medium == Medium::Boot || failure.retry || !may_share(cx)? {
        return Err(error);
    }
    let why =
        format!("the second virtual CD cannot be used ({}): both media go onto one", failure.sentence());
    if matches!(code, FailureCode::MediaDrivesConflict | FailureCode::MediaInsertRefused) {
        cx.bmc.learned().note_refusing(&slot.link);
    }
    cx.job.facts.mounts.set_layout(MediaLayout::SingleCd);
    // A new URL: the image behind the old one would change under a BMC that has cached it.
    cx.job.facts.mounts.boot.insertions += 1;
    cx.warn("media.layout", why.clone(), json!({ "media_layout": MediaLayout::SingleCd.name() })).await?;
    // Whatever it holds, a second kickstart must not be found there. The cleanup looks again.
    if let Err(error) = cx.bmc.request_eject(slot).await {
        tracing::debug!(job = %cx.job.id, slot = slot.id, %error, "the second drive is not ejected");
    }
    Ok(StepOutcome::Back { to: Step::BuildTaskIso, code, why })
}

/// A failed insertion, with what our own server saw of the BMC's fetch. The last one that is allowed
/// is not tried again.
fn explain(cx: &Context<'_>, medium: Medium, slot: &Slot, error: RedfishError) -> StepError {
    let (seen, code) = (what_was_fetched(cx, medium), code_of_insertion(cx, medium, &error));
    let mut message = format!("inserting the image into {} of server {} ({seen})", slot.id, cx.server.serial);
    if error.concerns_the_url() {
        let base = cx.job.facts.media_base.as_deref().unwrap_or_default();
        let hint = if base.starts_with("http:") {
            "; if it takes HTTPS alone, serve media over HTTPS (MEDIA_TLS=true)"
        } else {
            ""
        };
        message =
            format!("{message}; the BMC refuses the URL and not the slot (media are served at {base}{hint})");
    }
    if insertions(cx, medium) >= INSERTIONS_MAX {
        return StepError::exhausted(code, message, error);
    }
    match cx.may_pass(&error) {
        true => StepError::transient_from(code, message, error),
        false => StepError::permanent_from(code, message, error),
    }
}

/// What our own server saw of a failed insertion decides, unless the BMC gave a reason of its own or refused the
/// request as it was.
fn code_of_insertion(cx: &Context<'_>, medium: Medium, error: &RedfishError) -> FailureCode {
    let by_answer = code_of(error);
    let is_fetch = error.effect() != Effect::None || error.obstacle() == Some(Obstacle::Connection);
    let is_ours = medium == Medium::Task || !cx.job.facts.is_direct();
    match by_answer {
        FailureCode::MediaInsertRefused | FailureCode::BmcTaskFailed if is_fetch && is_ours => {
            let fetched = cx.services.media.fetched(cx.job.id, medium);
            match (&fetched.last_fault, fetched.requests) {
                (Some(_), _) => FailureCode::MediaFetchRefused,
                (None, 0) => FailureCode::MediaNotRequested,
                (None, _) => FailureCode::MediaInsertRefused,
            }
        }
        FailureCode::BmcTaskFailed => FailureCode::MediaInsertRefused,
        code => code,
    }
}

fn what_was_fetched(cx: &Context<'_>, medium: Medium) -> String {
    let fetched = cx.services.media.fetched(cx.job.id, medium);
    match (&fetched.last_fault, fetched.requests) {
        (Some(fault), _) => format!("its last fetch: {fault}"),
        (None, 0) => {
            let base = cx.job.facts.media_base.as_deref().unwrap_or("an unknown address");
            format!("it never requested the image at {base}: {}", what_reaching_needs(base))
        }
        (None, requests) => format!("it made {requests} requests for {} bytes of the image", fetched.bytes),
    }
}

fn is_esxi(cx: &Context<'_>) -> Result<bool, StepError> {
    Ok(cx.spec()?.esxi().is_some())
}

/// Some BMCs show two drives and have one: what goes into the second falls out of the first.
async fn done(cx: &mut Context<'_>, medium: Medium, slot: &Slot) -> Result<StepOutcome, StepError> {
    cx.job.facts.mounts.of_mut(medium).open_since = None;
    if medium == Medium::Task && observe(cx, Medium::Boot).await?.inserted == Some(false) {
        let message = format!("inserting into {} emptied the first virtual CD", slot.id);
        let error = StepError::permanent(FailureCode::MediaDrivesConflict, message);
        return fall_back(cx, medium, slot, error).await;
    }
    let name = match (medium, cx.job.facts.mounts.layout(), is_esxi(cx)?) {
        (Medium::Boot, MediaLayout::DualCd, true) => "installer",
        (Medium::Boot, MediaLayout::SingleCd, true) => "installer with the kickstart",
        (Medium::Boot, MediaLayout::CdUsb, true) => "installer for a kickstart on a USB stick",
        (Medium::Task, MediaLayout::CdUsb, true) => "USB stick with the kickstart",
        (Medium::Boot, MediaLayout::SingleCd, false) => "maintenance ISO with the recipe",
        (Medium::Boot, _, false) => "maintenance ISO",
        (Medium::Task, MediaLayout::CdUsb, false) => "USB stick with the recipe",
        (Medium::Task, _, _) => "task ISO",
    };
    let detail = json!({
        "slot": slot.link,
        "insertions": cx.job.facts.mounts.of(medium).insertions,
        "media_layout": cx.job.facts.mounts.layout().name(),
    });
    Ok(StepOutcome::Done { message: format!("{name} mounted in slot {}", slot.id), detail })
}
