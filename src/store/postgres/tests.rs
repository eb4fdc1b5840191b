//! Tests of what only this engine has: transactions side by side, connections that are lost, several controllers.

mod connections;
mod controllers;
mod secrets;
mod tls;
mod transfer;

use std::time::Duration;

use jiff::Timestamp;

use super::contract::OnServer;
use super::*;
use crate::domain::{Job, JobId, NewEvent, Phase, Serial, Server, Status};
use crate::store::{JobStore as _, Lease, NewJob, ServerStore as _};
use shoal_base::Password;
use shoal_base::world::TlsPolicy;

fn sealer() -> Sealer {
    Sealer::new([7; 32])
}

fn now() -> Timestamp {
    shoal_base::world::Clock::system().now()
}

fn serial(text: &str) -> Serial {
    text.parse().unwrap()
}

fn server(text: &str) -> Server {
    Server {
        serial: serial(text),
        bmc_address: "https://10.0.0.5".parse().unwrap(),
        bmc_username: "root".into(),
        bmc_password: Password::new("calvin".to_owned()),
        tls: TlsPolicy::Verify,
        system_id: None,
        system_uuid: None,
        management_address: None,
        protected: false,
        labels: Default::default(),
        variables: Default::default(),
    }
}

fn id(number: u8) -> JobId {
    JobId::new(1_700_000_000_000 + u64::from(number), [number; 10])
}

fn new_job(text: &str, number: u8, created_at: Timestamp) -> NewJob {
    let recipe = serde_json::json!({
        "task_target": "install-esxi.target",
        "server_serial": text,
        "ks_cfg": "vmaccepteula\nrootpw x\ninstall --firstdisk\n",
    });
    let spec = crate::domain::parse_recipe(recipe.as_object().unwrap(), &serial(text)).unwrap();
    NewJob {
        id: id(number),
        server: serial(text),
        task_target: "install-esxi.target".into(),
        spec,
        recipe,
        retry_of: None,
        created_at,
        events: Vec::new(),
    }
}

fn event(message: &str) -> NewEvent {
    NewEvent {
        time: now(),
        level: crate::domain::Level::Info,
        step: crate::domain::Step::Reset,
        op: "reset".into(),
        status: crate::domain::EventStatus::Succeeded,
        attempt: 1,
        duration_ms: None,
        message: message.into(),
        detail: serde_json::Value::Null,
    }
}

/// A started controller with server `A` and its job, claimed by `me`.
async fn with_claimed_job(store: &Postgres) -> (Lease, Job) {
    use crate::store::LeaseStore as _;
    store.insert_server(&server("A")).await.unwrap();
    store.insert_job(new_job("A", 1, now()), None).await.unwrap();
    store.claim("me", now(), Duration::from_secs(60), 9).await.unwrap().remove(0)
}

fn ended(job: &Job) -> Job {
    let mut job = Job { status: Status::Cancelled, last_update: now(), ..job.clone() };
    job.cursor.phase = Phase::Done;
    job
}
