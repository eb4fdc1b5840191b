//! What a path names, or 404.

use super::ApiState;
use super::error::ApiError;
use crate::domain::{BatchId, JobId, Serial, Server};
use crate::store::{Batch, ServerRecord, StoreError, StoredJob};

pub async fn job(state: &ApiState, id: JobId) -> Result<StoredJob, ApiError> {
    let job = state.store.stored_job(id).await?;
    job.ok_or_else(|| StoreError::UnknownJob { job: id }.into())
}

pub async fn batch(state: &ApiState, id: BatchId) -> Result<Batch, ApiError> {
    let batch = state.store.batch(id).await?;
    batch.ok_or_else(|| StoreError::UnknownBatch { batch: id }.into())
}

pub async fn server_record(state: &ApiState, serial: &Serial) -> Result<ServerRecord, ApiError> {
    match state.store.server_record(serial).await? {
        Some(record) => Ok(record),
        None => Err(unknown_server(state, serial.as_str()).await?),
    }
}

/// The server with this serial number, exactly.
pub async fn server(state: &ApiState, serial: impl AsRef<str>) -> Result<Server, ApiError> {
    let serial = serial.as_ref();
    let found = match serial.parse::<Serial>() {
        Ok(serial) => state.store.server(&serial).await?,
        Err(_) => None,
    };
    match found {
        Some(server) => Ok(server),
        None => Err(unknown_server(state, serial).await?),
    }
}

/// 404, naming the server that was probably meant.
async fn unknown_server(state: &ApiState, typed: &str) -> Result<ApiError, ApiError> {
    let detail = match state.store.server_like(typed).await? {
        Some(existing) => format!(
            "no server has this serial number; {existing} differs from it in case or blanks only, and serial numbers are \
             compared exactly"
        ),
        None => match typed.parse::<Serial>() {
            Ok(serial) => StoreError::UnknownServer { serial }.to_string(),
            Err(_) => "no server has that serial number".to_owned(),
        },
    };
    Ok(ApiError::NotFound(detail))
}
