//! Leases of the run before: void, because the lock on the file proves that the controller is gone.

use super::*;

/// A lease, and the same database as a controller finds it that starts after a crash.
async fn restarted(directory: &tempfile::TempDir) -> [(Lease, Job, Sqlite); 2] {
    let in_memory = Sqlite::in_memory(sealer()).unwrap();
    let (lease, job) = two_claimed_jobs(&in_memory).await.remove(0);
    let path = directory.path().join("shoal.db");
    let on_file = Sqlite::open(&path, sealer()).unwrap();
    let (of_file, job_of_file) = two_claimed_jobs(&on_file).await.remove(0);
    drop(on_file);
    let on_file = Sqlite::open(&path, sealer()).unwrap();
    [(lease, job, in_memory.reopen().unwrap()), (of_file, job_of_file, on_file)]
}

#[tokio::test]
async fn a_restart_voids_every_lease() {
    let directory = tempfile::tempdir().unwrap();
    for (old, _, store) in restarted(&directory).await {
        assert!(store.renew("me", &[old], at(2), TTL).await.unwrap().is_empty());
        let (new, _) = store.claim("me", at(2), TTL, 9).await.unwrap().remove(0);
        assert!(new.job == old.job && new.generation > old.generation);
    }
}

#[tokio::test]
async fn a_driver_of_the_run_before_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for (old, job, store) in restarted(&directory).await {
        let update = Job { last_update: at(2), ..job };
        let error = store.save(&old, &update, Vec::new()).await.unwrap_err();
        assert!(
            matches!(error, StoreError::LeaseLost { .. }),
            "although no controller has claimed it: {error}"
        );
    }
}

/// It may have been set by a clock that was wrong.
#[tokio::test]
async fn a_restart_waits_for_no_jobs_time_to_wake() {
    let store = Sqlite::in_memory(sealer()).unwrap();
    let (lease, mut job) = two_claimed_jobs(&store).await.remove(0);
    job.cursor.wake_at = at(100_000);
    store.save(&lease, &job, Vec::new()).await.unwrap();
    assert!(store.claim("me", at(2), TTL, 9).await.unwrap().is_empty());
    let claimed = store.reopen().unwrap().claim("me", at(2), TTL, 9).await.unwrap();
    assert!(claimed.iter().any(|(_, claimed)| claimed.id == job.id));
}
