//! A Redfish client for what an installation needs: find the system and its slots, insert and
//! eject images, boot once, reset.
//!
//! It knows nothing of jobs and decides nothing: it says what a BMC shows and asks a BMC for one
//! thing at a time. Reading is lenient, for BMCs are (`json`); writing is strict. Invariants:
//! resources are found by links only; credentials never leave the BMC's origin; reads are repeated
//! within bounds, writes never blindly: an error says by [`RedfishError::effect`] whether it may
//! have had one; and all clones of a [`Bmc`] share one session and one request in flight a system.
//!
//! - `connection`, `encoding`, `bounded`, `tags`: one request: headers, bounds, retries, metrics.
//! - `session`, `gate`, `latency`: login, and how many requests at once.
//! - `discovery`, `learned`: links and ways, and what is remembered of them.
//! - `slots`, `system`, `slot`, `service`, `about`: where slots are, and what resources say.
//! - `storage`: the disks of a host.
//! - `quirks`: what a BMC does differently, by name.
//! - `plan`: how a BMC would be asked.
//! - `virtual_media`, `remote_map`, `media_service`, `boot`, `reset`, `task`: what is asked for.
//! - `op`, `error`, `messages`: what was asked, what goes wrong and what the BMC says of it.

mod about;
mod body;
mod boot;
mod boot_oem;
mod bounded;
mod connection;
mod discovery;
mod encoding;
mod error;
#[cfg(any(test, fuzzing, feature = "testing"))]
pub mod fuzzed;
mod gate;
mod insert_form;
mod json;
mod latency;
mod learned;
mod link;
mod media_service;
mod memory;
mod messages;
mod op;
mod plan;
mod quirks;
mod remote_map;
mod reset;
mod service;
mod session;
mod slot;
mod slots;
mod storage;
mod system;
mod tags;
mod task;
mod virtual_media;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use url::Url;

use connection::Connection;
use shoal_base::world::{Secrets, TlsPolicy, World};
use shoal_base::{Password, UrlSecrets};

pub use about::{About, Manager};
pub use error::{Effect, ErrorClass, RedfishError, RedfishErrorKind};
pub use learned::How;
pub use media_service::MediaService;
pub use memory::BmcMemory;
pub use op::Op;
pub use plan::Plan;
pub use quirks::{Identity, Quirk, Quirks};
pub use service::{Service, Vendor};
pub use slot::Slot;
pub use storage::{Disk, Disks, DurableName};
pub use system::{Boot, BootProgress, PowerState, ResetType, System, UnknownResetType};

/// Of a service that has no VirtualMedia resource (HPE Cray EX).
const NO_VIRTUAL_MEDIA: &str = "this firmware has no virtual media: neither the System nor its managers link to \
     VirtualMedia; update the BMC's firmware, or install this host by other means";

/// One BMC by one account. Clones share everything.
#[derive(Clone)]
pub struct Bmc(Arc<Connection>);

impl Bmc {
    /// Hides the secrets of URLs that this BMC is given from all that it says.
    pub fn hide(&self, secrets: UrlSecrets) {
        self.0.hide(secrets);
    }

    /// What the service root says.
    pub async fn observe_service(&self) -> Result<Service, RedfishError> {
        Ok(self.0.root().await?.service)
    }

    /// Every system of the service. One that gives no answer has [`System::unread`] set; if none
    /// answers, that is the error.
    pub async fn observe_systems(&self) -> Result<Vec<System>, RedfishError> {
        self.0.observe_systems().await
    }

    /// The system at `link`, which is a [`System::link`].
    pub async fn observe_system(&self, link: &str) -> Result<System, RedfishError> {
        self.0.observe_system(link, self.0.limits.retries).await
    }

    /// The disks that a system's host sees, as far as the BMC reports them.
    pub async fn observe_disks(&self, system: &System) -> Result<Disks, RedfishError> {
        self.0.observe_disks(system).await
    }

    /// The virtual media slots of a system, in natural order of their names; those that have refused
    /// an image come last.
    pub async fn observe_slots(&self, system: &System) -> Result<Vec<Slot>, RedfishError> {
        let mut slots = self.0.observe_slots(system).await?;
        slots::rule_out_consoles(&mut slots);
        for slot in &mut slots {
            slot.refusing = self.0.learned.is_refusing(&slot.link);
        }
        slots.sort_by_key(|slot| slot.refusing);
        Ok(slots)
    }

    /// The protocols that the slot takes images by, where that of `image_url` is none of them.
    pub async fn observe_refused_protocols(&self, slot: &Slot, image_url: &str) -> Option<String> {
        self.0.refused_protocols(slot, image_url).await
    }

    /// The slot at `link`, which is a [`Slot::link`].
    pub async fn observe_slot(&self, link: &str) -> Result<Slot, RedfishError> {
        self.0.observe_slot(link, None).await
    }

