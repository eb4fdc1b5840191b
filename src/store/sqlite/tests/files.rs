//! The files: locked, sealed, and whole after a crash at any moment.

use std::path::Path;

use super::*;
use crate::domain::Cursor;

fn open(directory: &tempfile::TempDir) -> Result<Sqlite, StoreError> {
    Sqlite::open(&directory.path().join("shoal.db"), sealer())
}

#[test]
fn a_second_controller_is_refused_by_any_path_until_the_first_ends() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(&directory).unwrap();
    std::fs::create_dir(directory.path().join("deep")).unwrap();
    std::os::unix::fs::symlink(directory.path().join("shoal.db"), directory.path().join("link.db")).unwrap();
    for path in ["shoal.db", "deep/../shoal.db", "link.db"] {
        let error = Sqlite::open(&directory.path().join(path), sealer()).map(drop).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("shoal.db.lock") && text.contains("DB_URL"), "{text}");
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    }
    let clone = first.clone();
    drop(first);
    assert!(open(&directory).is_err(), "a clone is the first controller too");
    drop(clone);
    open(&directory).map(drop).unwrap();
}

#[test]
fn the_directory_is_made_and_the_files_are_the_owners_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("var/shoal/shoal.db");
    let store = Sqlite::open(&path, sealer()).unwrap();
    for name in ["shoal.db", "shoal.db-wal", "shoal.db-shm", "shoal.db.lock"] {
        let mode = std::fs::metadata(path.with_file_name(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    drop(store);
}

#[test]
fn what_is_no_database_is_refused_naming_the_setting() {
    let directory = tempfile::tempdir().unwrap();
    let error = Sqlite::open(directory.path(), sealer()).map(drop).unwrap_err();
    assert!(error.to_string().contains("DB_URL"), "{error}");
    std::fs::write(directory.path().join("shoal.db"), "not a database ".repeat(500)).unwrap();
    let error = open(&directory).map(drop).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("shoal.db is damaged"), "{error}");
}

#[test]
fn another_master_key_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    open(&directory).map(drop).unwrap();
    let path = directory.path().join("shoal.db");
    let error = Sqlite::open(&path, Sealer::new([8; 32])).map(drop).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        error.to_string().contains("DB_URL") && cause.contains("MASTER_KEY_FILE holds"),
        "{error}: {cause}"
    );
    open(&directory).map(drop).unwrap();
}

#[test]
fn a_newer_database_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).unwrap();
    execute(&store, "PRAGMA user_version = 4711").unwrap();
    drop(store);
    let error = open(&directory).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 4711, .. }), "{error}");
    assert!(error.to_string().contains("DB_URL"), "{error}");
    let connection = Connection::open(directory.path().join("shoal.db")).unwrap();
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 4711);
}

#[tokio::test]
async fn no_secret_is_readable_in_any_file() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).unwrap();
    let (lease, job) = two_claimed_jobs(&store).await.remove(0);
    store.save(&lease, &Job { last_update: at(2), ..job.clone() }, vec![event("reported")]).await.unwrap();
    // Once in the write-ahead log, and once in the database itself.
    assert!(found_in_files(directory.path(), "https://10.0.0.5"), "the search does find what is there");
    for _ in 0..2 {
        for secret in [PASSWORD, "planted", "vmaccepteula", "firstdisk"] {
            assert!(!found_in_files(directory.path(), secret), "{secret}");
        }
        execute(&store, "PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    }
    assert_eq!(store.server(&"A".parse().unwrap()).await.unwrap().unwrap().bmc_password.expose(), PASSWORD);
}

fn found_in_files(directory: &Path, text: &str) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
async fn a_check_really_writes() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).unwrap();
    let logged = || std::fs::metadata(directory.path().join("shoal.db-wal")).unwrap().len();
    for _ in 0..3 {
        let before = logged();
        store.check().await.unwrap();
        assert!(logged() >= before + PROBE_BYTES as u64);
    }
}

/// Loss of power in the middle of a write: the log of a run is cut at every page, and what is
/// opened then has each save with its event or neither.
#[tokio::test]
async fn a_crash_leaves_each_save_whole_or_undone() {
    const SAVES: u32 = 5;
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).unwrap();
    let (lease, job) = two_claimed_jobs(&store).await.remove(0);
    execute(&store, "PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    for attempt in 1..=SAVES {
        let mut update = Job { last_update: at(2), ..job.clone() };
        update.cursor = Cursor { attempt, ..update.cursor };
        store.save(&lease, &update, vec![event("one"), event("two")]).await.unwrap();
    }
    let database = std::fs::read(directory.path().join("shoal.db")).unwrap();
    let log = std::fs::read(directory.path().join("shoal.db-wal")).unwrap();

    let mut saved = 0;
    let frames = (32..=log.len()).step_by(24 + 4096);
    for cut in frames.flat_map(|end| [end, (end + 2000).min(log.len())]) {
        let copy = tempfile::tempdir().unwrap();
        std::fs::write(copy.path().join("shoal.db"), &database).unwrap();
        std::fs::write(copy.path().join("shoal.db-wal"), &log[..cut]).unwrap();
        let store = open(&copy).unwrap();
        let attempt = store.job(id(1)).await.unwrap().unwrap().cursor.attempt;
        let events = store.events(&EventFilter { limit: 99, ..EventFilter::default() }).await.unwrap();
        assert_eq!(events.len(), 2 * attempt as usize, "cut at {cut}");
        assert!(attempt == saved || attempt == saved + 1, "cut at {cut}");
        saved = attempt;
    }
    assert_eq!(saved, SAVES);
}

#[tokio::test]
async fn a_call_whose_caller_went_away_is_carried_out() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).unwrap();
    let held = server("A");
    let mut call = Box::pin(store.insert_server(&held));
    // Started by the first poll, which is the last.
    std::future::poll_fn(|context| {
        let _ = call.as_mut().poll(context);
        std::task::Poll::Ready(())
    })
    .await;
    drop(call);
    assert!(store.server(&"A".parse().unwrap()).await.unwrap().is_some(), "calls run in their order");
}

#[tokio::test]
async fn a_panic_in_a_call_is_the_callers_and_undoes_it() {
    let directory = tempfile::tempdir().unwrap();
    for store in [open(&directory).unwrap(), Sqlite::in_memory(sealer()).unwrap()] {
        let broken = store.clone();
        let running = tokio::spawn(async move {
            let work = |writer: &Writer<'_>| {
                writer.execute("INSERT INTO meta (name, value) VALUES ('half', x'00')", [])?;
                panic!("in the middle of a transaction")
            };
            broken.write::<()>("panicking", work).await
        });
        assert!(running.await.unwrap_err().is_panic());
        store.check().await.unwrap();
        let sql = "SELECT count(*) FROM meta WHERE name = 'half'";
        let halves: i64 = store.database.lock().query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(halves, 0);
    }
}
