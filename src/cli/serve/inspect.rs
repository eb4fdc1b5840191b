//! Lets the API inspect servers: through the same clients as jobs, so that a BMC gets no second login because of it.
//!
//! Nothing is changed or stored. Invariant: the hardware is read of the system that a job would install.

use std::sync::Arc;

use futures_util::FutureExt;
use shoal_base::with_causes;
use shoal_redfish::Hardware;

use crate::api::Inspector;
use crate::domain::Server;
use crate::flow::{Services, identity};

pub fn inspector(services: Arc<Services>) -> Inspector {
    Arc::new(move |server| {
        let services = services.clone();
        async move { read(&services, &server).await }.boxed()
    })
}

async fn read(services: &Services, server: &Server) -> Result<Hardware, String> {
    let bmc = services.remembered_bmc(server).await.map_err(|error| with_causes(&error))?;
    let systems = bmc.observe_systems().await.map_err(|error| error.to_string())?;
    let system = identity::choose_system(systems, server).map_err(|error| error.to_string())?;
    let hardware = bmc.observe_hardware(&system).await.map_err(|error| error.to_string())?;
    tracing::info!(server = %server.serial, unread = hardware.unread.len(), "a server was inspected");
    Ok(hardware)
}
