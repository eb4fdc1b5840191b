//! A thousand simulated installations in parallel, compared with one alone: wall time, the controller's peak
//! memory, and how many Redfish requests a cold job makes besides polling.
//!
//! Controller and simulated BMCs are two processes of the release binary that talk over loopback, as
//! an operator would run them. A thousand hosts share this machine's cores with the controller, so
//! the wall time is an upper bound.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use shoal_base::world::{Transport, pooled_transport};
use tower::ServiceExt;

use crate::measure::time;

const TOKEN: &str = "figures-of-a-benchmark-on-loopback";
const MANY: usize = 1000;
const LIMIT: Duration = Duration::from_secs(15 * 60);
const SETTINGS: [(&str, &str); 5] = [
    ("ESXI_STABLE_WINDOW", "10s"),
    ("ESXI_POLL_INTERVAL", "5s"),
    ("ESXI_PROOF_FLOOR", "1s"),
    ("WORKER_CONCURRENCY", "1000"),
    ("LOG_LEVEL", "warn"),
];

pub fn measure() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let one = runtime.block_on(Site::start(1)).install_all(&runtime);
    println!(
        "Redfish requests of a cold job besides polls: {} (aim: 30 or fewer); polls: {}",
        one.requests, one.polls
    );
    let many = runtime.block_on(Site::start(MANY)).install_all(&runtime);
    println!(
        "wall time: {:.0} s for one, {:.0} s for {MANY}: {:.1} times as long",
        one.wall.as_secs_f64(),
        many.wall.as_secs_f64(),
        many.wall.as_secs_f64() / one.wall.as_secs_f64()
    );
    println!(
        "peak memory of the controller: {} MiB with one, {} MiB with {MANY} (aim: under 256)",
        one.memory_mib, many.memory_mib
    );
}

struct Outcome {
    wall: Duration,
    memory_mib: u64,
    /// Made by the first job, without those while it watched its host.
    requests: u64,
    polls: u64,
}

/// A controller and its simulated BMCs.
struct Site {
    controller: Child,
    _simulator: Reaped,
    client: Client,
    machines: Vec<Value>,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn start(count: usize) -> Site {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
        let address = free_address();
        let mut controller = serve(folder.path(), &address);
        let client = Client { base: format!("http://{address}"), transport: pooled_transport(&[], 8) };
        client.await_ready(&mut controller).await;
        let (simulator, machines) = simulate(count, &client.base);
        Site { controller, _simulator: simulator, client, machines, _folder: folder }
    }

