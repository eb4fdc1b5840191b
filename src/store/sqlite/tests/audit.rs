//! The audit log against programs that write the database behind the controller's back.

use super::*;
use crate::access::{Act, Actor, ChainFault};

fn act(number: u64) -> Act {
    Act {
        at: at(number),
        actor: Actor::anybody(),
        source: Some("10.0.0.1".to_owned()),
        action: "server.add".to_owned(),
        server: Some(format!("S{number}")),
        job: None,
        detail: json!({ "number": number }),
    }
}

async fn recorded(store: &Sqlite, entries: u64) {
    for number in 0..entries {
        store.record(act(number)).await.unwrap();
    }
}

const TRIGGERS: &str =
    "DROP TRIGGER the_audit_is_not_changed; DROP TRIGGER the_audit_is_shortened_from_its_start;
    DROP TRIGGER the_audit_has_no_gap;";

#[tokio::test]
async fn the_database_itself_refuses_to_change_the_audit() {
    let store = Sqlite::in_memory(sealer()).unwrap();
    recorded(&store, 3).await;
    for sql in [
        "UPDATE audit SET action = 'x' WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 3",
        "DELETE FROM audit",
        "INSERT INTO audit SELECT 9, at, actor, actor_name, role, source, action, server, job, detail, hash FROM audit LIMIT 1",
        "INSERT OR REPLACE INTO audit SELECT 2, at, 'x', actor_name, role, source, action, server, job, detail, hash FROM audit WHERE seq = 2",
    ] {
        assert!(execute(&store, sql).is_err(), "{sql}");
    }
    let report = store.verify_audit().await.unwrap();
    assert_eq!((report.good, report.fault), (3, None));
}

#[tokio::test]
async fn what_gets_around_the_triggers_is_found() {
    let missing = |expected, found| ChainFault::Missing { expected, found };
    for (sql, good, fault) in [
        ("UPDATE audit SET action = 'x' WHERE seq = 2", 1, ChainFault::Changed { seq: 2 }),
        ("UPDATE audit SET source = NULL WHERE seq = 3", 2, ChainFault::Changed { seq: 3 }),
        ("UPDATE audit SET at = at + 1 WHERE seq = 1", 0, ChainFault::Changed { seq: 1 }),
        ("DELETE FROM audit WHERE seq = 2", 1, missing(2, 3)),
        (
            "DELETE FROM audit WHERE seq = 2; UPDATE audit SET seq = seq - 1 WHERE seq > 2",
            1,
            ChainFault::Changed { seq: 2 },
        ),
        ("DELETE FROM audit WHERE seq = 5", 4, ChainFault::End { last: 4 }),
        ("DELETE FROM audit", 0, ChainFault::End { last: 0 }),
        (
            "UPDATE audit SET seq = 99 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 99",
            1,
            ChainFault::Changed { seq: 2 },
        ),
        (
            "INSERT INTO audit_start SELECT 1, seq, hash, hash FROM audit WHERE seq = 2; DELETE FROM audit WHERE seq < 3",
            0,
            ChainFault::Start,
        ),
        ("DELETE FROM meta WHERE name = 'audit_end'", 5, ChainFault::End { last: 5 }),
        (
            "INSERT INTO audit SELECT 6, at, actor, actor_name, role, source, action, server, job, detail, hash FROM audit WHERE seq = 5",
            5,
            ChainFault::Changed { seq: 6 },
        ),
    ] {
        let store = Sqlite::in_memory(sealer()).unwrap();
        recorded(&store, 5).await;
        execute(&store, &format!("{TRIGGERS} {sql}")).unwrap();
        let report = store.verify_audit().await.unwrap();
        assert_eq!((report.good, report.fault), (good, Some(fault)), "{sql}");
    }
}

#[tokio::test]
async fn an_action_whose_entry_cannot_be_written_is_undone() {
    let store = Sqlite::in_memory(sealer()).unwrap();
    store.insert_server(&server("A")).await.unwrap();
    execute(&store, "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END")
        .unwrap();
    store.with_audit(act(4)).delete_server(&"A".parse().unwrap(), None).await.unwrap_err();
    assert!(store.server(&"A".parse().unwrap()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_long_chain_is_checked_page_by_page_on_the_file_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shoal.db");
    let store = Sqlite::open(&path, sealer()).unwrap();
    let chain = |store: &Sqlite| -> Result<(), Fault> {
        let mut connection = store.database.lock();
        let transaction = connection.transaction()?;
        let (last_event, jobs_changed) = (Cell::new(None), Cell::new(false));
        let chain_key = &store.chain_key;
        let connection = &transaction;
        let writer = Writer { connection, sealer: &store.sealer, chain_key, last_event, jobs_changed };
        (0..2 * PAGE_MAX as u64).try_for_each(|number| super::super::audit::append(&writer, act(number)))?;
        Ok(transaction.commit()?)
    };
    chain(&store).unwrap();
    let report = store.verify_audit().await.unwrap();
    assert_eq!((report.good, &report.fault), (2 * PAGE_MAX as u64, &None));
    assert_eq!(verify_audit_file(&path, &sealer()).unwrap(), report, "beside the controller");
    drop(store);
    assert_eq!(verify_audit_file(&path, &sealer()).unwrap(), report);
    let error = verify_audit_file(&path, &Sealer::new([8; 32])).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("MASTER_KEY_FILE"), "{error}: {cause}");
}
