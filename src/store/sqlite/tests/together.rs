//! Writes that wait at the same time: one transaction, and an answer for each of them.

use super::super::calls::{Call, Calls, PendingCall, ReadCall, WriteCall, commit};
use super::*;
use crate::store::answer::CallAnswer;

/// In which both servers are, and of whose writes the log holds all since the opening.
async fn opened() -> (tempfile::TempDir, Sqlite) {
    let directory = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&directory.path().join("shoal.db"), sealer()).unwrap();
    store.insert_server(&server("A")).await.unwrap();
    (directory, store)
}

/// Commits in the log: frames that name the size of the database (sqlite.org/walformat.html).
fn commits(directory: &tempfile::TempDir) -> usize {
    let log = std::fs::read(directory.path().join("shoal.db-wal")).unwrap();
    log[32..].chunks(24 + 4_096).filter(|frame| frame[4..8] != [0; 4]).count()
}

fn write_call<T: Send + 'static>(
    store: &Sqlite,
    work: impl FnOnce(&Writer<'_>) -> Result<T, Fault> + Send + 'static,
) -> (WriteCall, PendingCall) {
    WriteCall::new(store.clone(), Box::new(move |writer| work(writer).map(CallAnswer::new)))
}

/// Answers this number.
fn read_call(store: &Sqlite, number: i32) -> (ReadCall, PendingCall) {
    let work = Box::new(move |_: &Reader<'_>| Ok(CallAnswer::new(number)));
    ReadCall::new(store.database.clone(), store.sealer.clone(), work)
}

fn note(writer: &Writer<'_>, name: &str) -> Result<(), Fault> {
    writer.execute("INSERT INTO meta (name, value) VALUES (?1, x'00')", [name])?;
    Ok(())
}

fn is_noted(store: &Sqlite, name: &str) -> bool {
    let sql = "SELECT 1 FROM meta WHERE name = ?1";
    store.database.lock().prepare(sql).unwrap().exists([name]).unwrap()
}

#[tokio::test]
async fn writes_that_wait_together_are_committed_together() {
    let (directory, store) = opened().await;
    let before = commits(&directory);
    let (go_on, signal) = std::sync::mpsc::channel();
    let first = store.clone();
    let waits = move |_: &Writer<'_>| {
        signal.recv().unwrap();
        Ok(())
    };
    let first = tokio::spawn(async move { first.write("waiting", waits).await });
    tokio::task::yield_now().await;
    // All of these wait for the first one.
    let added = (1..=20).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { store.insert_server(&server(&format!("S{number}"))).await })
    });
    let added: Vec<_> = added.collect();
    let look = store.clone();
    let look = tokio::spawn(async move { look.server(&"A".parse().unwrap()).await });
    tokio::task::yield_now().await;
    go_on.send(()).unwrap();
    first.await.unwrap().unwrap();
    for added in added {
        added.await.unwrap().unwrap();
    }
    assert!(look.await.unwrap().unwrap().is_some());
    assert_eq!(store.servers().await.unwrap().len(), 21);
    assert_eq!(commits(&directory) - before, 1);
}

#[tokio::test]
async fn one_that_fails_or_panics_undoes_nothing_of_the_others() {
    let (directory, store) = opened().await;
    let before = commits(&directory);
    let (first, first_caller) = write_call(&store, |writer| note(writer, "first").map(|()| 1));
    let (fails, fails_caller) = write_call::<()>(&store, |writer| {
        note(writer, "undone")?;
        Err(StoreError::InventoryFull { max: 3 }.into())
    });
    let (panics, panics_caller) = write_call::<()>(&store, |writer| {
        note(writer, "undone")?;
        panic!("a defect");
    });
    let (last, last_caller) = write_call(&store, |writer| note(writer, "last").map(|()| 2));
    commit(vec![first, fails, panics, last]);
    let answers = [first_caller.answer().await.unwrap(), last_caller.answer().await.unwrap()];
    assert_eq!(answers.map(CallAnswer::get::<i32>), [1, 2]);
    let fault = fails_caller.answer().await.unwrap_err();
    assert!(matches!(fault, Fault::Refused(StoreError::InventoryFull { max: 3 })), "{fault:?}");
    assert!(tokio::spawn(panics_caller.answer()).await.unwrap_err().is_panic());
    assert!(is_noted(&store, "first") && is_noted(&store, "last") && !is_noted(&store, "undone"));
    assert_eq!(commits(&directory) - before, 1);
}

#[tokio::test]
async fn events_of_one_transaction_are_notified_of_in_their_order() {
    let (_directory, store) = opened().await;
    store.insert_server(&server("B")).await.unwrap();
    for (serial, number) in [("A", 1), ("B", 2)] {
        store.insert_job(new_job(serial, number), None).await.unwrap();
    }
    let jobs = store.claim("me", at(1), TTL, 9).await.unwrap();
    let latest = store.latest_event();
    let before = *latest.borrow();
    let saves = jobs.iter().map(|(lease, job)| store.save(lease, job, vec![event("one"), event("two")]));
    for saved in futures_util::future::join_all(saves).await {
        saved.unwrap();
    }
    assert_eq!(*latest.borrow(), before + 4);
    let seen =
        store.events(&EventFilter { after: before, limit: 9, ..EventFilter::default() }).await.unwrap();
    let seen: Vec<_> = seen.into_iter().map(|event| (event.job, event.event.message)).collect();
    let reported = |(_, job): &(Lease, Job)| ["one", "two"].map(|message| (job.id, message.to_owned()));
    assert_eq!(seen, jobs.iter().flat_map(reported).collect::<Vec<_>>());
}

/// A full disk, for one: what the writes before it have done is undone too, and they must not be answered as done.
#[tokio::test]
async fn where_sqlite_undoes_the_transaction_no_write_counts_as_done() {
    let (_directory, store) = opened().await;
    let (first, first_caller) = write_call(&store, |writer| note(writer, "first"));
    let (fills, fills_caller) = write_call::<()>(&store, |writer| {
        writer.execute_batch("ROLLBACK")?;
        let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        Err(rusqlite::Error::SqliteFailure(full, None).into())
    });
    let (last, last_caller) = write_call(&store, |writer| note(writer, "last"));
    commit(vec![first, fills, last]);
    for caller in [first_caller, fills_caller, last_caller] {
        let error = caller.answer().await.unwrap_err().at("writing", "the database");
        assert_eq!(error.kind(), StoreErrorKind::Full, "{error}");
    }
    assert!(!is_noted(&store, "first") && !is_noted(&store, "last"));
    store.check().await.unwrap();
}

/// The thread for them never ran: the callers get an error, and later calls another thread.
#[test]
fn calls_that_are_never_made_end_with_an_error() {
    let store = Sqlite::in_memory(sealer()).unwrap();
    let calls: Arc<Calls> = Arc::default();
    let (read, caller) = read_call(&store, 1);
    let outside_of_a_runtime = std::panic::AssertUnwindSafe(|| calls.add(Call::Read(read)));
    std::panic::catch_unwind(outside_of_a_runtime).unwrap_err();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let fault = runtime.block_on(caller.answer()).unwrap_err();
    assert!(matches!(fault, Fault::Refused(StoreError::Closed)), "{fault:?}");
    let found = runtime.block_on(async {
        let (read, caller) = read_call(&store, 2);
        calls.add(Call::Read(read));
        caller.answer().await
    });
    assert_eq!(found.unwrap().get::<i32>(), 2);
}
