//! What every engine promises, whatever it is.
//!
//! Each promise is one function over a [`Bench`], and [`promises`] makes one test of it for each engine. They use
//! the store's traits only; what needs the inside of an engine is tested beside it. To add an engine, implement
//! [`Database`] in its folder and add a module to [`promises`].
//!
//! Times are given with each call, in seconds after a fixed start. An engine that measures leases by a clock of its
//! own takes the caller's for these tests.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::access::{Act, Actor};
use crate::domain::{
    EventStatus, Job, JobId, JobSpec, Level, NewEvent, Outcome, Phase, Serial, Server, Status, Step, Verdict,
    parse_recipe,
};
use crate::seal::Sealer;
use shoal_base::Password;
use shoal_base::world::{TlsPolicy, after};

/// Makes a test of every promise for every engine.
macro_rules! promises {
    ($($promise:ident),+ $(,)?) => {
        mod sqlite_on_file {
            use crate::store::contract_tests::Bench;
            use crate::store::sqlite::contract::OnFile;

            $(#[tokio::test] async fn $promise() {
                super::$promise(Bench::of(OnFile::new()).await).await
            })+
        }
        mod sqlite_in_memory {
            use crate::store::contract_tests::Bench;
            use crate::store::sqlite::contract::InMemory;

            $(#[tokio::test(start_paused = true)] async fn $promise() {
                super::$promise(Bench::of(InMemory::new()).await).await
            })+
        }
        mod postgres {
            use crate::store::contract_tests::Bench;
            use crate::store::postgres::contract::OnServer;

            $(#[tokio::test] async fn $promise() {
                if let Some(database) = OnServer::new().await {
                    super::$promise(Bench::of(database).await).await
                }
            })+
        }
        mod postgres_behind_pgbouncer {
            use crate::store::contract_tests::Bench;
            use crate::store::postgres::contract::OnServer;

            $(#[tokio::test] async fn $promise() {
                if let Some(database) = OnServer::pooled().await {
                    super::$promise(Bench::of(database).await).await
                }
            })+
        }
    };
}

mod audit;
mod batches;
mod events;
mod hosts;
mod jobs;
mod keys;
mod leases;
mod notifications;
mod probes;
mod reports;
mod retention;
mod servers;
mod task_reports;
mod tokens;
mod unreadable;

const TTL: Duration = Duration::from_secs(60);
const KICKSTART: &str = "vmaccepteula\nrootpw planted-in-the-kickstart\ninstall --firstdisk\n";

/// An empty database of one engine, for one test.
pub(super) trait Database: Send + Sync {
    /// Starts a controller on it, as after a crash of the one before. The store of that one is dropped by now.
    fn start(&self, keys: Sealer) -> StoreFuture<Store>;

    /// Writes `json` over a stored value, behind the store's back.
    fn overwrite(&self, value: StoredValue, json: &str) -> BoxFuture<'static, ()>;
}

/// A value that is stored with its version.
#[derive(Clone, Debug)]
pub(super) enum StoredValue {
    Cursor(JobId),
    Facts(JobId),
    /// Each of the job's.
    Trace(JobId),
    HookReport(JobId),
    BmcMemory(Serial),
}

/// A database, and the store of the controller that runs on it.
struct Bench {
    store: Store,
    database: Box<dyn Database>,
}

impl Bench {
    async fn of(database: impl Database + 'static) -> Bench {
        Bench { store: database.start(sealer()).await.unwrap(), database: Box::new(database) }
    }

    /// As after a crash of the controller.
    async fn restarted(self) -> Bench {
        let database = self.stopped();
        Bench { store: database.start(sealer()).await.unwrap(), database }
    }

    fn stopped(self) -> Box<dyn Database> {
        self.database
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

fn act(number: u64) -> Act {
    Act {
        at: at(number),
        actor: Actor::controller(),
        source: Some("10.0.0.1".to_owned()),
        action: "server.add".to_owned(),
        server: Some(format!("S{number}")),
        job: None,
        detail: json!({}),
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
        variables: Default::default(),
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
