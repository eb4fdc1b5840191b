//! A real PostgreSQL server under simulated time.
//!
//! Calls of the store run in a runtime of their own, by real time, while that of the world stands still.

use std::sync::LazyLock;

use shoal::seal::Sealer;
use shoal::store::{Postgres, PostgresAddress, Store};
use shoal_base::world::{Clock, Rng};
use tokio::runtime::Runtime;
use xtask::postgres::{POSTGRES_PORT, TestServer, test_server};

static SERVER: LazyLock<Result<TestServer, String>> = LazyLock::new(test_server);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});

/// A database of one world, removed with it.
pub struct Database {
    role: String,
    pub store: Store,
}

/// Whether there is a server; otherwise it is printed why not.
pub fn is_there() -> bool {
    SERVER.as_ref().inspect_err(|why| eprintln!("skipped: {why}")).is_ok()
}

impl Database {
    /// An empty one, by whose clock leases are measured.
    pub async fn new(clock: &Clock) -> Database {
        let url = server().new_database(POSTGRES_PORT).unwrap();
        let role = url["postgres://".len()..].split('@').next().unwrap().to_owned();
        let address = PostgresAddress::parse(&url, false).unwrap();
        let (sealer, rng) = (Sealer::new([7; 32]), Rng::from_system());
        let opened =
            Postgres::simulated(&address, sealer, rng, clock.clone(), RUNTIME.handle().clone()).await;
        Database { role, store: opened.unwrap().into() }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let role = &self.role;
        if let Err(error) = server().psql(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")) {
            eprintln!("the database of {role} stays: {error}");
        }
    }
}

fn server() -> &'static TestServer {
    SERVER.as_ref().expect("is_there was asked")
}
