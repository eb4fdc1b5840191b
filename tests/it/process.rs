//! The real binary as processes: controllers in directories of their own, and simulated BMCs.
//!
//! It holds no test. Invariant: every port is one that the system chose, nothing waits longer than
//! a bound, and a process ends with its handle.

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use shoal_base::world::{HttpRequest, TlsPolicy, Transport, real_transport};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tower::ServiceExt;

pub const BOUND: Duration = Duration::from_secs(60);

/// A controller in a directory of its own.
pub struct Served {
    pub child: Child,
    pub greeting: String,
    pub url: String,
    pub token: String,
    transport: Transport,
    /// All that it has answered so far, as text.
    answers: Mutex<String>,
}

/// `shoal` with nothing of this process's environment that could have a say.
pub fn shoal() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub fn serve(dir: &Path, flags: &[&str]) -> Command {
    serve_at("127.0.0.1:0", dir, flags)
}

pub fn serve_at(addr: &str, dir: &Path, flags: &[&str]) -> Command {
    let mut command = shoal();
    command.current_dir(dir).args(["serve", "--addr", addr]).args(flags);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub async fn start(dir: &Path, flags: &[&str]) -> Served {
    start_command(dir, serve(dir, flags)).await
}

pub async fn start_command(dir: &Path, mut command: Command) -> Served {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut greeting = String::new();
    tokio::time::timeout(BOUND, stdout.read_line(&mut greeting)).await.unwrap().unwrap();
    let mut log = String::new();
    if greeting.is_empty()
        && let Some(mut stderr) = child.stderr.take()
    {
        stderr.read_to_string(&mut log).await.unwrap();
    }
    let url = greeting.strip_prefix("listening on ").unwrap_or_else(|| panic!("{greeting}{log}"));
    let url = url.trim_end().split(',').next().unwrap().to_owned();
    let token = std::fs::read_to_string(dir.join("var/shoal/admin.token")).unwrap_or_default();
    let token = token.trim_end().to_owned();
    Served { child, greeting, url, token, transport: real_transport(&[]), answers: Mutex::default() }
}

impl Served {
    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.send(self.request("GET", path), Bytes::new()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(json_body(self.request("POST", path)), body.to_string().into()).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(json_body(self.request("PATCH", path)), body.to_string().into()).await
    }

    /// A request with the admin token.
    pub fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let request = http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        let request = request.extension(TlsPolicy::Insecure);
        request.header(header::AUTHORIZATION, format!("Bearer {}", self.token))
    }

    pub async fn send(&self, request: http::request::Builder, body: Bytes) -> (u16, Value) {
        let response = answer(&self.transport, request, body).await;
        let status = response.status().as_u16();
        let head = format!("{:?}", response.headers());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body);
        self.note(&head);
        self.note(&body);
        (status, serde_json::from_str(&body).unwrap_or_else(|_| json!(body)))
    }

    /// The events of all jobs, as they come.
    pub async fn stream(&self) -> Body {
        self.open_stream("/api/v1/events", None).await.1
    }

    /// A stream of events after the one with the id `after`.
    pub async fn open_stream(&self, path: &str, after: Option<u64>) -> (u16, Body) {
        let mut request = self.request("GET", path).header(header::ACCEPT, "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = answer(&self.transport, request, Bytes::new()).await;
        (response.status().as_u16(), response.into_body())
    }

    /// The events of a job, from its start.
    pub async fn events(&self, job: &str) -> Events<'_> {
        self.events_after(job, None).await
    }

    pub async fn events_after(&self, job: &str, after: Option<u64>) -> Events<'_> {
        let (status, body) = self.open_stream(&format!("/api/v1/jobs/{job}/events"), after).await;
        assert_eq!(status, 200, "the stream of {job}");
        Events { served: self, body, read: String::new() }
    }

    /// The events of all jobs, after the event with the id `after`.
    pub async fn all_events_after(&self, after: u64) -> Events<'_> {
        let (status, body) = self.open_stream("/api/v1/events", Some(after)).await;
        assert_eq!(status, 200, "the stream of all events");
        Events { served: self, body, read: String::new() }
    }

    /// The job once its cleanup is over, with its events.
    pub async fn settled(&self, job: &str) -> Value {
        let mut events = self.events(job).await;
        while events.next().await.is_some() {}
        let (_, job) = self.get(&format!("/api/v1/jobs/{job}")).await;
        assert!(!job["finished_at"].is_null(), "its stream ended before it did: {job:#}");
        job
    }

    fn note(&self, text: &str) {
        self.answers().push_str(text);
    }

    pub fn answers(&self) -> MutexGuard<'_, String> {
        self.answers.lock().unwrap()
    }

    /// Asks it to end, and gives its exit code and its log, where that was not sent elsewhere.
    pub async fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        kill(&self.child, signal).await;
        let mut log = String::new();
        let ended = async {
            if let Some(mut stderr) = self.child.stderr.take() {
                stderr.read_to_string(&mut log).await.unwrap();
            }
            self.child.wait().await.unwrap()
        };
        let status = tokio::time::timeout(BOUND, ended).await.unwrap();
        (status.code(), log)
    }
}

