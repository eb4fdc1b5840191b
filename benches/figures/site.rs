//! A controller and simulated BMCs for a figure: processes of the release binary that talk over loopback, as an
//! operator would run them.
//!
//! Invariant: no process outlives its figure.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use shoal_base::world::{Transport, pooled_transport};
use tokio::time::Instant;
use tower::ServiceExt;

use crate::measure::cpu_seconds;

const TOKEN: &str = "figures-of-a-benchmark-on-loopback";
const LIMIT: Duration = Duration::from_secs(15 * 60);
const START: Duration = Duration::from_secs(30);
const SETTINGS: [(&str, &str); 5] = [
    ("ESXI_STABLE_WINDOW", "10s"),
    ("ESXI_POLL_INTERVAL", "5s"),
    ("ESXI_PROOF_FLOOR", "1s"),
    ("WORKER_CONCURRENCY", "1000"),
    ("LOG_LEVEL", "warn"),
];

const INSTALLER: &str = "standin.iso";

/// A controller and its folder.
pub struct Site {
    pub client: Client,
    controller: Reaped,
    folder: tempfile::TempDir,
}

impl Site {
    pub async fn start() -> Site {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
        let installer = File::create(folder.path().join(INSTALLER)).expect("a file in a temporary folder");
        shoal_sim::standin_installer().write_to(&installer).expect("the disk has room");
        let address = free_address();
        let controller = serve(folder.path(), &address, &[]);
        let client = Client { base: format!("http://{address}"), transport: pooled_transport(&[], 8) };
        let mut site = Site { client, controller, folder };
        site.await_answer().await;
        site
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("shoal.db")
    }

    /// Ends the controller by SIGTERM, so that its database is whole.
    pub fn stop(&mut self) {
        let pid = self.controller.0.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("kill is there");
        self.controller.0.wait().expect("a child of ours");
    }

    /// Starts the controller again. The time until it has answered a list of jobs.
    pub async fn start_again(&mut self, settings: &[(&str, &str)]) -> Duration {
        let address = self.client.base.trim_start_matches("http://").to_owned();
        let start = Instant::now();
        self.controller = serve(self.folder.path(), &address, settings);
        self.await_answer().await;
        start.elapsed()
    }

