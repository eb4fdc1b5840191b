//! What every store promises, whatever it is kept in.
//!
//! Each promise is one function over a [`Bench`], and [`promises`] runs it twice: on a file and in
//! memory. It goes through the public interface only; what needs the inside of the store is tested
//! beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use shoal::job::{Cursor, Job, JobId, JobSpec, Password, Serial, Server, Status, parse_recipe};
use shoal::seal::Sealer;
use shoal::store::{Inserted, JobUpdate, Lease, NewJob, Store, StoreError};
use shoal::world::{TlsPolicy, after};

const TTL: Duration = Duration::from_secs(60);

/// A store, and how to start it anew.
struct Bench {
    store: Store,
    directory: Option<tempfile::TempDir>,
}

impl Bench {
    fn in_memory() -> Bench {
        Bench { store: Store::in_memory(sealer()).unwrap(), directory: None }
    }

    fn on_file() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("shoal.db"), sealer()).unwrap();
        Bench { store, directory: Some(directory) }
    }

    /// As after a crash of the controller.
    fn restarted(self) -> Bench {
        let Bench { store, directory } = self;
        let store = match &directory {
            None => store.reopen().unwrap(),
            Some(directory) => {
                drop(store);
                Store::open(&directory.path().join("shoal.db"), sealer()).unwrap()
            }
        };
        Bench { store, directory }
    }

    /// A store that holds server `A` and one job of it, claimed.
    async fn with_claimed_job(self) -> (Bench, Lease, Job) {
        self.store.insert_server(&server("A")).await.unwrap();
        self.add_job("A", 1).await;
        let (lease, job) = self.claim("me", at(1)).await.remove(0);
        (self, lease, job)
    }

    async fn add_job(&self, serial: &str, number: u64) -> Job {
        match self.store.insert_job(new_job(serial, number), None).await.unwrap() {
            Inserted::New(job) => job,
            Inserted::Repeated { .. } => panic!("no key was given"),
        }
    }

    async fn claim(&self, owner: &str, now: Timestamp) -> Vec<(Lease, Job)> {
        self.store.claim(owner, now, TTL, 100).await.unwrap()
    }
}

/// Makes two tests of every promise.
macro_rules! promises {
    ($($promise:ident),+ $(,)?) => {
        mod file {
            $(#[tokio::test] async fn $promise() { super::$promise(super::Bench::on_file()).await })+
        }
        mod memory {
            $(#[tokio::test(start_paused = true)] async fn $promise() { super::$promise(super::Bench::in_memory()).await })+
        }
    };
}

promises! {
    servers_read_back_as_written,
    a_job_reads_back_as_written,
    who_lost_the_lease_writes_nothing,
}

async fn who_lost_the_lease_writes_nothing(bench: Bench) {
    let (bench, old, job) = bench.with_claimed_job().await;
    assert!(bench.claim("other", at(60)).await.is_empty(), "the lease still runs");
    let (new, _) = bench.claim("other", at(61)).await.remove(0);
    let mut update = JobUpdate::of(&job, at(62));
    update.status = Status::Provisioning;
    let error = bench.store.save(&old, &update, Vec::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::LeaseLost { .. }), "{error}");
    assert_eq!(bench.store.job(job.id).await.unwrap().unwrap().status, Status::Queued);
    bench.store.save(&new, &update, Vec::new()).await.unwrap();
    assert_eq!(bench.store.job(job.id).await.unwrap().unwrap().status, Status::Provisioning);
}

async fn servers_read_back_as_written(bench: Bench) {
    let mut written = server("A");
    written.labels = BTreeMap::from([("rack".into(), "7".into())]);
    written.system_uuid = Some("4c4c4544".into());
    written.tls = TlsPolicy::Pin([9; 32]);
    bench.store.insert_server(&written).await.unwrap();
    written.protected = true;
    bench.store.update_server(&written).await.unwrap();
    bench.store.insert_server(&server("B")).await.unwrap();

    let bench = bench.restarted();
    let read = bench.store.server(&serial("A")).await.unwrap().unwrap();
    assert_eq!(read.bmc_password.expose(), "calvin-A");
    assert_eq!(format!("{read:?}"), format!("{written:?}"));
    let all = bench.store.servers().await.unwrap();
    assert_eq!(all.iter().map(|server| server.serial.as_str()).collect::<Vec<_>>(), ["A", "B"]);
}

async fn a_job_reads_back_as_written(bench: Bench) {
    bench.store.insert_server(&server("A")).await.unwrap();
    let made = bench.add_job("A", 1).await;
    let bench = bench.restarted();
    let read = bench.store.job(made.id).await.unwrap().unwrap();
    assert_eq!(format!("{read:?}"), format!("{made:?}"));
    let spec = read.spec.unwrap();
    assert_eq!(spec.kickstart.expose(), KICKSTART);
    assert_eq!((read.status, read.cursor), (Status::Queued, Cursor::start(at(1))));
    assert_eq!(bench.store.job_recipe(made.id).await.unwrap(), Some(recipe("A")));
    assert_eq!(bench.store.job_recipe(id(9)).await.unwrap(), None);
    assert!(bench.store.job(id(9)).await.unwrap().is_none());
}

const KICKSTART: &str = "vmaccepteula\nrootpw planted-in-the-kickstart\ninstall --firstdisk\n";

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

/// The `number`-th job, made at second `number`.
fn new_job(server: &str, number: u64) -> NewJob {
    NewJob {
        id: id(number),
        server: serial(server),
        task_target: "install-esxi.target".into(),
        spec: spec(server),
        recipe: recipe(server),
        retry_of: None,
        created_at: at(number),
    }
}
