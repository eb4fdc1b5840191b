//! A Redfish client for what an installation needs: find the system and its slots, insert and
//! eject images, boot once, reset.
//!
//! It knows nothing of jobs and decides nothing: it says what a BMC shows and asks a BMC for one
//! thing at a time. Reading is lenient, for BMCs are (`json`); writing is strict. Invariants:
//! resources are found by links only; credentials never leave the BMC's origin; reads are repeated
//! within bounds, writes never blindly: an error says by [`RedfishError::effect`] whether it may
//! have had one; and all clones of a [`Bmc`] share one session and one request in flight a system.
//!
//! One file uses only those that stand before it here. Those with state of their own are types; the verbs of [`Bmc`]
//! are implemented beside their protocols and borrow what they need.
//!
//! - What a BMC sends: `json`, `bounded`, `encoding`, `messages`; what is asked and what goes wrong: `op`, `error`.
//! - What resources say, without requests: `service`, `system`, `slot`, `action_info`; what a BMC does differently,
//!   by name: `quirks`; what worked before: `learned`, `memory`.
//! - `transport` (with `call`, `body`, `link`, `latency`, `identity`): one request and its answer.
//! - `session` (with `root`, `logins`, `gate`, `expiry`, `recent`): login, retries, how many requests at the same time.
//! - `tags`, `task`: a write with its ETag, and what became of it.
//! - `discovery`, then `slots` with `remote_map`: where things are.
//! - The verbs: `virtual_media` (with `insert_form`), `media_service`, `boot` (with `boot_options`, `boot_import`),
//!   `reset` (with `hosts`); `storage`, `hardware`, `about`, `plan`.

mod about;
mod action_info;
mod body;
mod boot;
mod boot_import;
mod boot_options;
mod bounded;
mod call;
mod discovery;
mod encoding;
mod error;
mod expiry;
#[cfg(any(test, fuzzing, feature = "testing"))]
pub mod fuzzed;
mod gate;
mod hardware;
mod hosts;
mod identity;
mod insert_form;
mod json;
mod latency;
mod learned;
mod link;
mod logins;
mod media_service;
mod memory;
mod messages;
mod op;
mod plan;
mod quirks;
mod recent;
mod remote_map;
mod reset;
mod root;
mod service;
mod session;
mod slot;
mod slots;
mod storage;
mod system;
mod tags;
mod task;
mod transport;
mod virtual_media;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use url::Url;

use discovery::Discovery;
use gate::RequestGate;
use hosts::HostNotes;
use recent::Turns;
use shoal_base::world::{Secrets, TlsPolicy, World};
use shoal_base::{Password, UrlSecrets};
use slots::{SlotFinder, SlotsWanted};
use transport::Transport;

pub use about::{About, Manager};
pub use action_info::Parameter;
pub use error::{Effect, ErrorClass, Obstacle, RedfishError, RedfishErrorKind};
pub use gate::Pass;
pub use hardware::{Drive, Firmware, Hardware, Nic, Processors};
pub use learned::{How, Learned};
pub use media_service::MediaService;
pub use memory::{BmcLinks, BmcMemory};
pub use op::Op;
pub use plan::Plan;
pub use quirks::{Identity, Quirk, Quirks};
pub use recent::ReadAge;
pub use service::{Service, Vendor};
pub use session::Session;
pub use slot::Slot;
pub use storage::{Disk, Disks, DurableName};
pub use system::{Boot, BootProgress, PowerState, ResetType, System, UnknownResetType};

/// Of a service that has no VirtualMedia resource (HPE Cray EX).
const NO_VIRTUAL_MEDIA: &str = "this firmware has no virtual media: neither the System nor its managers link to \
     VirtualMedia; update the BMC's firmware, or install this host by other means";

/// One BMC by one account. Clones share everything.
///
/// The verbs are where their protocols are: `observe_…` only reads, `request_…` asks the BMC for one change.
#[derive(Clone)]
pub struct Bmc(Arc<Rooms>);

/// What is known of one BMC, each part with its own state and only of those before it.
struct Rooms {
    session: Arc<Session>,
    learned: Arc<Learned>,
    discovery: Arc<Discovery>,
    slots: SlotFinder,
    hosts: HostNotes,
}

impl Bmc {
    fn new(http: Transport, gate: Arc<RequestGate>, turns: Arc<Turns>) -> Bmc {
        let (expiry, learned) = (Arc::default(), Arc::<Learned>::default());
        let session = Arc::new(Session::new(http, gate, turns, &expiry));
        let discovery = Arc::new(Discovery::new(session.clone(), learned.clone(), &expiry));
        let slots = SlotFinder::new(session.clone(), discovery.clone(), learned.clone(), &expiry);
        let hosts = HostNotes::new(&session.turns);
        Bmc(Arc::new(Rooms { session, learned, discovery, slots, hosts }))
    }

