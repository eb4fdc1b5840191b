//! The task of one simulated machine, and the handle on it.
//!
//! It moves time and bytes; what happens is decided by [`super::computer`] and
//! [`super::redfish`]. Invariant: the lock is never held across an await, and an answer of a drive
//! reaches only the software that asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::response::IntoResponse;
use http::StatusCode;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::bmc::Bmc;
use super::drive::Stream;
use super::faults::Fault;
use super::guest::{Answer, Need, ReadRequest};
use super::{SimConfig, SimState, redfish};
use crate::world::{self, World};

/// A running simulated server. The last handle that goes stops it.
#[derive(Clone)]
pub struct SimBmc {
    shared: Arc<Shared>,
    _task: Arc<AbortOnDropHandle<()>>,
}

/// What the task and the web service share.
pub(super) struct Shared {
    pub world: World,
    bmc: Mutex<Bmc>,
    /// Something that the machine's task has to look at has changed.
    changed: Notify,
}

impl SimBmc {
    /// Starts the machine's task on the current runtime. Images are fetched by `world.transport`.
    pub fn start(world: World, config: SimConfig) -> SimBmc {
        let rng = world.rng.child(&format!("sim/{}", config.serial));
        let bmc = Bmc::new(config, rng, world.clock.now());
        let shared = Arc::new(Shared { world, bmc: Mutex::new(bmc), changed: Notify::new() });
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

    /// The host loses power and gets it back off, as if somebody had pulled the plug.
    pub fn cut_power(&self) {
        self.shared.change(|bmc, now| bmc.computer.cut_power(now));
    }

    /// Somebody presses the reset button at the host itself.
    pub fn press_reset(&self) {
        self.shared.change(|bmc, now| bmc.computer.press_reset(now));
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

impl Shared {
    pub fn bmc(&self) -> MutexGuard<'_, Bmc> {
        self.bmc.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the BMC, and wakes the machine's task to look at it.
    pub fn change<T>(&self, act: impl FnOnce(&mut Bmc, Timestamp) -> T) -> T {
        let result = act(&mut self.bmc(), self.world.clock.now());
        self.changed.notify_one();
        result
    }
}

/// Runs the machine for ever.
async fn run(shared: Arc<Shared>) {
    let mut streams = Streams::default();
    loop {
        let need = streams.prepare(&shared);
        let act = async {
            match need {
                Need::Event => std::future::pending().await,
                Need::Until(time) => {
                    sleep_until(&shared.world, time).await;
                    None
                }
                Need::Read(request) => Some(streams.read(request).await),
            }
        };
        let answer = tokio::select! {
            biased;
            // The wish may have died with a reset or an eject: look again, and ask again if not.
            () = shared.changed.notified() => None,
            answer = act => answer,
        };
        if let Some(answer) = answer {
            shared.bmc().computer.answer(answer);
        }
    }
}

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
    fn prepare(&mut self, shared: &Shared) -> Need {
        let mut bmc = shared.bmc();
        let need = bmc.computer.step(shared.world.clock.now());
        let boot = bmc.computer.machine.counters.boots;
        if boot != self.boot {
            self.boot = boot;
            self.open.values_mut().for_each(|(_, stream)| stream.forget());
        }
        let Need::Read(request) = need else {
            // Nothing is being read: nothing is kept either.
            self.open.values_mut().for_each(|(_, stream)| stream.forget());
            return need;
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
                let transport = shared.world.transport.clone();
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
        need
    }

    async fn read(&mut self, request: ReadRequest) -> Answer {
        let Some((_, stream)) = self.open.get_mut(&request.drive) else { return Answer::NoMedium };
        match stream.read(request.offset..request.offset + request.len as u64).await {
            Ok((bytes, capacity)) => Answer::Data { bytes, capacity },
            Err(error) => {
                tracing::warn!(drive = request.drive, error = %error, "a read of an image has failed");
                Answer::Failed
            }
        }
    }
}
