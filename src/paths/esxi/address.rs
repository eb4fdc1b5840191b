//! The management address: where the installed ESXi is to answer, and what answers there.

use shoal_base::with_causes;

use super::probe::{self, ProbeError};
use crate::domain::{ApiSample, FailureCode, JobSpec, Server, management_url};
use crate::flow::{Context, Services, StepError};

/// The answer before the reset is what later ones are compared with, so a slow host is asked again.
const TRIES_BEFORE: u32 = 3;

/// Rejects a recipe whose management address cannot be attributed to its host alone.
pub(super) async fn check(services: &Services, server: &Server, spec: &JobSpec) -> Result<(), StepError> {
    let Some(address) = super::asked(spec)?.management_address(server) else { return Ok(()) };
    match services.store.other_server_at(address, &server.serial).await? {
        None => Ok(()),
        Some(other) => {
            let why = format!(
                "management address {address} is also that of server {other}: correct one of the two"
            );
            Err(StepError::permanent(FailureCode::ManagementAddressShared, why))
        }
    }
}

/// Where the installed system is to answer: as the recipe says, else the server's record.
pub(super) fn of<'a>(cx: &'a Context<'_>) -> Option<&'a str> {
    cx.job.spec.as_ref()?.esxi()?.management_address(cx.server)
}

/// Notes what answers before the host is started, once.
pub(super) async fn note_before(cx: &mut Context<'_>) {
    if cx.job.facts.esxi().api_before.is_none() {
        cx.job.facts.esxi_mut().api_before = observe(cx, TRIES_BEFORE).await;
    }
}

/// One look at that address; `None` where there is none. `tries` bounds how often it is asked
/// while it stays silent.
pub(super) async fn observe(cx: &Context<'_>, tries: u32) -> Option<ApiSample> {
    let url = management_url(of(cx)?)?;
    let host = probe::observe_esxi(&cx.services.world.transport, &url, tries).await;
    if let Err(error) = &host {
        tracing::debug!(job = %cx.job.id, server = %cx.server.serial, %url, error = %with_causes(&error), "no ESXi answers");
    }
    let silent = host.as_ref().is_err_and(ProbeError::is_silence);
    Some(ApiSample { at: cx.now(), host: host.ok(), silent })
}