    /// The session on the BMC, for the controller that follows a crash.
    pub fn session(&self) -> &Session {
        &self.0.session
    }

    /// What has worked on this BMC so far.
    pub fn learned(&self) -> &Learned {
        &self.0.learned
    }

    /// Begins with what was kept of this BMC.
    pub fn recall(&self, memory: BmcMemory) {
        self.0.learned.recall(memory);
        if let Some(root) = self.0.learned.links(|links| links.root.clone()) {
            self.0.session.recall_root(&root);
        }
    }

    /// Leave for a request that is not sent by this client: until it is dropped, no other one is in flight.
    pub async fn pass(&self) -> Pass {
        self.0.session.gate.enter(None).await
    }

    /// Remembers where things are on the host of this system. A system without a UUID is looked for each time.
    pub fn remember_links(&self, system: &System) {
        let slots = self.0.slots.links_of(system);
        self.0.learned.keep_links(BmcLinks { slots, ..self.0.discovery.links_of(system) });
    }

    /// Looks for everything again. Whether anything was remembered.
    pub fn forget_links(&self) -> bool {
        self.0.discovery.forget_links()
    }

    /// What this BMC does differently, as far as it has said who it is.
    pub fn quirks(&self) -> Quirks {
        self.0.discovery.quirks()
    }

    /// Whose BMC it is, from a closed set: the metric label. `unknown` before the first request.
    pub fn vendor(&self) -> &'static str {
        self.0.session.http.identity.vendor()
    }

    /// Hides the secrets of URLs that this BMC is given from all that it says.
    pub fn hide(&self, secrets: UrlSecrets) {
        self.0.session.http.hide(secrets);
    }

    /// How long one insert may take, its Task included.
    pub fn insert_timeout(&self) -> Duration {
        self.0.session.http.limits.insert_timeout
    }

    /// What the service root says.
    pub async fn observe_service(&self) -> Result<Service, RedfishError> {
        Ok(self.0.session.root().await?.service)
    }

    /// Every system of the service. One that gives no answer has [`System::unread`] set; if none
    /// answers, that is the error.
    pub async fn observe_systems(&self) -> Result<Vec<System>, RedfishError> {
        self.0.discovery.systems().await
    }

    /// The system at `link`, which is a [`System::link`].
    pub async fn observe_system(&self, link: &str) -> Result<System, RedfishError> {
        self.observe_system_of(link, ReadAge::New).await
    }

    /// The same, from a reading that may be so old.
    pub async fn observe_system_of(&self, link: &str, age: ReadAge) -> Result<System, RedfishError> {
        self.0.discovery.system_of(link, age).await
    }

    /// The caller has waited for something: what was read before it says nothing of now.
    pub fn look_anew(&self) {
        self.0.session.turns.pause();
    }

    /// The virtual media slots of a system, in natural order of their names; those that have refused
    /// an image come last.
    pub async fn observe_slots(&self, system: &System) -> Result<Vec<Slot>, RedfishError> {
        Ok(self.in_order(self.0.slots.slots(system, &SlotsWanted::ALL).await?))
    }

    /// The same, but no more of them than it takes to have so many drives for CD images that have refused none.
    pub async fn observe_drives(&self, system: &System, cds: usize) -> Result<Vec<Slot>, RedfishError> {
        let refusing = self.0.learned.refusing();
        let wanted = SlotsWanted { cds, refusing, age: ReadAge::JustRead };
        Ok(self.in_order(self.0.slots.slots(system, &wanted).await?))
    }

    /// All of them, each from a reading that is good enough to choose an act.
    pub async fn observe_slots_before_act(&self, system: &System) -> Result<Vec<Slot>, RedfishError> {
        let wanted = SlotsWanted { age: ReadAge::BeforeAct, ..SlotsWanted::ALL };
        Ok(self.in_order(self.0.slots.slots(system, &wanted).await?))
    }

    fn in_order(&self, mut slots: Vec<Slot>) -> Vec<Slot> {
        slots::rule_out_consoles(&mut slots);
        for slot in &mut slots {
            slot.refusing = self.0.learned.is_refusing(&slot.link);
        }
        slots.sort_by_key(|slot| slot.refusing);
        slots
    }

    /// The slot at `link`, which is a [`Slot::link`].
    pub async fn observe_slot(&self, link: &str) -> Result<Slot, RedfishError> {
        self.observe_slot_of(link, ReadAge::New).await
    }

    /// The same, from a reading that may be so old.
    pub async fn observe_slot_of(&self, link: &str, age: ReadAge) -> Result<Slot, RedfishError> {
        self.0.slots.slot_of(link, None, age).await
    }

    /// Why this BMC has no virtual drives for `system` that could be given images from here, and what to do
    /// about it, where that is known. The slots were looked for before.
    pub fn without_drives(&self, system: &System) -> Option<&'static str> {
        let has_none = self.0.slots.has_none(system);
        self.quirks().without_drives().or(has_none.then_some(NO_VIRTUAL_MEDIA))
    }

    /// Deletes the session on the BMC. The next request makes another.
    pub async fn close(&self) {
        self.0.session.close().await;
    }
}

