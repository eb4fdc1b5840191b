//! What the trace makes of simulated hosts that boot and install from our media.
//!
//! The machine is the simulator's, driven through its Redfish service; the routes are ours, called in
//! process and in paused time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use shoal::domain::{Drive, MediaMode, Medium};
use shoal::media::{Image, JobTrace, KickstartPlace, Media, MediumLandmarks, Watched};
use shoal::seal::Sealer;
use shoal::store::Store;
use shoal_base::world::{Clock, Rng, World};
use shoal_image::installer::{KickstartOn, overlay, recognise};
use shoal_image::iso::{TaskIso, build_task_iso};
use shoal_sim::{Fault, Network, Persona, SimBmc, SimConfig, Timings, standin_installer};
use tower::ServiceExt as _;

use super::bench::{Bench, job};

const KICKSTART: &str = "vmaccepteula\ninstall --firstdisk --overwritevmfs\nreboot --noeject\n";

struct Lab {
    bench: Bench,
    network: Network,
    bmc: SimBmc,
    clock: Clock,
}

impl Lab {
    async fn new(faults: &[&str]) -> Lab {
        let network = Network::default();
        let clock = Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap());
        let world = World { clock: clock.clone(), rng: Rng::from_seed(1), transport: network.transport() };
        let config = SimConfig {
            serial: "SERIAL4".into(),
            username: "admin".into(),
            password: "admin".into(),
            timings: Timings { install: Duration::from_secs(300), ..Timings::default() },
            power_on: false,
            previous: None,
            persona: Persona::default(),
            faults: faults.iter().map(|fault| fault.parse::<Fault>().unwrap()).collect(),
        };
        let bmc = SimBmc::start(world, config);
        let store = Store::in_memory(Sealer::new([7; 32])).unwrap();
        let media = Media::new(clock.clone(), [9; 32], store.clone());
        let bench = Bench::of(media, store);
        bench.insert_job(4).await;
        network.add_bmc("bmc.test", &bmc);
        network.add("media.test", bench.router.clone());
        let lab = Lab { bench, network, bmc, clock };
        lab.publish().await;
        lab
    }

    async fn publish(&self) {
        let base = standin_installer();
        let installer = recognise(&base).unwrap();
        let changes = overlay(&base, &installer, KickstartOn::Cd).unwrap();
        let image = Image::in_memory(base.to_vec().into(), "standin", changes);
        let landmarks = MediumLandmarks::installer(installer.landmarks);
        self.publish_one(Medium::Boot, image, landmarks).await;
        let task = build_task_iso(KICKSTART.as_bytes(), b"{}", None);
        let TaskIso { kickstart, nonce, metadata_end, .. } = task;
        let landmarks = MediumLandmarks::task(KickstartPlace {
            kickstart,
            nonce,
            failure: None,
            started: None,
            rest_end: metadata_end,
        });
        self.publish_one(Medium::Task, Image::sparse(task.image), landmarks).await;
    }

    async fn publish_one(&self, medium: Medium, image: Image, landmarks: MediumLandmarks) {
        let watched = Watched { image: Arc::new(image), drive: Drive::Cd, landmarks };
        self.bench.media.publish(job(4), medium, watched, None).await.unwrap();
    }

    async fn act(&self, method: Method, path: &str, body: Value) {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://bmc.test/redfish/v1/{path}"))
            .header("authorization", "Basic YWRtaW46YWRtaW4=")
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let response = self.network.transport().oneshot(request).await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
    }

    /// Mounts both media, and starts the host from them.
    async fn start(&self) {
        for (slot, medium) in [("CD1", Medium::Boot), ("CD2", Medium::Task)] {
            let path = format!("Managers/BMC/VirtualMedia/{slot}/Actions/VirtualMedia.InsertMedia");
            let url = format!("http://media.test{}", self.bench.media.path(job(4), medium, Drive::Cd, 1));
            self.act(Method::POST, &path, json!({ "Image": url })).await;
        }
        let boot = json!({ "BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Cd" });
        self.act(Method::PATCH, "Systems/1", json!({ "Boot": boot })).await;
        self.bench.media.start_trace(job(4), self.clock.now());
        let on = json!({ "ResetType": "On" });
        self.act(Method::POST, "Systems/1/Actions/ComputerSystem.Reset", on).await;
    }

    async fn wait_for(&self, guest: &str) -> JobTrace {
        for _ in 0..20_000 {
            if self.bmc.state().guest == guest {
                return self.bench.media.trace(job(4));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never `{guest}`: {:?}", self.bmc.state());
    }
}

#[tokio::test(start_paused = true)]
async fn a_streamed_install_shows_every_milestone_and_the_second_boot() {
    let lab = Lab::new(&["no-eject"]).await;
    lab.start().await;
    let installing = lab.wait_for("installing").await;
    assert_eq!(installing.installer.mode, MediaMode::Streamed);
    assert!(installing.installer.read_through_at.is_some(), "{installing:?}");
    assert!(installing.kickstart.ks_read_at.is_some(), "{installing:?}");
    assert_eq!(installing.installer.reenumerated_at, None);

    let installed = lab.wait_for("installed").await;
    assert_eq!(installed.kickstart.ks_read_at, installing.kickstart.ks_read_at);
    assert_eq!(installed.kickstart.ks_read_again_at, None, "a disk boots without the kickstart");
    let (read, again) = (installed.kickstart.ks_read_at.unwrap(), installed.installer.reenumerated_at);
    assert!(again.unwrap().duration_since(read).as_secs() >= 60, "{installed:?}");
    assert_eq!(lab.bench.media.fetched(job(4), Medium::Boot).last_fault, None);
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_downloads_at_insert_shows_nothing_of_its_host() {
    let lab = Lab::new(&["prefetch", "no-eject"]).await;
    lab.start().await;
    let JobTrace { installer, kickstart: task } = lab.wait_for("installed").await;
    assert_eq!((installer.mode, task.mode), (MediaMode::Prefetched, MediaMode::Prefetched));
    assert_eq!((installer.first_read_at, task.ks_read_at, installer.reenumerated_at), (None, None, None));
}
