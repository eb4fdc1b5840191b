//! The task of one simulated machine, and the handle on it.
//!
//! The task is a loop around the synchronous machine: let it go on to now, ask what it needs next (time, bytes of a
//! drive, a call to the network, or nothing until something changes), wait for that, hand the answer over. A change by
//! the web service wakes the loop, and the wait is dropped: what the software wanted may have died with a reset or an
//! eject, and if not it is asked for again. Reads of a drive go through one [`Stream`] for each inserted medium, which
//! forgets what it read with every boot, as a BMC does when the host resets its USB bus.
//!
//! It moves time and bytes; what happens is decided by [`super::computer`] and [`super::redfish`]. Invariant: the
//! lock is never held across an await, and an answer reaches only the software that asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::response::IntoResponse;
use http::StatusCode;
use jiff::Timestamp;
use shoal_base::with_causes;
use tokio_util::task::AbortOnDropHandle;

use super::bmc::Bmc;
use super::call::Calls;
use super::computer::ManagementAddress;
use super::drive::Stream;
use super::faults::Fault;
use super::guest::{CallEnd, GuestNeed, ReadAnswer, ReadRequest};
use super::journal::Happening;
use super::shared::Shared;
use super::traffic::RequestSeen;
use super::{SimConfig, SimState, esxi, redfish};
use shoal_base::world::{self, World};

/// A running simulated server. The last handle that goes stops it.
#[derive(Clone)]
pub struct SimBmc {
    shared: Arc<Shared>,
    _task: Arc<AbortOnDropHandle<()>>,
}

impl SimBmc {
    /// Starts the machine's task on the current runtime. Images are fetched by `world.transport`.
    pub fn start(world: World, config: SimConfig) -> SimBmc {
        let rng = world.rng.child(&format!("sim/{}", config.serial));
        let bmc = Bmc::new(config, rng, world.clock.now());
        let shared = Arc::new(Shared::new(world, bmc));
        let task = tokio::spawn(run(shared.clone()));
        SimBmc { shared, _task: Arc::new(AbortOnDropHandle::new(task)) }
    }

    /// `/redfish/…` and `/sim/v1/state`.
    pub fn router(&self) -> Router {
        let (bmc, state) = (self.clone(), self.clone());
        Router::new()
            .route("/sim/v1/state", axum::routing::get(move |request| serve_state(state.clone(), request)))
            .fallback(move |request: Request| {
                let shared = bmc.shared.clone();
                async move { redfish::serve(shared, request).await }
            })
    }

    /// The truth about the machine.
    pub fn state(&self) -> SimState {
        SimState::of(&self.shared.bmc())
    }

    /// Whether a connection to the BMC can be made now.
    pub fn is_reachable(&self) -> bool {
        !self.shared.bmc().is_down(self.shared.world.clock.now())
    }

    /// What an installed ESXi answers on its own address, to a client that can connect to it
    /// ([`SimBmc::certificate`]).
    pub fn management_router(&self) -> Router {
        let host = self.clone();
        Router::new().fallback(move |request| esxi::serve(host.management(), request))
    }

    /// The number of the certificate that the host shows now; `None` where a connection to its own address
    /// is refused.
    pub fn certificate(&self) -> Option<u64> {
        match self.management() {
            ManagementAddress::Unreachable => None,
            ManagementAddress::Starting { certificate } | ManagementAddress::Ready { certificate, .. } => {
                Some(certificate)
            }
        }
    }

    fn management(&self) -> ManagementAddress {
        self.shared.bmc().computer.management(self.shared.world.clock.now())
    }

    pub(super) fn serial(&self) -> String {
        self.shared.bmc().config.serial.clone()
    }

    /// The host loses power and gets it back off, as if its plug had been pulled.
    pub fn cut_power(&self) {
        self.shared.change(|bmc, now| {
            bmc.journal.push(now, Happening::HandsOn);
            bmc.computer.cut_power(now);
        });
    }

    /// A person presses the reset button at the host.
    pub fn press_reset(&self) {
        self.shared.change(|bmc, now| {
            bmc.journal.push(now, Happening::HandsOn);
            bmc.computer.press_reset(now);
        });
    }

    /// The installed system's certificate is renewed, as an operator or a vCenter does.
    pub fn renew_certificate(&self) {
        self.shared.change(|bmc, _| bmc.computer.renew_certificate());
    }

    /// Faults of a moment (lost and spoilt requests, outages) strike no more.
    pub fn calm_down(&self) {
        self.shared.bmc().calm = true;
    }

    /// What has happened to the machine.
    pub fn journal(&self) -> Vec<(Timestamp, Happening)> {
        self.shared.bmc().journal.entries().to_vec()
    }

    /// Counts from here as for a client that has read nothing yet.
    pub fn begin_requests_anew(&self) {
        self.shared.bmc().traffic.begin_anew();
    }

    /// The last requests besides polls.
    pub fn requests_besides_polls(&self) -> Vec<RequestSeen> {
        self.shared.bmc().traffic.besides_polls()
    }

    /// How it was made.
    pub fn config(&self) -> SimConfig {
        self.shared.bmc().config.clone()
    }

    /// How often each fault of a moment has struck.
    pub fn struck(&self) -> BTreeMap<&'static str, u64> {
        self.shared.bmc().struck.clone()
    }
}

