//! What a restore finds in its place: a log that was not folded in, a database that cannot be opened.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::*;

/// A backup of a database that holds the server `A`.
async fn backup(folder: &Path) -> PathBuf {
    let (database, to) = (folder.join("first.db"), folder.join("a.backup"));
    let store = Sqlite::open(&database, sealer()).unwrap();
    store.insert_server(&server("A")).await.unwrap();
    assert_eq!(take_backup(&database, &to, at(9)).unwrap().active_jobs, 0);
    to
}

async fn serials(database: &Path) -> Vec<String> {
    let store = Sqlite::open(database, sealer()).unwrap();
    store.servers().await.unwrap().iter().map(|server| server.serial.to_string()).collect()
}

async fn restore(database: &Path, from: &Path) -> Restored {
    let locked = LockedDatabase::lock(database).unwrap();
    locked.restore(from, sealer(), false, at(10)).await.unwrap()
}

#[tokio::test]
async fn the_log_of_a_controller_that_died_goes_with_its_database() {
    let folder = tempfile::tempdir().unwrap();
    let from = backup(folder.path()).await;
    let live = Sqlite::open(&folder.path().join("live.db"), sealer()).unwrap();
    live.insert_server(&server("B")).await.unwrap();
    // As a crash leaves both: the server is in the log alone.
    let database = folder.path().join("crashed.db");
    for rest in ["", "-wal"] {
        let name = |base: &str| folder.path().join(format!("{base}.db{rest}"));
        std::fs::copy(name("live"), name("crashed")).unwrap();
    }
    let restored = restore(&database, &from).await;
    assert_eq!(restored.taken_at, Some(at(9)));
    assert_eq!(serials(&database).await, ["A"]);
    assert_eq!(serials(&restored.before.unwrap()).await, ["B"], "nothing of it is lost");
    let store = Sqlite::open(&database, sealer()).unwrap();
    let audit = store.audit(&AuditFilter { limit: 9, ..AuditFilter::default() }).await.unwrap();
    assert_eq!((audit[0].action.as_str(), audit[0].actor.as_str()), ("controller.restore", "controller"));
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_is_kept_as_it_is_with_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let from = backup(folder.path()).await;
    let database = folder.path().join("damaged.db");
    std::fs::write(&database, "not a database ".repeat(500)).unwrap();
    std::fs::write(folder.path().join("damaged.db-wal"), "its log").unwrap();
    let before = restore(&database, &from).await.before.unwrap();
    assert_eq!(serials(&database).await, ["A"]);
    assert!(std::fs::read(&before).unwrap().starts_with(b"not a database"));
    let log = folder.path().join(format!("{}-wal", before.file_name().unwrap().to_string_lossy()));
    assert_eq!(std::fs::read(log).unwrap(), b"its log");
}

#[tokio::test]
async fn a_database_that_another_program_has_open_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let from = backup(folder.path()).await;
    let database = folder.path().join("open.db");
    drop(Sqlite::open(&database, sealer()).unwrap());
    let shell = rusqlite::Connection::open(&database).unwrap();
    // Idle, as a shell is that has shown something.
    shell.query_row("SELECT count(*) FROM servers", [], |_| Ok(())).unwrap();
    shell.execute("INSERT INTO meta (name, value) VALUES ('in the log alone', x'01')", []).unwrap();
    let locked = LockedDatabase::lock(&database).unwrap();
    let refused = locked.restore(&from, sealer(), false, at(10)).await.unwrap_err();
    assert!(refused.to_string().contains("close it, and try again"), "{refused}");
    let mut left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|at| at.unwrap().file_name()).collect();
    left.retain(|name| name.to_string_lossy().starts_with("open."));
    left.sort();
    assert_eq!(left, ["open.db", "open.db-shm", "open.db-wal", "open.db.lock"]);
    drop(shell);
    let before = restore(&database, &from).await.before.unwrap();
    assert_eq!(serials(&database).await, ["A"]);
    let before = rusqlite::Connection::open(before).unwrap();
    let sql = "SELECT count(*) FROM meta WHERE name = 'in the log alone'";
    assert_eq!(before.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}

/// Tried for real where the tests run as root; elsewhere nothing can be given away, and nothing must be.
#[tokio::test]
async fn what_root_puts_back_belongs_to_the_user_of_the_controller() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let folder = tempfile::tempdir().unwrap();
    let from = backup(folder.path()).await;
    let is_root = folder.path().metadata().unwrap().uid() == 0;
    let user = if is_root { 61_184 } else { folder.path().metadata().unwrap().uid() };
    let owners = |place: &Path| {
        let owner = |at: std::io::Result<std::fs::DirEntry>| at.unwrap().metadata().unwrap().uid();
        std::fs::read_dir(place).unwrap().map(owner).collect::<Vec<_>>()
    };
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    chown(&state, Some(user), Some(user)).unwrap();
    let database = state.join("shoal.db");
    assert_eq!(restore(&database, &from).await.before, None);
    assert_eq!(owners(&state), [user; 2], "a database and its lock, where there was none");
    std::fs::remove_file(state.join("shoal.db.lock")).unwrap();
    assert!(restore(&database, &from).await.before.is_some());
    assert_eq!(owners(&state), [user; 3], "and beside the one before");
}

#[tokio::test]
async fn an_active_job_says_that_it_was_restored_unless_nothing_can_have_been_done_since() {
    let folder = tempfile::tempdir().unwrap();
    let (database, to) = (folder.path().join("jobs.db"), folder.path().join("jobs.backup"));
    let store = Sqlite::open(&database, sealer()).unwrap();
    two_claimed_jobs(&store).await;
    assert_eq!(take_backup(&database, &to, at(9)).unwrap().active_jobs, 2);
    for (name, resume, mark) in [("marked.db", false, Some(at(10))), ("resumed.db", true, None)] {
        let database = folder.path().join(name);
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o644)).unwrap();
        let locked = LockedDatabase::lock(&database).unwrap();
        let restored = locked.restore(&to, sealer(), resume, at(10)).await.unwrap();
        assert_eq!((restored.jobs, restored.before), (vec![id(1), id(2)], None));
        let mode = std::fs::metadata(&database).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "a reader of the backup must not become a reader of the database");
        let store = Sqlite::open(&database, sealer()).unwrap();
        for job in [id(1), id(2)] {
            assert_eq!(store.job(job).await.unwrap().unwrap().facts.restored_at, mark, "{name}");
        }
    }
}
