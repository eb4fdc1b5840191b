//! `POST /api/v1/servers/{serial}/inspect`: reads a server's hardware from its BMC and keeps it with the record.
//!
//! The BMC is read by what is handed in. Invariant: nothing is changed on the BMC, and what is kept is of the system that
//! the record names.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::Serialize;
use shoal_redfish::{Drive, Firmware, Hardware, Nic, Processors};
use utoipa::ToSchema;

use super::ApiState;
use super::access::Who;
use super::body::{Name, OptionalJsonObject};
use super::error::{ApiError, Problem};
use super::find;
use crate::domain::{Fields, Serial, Server};

/// Reads the hardware of a server of the inventory, or says why not.
pub type Inspector = Arc<dyn Fn(Server) -> BoxFuture<'static, Result<Hardware, String>> + Send + Sync>;

/// The hardware of a server as its BMC reported it. What a BMC does not report is `null`.
#[derive(Debug, Serialize, ToSchema)]
pub struct HardwareBody {
    /// When it was read.
    #[schema(value_type = String, format = DateTime)]
    read_at: Timestamp,
    manufacturer: Option<String>,
    model: Option<String>,
    sku: Option<String>,
    bios_version: Option<String>,
    /// Firmware of the BMC.
    bmc_version: Option<String>,
    processors: ProcessorsBody,
    memory_mib: Option<u64>,
    nics: Vec<NicBody>,
    /// Drives and RAID volumes, also those that the host does not see.
    drives: Vec<DriveBody>,
    /// What is installed, by the BMC's names.
    firmware: Vec<FirmwareBody>,
    /// Parts that the BMC did not show, and why.
    unread: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ProcessorsBody {
    count: Option<u64>,
    model: Option<String>,
    cores: Option<u64>,
    threads: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct NicBody {
    id: String,
    name: Option<String>,
    #[schema(pattern = "^([0-9a-f]{2}:){5}[0-9a-f]{2}$")]
    mac: String,
    speed_mbps: Option<u64>,
    has_link: Option<bool>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DriveBody {
    id: String,
    is_volume: bool,
    vendor: Option<String>,
    model: Option<String>,
    serial: Option<String>,
    bytes: Option<u64>,
    /// `SAS`, `SATA`, `NVMe` …
    protocol: Option<String>,
    is_rotational: Option<bool>,
    controller: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct FirmwareBody {
    name: String,
    version: String,
}

impl HardwareBody {
    pub fn new(read_at: Timestamp, hardware: Hardware) -> HardwareBody {
        let Processors { count, model, cores, threads } = hardware.processors;
        HardwareBody {
            read_at,
            manufacturer: hardware.manufacturer,
            model: hardware.model,
            sku: hardware.sku,
            bios_version: hardware.bios_version,
            bmc_version: hardware.bmc_version,
            processors: ProcessorsBody { count, model, cores, threads },
            memory_mib: hardware.memory_mib,
            nics: hardware.nics.into_iter().map(NicBody::from).collect(),
            drives: hardware.drives.into_iter().map(DriveBody::from).collect(),
            firmware: hardware.firmware.into_iter().map(FirmwareBody::from).collect(),
            unread: hardware.unread,
        }
    }
}

impl From<Nic> for NicBody {
    fn from(nic: Nic) -> NicBody {
        let Nic { id, name, mac, speed_mbps, has_link } = nic;
        NicBody { id, name, mac, speed_mbps, has_link }
    }
}

impl From<Drive> for DriveBody {
    fn from(drive: Drive) -> DriveBody {
        let Drive { id, is_volume, vendor, model, serial, bytes, protocol, is_rotational, controller } =
            drive;
        DriveBody { id, is_volume, vendor, model, serial, bytes, protocol, is_rotational, controller }
    }
}

impl From<Firmware> for FirmwareBody {
    fn from(firmware: Firmware) -> FirmwareBody {
        FirmwareBody { name: firmware.name, version: firmware.version }
    }
}

/// Read a server's hardware from its BMC: processors, memory, network interfaces, drives, firmware. It is kept and shown
/// with the record until the next inspection, or until `bmc_address` changes. Nothing is changed on the BMC.
#[utoipa::path(post, path = "/api/v1/servers/{serial}/inspect", tag = "servers",
    params(("serial" = String, Path)), request_body = Option<InspectInput>,
    responses((status = 200, body = HardwareBody),
        (status = 502, description = "The BMC cannot be read; what was kept before stays", body = Problem)))]
pub async fn inspect(
    State(state): State<ApiState>,
    who: Who,
    Name(serial): Name<Serial>,
    OptionalJsonObject(body): OptionalJsonObject,
) -> Result<Json<HardwareBody>, ApiError> {
    let fields = Fields::new(&body, &[]);
    if !fields.errors.is_empty() {
        return Err(ApiError::invalid("an inspection takes no fields", fields.errors));
    }
    let server = find::server(&state, &serial).await?;
    let turn = state.checks.clone().acquire_owned().await.expect("it is never closed");
    let (inspector, subject) = (Arc::clone(&state.inspect), server.clone());
    // In a task of its own, as a check: the BMC's session is in order even if the caller hangs up.
    let inspecting = tokio::spawn(async move {
        let found = inspector(subject).await;
        drop(turn);
        found
    });
    let found = inspecting.await.map_err(|error| {
        tracing::error!(server = %serial, %error, "an inspection failed unexpectedly");
        ApiError::NotReady("the inspection failed unexpectedly; see the log".to_owned())
    })?;
    let hardware = found.map_err(|why| {
        ApiError::BmcFailed(format!("the hardware of server {serial} cannot be read: {why}"))
    })?;
    let now = state.world.clock.now();
    let act = who.act(now, "server.inspect").on_server(&serial);
    state.store.with_audit(act).save_hardware(&server, hardware.clone(), now).await?;
    Ok(Json(HardwareBody::new(now, hardware)))
}

/// Nothing can be chosen.
#[derive(Debug, ToSchema)]
pub struct InspectInput {}
