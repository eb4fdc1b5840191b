//! Lets the API have servers looked at: puts the doctor, the inventory's credentials and the media
//! together.
//!
//! Nothing is judged here. Invariant: a check goes through the same clients as jobs, so a BMC gets no
//! more parallel requests and no second login because of it.

use std::sync::Arc;

use futures_util::FutureExt;

use crate::doctor::{self, CheckReport, Checker, MaintenanceIso, MayTouch, ProbePlace, Subject, Whose};
use crate::domain::Server;
use crate::flow::Services;
use crate::store::Store;
use shoal_base::with_causes;

pub fn checker(services: Arc<Services>) -> Checker {
    Arc::new(move |server, with_probe| {
        let services = services.clone();
        async move { check(&services, &server, with_probe).await }.boxed()
    })
}

async fn check(services: &Services, server: &Server, with_probe: bool) -> CheckReport {
    let bmc = services.bmc(server);
    match services.store.load_bmc_memory(server).await {
        Ok(memory) => bmc.recall(memory),
        Err(error) => {
            tracing::warn!(server = %server.serial, error = %with_causes(&error), "what its BMC agreed to cannot be read")
        }
    }
    let base = (services.setup.media_base)(server.bmc_address.clone()).await;
    let subject = Subject {
        bmc: &bmc,
        address: &server.bmc_address,
        tls: &server.tls,
        whose: Whose::Server(server),
        layout: services.policy.layout,
        media_base: base.as_ref().ok().cloned(),
        maintenance: services
            .setup
            .maintenance_iso
            .as_ref()
            .map(|source| MaintenanceIso { source, files: &services.iso_files }),
    };
    let place = with_probe.then(|| ProbePlace {
        probes: services.media.probes(),
        base,
        may_touch: Some(may_touch(&services.store, server)),
    });
    let report = doctor::check(&services.world, &subject, place).await;
    tracing::info!(server = %server.serial, verdict = report.verdict.name(), with_probe, "a server was checked");
    report
}

/// Refuses a host on which another record has an active job.
fn may_touch(store: &Store, server: &Server) -> MayTouch {
    let (store, serial) = (store.clone(), server.serial.clone());
    Arc::new(move |host| {
        let (store, serial) = (store.clone(), serial.clone());
        async move {
            match store.host_holder(&host, &serial).await {
                Ok(None) => Ok(()),
                Ok(Some(holder)) => Err(holder.to_string()),
                Err(error) => Err(with_causes(&error)),
            }
        }
        .boxed()
    })
}
