//! One controller of a simulated site: how it ends, and how it is suspended.

use std::pin::pin;
use std::task::ready;
use std::time::Duration;

use shoal::api::Hooks;
use shoal::flow::Services;
use shoal::media::Media;
use shoal_base::world::Clock;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// One controller: an engine, and media that it can serve.
pub struct Controller {
    pub media: Media,
    /// Also suspends it.
    pub clock: Clock,
    pub(super) hooks: Hooks,
    pub(super) run: JoinHandle<()>,
    pub(super) shutdown: CancellationToken,
}

impl Controller {
    /// As `kill -9`.
    pub async fn die(self) {
        self.run.abort();
        let _ = self.run.await;
    }

    pub async fn shut_down(self) {
        self.shutdown.cancel();
        self.run.await.unwrap();
    }
}

/// As a controller on a shared database does; that database's clock is right.
pub(super) async fn follow_clock(services: &Services, database: Clock) {
    while services.store.is_shared() {
        tokio::time::sleep(Duration::from_secs(60)).await;
        services.world.clock.follow(database.now());
    }
}

/// A part of a process that may be suspended.
pub(super) async fn while_running(process: Clock, part: impl Future<Output = ()>) {
    let mut part = pin!(part);
    std::future::poll_fn(|cx| {
        ready!(process.poll_running(cx));
        part.as_mut().poll(cx)
    })
    .await;
}
