//! A BMC's password that the inventory only names: read when needed, shown by name only.

use std::path::Path;

use serde_json::json;
use shoal::domain::{Job, Status, Step};
use shoal_base::Password;
use shoal_base::world::Secrets;

use crate::site::{Site, machine};

/// One machine whose password is in the file `rack1/bmc0` below `directory`.
async fn site(directory: &Path) -> Site {
    let mut site = Site::new(1, vec![machine(vec![])]).await;
    let mut server = site.store.servers().await.unwrap().remove(0);
    server.bmc_password = Password::new("file:rack1/bmc0".to_owned());
    site.store.update_server(&server, None).await.unwrap();
    std::fs::create_dir(directory.join("rack1")).unwrap();
    let secrets = Secrets::new(Default::default(), Some(directory.to_owned()));
    site.setup = Box::new(move |setup| setup.secrets = secrets.clone());
    site.start();
    site
}

async fn install(site: &mut Site) -> Job {
    let id = site.submit(0, json!({})).await;
    site.settle(id).await
}

#[tokio::test(start_paused = true)]
async fn a_password_in_a_file_is_read_when_it_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let mut site = site(directory.path()).await;
    let password = site.machines[0].config().password;

    let job = install(&mut site).await;
    let reason = job.reason.unwrap();
    assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::ResolveServer)));
    assert!(reason.contains("rack1/bmc0 cannot be read: No such file"), "{reason}");

    std::fs::write(directory.path().join("rack1/bmc0"), "a password of yesterday\n").unwrap();
    let job = install(&mut site).await;
    assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::ResolveServer)));
    assert!(job.reason.unwrap().contains("refused the account"));
    assert_eq!(site.machines[0].state().starts, 0);

    // The account was refused, and is used again immediately, because its password has changed.
    std::fs::write(directory.path().join("rack1/bmc0"), format!("{password}\n")).unwrap();
    let job = install(&mut site).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(job.id).await);
    let shown = format!("{:?}{}", site.job(job.id).await, site.story(job.id).await);
    assert!(!shown.contains(&password), "{shown}");
}

/// The sessions that it has go on; a login anew has to wait for the file, and the job for the login.
#[tokio::test(start_paused = true)]
async fn a_file_that_goes_in_the_middle_ends_no_job() {
    let directory = tempfile::tempdir().unwrap();
    let mut site = site(directory.path()).await;
    let file = directory.path().join("rack1/bmc0");
    std::fs::write(&file, site.machines[0].config().password).unwrap();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.facts.reset.starts == 1).await;
    std::fs::remove_file(&file).unwrap();
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
}
