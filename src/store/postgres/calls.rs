//! How a call is carried out: the transaction of a write, tried again where it must be, and the connection of a read.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::fault::PgFault;
use super::writer::{DatabaseLock, Gathered, PgReader, PgWriter};
use super::{LeaseClock, PgDatabase, Postgres, audit, events};
use crate::seal::Sealer;
use crate::store::answer::CallAnswer;
use crate::store::error::resume_panic;
use crate::store::tap::{self, Side};
use crate::store::{StoreError, StoreFuture};

/// How often a call is tried again that met other transactions.
const CONFLICTS_MAX: u32 = 20;
/// How often one is that found no connection, or lost it before anything was committed.
const LOSSES_MAX: u32 = 3;
/// The same while it is unknown whether its transaction was committed.
const UNKNOWN_MAX: u32 = 12;

/// The statements of a call on a reader or a writer, over what the call was given. They may run several times.
type Statements<C, A, T> = for<'a> fn(&'a C, &'a A) -> BoxFuture<'a, Result<T, PgFault>>;

/// A call with what it was given, and without its types.
trait UntypedCall<C>: Send + Sync {
    fn run<'a>(&'a self, connection: &'a C) -> BoxFuture<'a, Result<CallAnswer, PgFault>>;
}

struct TypedCall<C, A, T> {
    args: A,
    work: Statements<C, A, T>,
}

impl<C: Sync, A: Send + Sync, T: Send + 'static> UntypedCall<C> for TypedCall<C, A, T> {
    fn run<'a>(&'a self, connection: &'a C) -> BoxFuture<'a, Result<CallAnswer, PgFault>> {
        let running = (self.work)(connection, &self.args);
        Box::pin(async move { running.await.map(CallAnswer::new) })
    }
}

/// What is made known once a transaction is committed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changes {
    pub last_event: Option<u64>,
    pub jobs_changed: bool,
}

impl Postgres {
    /// Runs `work` in one transaction, notifies of what it changed after the commit, and undoes all of it
    /// if it fails. Where this handle has an act to record and `work` changes something, the entry of the audit log is
    /// written in the same transaction. It may run several times, and is carried out once.
    pub(super) fn write<A, T>(
        &self,
        doing: &'static str,
        args: A,
        work: Statements<PgWriter, A, T>,
    ) -> StoreFuture<T>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        CallAnswer::of(self.writing(doing, Box::new(TypedCall { args, work })))
    }

    fn writing(&self, doing: &'static str, work: Box<dyn UntypedCall<PgWriter>>) -> StoreFuture<CallAnswer> {
        let store = self.clone();
        Box::pin(async move {
            tap::ask(store.tap.as_ref(), doing, Side::Before).await?;
            let writing = store.clone();
            let running = async move {
                let answer = writing.transact(&*work).await;
                answer.map_err(|fault| fault.at(doing, &writing.database.name))
            };
            let answer = carried_out(&store.database, running).await?;
            tap::ask(store.tap.as_ref(), doing, Side::After).await?;
            Ok(answer)
        })
    }

    async fn transact(&self, work: &dyn UntypedCall<PgWriter>) -> Result<CallAnswer, PgFault> {
        let token = self.database.token();
        let (mut unknown, mut tries) = (None, Tries::default());
        loop {
            let fault = match self.attempt(token, &mut unknown, work).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            if !tries.again(&fault, unknown.is_some()).await {
                return Err(fault);
            }
        }
    }

    /// One try. Where the commit is not answered, the answer of `work` stays in `unknown`.
    async fn attempt(
        &self,
        token: [u8; 16],
        unknown: &mut Option<CallAnswer>,
        work: &dyn UntypedCall<PgWriter>,
    ) -> Result<CallAnswer, PgFault> {
        let reader = self.database.reader(&self.sealer).await?;
        let writer = PgWriter::new(reader, self.chain_key.clone());
        let done = if unknown.is_some() {
            if !writer.begin(token).await? {
                writer.roll_back().await;
                self.make_known(Changes { last_event: None, jobs_changed: true });
                return Ok(unknown.take().expect("it was there a moment ago"));
            }
            *unknown = None;
            work.run(&writer).await
        } else {
            // The first statement need not wait for the answer to the beginning.
            let (begun, done) = tokio::join!(biased; writer.begin(token), work.run(&writer));
            begun.and(done)
        };
        let answer = match done {
            Ok(answer) => answer,
            Err(fault) => {
                if !fault.is_lost() {
                    writer.roll_back().await;
                }
                return Err(fault);
            }
        };
        if let Some(act) = &self.act
            && writer.has_changed()
        {
            writer.audit(act.clone());
        }
        match commit(&writer).await {
            Ok(changes) => {
                writer.give_back();
                self.make_known(changes);
                Ok(answer)
            }
            Err(fault) => {
                match fault.is_lost() {
                    true => *unknown = Some(answer),
                    false => writer.roll_back().await,
                }
                Err(fault)
            }
        }
    }

    pub(super) fn make_known(&self, changes: Changes) {
        if let Some(id) = changes.last_event {
            self.latest_event.send_if_modified(|latest| {
                let is_later = id > *latest;
                *latest = id.max(*latest);
                is_later
            });
        }
        if changes.jobs_changed {
            self.jobs_changed.notify_waiters();
            self.jobs_changed.notify_one();
        }
    }

    /// Runs `work`, whose statements each see the database as it is then.
    pub(super) fn read<A, T>(
        &self,
        doing: &'static str,
        args: A,
        work: Statements<PgReader, A, T>,
    ) -> StoreFuture<T>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        CallAnswer::of(self.reading(doing, Box::new(TypedCall { args, work }), false))
    }

    /// Runs `work`, whose statements all see the database of one moment.
    pub(super) fn read_snapshot<A, T>(
        &self,
        doing: &'static str,
        args: A,
        work: Statements<PgReader, A, T>,
    ) -> StoreFuture<T>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        CallAnswer::of(self.reading(doing, Box::new(TypedCall { args, work }), true))
    }

    fn reading(
        &self,
        doing: &'static str,
        work: Box<dyn UntypedCall<PgReader>>,
        is_snapshot: bool,
    ) -> StoreFuture<CallAnswer> {
        let store = self.clone();
        let database = store.database.clone();
        let running = async move {
            let mut tries = Tries::default();
            loop {
                let fault = match store.database.read(&store.sealer, &*work, is_snapshot).await {
                    Ok(answer) => return Ok(answer),
                    Err(fault) => fault,
                };
                if !tries.again(&fault, false).await {
                    return Err(fault.at(doing, &store.database.name));
                }
            }
        };
        Box::pin(async move { carried_out(&database, running).await })
    }
}

