//! The disks that templates of kickstarts choose from: of simulated BMCs, and of the captures of real ones.
//!
//! Not the place of how hints are matched (`shoal_kickstart::template`). Invariant: a BMC without an inventory is
//! refused, and never taken for a host without disks.

use serde_json::{Value, json};
use shoal_redfish::{Bmc, System};
use shoal_sim::Persona;

use crate::{captures, quirks};

async fn disks(bmc: &Bmc) -> Result<shoal_redfish::Disks, String> {
    let systems = bmc.observe_systems().await.unwrap();
    let host = systems.into_iter().find(System::is_host).unwrap();
    bmc.observe_disks(&host).await.map_err(|error| error.to_string())
}

#[tokio::test(start_paused = true)]
async fn every_persona_reports_the_disks_of_its_data() {
    for persona in Persona::all() {
        let site = quirks::site(quirks::config(persona), vec![]).await;
        let found = disks(&quirks::client(&site, vec![])).await;
        let Ok(found) = found else {
            assert!(persona.storage.is_empty(), "{}: {found:?}", persona.name);
            continue;
        };
        let units = persona.storage.iter();
        let volumes: usize = units.clone().map(|unit| unit.volumes.len()).sum();
        let drives: usize = units.map(|unit| unit.drives.len()).sum();
        assert_eq!(found.disks.iter().filter(|disk| disk.is_volume).count(), volumes, "{}", persona.name);
        assert_eq!(found.disks.len() + found.hidden, volumes + drives, "{}", persona.name);
    }
}

/// The captures hold no resource below `Storage`, so that each is one of a BMC whose inventory cannot be read.
#[tokio::test(start_paused = true)]
async fn an_inventory_that_a_capture_lacks_is_an_error() {
    for capture in captures::captures().unwrap_or_default() {
        match disks(&captures::connect(&capture, Default::default())).await {
            Ok(found) => assert!(!found.disks.is_empty() || found.hidden > 0, "{}", capture.display()),
            Err(error) => assert!(error.contains("reading the disks"), "{}: {error}", capture.display()),
        }
    }
}

/// Hints and the names, or reasons, that the three kinds of simulated inventories give for them.
pub const CHOICES: &[(&str, &str, Result<&str, &str>)] = &[
    ("idrac9", "model=PERC", Ok("naa.62cea7f0a1b2c3d42a1b2c3d4e5f6071")),
    ("idrac9", "BOSS", Err("--firstdisk=\"DELLBOSS VD\"")),
    ("idrac9", "serialNumber=SHD0001", Err("5 drives not counted")),
    ("ilo6", "NS204i", Ok("eui.00a1b2c3d4e5f6070050435400000001")),
    ("ilo6", "serialNumber=SHH0002", Ok("naa.5000c500b1c2d3e5")),
    ("ilo6", "rotational=true", Err("2 disks match")),
    ("generic", "serialNumber=NVA0001", Ok("eui.36343930530000010025384500000001")),
    (
        "generic",
        "serialNumber=NVA0002",
        Ok("t10.NVMe____NV7400_1.92TB___________________________0200000045382500"),
    ),
];

/// A body of `POST /api/v1/kickstart/render`.
pub fn to_render(serial: &str, hints: &str) -> Value {
    json!({ "ks_cfg": format!("install --disk={{{{ disk('{hints}') }}}}\n"), "server_serial": serial })
}
