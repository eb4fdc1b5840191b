//! The controllers of a world: one that has the store to itself, or several on a shared one.
//!
//! Invariant: what BMCs read is served by turns by all controllers that are up.

use std::sync::Arc;

use shoal::store::Store;
use shoal_base::world::{HttpRequest, Transport};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::killer::Killer;
use super::scenario::{End, Stop, Stores};
use crate::site::{Controller, Site};

pub struct Controllers {
    stores: Stores,
    members: Vec<Member>,
    /// Notified when one was struck by its killer.
    pub struck: Arc<Notify>,
}

struct Member {
    killer: Arc<Killer>,
    /// Absent while it is away.
    running: Option<Controller>,
}

impl Member {
    fn up(&self) -> Option<&Controller> {
        self.running.as_ref().filter(|controller| !controller.clock.is_suspended())
    }
}

impl Controllers {
    pub fn new(stores: Stores, count: usize) -> Controllers {
        let struck = Arc::new(Notify::new());
        let members = (0..count).map(|_| Member { killer: Killer::new(struck.clone()), running: None });
        Controllers { stores, members: members.collect(), struck }
    }

    /// How the next of them is to be stopped.
    pub fn arm(&self, stop: Option<Stop>) {
        for (number, member) in self.members.iter().enumerate() {
            member.killer.arm(stop.filter(|stop| stop.controller == number));
        }
    }

    /// Starts one; returns the store as it has it.
    pub fn start(&mut self, number: usize, site: &Site) -> Store {
        let killer = &self.members[number].killer;
        let transport = site.world.transport.clone();
        let (name, store, transport) = match self.stores {
            Stores::Sqlite if killer.counts_writes() => {
                ("controller".to_owned(), killer.in_store(&site.store), transport)
            }
            Stores::Sqlite => ("controller".to_owned(), site.store.clone(), transport),
            Stores::Shared | Stores::Postgres => {
                let store = killer.in_store(&site.store.second_handle());
                (format!("controller-{number}"), store, apart(transport))
            }
        };
        let controller = site.controller(&name, store.clone(), killer.over(transport));
        self.members[number].running = Some(controller);
        self.serve(site);
        store
    }

    pub fn is_up(&self, number: usize) -> bool {
        self.members[number].up().is_some()
    }

    pub async fn stop(&mut self, number: usize, end: End, site: &mut Site) {
        let member = &mut self.members[number];
        match end {
            End::Suspend => {
                member.up().expect("it is up").clock.suspend();
                member.killer.has_suspended();
            }
            End::Kill => member.running.take().expect("it is up").die().await,
            End::Order => member.running.take().expect("it is up").shut_down().await,
        }
        if end == End::Kill && self.stores == Stores::Sqlite {
            site.clear_away();
        }
        self.serve(site);
    }

    /// A controller that was suspended goes on; `false` where it is not there.
    pub fn resume(&mut self, number: usize, site: &Site) -> bool {
        let Some(controller) = &self.members[number].running else { return false };
        controller.clock.resume();
        self.serve(site);
        true
    }

    pub async fn stop_all(&mut self, site: &mut Site) {
        for number in 0..self.members.len() {
            if self.is_up(number) {
                self.stop(number, End::Order, site).await;
            }
        }
    }

    fn serve(&self, site: &Site) {
        let up: Vec<&Controller> = self.members.iter().filter_map(Member::up).collect();
        match up[..] {
            [] => site.serve_no_media(),
            [one] => site.serve_media_of(one),
            _ => site.serve_media_by_turns(&up),
        }
    }
}

/// A BMC goes on with a request while the controller that sent it is suspended.
fn apart(network: Transport) -> Transport {
    BoxCloneSyncService::new(tower::service_fn(move |request: HttpRequest| {
        let network = network.clone();
        let running = AbortOnDropHandle::new(tokio::spawn(network.oneshot(request)));
        async move { running.await.expect("a BMC does not panic") }
    }))
}
