//! Lets templates choose a disk: reads a server's disks through the same clients as jobs.
//!
//! Nothing is changed or stored. Invariant: disks are read of the system that a job would install, and of no other.

use std::sync::Arc;

use futures_util::FutureExt;
use shoal_base::with_causes;
use shoal_kickstart::template::{Disk, Inventory};

use crate::api::DiskReader;
use crate::domain::Server;
use crate::flow::{Services, identity};

pub fn reader(services: Arc<Services>) -> DiskReader {
    Arc::new(move |server| {
        let services = services.clone();
        async move { read(&services, &server).await }.boxed()
    })
}

async fn read(services: &Services, server: &Server) -> Result<Inventory, String> {
    let bmc = services.remembered_bmc(server).await.map_err(|error| with_causes(&error))?;
    let systems = bmc.observe_systems().await.map_err(|error| error.to_string())?;
    let system = identity::choose_system(systems, server).map_err(|mismatch| mismatch.to_string())?;
    let read = bmc.observe_disks(&system).await.map_err(|error| error.to_string())?;
    Ok(Inventory { disks: read.disks.into_iter().map(disk).collect(), hidden: read.hidden })
}

fn disk(disk: shoal_redfish::Disk) -> Disk {
    Disk {
        id: disk.id,
        name: disk.name,
        is_volume: disk.is_volume,
        vendor: disk.vendor,
        model: disk.model,
        serial: disk.serial,
        bytes: disk.bytes,
        is_rotational: disk.is_rotational,
        protocol: disk.protocol,
        controller: disk.controller,
        identifiers: disk.identifiers.into_iter().map(|name| (name.format, name.name)).collect(),
    }
}
