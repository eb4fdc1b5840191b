//! VirtualMedia: the slots, InsertMedia and EjectMedia.
//!
//! An insert goes through three states. It is checked and accepted ([`Bmc::begin_insert`]): from there on the slot is
//! busy and refuses another. It is run without the lock ([`Insert::run`]), in the request or as a Task that the
//! request is answered with; only there an image may be fetched, because by default a BMC takes the URL as it is, and
//! the image is read when the host reads the drive. It is finished ([`Bmc::finish_insert`]): the machine's drive
//! holds the medium, unless a fault loses it.
//!
//! What a slot shows and what its drive holds are two things. The drive is the truth; the slot may show the image of
//! an eject a little longer (`stale`), an image that the drive has not (`ghost`), or what the drive will hold after
//! the next cold start (`waiting`). Invariant: an occupied slot refuses an insert.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;

use super::super::bmc::Bmc;
use super::super::body::Object;
use super::super::drive::{FetchError, ImageCopy, Stream};
use super::super::faults::Fault;
use super::super::message::Message;
use super::super::personas::{Listed, MediaMethod};
use super::super::shared::Shared;
use super::insert_check::{INSERT, PARAMETERS, PROTOCOL};
use super::resource::{Oem, Resource};
use super::{Refusal, Reply, RequestOutcome};
use shoal_base::{with_causes, world};

const EJECT: &str = "VirtualMedia.EjectMedia";

/// An insert that was accepted, and is not done yet.
pub struct Insert {
    /// The index of the slot and of its drive.
    drive: usize,
    /// The URL as it was sent.
    image: String,
    look: LookFirst,
    /// It is a Task, which takes so long.
    task: Option<Duration>,
    /// That Task shows the image, and fails.
    fails: bool,
}

/// What the BMC fetches before it calls the medium inserted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LookFirst {
    /// Nothing: a wrong URL shows when the host reads.
    Nothing,
    /// Whether the server has it.
    FirstBlock,
    /// All of it: the host reads the copy.
    Whole,
}

impl Bmc {
    /// The collection. Where the image's address is a configuration, its members are what is mounted; where images
    /// are listed in a map, it has none.
    pub fn render_slots(&self) -> Value {
        let media = &self.config.persona.media;
        let by_config = media.way == MediaMethod::IsoConfig;
        let members: Vec<_> = (0..self.drives_shown())
            .filter(|_| media.way != MediaMethod::RemoteMap)
            .filter(|drive| !by_config || self.shown_image(*drive).is_some())
            .map(Resource::Slot)
            .collect();
        let mut slots =
            self.collection(&Resource::Slots, "VirtualMediaCollection", "Virtual Media", &members);
        if by_config {
            slots["Oem"]["Supermicro"]["VirtualMediaConfig"] = self.link(&Resource::Oem(Oem::IsoConfig));
        }
        slots
    }

    /// One slot, with the properties and the actions that the persona gives it.
    pub fn render_slot(&self, drive: usize) -> Option<Value> {
        let slot = self.slots.get(drive)?;
        let shown = self.shown_image(drive);
        let name = shown.as_deref().and_then(|image| image.rsplit('/').next()).map(str::to_owned);
        let image = shown.as_deref().map(|image| self.echo(image));
        let mut rendered = json!({
            "@odata.id": self.path(&Resource::Slot(drive)),
            "@odata.type": "#VirtualMedia.v1_6_3.VirtualMedia",
            "Id": slot.id,
            "Name": format!("Virtual Media {}", slot.id),
            "MediaTypes": slot.types,
            "Inserted": shown.is_some(),
            "Image": image,
            "ImageName": name,
            "ConnectedVia": if slot.applet { "Applet" } else if shown.is_some() { "URI" } else { "NotConnected" },
            "WriteProtected": true,
            "TransferMethod": "Stream",
        });
        if !slot.typed {
            rendered.as_object_mut()?.remove("MediaTypes");
        }
        if self.config.persona.media.way == MediaMethod::Action && !slot.applet {
            rendered["Actions"] = self.render_slot_actions(drive, shown.is_some());
        }
        self.add_slot_oem(drive, &mut rendered);
        Some(rendered)
    }

