//! The calls on a database: each runs alone on its connection, and writes that wait together share one transaction.
//!
//! On a file, one blocking thread at a time takes the calls that wait. A flush of the log costs more than all else that a
//! write does, so the writes that came meanwhile are savepoints of one transaction: one that fails undoes nothing of the
//! others. Reads stand outside of any transaction. Among calls that wait at the same time a write may pass a read; writes
//! never pass each other.
//!
//! Invariants: a call is answered after its commit, and with an error where there was none; a call that was added is
//! carried out, even if its caller goes away.

use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, TransactionBehavior, ffi};
use tokio::sync::oneshot;

use super::fault::Fault;
use super::files::FileFault;
use super::{Database, Reader, Sqlite, Writer, audit};
use crate::seal::Sealer;
use crate::store::StoreError;
use crate::store::answer::CallAnswer;

/// Writes of one transaction. More would hold up reads, and what SQLite keeps of them until the commit would not fit its
/// page cache.
const GROUP_MAX: usize = 64;

/// The calls that wait for the thread.
#[derive(Default)]
pub(super) struct Calls(Mutex<WaitingCalls>);

#[derive(Default)]
struct WaitingCalls {
    calls: VecDeque<Call>,
    /// A thread takes them, or is about to.
    is_taken: bool,
}

/// It holds the database open, until shortly before its caller has the answer.
pub(super) enum Call {
    Read(ReadCall),
    Write(Box<WriteCall>),
}

/// What SQLite reported, where it was SQLite that failed.
struct WriteFailed(Option<ffi::Error>);

/// Why nothing of a transaction was kept.
#[derive(Clone)]
enum Uncommitted {
    Sqlite(ffi::Error, Option<String>),
    Files(FileFault),
}

impl Calls {
    /// Has a blocking thread make the call, after those that came before it.
    pub(super) fn add(self: &Arc<Calls>, call: Call) {
        let mut waiting = self.waiting();
        waiting.calls.push_back(call);
        if !waiting.is_taken {
            waiting.is_taken = true;
            let taker = Taker { calls: self.clone(), is_done: false };
            drop(waiting);
            tokio::task::spawn_blocking(move || taker.run());
        }
    }

    fn waiting(&self) -> MutexGuard<'_, WaitingCalls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread does next: one read, or all writes that fit one transaction.
enum Turn {
    Read(ReadCall),
    Writes(Vec<WriteCall>),
}

impl WaitingCalls {
    fn next(&mut self) -> Option<Turn> {
        let mut writes = match self.calls.pop_front()? {
            Call::Read(read) => return Some(Turn::Read(read)),
            Call::Write(write) => vec![*write],
        };
        let mut passed = VecDeque::new();
        while writes.len() < GROUP_MAX
            && let Some(call) = self.calls.pop_front()
        {
            match call {
                Call::Write(write) => writes.push(*write),
                read @ Call::Read(_) => passed.push_back(read),
            }
        }
        passed.append(&mut self.calls);
        self.calls = passed;
        Some(Turn::Writes(writes))
    }
}

/// The one thread that takes calls.
struct Taker {
    calls: Arc<Calls>,
    is_done: bool,
}

impl Taker {
    fn run(mut self) {
        loop {
            let mut waiting = self.calls.waiting();
            let Some(next) = waiting.next() else {
                waiting.is_taken = false;
                break;
            };
            drop(waiting);
            match next {
                Turn::Read(read) => read.run(),
                Turn::Writes(writes) => commit(writes),
            }
        }
        self.is_done = true;
    }
}

impl Drop for Taker {
    /// Where the runtime has ended before the thread began, the calls are not made, and their callers get an error.
    fn drop(&mut self) {
        if !self.is_done {
            let mut waiting = self.calls.waiting();
            waiting.is_taken = false;
            let unmade = std::mem::take(&mut waiting.calls);
            drop(waiting);
            drop(unmade);
        }
    }
}

/// Commits the writes together, and answers each.
pub(super) fn commit(mut writes: Vec<WriteCall>) {
    let Some(database) = writes.first().map(|write| write.store.database.clone()) else { return };
    let committed = transaction(&database, &mut writes);
    drop(database);
    for write in writes {
        write.end(committed.clone());
    }
}

fn transaction(database: &Database, writes: &mut [WriteCall]) -> Result<(), Uncommitted> {
    database.check_names()?;
    let mut connection = database.lock();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let [alone] = writes {
        if alone.run(&transaction).is_ok() {
            transaction.commit()?;
        }
    } else {
        for write in writes {
            run_in_savepoint(&transaction, write)?;
        }
        transaction.commit()?;
    }
    database.check_names()?;
    Ok(())
}

fn run_in_savepoint(connection: &Connection, write: &mut WriteCall) -> Result<(), Uncommitted> {
    connection.prepare_cached("SAVEPOINT write_call")?.execute([])?;
    if let Err(WriteFailed(error)) = write.run(connection) {
        // With a full disk, among others, SQLite undoes the whole transaction.
        if connection.is_autocommit() {
            return Err(Uncommitted::Sqlite(error.unwrap_or(ffi::Error::new(ffi::SQLITE_ABORT)), None));
        }
        connection.prepare_cached("ROLLBACK TO write_call")?.execute([])?;
    }
    connection.prepare_cached("RELEASE write_call")?.execute([])?;
    Ok(())
}

impl From<rusqlite::Error> for Uncommitted {
    fn from(error: rusqlite::Error) -> Uncommitted {
        match error {
            rusqlite::Error::SqliteFailure(error, text) => Uncommitted::Sqlite(error, text),
            other => Uncommitted::Sqlite(ffi::Error::new(ffi::SQLITE_ERROR), Some(other.to_string())),
        }
    }
}

impl From<FileFault> for Uncommitted {
    fn from(fault: FileFault) -> Uncommitted {
        Uncommitted::Files(fault)
    }
}

impl From<Uncommitted> for Fault {
    fn from(uncommitted: Uncommitted) -> Fault {
        match uncommitted {
            Uncommitted::Sqlite(error, text) => Fault::Sqlite(rusqlite::Error::SqliteFailure(error, text)),
            Uncommitted::Files(fault) => fault.into(),
        }
    }
}

/// The statements of a read, and what they answer.
pub(super) type Reading = Box<dyn FnOnce(&Reader<'_>) -> Result<CallAnswer, Fault> + Send>;
/// The statements of a write.
pub(super) type Writing = Box<dyn FnOnce(&Writer<'_>) -> Result<CallAnswer, Fault> + Send>;

/// How a call ended; or the panic that it ended with.
type CallOutcome = Result<Result<CallAnswer, Fault>, Box<dyn Any + Send>>;

/// A caller's end of a call.
pub(super) struct PendingCall(oneshot::Receiver<CallOutcome>);

impl PendingCall {
    /// A panic in the call is the caller's panic; a call that was never made means that the runtime ends.
    pub(super) async fn answer(self) -> Result<CallAnswer, Fault> {
        match self.0.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(StoreError::Closed.into()),
        }
    }
}

/// A read of what the database holds.
pub(super) struct ReadCall {
    database: Arc<Database>,
    sealer: Sealer,
    work: Reading,
    caller: oneshot::Sender<CallOutcome>,
}

impl ReadCall {
    pub(super) fn new(database: Arc<Database>, sealer: Sealer, work: Reading) -> (ReadCall, PendingCall) {
        let (caller, receiver) = oneshot::channel();
        (ReadCall { database, sealer, work, caller }, PendingCall(receiver))
    }

    pub(super) fn run(self) {
        let ReadCall { database, sealer, work, caller } = self;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            work(&Reader { connection: &database.lock(), sealer: &sealer })
        }));
        drop(database);
        let _caller_is_gone = caller.send(outcome);
    }
}

