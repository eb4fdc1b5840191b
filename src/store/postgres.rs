//! The PostgreSQL engine: several controllers on one database.
//!
//! Each call is one transaction, or one consistent read, on a connection of a pool. Transactions of all controllers run
//! side by side at READ COMMITTED; what they must not do at the same time is kept apart by locks on rows (always
//! batch, server, lease, job, in this order) and by transaction-level advisory locks ([`DatabaseLock`]). Nothing
//! is kept in a session, so PgBouncer may be in between (`writer`).
//!
//! What is different from an engine of one controller:
//!
//! - Leases are measured by the database's clock, and so is what is due: a time to wake is stored as the database's time
//!   plus the wait that the caller asked for. No lease of an earlier run is void at the start; it is released or expires.
//! - Ids of events and numbers of audit entries are drawn last, under a lock that is held until the commit.
//! - A transaction whose commit was not answered is looked for by its token, and begun anew only if it was not
//!   committed. Conflicts between transactions are tried again here, and no caller sees them.
//! - What other controllers wrote is noticed by polling every second. There is no LISTEN: it needs a session of its own,
//!   which poolers do not give, and NOTIFY takes a lock of the whole server at each commit, to save half a second.
//! - Master keys are never made here: the first controller that starts leaves a check value, and the others must match.

mod address;
mod audit;
mod batches;
mod beside;
mod calls;
mod connect;
mod events;
mod fault;
mod idempotency;
mod job_rows;
mod jobs;
mod keys;
mod leases;
mod notifications;
mod poll;
mod probes;
mod reports;
mod retention;
mod row;
mod schema;
mod servers;
mod simulated;
mod tokens;
mod transfer;
mod unreadable;
mod writer;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::access::{Act, ChainKey, TokenKey};
use crate::seal::Sealer;
use crate::store::tap::Tap;
use crate::store::{OwnSecret, Store, StoreEngine, StoreError, StoreFuture};
use fault::PgFault;
use row::{Millis, PgValue};
use shoal_base::world::{Clock, Rng, after};
use simulated::SimulatedTime;
use writer::{DatabaseLock, PgReader, PgWriter};

pub use address::{AddressError, PostgresAddress};
pub use keys::keys_of_postgres;
pub use schema::POSTGRES_SCHEMA_VERSION;

/// The database's clock, in milliseconds since 1970.
const DATABASE_NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

const PROBE_BYTES: usize = 32 * 1024;

/// One handle on a database. Clones share it and notify each other.
#[derive(Clone)]
pub struct Postgres {
    database: Arc<PgDatabase>,
    sealer: Sealer,
    token_key: TokenKey,
    chain_key: ChainKey,
    latest_event: Arc<watch::Sender<u64>>,
    jobs_changed: Arc<Notify>,
    tap: Option<Tap>,
    /// What the next write is recorded as in the audit log.
    act: Option<Act>,
}

struct PgDatabase {
    pool: Pool,
    /// For error messages: without the password.
    name: String,
    rng: Rng,
    lease_clock: LeaseClock,
    /// Jobs that this process could not read: no claim of it meets them.
    unreadable: Mutex<BTreeSet<String>>,
    /// Names this process among the controllers.
    controller: String,
}

/// What leases and due times are measured by.
#[derive(Clone, Debug)]
pub(super) enum LeaseClock {
    Database,
    /// Of a simulation, whose time the server does not have.
    Simulated(Arc<SimulatedTime>),
    /// Tests of the store give their times themselves.
    #[cfg_attr(not(test), expect(dead_code, reason = "production measures by the database's clock"))]
    Caller,
}

impl LeaseClock {
    /// The time for a statement, `NULL` where the database's is meant: `coalesce($n, …)`.
    fn given(&self, now: Timestamp) -> PgValue {
        self.given_after(now, Duration::ZERO)
    }

