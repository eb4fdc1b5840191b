//! SQLite's databases for the suite that all engines pass (`contract_tests`).

use futures_util::future::BoxFuture;

use super::*;
use crate::store::contract_tests::{Database as AnyDatabase, StoredValue};

pub struct InMemory(Sqlite);

impl InMemory {
    pub fn new() -> InMemory {
        InMemory(Sqlite::in_memory(Sealer::new([7; 32])).unwrap())
    }
}

impl AnyDatabase for InMemory {
    fn start(&self, keys: Sealer) -> StoreFuture<Store> {
        let started = self.0.with_keys(keys).map(Store::from);
        Box::pin(async move { started })
    }

    fn overwrite(&self, value: StoredValue, json: &str) -> BoxFuture<'static, ()> {
        overwrite(&self.0.database.lock(), value, json);
        Box::pin(async {})
    }
}

pub struct OnFile(tempfile::TempDir);

impl OnFile {
    pub fn new() -> OnFile {
        OnFile(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("shoal.db")
    }
}

impl AnyDatabase for OnFile {
    fn start(&self, keys: Sealer) -> StoreFuture<Store> {
        let started = Store::open(&self.path(), keys);
        Box::pin(async move { started })
    }

    fn overwrite(&self, value: StoredValue, json: &str) -> BoxFuture<'static, ()> {
        let connection = Connection::open(self.path()).unwrap();
        connection.busy_timeout(BUSY_TIMEOUT).unwrap();
        overwrite(&connection, value, json);
        Box::pin(async {})
    }
}

fn overwrite(connection: &Connection, value: StoredValue, json: &str) {
    let (sql, row) = match value {
        StoredValue::Cursor(job) => ("UPDATE jobs SET cursor = ?2 WHERE id = ?1", job.to_string()),
        StoredValue::Facts(job) => ("UPDATE jobs SET facts = ?2 WHERE id = ?1", job.to_string()),
        StoredValue::Trace(job) => ("UPDATE traces SET trace = ?2 WHERE job = ?1", job.to_string()),
        StoredValue::HookReport(job) => {
            ("UPDATE hook_reports SET report = ?2 WHERE job = ?1", job.to_string())
        }
        StoredValue::BmcMemory(server) => {
            ("UPDATE bmc_memories SET memory = ?2 WHERE server = ?1", server.to_string())
        }
    };
    assert_eq!(connection.execute(sql, [row.as_str(), json]).unwrap(), 1);
}
