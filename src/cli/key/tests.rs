//! A rotation that is struck at each of its writes, and what can be read before it is run again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use jiff::Timestamp;

use super::*;
use crate::access::{Act, Actor, NewToken, Role, TokenId, TokenOrigin};
use crate::domain::{JobId, Serial, Server, parse_recipe};
use crate::store::{NewJob, OwnSecret, Side, Tap};
use shoal_base::Password;
use shoal_base::world::{Clock, Rng, TlsPolicy, real_transport};

const SERVERS: u8 = 7;
const OWN_SECRETS: u64 = 4;
const TOKEN: &str = "a-bearer-token";
const KICKSTART: &str = "vmaccepteula\nrootpw a-password\ninstall --firstdisk\n";

fn world() -> World {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    World { clock: Clock::system(), rng: Rng::from_seed(5), transport: real_transport(&[]) }
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn server(number: u8) -> Server {
    Server {
        serial: format!("S{number}").parse().unwrap(),
        bmc_address: "https://10.0.0.5".parse().unwrap(),
        bmc_username: "root".into(),
        bmc_password: Password::new(format!("password {number}")),
        tls: TlsPolicy::Verify,
        system_id: None,
        system_uuid: None,
        management_address: None,
        protected: false,
        labels: Default::default(),
        variables: Default::default(),
    }
}

fn job(number: u8) -> NewJob {
    let serial: Serial = format!("S{number}").parse().unwrap();
    let recipe = json!({ "task_target": "install-esxi.target", "ks_cfg": KICKSTART });
    NewJob {
        id: JobId::new(1_767_225_600_000, [number; 10]),
        task_target: "install-esxi.target".into(),
        spec: parse_recipe(recipe.as_object().unwrap(), &serial).unwrap(),
        server: serial,
        recipe,
        retry_of: None,
        created_at: now(),
        events: Vec::new(),
    }
}

fn token() -> NewToken {
    NewToken {
        id: TokenId::new([1; 8]),
        name: "ci".to_owned(),
        role: Role::Admin,
        origin: TokenOrigin::Created,
        expires_at: None,
        created_at: now(),
        created_by: Actor::anybody().id,
    }
}

fn act() -> Act {
    Act {
        at: now(),
        actor: Actor::anybody(),
        source: None,
        action: "token.create".to_owned(),
        server: None,
        job: None,
        detail: json!({}),
    }
}

/// A directory with a key, and a database with servers and jobs.
struct KeyFiles {
    _directory: tempfile::TempDir,
    database: PathBuf,
    key: PathBuf,
}

impl KeyFiles {
    async fn new(with_jobs: bool) -> KeyFiles {
        let directory = tempfile::tempdir().unwrap();
        let (database, key) = (directory.path().join("shoal.db"), directory.path().join("master.key"));
        let files = KeyFiles { _directory: directory, database, key };
        let sealer = seal::load_or_create(&files.source(), &files.database, true, &world().rng).unwrap();
        let store = Store::open(&files.database, sealer).unwrap();
        store.with_audit(act()).insert_token(token(), TOKEN).await.unwrap();
        for number in 0..SERVERS {
            store.insert_server(&server(number)).await.unwrap();
            if with_jobs {
                store.insert_job(job(number), None).await.unwrap();
            }
        }
        files
    }

    fn source(&self) -> KeySource {
        KeySource::File(self.key.clone())
    }

    async fn rotate(&self, handle: impl Fn(Store) -> Store) -> Result<Rotated, RotateError> {
        rotate(LockedDatabase::lock(&self.database)?, &self.source(), &world(), 3, handle).await
    }

    /// As the next start of a controller would: with the keys of the file as it is.
    fn open(&self) -> Store {
        Store::open(&self.database, self.source().load().unwrap().unwrap()).unwrap()
    }

    async fn check_all_is_readable(&self, context: &str) {
        let store = self.open();
        let servers = store.servers().await.unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_eq!(servers.len(), usize::from(SERVERS), "{context}");
        for (number, server) in (0..SERVERS).zip(servers) {
            assert_eq!(server.bmc_password.expose(), format!("password {number}"), "{context}");
        }
        for secret in [OwnSecret::Media, OwnSecret::Hook] {
            store.own_secret(secret).await.unwrap();
        }
        assert!(store.token_shown(TOKEN).await.unwrap().is_some(), "{context}: a token stays good");
        let audit = store.verify_audit().await.unwrap();
        assert_eq!((audit.good, audit.fault), (1, None), "{context}");
        for number in 0..SERVERS {
            let Some(job) = store.job(job(number).id).await.unwrap() else { continue };
            assert_eq!(job.spec.unwrap().esxi().unwrap().kickstart.expose(), KICKSTART, "{context}");
            assert_eq!(store.job_recipe(job.id).await.unwrap().unwrap()["ks_cfg"], KICKSTART, "{context}");
        }
    }
}

/// Refuses the write on that side of the `strike`th moment, as a crash there would.
fn striking(strike: usize) -> (Tap, Arc<AtomicUsize>) {
    let passed = Arc::new(AtomicUsize::new(0));
    let counter = passed.clone();
    let tap: Tap = Arc::new(move |_, _: Side| {
        let is_struck = counter.fetch_add(1, Ordering::SeqCst) == strike;
        async move { if is_struck { Err(StoreError::Closed) } else { Ok(()) } }.boxed()
    });
    (tap, passed)
}

#[tokio::test]
async fn a_rotation_struck_before_and_after_every_write_loses_nothing() {
    let mut strikes = 0;
    loop {
        let files = KeyFiles::new(true).await;
        let (tap, _) = striking(strikes);
        let context = format!("struck at {strikes}");
        match files.rotate(|store| store.tapped(tap.clone())).await {
            Ok(_) => break,
            Err(error) => {
                assert!(matches!(error, RotateError::Store(StoreError::Closed)), "{context}: {error}")
            }
        }
        files.check_all_is_readable(&context).await;
        let rotated = files.rotate(|store| store).await.unwrap_or_else(|error| panic!("{context}: {error}"));
        assert!(rotated.resumed, "{context}");
        files.check_all_is_readable(&context).await;
        assert_eq!(std::fs::read(&files.key).unwrap().len(), 32, "{context}: one key is left");
        strikes += 1;
    }
    // Three batches of seven values in each of four columns, two of the four secrets, a last one that
    // finds nothing, and the retiring; both sides of each.
    assert_eq!(strikes, 2 * (3 + 3 + 3 + 3 + 2 + 1 + 1));
}

#[tokio::test]
async fn the_old_key_opens_nothing_afterwards_and_is_in_no_file() {
    let files = KeyFiles::new(false).await;
    let old = files.source().load().unwrap().unwrap();
    let (old_file, secret) =
        (std::fs::read(&files.key).unwrap(), files.open().own_secret(OwnSecret::Media).await);
    let rotated = files.rotate(|store| store).await.unwrap();
    assert_eq!(rotated.retired, [old.id().to_string()]);
    let error = Store::open(&files.database, old.clone()).map(drop).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains(&rotated.key) && cause.contains("MASTER_KEY_FILE"), "{error}: {cause}");
    let id: Vec<u8> = [&[1][..], &shoal_base::unhex(&old.id().to_string()).unwrap()].concat();
    for entry in std::fs::read_dir(files.key.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(32).any(|window| window == old_file), "{}", path.display());
        let sealed = bytes.windows(id.len()).filter(|window| *window == id).count();
        // The proof of the retired key stays: it shows later which key that was.
        assert!(sealed <= 1, "{} holds {sealed} values of the old key", path.display());
    }
    let after = files.open().own_secret(OwnSecret::Media).await.unwrap();
    assert_ne!(*secret.unwrap(), *after, "no job was active: the token key is a new one");
    let known = keys_of_database(&files.database).unwrap();
    let values: Vec<u64> = known.iter().map(|key| key.values).collect();
    assert_eq!(values, [0, u64::from(SERVERS) + OWN_SECRETS]);
    assert!(known[0].retired_at.is_some() && known[1].retired_at.is_none());
}

