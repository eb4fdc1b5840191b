//! The media server as the controller runs it, with one job's installer published twice.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use jiff::Timestamp;
use serde_json::json;
use shoal::api;
use shoal::cli::serve::{OnRefused, serve};
use shoal::domain::{Drive, JobId, Medium, Serial, Server, parse_recipe};
use shoal::media::{Image, InstallerCache, InstallerSource, Media, MediaFirst, MediumLandmarks, Watched};
use shoal::seal::Sealer;
use shoal::store::{NewJob, Store};
use shoal_base::Password;
use shoal_base::world::{Clock, TlsPolicy, real_transport};
use shoal_image::installer::KickstartOn;
use shoal_image::iso::Overlay;

use super::{Certificate, WORKERS};

pub struct Ours {
    pub as_is: String,
    pub patched: String,
    /// As it is, over TLS.
    pub tls: String,
    _runtime: tokio::runtime::Runtime,
}

impl Ours {
    pub fn start(folder: &Path, certificate: &Certificate) -> Ours {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(WORKERS).enable_all().build().expect("a runtime");
        let (as_is, patched, tls) = runtime.block_on(publish_and_serve(folder, certificate));
        Ours { as_is, patched, tls, _runtime: runtime }
    }

    /// The cache's own file of the installer.
    pub fn file(&self, folder: &Path) -> PathBuf {
        let files = folder.join("cache").read_dir().expect("the cache is a folder");
        let largest = files.map(|file| file.expect("readable").path()).max_by_key(|path| size(path));
        largest.expect("the cache has the installer")
    }
}

fn size(path: &Path) -> u64 {
    path.metadata().expect("of the cache").len()
}

async fn publish_and_serve(folder: &Path, certificate: &Certificate) -> (String, String, String) {
    let transport = real_transport(&[]);
    let cache = InstallerCache::new(folder.join("cache"), u64::MAX, transport).expect("a cache");
    let source = InstallerSource::File(folder.join("vendor.iso"));
    let installer = cache.open(&source, None, &|_| false).await.expect("laid out as an installer is");

    let store = Store::in_memory(Sealer::new([1; 32])).expect("a database in memory");
    let media = Media::new(Clock::system(), [2; 32], store.clone());
    let mut paths = Vec::new();
    let unchanged = Overlay { size: installer.size, patches: Vec::new() };
    let as_is = Arc::new(Image::in_memory(installer.bytes(), &installer.sha256, unchanged));
    let patched = installer.patched(KickstartOn::Cd).expect("patched");
    for (number, image) in [(1, as_is), (2, patched)] {
        let job = insert_job(&store, number).await;
        let landmarks = MediumLandmarks::installer(installer.installer.landmarks.clone());
        media
            .publish(job, Medium::Boot, Watched { image, drive: Drive::Cd, landmarks }, None)
            .await
            .expect("published");
        media.start_trace(job, Timestamp::UNIX_EPOCH);
        paths.push(media.path(job, Medium::Boot, Drive::Cd, 1));
    }
    let service = api::media_first(&media, false, axum::Router::new());
    let http = listen(service.clone(), None).await;
    let https = listen(service, Some(certificate)).await;
    let [as_is, patched] = [0, 1].map(|number| format!("http://{http}{}", paths[number]));
    (as_is, patched, format!("https://{https}{}", paths[0]))
}

async fn listen(service: MediaFirst, certificate: Option<&Certificate>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.set_nonblocking(true).expect("a socket of ours");
    let address = listener.local_addr().expect("bound");
    let tls = match certificate {
        None => None,
        Some(Certificate { pem, key }) => {
            let (pem, key) = (pem.clone().into_bytes(), key.clone().into_bytes());
            Some(RustlsConfig::from_pem(pem, key).await.expect("a certificate and its key"))
        }
    };
    let refused: OnRefused = Arc::new(|_, _| {});
    tokio::spawn(serve(listener, tls, service, refused, Handle::new()));
    address
}

/// A job that the reads are traced for.
pub async fn insert_job(store: &Store, number: u8) -> JobId {
    let serial: Serial = format!("BENCH{number}").parse().expect("a serial number");
    let server = Server {
        serial: serial.clone(),
        bmc_address: "https://192.0.2.1".parse().expect("an address"),
        bmc_username: "admin".to_owned(),
        bmc_password: Password::new("none".to_owned()),
        tls: TlsPolicy::Verify,
        system_id: None,
        system_uuid: None,
        management_address: None,
        protected: false,
        labels: BTreeMap::new(),
        variables: Default::default(),
    };
    store.insert_server(&server).await.expect("the first of this serial number");
    let task_target = "install-esxi.target".to_owned();
    let recipe = json!({ "task_target": task_target, "server_serial": serial, "ks_cfg": "reboot\n" });
    let spec = parse_recipe(recipe.as_object().expect("just made"), &serial).expect("a sound recipe");
    let (id, created_at) = (JobId::new(0, [number; 10]), Timestamp::UNIX_EPOCH);
    let job = NewJob {
        id,
        server: serial,
        task_target,
        spec,
        recipe,
        retry_of: None,
        created_at,
        events: Vec::new(),
    };
    store.insert_job(job, None).await.expect("the server is free");
    id
}
