//! A controller's media with two published images per job, and readers for it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use strum::VariantArray as _;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use serde_json::json;
use shoal::domain::{Drive, JobId, Medium, Server, parse_recipe};
use shoal::media::{Image, KickstartPlace, Media, MediumLandmarks, Watched};
use shoal::seal::Sealer;
use shoal::store::{NewJob, Store};
use shoal_base::Password;
use shoal_base::world::{Clock, TlsPolicy};
use shoal_image::installer::Landmarks;
use shoal_image::iso::{Overlay, Patch, SparseImage};
use tower::ServiceExt as _;

pub const METADATA_END: u64 = 60 << 10;
pub const KS: Range<u64> = METADATA_END + (4 << 20)..METADATA_END + (4 << 20) + 2048;
const TASK_BYTES: u64 = KS.end + (4 << 20);
pub const INSTALLER_BYTES: u64 = 3 << 20;

pub struct Bench {
    pub media: Media,
    pub store: Store,
    pub router: axum::Router,
}

pub fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + secs).unwrap()
}

pub fn job(n: u8) -> JobId {
    JobId::new(1_700_000_000_000, [n; 10])
}

/// Bytes that differ everywhere, so that a shifted range shows.
pub fn pattern(len: u64) -> Bytes {
    (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>().into()
}

/// A base with patches over it and beyond its end.
pub fn installer() -> Image {
    let patch = |offset, bytes: &'static [u8]| Patch { offset, bytes: Bytes::from_static(bytes) };
    let patches = vec![patch(1000, b"kernelopt=ks"), patch(INSTALLER_BYTES - 100, b"at the end")];
    Image::in_memory(pattern(INSTALLER_BYTES - 2048), "aa", Overlay { size: INSTALLER_BYTES, patches })
}

pub fn installer_bytes() -> Vec<u8> {
    let mut bytes = pattern(INSTALLER_BYTES - 2048).to_vec();
    bytes.resize(INSTALLER_BYTES as usize, 0);
    bytes[1000..1012].copy_from_slice(b"kernelopt=ks");
    let end = INSTALLER_BYTES as usize - 100;
    bytes[end..end + 10].copy_from_slice(b"at the end");
    bytes
}

fn task() -> SparseImage {
    let piece = |offset, bytes: Bytes| Patch { offset, bytes };
    let pieces = vec![piece(0, pattern(METADATA_END)), piece(KS.start, Bytes::from(vec![b'k'; 2048]))];
    SparseImage { size: TASK_BYTES, pieces }
}

fn watched(medium: Medium) -> Watched {
    let (image, landmarks) = match medium {
        Medium::Task => (
            Image::sparse(task()),
            MediumLandmarks::task(KickstartPlace {
                kickstart: KS,
                nonce: None,
                failure: None,
                started: None,
                rest_end: METADATA_END,
            }),
        ),
        Medium::Boot => {
            let payload = vec![1 << 20..2 << 20, 2 << 20..INSTALLER_BYTES];
            let landmarks = Landmarks { descriptors: 32_768..38_912, boot_catalog: None, payload };
            (installer(), MediumLandmarks::installer(landmarks))
        }
    };
    Watched { image: Arc::new(image), drive: Drive::Cd, landmarks }
}

impl Bench {
    /// Jobs 1 to 3, with their media published.
    pub async fn new() -> Bench {
        let store = Store::in_memory(Sealer::new([7; 32])).unwrap();
        Bench::filled(Media::new(Clock::system(), [9; 32], store.clone()), store).await
    }

    /// The same three jobs in other media.
    pub async fn filled(media: Media, store: Store) -> Bench {
        let bench = Bench::of(media, store);
        for n in 1..=3 {
            bench.insert_job(n).await;
            bench.publish(job(n)).await;
        }
        bench
    }

    fn over(store: Store) -> Bench {
        Bench::of(Media::new(Clock::system(), [9; 32], store.clone()), store)
    }

    /// Nothing but the routes.
    pub fn of(media: Media, store: Store) -> Bench {
        let router = media.router();
        Bench { media, store, router }
    }

    /// The same store, and nothing else, after a restart.
    pub async fn restarted(&self) -> Bench {
        Bench::over(self.store.clone())
    }

    pub async fn insert_job(&self, n: u8) {
        let serial: shoal::domain::Serial = format!("SERIAL{n}").parse().unwrap();
        let server = Server {
            serial: serial.clone(),
            bmc_address: "https://10.0.0.5".parse().unwrap(),
            bmc_username: "root".into(),
            bmc_password: Password::new("secret".into()),
            tls: TlsPolicy::Verify,
            system_id: None,
            system_uuid: None,
            management_address: None,
            protected: false,
            labels: BTreeMap::new(),
            variables: Default::default(),
        };
        self.store.insert_server(&server).await.unwrap();
        let recipe =
            json!({ "task_target": "install-esxi.target", "server_serial": serial, "ks_cfg": "reboot\n" });
        let new = NewJob {
            id: job(n),
            spec: parse_recipe(recipe.as_object().unwrap(), &serial).unwrap(),
            server: serial,
            task_target: "install-esxi.target".into(),
            recipe,
            retry_of: None,
            created_at: at(0),
            events: Vec::new(),
        };
        self.store.insert_job(new, None).await.unwrap();
    }

    pub async fn publish(&self, job: JobId) {
        for &medium in Medium::VARIANTS {
            self.media.publish(job, medium, watched(medium), None).await.unwrap();
        }
    }

    /// A job whose task medium is a disk.
    pub async fn publish_disk(&self, n: u8) {
        self.insert_job(n).await;
        let watched = Watched { drive: Drive::Usb, ..watched(Medium::Task) };
        self.media.publish(job(n), Medium::Task, watched, None).await.unwrap();
    }

    /// As a controller does that finds a job which has reset its host.
    pub async fn publish_after(&self, job: JobId, reset_at: Timestamp) {
        for &medium in Medium::VARIANTS {
            self.media.publish(job, medium, watched(medium), Some(reset_at)).await.unwrap();
        }
    }

    pub fn task_bytes(&self) -> Bytes {
        task().to_vec().into()
    }

    pub async fn get(&self, path: &str) -> (StatusCode, HeaderMap, Bytes) {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn range(&self, path: &str, range: Range<u64>) -> Bytes {
        let value = format!("bytes={}-{}", range.start, range.end - 1);
        let request = Request::get(path).header("range", value).body(Body::empty()).unwrap();
        let (status, _, body) = self.send(request).await;
        assert_eq!(status, StatusCode::PARTIAL_CONTENT);
        body
    }

    pub async fn send(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        (head.status, head.headers, body.collect().await.unwrap().to_bytes())
    }
}
