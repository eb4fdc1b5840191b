//! Puts simulated machines into a controller's inventory, by its public API.
//!
//! Invariant: a server that is there already gets the new address and password, since both are new
//! at every start.

use http::StatusCode;
use serde_json::{Value, json};

use super::Line;
use crate::cli::client::{Client, ClientError};

/// Adds one machine.
pub async fn register(controller: &Client, machine: &Line) -> Result<(), ClientError> {
    let mut body = json!({
        "serial": machine.serial,
        "bmc_address": machine.bmc_address,
        "bmc_username": machine.username,
        "bmc_password": machine.password,
        "tls": machine.tls.as_deref().unwrap_or("verify"),
    });
    let more = [("management_address", &machine.management_address), ("system_id", &machine.system_id)];
    for (name, value) in more {
        if let (Some(value), Value::Object(body)) = (value, &mut body) {
            body.insert(name.to_owned(), value.clone().into());
        }
    }
    match controller.post(&["servers"], &[], body.clone()).await {
        Err(ClientError::Refused(refusal)) if refusal.status == StatusCode::CONFLICT => {
            if let Value::Object(body) = &mut body {
                body.remove("serial");
            }
            controller.patch(&["servers", &machine.serial], body).await.map(drop)
        }
        added => added.map(drop),
    }
}
