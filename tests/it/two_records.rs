//! Two records of one host: their jobs run one at a time.
//!
//! Invariant: the job that came second has changed nothing on the host, and its reason names the first.

use std::time::Duration;

use serde_json::json;
use shoal::domain::{Job, Phase, Server, Status, Step};
use shoal_base::Password;
use shoal_base::world::TlsPolicy;
use shoal_redfish::{Account, BmcPool, Limits};
use shoal_sim::{Fault, SimConfig, Timings};

use crate::site::{Site, machine, record};

/// A machine with a second record, and an installation that takes minutes.
async fn site(config: SimConfig, first: impl Fn(&mut Server), second: Server) -> Site {
    let timings =
        Timings { post: Duration::from_secs(60), install: Duration::from_secs(300), ..Timings::default() };
    let mut server = record(&config, "bmc0.test");
    let site = Site::new(5, vec![SimConfig { timings, ..config }]).await;
    first(&mut server);
    site.store.update_server(&server, None).await.unwrap();
    site.store.insert_server(&second).await.unwrap();
    site
}

/// A Dell by its service tag, and by the serial number that its board reports.
async fn dell() -> Site {
    let config = SimConfig { persona: "idrac9".parse().unwrap(), ..machine(vec![Fault::BoardSerial]) };
    let second = Server { serial: "CN-SIM0001".parse().unwrap(), ..record(&config, "bmc0.test") };
    site(config, |_| {}, second).await
}

/// A host without a serial number by its system's id, twice.
async fn nameless() -> Site {
    let config = machine(vec![Fault::NoSerial]);
    let id = Some(config.persona.system.to_owned());
    let second =
        Server { serial: "RACK7-12".parse().unwrap(), system_id: id.clone(), ..record(&config, "bmc0.test") };
    site(config, move |server| server.system_id = id.clone(), second).await
}

/// A host without a serial number by its system's UUID, at two addresses of its BMC.
async fn two_addresses() -> Site {
    let config = machine(vec![Fault::NoSerial]);
    let mut first = record(&config, "bmc0.test");
    let mut second = Server { serial: "RACK7-12".parse().unwrap(), ..record(&config, "alias.test") };
    let site = site(config, |_| {}, second.clone()).await;
    site.network.add_bmc("alias.test", &site.machines[0]);
    let uuid = system_uuid(&site, &first).await;
    (first.system_uuid, second.system_uuid) = (Some(uuid.clone()), Some(uuid.to_uppercase()));
    site.store.update_server(&first, None).await.unwrap();
    site.store.update_server(&second, None).await.unwrap();
    site
}

async fn system_uuid(site: &Site, server: &Server) -> String {
    let bmc = BmcPool::new(site.world.clone(), Limits::default()).bmc(&Account {
        address: server.bmc_address.clone(),
        username: server.bmc_username.clone(),
        password: Password::new(server.bmc_password.expose().to_owned()),
        secrets: Default::default(),
        tls: TlsPolicy::Insecure,
    });
    bmc.observe_service().await.unwrap();
    let systems = bmc.observe_systems().await.unwrap();
    bmc.close().await;
    systems[0].uuid.clone().unwrap()
}

fn assert_refused(second: &Job, first: &Job) {
    assert_eq!(
        (second.status, second.failed_step),
        (Status::Failed, Some(Step::ResolveServer)),
        "{second:#?}"
    );
    let reason = second.reason.as_deref().unwrap();
    for words in [first.id.to_string(), first.server.to_string(), "delete one of the two records".to_owned()]
    {
        assert!(reason.contains(&words), "{reason}");
    }
    assert_eq!((second.facts.system.is_none(), second.facts.mounts.boot.insertions), (true, 0));
}

#[tokio::test(start_paused = true)]
async fn of_two_records_of_one_host_one_has_a_job_on_it() {
    for (mut site, second) in
        [(dell().await, "CN-SIM0001"), (nameless().await, "RACK7-12"), (two_addresses().await, "RACK7-12")]
    {
        site.start();
        let first = site.submit(0, json!({})).await;
        let second = site.submit_to(second.parse().unwrap(), json!({})).await.unwrap();
        let (first, second) = (site.settle(first).await, site.settle(second).await);
        // The job that resolved first succeeds; the other one has failed.
        let (went, refused) =
            if first.status == Status::Succeeded { (first, second) } else { (second, first) };
        assert_eq!(went.status, Status::Succeeded, "{}", site.story(went.id).await);
        assert_refused(&refused, &went);
        assert_eq!(site.machines[0].state().starts, 1);
    }
}

/// A job holds its host through a crash of the controller, until its cleanup has ended.
#[tokio::test(start_paused = true)]
async fn a_job_keeps_its_host_through_a_crash_and_through_its_cleanup() {
    let mut site = dell().await;
    site.start();
    let first = site.submit(0, json!({})).await;
    site.until(first, |job| job.cursor.step == Step::EsxiPollPower).await;
    site.crash().await;
    let second = site.submit_to("CN-SIM0001".parse().unwrap(), json!({})).await.unwrap();
    site.start();
    let second = site.settle(second).await;
    let running = site.job(first).await;
    assert_eq!(running.cursor.phase, Phase::Forward);
    assert_refused(&second, &running);
    let first = site.settle(first).await;
    assert_eq!(first.status, Status::Succeeded, "{}", site.story(first.id).await);
    let third = site.submit_to("CN-SIM0001".parse().unwrap(), json!({})).await.unwrap();
    let third = site.settle(third).await;
    assert_eq!(third.status, Status::Succeeded, "the host is free again: {}", site.story(third.id).await);
}