    /// Submits a job for every machine and waits until all of them are over.
    fn install_all(mut self, runtime: &tokio::runtime::Runtime) -> Outcome {
        let mut counted = (0, 0);
        let wall = time(|| counted = runtime.block_on(self.drive()));
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.controller.id()));
        let peak =
            status.ok().and_then(|status| field(&status, "VmHWM:")).expect("the controller still runs");
        let _ = self.controller.kill();
        let _ = self.controller.wait();
        Outcome { wall, memory_mib: peak / 1024, requests: counted.0, polls: counted.1 }
    }

    /// Gives the first machine's requests besides polls, and those while it was watched.
    async fn drive(&self) -> (u64, u64) {
        let mut first_job = String::new();
        for machine in &self.machines {
            let recipe = json!({
                "task_target": "install-esxi.target",
                "server_serial": machine["serial"],
                "ks_cfg": "vmaccepteula\nrootpw VMware1!\ninstall --firstdisk --overwritevmfs\nreboot\n",
            });
            let job = self.client.call(Method::POST, "/api/v1/jobs", &recipe).await;
            let id = job["job_id"].as_str().unwrap_or_else(|| panic!("refused: {job}"));
            first_job = if first_job.is_empty() { id.to_owned() } else { first_job };
        }
        let counted = self.watch(&first_job).await;
        self.await_all().await;
        counted
    }

    /// Counts the requests that reach the first machine, before, while and after its job polls.
    async fn watch(&self, job: &str) -> (u64, u64) {
        let base = self.machines[0]["bmc_address"].as_str().expect("printed");
        let bmc = Client { base: base.to_owned(), transport: self.client.transport.clone() };
        // Counts when polling began and when it was last seen.
        let (mut before, mut until) = (0, 0);
        loop {
            let requests =
                bmc.call(Method::GET, "/sim/v1/state", &Value::Null).await["redfish_requests"].as_u64();
            let job = self.client.call(Method::GET, &format!("/api/v1/jobs/{job}"), &Value::Null).await;
            let requests = requests.expect("a simulated BMC counts");
            match job["step"].as_str() {
                Some("esxi.await_bmc" | "esxi.poll_power") => until = requests,
                _ if until == 0 => before = requests,
                _ => {}
            }
            if !job["finished_at"].is_null() {
                let polls = until.saturating_sub(before);
                return (requests - polls, polls);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn await_all(&self) {
        let all = async {
            for status in ["queued", "provisioning"] {
                while !self.is_none(status).await {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        };
        tokio::time::timeout(LIMIT, all).await.expect("all jobs end");
        let failed = self.client.call(Method::GET, "/api/v1/jobs?status=failed&limit=1", &Value::Null).await;
        assert!(failed["jobs"].as_array().is_some_and(Vec::is_empty), "a job failed: {failed}");
    }

    async fn is_none(&self, status: &str) -> bool {
        let page = self
            .client
            .call(Method::GET, &format!("/api/v1/jobs?status={status}&limit=1"), &Value::Null)
            .await;
        page["jobs"].as_array().unwrap_or_else(|| panic!("no list: {page}")).is_empty()
    }
}

/// JSON over HTTP, with the operator's token.
struct Client {
    base: String,
    transport: Transport,
}

impl Client {
    async fn call(&self, method: Method, path: &str, body: &Value) -> Value {
        let answer = self.try_call(method, path, body).await;
        answer.unwrap_or_else(|| panic!("{}{path} does not answer", self.base))
    }

    async fn try_call(&self, method: Method, path: &str, body: &Value) -> Option<Value> {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        let request = request.header("content-type", "application/json");
        let request =
            request.header("authorization", format!("Bearer {TOKEN}")).body(body).expect("a request");
        let response = self.transport.clone().oneshot(request).await.ok()?;
        let body = axum::body::to_bytes(response.into_body(), 1 << 24).await.ok()?;
        Some(serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn await_ready(&self, controller: &mut Child) {
        for _ in 0..300 {
            assert!(matches!(controller.try_wait(), Ok(None)), "shoal serve ended immediately");
            if self.try_call(Method::GET, "/readyz", &Value::Null).await.is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("shoal serve is not ready");
    }
}

/// A process that ends with this value.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(folder: &Path, address: &str) -> Child {
    let installer = folder.join("standin.iso");
    let file = File::create(&installer).expect("a file in a temporary folder");
    shoal_sim::standin_installer().write_to(&file).expect("the disk has room");
    let mut serve = Command::new(env!("CARGO_BIN_EXE_shoal"));
    serve
        .arg("serve")
        .envs(SETTINGS)
        .env("CONTROLLER_HTTP_ADDR", address)
        .env("SHOAL_BOOTSTRAP_TOKEN", TOKEN);
    serve.env("ESXI_INSTALLER_URL", installer).env("DB_URL", folder.join("shoal.db"));
    serve.env("TASK_ISO_DIR", folder.join("tasks")).env("INSTALLER_CACHE_DIR", folder.join("cache"));
    serve.env("MASTER_KEY_FILE", folder.join("master.key"));
    serve.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("shoal serve starts")
}

/// Starts simulated BMCs, registered with the controller; gives what they print of themselves.
fn simulate(count: usize, controller: &str) -> (Reaped, Vec<Value>) {
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
