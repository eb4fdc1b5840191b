//! `shoal sim --register`: puts the machines into a controller's inventory, by its public API.
//!
//! Invariant: a server that is there already gets the new address and password, since both are new
//! at every start.

use bytes::Bytes;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt;
use url::Url;

use super::Line;
use crate::cli::CliError;
use crate::world::World;

/// Answers of the API are small.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A controller to register with.
pub struct Register {
    servers: Url,
    token: Option<String>,
}

/// The controller did not take the machine.
#[derive(Debug, thiserror::Error)]
#[error("the controller answered {status} to {serial}: {detail}")]
struct NotRegistered {
    serial: String,
    status: StatusCode,
    detail: String,
}

impl Register {
    pub fn new(controller: &Url, token: Option<String>) -> Result<Register, CliError> {
        let servers = format!("{}/api/v1/servers", controller.as_str().trim_end_matches('/'));
        Ok(Register { servers: servers.parse()?, token })
    }

    pub async fn add(&self, world: &World, machine: &Line<'_>) -> Result<(), CliError> {
        let mut body = json!({
            "serial": machine.serial,
            "bmc_address": machine.bmc_address,
            "bmc_username": machine.username,
            "bmc_password": machine.password,
            "tls": machine.tls.unwrap_or("verify"),
        });
        let (mut status, mut answer) = self.send(world, Method::POST, self.servers.as_str(), &body).await?;
        if status == StatusCode::CONFLICT {
            let one = format!("{}/{}", self.servers, machine.serial);
            body.as_object_mut().map(|body| body.remove("serial"));
            (status, answer) = self.send(world, Method::PATCH, &one, &body).await?;
        }
        if status.is_success() {
            return Ok(());
        }
        let detail = answer["detail"].as_str().unwrap_or_default().to_owned();
        Err(NotRegistered { serial: machine.serial.to_owned(), status, detail }.into())
    }

    async fn send(
        &self,
        world: &World,
        method: Method,
        url: &str,
        body: &Value,
    ) -> Result<(StatusCode, Value), CliError> {
        let mut request = http::Request::builder().method(method).uri(url);
        request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Bytes::from(body.to_string()))?;
        let (parts, body) = world.transport.clone().oneshot(request).await?.into_parts();
        let body = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await?;
        Ok((parts.status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}
