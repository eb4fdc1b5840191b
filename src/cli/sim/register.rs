//! Puts simulated machines into a controller's inventory, by its public API.
//!
//! Invariant: a record that exists is changed only on request; otherwise nothing is changed
//! at all, and the difference is reported.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::Line;
use crate::cli::CliError;
use crate::cli::client::{Client, ClientError};

/// Fields that are compared, in the order in which they are reported. A password cannot be read back.
const COMPARED: [&str; 5] = ["bmc_address", "bmc_username", "tls", "management_address", "system_id"];
/// Records whose differences are reported.
const REPORTED_MAX: usize = 5;

/// What is known of the records that may exist already.
#[derive(Clone, Copy, Debug)]
pub struct Existing {
    /// They are changed to what the machines are now.
    pub replace: bool,
    /// The passwords are those of every start (`--seed`), so a record that shows no difference has none.
    pub same_passwords: bool,
}

/// Adds the machines, or changes nothing.
pub async fn register(controller: &Client, machines: &[Line], existing: Existing) -> Result<(), CliError> {
    let mut records = Vec::with_capacity(machines.len());
    for machine in machines {
        records.push(find(controller, &machine.serial).await?);
    }
    let pairs = || machines.iter().zip(&records);
    if !existing.replace {
        let differences = pairs().filter_map(|(machine, record)| {
            let differences = differences(&body(machine), record.as_ref()?, existing.same_passwords);
            (!differences.is_empty()).then(|| format!("{}: {}", machine.serial, differences.join(", ")))
        });
        let differences: Vec<String> = differences.collect();
        if !differences.is_empty() {
            return Err(refusal(&differences).into());
        }
    }
    for (machine, record) in pairs() {
        match record {
            None => drop(controller.post(&["servers"], &[], Value::Object(body(machine))).await?),
            Some(_) if existing.replace => {
                let mut change = body(machine);
                change.remove("serial");
                controller.patch(&["servers", &machine.serial], Value::Object(change)).await?;
            }
            Some(_) => {}
        }
    }
    Ok(())
}

async fn find(controller: &Client, serial: &str) -> Result<Option<Value>, ClientError> {
    match controller.get(&["servers", serial]).await {
        Err(ClientError::Refused(refusal)) if refusal.status == StatusCode::NOT_FOUND => Ok(None),
        found => found.map(Some),
    }
}

/// The record of a machine.
fn body(machine: &Line) -> Map<String, Value> {
    let tls = machine.tls.as_deref().unwrap_or("verify");
    let mut body = Map::new();
    for (name, value) in [
        ("serial", Some(machine.serial.as_str())),
        ("bmc_address", Some(machine.bmc_address.as_str())),
        ("bmc_username", Some(machine.username.as_str())),
        ("bmc_password", Some(machine.password.as_str())),
        ("tls", Some(tls)),
        ("management_address", machine.management_address.as_deref()),
        ("system_id", machine.system_id.as_deref()),
    ] {
        body.extend(value.map(|value| (name.to_owned(), json!(value))));
    }
    body
}

fn differences(wanted: &Map<String, Value>, record: &Value, same_passwords: bool) -> Vec<String> {
    let differs = |name: &&str| wanted.get(*name).is_some_and(|wanted| *wanted != record[*name]);
    let difference = |name: &str| {
        let shown = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("not set").to_owned();
        format!("{name} is {} and would be {}", shown(record.get(name)), shown(wanted.get(name)))
    };
    let password = (!same_passwords).then(|| "bmc_password is drawn anew at every start".to_owned());
    COMPARED.into_iter().filter(|name| differs(name)).map(difference).chain(password).collect()
}

fn refusal(differences: &[String]) -> String {
    let shown = &differences[..differences.len().min(REPORTED_MAX)];
    let more = differences.len() - shown.len();
    let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    format!(
        "{} of the machines are in the inventory already, with other values; nothing was changed\n  {}{more}\n\
         --replace changes these records; --serial-prefix gives the machines other serial numbers; --seed \
         keeps the passwords",
        differences.len(),
        shown.join("\n  ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            serial: "SIM0001".to_owned(),
            bmc_address: "http://127.0.0.1:9001".to_owned(),
            username: "admin".to_owned(),
            password: "not-shown".to_owned(),
            tls: None,
            management_address: None,
            system_id: None,
        }
    }

    #[test]
    fn a_record_is_compared_field_by_field_and_its_password_never_shown() {
        let wanted = body(&line());
        let mut record = Value::Object(wanted.clone());
        record["management_address"] = json!("esx1.example");
        assert_eq!(
            differences(&wanted, &record, true),
            Vec::<String>::new(),
            "what is not given is left alone"
        );
        record["bmc_address"] = json!("https://10.0.0.9");
        record["tls"] = Value::Null;
        let shown = differences(&wanted, &record, false).join("; ");
        assert!(
            shown.contains("bmc_address is https://10.0.0.9 and would be http://127.0.0.1:9001"),
            "{shown}"
        );
        assert!(shown.contains("tls is not set and would be verify"), "{shown}");
        assert!(shown.contains("bmc_password is drawn anew") && !shown.contains("not-shown"), "{shown}");
    }

    #[test]
    fn a_long_refusal_is_cut() {
        let many: Vec<String> = (0..1000).map(|number| format!("SIM{number}: x")).collect();
        let text = refusal(&many);
        assert!(
            text.contains("SIM4: x") && !text.contains("SIM5: x") && text.contains("and 995 more"),
            "{text}"
        );
    }
}
