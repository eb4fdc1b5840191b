//! What only shows from inside the engine: its files, its schema, leases of the run before, and rows that no release
//! writes. What it promises to callers is in `contract_tests`.

mod audit;
mod backup;
mod damage;
mod files;
mod keys;
mod leases;
mod replaced;
mod schema;
mod together;

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::domain::{EventStatus, Job, JobId, Level, NewEvent, Serial, Server, Step, parse_recipe};
use crate::store::*;
use shoal_base::world::after;

const PASSWORD: &str = "planted-bmc-password";
const KICKSTART: &str = "vmaccepteula\nrootpw planted-in-the-kickstart\ninstall --firstdisk\n";
const TTL: Duration = Duration::from_secs(60);

fn sealer() -> Sealer {
    Sealer::new([7; 32])
}

fn at(seconds: u64) -> Timestamp {
    after("2026-01-01T00:00:00Z".parse().unwrap(), Duration::from_secs(seconds))
}

fn id(number: u8) -> JobId {
    JobId::new(1_767_225_600_000 + u64::from(number), [number; 10])
}

fn server(serial: &str) -> Server {
    Server {
        serial: serial.parse().unwrap(),
        bmc_address: "https://10.0.0.5".parse().unwrap(),
        bmc_username: "root".into(),
        bmc_password: shoal_base::Password::new(PASSWORD.into()),
        tls: shoal_base::world::TlsPolicy::Verify,
        system_id: None,
        system_uuid: None,
        management_address: None,
        protected: false,
        labels: [("rack".to_owned(), "7".to_owned())].into(),
        variables: crate::domain::Variables::default()
            .merged([("root_password".to_owned(), Some(json!("planted-in-a-variable")))].into())
            .unwrap(),
    }
}

fn new_job(serial: &str, number: u8) -> NewJob {
    let serial: Serial = serial.parse().unwrap();
    let recipe = json!({
        "task_target": "install-esxi.target",
        "ks_cfg": KICKSTART,
        "metadata": { "note": "planted-in-the-recipe" },
    });
    NewJob {
        id: id(number),
        task_target: "install-esxi.target".into(),
        spec: parse_recipe(recipe.as_object().unwrap(), &serial).unwrap(),
        server: serial,
        recipe,
        retry_of: None,
        created_at: at(0),
        events: Vec::new(),
    }
}

fn event(message: &str) -> NewEvent {
    NewEvent {
        time: at(1),
        level: Level::Info,
        step: Step::Reset,
        op: "reset".into(),
        status: EventStatus::Progress,
        attempt: 1,
        duration_ms: Some(5),
        message: message.into(),
        detail: json!({ "state": "On" }),
    }
}

/// Adds servers `A` and `B` with a job each, and claims both.
async fn two_claimed_jobs(store: &Sqlite) -> Vec<(Lease, Job)> {
    for (serial, number) in [("A", 1), ("B", 2)] {
        store.insert_server(&server(serial)).await.unwrap();
        store.insert_job(new_job(serial, number), None).await.unwrap();
    }
    store.claim("me", at(1), TTL, 9).await.unwrap()
}

/// What a simulation puts a tap on is still beside another controller, or not.
#[test]
fn a_tap_changes_nothing_else_of_a_handle() {
    let store = Store::from(Sqlite::in_memory(sealer()).unwrap());
    let tap: Tap = Arc::new(|_, _| Box::pin(async { Ok(()) }));
    let second = store.second_handle();
    assert!(second.is_shared() && second.tapped(tap.clone()).is_shared());
    assert!(!store.is_shared() && !store.tapped(tap).is_shared());
}

/// SQL behind the store's back.
fn execute(store: &Sqlite, sql: &str) -> rusqlite::Result<()> {
    store.database.lock().execute_batch(sql)
}
