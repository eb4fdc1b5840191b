//! What a path names, or 404.

use super::ApiState;
use super::error::ApiError;
use crate::domain::{JobId, Serial, Server};
use crate::store::{ServerRecord, StoreError, StoredJob};

pub async fn job(state: &ApiState, id: JobId) -> Result<StoredJob, ApiError> {
    let job = state.store.stored_job(id).await?;
    job.ok_or_else(|| StoreError::UnknownJob { job: id }.into())
}

pub async fn server_record(state: &ApiState, serial: &Serial) -> Result<ServerRecord, ApiError> {
    let record = state.store.server_record(serial).await?;
    record.ok_or_else(|| StoreError::UnknownServer { serial: serial.clone() }.into())
}

pub async fn server(state: &ApiState, serial: &Serial) -> Result<Server, ApiError> {
    let server = state.store.server(serial).await?;
    server.ok_or_else(|| StoreError::UnknownServer { serial: serial.clone() }.into())
}
