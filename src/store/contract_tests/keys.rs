//! Promises about master keys and the controller's own secrets.

use super::{Bench, KICKSTART, at, id, sealer, serial};
use crate::seal::{MasterKey, Sealer};
use crate::store::{OwnSecret, Resealed, StoreError};

promises! {
    own_secrets_differ_and_outlive_a_restart,
    another_key_is_refused,
    a_key_is_needed_until_no_value_is_sealed_with_it,
    a_rotation_replaces_the_secrets_of_jobs_when_no_job_is_active,
}

fn new_key() -> MasterKey {
    MasterKey::new([8; 32])
}

/// The new key, beside the one of these tests.
fn rotating() -> Sealer {
    Sealer::with_old(new_key(), sealer().keys(), "MASTER_KEY_FILE")
}

fn rotated() -> Sealer {
    Sealer::new([8; 32])
}

async fn own_secrets_differ_and_outlive_a_restart(bench: Bench) {
    let all = async |bench: &Bench| {
        let mut found = Vec::new();
        for secret in [OwnSecret::Media, OwnSecret::Hook, OwnSecret::Tokens, OwnSecret::Audit] {
            found.push(*bench.store.own_secret(secret).await.unwrap());
        }
        found
    };
    let before = all(&bench).await;
    for (number, secret) in before.iter().enumerate() {
        assert!(!before[..number].contains(secret));
    }
    assert_eq!(all(&bench.restarted().await).await, before);
}

async fn another_key_is_refused(bench: Bench) {
    let (bench, ..) = bench.with_claimed_job().await;
    let database = bench.stopped();
    let error = database.start(Sealer::new([1; 32])).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Key { .. }), "{error}");
    let store = database.start(sealer()).await.unwrap();
    assert_eq!(store.server(&serial("A")).await.unwrap().unwrap().bmc_password.expose(), "calvin-A");
}

async fn a_key_is_needed_until_no_value_is_sealed_with_it(bench: Bench) {
    let (bench, ..) = bench.with_claimed_job().await;
    let bench = bench.with(&["B"]).await;
    let media = *bench.store.own_secret(OwnSecret::Media).await.unwrap();
    let database = bench.stopped();
    let store = database.start(rotating()).await.unwrap();
    let error = store.retire_old_keys(at(9)).await.unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "values still need the old key: {error}");
    drop(store);
    // Interrupted after each batch: it continues where it was, and needs both keys.
    loop {
        let error = database.start(rotated()).await.map(drop).unwrap_err();
        assert!(matches!(error, StoreError::Key { .. }), "{error}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(&sealer().id().to_string()), "it names the missing key: {cause}");
        let store = database.start(rotating()).await.unwrap();
        if store.reseal(1).await.unwrap() == Resealed::All {
            store.retire_old_keys(at(9)).await.unwrap();
            break;
        }
    }
    let error = database.start(sealer()).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Key { .. }), "the old key opens nothing any more: {error}");
    let store = database.start(rotated()).await.unwrap();
    for name in ["A", "B"] {
        let server = store.server(&serial(name)).await.unwrap().unwrap();
        assert_eq!(server.bmc_password.expose(), format!("calvin-{name}"));
    }
    let job = store.job(id(1)).await.unwrap().unwrap();
    assert_eq!(job.spec.unwrap().esxi().unwrap().kickstart.expose(), KICKSTART);
    assert_eq!(store.job_recipe(id(1)).await.unwrap(), Some(super::recipe("A")));
    assert_eq!(*store.own_secret(OwnSecret::Media).await.unwrap(), media, "an active job's URLs stay valid");
    let known = store.known_keys().await.unwrap();
    let retired: Vec<_> = known.iter().map(|key| (key.retired_at, key.values > 0)).collect();
    assert_eq!(retired, [(Some(at(9)), false), (None, true)]);
}

async fn a_rotation_replaces_the_secrets_of_jobs_when_no_job_is_active(bench: Bench) {
    let (bench, lease, _) = bench.with_claimed_job().await;
    bench.finish(&lease).await;
    let of = async |store: &crate::store::Store, secret| *store.own_secret(secret).await.unwrap();
    let media = of(&bench.store, OwnSecret::Media).await;
    let tokens = of(&bench.store, OwnSecret::Tokens).await;
    let database = bench.stopped();
    let store = database.start(rotating()).await.unwrap();
    while store.reseal(9).await.unwrap() != Resealed::All {}
    store.retire_old_keys(at(9)).await.unwrap();
    assert_ne!(of(&store, OwnSecret::Media).await, media);
    assert_eq!(of(&store, OwnSecret::Tokens).await, tokens, "bearer tokens stay valid");
}
