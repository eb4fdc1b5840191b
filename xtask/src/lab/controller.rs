//! This checkout's `shoal serve`, started on a free port with a folder of its own.
//!
//! Driven only as an operator would: by settings and the public API. Invariant: it is asked to end,
//! not killed, and it must end by itself.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::Service;
use super::machine::{Account, Machine};
use super::{home, read, standin};
use crate::process::{Done, command, fail};

const START: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);

pub struct Controller {
    child: Child,
    service: Service,
    log: PathBuf,
}

impl Controller {
    /// Starts a controller with these settings on top of the lab's own, and waits until it is ready.
    pub fn start(name: &str, settings: &[(&str, &str)]) -> Done<Controller> {
        let folder = home().join("controller").join(name);
        let made =
            std::fs::remove_dir_all(&folder).or(Ok(())).and_then(|()| std::fs::create_dir_all(&folder));
        let port = made.and_then(|()| free_port());
        let log = folder.join("shoal.log");
        let (port, file) = match (port, File::create(&log)) {
            (Ok(port), Ok(file)) => (port, file),
            (Err(error), _) | (_, Err(error)) => return fail(format!("{}: {error}", folder.display())),
        };
        let address = format!("127.0.0.1:{port}");
        let mut serve = command("target/debug/shoal", &["serve"]);
        serve.env("CONTROLLER_HTTP_ADDR", &address).env("ESXI_INSTALLER_URL", standin());
        serve.envs(folders(&folder)).envs(settings.iter().copied());
        let child = serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        let child = child.or_else(|error| fail(format!("shoal serve: {error}")))?;
        let service = Service { base: format!("http://{address}"), authorization: String::new() };
        let mut controller = Controller { child, service, log };
        controller.await_ready()?;
        let token = read(&folder.join("admin.token"))?;
        controller.service.authorization = format!("Bearer {token}");
        Ok(controller)
    }

    fn await_ready(&mut self) -> Done {
        let start = Instant::now();
        while !matches!(self.service.get("/readyz"), Ok(answer) if answer.status == 200) {
            let ended = matches!(self.child.try_wait(), Ok(Some(_)));
            if ended || start.elapsed() > START {
                return fail(format!("shoal serve is not ready:\n{}", self.log_tail()));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Registers a machine under its serial number.
    pub fn add_server(&self, machine: &Machine, account: &Account, tls: &str) -> Done {
        let server = json!({
            "serial": machine.serial(),
            "bmc_address": account.url,
            "bmc_username": account.username,
            "bmc_password": account.password,
            "tls": tls,
        });
        match self.service.post("/api/v1/servers", &server)? {
            answer if answer.status == 201 => Ok(()),
            answer => fail(format!("{} is refused: {} {}", machine.serial(), answer.status, answer.body)),
        }
    }

    /// Submits a recipe; the id of its job.
    pub fn submit(&self, recipe: &Value) -> Done<String> {
        let answer = self.service.post("/api/v1/jobs", recipe)?;
        match (answer.status, answer.body["job_id"].as_str()) {
            (202, Some(id)) => Ok(id.to_owned()),
            (status, _) => fail(format!("the job is refused: {status} {}", answer.body)),
        }
    }

    pub fn job(&self, id: &str) -> Done<Value> {
        self.service.read(&format!("/api/v1/jobs/{id}"))
    }

    /// Asks it to end and waits for that.
    pub fn stop(mut self) -> Done {
        let asked = command("kill", &["-TERM", &self.child.id().to_string()]).status();
        let start = Instant::now();
        while asked.is_ok() && start.elapsed() < END {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    return fail(format!("shoal serve ended with {status}:\n{}", self.log_tail()));
                }
                _ => std::thread::sleep(POLL),
            }
        }
        fail(format!("shoal serve does not end:\n{}", self.log_tail()))
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Controller {
    /// Nothing a failed test started outlives it. Killing one that has ended does no harm.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the controller keeps things, all of it in one folder.
fn folders(folder: &Path) -> [(&'static str, PathBuf); 4] {
    [
        ("DB_URL", folder.join("shoal.db")),
        ("TASK_ISO_DIR", folder.join("task-isos")),
        ("INSTALLER_CACHE_DIR", folder.join("installers")),
        ("MASTER_KEY_FILE", folder.join("master.key")),
    ]
}

fn free_port() -> std::io::Result<u16> {
    TcpListener::bind("127.0.0.1:0")?.local_addr().map(|address| address.port())
}
