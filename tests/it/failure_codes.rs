//! The code of each failure: simulated faults and settings, and the code that an operator's scripts get for them.
//!
//! The codes are stable, so a change of one of these expectations is a change of the API.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shoal::domain::{Confidence, FailureCode, Job, Status};
use shoal::flow::policy::Policy;
use shoal_base::Password;
use shoal_sim::{Fault, SimConfig, Timings};

use crate::site::{Site, machine};
use FailureCode::*;

/// Minutes, as real hosts take.
fn host(faults: Vec<Fault>) -> SimConfig {
    let timings =
        Timings { post: Duration::from_secs(60), install: Duration::from_secs(300), ..Timings::default() };
    SimConfig { timings, ..machine(faults) }
}

/// What is wrong with a job that should have failed with the code: at one of the code's steps, and with the code in the
/// event of its end.
async fn wrong(site: &Site, job: &Job, code: FailureCode) -> Option<String> {
    let step = job.failed_step;
    let is_documented = step.is_some_and(|step| code.entry().steps.contains(&step));
    let events = site.events(job.id).await;
    let ended =
        events.iter().find(|event| event.detail["failure_code"] == code.name()).map(|event| event.step);
    let found = (job.status, job.failure_code, is_documented, ended);
    if found == (Status::Failed, Some(code), true, step) {
        return None;
    }
    Some(format!(
        "{code} was expected, not {found:?} at {step:?}: {:?}\n{}",
        job.reason,
        site.story(job.id).await
    ))
}

async fn failed(mut site: Site, recipe: Value, code: FailureCode) -> Option<String> {
    site.start();
    let id = site.submit(0, recipe).await;
    let job = site.settle(id).await;
    wrong(&site, &job, code).await
}

async fn fail_with(site: Site, recipe: Value, code: FailureCode) {
    assert_eq!(failed(site, recipe, code).await, None);
}

