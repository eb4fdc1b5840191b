//! Files that were deleted, replaced or written into while they are open: noticed, and nothing more is written.
//!
//! Issue 15, kind 26.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use super::*;

struct Opened {
    directory: tempfile::TempDir,
    store: Sqlite,
}

impl Opened {
    fn new() -> Opened {
        let directory = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&directory.path().join("shoal.db"), sealer()).unwrap();
        Opened { directory, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Every write is refused, for this reason.
    async fn assert_stopped(&self, name: &str, reason: &str) {
        let job = self.store.insert_job(new_job("A", 9), None).await.map(drop);
        let claim = self.store.claim("me", at(1), TTL, 9).await.map(drop);
        for result in [self.store.check().await, self.store.insert_server(&server("Z")).await, job, claim] {
            let error = result.unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&format!("{name} {reason}")), "{name}: {text}");
            assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{name}");
        }
        self.store.servers().await.unwrap();
    }
}

const FILES: [&str; 4] = ["shoal.db", "shoal.db-wal", "shoal.db-shm", "shoal.db.lock"];

#[tokio::test]
async fn a_file_that_is_deleted_or_replaced_stops_every_write() {
    for name in FILES {
        let opened = Opened::new();
        opened.store.insert_server(&server("A")).await.unwrap();
        let (path, aside) = (opened.path(name), opened.path("aside"));
        std::fs::rename(&path, &aside).unwrap();
        opened.assert_stopped(name, "was deleted while the controller ran").await;
        std::fs::copy(&aside, &path).unwrap();
        opened.assert_stopped(name, "was replaced while the controller ran").await;
        std::fs::rename(&aside, &path).unwrap();
        opened.store.check().await.unwrap();
        opened.store.insert_server(&server("B")).await.unwrap();
    }
}

/// What is done to the log.
type Damage = fn(&mut std::fs::File);

#[tokio::test]
async fn a_log_that_was_written_into_stops_every_write_for_good() {
    let damages: [(&str, Damage); 5] = [
        ("emptied", |log| log.set_len(0).unwrap()),
        ("cut", |log| log.set_len(32 + 24 + 4096 + 1).unwrap()),
        ("zeros at its start", |log| log.write_all(&[0; 4096]).unwrap()),
        ("one byte of its second page", |log| {
            log.seek(SeekFrom::Start(32 + 2 * 24 + 4096 + 2_000)).unwrap();
            log.write_all(b"#").unwrap();
        }),
        ("one byte of its last page", |log| {
            log.seek(SeekFrom::End(-1)).unwrap();
            log.write_all(b"#").unwrap();
        }),
    ];
    for (what, damage) in damages {
        let opened = Opened::new();
        opened.store.insert_server(&server("A")).await.unwrap();
        opened.store.check().await.unwrap();
        let before = std::fs::read(opened.path("shoal.db-wal")).unwrap();
        damage(&mut std::fs::File::options().write(true).open(opened.path("shoal.db-wal")).unwrap());
        let error = opened.store.check().await.unwrap_err().to_string();
        assert!(error.contains("shoal.db-wal was changed by another program"), "{what}: {error}");
        std::fs::write(opened.path("shoal.db-wal"), before).unwrap();
        opened.assert_stopped("shoal.db-wal", "was changed by another program").await;
    }
}

/// The log begins anew, is folded, is written by another program, and grows: none of it is a fault.
#[tokio::test]
async fn whatever_sqlite_does_itself_is_no_fault() {
    let opened = Opened::new();
    let other = Connection::open(opened.path("shoal.db")).unwrap();
    other.busy_timeout(BUSY_TIMEOUT).unwrap();
    for round in 0..150 {
        opened.store.check().await.unwrap();
        let value = vec![round; 20_000];
        other.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('other', ?1)", [value]).unwrap();
        match round % 40 {
            10 => opened.store.fold_log().await.unwrap(),
            20 => other.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap(),
            _ => {}
        }
        opened.store.check().await.unwrap();
    }
    drop(other);
    opened.store.check().await.unwrap();
}

#[tokio::test]
async fn deleting_the_lock_lets_no_second_controller_in() {
    let opened = Opened::new();
    let path = opened.path("shoal.db");
    std::fs::remove_file(opened.path("shoal.db.lock")).unwrap();
    for _ in 0..2 {
        let error = Sqlite::open(&path, sealer()).map(drop).unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    }
    let error = opened.store.check().await.unwrap_err().to_string();
    assert!(error.contains("shoal.db.lock was"), "{error}");
    drop(opened.store);
    Sqlite::open(&path, sealer()).map(drop).unwrap();
}
