//! This checkout's `shoal serve`, started on a free port with a folder of its own.
//!
//! Driven only as an operator would: by settings and the public API. Invariant: at the end it is asked to
//! end, not killed, and must exit.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::http::Service;
use super::machine::{Account, Machine};
use super::{free_port, home, read};
use crate::process::{Done, command, fail, run};
use crate::program;

const START: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(30);
/// How long a question waits for a controller that is being started again.
const AWAY: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);

pub struct Controller {
    pub port: u16,
    settings: Vec<(String, String)>,
    child: Mutex<Child>,
    kills: AtomicUsize,
    service: Service,
    log: PathBuf,
}

impl Controller {
    /// Starts a controller with these settings on top of the lab's own, and waits until it is ready.
    pub fn start(name: &str, settings: &[(&str, &str)]) -> Done<Controller> {
        let folder = home().join("controller").join(name);
        let made =
            std::fs::remove_dir_all(&folder).or(Ok(())).and_then(|()| std::fs::create_dir_all(&folder));
        made.or_else(|error| fail(format!("{}: {error}", folder.display())))?;
        let port = free_port()?;
        let address = format!("127.0.0.1:{port}");
        let mut all = folders(&folder).to_vec();
        all.push(("CONTROLLER_HTTP_ADDR".to_owned(), address.clone()));
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let log = folder.join("shoal.log");
        let child = Mutex::new(spawn(&all, &log)?);
        let service = Service { base: format!("http://{address}"), authorization: String::new() };
        let mut controller =
            Controller { port, settings: all, child, kills: AtomicUsize::new(0), service, log };
        controller.await_ready()?;
        controller.service.authorization = format!("Bearer {}", read(&folder.join("admin.token"))?);
        Ok(controller)
    }

    fn await_ready(&self) -> Done {
        let start = Instant::now();
        while !matches!(self.service.get("/readyz"), Ok(answer) if answer.status == 200) {
            let ended = matches!(self.child().try_wait(), Ok(Some(_)));
            if ended || start.elapsed() > START {
                return fail(format!("shoal serve is not ready:\n{}", self.log_tail()));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// By SIGKILL, and started again immediately on what it left.
    pub fn kill_and_start_again(&self) -> Done {
        {
            let mut child = self.child();
            let _ = child.kill();
            let _ = child.wait();
            *child = spawn(&self.settings, &self.log)?;
        }
        self.kills.fetch_add(1, Ordering::Relaxed);
        self.await_ready()
    }

    pub fn kills(&self) -> usize {
        self.kills.load(Ordering::Relaxed)
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().expect("no holder panics")
    }

    /// Registers a machine under its serial number, its certificate pinned if it boots by UEFI.
    pub fn add_server(&self, machine: &Machine, account: &Account) -> Done {
        let tls =
            if machine.number % 2 == 1 { format!("pin:{}", account.pin) } else { "insecure".to_owned() };
        let server = json!({
            "serial": machine.serial(),
            "bmc_address": account.url,
            "bmc_username": account.username,
            "bmc_password": account.password,
            "tls": tls,
            "system_id": machine.system_id(),
        });
        match self.service.post("/api/v1/servers", &server)? {
            answer if answer.status == 201 => Ok(()),
            answer => fail(format!("{} is refused: {} {}", machine.serial(), answer.status, answer.body)),
        }
    }

    /// Submits a recipe, again if the controller died before it answered; the id of its one job.
    pub fn submit(&self, recipe: &Value) -> Done<String> {
        let key = format!("lab-{}", SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos());
        let answer = while_away(|| self.service.post_keyed("/api/v1/jobs", recipe, &key))?;
        match (answer.status, answer.body["job_id"].as_str()) {
            (202, Some(id)) => Ok(id.to_owned()),
            (status, _) => fail(format!("the job is refused: {status} {}", answer.body)),
        }
    }

    /// Has it host a disk image, under the name of the file.
    pub fn add_image(&self, image: &Path) -> Done {
        let token = self.service.authorization.trim_start_matches("Bearer ");
        let mut add = command(program::PATH, &["image", "add"]);
        run(add.arg(image).env("SHOAL_URL", &self.service.base).env("SHOAL_TOKEN", token))
    }

    pub fn cancel(&self, id: &str) -> Done {
        match self.service.post(&format!("/api/v1/jobs/{id}/cancel"), &json!({}))? {
            answer if answer.status == 202 => Ok(()),
            answer => fail(format!("the cancel is refused: {} {}", answer.status, answer.body)),
        }
    }

    pub fn job(&self, id: &str) -> Done<Value> {
        while_away(|| self.service.read(&format!("/api/v1/jobs/{id}")))
    }

    /// Which job is at which step.
    pub fn steps(&self) -> Done<Vec<String>> {
        let jobs = self.service.read("/api/v1/jobs")?;
        let jobs = jobs["jobs"].as_array().into_iter().flatten();
        Ok(jobs.map(|job| format!("{} {}", job["server_serial"], job["step"])).collect())
    }

    /// Asks it to end and waits for that.
    pub fn stop(self) -> Done {
        let mut child = self.child();
        let asked = command("kill", &["-TERM", &child.id().to_string()]).status();
        let start = Instant::now();
        while asked.is_ok() && start.elapsed() < END {
            match child.try_wait() {
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
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Asks again while a controller is being started anew.
fn while_away<T>(ask: impl Fn() -> Done<T>) -> Done<T> {
    let start = Instant::now();
    loop {
        match ask() {
            Err(_) if start.elapsed() < AWAY => std::thread::sleep(POLL),
            answer => return answer,
        }
    }
}

fn spawn(settings: &[(String, String)], log: &Path) -> Done<Child> {
    let log = OpenOptions::new().create(true).append(true).open(log);
    let spawned = log.and_then(|log: File| {
        let mut serve: Command = command(program::PATH, &["serve"]);
        serve.envs(settings.iter().map(|(name, value)| (name, value)));
        serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()
    });
    spawned.or_else(|error| fail(format!("shoal serve: {error}")))
}

/// Where the controller keeps things, all of it in one folder.
fn folders(folder: &Path) -> [(String, String); 5] {
    let places = [
        ("DB_URL", "shoal.db"),
        ("TASK_ISO_DIR", "task-isos"),
        ("INSTALLER_CACHE_DIR", "installers"),
        ("IMAGES_DIR", "images"),
        ("MASTER_KEY_FILE", "master.key"),
    ];
    places.map(|(name, place)| (name.to_owned(), folder.join(place).to_string_lossy().into_owned()))
}
