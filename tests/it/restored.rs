//! A controller that was restored from a backup starts no host a second time, from whatever moment the backup
//! is and whatever has happened since.
//!
//! The files themselves are `store::sqlite::backup`'s, and what a kill leaves of them `backup`'s. Invariant: the machine
//! has had one start and one installation whatever is put back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use shoal::domain::{Job, JobId, Status, Step};
use shoal::seal::Sealer;
use shoal::store::{LockedDatabase, Restored, Side, Sqlite, Store, Tap};
use shoal_sim::{Fault, SimConfig, Timings};

use crate::site::{Site, machine};

fn sealer() -> Sealer {
    Sealer::new([7; 32])
}

/// A host that takes minutes and leaves its media to us.
async fn site() -> Site {
    let timings =
        Timings { post: Duration::from_secs(60), install: Duration::from_secs(300), ..Timings::default() };
    let mut site = Site::new(3, vec![SimConfig { timings, ..machine(vec![Fault::NoEject]) }]).await;
    site.policy.poll_interval = Duration::from_secs(30);
    site
}

/// The site's store, of which a backup is made after every write.
fn backed_up(site: &Site, folder: &Path) -> Store {
    let (database, folder, clock) = (site.database.clone(), folder.to_owned(), site.world.clock.clone());
    let count = Arc::new(AtomicUsize::new(0));
    let tap: Tap = Arc::new(move |_, side| {
        let (database, now, number) = (database.clone(), clock.now(), count.clone());
        let folder = folder.clone();
        Box::pin(async move {
            if side == Side::After {
                let number = number.fetch_add(1, Ordering::Relaxed);
                database.back_up(&folder.join(format!("{number:03}.backup")), now).await?;
            }
            Ok(())
        })
    });
    site.store.tapped(tap)
}

fn backups(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut backups: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "backup")).collect();
    backups.sort();
    backups
}

async fn restore(site: &mut Site, backup: &Path, resume: bool) -> Restored {
    let database = backup.with_extension("db");
    let locked = LockedDatabase::lock(&database).unwrap();
    let restored = locked.restore(backup, sealer(), resume, site.world.clock.now()).await.unwrap();
    site.set_database(Sqlite::open(&database, sealer()).unwrap());
    restored
}

/// A new controller on what was put back, until the job is over; `None` where the backup knows of none.
async fn go_on(site: &mut Site, id: JobId) -> Option<Job> {
    site.store.job(id).await.unwrap()?;
    site.start();
    let job = site.settle(id).await;
    site.shut_down().await;
    Some(job)
}

#[tokio::test(start_paused = true)]
async fn whatever_moment_a_backup_is_of_the_host_is_installed_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = site().await;
    let store = backed_up(&site, folder.path());
    site.start_on(store, site.world.transport.clone());
    let id = site.submit(0, json!({})).await;
    assert_eq!(site.settle(id).await.status, Status::Succeeded);
    site.shut_down().await;
    let before = site.machines[0].state();
    assert_eq!((before.starts, before.installs), (1, 1));

    let (mut failed, mut succeeded, mut over) = (0, 0, 0);
    for backup in backups(folder.path()) {
        let restored = restore(&mut site, &backup, false).await;
        let Some(job) = go_on(&mut site, id).await else { continue };
        let context = format!("{}\n{}", backup.display(), site.story(id).await);
        let state = site.machines[0].state();
        assert_eq!((state.starts, state.installs, state.interrupted_installs), (1, 1, 0), "{context}");
        assert_eq!(state.resets, before.resets, "{context}");
        assert_eq!(state.power, "On", "{context}");
        match (restored.jobs.is_empty(), job.status) {
            (true, _) => over += 1,
            (false, Status::Succeeded) => succeeded += 1,
            (false, _) => {
                failed += 1;
                let reason = job.reason.unwrap();
                assert!(reason.contains("restored from a backup"), "{reason} {context}");
                assert!(job.failed_step <= Some(Step::Reset), "{context}");
            }
        }
    }
    assert!(
        failed > 10 && succeeded > 10 && over > 0,
        "{failed} failed, {succeeded} went on, {over} were over"
    );
}

/// The host is in the middle of it, and the controller that knew is gone for good.
#[tokio::test(start_paused = true)]
async fn a_host_that_installs_is_left_alone_by_a_controller_that_knows_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = site().await;
    let store = backed_up(&site, folder.path());
    site.start_on(store, site.world.transport.clone());
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.facts.esxi().progress.ks_read).await;
    site.crash().await;
    let early = backups(folder.path()).remove(3);
    restore(&mut site, &early, false).await;
    let job = go_on(&mut site, id).await.unwrap();
    assert_eq!((job.status, site.machines[0].state().starts), (Status::Failed, 1));
    tokio::time::sleep(Duration::from_secs(1800)).await;
    let state = site.machines[0].state();
    assert_eq!((state.installs, state.interrupted_installs, state.guest), (1, 0, "installed"), "{state:?}");
}

/// What is known to be as it was goes on as after any stop.
#[tokio::test(start_paused = true)]
async fn jobs_of_a_controller_that_was_stopped_go_on_where_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = site().await;
    let id = site.submit(0, json!({})).await;
    site.database.back_up(&folder.path().join("queued.backup"), site.world.clock.now()).await.unwrap();
    let restored = restore(&mut site, &folder.path().join("queued.backup"), true).await;
    assert_eq!(restored.jobs, [id]);
    assert_eq!(restored.taken_at, Some(site.world.clock.now()));
    let job = go_on(&mut site, id).await.unwrap();
    assert_eq!((job.status, site.machines[0].state().installs), (Status::Succeeded, 1));
}
