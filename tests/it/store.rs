//! What every store promises, whatever it is kept in.
//!
//! Each promise is one function over a [`Bench`], and [`promises`] makes two tests of it: on a file
//! and in memory. They go through the public interface only; what needs the inside of the store is
//! tested beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use shoal::domain::{
    EventStatus, Job, JobId, JobSpec, Level, NewEvent, Outcome, Phase, Serial, Server, Status, Step, Verdict,
    parse_recipe,
};
use shoal::seal::Sealer;
use shoal::store::{Inserted, Lease, NewJob, Sqlite, Store, StoreError};
use shoal_base::Password;
use shoal_base::world::{TlsPolicy, after};

/// Makes two tests of every promise.
macro_rules! promises {
    ($($promise:ident),+ $(,)?) => {
        mod file {
            $(#[tokio::test] async fn $promise() {
                super::$promise(crate::store::Bench::on_file()).await
            })+
        }
        mod memory {
            $(#[tokio::test(start_paused = true)] async fn $promise() {
                super::$promise(crate::store::Bench::in_memory()).await
            })+
        }
    };
}

mod events;
mod jobs;
mod leases;
mod servers;

const TTL: Duration = Duration::from_secs(60);
const KICKSTART: &str = "vmaccepteula\nrootpw planted-in-the-kickstart\ninstall --firstdisk\n";

/// A store, and how to start it anew.
struct Bench {
    store: Store,
    database: Sqlite,
    directory: Option<tempfile::TempDir>,
}

impl Bench {
    fn in_memory() -> Bench {
        Bench::of(Sqlite::in_memory(sealer()).unwrap(), None)
    }

    fn on_file() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let database = Sqlite::open(&directory.path().join("shoal.db"), sealer()).unwrap();
        Bench::of(database, Some(directory))
    }

    fn of(database: Sqlite, directory: Option<tempfile::TempDir>) -> Bench {
        Bench { store: database.clone().into(), database, directory }
    }

    /// As after a crash of the controller.
    fn restarted(self) -> Bench {
        let Bench { store, database, directory } = self;
        let database = match &directory {
            None => database.reopen().unwrap(),
            Some(directory) => {
                drop((store, database));
                Sqlite::open(&directory.path().join("shoal.db"), sealer()).unwrap()
            }
        };
        Bench::of(database, directory)
    }

    /// With servers of these serial numbers.
    async fn with(self, serials: &[&str]) -> Bench {
        for serial in serials {
            self.store.insert_server(&server(serial)).await.unwrap();
        }
        self
    }

    /// Server `A` and its first job, claimed by `me` at second 1.
    async fn with_claimed_job(self) -> (Bench, Lease, Job) {
        let bench = self.with(&["A"]).await;
        bench.add_job("A", 1).await;
        let (lease, job) = bench.claim(1).await.remove(0);
        (bench, lease, job)
    }

    /// The `number`-th job, made at second `number`.
    async fn add_job(&self, serial: &str, number: u64) -> Job {
        match self.store.insert_job(new_job(serial, number), None).await.unwrap() {
            Inserted::New(job) => job,
            Inserted::Repeated { .. } => panic!("no key was given"),
        }
    }

    async fn claim(&self, second: u64) -> Vec<(Lease, Job)> {
        self.store.claim("me", at(second), TTL, 100).await.unwrap()
    }

    async fn job(&self, number: u64) -> Job {
        self.store.job(id(number)).await.unwrap().unwrap()
    }

    /// Ends a job, so that its server is free.
    async fn finish(&self, lease: &Lease) {
        let job = self.store.job(lease.job).await.unwrap().unwrap();
        self.store.save(lease, &ended(&job, Phase::Done), Vec::new()).await.unwrap();
    }
}

fn sealer() -> Sealer {
    Sealer::new([7; 32])
}

/// `seconds` after the start of these tests' time.
fn at(seconds: u64) -> Timestamp {
    after("2026-01-01T00:00:00Z".parse().unwrap(), Duration::from_secs(seconds))
}

fn id(number: u64) -> JobId {
    JobId::new(at(number).as_millisecond() as u64, [number as u8; 10])
}

fn serial(text: &str) -> Serial {
    text.parse().unwrap()
}

fn server(text: &str) -> Server {
    Server {
        serial: serial(text),
        bmc_address: "https://10.0.0.5".parse().unwrap(),
        bmc_username: "root".into(),
        bmc_password: Password::new(format!("calvin-{text}")),
        tls: TlsPolicy::Verify,
        system_id: None,
        system_uuid: None,
        management_address: None,
        protected: false,
        labels: BTreeMap::new(),
    }
}

fn recipe(server: &str) -> serde_json::Value {
    json!({ "task_target": "install-esxi.target", "server_serial": server, "ks_cfg": KICKSTART })
}

fn spec(server: &str) -> JobSpec {
    parse_recipe(recipe(server).as_object().unwrap(), &serial(server)).unwrap()
}

fn new_job(server: &str, number: u64) -> NewJob {
    NewJob {
        id: id(number),
        server: serial(server),
        task_target: "install-esxi.target".into(),
        spec: spec(server),
        recipe: recipe(server),
        retry_of: None,
        created_at: at(number),
        events: Vec::new(),
    }
}

fn event(status: EventStatus, message: &str) -> NewEvent {
    NewEvent {
        time: at(5),
        level: Level::Info,
        step: Step::Reset,
        op: "reset".into(),
        status,
        attempt: 1,
        duration_ms: None,
        message: message.into(),
        detail: json!(null),
    }
}

fn verdict(outcome: Outcome) -> Verdict {
    Verdict { outcome, confidence: None, evidence: Vec::new() }
}

/// The job as failed, and now in `phase`.
fn ended(job: &Job, phase: Phase) -> Job {
    let mut update = Job { last_update: at(9), ..job.clone() };
    update.status = Status::Failed;
    update.verdict = Some(verdict(Outcome::Failed));
    update.cursor.phase = phase;
    update
}

/// The serial numbers of jobs, in their order.
fn serials(jobs: &[Job]) -> Vec<&str> {
    jobs.iter().map(|job| job.server.as_str()).collect()
}

fn is_lost(error: &StoreError) -> bool {
    matches!(error, StoreError::LeaseLost { .. })
}
