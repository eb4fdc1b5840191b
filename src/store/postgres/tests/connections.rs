//! Connections that are lost at the worst moment, by a proxy between the controller and the server.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::store::{AuditStore as _, EventFilter, EventStore as _, LeaseStore as _, StoreErrorKind};

/// Where a connection is cut that carries a `COMMIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The server never sees it.
    BeforeCommit,
    /// The server carries it out, and its answer is lost.
    AfterCommit,
    /// Whatever the connection carries.
    Anything,
}

/// Passes bytes on to the server, and cuts the next connections that commit.
struct Proxy {
    directory: tempfile::TempDir,
    cuts_left: Arc<AtomicU32>,
}

impl Proxy {
    fn before(server: &Path, cut: Cut) -> Proxy {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
        let cuts_left = Arc::new(AtomicU32::new(0));
        let (server, cuts) = (server.join(".s.PGSQL.5432"), cuts_left.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server.clone(), cut, cuts.clone()));
            }
        });
        Proxy { directory, cuts_left }
    }

    fn cut(&self, times: u32) {
        self.cuts_left.store(times, Ordering::SeqCst);
    }

    fn is_done(&self) -> bool {
        self.cuts_left.load(Ordering::SeqCst) == 0
    }

    fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }
}

async fn pass(mut client: UnixStream, server: PathBuf, cut: Cut, cuts: Arc<AtomicU32>) {
    let mut server = UnixStream::connect(server).await.unwrap();
    let (mut from_client, mut from_server) = ([0; 65_536], [0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(bytes @ 1..) = read else { return };
                let text = &from_client[..bytes];
                let commits = cut == Cut::Anything || text.windows(7).any(|word| word == b"COMMIT\0");
                let due = |left: u32| left.checked_sub(1);
                if commits && cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, due).is_ok() {
                    drop(client);
                    if cut == Cut::AfterCommit {
                        server.write_all(text).await.unwrap();
                        // Until the server has answered.
                        let _answer = server.read(&mut from_server).await;
                    }
                    return;
                }
                server.write_all(text).await.unwrap();
            }
            read = server.read(&mut from_server) => {
                let Ok(bytes @ 1..) = read else { return };
                if client.write_all(&from_server[..bytes]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn behind_proxy(cut: Cut) -> Option<(OnServer, Proxy, Postgres)> {
    let on_server = OnServer::new().await?;
    let proxy = Proxy::before(on_server.directory(), cut);
    let url = on_server.url_at(&proxy.path());
    let address = PostgresAddress::parse(&url, false).unwrap();
    let store = Postgres::start(&address, sealer(), Rng::from_system(), &[], LeaseClock::Database).await;
    Some((on_server, proxy, store.unwrap()))
}

fn act(action: &str) -> Act {
    Act {
        at: now(),
        actor: crate::access::Actor::controller(),
        source: None,
        action: action.to_owned(),
        server: None,
        job: None,
        detail: serde_json::Value::Null,
    }
}

/// Every kind of write is carried out once, and its caller sees success, wherever the connection is lost.
async fn each_write_is_carried_out_once(cut: Cut) {
    let Some((_server, proxy, store)) = behind_proxy(cut).await else { return };
    proxy.cut(1);
    let audited = Postgres { act: Some(act("server.add")), ..store.clone() };
    audited.insert_server(&server("A")).await.unwrap();
    proxy.cut(2);
    let key = crate::store::IdempotencyKey { key: "k".into(), body_sha256: [1; 32] };
    let inserted = store.insert_job(new_job("A", 1, now()), Some(key)).await.unwrap();
    assert!(matches!(inserted, crate::store::Inserted::New(_)), "{inserted:?}");
    proxy.cut(1);
    let (lease, job) = store.claim("me", now(), Duration::from_secs(60), 9).await.unwrap().remove(0);
    assert_eq!(lease.generation, 1, "claimed once");
    proxy.cut(1);
    let update = Job { status: Status::Provisioning, last_update: now(), ..job.clone() };
    store.save(&lease, &update, vec![event("one"), event("two")]).await.unwrap();
    proxy.cut(1);
    store.request_cancel(job.id, Default::default()).await.unwrap();
    proxy.cut(1);
    store.save(&lease, &ended(&job), vec![event("three")]).await.unwrap();
    assert!(proxy.is_done(), "each cut met a commit");
    let filter = EventFilter { limit: 99, ..EventFilter::default() };
    let messages: Vec<String> =
        store.events(&filter).await.unwrap().into_iter().map(|event| event.event.message).collect();
    assert_eq!(messages, ["one", "two", "three"]);
    let report = store.verify_audit().await.unwrap();
    assert_eq!((report.good, report.fault), (1, None), "one entry");
    assert_eq!(store.job(job.id).await.unwrap().unwrap().status, Status::Cancelled);
}

#[tokio::test]
async fn a_write_whose_commit_was_not_answered_is_carried_out_once() {
    each_write_is_carried_out_once(Cut::AfterCommit).await;
}

#[tokio::test]
async fn a_write_whose_commit_never_arrived_is_carried_out_once() {
    each_write_is_carried_out_once(Cut::BeforeCommit).await;
}

#[tokio::test]
async fn connections_that_the_server_has_ended_heal() {
    let Some(on_server) = OnServer::new().await else { return };
    let store = on_server.started(sealer(), LeaseClock::Database).await.unwrap();
    let (lease, job) = with_claimed_job(&store).await;
    let client = on_server.client("shoal").await;
    for _ in 0..3 {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1";
        client.query(sql, &[&on_server.role]).await.unwrap();
        store.save(&lease, &Job { last_update: now(), ..job.clone() }, vec![event("on")]).await.unwrap();
        assert!(store.job(job.id).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_a_transient_error_and_heals() {
    let Some((_server, proxy, store)) = behind_proxy(Cut::Anything).await else { return };
    let socket = proxy.path().join(".s.PGSQL.5432");
    let aside = proxy.path().join("aside");
    std::fs::rename(&socket, &aside).unwrap();
    proxy.cut(u32::MAX);
    let error = store.insert_server(&server("A")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    assert!(store.check().await.is_err());
    std::fs::rename(&aside, &socket).unwrap();
    proxy.cut(0);
    store.insert_server(&server("A")).await.unwrap();
    store.check().await.unwrap();
}

/// Of several servers the first one that can be reached and takes writes is used.
#[tokio::test]
async fn another_server_is_used_where_the_first_one_is_away() {
    let Some(on_server) = OnServer::new().await else { return };
    let url = on_server.url_at(on_server.directory());
    let (before, after) = url.split_once('@').unwrap();
    let address = PostgresAddress::parse(&format!("{before}@%2Fnowhere:5432,{after}"), false).unwrap();
    let store = Postgres::start(&address, sealer(), Rng::from_system(), &[], LeaseClock::Database).await;
    store.unwrap().insert_server(&server("A")).await.unwrap();
}

/// What an operator sees of a database that does not open.
#[tokio::test]
async fn an_error_names_what_is_wrong_and_the_remedy() {
    let Some(on_server) = OnServer::new().await else { return };
    let opened = async |url: String| {
        let address = PostgresAddress::parse(&url, false).unwrap();
        let opened = Postgres::start(&address, sealer(), Rng::from_system(), &[], LeaseClock::Database).await;
        let error = opened.map(drop).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        format!("{error}: {cause}")
    };
    let url = on_server.url_at(on_server.directory());
    let missing = opened(url.replace("/postgres", "/nowhere")).await;
    assert!(missing.contains("does not exist") && missing.contains("CREATE DATABASE"), "{missing}");
    let unknown = opened(url.replace(&on_server.role, "outsider:planted")).await;
    assert!(unknown.contains("outsider") && !unknown.contains("planted"), "{unknown}");
    let latin = format!("latin_{}", on_server.role);
    let sql = format!("CREATE DATABASE {latin} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    on_server.client("shoal").await.batch_execute(&sql).await.unwrap();
    let encoding = opened(url.replace("/postgres", &format!("/{latin}"))).await;
    assert!(encoding.contains("LATIN1") && encoding.contains("ENCODING 'UTF8'"), "{encoding}");
    on_server
        .client("shoal")
        .await
        .batch_execute(&format!("DROP DATABASE {latin} WITH (FORCE)"))
        .await
        .unwrap();
    let away = opened("postgres://me:planted@127.0.0.1:9/site?connect_timeout=1".to_owned()).await;
    assert!(away.contains("site at 127.0.0.1:9") && !away.contains("planted"), "{away}");
    let client = on_server.client("shoal").await;
    let sql = format!("ALTER ROLE {} SET default_transaction_read_only = on", on_server.role);
    client.batch_execute(&sql).await.unwrap();
    let standby = opened(url.clone()).await;
    assert!(standby.contains("read-only standby") && standby.contains("DB_URL"), "{standby}");
    let sql = format!(
        "ALTER ROLE {0} SET default_transaction_read_only = off; ALTER ROLE {0} SET synchronous_commit = off",
        on_server.role
    );
    client.batch_execute(&sql).await.unwrap();
    let loses = opened(url).await;
    assert!(loses.contains("synchronous_commit is off"), "{loses}");
}
