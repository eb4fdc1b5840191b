//! The question before a job erases disks: which hosts, and what of them.
//!
//! Asked on a terminal only. Invariant: what is asked about is what is submitted.

use serde_json::Value;

use super::shown::{time, word};
use crate::cli::CliError;
use crate::cli::client::{Client, ClientError};
use crate::cli::output::to_stderr;
use crate::cli::prompt::{confirm, is_interactive};

/// Hosts that are named one by one.
const HOSTS_MAX: usize = 20;

/// Asks whether the jobs of these recipes are to be made; yes where there is no terminal to ask on.
pub async fn is_wanted(client: &Client, recipes: &[Value], is_doubtful: bool) -> Result<bool, CliError> {
    if !is_interactive() {
        return Ok(true);
    }
    to_stderr("This erases:");
    for recipe in recipes.iter().take(HOSTS_MAX) {
        let serial = serial_of(recipe);
        to_stderr(&format!("  {}: {}", host(client, serial).await?, erased(recipe)));
    }
    if recipes.len() > HOSTS_MAX {
        to_stderr(&format!("  and {} more servers", recipes.len() - HOSTS_MAX));
    }
    let question = match is_doubtful {
        true => "Install with this kickstart, in spite of the findings above?",
        false => "Continue?",
    };
    confirm(question)
}

pub fn serial_of(recipe: &Value) -> &str {
    let inner = recipe["recipe"]["server_serial"].as_str();
    recipe["server_serial"].as_str().or(inner).unwrap_or("-")
}

/// Serial number, addresses and what was installed last. A server that is not known is refused later.
async fn host(client: &Client, serial: &str) -> Result<String, ClientError> {
    let server = match client.get(&["servers", serial]).await {
        Ok(server) => server,
        Err(ClientError::Refused(_)) => return Ok(serial.to_owned()),
        Err(error) => return Err(error),
    };
    let mut text = format!("server {serial}, BMC {}", word(&server["bmc_address"]));
    if let Some(address) = server["management_address"].as_str() {
        text.push_str(&format!(", host {address}"));
    }
    let last = &server["last_job"];
    if !last.is_null() {
        text.push_str(&format!(", last job {} at {}", word(&last["status"]), time(&last["created_at"])));
    }
    Ok(text)
}

/// What the recipe says of the disks.
fn erased(recipe: &Value) -> String {
    let recipe = if recipe["recipe"].is_object() { &recipe["recipe"] } else { recipe };
    if !recipe["target_disk"].is_null() {
        return format!("the disk {}", recipe["target_disk"]);
    }
    let text = recipe["ks_cfg"].as_str().or(recipe["ks.cfg"].as_str()).unwrap_or_default();
    match shoal_kickstart::erased(text.as_bytes()).join("; ") {
        lines if lines.is_empty() => "the disks that its kickstart chooses".to_owned(),
        lines => format!("the disks of `{lines}`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_erased_is_named_by_the_recipe() {
        let ks = "vmaccepteula\n  clearpart --alldrives --overwritevmfs\ninstall --firstdisk\nreboot\n";
        let esxi = json!({"server_serial": "A1", "ks_cfg": ks});
        let shown = "the disks of `clearpart --alldrives --overwritevmfs; install --firstdisk`";
        assert_eq!(erased(&esxi), shown);
        assert_eq!(erased(&json!({"server_serial": "A1", "recipe": esxi})), shown);
        assert_eq!(
            erased(&json!({"ks_cfg": "%include /tmp/disk\n"})),
            "the disks that its kickstart chooses"
        );
        let linux = json!({"target_disk": {"serial": "D1"}});
        assert_eq!((erased(&linux).as_str(), serial_of(&linux)), (r#"the disk {"serial":"D1"}"#, "-"));
    }
}
