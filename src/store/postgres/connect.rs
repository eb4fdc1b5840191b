//! The pool of connections, and what must be so of the server.

use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio_postgres::NoTls;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::PostgresAddress;
use super::fault::PgFault;
use super::row::values;
use super::writer::{PgReader, PgWriter};
use crate::store::StoreError;
use shoal_base::world::root_store;

/// Connections of one controller.
const CONNECTIONS_MAX: usize = 16;
/// How long a call waits for one of them.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How long it takes to make one, all servers of `DB_URL` tried.
const CREATE_MAX: Duration = Duration::from_secs(20);
/// The oldest server that this engine is tested with.
const VERSION_MIN: i64 = 130_000;

pub(super) fn pool(address: &PostgresAddress, roots: &[CertificateDer<'static>]) -> Pool {
    let settings = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = match address.uses_tls() {
        true => {
            let tls = ClientConfig::builder().with_root_certificates(root_store(roots)).with_no_client_auth();
            Manager::from_config(address.config().clone(), MakeRustlsConnect::new(tls), settings)
        }
        false => Manager::from_config(address.config().clone(), NoTls, settings),
    };
    let pool = Pool::builder(manager)
        .max_size(CONNECTIONS_MAX)
        .wait_timeout(Some(WAIT_MAX))
        .create_timeout(Some(CREATE_MAX))
        .runtime(Runtime::Tokio1)
        .build();
    pool.expect("it has a runtime for its timeouts")
}

/// A connection of the pool.
pub(super) async fn lent(pool: &Pool) -> Result<Object, PgFault> {
    pool.get().await.map_err(|error| match error {
        PoolError::Backend(error) => error.into(),
        PoolError::Timeout(TimeoutType::Wait) => PgFault::Connection {
            message: format!("all {CONNECTIONS_MAX} connections to the database are in use"),
        },
        PoolError::Timeout(_) => PgFault::Connection {
            message: format!("no connection could be made within {} s", CREATE_MAX.as_secs()),
        },
        error => PgFault::Connection { message: error.to_string() },
    })
}

/// In `meta`: the identifier of the server's data, which its physical copies share and a dump that is loaded elsewhere
/// does not have.
pub(super) const SERVER: &str = "server";

/// Refuses a database that has come to another server, or notes the one that it is on.
pub(super) async fn check_same_server(tx: &PgWriter, database: &str) -> Result<(), PgFault> {
    let sql = "SELECT has_function_privilege('pg_control_system()', 'execute')";
    if !tx.one(sql, &[]).await?.try_get::<_, bool>(0)? {
        tracing::info!(
            "the server does not show its identifier: a dump that was loaded elsewhere is not recognised"
        );
        return Ok(());
    }
    let row = tx.one("SELECT system_identifier::text FROM pg_control_system()", &[]).await?;
    let here: String = row.try_get(0)?;
    let known = tx.optional("SELECT value FROM meta WHERE name = $1", values![SERVER]).await?;
    match known.map(|row| row.try_get::<_, Vec<u8>>(0)).transpose()? {
        Some(known) if known != here.as_bytes() => {
            Err(StoreError::OtherServer { database: database.to_owned() }.into())
        }
        Some(_) => Ok(()),
        None => tx.put_meta(SERVER, here.as_bytes()).await,
    }
}

/// Refuses a server whose answers would not be what the store promises.
pub(super) async fn check_server(reader: &PgReader) -> Result<(), PgFault> {
    let sql = "SELECT current_setting('server_version_num')::bigint, current_setting('server_version'),
        current_setting('server_encoding'), current_setting('synchronous_commit'), current_setting('fsync'),
        pg_is_in_recovery()";
    let row = reader.one(sql, &[]).await?;
    let text = |index: usize| row.try_get::<_, String>(index);
    if row.try_get::<_, i64>(0)? < VERSION_MIN {
        let remedy = "use version 13 or a later one";
        return Err(PgFault::row("the server", format!("it is PostgreSQL {}: {remedy}", text(1)?)));
    }
    if text(2)? != "UTF8" {
        let remedy = "create one with ENCODING 'UTF8' TEMPLATE template0";
        return Err(PgFault::row("the database", format!("its encoding is {}: {remedy}", text(2)?)));
    }
    if row.try_get::<_, bool>(5)? {
        let remedy = "name the primary in DB_URL, or all servers of the cluster";
        return Err(PgFault::row("the server", format!("it is a read-only standby: {remedy}")));
    }
    if text(3)? == "off" {
        let remedy =
            "what is stored must survive a crash of the server: set it to on, for this database at least";
        return Err(PgFault::row("the server", format!("its synchronous_commit is off: {remedy}")));
    }
    if text(4)? == "off" {
        tracing::warn!("the database's server runs with fsync=off: a power failure can destroy the database");
    }
    Ok(())
}