/// Hands out [`Bmc`]s, one for each account of each BMC, shared by all who ask for it.
#[derive(Clone)]
pub struct BmcPool(Arc<Pool>);

struct Pool {
    world: World,
    limits: Limits,
    connections: Mutex<BTreeMap<Key, Bmc>>,
}

/// Address, user, SHA-256 of the password, TLS policy: with another password it is another
/// account, whose login was not refused yet.
type Key = (String, String, [u8; 32], String);

/// Accounts whose clients are kept while no job uses them.
const IDLE_MAX: usize = 4096;

impl BmcPool {
    pub fn new(world: World, limits: Limits) -> BmcPool {
        BmcPool(Arc::new(Pool { world, limits, connections: Mutex::default() }))
    }

    /// The BMC of this account. Nothing is sent yet.
    pub fn bmc(&self, account: &Account) -> Bmc {
        let mut connections = self.connections();
        if connections.len() >= IDLE_MAX {
            connections.retain(|_, bmc| Arc::strong_count(&bmc.0) > 1);
        }
        let key = account.key();
        if let Some(bmc) = connections.get(&key) {
            return bmc.clone();
        }
        // However many accounts there are on a BMC, it is one.
        let first = (key.0.clone(), String::new(), [0; 32], String::new());
        let beside = connections.range(first..).next().filter(|(other, _)| other.0 == key.0);
        let (gate, turns) = match beside {
            Some((_, other)) => (other.0.session.gate.clone(), other.0.session.turns.clone()),
            None => (Arc::new(RequestGate::new(self.0.limits.per_bmc)), Arc::default()),
        };
        let http = Transport::new(account.clone(), self.0.world.clone(), self.0.limits.clone());
        let bmc = Bmc::new(http, gate, turns);
        connections.insert(key, bmc.clone());
        bmc
    }

    /// Deletes the account's session and forgets what is known of the BMC.
    pub async fn forget(&self, account: &Account) {
        let forgotten = self.connections().remove(&account.key());
        if let Some(bmc) = forgotten {
            bmc.close().await;
        }
    }

    /// Deletes all sessions, at a shutdown.
    pub async fn close_all(&self) {
        let all: Vec<Bmc> = std::mem::take(&mut *self.connections()).into_values().collect();
        join_all(all.iter().map(Bmc::close)).await;
    }

    fn connections(&self) -> MutexGuard<'_, BTreeMap<Key, Bmc>> {
        self.0.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How to reach a BMC, and as whom.
#[derive(Clone, Debug)]
pub struct Account {
    /// Scheme, host and port; the Redfish service is at its `/redfish/v1/`.
    pub address: Url,
    pub username: String,
    pub password: Password,
    /// Where the password is, if it is kept elsewhere.
    pub secrets: Secrets,
    pub tls: TlsPolicy,
}

impl Account {
    fn key(&self) -> Key {
        let password = self.secrets.resolve(&self.password).unwrap_or_else(|_| self.password.clone());
        let password = Sha256::digest(password.expose()).into();
        (self.address.to_string(), self.username.clone(), password, self.tls.to_string())
    }
}

/// Bounds of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one request, `REDFISH_TIMEOUT`.
    pub timeout: Duration,
    /// Of one insert with its Task, `REDFISH_INSERT_TIMEOUT`.
    pub insert_timeout: Duration,
    /// Tries of a read after the first, `REDFISH_RETRIES`.
    pub retries: u32,
    /// Requests in flight a system, `REDFISH_PER_BMC`.
    pub per_bmc: usize,
    /// Quirks that are not believed, whatever a BMC says of itself.
    pub quirks_off: Vec<Quirk>,
}

impl Default for Limits {
    /// The defaults of the public contract.
    fn default() -> Limits {
        Limits {
            timeout: Duration::from_secs(30),
            insert_timeout: Duration::from_secs(15 * 60),
            retries: 5,
            per_bmc: 1,
            quirks_off: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