fn json_body(request: http::request::Builder) -> http::request::Builder {
    request.header(header::CONTENT_TYPE, "application/json")
}

async fn answer(transport: &Transport, request: http::request::Builder, body: Bytes) -> http::Response<Body> {
    let request: HttpRequest = request.extension(TlsPolicy::Insecure).body(body).unwrap();
    tokio::time::timeout(BOUND, transport.clone().oneshot(request)).await.unwrap().unwrap()
}

/// A stream of events, read one by one.
pub struct Events<'a> {
    served: &'a Served,
    body: Body,
    read: String,
}

impl Events<'_> {
    /// `None` at the end of the stream, however it came.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.read = rest;
                self.served.note(&event);
                let Some(data) = event.lines().find_map(|line| line.strip_prefix("data:")) else { continue };
                return Some(serde_json::from_str(data).unwrap());
            }
            let frame = tokio::time::timeout(BOUND, self.body.frame()).await.unwrap()?.ok()?;
            let data = frame.into_data().unwrap_or_default();
            self.read.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// The first event that is `wanted`.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.next().await.expect("the job ended before that");
            if wanted(&event) {
                return event;
            }
        }
    }
}

pub async fn kill(child: &Child, signal: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
}

pub async fn output(mut command: Command) -> Output {
    tokio::time::timeout(BOUND, command.output()).await.unwrap().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The recipe of the public contract, for a server.
pub fn recipe(serial: &str) -> Value {
    json!({
        "task_target": "install-esxi.target",
        "server_serial": serial,
        "ks_cfg": "vmaccepteula\ninstall --firstdisk --overwritevmfs\nreboot\n",
    })
}

/// Simulated BMCs.
pub struct Sim {
    pub child: Child,
    pub machines: Vec<Machine>,
}

impl Sim {
    pub async fn start(arguments: &[&str]) -> Sim {
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let mut command = shoal();
        command.arg("sim").args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let transport = real_transport(&[]);
        let mut machines = vec![];
        while let Some(line) = lines.next_line().await.unwrap() {
            let line: Value = serde_json::from_str(&line).unwrap();
            if line == json!({ "ready": true }) {
                break;
            }
            machines.push(Machine { line, transport: transport.clone() });
        }
        Sim { child, machines }
    }
}

/// One simulated server, by the line that was printed of it.
#[derive(Clone)]
pub struct Machine {
    line: Value,
    transport: Transport,
}

impl Machine {
    pub fn text(&self, key: &str) -> &str {
        self.line[key].as_str().unwrap()
    }

    /// Its record for the inventory.
    pub fn record(&self) -> Value {
        json!({
            "serial": self.line["serial"],
            "bmc_address": self.line["bmc_address"],
            "bmc_username": self.line["username"],
            "bmc_password": self.line["password"],
        })
    }

    /// The truth about it.
    pub async fn state(&self) -> Value {
        let request = http::Request::get(format!("{}/sim/v1/state", self.text("bmc_address")));
        let response = answer(&self.transport, request, Bytes::new()).await;
        assert_eq!(response.status(), 200);
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    /// The truth about it once that is as `wanted`.
    pub async fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let looking = async {
            loop {
                let state = self.state().await;
                if wanted(&state) {
                    return state;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(BOUND, looking).await.unwrap()
    }
}

/// Nothing is in a drive, and the next boot is an ordinary one.
pub fn is_left_clean(state: &Value) -> bool {
    let drives = state["media"].as_object().unwrap();
    drives.values().all(|drive| drive["inserted"] == false) && state["boot_override"]["enabled"] == "Disabled"
}