#[tokio::test]
async fn urls_that_a_bmc_was_given_outlive_a_rotation() {
    let files = KeyFiles::new(true).await;
    let before = files.open().own_secret(OwnSecret::Media).await.unwrap();
    files.rotate(|store| store).await.unwrap();
    assert_eq!(*files.open().own_secret(OwnSecret::Media).await.unwrap(), *before);
}

#[tokio::test]
async fn a_key_that_is_given_is_rotated_by_giving_both() {
    let files = KeyFiles::new(true).await;
    let present = files.source().load().unwrap().unwrap().keys().remove(0);
    let new = MasterKey::new([9; 32]);
    let given = |current: &MasterKey, old: Option<&MasterKey>| KeySource::Given {
        current: current.clone(),
        old: old.cloned(),
    };
    let run = async |source: &KeySource| {
        rotate(LockedDatabase::lock(&files.database)?, source, &world(), 3, |store| store).await
    };
    let error = run(&given(&present, None)).await.unwrap_err().to_string();
    assert!(error.contains("MASTER_KEY_OLD"), "{error}");
    let error = run(&given(&new, None)).await.unwrap_err();
    assert!(matches!(error, RotateError::Store(StoreError::Key { .. })), "{error}");
    let both = given(&new, Some(&present));
    assert_eq!(run(&both).await.unwrap().key, new.id().to_string());
    let store = Store::open(&files.database, given(&new, None).load().unwrap().unwrap()).unwrap();
    assert_eq!(store.servers().await.unwrap().len(), usize::from(SERVERS));
}