    /// The same of the time `at`, which is so long from now.
    fn given_after(&self, at: Timestamp, wait: Duration) -> PgValue {
        match self {
            LeaseClock::Database => PgValue::Int(None),
            LeaseClock::Simulated(time) => PgValue::Int(Some(after(time.now(), wait).as_millisecond())),
            LeaseClock::Caller => PgValue::Int(Some(at.as_millisecond())),
        }
    }
}

impl From<Postgres> for Store {
    fn from(postgres: Postgres) -> Store {
        Store::new(postgres)
    }
}

impl Postgres {
    /// Opens the database, made ready by whichever controller comes first, and polls it from then on.
    pub async fn open(
        address: &PostgresAddress,
        sealer: Sealer,
        rng: Rng,
        roots: &[CertificateDer<'static>],
    ) -> Result<Postgres, StoreError> {
        let postgres = Postgres::start(address, sealer, rng, roots, LeaseClock::Database).await?;
        postgres.check_in_use().await?;
        poll::spawn(&postgres);
        Ok(postgres)
    }

    /// Refuses a database whose jobs are elsewhere, or may be those of the past.
    async fn check_in_use(&self) -> Result<(), StoreError> {
        let name = self.database.name.clone();
        self.write("checking where the database is", name, |tx, name| {
            async move {
                transfer::check_not_moved(tx, name).await?;
                connect::check_same_server(tx, name).await
            }
            .boxed()
        })
        .await
    }

    /// The same for a command, which is not one of the controllers.
    pub async fn connect(
        address: &PostgresAddress,
        sealer: Sealer,
        rng: Rng,
        roots: &[CertificateDer<'static>],
    ) -> Result<Postgres, StoreError> {
        Postgres::start(address, sealer, rng, roots, LeaseClock::Database).await
    }

    /// The same for a simulation, whose time stands still during each call. Calls run in `runtime`, by real time;
    /// leases are measured by `clock`.
    pub async fn simulated(
        address: &PostgresAddress,
        sealer: Sealer,
        rng: Rng,
        clock: Clock,
        runtime: Handle,
    ) -> Result<Postgres, StoreError> {
        let time = Arc::new(SimulatedTime::new(clock, runtime));
        let database = PgDatabase::new(address, rng, &[], LeaseClock::Simulated(time.clone()));
        time.stopped_for(Postgres::started(database, sealer)).await
    }

    async fn start(
        address: &PostgresAddress,
        sealer: Sealer,
        rng: Rng,
        roots: &[CertificateDer<'static>],
        lease_clock: LeaseClock,
    ) -> Result<Postgres, StoreError> {
        Postgres::started(PgDatabase::new(address, rng, roots, lease_clock), sealer).await
    }

    async fn started(database: PgDatabase, sealer: Sealer) -> Result<Postgres, StoreError> {
        let database = Arc::new(database);
        let found = prepare(&database, &sealer).await;
        let found = found.map_err(|fault| fault.at("opening", &database.name))?;
        Ok(Postgres::handle(database, sealer, found))
    }

    fn handle(database: Arc<PgDatabase>, sealer: Sealer, opened: OpenedParts) -> Postgres {
        let OpenedParts { latest_event, token_key, chain_key } = opened;
        let (latest_event, _) = watch::channel(latest_event);
        let (latest_event, jobs_changed) = (Arc::new(latest_event), Arc::new(Notify::new()));
        Postgres { database, sealer, token_key, chain_key, latest_event, jobs_changed, tap: None, act: None }
    }

    fn another_handle(&self) -> Postgres {
        let found = OpenedParts {
            latest_event: *self.latest_event.borrow(),
            token_key: self.token_key.clone(),
            chain_key: self.chain_key.clone(),
        };
        Postgres::handle(self.database.clone(), self.sealer.clone(), found)
    }
}

impl PgDatabase {
    fn new(
        address: &PostgresAddress,
        rng: Rng,
        roots: &[CertificateDer<'static>],
        lease_clock: LeaseClock,
    ) -> PgDatabase {
        PgDatabase {
            pool: connect::pool(address, roots),
            name: address.to_string(),
            controller: rng.hex(16),
            rng,
            lease_clock,
            unreadable: Mutex::default(),
        }
    }

    fn token(&self) -> [u8; 16] {
        let mut token = [0; 16];
        self.rng.fill(&mut token);
        token
    }

    fn unreadable(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unreadable_ids(&self) -> Vec<String> {
        self.unreadable().iter().cloned().collect()
    }

    async fn reader(&self, sealer: &Sealer) -> Result<PgReader, PgFault> {
        Ok(PgReader::new(connect::lent(&self.pool).await?, sealer.clone()))
    }
}

impl StoreEngine for Postgres {
    fn is_shared(&self) -> bool {
        true
    }

    fn clock(&self) -> StoreFuture<Option<Timestamp>> {
        if let LeaseClock::Simulated(time) = &self.database.lease_clock {
            return Box::pin(std::future::ready(Ok(Some(time.look()))));
        }
        self.read("reading the database's clock", (), |reader, ()| {
            async move {
                let row = reader.one(&format!("SELECT {DATABASE_NOW}"), &[]).await?;
                Ok(Some(row.try_get::<_, Millis>(0)?.0))
            }
            .boxed()
        })
    }

    fn check(&self) -> StoreFuture<()> {
        let bytes = vec![self.database.token()[0]; PROBE_BYTES];
        self.write("checking the database", bytes, |tx, bytes| probe(tx, bytes).boxed())
    }

    fn integrity_check(&self) -> StoreFuture<()> {
        self.read("checking the database's integrity", (), |reader, ()| {
            async move {
                for table in schema::TABLES {
                    let sql = format!("SELECT sum(hashtext(row::text)) FROM {table} row");
                    reader.query(&sql, &[]).await?;
                }
                Ok(())
            }
            .boxed()
        })
    }

    fn leave(&self) -> StoreFuture<()> {
        self.leaving()
    }

    fn second_handle(&self) -> Store {
        self.another_handle().into()
    }

    fn tapped(&self, tap: Tap) -> Store {
        Postgres { tap: Some(tap), ..self.another_handle() }.into()
    }
}

/// Writes as much as a save does, and forgets the tokens of transactions that are over for long.
async fn probe(tx: &PgWriter, bytes: &[u8]) -> Result<(), PgFault> {
    tx.execute(&format!("DELETE FROM writes WHERE at < {DATABASE_NOW} - 3600000"), &[]).await?;
    tx.put_meta("probe", bytes).await
}

/// What every handle on a database has from its opening.
struct OpenedParts {
    latest_event: u64,
    token_key: TokenKey,
    chain_key: ChainKey,
}

/// Checks the server, migrates, and checks the key.
async fn prepare(database: &PgDatabase, sealer: &Sealer) -> Result<OpenedParts, PgFault> {
    let reader = database.reader(sealer).await?;
    connect::check_server(&reader).await?;
    let tx = PgWriter::new(reader, ChainKey::new([0; 32]));
    tx.begin_bare().await?;
    // Those that start at the same time wait here for the first one.
    tx.lock(DatabaseLock::Migration).await?;
    schema::migrate(&tx, &database.name).await?;
    keys::check(&tx, &database.name).await?;
    let opened = OpenedParts {
        latest_event: events::latest(&tx).await?,
        token_key: TokenKey::new(*keys::own(&tx, &database.name, OwnSecret::Tokens).await?),
        chain_key: ChainKey::new(*keys::own(&tx, &database.name, OwnSecret::Audit).await?),
    };
    tx.batch("COMMIT").await?;
    tx.give_back();
    Ok(opened)
}

#[cfg(test)]
pub(super) mod contract;
#[cfg(test)]
mod tests;