    /// Whether virtual media have to be switched on before there are slots.
    pub async fn observe_media_service(&self, system: &System) -> Result<MediaService, RedfishError> {
        self.0.observe_media_service(system).await
    }

    /// Switches virtual media on; the slots are there a while later.
    pub async fn request_media_service(&self, service: &MediaService) -> Result<(), RedfishError> {
        self.0.request_media_service(service).await
    }

    /// Asks the slot to take the image and waits until the BMC says that it has, or has not. Look
    /// at the slot afterwards: some say so too early, and some take seconds to show it.
    pub async fn request_insert(&self, slot: &Slot, image_url: &str) -> Result<How, RedfishError> {
        self.0.request_insert(slot, image_url).await
    }

    /// Asks the slot to let go of its image. Look at the slot afterwards: some show it for a while.
    pub async fn request_eject(&self, slot: &Slot) -> Result<How, RedfishError> {
        self.0.request_eject(slot).await
    }

    /// Whether the next start of the host boots from the virtual CD; `cd` is the link of the slot
    /// that the override may have been set on.
    pub async fn observe_boot_from_cd(
        &self,
        system: &System,
        cd: Option<&str>,
    ) -> Result<bool, RedfishError> {
        self.0.observe_boot_from_cd(system, cd).await
    }

    /// Arms a one-time boot from the virtual CD in the slot `cd`; the boot mode is left as it is.
    pub async fn request_boot_from_cd(&self, system: &System, cd: Option<&str>) -> Result<How, RedfishError> {
        self.0.request_boot_from_cd(system, cd).await
    }

    /// Takes that back.
    pub async fn request_boot_disarm(&self, system: &System, cd: Option<&str>) -> Result<(), RedfishError> {
        self.0.request_boot_disarm(system, cd).await
    }

    /// Asks for one reset of the system.
    pub async fn request_reset(&self, system: &System, reset: ResetType) -> Result<(), RedfishError> {
        self.0.request_reset(system, reset).await
    }

    /// How long one insert may take, its Task included.
    pub fn insert_timeout(&self) -> Duration {
        self.0.limits.insert_timeout
    }

    /// What the BMC says of itself and its rules, as far as it does.
    pub async fn observe_about(&self, system: &System) -> About {
        self.0.observe_about(system).await
    }

    /// How long each of `times` reads of the resource took. One that fails is left out.
    pub async fn observe_latency(&self, link: &str, times: usize) -> Vec<Duration> {
        self.0.observe_latency(link, times).await
    }

    /// Whose BMC it is, from a closed set: the metric label. `unknown` before the first request.
    pub fn vendor(&self) -> &'static str {
        self.0.vendor()
    }

    /// How this BMC would be asked for all that, with an image at `image_url`.
    pub async fn observe_plan(&self, system: &System, image_url: &str) -> Result<Plan, RedfishError> {
        self.0.observe_plan(system, image_url).await
    }

    /// Why this BMC has no virtual drives for `system` that could be given images from here, and what to do
    /// about it, where that is known. The slots were looked for before.
    pub fn without_drives(&self, system: &System) -> Option<&'static str> {
        let has_none = self.0.remembered().without_media.contains(&system.link);
        self.0.quirks().without_drives().or(has_none.then_some(NO_VIRTUAL_MEDIA))
    }

    /// How the next start of the system would be made to boot from the virtual CD; the error says why it
    /// cannot be.
    pub fn planned_boot(&self, system: &System) -> Result<String, String> {
        self.0.planned_boot(system)
    }

    /// What this BMC does differently, as far as it has said who it is.
    pub fn quirks(&self) -> Quirks {
        self.0.quirks()
    }

    /// What has worked on this BMC so far, a sentence each.
    pub fn learned(&self) -> Vec<String> {
        self.0.learned.list()
    }

    /// The same to be kept beyond this process, and a number that changes with it.
    pub fn memory(&self) -> (BmcMemory, u64) {
        self.0.learned.memory()
    }

    /// Begins with what was kept, where nothing has been learned since.
    pub fn recall(&self, memory: BmcMemory) {
        self.0.learned.recall(memory);
    }

    /// The slot at this link refused an image for its own sake, and not because it is occupied: it comes last from now
    /// on.
    pub fn note_refusing(&self, slot: &str) {
        self.0.learned.note_refusing(slot);
    }

    /// Where the session is on the BMC, if there is one: for whoever comes after a crash.
    pub fn session_link(&self) -> Option<String> {
        self.0.session_link()
    }

    /// Deletes that session of a controller that is gone, with the next login.
    pub async fn inherit_session(&self, link: &str) {
        self.0.inherit_session(link).await;
    }

    /// Deletes the session on the BMC. The next request makes another.
    pub async fn close(&self) {
        self.0.logout().await;
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

/// Connections that are kept while nobody uses them.
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
        let connect = || Connection::new(account.clone(), self.0.world.clone(), self.0.limits.clone());
        connections.entry(account.key()).or_insert_with(|| Bmc(Arc::new(connect()))).clone()
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
