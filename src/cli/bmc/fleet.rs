//! Asks a controller to look at servers of its inventory, one or many.
//!
//! Invariants: at most the requested number runs in parallel; and a server that could not be checked counts
//! as one that is not ready, and stops none of the others.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::CheckArgs;
use super::checked::Checked;
use super::table::fleet_text;
use crate::cli::CliError;
use crate::cli::client::{Client, ClientError};
use crate::cli::output::{Format, Output, line, to_stderr};
use crate::doctor::CheckReport;
use crate::domain::Serial;
use shoal_base::with_causes;
use shoal_base::world::World;

/// A look at a BMC that hangs in every part.
const LOOK_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Some BMCs fetch the whole image before they answer, and some take minutes to show it.
const PROBE_TIMEOUT: Duration = Duration::from_secs(40 * 60);

pub async fn check_one(serial: &Serial, args: &CheckArgs, world: &World) -> Result<CheckReport, CliError> {
    let client = Client::new(&args.client, world)?;
    let answer = ask(&client, serial.as_str(), args.probe_media).await?;
    Ok(serde_json::from_value(answer)?)
}

async fn ask(client: &Client, serial: &str, probe_media: bool) -> Result<Value, ClientError> {
    let timeout = if probe_media { PROBE_TIMEOUT } else { LOOK_TIMEOUT };
    let body = json!({ "probe_media": probe_media });
    client.post_patiently(&["servers", serial, "check"], body, timeout).await
}

/// Every server with these labels. Whether all of them are ready.
pub async fn check_all(
    labels: &BTreeMap<String, String>,
    args: &CheckArgs,
    world: &World,
    output: Output,
) -> Result<bool, CliError> {
    let client = Client::new(&args.client, world)?;
    let serials = serials(&client.servers(Vec::new()).await?, labels);
    let screen = FleetScreen::new(serials.len() as u64);
    let check = |serial: String| {
        let client = client.clone();
        async move { Checked { result: checked(&client, &serial, args.probe_media).await, serial } }
    };
    let mut checking = stream::iter(serials).map(check).buffer_unordered(usize::from(args.parallel));
    let mut all = Vec::new();
    while let Some(checked) = checking.next().await {
        screen.show(&checked, output);
        all.push(checked);
    }
    screen.finish();
    all.sort_by(|a, b| a.serial.cmp(&b.serial));
    if output.format == Format::Table {
        line(&fleet_text(&all));
    }
    Ok(all.iter().all(Checked::is_ready))
}

async fn checked(client: &Client, serial: &str, probe_media: bool) -> Result<Box<CheckReport>, String> {
    let answer = ask(client, serial, probe_media).await.map_err(|error| with_causes(&error))?;
    serde_json::from_value(answer)
        .map(Box::new)
        .map_err(|_| "the controller's answer is of another version".to_owned())
}

fn serials(body: &Value, labels: &BTreeMap<String, String>) -> Vec<String> {
    let servers = body["servers"].as_array().into_iter().flatten();
    let has = |server: &Value| labels.iter().all(|(name, value)| server["labels"][name] == value.as_str());
    servers
        .filter(|server| has(server))
        .filter_map(|server| Some(server["serial"].as_str()?.to_owned()))
        .collect()
}

/// A bar on a terminal; elsewhere a line a server on standard error, where tables come last.
struct FleetScreen {
    bar: ProgressBar,
}

impl FleetScreen {
    fn new(servers: u64) -> FleetScreen {
        let bar = ProgressBar::with_draw_target(Some(servers), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}");
        bar.set_style(style.expect("the template is sound"));
        bar.enable_steady_tick(Duration::from_millis(200));
        FleetScreen { bar }
    }

    fn show(&self, checked: &Checked, output: Output) {
        let text = checked.line();
        self.bar.set_message(checked.serial.clone());
        self.bar.inc(1);
        match output.format {
            Format::Json => self.bar.suspend(|| line(&checked.json().to_string())),
            Format::Table if self.bar.is_hidden() => to_stderr(&text),
            Format::Table | Format::Sarif => {}
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_chosen_by_all_labels() {
        let body = json!({"servers": [
            {"serial": "A", "labels": {"rack": "7", "row": "1"}}, {"serial": "B", "labels": {"rack": "7"}}, {"serial": "C"},
        ]});
        let by = |pairs: &[(&str, &str)]| {
            let labels =
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            serials(&body, &labels).join(" ")
        };
        assert_eq!(by(&[]), "A B C");
        assert_eq!(by(&[("rack", "7")]), "A B");
        assert_eq!(by(&[("rack", "7"), ("row", "1")]), "A");
    }

    #[test]
    fn one_that_was_not_checked_is_not_ready() {
        let checked = Checked { serial: "A".to_owned(), result: Err("it is busy (409)".to_owned()) };
        assert!(!checked.is_ready());
        assert_eq!(checked.json()["verdict"], "not_checked");
        assert_eq!(checked.line(), "A: not checked: it is busy (409)");
    }
}
