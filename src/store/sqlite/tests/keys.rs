//! Sealed values in their places, and the keys that a database needs.

use super::*;
use crate::seal::MasterKey;
use crate::store::sqlite::keys::SEALED_COLUMNS;

fn rotating() -> Sealer {
    Sealer::with_old(MasterKey::new([8; 32]), sealer().keys(), "MASTER_KEY_FILE")
}

/// Blobs that are no sealed value of a row, and why.
const UNSEALED: [&str; 9] = [
    // Hashes under sealed keys.
    "audit.hash",
    "audit_start.hash",
    "audit_start.seal",
    "tokens.hash",
    "tokens.hash_prefix",
    // The probe of readiness, which is noise, and the end of the audit, a hash.
    "meta.value",
    // Hashes.
    "batches.body_sha256",
    "idempotency.body_sha256",
    // Proves a key, and stays with that key.
    "keys.proof",
];

#[test]
fn every_blob_is_sealed_and_known_to_a_rotation() {
    let store = Sqlite::in_memory(sealer()).unwrap();
    let connection = store.database.lock();
    let sql = "SELECT tables.name || '.' || columns.name
        FROM sqlite_master tables JOIN pragma_table_info(tables.name) columns
        WHERE tables.type = 'table' AND columns.type = 'BLOB' ORDER BY 1";
    let mut statement = connection.prepare(sql).unwrap();
    let found: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let sealed = SEALED_COLUMNS.map(|place| format!("{}.{}", place.table, place.column));
    let mut known: Vec<String> = sealed.into_iter().chain(UNSEALED.map(str::to_owned)).collect();
    known.sort();
    assert_eq!(found, known, "a new column of secrets must be sealed anew in a rotation: see SEALED_COLUMNS");
}

#[tokio::test]
async fn a_sealed_value_opens_in_its_own_place_only() {
    let store = Sqlite::in_memory(sealer()).unwrap();
    two_claimed_jobs(&store).await;
    for (moved, broken) in [
        (
            "servers SET bmc_password = (SELECT bmc_password FROM servers WHERE serial = 'A') WHERE serial = 'B'",
            "B",
        ),
        ("servers SET bmc_password = (SELECT value FROM secrets LIMIT 1) WHERE serial = 'A'", "A"),
    ] {
        execute(&store, &format!("UPDATE {moved}")).unwrap();
        let error = store.server(&broken.parse().unwrap()).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("copied from another row"), "{moved}: {error}: {cause}");
    }
    execute(&store, "UPDATE recipes SET spec = recipe").unwrap();
    assert!(store.job(id(1)).await.is_err());
    execute(&store, "UPDATE secrets SET value = (SELECT value FROM secrets WHERE name = 'hook')").unwrap();
    store.own_secret(OwnSecret::Hook).await.unwrap();
    assert!(store.own_secret(OwnSecret::Media).await.is_err());
}

#[tokio::test]
async fn a_database_of_version_1_keeps_its_tokens_and_is_opened_in_the_middle_of_a_rotation() {
    let derived = |label| sealer().derive(sealer().id(), label).unwrap();
    for keys in [sealer(), rotating()] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shoal.db");
        Connection::open(&path).unwrap().execute_batch(include_str!("version-1.sql")).unwrap();
        let store = Sqlite::open(&path, keys.clone()).unwrap();
        assert_eq!(*store.own_secret(OwnSecret::Media).await.unwrap(), *derived("media"));
        assert_eq!(*store.own_secret(OwnSecret::Hook).await.unwrap(), *derived("hook"));
        assert_eq!(
            store.server(&"A".parse().unwrap()).await.unwrap().unwrap().bmc_password.expose(),
            PASSWORD
        );
        let known: Vec<String> = store.known_keys().await.unwrap().into_iter().map(|key| key.id).collect();
        let mut held: Vec<String> = keys.ids().map(|id| id.to_string()).collect();
        held.reverse();
        assert_eq!(known, held);
        drop(store);
        Sqlite::open(&path, keys).map(drop).unwrap();
    }
}

#[tokio::test]
async fn a_damaged_value_stops_a_rotation_and_is_named() {
    let store = Sqlite::in_memory(sealer()).unwrap();
    two_claimed_jobs(&store).await;
    let sql = "UPDATE servers SET bmc_password = (SELECT bmc_password FROM servers WHERE serial = 'A') WHERE serial = 'B'";
    execute(&store, sql).unwrap();
    let store = store.with_keys(rotating()).unwrap();
    let error = store.reseal(99).await.unwrap_err();
    assert!(error.to_string().contains("servers.bmc_password/B"), "{error}");
    assert_eq!(store.server(&"A".parse().unwrap()).await.unwrap().unwrap().bmc_password.expose(), PASSWORD);
}