    /// InsertMedia and EjectMedia, and where the protocols are listed: in the action, in an ActionInfo, as prose or
    /// nowhere.
    fn render_slot_actions(&self, drive: usize, is_full: bool) -> Value {
        let media = &self.config.persona.media;
        let mut insert = json!({ "target": self.path(&Resource::Insert(drive)) });
        let protocols = format!("{PROTOCOL}@Redfish.AllowableValues");
        match media.listed {
            Listed::Nowhere => {}
            Listed::Inline => insert[protocols] = json!(media.protocols),
            Listed::Prose => {
                insert[protocols] = json!(["www for HTTP and HTTPS shares", "nfs for NFS shares"])
            }
            Listed::Info => insert["@Redfish.ActionInfo"] = json!(self.path(&Resource::InsertInfo(drive))),
        }
        let mut actions = match self.slots.get(drive).is_some_and(|slot| slot.eject_only) {
            true => json!({}),
            false => json!({ format!("#{INSERT}"): insert }),
        };
        if is_full || !media.eject_when_full {
            actions[format!("#{EJECT}")] = json!({ "target": self.path(&Resource::Eject(drive)) });
        }
        actions
    }

    /// What an insert takes, where an ActionInfo says it.
    pub fn render_insert_info(&self, drive: usize) -> Value {
        let media = &self.config.persona.media;
        let parameters = PARAMETERS.map(|name| {
            let required = name == "Image" || media.required.contains(&name);
            let mut parameter = json!({ "Name": name, "Required": required });
            if name == PROTOCOL && !media.protocols.is_empty() {
                parameter["AllowableValues"] = json!(media.protocols);
            }
            parameter
        });
        json!({
            "@odata.id": self.path(&Resource::InsertInfo(drive)),
            "@odata.type": "#ActionInfo.v1_4_2.ActionInfo",
            "Id": "InsertMediaActionInfo",
            "Name": "Insert Media Action Info",
            "Parameters": parameters,
        })
    }

    /// The image's URL as this BMC gives it back.
    fn echo(&self, image: &str) -> String {
        match Url::parse(image) {
            Ok(mut url) if self.config.persona.media.drops_port => {
                // It has a host, so this cannot fail.
                let _ = url.set_port(None);
                url.to_string()
            }
            _ => image.to_owned(),
        }
    }

    /// A PATCH of a slot: an image, none, or the slot's own boot switch.
    pub fn patch_slot(
        &mut self,
        drive: usize,
        body: &Object,
        now: Timestamp,
    ) -> Result<RequestOutcome, Refusal> {
        let switch = body.get("Oem").and_then(|oem| oem.get("Hpe")?.get("BootOnNextServerReset")?.as_bool());
        if let Some(on) = switch.filter(|_| self.config.persona.boot.by_slot) {
            self.computer.machine.boot_cd_next(on);
            return Ok(RequestOutcome::Reply(Reply::no_content()));
        }
        if self.config.persona.media.way != MediaMethod::Patch || self.slots[drive].refuses {
            return Err(Message::property_not_writable("Image"));
        }
        match body.get("Image") {
            Some(Value::String(_)) => self.insert_media(drive, body).map(RequestOutcome::Insert),
            Some(Value::Null) => self.eject_media(drive, now).map(RequestOutcome::Reply),
            Some(other) => Err(Message::property_type("Image", other)),
            None if body.get("Inserted") == Some(&Value::Bool(false)) => {
                self.eject_media(drive, now).map(RequestOutcome::Reply)
            }
            None => Err(Message::property_missing("Image")),
        }
    }

    /// The image that the slot shows: what is in it, or what a stale view still says.
    fn shown_image(&self, drive: usize) -> Option<String> {
        let slot = self.slots.get(drive)?;
        if let Some(waiting) = &slot.waiting {
            return waiting.clone();
        }
        let stale = slot.stale.as_ref().map(|(image, _)| image).or(slot.ghost.as_ref());
        self.computer.machine.medium(drive).map(|medium| &medium.image).or(stale).cloned()
    }

    /// InsertMedia, or a PATCH of an image: the parameters are checked as strictly as the standard allows, because
    /// the client has to find the form that a BMC takes.
    pub fn insert_media(&mut self, drive: usize, body: &Object) -> Result<Insert, Refusal> {
        let image = self.check_insert(body)?;
        self.begin_insert(drive, &image)
    }

