//! 64 KiB ranges of a large file to 64 connections: our media server beside nginx with sendfile.
//!
//! Both on loopback with two workers, loaded by the same `wrk` with random aligned ranges. wrk shares
//! the machine's cores with the server, so only the ratio means anything.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use shoal::domain::{Drive, JobId, Medium, Serial, Server, parse_recipe};
use shoal::media::{Image, InstallerCache, InstallerSource, Media, MediumLandmarks, Watched};
use shoal::seal::Sealer;
use shoal::store::{NewJob, Store};
use shoal_base::Password;
use shoal_base::world::{Clock, TlsPolicy, real_transport};
use shoal_image::installer::KickstartOn;
use shoal_image::iso::Overlay;

use crate::installer::make_installer;

const ROUNDS: usize = 5;
const WORKERS: usize = 2;
const LOAD: [&str; 3] = ["--threads=1", "--connections=64", "--duration=3s"];

pub fn measure() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    make_installer(folder.path());
    let path = folder.path().join("vendor.iso");
    let size = path.metadata().expect("just made").len();
    crate::measure::write(folder.path(), "range.lua", random_ranges(size).as_bytes());

    let ours = Ours::start(folder.path());
    let nginx = Nginx::start(folder.path());
    let load = |url: &str| requests_per_second(url, folder.path());
    let (mut plain, mut overlaid) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Who goes first alternates too.
        let before = load(&nginx.url);
        let (as_is, patched) = (load(&ours.as_is), load(&ours.patched));
        let nginx = (before + load(&nginx.url)) / 2.0;
        println!("round {round}: nginx {nginx:.0}/s, as it is {as_is:.0}/s, patched {patched:.0}/s");
        plain.push(as_is / nginx);
        overlaid.push(patched / as_is);
    }
    println!("ranges of 64 KiB, as it is: {:.2} of nginx (aim: 1.0)", median(plain));
    println!("ranges of 64 KiB, patched: {:.2} of as it is (aim: 0.95)", median(overlaid));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The script that makes wrk ask for random aligned ranges.
fn random_ranges(size: u64) -> String {
    format!(
        "request = function()\n\
         \x20 local first = math.random(0, {}) * 65536\n\
         \x20 return wrk.format('GET', nil, {{['Range'] = 'bytes=' .. first .. '-' .. first + 65535}})\n\
         end\n",
        size / 65536 - 1
    )
}

fn requests_per_second(url: &str, folder: &Path) -> f64 {
    let mut wrk = Command::new("wrk");
    let output = wrk.args(LOAD).args(["--script", "range.lua", url]).current_dir(folder).output();
    let said = output.unwrap_or_else(|error| panic!("wrk: {error}")).stdout;
    let said = String::from_utf8_lossy(&said);
    assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
    let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    rate.and_then(|rate| rate.trim().parse().ok()).unwrap_or_else(|| panic!("wrk counted nothing: {said}"))
}

/// The media server as the controller runs it, with one job's installer published twice.
struct Ours {
    as_is: String,
    patched: String,
    _runtime: tokio::runtime::Runtime,
}

impl Ours {
    fn start(folder: &Path) -> Ours {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(WORKERS).enable_all().build().expect("a runtime");
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("bound");
        let (as_is, patched) = runtime.block_on(publish_and_serve(folder, listener, address));
        Ours { as_is, patched, _runtime: runtime }
    }
}

async fn publish_and_serve(folder: &Path, listener: TcpListener, address: SocketAddr) -> (String, String) {
    let transport = real_transport(&[]);
    let cache = InstallerCache::new(folder.join("cache"), u64::MAX, transport).expect("a cache");
    let source = InstallerSource::File(folder.join("vendor.iso"));
    let installer = cache.open(&source, None, &|_| false).await.expect("laid out as an installer is");

    let store = Store::in_memory(Sealer::new([1; 32])).expect("a database in memory");
    let media = Media::new(Clock::system(), [2; 32], store.clone());
    let mut urls = Vec::new();
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
        urls.push(format!("http://{address}{}", media.path(job, Medium::Boot, Drive::Cd, 1)));
    }
    let router = media.router().into_make_service();
    listener.set_nonblocking(true).expect("a socket of ours");
    let server = axum_server::from_tcp(listener).expect("a runtime runs").http1_only();
    tokio::spawn(server.serve(router));
    let patched = urls.pop().expect("two were made");
    (urls.remove(0), patched)
}

/// A job that the reads are traced for.
async fn insert_job(store: &Store, number: u8) -> JobId {
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

/// nginx at its best for this: sendfile, a socket a worker, files kept open.
struct Nginx {
    url: String,
    child: Child,
}

impl Nginx {
    fn start(folder: &Path) -> Nginx {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let root = folder.display();
        let user = if folder.metadata().is_ok_and(|folder| is_root(&folder)) { "user root;" } else { "" };
        let config = format!(
            "{user} worker_processes {WORKERS}; daemon off; pid {root}/nginx.pid; error_log {root}/nginx.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;\n\
             open_file_cache max=16 inactive=1h; open_file_cache_valid 1h;\n\
             client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;\n\
             uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;\n\
             server {{ listen {address} reuseport; root {root}; }} }}\n"
        );
        crate::measure::write(folder, "nginx.conf", config.as_bytes());
        let mut nginx = Command::new("/usr/sbin/nginx");
        let conf = folder.join("nginx.conf");
        let child = nginx.arg("-c").arg(&conf).stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("nginx: {error}"));
        let nginx = Nginx { url: format!("http://{address}/vendor.iso"), child };
        nginx.await_listening(address);
        nginx
    }

    #[expect(clippy::disallowed_methods, reason = "a benchmark waits for a real program")]
    fn await_listening(&self, address: SocketAddr) {
        for _ in 0..100 {
            if std::net::TcpStream::connect(address).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("nginx does not listen on {address}");
    }
}

impl Drop for Nginx {
    /// Asked to end, so that its workers end too.
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
        let _ = std::io::stdout().flush();
    }
}

fn is_root(folder: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::uid(folder) == 0
}
