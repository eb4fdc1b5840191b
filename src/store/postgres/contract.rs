//! PostgreSQL's databases for the suite that all engines pass (`contract_tests`): a schema for each test, on a server
//! that the tests start, with or without PgBouncer before it.

use std::path::Path;

use futures_util::future::BoxFuture;
use tokio_postgres::{Client, NoTls};
use xtask::postgres::{PGBOUNCER_PORT, POSTGRES_PORT, TestServer, test_server};

use super::*;
use crate::store::contract_tests::{Database as AnyDatabase, StoredValue};

/// A schema of its own, and the role that owns it.
pub struct OnServer {
    server: TestServer,
    pub role: String,
    pub port: u16,
}

impl OnServer {
    /// `None`, after a message, where there is no server.
    pub async fn new() -> Option<OnServer> {
        OnServer::at(POSTGRES_PORT).await
    }

    /// The same behind PgBouncer in transaction mode.
    pub async fn pooled() -> Option<OnServer> {
        OnServer::at(PGBOUNCER_PORT).await
    }

    async fn at(port: u16) -> Option<OnServer> {
        let server = match test_server() {
            Ok(server) if port == PGBOUNCER_PORT && !server.has_pgbouncer => {
                eprintln!("skipped: PgBouncer is not installed: apt-get install pgbouncer");
                return None;
            }
            Ok(server) => server,
            Err(why) => {
                eprintln!("skipped: {why}");
                return None;
            }
        };
        let url = server.new_database(port).unwrap();
        let role = url["postgres://".len()..].split('@').next().unwrap().to_owned();
        Some(OnServer { server, role, port })
    }

    /// Where the server's sockets are.
    pub fn directory(&self) -> &Path {
        &self.server.directory
    }

    /// The database behind the sockets in a directory.
    pub fn url_at(&self, directory: &Path) -> String {
        let directory = directory.to_string_lossy().replace('/', "%2F");
        format!("postgres://{}@{directory}:{}/postgres", self.role, self.port)
    }

    pub fn address(&self) -> PostgresAddress {
        PostgresAddress::parse(&self.url_at(self.directory()), false).unwrap()
    }

    pub async fn started(&self, keys: Sealer, clock: LeaseClock) -> Result<Postgres, StoreError> {
        Postgres::start(&self.address(), keys, Rng::from_system(), &[], clock).await
    }

    /// A connection to the server itself.
    pub async fn client(&self, user: &str) -> Client {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.server.directory).port(POSTGRES_PORT).user(user).dbname("postgres");
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

impl AnyDatabase for OnServer {
    fn start(&self, keys: Sealer) -> StoreFuture<Store> {
        let address = self.address();
        Box::pin(async move {
            let rng = Rng::from_system();
            let started = Postgres::start(&address, keys, rng, &[], LeaseClock::Caller).await;
            started.map(Store::from)
        })
    }

    fn overwrite(&self, value: StoredValue, json: &str) -> BoxFuture<'static, ()> {
        let (sql, row) = match value {
            StoredValue::Cursor(job) => ("UPDATE jobs SET cursor = $2 WHERE id = $1", job.to_string()),
            StoredValue::Facts(job) => ("UPDATE jobs SET facts = $2 WHERE id = $1", job.to_string()),
            StoredValue::Trace(job) => ("UPDATE traces SET trace = $2 WHERE job = $1", job.to_string()),
            StoredValue::HookReport(job) => {
                ("UPDATE hook_reports SET report = $2 WHERE job = $1", job.to_string())
            }
            StoredValue::BmcMemory(server) => {
                ("UPDATE bmc_memories SET memory = $2 WHERE server = $1", server.to_string())
            }
        };
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.server.directory).port(POSTGRES_PORT).user(&self.role).dbname("postgres");
        let json = json.to_owned();
        Box::pin(async move {
            let (client, connection) = config.connect(NoTls).await.unwrap();
            tokio::spawn(connection);
            assert_eq!(client.execute(sql, &[&row, &json]).await.unwrap(), 1);
        })
    }
}
