//! One table of how each simulated BMC was brought to install its host, and what the verdict rests on.
//!
//! A change of any rung of a ladder, of a layout's choice or of the evidence shows here as a line that
//! differs. Not the place of what must hold of every persona (`quirks`), nor of the two kinds that are
//! installed by none: those without HTTP media, and the emulator whose override lasts (`emulators`).

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};
use shoal::domain::{Job, NewEvent};
use shoal_sim::Persona;

use crate::quirks::on_every_persona;
use crate::site::Site;

#[tokio::test(start_paused = true)]
async fn how_each_persona_is_installed() {
    let lines = Mutex::new(BTreeMap::new());
    on_every_persona(json!({}), async |site, machine, job| {
        let line = describe(site, machine, job).await;
        lines.lock().unwrap().insert(site.machines[machine].config().persona.name, line);
    })
    .await;
    let lines = lines.into_inner().unwrap();
    let table = Persona::all().filter_map(|persona| lines.get(persona.name)).cloned();
    insta::assert_snapshot!("personas", table.collect::<Vec<_>>().join("\n"));
}

async fn describe(site: &Site, machine: usize, job: &Job) -> String {
    let events = site.events(job.id).await;
    let ways = |op: &str| {
        let ways = events.iter().filter(|event| event.op == op).filter_map(how);
        ways.collect::<Vec<_>>().join("; then ")
    };
    let verdict = job.verdict.as_ref().unwrap();
    let kinds: Vec<&str> = verdict.evidence.iter().map(|evidence| evidence.kind.name()).collect();
    let confidence = verdict.confidence.map_or("none", |confidence| confidence.name());
    let resets: Vec<String> =
        site.machines[machine].state().resets.iter().map(|(kind, times)| format!("{kind} {times}")).collect();
    format!(
        "{} ({})\n  insert   {}\n  boot     {}\n  reset    {}\n  verdict  {confidence}: {}\n",
        site.machines[machine].config().persona.name,
        job.facts.mounts.layout().name(),
        ways("media.insert"),
        ways("boot.override"),
        resets.join(", "),
        kinds.join(", "),
    )
}

fn how(event: &NewEvent) -> Option<&str> {
    event.detail.get("how").and_then(Value::as_str)
}