    async fn await_answer(&mut self) {
        let start = Instant::now();
        loop {
            assert!(matches!(self.controller.0.try_wait(), Ok(None)), "shoal serve ended immediately");
            match self.client.try_call(Method::GET, "/api/v1/jobs?limit=1", &Value::Null).await {
                Some(page) if page["jobs"].is_array() => return,
                _ => assert!(start.elapsed() < START, "shoal serve does not answer"),
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Adds servers that are never installed, by the import.
    pub async fn add_servers(&self, count: usize) {
        for rows in (0..count).collect::<Vec<_>>().chunks(2_500) {
            let servers = rows.iter().map(|number| {
                json!({
                    "serial": format!("MORE{number:04}"), "bmc_address": format!("https://bmc{number}.test"),
                    "bmc_username": "admin", "bmc_password": "a-password", "labels": { "rack": (number / 20).to_string() },
                })
            });
            let body = json!({ "servers": servers.collect::<Vec<_>>() });
            let report = self.client.call(Method::POST, "/api/v1/import/servers", &body).await;
            assert_eq!(report["added"], rows.len(), "{}", report["invalid"]);
        }
    }

    /// Submits a job for each machine; their ids.
    pub async fn submit(&self, machines: &[Value]) -> Vec<String> {
        let mut ids = Vec::new();
        for machine in machines {
            let recipe = json!({
                "task_target": "install-esxi.target",
                "server_serial": machine["serial"],
                "ks_cfg": "vmaccepteula\nrootpw VMware1!\ninstall --firstdisk --overwritevmfs\nreboot\n",
            });
            let job = self.client.call(Method::POST, "/api/v1/jobs", &recipe).await;
            ids.push(job["job_id"].as_str().unwrap_or_else(|| panic!("refused: {job}")).to_owned());
        }
        ids
    }

    /// Waits until all jobs have succeeded.
    pub async fn await_all(&self) {
        let all = async {
            for status in ["queued", "provisioning"] {
                while !self.is_none(status).await {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        };
        tokio::time::timeout(LIMIT, all).await.expect("all jobs end");
        assert!(self.is_none("failed").await, "a job failed");
    }

    async fn is_none(&self, status: &str) -> bool {
        let path = format!("/api/v1/jobs?status={status}&limit=1");
        let page = self.client.call(Method::GET, &path, &Value::Null).await;
        page["jobs"].as_array().unwrap_or_else(|| panic!("no list: {page}")).is_empty()
    }

    /// What the controller has used since its start.
    pub fn usage(&self) -> Usage {
        self.controller.usage()
    }
}

/// JSON over HTTP, with the operator's token.
pub struct Client {
    pub base: String,
    pub transport: Transport,
}

impl Client {
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> Value {
        let answer = self.try_call(method, path, body).await;
        answer.unwrap_or_else(|| panic!("{}{path} does not answer", self.base))
    }

    pub async fn try_call(&self, method: Method, path: &str, body: &Value) -> Option<Value> {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        let request = request.header("content-type", "application/json");
        let request =
            request.header("authorization", format!("Bearer {TOKEN}")).body(body).expect("a request");
        let response = self.transport.clone().oneshot(request).await.ok()?;
        let body = axum::body::to_bytes(response.into_body(), 1 << 24).await.ok()?;
        Some(serde_json::from_slice(&body).unwrap_or_default())
    }
}

/// A process that ends with this value.
pub struct Reaped(Child);

/// What a process has used since its start.
pub struct Usage {
    pub processor: Duration,
    pub memory_mib: u64,
    /// Bytes that it had written to disk.
    pub written: u64,
}

impl Reaped {
    pub fn usage(&self) -> Usage {
        let read = |file: &str| {
            let read = std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id()));
            read.expect("the process still runs")
        };
        Usage {
            processor: Duration::from_secs_f64(cpu_seconds(&[self.0.id()])),
            memory_mib: field(&read("status"), "VmHWM:").expect("Linux") / 1024,
            written: field(&read("io"), "write_bytes:").expect("Linux"),
        }
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(folder: &Path, address: &str, settings: &[(&str, &str)]) -> Reaped {
    let mut serve = Command::new(env!("CARGO_BIN_EXE_shoal"));
    serve
        .arg("serve")
        .envs(SETTINGS)
        .env("CONTROLLER_HTTP_ADDR", address)
        .env("SHOAL_BOOTSTRAP_TOKEN", TOKEN);
    serve.env("ESXI_INSTALLER_URL", folder.join(INSTALLER)).env("DB_URL", folder.join("shoal.db"));
    serve.env("TASK_ISO_DIR", folder.join("tasks")).env("INSTALLER_CACHE_DIR", folder.join("cache"));
    serve.env("MASTER_KEY_FILE", folder.join("master.key")).envs(settings.iter().copied());
    Reaped(serve.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("shoal serve starts"))
}

/// Starts simulated BMCs, registered with the controller; gives what they print of themselves.
pub fn simulate(count: usize, controller: &str) -> (Reaped, Vec<Value>) {
    let mut sim = Command::new(env!("CARGO_BIN_EXE_shoal"));
    sim.args(["sim", "--install-seconds", "10", "--register", controller, "--count", &count.to_string()]);
    sim.env("SHOAL_TOKEN", TOKEN).env("LOG_LEVEL", "warn").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = sim.spawn().expect("shoal sim starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let values = lines.map(|line| serde_json::from_str::<Value>(&line).expect("a line of JSON"));
    let machines: Vec<Value> = values.take_while(|value| value["ready"] != true).collect();
    assert_eq!(machines.len(), count, "shoal sim printed its machines and that it is ready");
    (Reaped(child), machines)
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("bound").to_string()
}

/// The number after a name in a file of /proc.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