/// The truth is for this machine's own processes only.
async fn serve_state(bmc: SimBmc, request: Request) -> axum::response::Response {
    let peer = request.extensions().get::<ConnectInfo<std::net::SocketAddr>>();
    if peer.is_some_and(|ConnectInfo(peer)| !peer.ip().to_canonical().is_loopback()) {
        return StatusCode::FORBIDDEN.into_response();
    }
    axum::Json(bmc.state()).into_response()
}

/// Where the volume descriptors of an image are.
const DESCRIPTORS: std::ops::Range<u64> = 32_768..40_960;

/// What the software's wish came to.
enum Done {
    /// Time has passed, or something has changed: look again.
    Look,
    Read(ReadAnswer),
    Call(CallEnd),
}

/// Runs the machine until its task is aborted.
async fn run(shared: Arc<Shared>) {
    let (mut streams, mut calls) = (Streams::default(), Calls::default());
    loop {
        let (need, alarm) = streams.prepare(&shared);
        if shared.bmc().rereads(shared.world.clock.now()) {
            tokio::spawn(read_again(shared.clone()));
        }
        if !matches!(need, GuestNeed::Call(_)) {
            calls.forget();
        }
        let act = async {
            match need {
                GuestNeed::Event => std::future::pending().await,
                GuestNeed::Until(time) => {
                    sleep_until(&shared.world, time).await;
                    Done::Look
                }
                GuestNeed::Read(request) => Done::Read(streams.read(request).await),
                GuestNeed::Call(call) => {
                    Done::Call(calls.finish(streams.boot, call, &shared.world.transport).await)
                }
            }
        };
        let done = tokio::select! {
            biased;
            // The wish may have died with a reset or an eject: look again, and ask again if not.
            () = shared.changed() => Done::Look,
            () = sleep_until(&shared.world, alarm.unwrap_or(Timestamp::MAX)), if alarm.is_some() => Done::Look,
            done = act => done,
        };
        match done {
            Done::Look => {}
            Done::Read(answer) => shared.bmc().computer.answer(answer),
            Done::Call(end) => shared.bmc().computer.end_call(end),
        }
    }
}

/// A BMC that has restarted mounts its media anew: it reads their descriptors, whatever the host does.
async fn read_again(shared: Arc<Shared>) {
    let images: Vec<String> = {
        let bmc = shared.bmc();
        let media = (0..bmc.slots.len()).filter_map(|drive| bmc.computer.machine.medium(drive));
        media.map(|medium| medium.image.clone()).collect()
    };
    for image in images {
        let mut stream = Stream::new(shared.image_transport(), image, Duration::ZERO, None);
        // No request waits for these bytes; the host's own reads are tried again.
        if let Err(error) = stream.try_read(DESCRIPTORS).await {
            tracing::debug!(error = %with_causes(&error), "a medium cannot be read after the BMC's restart");
        }
    }
}

/// Waits for a time of the world's clock.
async fn sleep_until(world: &World, time: Timestamp) {
    // A day at a time: timers do not reach the end of time.
    let wait = world::elapsed(world.clock.now(), time).min(Duration::from_secs(86_400));
    tokio::time::sleep(wait).await;
}

/// The BMC's open image streams, by drive.
#[derive(Default)]
struct Streams {
    open: BTreeMap<usize, (u64, Stream)>,
    /// The host's boot that the streams have served.
    boot: u64,
}

impl Streams {
    /// Lets the machine go on, and opens or closes streams as its drives and its boots ask.
    fn prepare(&mut self, shared: &Shared) -> (GuestNeed, Option<Timestamp>) {
        let mut bmc = shared.bmc();
        let now = shared.world.clock.now();
        bmc.lose_override(now);
        let need = bmc.computer.step(now);
        bmc.look_at_host(now);
        bmc.restart_unrequested(now);
        let alarm = bmc.alarm();
        let boot = bmc.computer.machine.counters.boots;
        if boot != self.boot {
            self.boot = boot;
            self.open.values_mut().for_each(|(_, stream)| stream.forget());
        }
        let GuestNeed::Read(request) = need else {
            // Nothing is being read: nothing is kept either.
            self.open.values_mut().for_each(|(_, stream)| stream.forget());
            return (need, alarm);
        };
        match bmc.computer.machine.medium(request.drive) {
            None => {
                self.open.remove(&request.drive);
            }
            Some(medium)
                if self
                    .open
                    .get(&request.drive)
                    .is_none_or(|(insertion, _)| *insertion != medium.insertion) =>
            {
                let transport = shared.image_transport_of(&bmc);
                let delay = bmc.faults.find(|fault| match fault {
                    Fault::SlowMedia(delay) => Some(*delay),
                    _ => None,
                });
                let copy = bmc.slots.get(request.drive).and_then(|slot| slot.copy.clone());
                let stream = Stream::new(transport, medium.image.clone(), delay.unwrap_or_default(), copy);
                self.open.insert(request.drive, (medium.insertion, stream));
            }
            Some(_) => {}
        }
        (need, alarm)
    }

    /// The bytes that the host reads; what fails is an I/O error to it.
    async fn read(&mut self, request: ReadRequest) -> ReadAnswer {
        let Some((_, stream)) = self.open.get_mut(&request.drive) else { return ReadAnswer::NoMedium };
        match stream.read(request.offset..request.offset + request.len as u64).await {
            Ok((bytes, capacity)) => ReadAnswer::Data { bytes, capacity },
            Err(error) => {
                tracing::warn!(drive = request.drive, error = %with_causes(&error), "a read of an image has failed");
                ReadAnswer::Failed
            }
        }
    }
}