/// One write of a transaction. Where its handle has an act to record and it changes something, the entry of the audit
/// log is written with it.
pub(super) struct WriteCall {
    store: Sqlite,
    /// Until it was done.
    work: Option<Writing>,
    outcome: Option<CallOutcome>,
    changed: Changed,
    caller: oneshot::Sender<CallOutcome>,
}

/// What is notified once it is committed.
#[derive(Clone, Copy, Default)]
struct Changed {
    last_event: Option<u64>,
    jobs: bool,
}

impl WriteCall {
    pub(super) fn new(store: Sqlite, work: Writing) -> (WriteCall, PendingCall) {
        let (caller, receiver) = oneshot::channel();
        let write = WriteCall { store, work: Some(work), outcome: None, changed: Changed::default(), caller };
        (write, PendingCall(receiver))
    }

    /// Does what there is to write. Without `Ok` all of that has to be undone.
    fn run(&mut self, connection: &Connection) -> Result<(), WriteFailed> {
        let Some(work) = self.work.take() else { return Ok(()) };
        let writer = Writer {
            connection,
            sealer: &self.store.sealer,
            chain_key: &self.store.chain_key,
            last_event: Cell::new(None),
            jobs_changed: Cell::new(false),
        };
        let act = self.store.act.as_ref();
        let outcome: CallOutcome = catch_unwind(AssertUnwindSafe(|| {
            let changes = writer.total_changes();
            let answer = work(&writer)?;
            if let Some(act) = act
                && writer.total_changes() != changes
            {
                audit::append(&writer, act.clone())?;
            }
            Ok(answer)
        }));
        self.changed = Changed { last_event: writer.last_event.get(), jobs: writer.jobs_changed.get() };
        let result = match &outcome {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(fault)) => Err(WriteFailed(fault.sqlite_error())),
            Err(_) => Err(WriteFailed(None)),
        };
        self.outcome = Some(outcome);
        result
    }

    /// Answers.
    fn end(self, committed: Result<(), Uncommitted>) {
        let WriteCall { store, outcome, changed, caller, .. } = self;
        let outcome = match (outcome, committed) {
            (Some(Ok(Ok(answer))), Ok(())) => {
                store.notify(changed.last_event, changed.jobs);
                Ok(Ok(answer))
            }
            // Not made, or undone.
            (None | Some(Ok(Ok(_))), Err(uncommitted)) => Ok(Err(uncommitted.into())),
            (None, Ok(())) => Ok(Err(StoreError::Closed.into())),
            (Some(failed), _) => failed,
        };
        drop(store);
        let _caller_is_gone = caller.send(outcome);
    }
}