    /// An insert of an image whose other parameters are in order.
    pub fn begin_insert(&mut self, drive: usize, image: &str) -> Result<Insert, Refusal> {
        if self.slots.get(drive).is_some_and(|slot| slot.refuses || !slot.takes(image)) {
            return Err(Message::not_for_images());
        }
        // Refused for the slot's sake: another slot would take the image.
        if let Some(status) = self.first_slot_refuses().filter(|_| drive == 0) {
            return Err(Message::of_this_slot(status));
        }
        // Refused for the URL's sake: no slot would take it.
        self.check_scheme(image)?;
        let image = image.to_owned();
        // A slot whose insert is still running is as occupied as one that holds a medium.
        let occupied = self.held(drive).is_some();
        if occupied || self.slots.get(drive).is_none_or(|slot| slot.busy) {
            return Err(Message::in_use());
        }
        let other = self.other_filled(drive);
        if other.is_some() && self.faults.has(&Fault::SecondCdRefused) {
            return Err(Message::in_use());
        }
        if self.happens_once(&Fault::Insert500Once) || self.is_unwell_after_eject(drive) {
            return Err(Message::internal());
        }
        if self.happens_once(&Fault::InsertQuotesUrl) {
            return Err(Message::quotes(&image));
        }
        // What is fetched first, and whether the request is answered before that.
        let look = if self.faults.has(&Fault::Prefetch) {
            LookFirst::Whole
        } else if self.faults.has(&Fault::InsertChecksUrl) {
            LookFirst::FirstBlock
        } else {
            LookFirst::Nothing
        };
        let takes = self.faults.find(|fault| match fault {
            Fault::InsertTask(takes) => Some(*takes),
            Fault::InsertTaskFails => Some(Duration::from_secs(2)),
            _ => None,
        });
        let fails_after = self.faults.find(|fault| match fault {
            Fault::InsertTaskFailsLate(wait) => Some((fault.clone(), *wait)),
            _ => None,
        });
        let fails_after = fails_after.filter(|(fault, _)| self.happens_once(fault)).map(|(_, wait)| wait);
        self.slots[drive].busy = true;
        Ok(Insert { drive, image, look, task: takes.or(fails_after), fails: fails_after.is_some() })
    }

    /// The status with which the first slot refuses every image, as one that the BMC keeps for itself.
    fn first_slot_refuses(&self) -> Option<u64> {
        self.faults.find(|fault| match fault {
            Fault::FirstSlotRefuses(status) => Some(*status),
            _ => None,
        })
    }

    /// An insert comes too soon after an eject.
    fn is_unwell_after_eject(&mut self, drive: usize) -> bool {
        let fault = self.faults.find(|fault| match fault {
            Fault::Insert500AfterEject(wait) => Some((fault.name(), *wait)),
            _ => None,
        });
        let ejected_at = self.slots.get(drive).and_then(|slot| slot.ejected_at);
        let Some(((name, wait), at)) = fault.zip(ejected_at) else { return false };
        let is_too_soon = self.asked_at < world::after(at, wait);
        if is_too_soon {
            self.note(name);
        }
        is_too_soon
    }

    /// What the slot holds, or will at the next cold start.
    pub fn held(&self, drive: usize) -> Option<String> {
        let in_drive = || self.computer.machine.medium(drive).map(|medium| medium.image.clone());
        self.slots.get(drive).and_then(|slot| slot.waiting.clone()).unwrap_or_else(in_drive)
    }

    /// Whether the host does not see what is done to its drives.
    fn is_out_of_reach(&self) -> bool {
        self.faults.has(&Fault::LiveMediaIgnored) && self.computer.machine.is_on()
    }

    /// A host that is off takes what its slots were given meanwhile.
    pub fn settle_slots(&mut self) {
        if self.computer.machine.is_on() {
            return;
        }
        for drive in 0..self.slots.len() {
            match self.slots[drive].waiting.take() {
                Some(Some(image)) => drop(self.computer.machine.insert(drive, image)),
                Some(None) => self.computer.machine.eject(drive),
                None => {}
            }
        }
    }

    /// Ejects what the slot holds; an empty slot answers as the faults want it.
    pub fn eject_media(&mut self, drive: usize, now: Timestamp) -> Result<Reply, Refusal> {
        let image = self.held(drive);
        let ghost = self.slots.get_mut(drive).and_then(|slot| slot.ghost.take());
        // What a BMC answers to the eject of an empty slot differs most of all.
        let Some(image) = image else {
            if ghost.is_some() {
                return Ok(Reply::no_content());
            }
            return if self.faults.has(&Fault::EjectEmpty400) {
                Err(Message::property_value("Inserted", "false"))
            } else if self.faults.has(&Fault::EjectEmpty500) {
                Err(Message::internal())
            } else {
                Ok(Reply::no_content())
            };
        };
        if let Some(slot) = self.slots.get_mut(drive) {
            slot.ejected_at = Some(now);
        }
        // A running host keeps its medium; the slot shows the eject all the same.
        if self.is_out_of_reach() {
            self.slots[drive].waiting = Some(None);
            return Ok(Reply::no_content());
        }
        self.computer.eject(drive);
        let stale = self.faults.find(|fault| match fault {
            Fault::StaleInserted(stale) => Some(*stale),
            _ => None,
        });
        if let Some(slot) = self.slots.get_mut(drive) {
            slot.copy = None;
            slot.stale = stale.map(|stale| (image, world::after(now, stale)));
        }
        Ok(Reply::no_content())
    }