#[tokio::test(start_paused = true)]
async fn what_a_bmc_does_has_a_code() {
    let dual = || json!({ "media_layout": "dual-cd" });
    let cases: Vec<(Vec<Fault>, Value, FailureCode)> = vec![
        (vec![Fault::WrongSerial], json!({}), SerialMismatch),
        (vec![Fault::NoSerial], json!({}), SerialNotReported),
        (vec![Fault::NoVirtualMedia], json!({}), VirtualMediaMissing),
        (vec![Fault::OneCd], dual(), MediaLayoutUnavailable),
        (vec![Fault::NoOverride], json!({}), BootFromCdUnsupported),
        (vec![Fault::SecondCdReplaces], dual(), MediaDrivesConflict),
        (vec![Fault::InsertTaskFails], json!({}), MediaNotRequested),
        (vec![Fault::InsertNotDone(99)], json!({}), MediaNotShown),
        (vec![Fault::OverrideNotStored], json!({}), BootOverrideNotKept),
        (vec![Fault::OverrideValueRefused], json!({}), BootOverrideRefused),
        (vec![Fault::ResetTaskFails(99)], json!({}), BmcTaskFailed),
        (vec![Fault::MediaLostAtStart], json!({}), InstallerNotBooted),
        (vec![Fault::GuestHangs], json!({}), InstallerNeverRebooted),
        (vec![Fault::GarbledJson(100_000)], json!({}), BmcAnswerInvalid),
    ];
    let mut found = Vec::new();
    for (faults, recipe, code) in cases {
        let shown = format!("{faults:?}");
        let wrong = failed(Site::new(1, vec![host(faults)]).await, recipe, code).await;
        found.extend(wrong.map(|wrong| format!("{shown}: {wrong}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

#[tokio::test(start_paused = true)]
async fn what_a_kickstart_does_has_a_code() {
    let site = || Site::new(1, vec![host(vec![])]);
    let off = "vmaccepteula\ninstall --firstdisk\nreboot\n%post --interpreter=busybox\npoweroff\n";
    fail_with(site().await, json!({ "ks_cfg": off }), HostOffAfterKickstart).await;
    let mut weak = site().await;
    weak.policy.min_confidence = Confidence::Proven;
    fail_with(weak, json!({}), SuccessNotConfirmed).await;
    let strict = Site::new(1, vec![host(vec![Fault::StrictKickstart])]).await;
    fail_with(strict, json!({}), InstallerNeverRebooted).await;
}

#[tokio::test(start_paused = true)]
async fn what_an_inventory_or_a_network_does_has_a_code() {
    let site = Site::new(1, vec![host(vec![])]).await;
    let mut server = site.store.servers().await.unwrap().remove(0);
    server.bmc_password = Password::new("another password".to_owned());
    site.store.update_server(&server, None).await.unwrap();
    fail_with(site, json!({}), BmcLoginRefused).await;

    let site = Site::new(1, vec![host(vec![])]).await;
    let mut server = site.store.servers().await.unwrap().remove(0);
    server.bmc_password = Password::new("file:rack1/bmc0".to_owned());
    site.store.update_server(&server, None).await.unwrap();
    fail_with(site, json!({}), BmcPasswordMissing).await;

    let site = Site::new(1, vec![host(vec![])]).await;
    site.network.remove("bmc0.test");
    fail_with(site, json!({}), BmcUnreachable).await;

    let site = Site::new(1, vec![host(vec![])]).await;
    let mut server = site.store.servers().await.unwrap().remove(0);
    server.protected = true;
    site.store.update_server(&server, None).await.unwrap();
    fail_with(site, json!({}), ServerProtected).await;

    let mut site = Site::new(1, vec![SimConfig { power_on: true, ..host(vec![]) }]).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    site.policy.allow_powered_on = false;
    fail_with(site, json!({}), HostPoweredOn).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_settings_do_has_a_code() {
    type Setup = Box<dyn Fn(&mut shoal::flow::WorkflowConfig)>;
    let cases: Vec<(Setup, FailureCode)> = vec![
        (Box::new(|setup| setup.installer = None), InstallerNotConfigured),
        (Box::new(|setup| setup.installer_sha256 = Some("0".repeat(64))), InstallerChecksumMismatch),
        (Box::new(|setup| setup.delivery = shoal::flow::policy::Delivery::Direct), DeliveryNotPossible),
        (Box::new(|setup| setup.task_iso_dir = "/nowhere/at/all".into()), TaskIsoNotWritten),
        (
            Box::new(|setup| {
                setup.media_base = Arc::new(|_| Box::pin(async { Ok("http://127.0.0.1".parse().unwrap()) }));
            }),
            MediaAddressLoopback,
        ),
        (
            Box::new(|setup| {
                setup.media_base = Arc::new(|_| Box::pin(async { Err("no route".to_owned()) }));
            }),
            MediaAddressUnknown,
        ),
    ];
    for (setup, code) in cases {
        let mut site = Site::new(1, vec![host(vec![])]).await;
        site.setup = setup;
        fail_with(site, json!({}), code).await;
    }
    let site = Site::new(1, vec![host(vec![])]).await;
    std::fs::remove_file(site.dir.path().join("esxi.iso")).unwrap();
    fail_with(site, json!({}), InstallerFileUnreadable).await;
    let site = Site::new(1, vec![host(vec![])]).await;
    std::fs::write(site.dir.path().join("esxi.iso"), "no image").unwrap();
    fail_with(site, json!({}), InstallerNotEsxi).await;
    let mut site = Site::new(1, vec![host(vec![Fault::PowerTransitions(Duration::from_secs(90_000))])]).await;
    site.policy = Policy { stuck_timeout: Duration::from_secs(60), ..site.policy };
    fail_with(site, json!({}), JobStuck).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_maintenance_system_does_has_a_code() {
    let cases = [
        (vec![Fault::GuestFails], AgentWriteFailed),
        (vec![Fault::GuestHangs], MaintenanceTimedOut),
        (vec![Fault::GuestCrashes], HostOffWithoutResult),
        (vec![Fault::MediaLostAtStart], MaintenanceNotBooted),
        (vec![Fault::SmbiosDiffers], AgentDispatcherFailed),
    ];
    let mut found = Vec::new();
    for (faults, code) in cases {
        let shown = format!("{faults:?}");
        let site = Site::new(1, vec![host(faults)]).await;
        site.write_standin_maintenance();
        found.extend(failed_linux(site, code).await.map(|wrong| format!("{shown}: {wrong}")));
    }
    found.extend(failed_linux(Site::new(1, vec![host(vec![])]).await, MaintenanceIsoUnreadable).await);
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

async fn failed_linux(mut site: Site, code: FailureCode) -> Option<String> {
    site.start();
    let id = site.submit_linux(0, json!({})).await;
    let job = site.settle(id).await;
    wrong(&site, &job, code).await
}
