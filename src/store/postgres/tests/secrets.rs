//! What a stolen copy of the database must not give away.

use super::*;
use crate::store::keys::SEALED_COLUMNS;

/// Hashes, marks, and proofs of keys, which a rotation replaces; tokens of transactions are random.
const UNSEALED: [&str; 10] = [
    "audit.hash",
    "audit_start.hash",
    "audit_start.seal",
    "batches.body_sha256",
    "idempotency.body_sha256",
    "keys.proof",
    "meta.value",
    "tokens.hash",
    "tokens.hash_prefix",
    "writes.token",
];

#[tokio::test]
async fn every_binary_column_is_sealed_and_known_to_a_rotation() {
    let Some(on_server) = OnServer::new().await else { return };
    on_server.started(sealer(), LeaseClock::Database).await.unwrap();
    let sql = "SELECT table_name || '.' || column_name FROM information_schema.columns
        WHERE table_schema = current_schema() AND data_type = 'bytea' ORDER BY 1";
    let rows = on_server.client(&on_server.role).await.query(sql, &[]).await.unwrap();
    let mut found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    found.sort();
    let sealed = SEALED_COLUMNS.map(|place| format!("{}.{}", place.table, place.column));
    let mut known: Vec<String> = sealed.into_iter().chain(UNSEALED.map(str::to_owned)).collect();
    known.sort();
    assert_eq!(found, known, "a new column of secrets must be sealed anew in a rotation: see SEALED_COLUMNS");
}

/// The whole schema as a dump shows it, after a job with secrets.
#[tokio::test]
async fn no_secret_is_stored_in_the_open() {
    let Some(on_server) = OnServer::new().await else { return };
    let store = on_server.started(sealer(), LeaseClock::Database).await.unwrap();
    let (lease, job) = with_claimed_job(&store).await;
    crate::store::LeaseStore::save(&store, &lease, &job, vec![event("one")]).await.unwrap();
    let client = on_server.client(&on_server.role).await;
    let mut shown = String::new();
    for table in schema::TABLES {
        let sql = format!("SELECT coalesce(string_agg(one::text, ' '), '') FROM {table} AS one");
        shown += client.query_one(&sql, &[]).await.unwrap().get::<_, &str>(0);
    }
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(shown.contains("10.0.0.5"), "the record is shown");
    for secret in ["calvin", "rootpw x", "install --firstdisk"] {
        assert!(!shown.contains(secret) && !shown.contains(&hex(secret)), "{secret}");
    }
}