/// Writes what is numbered in the order of commits, and commits. The statements that follow the lock are sent with
/// it, so that others wait for this one's commit and not for its round trips.
async fn commit(tx: &PgWriter) -> Result<Changes, PgFault> {
    let Gathered { acts, events: new, jobs_changed, .. } = tx.gather();
    if acts.is_empty() && new.is_empty() {
        tx.batch("COMMIT").await?;
        return Ok(Changes { last_event: None, jobs_changed });
    }
    if !acts.is_empty() {
        tx.lock(DatabaseLock::Numbers).await?;
        audit::append(tx, acts).await?;
    }
    if new.is_empty() {
        tx.batch("COMMIT").await?;
        return Ok(Changes { last_event: None, jobs_changed });
    }
    let (locked, last, committed) =
        tokio::join!(biased; tx.lock(DatabaseLock::Numbers), events::insert(tx, &new), tx.batch("COMMIT"));
    locked?;
    let last = last?;
    committed?;
    Ok(Changes { last_event: last, jobs_changed })
}

/// Goes on even if the caller goes away: half a transaction must not hold its locks.
async fn carried_out(
    database: &PgDatabase,
    running: impl Future<Output = Result<CallAnswer, StoreError>> + Send + 'static,
) -> Result<CallAnswer, StoreError> {
    match &database.lease_clock {
        LeaseClock::Simulated(time) => time.stopped_for(running).await,
        LeaseClock::Database | LeaseClock::Caller => tokio::spawn(running).await.map_err(resume_panic)?,
    }
}

/// How often a call was tried.
#[derive(Default)]
struct Tries {
    conflicts: u32,
    losses: u32,
}

impl Tries {
    /// Whether the call may be tried again, after a wait.
    async fn again(&mut self, fault: &PgFault, is_unknown: bool) -> bool {
        let wait = if fault.is_conflict() || is_unknown && !fault.is_lost() {
            self.conflicts += 1;
            (self.conflicts <= CONFLICTS_MAX).then(|| Duration::from_millis(u64::from(self.conflicts) * 3))
        } else if fault.is_lost() {
            self.losses += 1;
            let max = if is_unknown { UNKNOWN_MAX } else { LOSSES_MAX };
            (self.losses <= max).then(|| Duration::from_millis(100) * self.losses.pow(2).min(20))
        } else {
            None
        };
        let Some(wait) = wait else { return false };
        tokio::time::sleep(wait).await;
        true
    }
}

impl PgDatabase {
    async fn read(
        &self,
        sealer: &Sealer,
        work: &dyn UntypedCall<PgReader>,
        is_snapshot: bool,
    ) -> Result<CallAnswer, PgFault> {
        let reader = self.reader(sealer).await?;
        if is_snapshot {
            reader.begin_snapshot().await?;
        }
        let answer = work.run(&reader).await;
        let is_lost = answer.as_ref().is_err_and(PgFault::is_lost);
        let is_outside = match is_snapshot {
            true => !is_lost && reader.batch("COMMIT").await.is_ok(),
            false => !is_lost,
        };
        if is_outside {
            reader.give_back();
        }
        answer
    }
}