    /// Ends what slots show beyond its time.
    pub fn refresh_slots(&mut self, now: Timestamp) {
        self.settle_slots();
        for slot in &mut self.slots {
            slot.stale = slot.stale.take().filter(|(_, until)| now < *until);
        }
    }

    /// Shows an image that the drive does not hold, or stops showing it.
    fn show_ghost(&mut self, drive: usize, image: Option<String>) {
        if let Some(slot) = self.slots.get_mut(drive) {
            slot.ghost = image;
        }
    }

    /// Puts the medium into the drive, or loses it as the faults want: not done at all, shown and not seen by the
    /// host, or left until the next cold start.
    fn finish_insert(
        &mut self,
        insert: &Insert,
        looked: Result<Option<Arc<ImageCopy>>, Refusal>,
    ) -> Result<(), Refusal> {
        let slot = self.slots.get_mut(insert.drive).ok_or_else(Message::internal)?;
        // Whatever becomes of it, the slot takes another insert from now on.
        slot.busy = false;
        slot.copy = looked?;
        slot.stale = None;
        slot.ghost = None;
        if self.happens_counted(|fault| match fault {
            Fault::InsertNotDone(times) => Some(*times),
            _ => None,
        }) {
            return Ok(());
        }
        let unseen = self.happens_counted(|fault| match fault {
            Fault::InsertNotSeen(times) => Some(*times),
            _ => None,
        });
        let slot = self.slots.get_mut(insert.drive).ok_or_else(Message::internal)?;
        if unseen {
            slot.ghost = Some(insert.image.clone());
            return Ok(());
        }
        tracing::info!(machine = self.config.serial, slot = slot.id, "a medium is inserted");
        if self.is_out_of_reach() {
            self.slots[insert.drive].waiting = Some(Some(insert.image.clone()));
            return Ok(());
        }
        // Some have one medium for two slots.
        if let Some(other) = self.other_filled(insert.drive)
            && self.faults.has(&Fault::SecondCdReplaces)
        {
            self.computer.eject(other);
        }
        self.computer.machine.insert(insert.drive, insert.image.clone());
        Ok(())
    }

    /// Another drive with a medium in it.
    fn other_filled(&self, drive: usize) -> Option<usize> {
        (0..self.slots.len()).find(|other| *other != drive && self.computer.machine.medium(*other).is_some())
    }
}

impl Insert {
    /// Does the insert, or begins the Task that does it. The client may go away meanwhile: a BMC
    /// ends what it has begun.
    pub async fn run(self, shared: Arc<Shared>) -> Reply {
        let Some(takes) = self.task else {
            let done = tokio::spawn(async move {
                let looked = self.look(&shared).await;
                shared.change(|bmc, _| bmc.finish_insert(&self, looked))
            });
            let done = done.await.unwrap_or_else(|_| Err(Message::internal()));
            return done.map_or_else(Reply::from, |()| Reply::no_content());
        };
        // Answered now with 202 and the Task; the insert goes on behind it.
        let id = shared.change(|bmc, now| bmc.tasks.begin(now));
        tokio::spawn(self.run_task(shared.clone(), id, takes));
        shared.bmc().task_accepted(id)
    }

    /// The Task: it takes its time, then does what the request would have done, and keeps the result for its
    /// monitor.
    async fn run_task(self, shared: Arc<Shared>, id: u64, takes: Duration) {
        if self.fails {
            shared.change(|bmc, _| bmc.show_ghost(self.drive, Some(self.image.clone())));
        }
        tokio::time::sleep(takes).await;
        let fails = self.fails || shared.bmc().faults.has(&Fault::InsertTaskFails);
        let looked = if fails { Err(Message::cannot_fetch(&self.image)) } else { self.look(&shared).await };
        shared.change(|bmc, now| {
            bmc.show_ghost(self.drive, None);
            let result = bmc.finish_insert(&self, looked);
            bmc.tasks.end(id, result, now);
        });
    }

    /// Fetches of the image what this BMC wants to see before it calls the medium inserted.
    async fn look(&self, shared: &Shared) -> Result<Option<Arc<ImageCopy>>, Refusal> {
        let transport = shared.image_transport();
        let looked: Result<_, FetchError> = match self.look {
            LookFirst::Nothing => Ok(None),
            LookFirst::FirstBlock => {
                let mut stream = Stream::new(transport, self.image.clone(), Duration::ZERO, None);
                stream.try_read(0..1).await.map(|_| None)
            }
            LookFirst::Whole => {
                ImageCopy::fetch(&transport, &self.image).await.map(|copy| Some(Arc::new(copy)))
            }
        };
        looked.map_err(|error| {
            tracing::warn!(error = %with_causes(&error), "an image cannot be inserted");
            Message::cannot_fetch(&self.image)
        })
    }
}
